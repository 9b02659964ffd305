"""Sums of tabulated embeddings by the kernels of dp-ops against the array code."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

import dp_torch.backend  # noqa: F401  (makes dp-core know tensors)
from dp_core import arrays
from dp_core.module import tree_map
from dp_core.nn import EmbeddingNet
from dp_core.nn.table import Grid, Table
from dp_torch import table as native
from dp_torch.autodiff import gradient

pytestmark = pytest.mark.skipif(find_spec("dp_ops") is None, reason="dp-ops is not installed")

GRIDS = [Grid(-1.0, 2.0, 4.0, 0.01, 0.1, -1.0), Grid(-1.0, 1.0, 3.0, 0.02, 0.2, -1.0, angular=True)]


def given(grid, components, gated, dtype):
    """A table, a matrix with empty slots and numbers beyond the ends, and types with their index and switch."""
    random = np.random.default_rng(3)
    table = Table.of_network(EmbeddingNet.init(1, [5, 10, 150], seed=1), grid, dtype)
    matrix = random.normal(0, 2, (7, 11, components)).astype(dtype)
    matrix[random.random((7, 11)) < 0.3] = 0
    types = random.normal(size=(4, 150)).astype(dtype) if gated else None
    index = random.integers(0, 4, (7, 11)) if gated else None
    switch = random.random((7, 11, 1)).astype(dtype) if gated == "switch" else None
    tensors = [None if x is None else torch.from_numpy(x) for x in (matrix, types, index, switch)]
    return tree_map(torch.from_numpy, table), *tensors


def computed(table, matrix, types, index, switch):
    """The sum and its gradients by the matrix and the switch."""
    first = matrix.numel()

    def energy(x):
        by = None if switch is None else x[first:].reshape(switch.shape)
        y = arrays.table_sum(x[:first].reshape(matrix.shape), table, types, index, by)
        return torch.sin(y).sum(), y

    flat = [matrix.reshape(-1)] if switch is None else [matrix.reshape(-1), switch.reshape(-1)]
    with torch.no_grad():
        y, slope = gradient(energy, torch.cat(flat))
    used = (matrix != 0).any(2)  # gradients of empty slots mean nothing
    kept = [(slope[:first].reshape(matrix.shape) * used[..., None])]
    return y, *kept, slope[first:] * used.reshape(-1) if switch is not None else slope[:0]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("gated", [None, "types", "switch"])
@pytest.mark.parametrize("components", [1, 2, 4, 9])
@pytest.mark.parametrize("grid", GRIDS)
def test_table_sum(grid, components, gated, dtype, monkeypatch):
    arguments = given(grid, components, gated, dtype)
    with torch.no_grad():
        assert native.table_sum(arguments[1], arguments[0], *arguments[2:]) is not None
    found = computed(*arguments)
    monkeypatch.setenv("DP_OPS", "0")
    with torch.no_grad():
        assert native.table_sum(arguments[1], arguments[0], *arguments[2:]) is None
    rtol = 1e-12 if dtype == "float64" else 1e-4
    for a, b in zip(found, computed(*arguments), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=rtol * max([1.0, *b.abs().reshape(-1).tolist()]))


def test_further_derivatives_are_left_to_array_code():
    table, matrix, *others = given(GRIDS[0], 4, "switch", "float64")
    seen = []

    def energy(x):
        seen.append(native.table_sum(x, table, *others))
        return arrays.table_sum(x, table, *others).pow(2).sum(), None

    x = matrix.clone().requires_grad_()
    _, slope = gradient(energy, x)
    (second,) = torch.autograd.grad(slope.pow(2).sum(), x)
    assert seen == [None]
    assert torch.isfinite(second).all()
