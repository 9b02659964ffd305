"""The kernels of training and of tables as functions of TensorFlow tensors, with their derivatives.

Nothing else imports TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import tensorflow as tf

from dp_ops import library, training

Tensor = Any


@cache
def _operators() -> Any:
    return tf.load_op_library(str(library("dp_tensorflow")))


def unknown(x: Tensor) -> Tensor:
    """NaN in the place of a gradient that is not available, so that nobody takes it for zero."""
    return tf.fill(tf.shape(x), tf.constant(math.nan, x.dtype))


def _weights(layers: Sequence[Any]) -> list[Tensor]:
    return [x for x in training.weights(layers) if x is not None]


def embedding_sum(
    layers: Sequence[Any], matrix: Tensor, shift: Tensor | None, kind: Tensor | None, *, keep: bool
) -> Tensor:
    """Σ_k R_k ⊗ G(R_k0), (n, K, d) -> (n, d, M): differentiable once by R, and then once by the weights.

    shift: its row kind_k, (n, K), joins the b of the first layer.
    keep: what the network leaves for its derivatives is kept rather than computed again.
    """
    operators, shape = _operators(), (None, matrix.shape[2], layers[-1].w.shape[1])
    weights = _weights(layers)
    weights += [] if shift is None else [shift]
    kinds = tf.zeros((0,), tf.int64) if kind is None else tf.cast(kind, tf.int64)
    attributes = {"kind": kinds, "layers": training.described(layers)}
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
    shape, described = (None, layers[-1].w.shape[1]), training.described(layers)
    return _with_tangents("network", shape, [given], (), _weights(layers), described, pulls=pulls)


def attention(
    layer: Any, inputs: Sequence[Tensor], valid: Tensor, spare: Tensor, *, pulls: Callable[[], bool]
) -> Tensor:
    """A layer of attention, (n, K, width) -> (n, K, width); inputs: these features, directions (n, K, d), and weights
    (n, K, 1). The rest: see ``nn.attention.GatedAttention`` of dp-core.

    It is differentiable once by its inputs, then by the features and the weights of the layer; pulls: as above.
    """
    parts = training.attention_parts(layer)
    fixed = valid, spare, tf.constant(training.attention_settings(layer), tf.float64)
    described = training.described(parts, training.part_sizes)
    return _with_tangents("attention", inputs[0].shape, inputs, fixed, _weights(parts), described, pulls=pulls)


def _with_tangents(
    kind: str, shape: Any, inputs: Sequence[Tensor], fixed: Sequence[Tensor], weights: Sequence[Tensor],
    layers: Sequence[int], *, pulls: Callable[[], bool],
) -> Tensor:  # fmt: skip
    """What kernels make of inputs, of what is fixed, and of weights, where the first input alone depends on weights.

    shape: of the value, with None for open sizes.
    """
    directions: list[list[Tensor]] = []  # gradient of the value, v of each input, and what it leaves, of each slope
    nothing = tf.zeros((0,), inputs[0].dtype)

    def run(name: str, x: Sequence[Tensor], *given: Any) -> Any:
        return getattr(_operators(), f"dp_{kind}_{name}")(*x, *fixed, *given, layers=layers)

    @tf.custom_gradient
    def slope(*given: Tensor) -> Any:
        """The gradients by the inputs x, where ``gy`` is that of the value; x, gy, token are given."""
        *x, gy, token = given

        def of_slope(*v: Tensor) -> tuple[Tensor | None, ...]:
            of_gy, tangents = run("tangent", x, *v, kept, weights)
            directions.append([gy, *v, tangents])
            return *(None for _ in x), tf.ensure_shape(of_gy, shape), tf.zeros_like(token)

        outs = run("slope", x, gy, kept, weights)
        return [tf.ensure_shape(a, b.shape) for a, b in zip(outs if x[1:] else [outs], x, strict=True)], of_slope

    @tf.custom_gradient
    def evaluated(*given: Tensor) -> Any:
        """The value, what is kept, and a token by which ``of_value`` runs after the gradients of slopes."""
        x, params = given[: len(inputs)], given[len(inputs) :]

        def of_value(gu: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
            if pulls():
                return *slope(*inputs, gu, token), *(None for _ in params)
            first, *others = directions or [[nothing] * (len(x) + 2)]
            directions.clear()
            found = []
            for u, (*known, tangents) in ((gu, first), *((nothing, more) for more in others)):
                of_first, of_params = run("gradients", x, u, *known, kept, tangents, params)
                found.append([of_first, *of_params])
            of_first, *of_params = (
                tf.ensure_shape(tf.add_n(g), p.shape) for *g, p in zip(*found, (x[0], *params), strict=True)
            )
            return of_first, *map(unknown, x[1:]), *of_params

        y, left = run("value", x, params)
        return (tf.ensure_shape(y, shape), left, tf.zeros((), y.dtype)), of_value

    y, kept, token = evaluated(*inputs, *weights)
    return y


def table_sum(table: Any, matrix: Tensor, types: Tensor | None, index: Tensor | None, switch: Tensor | None) -> Tensor:
    """Σ_k R_k ⊗ G_k, (n, K, d) -> (n, d, width), with G_k = table(R_k0)·(1 + w_k t_k): differentiable once by R and by
    the switch w, (n, K, 1). t_k: the row index_k of types.
    """
    operators = _operators()
    constants = {
        "coefficients": table.coefficients,
        "starts": table.starts,
        "grid": tf.constant(training.grid_numbers(table.grid), tf.float64),
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
