"""Primitives of dp-core in JAX's own functions, and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dp_core import arrays
from dp_core.kernels import one_more_gradient
from dp_jax import kernels

Array = jax.Array


def segment_sum(x: Array, segments: Array, count: Any) -> Array:
    """Sum the rows of x that share a segment; those of segment −1 are dropped, not counted from the end."""
    out = jnp.zeros((count, *x.shape[1:]), x.dtype)
    return out.at[jnp.where(segments < 0, count, segments)].add(x, mode="drop")


def split(x: Array, counts: Sequence[Any], axis: int) -> list[Array]:
    """Consecutive blocks of x; counts may be symbols."""
    blocks, start = [], 0
    for count in counts:
        blocks.append(jax.lax.slice_in_dim(x, start, start + count, axis=axis))
        start = start + count
    return blocks


def gradient(function: Callable[[Array], tuple[Array, Any]], x: Array) -> tuple[Any, Array]:
    """``(extra, d scalar / d x)`` of ``x -> (scalar, extra)``; nests, so that a loss may contain forces."""
    with one_more_gradient():
        slope, extra = jax.grad(function, has_aux=True)(x)
    return extra, slope


arrays.provide(
    jnp.__name__,
    segment_sum=segment_sum,
    split=split,
    softplus=jax.nn.softplus,
    detached=jax.lax.stop_gradient,
    constant=lambda values, like: jnp.asarray(values, dtype=like.dtype),
    embedding_sum=kernels.embedding_sum,
    network=kernels.network,
    attention=kernels.attention,
    table_sum=kernels.table_sum,
)
