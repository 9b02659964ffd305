"""The array-API standard in functions of TensorFlow: this module is the namespace of TensorFlow tensors.

Types follow the standard: tensors of different kinds do not mix, Python numbers take the type of the tensor beside
them, and nothing is silently made a float. Sizes may be unknown while a graph is made; wherever the standard takes a
shape, its entries may be tensors.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

Tensor = Any

e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None

bool = tf.bool
int8, int16, int32, int64 = tf.int8, tf.int16, tf.int32, tf.int64
uint8, uint16, uint32, uint64 = tf.uint8, tf.uint16, tf.uint32, tf.uint64
float32, float64, complex64, complex128 = tf.float32, tf.float64, tf.complex64, tf.complex128

# -- sizes and types


def sizes(x: Tensor) -> tuple[Any, ...]:
    """The shape of x: integers where they are known, else tensors."""
    known = x.shape.as_list()
    if None not in known:
        return tuple(known)
    open_sizes = tf.shape(x)
    return tuple(open_sizes[k] if size is None else size for k, size in enumerate(known))


def _packed(shape: Any) -> Any:
    one = not shape.shape.rank if tf.is_tensor(shape) else isinstance(shape, int | np.integer)
    return (shape,) if one else shape


def _axes(axis: Any, rank: int) -> list[int]:
    """Axes counted from the front."""
    axes = range(rank) if axis is None else (axis,) if isinstance(axis, int) else axis
    return [a % rank for a in axes]


def _both(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Two operands, of which one may be a Python number."""
    if not tf.is_tensor(x) and not isinstance(x, tf.Variable):
        return tf.convert_to_tensor(x, y.dtype), y
    return x, tf.convert_to_tensor(y, x.dtype)


def _widened(x: Tensor, dtype: Any) -> Tensor:
    """What is summed: small integers become large ones, other types stay."""
    if dtype is None and (x.dtype.is_integer or x.dtype.is_bool):
        dtype = uint64 if x.dtype.is_unsigned else int64
    return x if dtype is None else tf.cast(x, dtype)


def isdtype(dtype: Any, kind: Any) -> builtins.bool:
    """Whether a type is of a kind: another type, the name of a kind, or a tuple of these."""
    if isinstance(kind, tuple):
        return builtins.any(isdtype(dtype, k) for k in kind)
    if not isinstance(kind, str):
        return builtins.bool(dtype == kind)
    return builtins.bool(np.isdtype(dtype.as_numpy_dtype, kind))


def finfo(dtype: Any) -> Any:
    """Limits of a floating type."""
    return np.finfo(getattr(dtype, "dtype", dtype).as_numpy_dtype)


def iinfo(dtype: Any) -> Any:
    """Limits of an integer type."""
    return np.iinfo(getattr(dtype, "dtype", dtype).as_numpy_dtype)


def astype(x: Tensor, dtype: Any, *, copy: builtins.bool = True, device: Any = None) -> Tensor:
    """x in another type."""
    return tf.cast(x, dtype)


# -- creation


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Tensor:
    """A tensor of numbers, nested sequences or arrays. Python floats become float64, integers int64."""
    if tf.is_tensor(obj) or isinstance(obj, tf.Variable):
        return tf.convert_to_tensor(obj) if dtype is None else tf.cast(obj, dtype)
    return tf.convert_to_tensor(np.asarray(obj, None if dtype is None else dtype.as_numpy_dtype))


def arange(start: Any, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Numbers from start to stop."""
    start, stop = (0, start) if stop is None else (start, stop)
    if dtype is None:
        dtype = float64 if builtins.any(isinstance(x, float) for x in (start, stop, step)) else int64
    start, stop, step = (tf.cast(x, dtype) for x in (start, stop, step))
    return tf.range(start, stop, step)


def linspace(
    start: Any, stop: Any, num: int, *, dtype: Any = None, device: Any = None, endpoint: builtins.bool = True
) -> Tensor:
    """num numbers at equal distances."""
    return tf.convert_to_tensor(np.linspace(start, stop, num, endpoint=endpoint), dtype or float64)


def eye(n_rows: int, n_cols: int | None = None, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones on a diagonal."""
    return tf.convert_to_tensor(np.eye(n_rows, n_cols, k), dtype or float64)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The same number everywhere."""
    return tf.fill(_packed(shape), asarray(fill_value, dtype=dtype))


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros."""
    return tf.zeros(_packed(shape), dtype or float64)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones."""
    return tf.ones(_packed(shape), dtype or float64)


empty = zeros


def full_like(x: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The same number everywhere, in the shape of x."""
    return tf.fill(tf.shape(x), tf.cast(fill_value, dtype or x.dtype))


def zeros_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros in the shape of x."""
    return tf.zeros_like(x, dtype)


def ones_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones in the shape of x."""
    return tf.ones_like(x, dtype)


empty_like = zeros_like


def tril(x: Tensor, *, k: int = 0) -> Tensor:
    """The lower triangle of matrices."""
    return where(tf.range(tf.shape(x)[-2])[:, None] + k >= tf.range(tf.shape(x)[-1]), x, 0)


def triu(x: Tensor, *, k: int = 0) -> Tensor:
    """The upper triangle of matrices."""
    return where(tf.range(tf.shape(x)[-2])[:, None] + k <= tf.range(tf.shape(x)[-1]), x, 0)


# -- element by element


def _of_floats(function: Any) -> Any:
    """A function that leaves integers as they are."""
    return lambda x, /: function(x) if x.dtype.is_floating or x.dtype.is_complex else x


def _of_two(function: Any) -> Any:
    return lambda x, y, /: function(*_both(x, y))


exp, expm1, log, log1p, sqrt = tf.exp, tf.math.expm1, tf.math.log, tf.math.log1p, tf.sqrt
sin, cos, tan, asin, acos, atan = tf.sin, tf.cos, tf.tan, tf.asin, tf.acos, tf.atan
sinh, cosh, tanh, asinh, acosh, atanh = tf.sinh, tf.cosh, tf.tanh, tf.asinh, tf.acosh, tf.atanh
abs, sign, square, negative, reciprocal = tf.abs, tf.sign, tf.square, tf.negative, tf.math.reciprocal
floor, ceil, round = _of_floats(tf.floor), _of_floats(tf.math.ceil), _of_floats(tf.round)
logical_not, conj, real, imag = tf.logical_not, tf.math.conj, tf.math.real, tf.math.imag
add, subtract, multiply, divide = (_of_two(f) for f in (tf.add, tf.subtract, tf.multiply, tf.truediv))
pow, atan2, remainder, floor_divide = (_of_two(f) for f in (tf.pow, tf.atan2, tf.math.floormod, tf.math.floordiv))
maximum, minimum, equal, not_equal = (_of_two(f) for f in (tf.maximum, tf.minimum, tf.equal, tf.not_equal))
less, less_equal, greater, greater_equal = (_of_two(f) for f in (tf.less, tf.less_equal, tf.greater, tf.greater_equal))
logical_and, logical_or, logical_xor = (_of_two(f) for f in (tf.logical_and, tf.logical_or, tf.math.logical_xor))


def positive(x: Tensor, /) -> Tensor:
    """x itself."""
    return x


def trunc(x: Tensor, /) -> Tensor:
    """Rounded towards zero."""
    return sign(x) * tf.floor(abs(x)) if x.dtype.is_floating else x


def log2(x: Tensor, /) -> Tensor:
    """The logarithm to base 2."""
    return log(x) / math.log(2.0)


def log10(x: Tensor, /) -> Tensor:
    """The logarithm to base 10."""
    return log(x) / math.log(10.0)


def hypot(x: Tensor, y: Tensor, /) -> Tensor:
    """The root of the sum of squares."""
    return sqrt(square(x) + square(y))


def isfinite(x: Tensor, /) -> Tensor:
    """Neither infinite nor NaN."""
    return tf.math.is_finite(x) if x.dtype.is_floating else tf.ones_like(x, bool)


def isnan(x: Tensor, /) -> Tensor:
    """No number."""
    return tf.math.is_nan(x) if x.dtype.is_floating else tf.zeros_like(x, bool)


def isinf(x: Tensor, /) -> Tensor:
    """Infinite."""
    return tf.math.is_inf(x) if x.dtype.is_floating else tf.zeros_like(x, bool)


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    """Numbers between two limits."""
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


def where(condition: Tensor, x: Any, y: Any, /) -> Tensor:
    """x where the condition holds, else y."""
    return tf.where(condition, *_both(x, y))


# -- reductions


def sum(x: Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """Sum over axes."""
    return tf.reduce_sum(_widened(x, dtype), axis, keepdims)


def prod(x: Tensor, /, *, axis: Any = None, dtype: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """Product over axes."""
    return tf.reduce_prod(_widened(x, dtype), axis, keepdims)


def mean(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """Mean over axes."""
    return tf.reduce_mean(x, axis, keepdims)


def var(x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: builtins.bool = False) -> Tensor:
    """Variance over axes."""
    count = tf.size(x) if axis is None else tf.reduce_prod(tf.gather(tf.shape(x), _axes(axis, x.shape.rank)))
    squares = tf.square(x - tf.reduce_mean(x, axis, True))
    return tf.reduce_sum(squares, axis, keepdims) / (tf.cast(count, x.dtype) - correction)


def std(x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: builtins.bool = False) -> Tensor:
    """Standard deviation over axes."""
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def max(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """Largest over axes."""
    return tf.reduce_max(x, axis, keepdims)


def min(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """Smallest over axes."""
    return tf.reduce_min(x, axis, keepdims)


def all(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Tensor:
    """Whether all are true, over axes."""
    return tf.reduce_all(tf.cast(x, bool), axis, keepdims)


def any(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False) -> Any:
    """Whether one is true, over axes."""
    return tf.reduce_any(tf.cast(x, bool), axis, keepdims)


def cumulative_sum(
    x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: builtins.bool = False
) -> Tensor:
    """Sums of all elements up to each one."""
    axis = (axis or 0) % x.shape.rank
    x = _widened(x, dtype)
    added = tf.cumsum(x, axis)
    if not include_initial:
        return added
    first = tf.zeros([1 if k == axis else size for k, size in enumerate(sizes(x))], x.dtype)
    return tf.concat([first, added], axis)


# -- order


def argsort(x: Tensor, /, *, axis: int = -1, descending: builtins.bool = False, stable: builtins.bool = True) -> Tensor:
    """Places of the sorted elements."""
    direction = "DESCENDING" if descending else "ASCENDING"
    return tf.cast(tf.argsort(x, axis, direction, stable), int64)


def sort(x: Tensor, /, *, axis: int = -1, descending: builtins.bool = False, stable: builtins.bool = True) -> Tensor:
    """The elements in their order."""
    return tf.sort(x, axis, "DESCENDING" if descending else "ASCENDING")


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: builtins.bool = False) -> Tensor:
    """The place of the largest."""
    return _place(tf.argmax, x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: builtins.bool = False) -> Tensor:
    """The place of the smallest."""
    return _place(tf.argmin, x, axis, keepdims)


def _place(function: Any, x: Tensor, axis: int | None, keepdims: builtins.bool) -> Tensor:
    if axis is None:
        found = function(tf.reshape(x, [-1]), 0)
        return tf.reshape(found, [1] * x.shape.rank) if keepdims else found
    found = function(x, axis)
    return tf.expand_dims(found, axis) if keepdims else found


def searchsorted(x: Tensor, y: Tensor, /, *, side: str = "left", sorter: Tensor | None = None) -> Tensor:
    """Where the elements of y belong in the sorted x, (n,)."""
    x = x if sorter is None else tf.gather(x, sorter)
    return tf.reshape(tf.searchsorted(x, tf.reshape(y, [-1]), side, int64), tf.shape(y))


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The places of all elements that are not 0, one tensor for each axis."""
    return tuple(tf.unstack(tf.where(tf.cast(x, bool)), axis=1))


def unique_values(x: Tensor, /) -> Tensor:
    """Every value once, sorted."""
    return tf.sort(tf.unique(tf.reshape(x, [-1])).y)


# -- shapes


def reshape(x: Tensor, /, shape: Any, *, copy: Any = None) -> Tensor:
    """The elements in another shape."""
    return tf.reshape(x, _packed(shape))


def broadcast_to(x: Tensor, /, shape: Any) -> Tensor:
    """x repeated to a shape."""
    return tf.broadcast_to(x, _packed(shape))


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """Tensors repeated to their common shape."""
    shape = tf.shape(arrays[0])
    for x in arrays[1:]:
        shape = tf.broadcast_dynamic_shape(shape, tf.shape(x))
    return [tf.broadcast_to(x, shape) for x in arrays]


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Tensors joined along an axis."""
    return tf.concat([tf.reshape(x, [-1]) for x in arrays], 0) if axis is None else tf.concat(list(arrays), axis)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Tensors joined along a new axis."""
    return tf.stack(list(arrays), axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts of x along an axis."""
    return tuple(tf.unstack(x, axis=axis))


def expand_dims(x: Tensor, /, *, axis: int = 0) -> Tensor:
    """x with an axis of size 1 more."""
    return tf.expand_dims(x, axis)


def squeeze(x: Tensor, /, axis: Any) -> Tensor:
    """x without axes of size 1."""
    axes = _axes(axis, x.shape.rank)
    return tf.reshape(x, [size for k, size in enumerate(sizes(x)) if k not in axes])


def permute_dims(x: Tensor, /, axes: Sequence[int]) -> Tensor:
    """x with its axes in another order."""
    return tf.transpose(x, axes)


def moveaxis(x: Tensor, source: int, destination: int, /) -> Tensor:
    """x with one axis at another place."""
    rank = x.shape.rank
    order = [k for k in range(rank) if k != source % rank]
    order.insert(destination % rank, source % rank)
    return tf.transpose(x, order)


def matrix_transpose(x: Tensor, /) -> Tensor:
    """Matrices with rows and columns exchanged."""
    return tf.linalg.matrix_transpose(x)


def flip(x: Tensor, /, *, axis: Any = None) -> Tensor:
    """x backwards."""
    return tf.reverse(x, _axes(axis, x.shape.rank))


def roll(x: Tensor, /, shift: Any, *, axis: Any = None) -> Tensor:
    """x moved in a circle."""
    if axis is None:
        return tf.reshape(tf.roll(tf.reshape(x, [-1]), shift, 0), tf.shape(x))
    return tf.roll(x, shift, axis)


def tile(x: Tensor, repetitions: Sequence[int], /) -> Tensor:
    """x beside itself."""
    rank = builtins.max(len(repetitions), x.shape.rank)
    x = tf.reshape(x, [1] * (rank - x.shape.rank) + list(sizes(x)))
    return tf.tile(x, [1] * (rank - len(repetitions)) + list(repetitions))


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Every element several times."""
    return tf.repeat(x, repeats, axis)


# -- elements by index


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """Elements along an axis."""
    if axis is not None and axis % x.shape.rank:
        return tf.gather(x, indices, axis=axis)
    return _rows(x, indices)


@tf.custom_gradient
def _rows(x: Tensor, indices: Tensor) -> Any:
    """tf.gather whose gradient is a plain tensor, which second derivatives need."""
    return tf.gather(x, indices), lambda g: (_scattered(g, indices, tf.shape(x)), None)


def _scattered(g: Tensor, indices: Tensor, shape: Tensor) -> Tensor:
    indices = tf.reshape(indices, [-1])
    rows = tf.reshape(g, tf.concat([tf.shape(indices), shape[1:]], 0))
    return tf.math.unsorted_segment_sum(rows, indices, shape[0])


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """Elements along an axis, by an index of the same shape elsewhere."""
    rank, axis = x.shape.rank, axis % x.shape.rank
    last = moveaxis(x, axis, -1), moveaxis(indices, axis, -1)
    return moveaxis(tf.gather(*last, batch_dims=rank - 1, axis=rank - 1), -1, axis)


# -- products


def matmul(x: Tensor, y: Tensor, /) -> Tensor:
    """Products of matrices; one-dimensional tensors are rows on the left and columns on the right."""
    left, right = x.shape.rank == 1, y.shape.rank == 1
    out = tf.matmul(x[None, :] if left else x, y[:, None] if right else y)
    out = tf.squeeze(out, -1) if right else out
    return tf.squeeze(out, -1 if right else -2) if left else out


def vecdot(x: Tensor, y: Tensor, /, *, axis: int = -1) -> Tensor:
    """Σ conj(x) y along an axis."""
    return tf.reduce_sum(tf.math.conj(x) * y, axis)


def tensordot(x: Tensor, y: Tensor, /, *, axes: Any = 2) -> Tensor:
    """Sums of products over some axes of each."""
    return tf.tensordot(x, y, axes)


def outer(x: Tensor, y: Tensor, /) -> Tensor:
    """All products of two vectors."""
    return x[:, None] * y[None, :]


def vector_norm(x: Tensor, /, *, axis: Any = None, keepdims: builtins.bool = False, ord: float = 2) -> Tensor:
    """Length over axes; ord: 1, 2 or inf."""
    if ord == 2:
        return sqrt(sum(square(abs(x)), axis=axis, keepdims=keepdims))
    return (max if ord == inf else sum)(abs(x), axis=axis, keepdims=keepdims)


def trace(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The sum of a diagonal of matrices."""
    return tf.reduce_sum(diagonal(x, offset=offset), -1)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """A diagonal of matrices."""
    return tf.linalg.diag_part(x, k=offset)


linalg = SimpleNamespace(
    matmul=matmul, vecdot=vecdot, tensordot=tensordot, outer=outer, matrix_transpose=matrix_transpose,
    vector_norm=vector_norm, trace=trace, diagonal=diagonal, cross=lambda x, y, /: tf.linalg.cross(x, y),
    inv=tf.linalg.inv, det=tf.linalg.det, eigh=tf.linalg.eigh, eigvalsh=tf.linalg.eigvalsh,
    cholesky=tf.linalg.cholesky, solve=lambda a, b, /: tf.linalg.solve(a, b),
)  # fmt: skip
