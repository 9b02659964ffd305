"""Sums of embedded numbers and attention by the kernels of dp-ops against the array code."""

from importlib.util import find_spec

import autograd.numpy as anp
import numpy as np
import pytest

from dp_core import arrays, numpy_kernels
from dp_core.module import tree_map
from dp_core.nn import EmbeddingNet
from dp_core.nn.attention import NeighborAttention
from dp_core.nn.table import Grid, Table
from dp_core.numpy_backend import gradient

# `crossing`: of all environments the one that has them runs is that with every backend and dp-ops
pytestmark = [
    pytest.mark.crossing,
    pytest.mark.skipif(find_spec("dp_ops") is None, reason="dp-ops is not installed"),
]

GRIDS = [Grid(-1.0, 2.0, 4.0, 0.01, 0.1, -1.0), Grid(-1.0, 1.0, 3.0, 0.02, 0.2, -1.0, angular=True)]
RTOL = {"float64": 1e-12, "float32": 1e-4}


def matrix_of(components, dtype):
    """A matrix with empty slots and numbers beyond the ends of the tables."""
    random = np.random.default_rng(3)
    matrix = random.normal(0, 2, (7, 11, components)).astype(dtype)
    matrix[random.random((7, 11)) < 0.3] = 0
    return matrix


def computed(function, matrix, switch=None):
    """The sum and its gradients by the matrix and the switch."""
    size = matrix.size

    def energy(x):
        by = None if switch is None else anp.reshape(x[size:], switch.shape)
        y = function(anp.reshape(x[:size], matrix.shape), by)
        return anp.sum(anp.sin(y)), y

    given = matrix.ravel() if switch is None else np.concatenate([matrix.ravel(), switch.ravel()])
    y, slope = gradient(energy, given)
    used = (matrix != 0).any(2)  # gradients of empty slots mean nothing
    return y, slope[:size].reshape(matrix.shape) * used[..., None], slope[size:] * used.ravel()[: len(slope) - size]


def close(found, expected, dtype):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=RTOL[dtype] * max(1.0, np.abs(b).max(initial=0)))


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("gated", [None, "types", "switch"])
@pytest.mark.parametrize("components", [1, 4, 6])
@pytest.mark.parametrize("grid", GRIDS)
def test_table_sum(grid, components, gated, dtype, monkeypatch):
    random = np.random.default_rng(4)
    table = Table.of_network(EmbeddingNet.init(1, [5, 10], seed=1), grid, dtype)
    matrix = matrix_of(components, dtype)
    types = random.normal(size=(4, 10)).astype(dtype) if gated else None
    index = random.integers(0, 4, (7, 11)) if gated else None
    switch = random.random((7, 11, 1)).astype(dtype) if gated == "switch" else None

    def function(r, w):
        return arrays.table_sum(r, table, types, index, w)

    assert numpy_kernels.table_sum(matrix, table, types, index, switch) is not None
    found = [*computed(function, matrix, switch), function(matrix, switch)]
    monkeypatch.setenv("DP_OPS", "0")
    assert numpy_kernels.table_sum(matrix, table, types, index, switch) is None
    close(found, [*computed(function, matrix, switch), function(matrix, switch)], dtype)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("step", [False, True])
def test_embedding_sum(step, dtype, monkeypatch):
    net = EmbeddingNet.init(1, [5, 10, 10], resnet_dt=step, precision=dtype, seed=1)
    matrix = matrix_of(4, dtype)

    def function(r, _):
        return arrays.embedding_sum(r, net)

    assert numpy_kernels.embedding_sum(matrix, net) is not None
    found = [*computed(function, matrix), function(matrix, None)]
    monkeypatch.setenv("DP_OPS", "0")
    assert numpy_kernels.embedding_sum(matrix, net) is None
    close(found, [*computed(function, matrix), function(matrix, None)], dtype)


def test_slots_of_several_kinds(monkeypatch):
    net = EmbeddingNet.init(4, [5, 10, 10], seed=1)
    random = np.random.default_rng(2)
    matrix, types = matrix_of(4, "float64"), random.normal(size=(4, 3))
    kind = random.integers(0, 4, matrix.shape[:2])
    alone, shift = net.of_number(types)

    def function(r, _):
        return arrays.embedding_sum(r, alone, shift, kind)

    assert numpy_kernels.embedding_sum(matrix, alone, shift, kind) is not None
    found = [*computed(function, matrix), function(matrix, None)]
    monkeypatch.setenv("DP_OPS", "0")
    expected = [*computed(function, matrix), function(matrix, None)]
    close(found, expected, "float64")
    joined = np.concatenate([matrix[..., :1], types[kind]], axis=-1)
    close([expected[-1]], [np.matrix_transpose(matrix) @ net(joined)], "float64")


ATTENTIONS = {
    "as by default": {},
    "smooth": {"smooth": True},
    "no angles": {"dotr": False},
    "smooth without angles": {"smooth": True, "dotr": False},
    "of any length": {"normalize": False, "scaling_factor": 0.1},
    "temperature": {"temperature": -0.7},
}


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("form", ATTENTIONS)
def test_attention(form, dtype, monkeypatch):
    settings = {
        "dotr": True, "smooth": False, "scaling_factor": 1.0, "normalize": True, "temperature": None,
        "trainable_ln": True, "ln_eps": 1e-5, "precision": dtype, "seed": 1,
    } | ATTENTIONS[form]  # fmt: skip
    random = np.random.default_rng(4)

    def numbers(*shape):
        return random.normal(size=shape).astype(dtype)

    made = tree_map(lambda x: x + 0.1 * numbers(*x.shape), NeighborAttention.init(2, 12, 9, 7, **settings))
    g, sides, valid = numbers(6, 11, 9), numbers(6, 11, 4), (random.random((6, 11, 1)) < 0.7).astype(dtype)
    valid[3], valid[5] = 0, 1  # no neighbours, and all
    called = []

    def evaluated(x):
        return made(g * anp.cos(x[..., :1]), x[..., :3], 1 / (1 + anp.exp(-x[..., 3:])), valid) * valid

    def computed():
        def energy(x):
            y = evaluated(x)
            return anp.sum(anp.sin(0.3 * y)), y

        y, slope = gradient(energy, sides)
        return y, slope * valid, evaluated(sides)

    run = numpy_kernels._attention
    monkeypatch.setattr(numpy_kernels, "_attention", lambda *given: called.append(1) or run(*given))
    found = computed()
    assert len(called) == 4  # two layers twice
    monkeypatch.setenv("DP_OPS", "0")
    close(found, computed(), dtype)
    assert len(called) == 4


def test_further_derivatives_are_left_to_array_code():
    net = EmbeddingNet.init(1, [5, 10], seed=1)
    table = Table.of_network(net, GRIDS[0], "float64")
    layers = NeighborAttention.init(
        1, 11, 4, 3, dotr=True, smooth=True, scaling_factor=1.0, normalize=True, temperature=None, trainable_ln=True,
        ln_eps=1e-5, precision="float64", seed=1,
    ).layers  # fmt: skip
    valid, spare = np.ones((7, 11, 1)), np.zeros((7, 1, 1))
    seen = []

    def energy(x):
        seen.append(numpy_kernels.table_sum(x, table, None, None, None))
        seen.append(numpy_kernels.embedding_sum(x, net))
        seen.append(numpy_kernels.attention(x, x, valid, valid, spare, layers))
        return anp.sum(arrays.table_sum(x, table) ** 2 + arrays.embedding_sum(x, net) ** 2), None

    _, second = gradient(lambda x: (anp.sum(gradient(energy, x)[1] ** 2), None), matrix_of(4, "float64"))
    assert seen == [None, None, None]
    assert np.isfinite(second).all()
