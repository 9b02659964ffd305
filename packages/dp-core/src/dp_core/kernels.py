"""Compiled kernels of dp-ops: used where that package is installed, unless ``DP_OPS=0`` says otherwise."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from pathlib import Path

log = logging.getLogger(__name__)

#: The variable that switches kernels off.
SWITCH = "DP_OPS"

_DEPTH: ContextVar[int] = ContextVar("depth", default=0)


def depth() -> int:
    """How many gradients are being taken, one inside the other; kernels know the first few derivatives only."""
    return _DEPTH.get()


@contextmanager
def one_more_gradient() -> Iterator[None]:
    """Inside, one more gradient is being taken."""
    token = _DEPTH.set(depth() + 1)
    try:
        yield
    finally:
        _DEPTH.reset(token)


def kernel_library(name: str) -> Path | None:
    """The shared library of that name in dp-ops; None where the array code does the work."""
    return None if os.environ.get(SWITCH) == "0" else _found(name)


@cache
def _found(name: str) -> Path | None:
    if find_spec("dp_ops") is None:
        return None
    import dp_ops

    try:
        path: Path = dp_ops.library(name)
    except FileNotFoundError as error:
        log.warning("No kernels are used: %s", error)
        return None
    log.info("The kernels of dp-ops %s are used.", dp_ops.__version__)
    return path
