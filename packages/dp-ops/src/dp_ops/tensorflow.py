"""The kernels of training and of tables as functions of TensorFlow tensors, with their derivatives.

Nothing else imports TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import tensorflow as tf

from dp_ops import library
from dp_ops.training import described, grid_numbers

Tensor = Any


@cache
def _operators() -> Any:
    return tf.load_op_library(str(library("dp_tensorflow")))


def unknown(x: Tensor) -> Tensor:
    """NaN in the place of a gradient that is not available, so that nobody takes it for zero."""
    return tf.fill(tf.shape(x), tf.constant(math.nan, x.dtype))


def embedding_sum(
    layers: Sequence[Any], matrix: Tensor, shift: Tensor | None, kind: Tensor | None, *, keep: bool
) -> Tensor:
    """Σ_k R_k ⊗ G(R_k0), (n, K, d) -> (n, d, M): differentiable once by R, and then once by the weights.

    shift: its row kind_k, (n, K), joins the b of the first layer.
    keep: what the network leaves for its derivatives is kept rather than computed again.
    """
    operators, shape = _operators(), (None, matrix.shape[2], layers[-1].w.shape[1])
    weights = [x for layer in layers for x in (layer.w, layer.b, layer.idt) if x is not None]
    weights += [] if shift is None else [shift]
    kinds = tf.zeros((0,), tf.int64) if kind is None else tf.cast(kind, tf.int64)
    attributes = {"kind": kinds, "layers": described(layers)}
    directions: list[tuple[Tensor, Tensor]] = []  # of each slope that was differentiated: gradients of sum and slope
    nothing = tf.zeros((0,), matrix.dtype)

    @tf.custom_gradient
    def evaluated(r: Tensor, *params: Tensor) -> Any:
        """The sum, what is kept, and a token by which ``of_weights`` runs after the gradients of slopes."""

        def of_weights(gu: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
            (ga, v), *others = directions or [(nothing, nothing)]
            terms = [(gu, ga, v), *((nothing, *more) for more in others)]
            directions.clear()
            found = [
                operators.dp_embedding_gradients(r=r, gu=u, ga=a, v=w, kept=kept, params=params, **attributes)
                for u, a, w in terms
            ]
            return None, *(tf.ensure_shape(tf.add_n(g), p.shape) for *g, p in zip(*found, params, strict=True))

        a, kept = operators.dp_embedding_sum(r=r, params=params, keep=int(keep), **attributes)
        return (tf.ensure_shape(a, shape), kept, tf.zeros((), r.dtype)), of_weights

    a, kept, token = evaluated(tf.stop_gradient(matrix), *weights)

    @tf.custom_gradient
    def slope(r: Tensor, ga: Tensor, token: Tensor) -> Any:
        """The gradient of the sum by R, where ``ga`` (n, d, M) is that of the sum: (n, K, d)."""

        def of_slope(v: Tensor) -> tuple[Tensor, ...]:
            directions.append((ga, v))
            of_ga = operators.dp_embedding_transposed_slope(r=r, v=v, kept=kept, params=weights, **attributes)
            return unknown(r), tf.ensure_shape(of_ga, shape), tf.zeros_like(token)

        out = operators.dp_embedding_slope(r=r, ga=ga, kept=kept, params=weights, **attributes)
        return tf.ensure_shape(out, matrix.shape), of_slope

    @tf.custom_gradient
    def of_matrix(r: Tensor, a: Tensor, token: Tensor) -> Any:
        """The sum as a function of R."""
        return tf.identity(a), lambda ga: (slope(r, ga, token), ga, tf.zeros_like(token))

    return of_matrix(matrix, a, token)


def network(layers: Sequence[Any], given: Tensor, *, pulls: Callable[[], bool]) -> Tensor:
    """A network of rows, (n, n_in) -> (n, n_out): differentiable once by its input, then by that and the weights.

    pulls: whether backward passes being made are of the first derivative.
    """
    operators, n_out = _operators(), layers[-1].w.shape[1]
    weights = [w for layer in layers for w in (layer.w, layer.b, layer.idt) if w is not None]
    attributes = {"layers": described(layers)}
    directions: list[tuple[Tensor, Tensor, Tensor]] = []  # gradient of y, v, and what it leaves, of each slope
    nothing = tf.zeros((0,), given.dtype)

    @tf.custom_gradient
    def slope(x: Tensor, gy: Tensor, token: Tensor) -> Any:
        """The gradient by x, where ``gy`` (n, n_out) is that of the value: (n, n_in)."""

        def of_slope(v: Tensor) -> tuple[Tensor | None, ...]:
            of_gy, tangents = operators.dp_network_tangent(x=x, v=v, kept=kept, params=weights, **attributes)
            directions.append((gy, v, tangents))
            return None, tf.ensure_shape(of_gy, (None, n_out)), tf.zeros_like(token)

        out = operators.dp_network_slope(x=x, gy=gy, kept=kept, params=weights, **attributes)
        return tf.ensure_shape(out, x.shape), of_slope

    @tf.custom_gradient
    def evaluated(x: Tensor, *params: Tensor) -> Any:
        """The value, what is kept, and a token by which ``of_value`` runs after the gradients of slopes."""

        def of_value(gu: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
            if pulls():
                return slope(given, gu, token), *(None for _ in params)
            first, *others = directions or [(nothing, nothing, nothing)]
            directions.clear()
            found = []
            for u, (gy, v, tangents) in ((gu, first), *((nothing, more) for more in others)):
                of_x, of_params = operators.dp_network_gradients(
                    x=x, gu=u, gy=gy, v=v, kept=kept, tangents=tangents, params=params, **attributes
                )
                found.append([of_x, *of_params])
            return tuple(tf.ensure_shape(tf.add_n(g), p.shape) for *g, p in zip(*found, (x, *params), strict=True))

        y, left = operators.dp_network_value(x=x, params=params, **attributes)
        return (tf.ensure_shape(y, (None, n_out)), left, tf.zeros((), x.dtype)), of_value

    y, kept, token = evaluated(given, *weights)
    return y


def table_sum(table: Any, matrix: Tensor, types: Tensor | None, index: Tensor | None, switch: Tensor | None) -> Tensor:
    """Σ_k R_k ⊗ G_k, (n, K, d) -> (n, d, width), with G_k = table(R_k0)·(1 + w_k t_k): differentiable once by R and by
    the switch w, (n, K, 1). t_k: the row index_k of types.
    """
    operators = _operators()
    constants = {
        "coefficients": table.coefficients,
        "starts": table.starts,
        "grid": tf.constant(grid_numbers(table.grid), tf.float64),
        "gates": tf.zeros((0, table.width), matrix.dtype) if types is None else types,
        "index": tf.zeros((0,), tf.int64) if index is None else tf.cast(index, tf.int64),
    }

    @tf.custom_gradient
    def evaluated(r: Tensor, weights: Tensor) -> Any:
        def of_sum(ga: Tensor) -> tuple[Tensor, Tensor]:
            gr, gweights = operators.dp_table_slope(r=r, weights=weights, ga=ga, **constants)
            return tf.ensure_shape(gr, r.shape), tf.ensure_shape(gweights, weights.shape)

        a = operators.dp_table_sum(r=r, weights=weights, **constants)
        return tf.ensure_shape(a, (r.shape[0], r.shape[2], table.width)), of_sum

    return evaluated(matrix, tf.zeros((0,), matrix.dtype) if switch is None else switch)
