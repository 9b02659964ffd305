"""The kernels of training and of tables as functions of JAX arrays, with their derivatives.

Nothing else imports JAX.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from dp_ops import library, training

Array = Any


@cache
def _target(name: str) -> str:
    """The name of a kernel in XLA, where it is registered."""
    target = f"dp_jax_{name}"
    function = getattr(ctypes.CDLL(str(library("dp_jax"))), target)
    jax.ffi.register_ffi_target(target, jax.ffi.pycapsule(function), platform="cpu")
    return target


def _run(name: str, shapes: Sequence[tuple[int, ...]], *given: Array, **attributes: Any) -> list[Array]:
    """The outputs of a kernel, of the type of the first input."""
    outs = [jax.ShapeDtypeStruct(shape, given[0].dtype) for shape in shapes]
    return list(jax.ffi.ffi_call(_target(name), outs, vmap_method="sequential")(*given, **attributes))


def unknown(tree: Any) -> Any:
    """NaN in the place of gradients that are not available, so that nobody takes them for zero."""
    return jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), tree)


class _Kernels:
    """The kernels of a problem, whose addresses do not matter, with the attribute ``layers``."""

    def __init__(self, problem: Any, described: list[int]):
        self._kind, self.kept, self._layers = problem.kind, problem.kept(), np.array(described, np.int64)

    def __call__(self, name: str, shapes: Sequence[tuple[int, ...]], *given: Array) -> list[Array]:
        """The outputs of ``KIND_NAME``."""
        return _run(f"{self._kind}_{name}", shapes, *given, layers=self._layers)


def _layers(layers: Sequence[Any], sizes: Any = training.sizes) -> list[training.Layer]:
    return [training.Layer(*sizes(layer)) for layer in layers]


def _weights(layers: Sequence[Any]) -> list[Array]:
    return [x for x in training.weights(layers) if x is not None]


def embedding_sum(
    layers: Sequence[Any], matrix: Array, shift: Array | None, kind: Array | None, *, keep: bool, forces: bool
) -> Array:
    """Σ_k R_k ⊗ G(R_k0), (n, K, d) -> (n, d, M). shift: its row kind_k, (n, K), joins the b of the first layer.

    keep: what the network leaves for its derivatives is kept rather than computed again.
    forces: it is differentiated once by R, and then once by the weights; else once by either.
    """
    shape = (matrix.shape[0], matrix.shape[2], layers[-1].w.shape[1])
    problem = training.Embedding(matrix.shape, 0, _layers(layers), float64=matrix.dtype == np.float64)
    kernels = _Kernels(problem, training.described(layers))

    kinds = jnp.zeros((0,), jnp.int64) if kind is None else kind.astype(jnp.int64)

    def value(x: list[Array], params: list[Array]) -> list[Array]:
        return kernels("sum", [shape, (kernels.kept if keep else 0,)], *x, kinds, *params)

    def slope(x: list[Array], ga: Array, kept: Array, params: list[Array]) -> list[Array]:
        return kernels("slope", [matrix.shape], *x, kinds, ga, kept, *params)

    def along(x: list[Array], v: list[Array], kept: Array, params: list[Array]) -> list[Array]:
        return kernels("transposed_slope", [shape], *x, kinds, *v, kept, *params)

    def gradients(x: list[Array], gu: Array, kept: Array, direction: list[Array], params: list[Array]) -> Any:
        grads = kernels("gradients", [p.shape for p in params], *x, kinds, gu, *direction, kept, *params)
        return unknown(x) if forces else slope(x, gu, kept, params), grads

    functions = _Functions(value, slope, along, gradients, [shape, matrix.shape])
    weights = _weights(layers) + ([] if shift is None else [shift])
    return _differentiable(functions, [matrix], weights, forces=forces)


def network(layers: Sequence[Any], given: Array, *, forces: bool) -> Array:
    """A network of rows, (n, n_in) -> (n, n_out).

    forces: it is differentiated once by its input, and then once by that and the weights; else once by both.
    """
    problem = training.Network(given.shape[0], 0, _layers(layers), float64=given.dtype == np.float64)
    kernels = _Kernels(problem, training.described(layers))
    shape = (given.shape[0], layers[-1].w.shape[1])
    return _with_tangents(kernels, shape, [given], (), _weights(layers), forces=forces)


def attention(layer: Any, inputs: list[Array], valid: Array, spare: Array, *, forces: bool) -> Array:
    """A layer of attention, (n, K, width) -> (n, K, width); inputs: these features, directions (n, K, d), and weights
    (n, K, 1). The rest: see ``nn.attention.GatedAttention`` of dp-core.

    forces: it is differentiated once by its inputs, and then once by the features and the weights; else once by all.
    """
    parts, settings, (g, direction, _) = training.attention_parts(layer), training.attention_settings(layer), inputs
    sizes, float64 = (*g.shape, layer.hidden, direction.shape[2]), g.dtype == np.float64
    problem = training.Attention(sizes, [0] * 5, _layers(parts, training.part_sizes), settings, float64=float64)
    kernels = _Kernels(problem, training.described(parts, training.part_sizes))
    fixed = (stop_gradient(valid), stop_gradient(spare), jnp.asarray(settings, jnp.float64))
    return _with_tangents(kernels, g.shape, inputs, fixed, _weights(parts), forces=forces)


class _Functions(NamedTuple):
    """A function of inputs x and of weights, and what is needed to differentiate it."""

    value: Any  # x, weights -> y, kept
    slope: Any  # x, gy, kept, weights -> the gradients of Σ gy · y by x
    along: Any  # x, v, kept, weights -> the derivative of y along v, and what it leaves for ``gradients``
    #: x, gu, kept, direction, weights -> gradients by x and by the weights of Σ gu · y + Σ v · slope(gy), where the
    #: direction is [gy, *v, what ``along`` leaves]
    gradients: Any
    directions: list[tuple[int, ...]]  # shapes of a direction


def _with_tangents(
    kernels: _Kernels, shape: tuple[int, ...], inputs: list[Array], fixed: Sequence[Array], weights: list[Array], *,
    forces: bool,
) -> Array:  # fmt: skip
    """What kernels make of inputs, of what is fixed, and of weights, where the first input alone depends on weights."""
    shapes = [x.shape for x in inputs]

    def value(x: list[Array], params: list[Array]) -> list[Array]:
        return kernels("value", [shape, (kernels.kept,)], *x, *fixed, *params)

    def slope(x: list[Array], gy: Array, kept: Array, params: list[Array]) -> list[Array]:
        return kernels("slope", shapes, *x, *fixed, gy, kept, *params)

    def along(x: list[Array], v: list[Array], kept: Array, params: list[Array]) -> list[Array]:
        return kernels("tangent", [shape, (kernels.kept,)], *x, *fixed, *v, kept, *params)

    def gradients(x: list[Array], gu: Array, kept: Array, direction: list[Array], params: list[Array]) -> Any:
        *known, tangents = direction
        wanted = [shapes[0], *(p.shape for p in params)]
        of_first, *grads = kernels("gradients", wanted, *x, *fixed, gu, *known, kept, tangents, *params)
        rest = [] if len(x) == 1 else unknown(x[1:]) if forces else slope(x, gu, kept, params)[1:]
        return [of_first, *rest], grads

    functions = _Functions(value, slope, along, gradients, [shape, *shapes, (kernels.kept,)])
    return _differentiable(functions, inputs, weights, forces=forces)


def _differentiable(of: _Functions, given: list[Array], weights: list[Array], *, forces: bool) -> Array:
    """The function with its derivatives. forces: the slope is differentiated too.

    The slope's own backward pass leaves the direction to that of the value, as the gradient of tokens, so that one call
    of ``gradients`` does the work for both. Two slopes cannot leave theirs: gradients of weights are then NaN.
    """
    dtype = given[0].dtype

    @jax.custom_vjp
    def evaluated(x: list[Array], params: list[Array]) -> Any:
        tokens = [jnp.zeros(shape if forces else (0,), dtype) for shape in of.directions]
        return *of.value(x, params), tokens, jnp.zeros((), dtype)

    def forward(x: list[Array], params: list[Array]) -> Any:
        found = evaluated(x, params)
        return found, (x, found[1], params)

    def backward(left: Any, by: Any) -> Any:
        (x, kept, params), (gu, _, direction, slopes) = left, by
        once = jnp.where(slopes > 1, jnp.nan, 1.0).astype(dtype)
        return jax.tree.map(lambda g: g * once, of.gradients(x, gu, kept, direction, params))

    evaluated.defvjp(forward, backward)
    if not forces:
        return evaluated(given, weights)[0]

    @jax.custom_vjp
    def pulled(x: list[Array], gy: Array, kept: Array, params: list[Array], tokens: Any) -> list[Array]:
        return of.slope(x, gy, kept, params)

    def pulled_forward(x: list[Array], gy: Array, kept: Array, params: list[Array], tokens: Any) -> Any:
        return of.slope(x, gy, kept, params), (x, gy, kept, params)

    def pulled_backward(left: Any, v: list[Array]) -> Any:
        x, gy, kept, params = left
        of_gy, *leaves = of.along(x, v, kept, params)
        return None, of_gy, None, None, ([gy, *v, *leaves], jnp.ones((), dtype))

    pulled.defvjp(pulled_forward, pulled_backward)

    @jax.custom_vjp
    def of_given(x: list[Array], params: list[Array]) -> Array:
        return evaluated(x, params)[0]

    def of_given_forward(x: list[Array], params: list[Array]) -> Any:
        y, kept, *tokens = evaluated(x, params)
        return y, (x, kept, params, tokens)

    def of_given_backward(left: Any, gy: Array) -> Any:
        x, kept, params, tokens = left
        fixed = (stop_gradient(kept), stop_gradient(params))
        return pulled(stop_gradient(x), gy, *fixed, tuple(tokens)), unknown(stop_gradient(params))

    of_given.defvjp(of_given_forward, of_given_backward)
    return of_given(given, weights)


def table_sum(table: Any, matrix: Array, types: Array | None, index: Array | None, switch: Array | None) -> Array:
    """Σ_k R_k ⊗ G_k, (n, K, d) -> (n, d, width), with G_k = table(R_k0)·(1 + w_k t_k): differentiable once by R and by
    the switch w, (n, K, 1). t_k: the row index_k of types.
    """
    shape = (matrix.shape[0], matrix.shape[2], table.width)
    constants = (
        table.coefficients,
        table.starts,
        jnp.asarray(training.grid_numbers(table.grid), jnp.float64),
        jnp.zeros((0, table.width), matrix.dtype) if types is None else types,
        jnp.zeros((0,), jnp.int64) if index is None else index.astype(jnp.int64),
    )

    @jax.custom_vjp
    def evaluated(r: Array, weights: Array, fixed: Any) -> Array:
        return _run("table_sum", [shape], r, *fixed, weights)[0]

    def forward(r: Array, weights: Array, fixed: Any) -> Any:
        return evaluated(r, weights, fixed), (r, weights, fixed)

    def backward(left: Any, ga: Array) -> Any:
        r, weights, fixed = left
        return *_run("table_slope", [r.shape, weights.shape], r, *fixed, weights, ga), None

    evaluated.defvjp(forward, backward)
    return evaluated(matrix, jnp.zeros((0,), matrix.dtype) if switch is None else switch, constants)
