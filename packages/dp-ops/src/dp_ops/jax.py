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
    found: list[Array] = jax.ffi.ffi_call(_target(name), outs, vmap_method="sequential")(*given, **attributes)
    return found


def unknown(tree: Any) -> Any:
    """NaN in the place of gradients that are not available, so that nobody takes them for zero."""
    return jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), tree)


class _Kernels:
    """The kernels of a kind, ``embedding`` or ``network``, for the layers and the shape of an input."""

    def __init__(self, kind: str, layers: Sequence[Any], shape: tuple[int, ...], dtype: Any):
        self.kind = kind
        self._layers = np.array(training.described(layers), np.int64)
        described = [training.Layer(*training.sizes(layer)) for layer in layers]
        float64 = dtype == np.float64
        if kind == "embedding":
            self.kept = training.Embedding(shape, 0, described, float64=float64).kept()
        else:
            self.kept = training.Network(shape[0], 0, described, float64=float64).kept()

    def __call__(self, name: str, shapes: Sequence[tuple[int, ...]], *given: Array) -> list[Array]:
        """The outputs of ``KIND_NAME``."""
        return _run(f"{self.kind}_{name}", shapes, *given, layers=self._layers)


def _weights(layers: Sequence[Any]) -> list[Array]:
    return [x for layer in layers for x in (layer.w, layer.b, layer.idt) if x is not None]


def embedding_sum(
    layers: Sequence[Any], matrix: Array, shift: Array | None, kind: Array | None, *, keep: bool, forces: bool
) -> Array:
    """Σ_k R_k ⊗ G(R_k0), (n, K, d) -> (n, d, M). shift: its row kind_k, (n, K), joins the b of the first layer.

    keep: what the network leaves for its derivatives is kept rather than computed again.
    forces: it is differentiated once by R, and then once by the weights; else once by either.
    """
    shape = (matrix.shape[0], matrix.shape[2], layers[-1].w.shape[1])
    kernels = _Kernels("embedding", layers, matrix.shape, matrix.dtype)

    kinds = jnp.zeros((0,), jnp.int64) if kind is None else kind.astype(jnp.int64)

    def value(r: Array, params: list[Array]) -> list[Array]:
        return kernels("sum", [shape, (kernels.kept if keep else 0,)], r, kinds, *params)

    def slope(r: Array, ga: Array, kept: Array, params: list[Array]) -> Array:
        return kernels("slope", [r.shape], r, kinds, ga, kept, *params)[0]

    def along(r: Array, v: Array, kept: Array, params: list[Array]) -> list[Array]:
        return kernels("transposed_slope", [shape], r, kinds, v, kept, *params)

    def gradients(r: Array, gu: Array, kept: Array, direction: list[Array], params: list[Array]) -> tuple[Any, Any]:
        grads = kernels("gradients", [p.shape for p in params], r, kinds, gu, *direction, kept, *params)
        return unknown(r) if forces else slope(r, gu, kept, params), grads

    functions = _Functions(value, slope, along, gradients, [shape, matrix.shape])
    weights = _weights(layers) + ([] if shift is None else [shift])
    return _differentiable(functions, matrix, weights, forces=forces)


def network(layers: Sequence[Any], given: Array, *, forces: bool) -> Array:
    """A network of rows, (n, n_in) -> (n, n_out).

    forces: it is differentiated once by its input, and then once by that and the weights; else once by both.
    """
    shape = (given.shape[0], layers[-1].w.shape[1])
    kernels = _Kernels("network", layers, given.shape, given.dtype)

    def value(x: Array, params: list[Array]) -> list[Array]:
        return kernels("value", [shape, (kernels.kept,)], x, *params)

    def slope(x: Array, gy: Array, kept: Array, params: list[Array]) -> Array:
        return kernels("slope", [x.shape], x, gy, kept, *params)[0]

    def along(x: Array, v: Array, kept: Array, params: list[Array]) -> list[Array]:
        return kernels("tangent", [shape, (kernels.kept,)], x, v, kept, *params)

    def gradients(x: Array, gu: Array, kept: Array, direction: list[Array], params: list[Array]) -> tuple[Any, Any]:
        gy, v, tangents = direction
        shapes = [x.shape, *(p.shape for p in params)]
        of_x, *of_params = kernels("gradients", shapes, x, gu, gy, v, kept, tangents, *params)
        return of_x, of_params

    functions = _Functions(value, slope, along, gradients, [shape, given.shape, (kernels.kept,)])
    return _differentiable(functions, given, _weights(layers), forces=forces)


class _Functions(NamedTuple):
    """A function of x and of weights, and what is needed to differentiate it."""

    value: Any  # x, weights -> y, kept
    slope: Any  # x, gy, kept, weights -> the gradient of Σ gy · y by x
    along: Any  # x, v, kept, weights -> the derivative of y along v, and what it leaves for ``gradients``
    #: x, gu, kept, direction, weights -> gradients by x and by the weights of Σ gu · y + Σ v · slope(gy), where the
    #: direction is [gy, v, what ``along`` leaves]
    gradients: Any
    directions: list[tuple[int, ...]]  # shapes of a direction


def _differentiable(of: _Functions, given: Array, weights: list[Array], *, forces: bool) -> Array:
    """The function with its derivatives. forces: the slope is differentiated too.

    The slope's own backward pass leaves the direction to that of the value, as the gradient of tokens, so that one call
    of ``gradients`` does the work for both. Two slopes cannot leave theirs: gradients of weights are then NaN.
    """

    @jax.custom_vjp
    def evaluated(x: Array, params: list[Array]) -> Any:
        tokens = [jnp.zeros(shape if forces else (0,), x.dtype) for shape in of.directions]
        return *of.value(x, params), tokens, jnp.zeros((), x.dtype)

    def forward(x: Array, params: list[Array]) -> Any:
        found = evaluated(x, params)
        return found, (x, found[1], params)

    def backward(left: Any, by: Any) -> Any:
        (x, kept, params), (gu, _, direction, slopes) = left, by
        once = jnp.where(slopes > 1, jnp.nan, 1.0).astype(x.dtype)
        return jax.tree.map(lambda g: g * once, of.gradients(x, gu, kept, direction, params))

    evaluated.defvjp(forward, backward)
    if not forces:
        return evaluated(given, weights)[0]

    @jax.custom_vjp
    def pulled(x: Array, gy: Array, kept: Array, params: list[Array], tokens: Any) -> Array:
        return of.slope(x, gy, kept, params)

    def pulled_forward(x: Array, gy: Array, kept: Array, params: list[Array], tokens: Any) -> Any:
        return of.slope(x, gy, kept, params), (x, gy, kept, params)

    def pulled_backward(left: Any, v: Array) -> Any:
        x, gy, kept, params = left
        of_gy, *leaves = of.along(x, v, kept, params)
        return None, of_gy, None, None, ([gy, v, *leaves], jnp.ones((), x.dtype))

    pulled.defvjp(pulled_forward, pulled_backward)

    @jax.custom_vjp
    def of_given(x: Array, params: list[Array]) -> Array:
        return evaluated(x, params)[0]

    def of_given_forward(x: Array, params: list[Array]) -> Any:
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
