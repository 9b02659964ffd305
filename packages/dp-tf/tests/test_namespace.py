"""Every function of the namespace against NumPy, eagerly and in graphs with open sizes."""

import array_api_compat.numpy as npx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import dp_core.numpy_backend  # noqa: F401
import dp_tf.backend  # noqa: F401  (both make primitives known)
from dp_core import arrays
from dp_tf import namespace as tfx

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(2, 3, 4))
P, Q = RANDOM.uniform(0.1, 0.9, size=(2, 3, 4))
I, J = RANDOM.integers(-5, 6, size=(2, 3, 4))
K = RANDOM.integers(1, 4, size=(3, 4))
B, C = RANDOM.random(size=(2, 3, 4)) < 0.5
CUBE = RANDOM.normal(size=(2, 3, 4))
SPECIAL = np.array([[0.0, np.inf, -np.inf], [np.nan, -0.0, 2.5]])
SQUARES = RANDOM.normal(size=(2, 3, 3))
POSITIVE = SQUARES @ SQUARES.swapaxes(1, 2) + np.eye(3)
HALF = X.astype(np.float32)
TIES = np.array([[3, 1, 3, 2], [0, 0, 1, 0]])
PLACES = np.array([2, 0, 1, 1])

CASES = {
    **{name: (lambda xp, a, name=name: getattr(xp, name)(a), X) for name in (
        "exp", "expm1", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "asinh", "abs", "sign", "square",
        "negative", "positive", "floor", "ceil", "trunc", "round", "reciprocal",
    )},
    **{f"{name} of (0, 1)": (lambda xp, a, name=name: getattr(xp, name)(a), P) for name in (
        "log", "log1p", "log2", "log10", "sqrt", "asin", "acos", "atanh",
    )},
    "acosh": (lambda xp, a: xp.acosh(a + 1), P),
    **{f"{name} of integers": (lambda xp, a, name=name: getattr(xp, name)(a), I) for name in (
        "abs", "sign", "square", "floor", "ceil", "trunc", "round", "isfinite", "isnan", "isinf", "sum", "prod", "max",
        "min", "sort", "argsort", "cumulative_sum_", "zeros_like", "ones_like",
    ) if not name.endswith("_")},
    **{f"{name} of single precision": (lambda xp, a, name=name: getattr(xp, name)(a), HALF) for name in (
        "exp", "tanh", "sqrt_", "sum", "mean", "max", "square", "zeros_like",
    ) if not name.endswith("_")},
    **{name: (lambda xp, a, name=name: getattr(xp, name)(a), SPECIAL) for name in ("isfinite", "isnan", "isinf")},
    **{name: (lambda xp, a, b, name=name: getattr(xp, name)(a, b), X, Y) for name in (
        "add", "subtract", "multiply", "divide", "atan2", "hypot", "maximum", "minimum", "equal", "not_equal", "less",
        "less_equal", "greater", "greater_equal",
    )},
    **{f"{name} of integers": (lambda xp, a, b, name=name: getattr(xp, name)(a, b), I, K) for name in (
        "add", "subtract", "multiply", "remainder", "floor_divide", "maximum", "minimum", "equal", "less", "pow",
    )},
    "remainder": (lambda xp, a, b: xp.remainder(a, b), X, Y),
    "floor_divide": (lambda xp, a, b: xp.floor_divide(a, b), X, Y),
    "pow": (lambda xp, a, b: xp.pow(a, b), P, Y),
    "pow with a number": (lambda xp, a: xp.pow(a, 3), X),
    "pow of single precision": (lambda xp, a: xp.pow(xp.abs(a), 0.5), HALF),
    "maximum with a number": (lambda xp, a: xp.maximum(a, 0), X),
    "a number first": (lambda xp, a: xp.subtract(1, a), X),
    **{name: (lambda xp, a, b, name=name: getattr(xp, name)(a, b), B, C) for name in (
        "logical_and", "logical_or", "logical_xor",
    )},
    "logical_not": (lambda xp, a: xp.logical_not(a), B),
    "clip": (lambda xp, a: xp.clip(a, -0.5, 0.5), X),
    "clip from below": (lambda xp, a: xp.clip(a, min=0), I),
    "clip by arrays": (lambda xp, a, b: xp.clip(a, b, b + 1), X, Y),
    "where": (lambda xp, c, a, b: xp.where(c, a, b), B, X, Y),
    "where with a number": (lambda xp, c, a: xp.where(c, a, 0), B, X),
    "where with a number first": (lambda xp, c, a: xp.where(c, 1, a), B, I),
    "where, broadcast": (lambda xp, c, a: xp.where(c[..., None], a[:, None, :], 0.0), B, X),
    "sum of bools": (lambda xp, a: xp.sum(a, axis=1), B),
    "sum of small integers": (lambda xp, a: xp.sum(xp.astype(a, xp.int32)), I),
    "sum over axes": (lambda xp, a: xp.sum(a, axis=(0, 2)), CUBE),
    "sum, axis kept": (lambda xp, a: xp.sum(a, axis=-1, keepdims=True), CUBE),
    "sum in a type": (lambda xp, a: xp.sum(a, dtype=xp.float64), HALF),
    **{f"{name} over an axis": (lambda xp, a, name=name: getattr(xp, name)(a, axis=1), CUBE) for name in (
        "prod", "mean", "max", "min", "var", "std", "all", "any",
    )},
    "var with correction": (lambda xp, a: xp.var(a, axis=(0, 1), correction=1, keepdims=True), CUBE),
    "std of all": (lambda xp, a: xp.std(a), CUBE),
    "all": (lambda xp, a: xp.all(a, axis=0), B),
    "any": (lambda xp, a: xp.any(a, keepdims=True), B),
    "cumulative_sum": (lambda xp, a: xp.cumulative_sum(a, axis=1), CUBE),
    "cumulative_sum from 0": (lambda xp, a: xp.cumulative_sum(a, axis=-1, include_initial=True), I),
    "argsort": (lambda xp, a: xp.argsort(a, axis=0), X),
    "argsort, falling": (lambda xp, a: xp.argsort(a, descending=True), X),
    "argsort with ties": (lambda xp, a: xp.argsort(a, stable=True), TIES),
    "sort": (lambda xp, a: xp.sort(a, axis=0), X),
    "sort, falling": (lambda xp, a: xp.sort(a, descending=True), X),
    "argmax": (lambda xp, a: xp.argmax(a, axis=1), X),
    "argmin of all": (lambda xp, a: xp.argmin(a), X),
    "argmax, axis kept": (lambda xp, a: xp.argmax(a, axis=1, keepdims=True), X),
    "searchsorted": (lambda xp, a, b: xp.searchsorted(xp.sort(a), b), X[0], Y),
    "searchsorted right": (lambda xp, a, b: xp.searchsorted(a, b, side="right"), np.arange(4), I),
    "nonzero": (lambda xp, a: xp.stack(xp.nonzero(a)), B),
    "unique_values": (lambda xp, a: xp.unique_values(a), I),
    "reshape": (lambda xp, a: xp.reshape(a, (-1, 2)), CUBE),
    "reshape to one": (lambda xp, a: xp.reshape(a, -1) if xp is npx else xp.reshape(a, (-1,)), CUBE),
    "broadcast_to": (lambda xp, a: xp.broadcast_to(a, (2, 3, 4)), X),
    "broadcast_arrays": (lambda xp, a, b: xp.stack(xp.broadcast_arrays(a, b[:, :1])), X, Y),
    "concat": (lambda xp, a, b: xp.concat([a, b], axis=-1), X, Y),
    "concat flat": (lambda xp, a, b: xp.concat([a, b], axis=None), X, Y[0]),
    "stack": (lambda xp, a, b: xp.stack([a, b], axis=-1), X, Y),
    "expand_dims": (lambda xp, a: xp.expand_dims(a, axis=-1), X),
    "squeeze": (lambda xp, a: xp.squeeze(a[:, None, :, None], axis=(1, 3)), X),
    "permute_dims": (lambda xp, a: xp.permute_dims(a, (2, 0, 1)), CUBE),
    "moveaxis": (lambda xp, a: xp.moveaxis(a, 0, -1), CUBE),
    "matrix_transpose": (lambda xp, a: xp.matrix_transpose(a), CUBE),
    "flip": (lambda xp, a: xp.flip(a, axis=1), CUBE),
    "flip all": (lambda xp, a: xp.flip(a), CUBE),
    "roll": (lambda xp, a: xp.roll(a, 2, axis=1), CUBE),
    "roll all": (lambda xp, a: xp.roll(a, 5), CUBE),
    "tile": (lambda xp, a: xp.tile(a, (2, 1, 3)), X),
    "repeat": (lambda xp, a: xp.repeat(a, 3, axis=1), X),
    "repeat each": (lambda xp, a, b: xp.repeat(a, b), X[0], PLACES),
    "tril": (lambda xp, a: xp.tril(a, k=1), CUBE),
    "triu": (lambda xp, a: xp.triu(a, k=-1), CUBE),
    "take": (lambda xp, a, b: xp.take(a, b, axis=0), X, PLACES),
    "take along the last": (lambda xp, a, b: xp.take(a, b, axis=-1), CUBE, PLACES),
    "take_along_axis": (lambda xp, a: xp.take_along_axis(a, xp.argsort(a, axis=1), axis=1), CUBE),
    "take_along_axis, last": (lambda xp, a: xp.take_along_axis(a, xp.argsort(a)[..., :2]), CUBE),
    "matmul": (lambda xp, a, b: xp.matmul(a, b), CUBE, Y.T),
    "matmul of vectors": (lambda xp, a, b: xp.matmul(a, b), X[0], Y[0]),
    "matmul, vector left": (lambda xp, a, b: xp.matmul(a, b), X[:, 0], CUBE),
    "matmul, vector right": (lambda xp, a, b: xp.matmul(a, b), CUBE, X[0]),
    "vecdot": (lambda xp, a, b: xp.vecdot(a, b), X, Y),
    "tensordot": (lambda xp, a, b: xp.tensordot(a, b, axes=([2], [1])), CUBE, X),
    "astype": (lambda xp, a: xp.astype(a, xp.int64), X * 3),
    "astype of bools": (lambda xp, a: xp.astype(a, xp.float32), B),
    "full_like": (lambda xp, a: xp.full_like(a, 3), X),
    "full_like of integers": (lambda xp, a: xp.full_like(a, 7), I),
    "ones_like in a type": (lambda xp, a: xp.ones_like(a, dtype=xp.int64), X),
    "operators": (lambda xp, a, b: (2.0 * a - b / 3.0) ** 2 @ xp.matrix_transpose(1 - a), X, Y),
    "comparisons": (lambda xp, a, b: (a >= 0) & ~(b < 0) | (a == b), I, J),
    "slices": (lambda xp, a: a[:, 1:, None, ::2] + a[..., None, :, :1], CUBE),
    "linalg.vector_norm": (lambda xp, a: xp.linalg.vector_norm(a, axis=-1), CUBE),
    "linalg.vector_norm, inf": (lambda xp, a: xp.linalg.vector_norm(a, axis=(0, 1), ord=np.inf), CUBE),
    "linalg.vector_norm, 1": (lambda xp, a: xp.linalg.vector_norm(a, ord=1, keepdims=True), CUBE),
    "linalg.inv": (lambda xp, a: xp.linalg.inv(a), SQUARES),
    "linalg.det": (lambda xp, a: xp.linalg.det(a), SQUARES),
    "linalg.solve": (lambda xp, a, b: xp.linalg.solve(a, b), SQUARES, CUBE),
    "linalg.cholesky": (lambda xp, a: xp.linalg.cholesky(a), POSITIVE),
    "linalg.eigvalsh": (lambda xp, a: xp.linalg.eigvalsh(a), POSITIVE),
    "linalg.trace": (lambda xp, a: xp.linalg.trace(a), CUBE),
    "linalg.diagonal": (lambda xp, a: xp.linalg.diagonal(a, offset=1), CUBE),
    "linalg.cross": (lambda xp, a, b: xp.linalg.cross(a, b), X[:, :3], Y[:, :3]),
    "linalg.outer": (lambda xp, a, b: xp.linalg.outer(a, b), X[0], Y[:, 0]),
}  # fmt: skip

CREATED = {
    "arange": lambda xp: xp.arange(5),
    "arange from": lambda xp: xp.arange(2, 11, 3),
    "arange of floats": lambda xp: xp.arange(0.0, 1.0, 0.25),
    "arange in a type": lambda xp: xp.arange(3, dtype=xp.float32),
    "linspace": lambda xp: xp.linspace(0.0, 1.0, 5),
    "eye": lambda xp: xp.eye(3, 4, k=1),
    "zeros": lambda xp: xp.zeros((2, 3)),
    "zeros of one size": lambda xp: xp.zeros(4, dtype=xp.int64),
    "ones": lambda xp: xp.ones((2, 0), dtype=xp.float32),
    "full": lambda xp: xp.full((2, 3), 1.5),
    "full of integers": lambda xp: xp.full((2,), 3),
    "asarray": lambda xp: xp.asarray([[1.0, 2.0], [3.0, 4.0]]),
    "asarray of integers": lambda xp: xp.asarray([1, 2]),
    "asarray of bools": lambda xp: xp.asarray([True, False]),
    "asarray in a type": lambda xp: xp.asarray([1, 2], dtype=xp.float32),
}


def same(found, expected):
    found = found.numpy()
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5 if found.dtype == np.float32 else 1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_like_numpy(name):
    function, *inputs = CASES[name]
    with np.errstate(all="ignore"):
        expected = np.asarray(function(npx, *inputs))
    same(function(tfx, *map(tf.constant, inputs)), expected)
    specs = [tf.TensorSpec([None] * x.ndim, x.dtype) for x in inputs]
    graph = tf.function(lambda *given: function(tfx, *given), input_signature=specs, autograph=False)
    same(graph(*inputs), expected)


@pytest.mark.parametrize("name", CREATED)
def test_creation_like_numpy(name):
    same(CREATED[name](tfx), np.asarray(CREATED[name](npx)))


def test_every_function_is_tested():
    tested = {word.split(",")[0].split(" ")[0].removeprefix("linalg.") for word in (*CASES, *CREATED)}
    functions = {k for k, v in vars(tfx).items() if callable(v) and not k.startswith("_") and not isinstance(v, type)}
    others = {"sizes", "builtins", "conj", "real", "imag", "isdtype", "finfo", "iinfo", "unstack", "SimpleNamespace"}
    assert functions - tested - others == {"empty", "empty_like"}
    assert {"matmul", "vector_norm", "cross", "trace"} <= set(vars(tfx.linalg)) & tested


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.data())
@settings(max_examples=40, deadline=None)
def test_reductions_of_any_shape(shape, data):
    axes = data.draw(st.sets(st.integers(-len(shape), len(shape) - 1).map(lambda a: a % len(shape))))
    keep = data.draw(st.booleans())
    x = np.random.default_rng(len(shape)).normal(size=shape)
    for name in ("sum", "prod", "any", "all"):
        for axis in (None, tuple(axes)):
            expected = getattr(npx, name)(x, axis=axis, keepdims=keep)
            same(getattr(tfx, name)(tf.constant(x), axis=axis, keepdims=keep), np.asarray(expected))


@given(st.integers(0, 6), st.integers(1, 5), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_primitives_of_any_size(n, count, m):
    random = np.random.default_rng(n)
    x, segments = random.normal(size=(n, 2)), random.integers(-1, count, n)
    same(arrays.segment_sum(tf.constant(x), tf.constant(segments), count), arrays.segment_sum(x, segments, count))
    index = random.integers(0, count, (m, 3))
    rows = random.normal(size=(count, 2))
    same(arrays.take(tf.constant(rows), tf.constant(index)), arrays.take(rows, index))
    cut = (n // 2, n - n // 2)
    for found, expected in zip(arrays.split(tf.constant(x), cut), arrays.split(x, cut), strict=True):
        same(found, expected)


def test_sizes_may_be_open():
    @tf.function(input_signature=[tf.TensorSpec([None, 3, None], tf.float64)], autograph=False)
    def graph(x):
        n, three, k = arrays.shape(x)
        assert three == 3
        assert tf.is_tensor(n)
        return tfx.reshape(x, (n * k, three)), tfx.zeros((k, 2)), tfx.broadcast_to(x[:1, :1, :1], (n, 2, k))

    assert [tuple(x.shape) for x in graph(np.zeros((4, 3, 5)))] == [(20, 3), (5, 2), (4, 2, 5)]
    assert arrays.shape(tf.zeros((2, 3))) == (2, 3)


def test_kinds_of_types():
    assert tfx.isdtype(tf.float32, "real floating")
    assert tfx.isdtype(tf.int64, ("bool", "integral"))
    assert not tfx.isdtype(tf.int64, tf.float64)
    assert tfx.finfo(tf.float32).eps == np.finfo(np.float32).eps
    assert tfx.iinfo(tf.int32).max == 2**31 - 1
    assert [tfx.astype(part, tfx.int64).numpy() for part in tfx.unstack(tf.constant([1, 2]))] == [1, 2]


def test_integers_do_not_become_floats():
    """Types that do not go together are refused, not converted."""
    for function in (tfx.add, tfx.maximum, lambda a, b: a * b):
        with pytest.raises((tf.errors.InvalidArgumentError, ValueError, TypeError)):
            function(tf.constant(I), tf.constant(X))


def test_primitives_keep_the_type():
    x = tf.constant(HALF)
    for function in (arrays.softplus, arrays.sigmoid, arrays.gelu):
        assert function(x).dtype == tf.float32
        np.testing.assert_allclose(function(x), function(HALF), rtol=1e-5, atol=1e-6)
    assert arrays.constant([1, 2], like=x).dtype == tf.float32
    assert arrays.cast(x, "float64").dtype == tf.float64
