"""The plain kernels give what dp-core gives, in both precisions, from read-only arrays."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dp_ops
from dp_core.descriptors.environment import environment_matrix
from dp_core.format import read_document
from dp_core.nn.table import Table
from dp_ops import training

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
PRECISIONS = [(np.float64, "f64", 1e-13), (np.float32, "f32", 1e-5)]


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(dp_ops.library("dp_kernels")))


def call(library: ctypes.CDLL, name: str, *arguments: Any) -> None:
    """Call a function with arrays as pointers, Python integers as int64 and NumPy numbers as what they are."""

    def given(x: Any) -> Any:
        if x is None:
            return ctypes.c_void_p(None)
        if isinstance(x, np.ndarray):
            return ctypes.c_void_p(x.ctypes.data)
        if isinstance(x, np.floating):
            return ctypes.c_double(x) if x.dtype == np.float64 else ctypes.c_float(x)
        return ctypes.c_int64(x)

    function = getattr(library, name)
    function.restype = None
    function(*map(given, arguments))


def test_instruction_set(library: ctypes.CDLL) -> None:
    library.dp_kernels_isa.restype = ctypes.c_char_p
    assert library.dp_kernels_isa() in (b"v2", b"v3", b"v4", b"base")
    assert library.dp_kernels_threads() >= 1


def test_exports(library: ctypes.CDLL) -> None:
    """Only the C interface is visible: a program may have functions of the same C++ names."""
    for name in ("_ZN2dp12thread_countEv", "_ZN2dp7kernelsEv"):
        with pytest.raises(AttributeError):
            getattr(library, name)


@pytest.mark.parametrize(("dtype", "kind", "limit"), PRECISIONS)
def test_environment(library: ctypes.CDLL, dtype: Any, kind: str, limit: float) -> None:
    random = np.random.default_rng(0)
    n, slots, types = 5, 7, np.array([0, 1, 1, 0, -1])
    vectors = random.normal(scale=2.0, size=(n, slots, 3)).astype(dtype)
    neighbor_types = random.integers(-1, 2, (n, slots))
    davg, dstd = random.normal(size=(2, 4)).astype(dtype), random.uniform(0.1, 1.0, (2, 4)).astype(dtype)

    def rows(at: np.ndarray, jacobian: np.ndarray | None = None) -> np.ndarray:
        found = np.empty((n, slots, 4), dtype)
        lengths = [dtype(x) for x in (6.0, 1.0, 0.1)]
        arguments = (davg, dstd, at, types, neighbor_types, found, jacobian)
        call(library, f"dp_environment_{kind}", n, slots, *lengths, *arguments)
        return found

    real = (neighbor_types >= 0) & (types >= 0)[:, None]
    radial, angular = environment_matrix(vectors, real, rcut=6.0, rcut_smth=1.0, protection=0.1)
    wanted = (np.concatenate([radial, angular], axis=-1) - davg[types][:, None]) / dstd[types][:, None]
    jacobian = np.empty((n, slots, 4, 3), dtype)
    np.testing.assert_allclose(rows(vectors, jacobian), np.where(real[..., None], wanted, 0.0), atol=10 * limit)
    if dtype is np.float64:
        step = 1e-5
        for x in range(3):
            move = step * np.eye(3)[x]
            slope = (rows(vectors + move) - rows(vectors - move)) / (2 * step)
            np.testing.assert_allclose(jacobian[..., x], slope, atol=1e-7)


@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_table_sum(dtype: Any, limit: float) -> None:
    """Against the polynomials evaluated here, in every part of the table and beyond its ends."""
    document = read_document(GOLDEN / "compress_sea.dp")
    compress = document["model"]["descriptor"]["compress"]["@variables"]
    stored, info = (np.ascontiguousarray(compress[f"compress_{k}"][0], dtype) for k in ("data", "info"))
    table = Table.of_stored(stored, info, angular=False)
    lower, upper, most, fine, coarse = info[:5]
    width = table.width
    random = np.random.default_rng(1)
    n, slots = 4, 9
    matrix = random.normal(size=(n, slots, 4)).astype(dtype)
    matrix[0, :4, 0] = [lower - 1, upper + 0.03, most + 1, lower + 0.003]
    matrix[1, 2:5] = 0
    s = matrix[..., 0].astype(float)
    at = np.clip(s, lower, most)
    row = np.where(at < upper, (at - lower) / fine, round((upper - lower) / fine) + (at - upper) / coarse).astype(int)
    row = np.minimum(row, len(stored) - 1)
    first = round((upper - lower) / fine)
    start = np.where(row < first, lower + row * float(fine), upper + (row - first) * float(coarse))
    a, d = stored.reshape(len(stored), width, 6)[row].astype(float), (at - start)[..., None]
    slope = a[..., 1] + d * (2 * a[..., 2] + d * (3 * a[..., 3] + d * (4 * a[..., 4] + d * 5 * a[..., 5])))
    value = sum(a[..., j] * d**j for j in range(6)) + slope * (s - at)[..., None]
    arrays = [table.coefficients, table.starts]
    problem = training.Table(
        matrix.shape, matrix.ctypes.data, len(table.starts), width, [x.ctypes.data for x in arrays],
        training.grid_numbers(table.grid), [0, 0, 0], float64=dtype is np.float64,
    )  # fmt: skip
    found = np.empty((n, 4, width), dtype)
    problem.run("sum", found.ctypes.data)
    wanted = np.einsum("nkc,nkm->ncm", matrix, value)
    scale = 1 if dtype is np.float64 else 50  # a place in the table is known to the rounding of s
    np.testing.assert_allclose(found, wanted, atol=10 * scale * limit * np.abs(wanted).max())

    by_out = random.normal(size=found.shape).astype(dtype)
    by_rows = np.empty_like(matrix)
    problem.run("slope", by_out.ctypes.data, by_rows.ctypes.data, 0)
    expected = np.einsum("ncm,nkm->nkc", by_out, value)
    expected[..., 0] += np.einsum("ncm,nkc,nkm->nk", by_out, matrix, slope)
    expected[1, 2:5] = 0
    np.testing.assert_allclose(by_rows, expected, atol=10 * scale * limit * np.abs(expected).max())
