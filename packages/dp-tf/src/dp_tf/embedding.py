"""The sum of an embedded number over the slots of a row, with its derivatives written out.

For A = Σ_k R_k ⊗ G(R_k0) the force needs G', but no backward pass through the network: G and G' come from one
forward pass. A training step then needs a single backward pass, for the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from dp_core.kernels import depth
from dp_core.module import leaves, with_leaves
from dp_core.nn import Layer
from dp_tf import kernels, namespace
from dp_tf.autodiff import trains

Tensor = Any

#: Rows are put into so many groups in a training step. One evaluation is not worth the larger graph.
GROUPS = 8

tanh_grad = tf.raw_ops.TanhGrad  # (y, dy) -> dy (1 − y²)


class Passed(NamedTuple):
    """What a layer leaves for the backward pass."""

    x: Tensor  # its input
    dx: Tensor  # derivative of x by R_k0
    y: Tensor  # tanh
    dy: Tensor  # derivative of y by R_k0


def forward(layers: Sequence[Layer], s: Tensor) -> tuple[Tensor, Tensor, list[Passed]]:
    """G(s), dG/ds, and what the layers leave: (N, 1) -> (N, M)."""
    x, dx, passed = s, tf.ones_like(s), []
    for layer in layers:
        z, dz = (x * layer.w, dx * layer.w) if layer.w.shape[0] == 1 else (x @ layer.w, dx @ layer.w)
        y = tf.tanh(z if layer.b is None else tf.nn.bias_add(z, layer.b))
        dy = tanh_grad(y=y, dy=dz)
        passed.append(Passed(x, dx, y, dy))
        y, dy = (y, dy) if layer.idt is None else (y * layer.idt, dy * layer.idt)
        x, dx = _added(x, y, layer.past), _added(dx, dy, layer.past)
    return x, dx, passed


def backward(layers: Sequence[Layer], passed: Sequence[Passed], g: Tensor, h: Tensor) -> list[Tensor]:
    """Gradients of the weights, those that there are of w, b and idt of each layer, from those of G and of dG/ds."""
    grads: list[Tensor] = []
    for k in reversed(range(len(layers))):
        layer = layers[k]
        w, b, idt, past = layer.w, layer.b, layer.idt, layer.past
        x, dx, y, dy = passed[k]
        gy, hy = (g, h) if idt is None else (g * idt, h * idt)
        gz = tanh_grad(y=y, dy=gy) - (2.0 * y) * (dy * hy)
        gu = tanh_grad(y=y, dy=hy)
        of_w = tf.matmul(x, gz, adjoint_a=True) + tf.matmul(dx, gu, adjoint_a=True)
        of_b = [] if b is None else [tf.reduce_sum(gz, 0)]
        of_idt = [] if idt is None else [tf.reduce_sum(g * y + h * dy, 0)]
        grads = [of_w, *of_b, *of_idt, *grads]
        if k > 0:
            g = _passed_on(tf.matmul(gz, w, adjoint_b=True), g, past)
            h = _passed_on(tf.matmul(gu, w, adjoint_b=True), h, past)
    return grads


def _added(x: Tensor, y: Tensor, past: int) -> Tensor:
    """y and x, as often as it goes past the layer."""
    return y if not past else y + (x if past == 1 else tf.concat([x, x], 1))


def _passed_on(gx: Tensor, g: Tensor, past: int) -> Tensor:
    """The gradient of the input, with what goes past the layer."""
    if not past:
        return gx
    return gx + (g if past == 1 else tf.add_n(tf.split(g, 2, 1)))


def network(layers: Sequence[Layer], s: Tensor) -> tuple[Tensor, Tensor]:
    """G and dG/ds, differentiable once by the weights: (N, 1) -> (N, M)."""
    given = leaves(layers)

    @tf.custom_gradient
    def run(s: Tensor, *params: Tensor) -> Any:
        used = with_leaves(layers, dict(zip(given, params, strict=True)))
        g, dg, passed = forward(used, s)
        return (g, dg), lambda *of: (_unknown(s), *backward(used, passed, *of))

    out: tuple[Tensor, Tensor] = run(s, *given.values())
    return out


def _unknown(x: Tensor) -> Tensor:
    """NaN in the place of a gradient that is not available, so that nobody takes it for zero."""
    return tf.fill(tf.shape(x), tf.constant(math.nan, x.dtype))


@tf.custom_gradient
def summed(r: Tensor, g: Tensor, dg: Tensor) -> Any:
    """Σ_k R_k ⊗ G_k, (n, K, d), (n, K, M) -> (n, d, M), where G depends on R_k0 with the slope dG (n, K, M)."""

    def of_sum(a: Tensor) -> tuple[Tensor | None, ...]:
        return _slope(r, a, g, dg), r @ a, None

    return tf.matmul(r, g, adjoint_a=True), of_sum


@tf.custom_gradient
def _slope(r: Tensor, a: Tensor, g: Tensor, dg: Tensor) -> Any:
    """The gradient of the sum by R, where a (n, d, M) is that of the sum: (n, K, d)."""
    first = tf.matmul(g, a, adjoint_b=True)
    along = tf.reduce_sum(r * tf.matmul(dg, a, adjoint_b=True), 2, keepdims=True)
    out = tf.concat([first[:, :, :1] + along, first[:, :, 1:]], 2)

    def of_slope(v: Tensor) -> tuple[Tensor, ...]:
        w = v[:, :, :1] * r
        of_a = tf.matmul(v, g, adjoint_a=True) + tf.matmul(w, dg, adjoint_a=True)
        return _unknown(r), of_a, v @ a, w @ a

    return out, of_slope


def embedding_sum(matrix: Tensor, net: Any, shift: Any = None, kind: Any = None) -> Tensor | None:
    """``arrays.embedding_sum`` for networks that use tanh alone, where one gradient is taken; None otherwise.

    In training, rows with about as many neighbours go together, so that few slots are empty.
    """
    if depth() != 1 or any(layer.activation_function.lower() != "tanh" for layer in net.layers):
        return None
    if kernels.available():
        from dp_ops import tensorflow as native

        return native.embedding_sum(net.layers, matrix, shift, kind, keep=trains())
    if shift is not None:
        return None
    if not trains():
        return _sum(net.layers, matrix)
    rows, slots, _ = namespace.sizes(matrix)
    used = tf.reduce_any(tf.not_equal(matrix, 0), 2)
    lengths = tf.reduce_max(tf.where(used, tf.range(1, slots + 1), 0), 1)
    order = tf.argsort(lengths, direction="DESCENDING")
    counts = [rows * (k + 1) // GROUPS - rows * k // GROUPS for k in range(GROUPS)]
    widths = [tf.reduce_max(tf.concat([part, [0]], 0)) for part in tf.split(tf.gather(lengths, order), counts)]
    parts = tf.split(namespace.take(matrix, order, axis=0), counts)
    sums = [_sum(net.layers, part[:, :width]) for part, width in zip(parts, widths, strict=True)]
    return namespace.take(tf.concat(sums, 0), tf.argsort(order), axis=0)


def _sum(layers: Sequence[Layer], matrix: Tensor) -> Tensor:
    g, dg = network(layers, tf.stop_gradient(tf.reshape(matrix[:, :, :1], (-1, 1))))
    shape = (*namespace.sizes(matrix)[:2], layers[-1].w.shape[1])
    return summed(matrix, tf.reshape(g, shape), tf.reshape(dg, shape))
