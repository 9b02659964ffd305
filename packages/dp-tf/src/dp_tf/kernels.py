"""Where the kernels of dp-ops are used: for forces and their training, on a processor.

Frozen files and what XLA compiles have plain operations only: ``portable`` surrounds the code that makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import tensorflow as tf

from dp_core.kernels import kernel_library

_PORTABLE: ContextVar[bool] = ContextVar("portable", default=False)


@contextmanager
def portable() -> Iterator[None]:
    """Inside, graphs are made of TensorFlow's own operations."""
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


def available() -> bool:
    """Whether the kernels may be used for what is computed now; not where a graphics processor does the work."""
    if _PORTABLE.get() or tf.config.get_visible_devices("GPU"):
        return False
    return kernel_library("dp_tensorflow") is not None
