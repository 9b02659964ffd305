"""Where the kernels of dp-ops are used: in evaluations and in training, on a processor.

Nothing else has them, so that frozen files and what users compile themselves are made of JAX's own operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp

from dp_core.kernels import depth, kernel_library
from dp_core.module import leaves

Array = jax.Array

_USED: ContextVar[str | None] = ContextVar("used", default=None)


@contextmanager
def in_use(*, trains: bool) -> Iterator[None]:
    """Inside, kernels are used. trains: gradients of weights are being taken."""
    token = _USED.set("training" if trains else "evaluation")
    try:
        yield
    finally:
        _USED.reset(token)


def _trains() -> bool:
    return _USED.get() == "training"


def available(x: Array, axes: int, others: Sequence[Array]) -> bool:
    """Whether the kernels may be used for x of so many axes, and other numbers; not for second derivatives by x."""
    if _USED.get() is None or depth() > 1 or x.ndim != axes or x.size == 0 or jax.default_backend() != "cpu":
        return False
    same = all(other.dtype == x.dtype for other in others)
    return same and x.dtype in (jnp.float32, jnp.float64) and kernel_library("dp_jax") is not None


def embedding_sum(matrix: Array, net: Any, shift: Array | None = None, kind: Array | None = None) -> Array | None:
    """``arrays.embedding_sum`` by the kernels for networks that use tanh alone; None otherwise."""
    tanh = all(layer.activation_function.lower() == "tanh" for layer in net.layers)
    numbers = [*leaves(net).values(), *([] if shift is None else [shift])]
    if not tanh or not available(matrix, 3, numbers):
        return None
    from dp_ops import jax as native

    return native.embedding_sum(net.layers, matrix, shift, kind, keep=_trains(), forces=depth() == 1)


def network(x: Array, layers: Sequence[Any]) -> Array | None:
    """A network of rows by the kernels; None otherwise."""
    if not available(x, 2, list(leaves(layers).values())):
        return None
    from dp_ops import jax as native
    from dp_ops import training

    return native.network(layers, x, forces=depth() == 1) if training.serves(layers) else None


def attention(
    g: Array, direction: Array, weight: Array, valid: Array, spare: Array, layers: Sequence[Any]
) -> Array | None:
    """``arrays.attention`` by the kernels; None otherwise."""
    if not available(g, 3, [direction, weight, valid, spare, *leaves(layers).values()]):
        return None
    from dp_ops import jax as native

    for layer in layers:
        g = native.attention(layer, [g, direction, weight], valid, spare, forces=depth() == 1)
    return g


def table_sum(
    matrix: Array, table: Any, types: Array | None, index: Array | None, switch: Array | None
) -> Array | None:
    """``arrays.table_sum`` by the kernels, where nothing but forces is asked for; None otherwise."""
    numbers = [x for x in (table.coefficients, table.starts, types, switch) if x is not None]
    if _trains() or not available(matrix, 3, numbers):
        return None
    from dp_ops import jax as native

    return native.table_sum(table, matrix, types, index, switch)
