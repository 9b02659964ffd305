"""Primitives of dp-core in TensorFlow's own functions; importing this makes dp-core know tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from dp_core import arrays
from dp_core.kernels import depth
from dp_core.nn import Layer
from dp_core.nn.attention import GatedAttention
from dp_tf import kernels, namespace
from dp_tf.autodiff import pulls, trains
from dp_tf.embedding import embedding_sum

Tensor = Any


def is_tensor(x: Any) -> bool:
    """Whether x is TensorFlow's, a variable included."""
    return isinstance(x, tf.Tensor | tf.Variable)


def segment_sum(x: Tensor, segments: Tensor, count: Any) -> Tensor:
    """Sum the rows of x that share a segment; those of segment −1 are dropped."""
    return tf.math.unsorted_segment_sum(x, segments, count)


def split(x: Tensor, counts: Sequence[Any], axis: int) -> list[Tensor]:
    """Consecutive blocks of x, of sizes that may be tensors."""
    blocks: list[Tensor] = tf.split(x, tf.stack(list(counts)), axis, num=len(counts))
    return blocks


def constant(values: Any, like: Tensor) -> Tensor:
    """Numbers in the type of ``like``."""
    return tf.constant(values, like.dtype)


def network(x: Tensor, layers: Sequence[Layer]) -> Tensor | None:
    """A network of rows by the kernels, where one gradient is taken; None otherwise."""
    if depth() != 1 or len(x.shape) != 2 or not kernels.available():
        return None
    from dp_ops import tensorflow as native
    from dp_ops import training

    return native.network(layers, x, pulls=pulls) if training.serves(layers) else None


def attention(
    g: Tensor, direction: Tensor, weight: Tensor, valid: Tensor, spare: Tensor, layers: Sequence[GatedAttention]
) -> Tensor | None:
    """Layers of attention by the kernels, where one gradient is taken; None otherwise."""
    if depth() != 1 or not kernels.available():
        return None
    from dp_ops import tensorflow as native

    for layer in layers:
        g = native.attention(layer, [g, direction, weight], valid, spare, pulls=pulls)
    return g


def table_sum(
    matrix: Tensor, table: Any, types: Tensor | None, index: Tensor | None, switch: Tensor | None
) -> Tensor | None:
    """A sum of tabulated numbers by the kernels, where nothing but forces is asked for; None otherwise."""
    if depth() > 1 or trains() or not kernels.available():
        return None
    from dp_ops import tensorflow as native

    return native.table_sum(table, matrix, types, index, switch)


arrays.register_namespace(is_tensor, namespace)
arrays.provide(
    namespace.__name__,
    shape=namespace.sizes,
    segment_sum=segment_sum,
    split=split,
    softplus=tf.math.softplus,
    detached=tf.stop_gradient,
    constant=constant,
    embedding_sum=embedding_sum,
    network=network,
    attention=attention,
    table_sum=table_sum,
)
