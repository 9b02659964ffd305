"""The array namespace of a model, and the few primitives that the array-API standard lacks.

Model code asks ``xp = namespace(x, self.w)`` and uses the standard's functions. What the standard lacks is a
*primitive* here: a function with a portable fallback that a backend may replace by its own (``provide``). Nothing here
knows a framework.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat

from dp_core.module import Array

_NAMESPACES: list[tuple[Callable[[Any], bool], Any]] = []
_NATIVE: dict[tuple[str, str], Callable[..., Any]] = {}


def register_namespace(matches: Callable[[Any], bool], namespace: Any) -> None:
    """Use ``namespace`` for arrays that are not array-API arrays by themselves (autograd boxes, TensorFlow tensors)."""
    _NAMESPACES.append((matches, namespace))


def provide(namespace_name: str, **functions: Callable[..., Any]) -> None:
    """Give native versions of primitives for the namespace of that ``__name__``; same arguments, same results."""
    for name, function in functions.items():
        _NATIVE[namespace_name, name] = function


def namespace(*arrays: Any) -> Any:
    """The array-API namespace of the arrays; None is skipped.

    Pass every array that takes part: under automatic differentiation one may be a tracer and another a plain array.
    """
    given = [a for a in arrays if a is not None]
    for matches, found in _NAMESPACES:
        if any(matches(a) for a in given):
            return found
    return array_api_compat.array_namespace(*given)


def _native(xp: Any, name: str) -> Callable[..., Any] | None:
    return _NATIVE.get((xp.__name__, name))


def shape(x: Array) -> tuple[Any, ...]:
    """The shape of x; entries are integers, or symbols while a graph is traced. Models never read ``x.shape``."""
    native = _native(namespace(x), "shape")
    return native(x) if native else tuple(x.shape)


def segment_sum(x: Array, segments: Array, count: Any) -> Array:
    """Sum the rows of x that share a segment: (n, …), (n,) -> (count, …). Rows of segment −1 are dropped."""
    xp = namespace(x, segments)
    native = _native(xp, "segment_sum")
    if native:
        return native(x, segments, count)
    hot = segments[None, :] == xp.arange(count, dtype=segments.dtype)[:, None]
    flat = xp.reshape(x, (shape(x)[0], math.prod(shape(x)[1:])))
    return xp.reshape(xp.astype(hot, x.dtype) @ flat, (count, *shape(x)[1:]))


def take(x: Array, index: Array) -> Array:
    """Rows of x by an index of any shape: (n, …), (…) -> (…, …); the index is within 0 … n−1."""
    xp = namespace(x, index)
    rows = xp.take(x, xp.reshape(index, (-1,)), axis=0)
    return xp.reshape(rows, (*shape(index), *shape(x)[1:]))


def neighbor_rows(x: Array, index: Array) -> Array:
    """The row of x of every neighbour: (m, …), (n, K) -> (n, K, …). Empty slots, −1, get row 0: give them no weight."""
    xp = namespace(index)
    return take(x, xp.maximum(index, xp.zeros_like(index)))


def split(x: Array, counts: Sequence[Any], axis: int = 0) -> list[Array]:
    """Cut x into consecutive blocks of the given sizes along an axis (0 or 1)."""
    if len(counts) == 1:
        return [x]
    native = _native(namespace(x), "split")
    if native:
        return list(native(x, counts, axis))
    blocks, start = [], 0
    for count in counts:
        part = slice(start, start + count)
        blocks.append(x[part, ...] if axis == 0 else x[:, part, ...])
        start = start + count
    return blocks


def concat(blocks: Sequence[Array], axis: int = 0) -> Array:
    """Join blocks along an axis; a single block is returned as it is."""
    return blocks[0] if len(blocks) == 1 else namespace(*blocks).concat(list(blocks), axis=axis)


def by_block(functions: Sequence[Callable[[Array], Array]], x: Array, counts: Sequence[Any]) -> Array:
    """Each block of rows of x through its own function, joined again; blocks known to be empty are left out."""
    blocks = list(zip(functions, split(x, counts), counts, strict=True))
    some = [(function, block) for function, block, count in blocks if not (isinstance(count, int) and count == 0)]
    return concat([function(block) for function, block in some or [blocks[0][:2]]])


#: Lost in the rounding of any square of a distance between atoms, in single precision too.
_TINY = 1e-30


def safe_norm(x: Array, mask: Array) -> Array:
    """Length of the last axis, with gradient 0 where the mask is False: (…, 3), (…) -> (…); 1 where masked.

    The gradient of the length 0, that of a virtual atom from its atom if there is no spin, is 0 too.
    """
    xp = namespace(x, mask)
    squares = xp.sum(x * x, axis=-1)
    return xp.sqrt(xp.where(mask, squares, xp.ones_like(squares)) + _TINY)


def sigmoid(x: Array) -> Array:
    """1/(1+exp(−x)), without overflow."""
    return 0.5 * namespace(x).tanh(0.5 * x) + 0.5


def silu(x: Array, threshold: float = math.inf) -> Array:
    """x/(1+exp(−x)); above the threshold continued by a tanh of equal value and slope.

    A native version may return None where it has nothing to gain.
    """
    xp = namespace(x)
    native = _native(xp, "silu")
    found = native(x, threshold) if native else None
    if found is not None:
        return found
    y = x * sigmoid(x)
    if threshold == math.inf:
        return y
    s = 1.0 / (1.0 + math.exp(-threshold))
    value, slope = threshold * s, s + threshold * s * (1.0 - s)
    return xp.where(x < threshold, y, xp.tanh(slope * (x - threshold)) + value)


def softplus(x: Array) -> Array:
    """ln(1+exp(x)), without overflow."""
    xp = namespace(x)
    native = _native(xp, "softplus")
    if native:
        return native(x)
    return xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))


def gelu(x: Array) -> Array:
    """The tanh form of the Gaussian error linear unit."""
    return 0.5 * x * (1.0 + namespace(x).tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def cast(x: Array, dtype: str) -> Array:
    """x in the precision named ``float64``, ``float32``, …; unchanged when it has it already."""
    xp = namespace(x)
    target = getattr(xp, dtype)
    return x if x.dtype == target else xp.astype(x, target)


def detached(x: Array) -> Array:
    """x, whose derivatives need not be known because they cancel in the end; a native version saves their work."""
    native = _native(namespace(x), "detached")
    return native(x) if native else x


def constant(values: Any, like: Array) -> Array:
    """Numbers as an array of the library, precision and device of ``like``."""
    xp = namespace(like)
    native = _native(xp, "constant")
    if native:
        return native(values, like)
    return xp.asarray(values, dtype=like.dtype, device=array_api_compat.device(like))


def positions(count: Any, like: Array) -> Array:
    """0, 1, … count − 1 where ``like`` is: (count,) int64."""
    xp = namespace(like)
    native = _native(xp, "positions")
    if native:
        return native(count, like)
    return xp.arange(count, dtype=xp.int64, device=array_api_compat.device(like))


def linear(x: Array, w: Array, b: Array | None) -> Array:
    """``x @ w + b``: (…, n_in) -> (…, n_out). A native version may return None where it has nothing to gain."""
    native = _native(namespace(x, w), "linear")
    found = native(x, w, b) if native else None
    if found is not None:
        return found
    y = x @ w
    return y if b is None else y + b


def dense(
    x: Array, w: Array, b: Array | None, idt: Array | None, activate: Callable[[Array], Array], resnet: bool
) -> Array:
    """One residual layer, ``r(x) + idt * activate(x @ w + b)``: (…, n_in) -> (…, n_out); see ``nn.Layer``."""
    xp = namespace(x, w)
    y = activate(linear(x, w, b))
    y = y if idt is None else y * idt
    n_in, n_out = w.shape
    if resnet and n_out == n_in:
        return x + y
    if resnet and n_out == 2 * n_in:
        return y + xp.concat([x, x], axis=-1)
    return y


def embedding_sum(matrix: Array, net: Any, shift: Array | None = None, kind: Array | None = None) -> Array:
    """Σ_k R_k ⊗ net(R_k0), the embedding of the first column summed over the slots: (n, K, d) -> (n, d, width).

    shift: (m, width of the first layer), of which the row kind_k, (n, K), joins the bias of the first layer; none for
    no such row. Slots with R = 0 are empty: they add nothing, and their gradient may be left at 0. A native version may
    return None for what it does not know. A table in the place of the network goes to ``table_sum``.
    """
    if not hasattr(net, "layers"):
        return table_sum(matrix, net)
    xp = namespace(matrix, net.layers[0].w)
    native = _native(xp, "embedding_sum")
    found = native(matrix, net, shift, kind) if native else None
    if found is not None:
        return found
    number = matrix[..., :1]
    return xp.matrix_transpose(matrix) @ (net(number) if shift is None else net.shifted(number, take(shift, kind)))


def table_sum(
    matrix: Array, table: Any, types: Array | None = None, index: Array | None = None, switch: Array | None = None
) -> Array:
    """Σ_k R_k ⊗ G_k with G_k = table(R_k0)·(1 + w_k t_k): (n, K, d) -> (n, d, width). table: a ``nn.table.Table``.

    types: (m, width), of which t_k is the row index_k, (n, K); none for t = 0. switch: w, (n, K, 1); none for 1.
    Slots with R = 0 are empty: they add nothing, and their gradient may be left at 0. A native version may return None
    where it has nothing to gain.
    """
    xp = namespace(matrix, table.starts, types, switch)
    native = _native(xp, "table_sum")
    found = native(matrix, table, types, index, switch) if native else None
    if found is not None:
        return found
    g = table(matrix[..., :1])
    if types is not None:
        gate = take(types, index)
        g = g * (1.0 + (gate if switch is None else gate * switch))
    return xp.matrix_transpose(matrix) @ g


def attention(
    g: Array, direction: Array | None, weight: Array, valid: Array, spare: Array, layers: Sequence[Any]
) -> Array:
    """Layers of attention among slots, one after the other: (n, K, width) -> (n, K, width).

    direction: (n, K, d), whose products gate two slots, with both weights in it; none for no angles, and native
    versions get the weight for it. The rest: see ``nn.attention.GatedAttention``. What slots get that do not take part
    means nothing. A native version may return None where it has nothing to gain.
    """
    xp = namespace(g, direction, layers[0].norm.w)
    native = _native(xp, "attention")
    found = native(g, weight if direction is None else direction, weight, valid, spare, layers) if native else None
    if found is not None:
        return found
    gate = None if direction is None else direction @ xp.matrix_transpose(direction)
    for layer in layers:
        g = layer(g, weight, valid, spare, gate)
    return g


def network(x: Array, layers: Sequence[Any]) -> Array:
    """The layers applied to the last axis, one after the other: (n, n_in) -> (n, n_out).

    A native version may return None for networks that it does not know.
    """
    native = _native(namespace(x, layers[0].w), "network")
    found = native(x, layers) if native else None
    if found is not None:
        return found
    for layer in layers:
        x = layer(x)
    return x
