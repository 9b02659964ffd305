"""The training kernels against the same formulas by automatic differentiation, and their threads."""

import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

autograd = pytest.importorskip("autograd")
import autograd.numpy as anp  # noqa: E402

from dp_ops import training  # noqa: E402

NETWORKS = {
    "doubling": ([3, 6, 12], False, True),
    "steps": ([4, 4, 8], True, True),
    "from one": ([1, 2, 3], True, False),
    "one layer": ([2], False, True),
    "wide": ([25, 50, 100], False, True),
}
RTOL = {"float64": 1e-12, "float32": 2e-5}


def weights(widths, step, bias, dtype, last_is_linear=False):
    """Layers of (w, b, idt, past, linear)."""
    random = np.random.default_rng(1)
    layers = []
    for k, (n_in, n_out) in enumerate(pairwise(widths)):
        linear = last_is_linear and k == len(widths) - 2
        past = n_out // n_in if n_out in (n_in, 2 * n_in) and not linear else 0
        w = random.normal(size=(n_in, n_out)) / np.sqrt(n_in + n_out)
        b = random.normal(size=n_out) if bias else None
        idt = random.normal(0.1, 0.01, size=n_out) if step and past else None
        layers.append([None if x is None else x.astype(dtype) for x in (w, b, idt)] + [past, linear])
    return layers


def apply(layers, x, shift=0.0):
    for k, (w, b, idt, past, linear) in enumerate(layers):
        y = anp.dot(x, w) + (shift if k == 0 else 0.0)
        y = y if b is None else y + b
        y = y if linear else anp.tanh(y)
        y = y if idt is None else y * idt
        x = y + (0.0 if not past else x if past == 1 else anp.concatenate([x, x], -1))
    return x


def address(x):
    return 0 if x is None else x.ctypes.data


def described(layers):
    """The layers in C, and arrays for their gradients."""
    grads = [[None if x is None else np.full_like(x, np.nan) for x in layer[:3]] for layer in layers]
    return [
        training.Layer(*w.shape, past, linear, *map(address, (w, b, idt)), *map(address, of))
        for (w, b, idt, past, linear), of in zip(layers, grads, strict=True)
    ], grads


def with_trained(layers, trained):
    """The layers with other weights, in turn."""
    trained = iter(trained)
    return [[None if x is None else next(trained) for x in layer[:3]] + layer[3:] for layer in layers]


def trained(layers):
    return [x for layer in layers for x in layer[:3] if x is not None]


def close(found, expected, dtype):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=RTOL[dtype] * max(1.0, np.abs(b).max(initial=0)))


def random_arrays(dtype, *shapes):
    random = np.random.default_rng(2)
    return [random.normal(size=shape).astype(dtype) for shape in shapes]


def embedded(layers, r, ga, gu, v, *, keep, kind=None, shift=None):
    """Sum, slope, transposed slope, and gradients of weights by the kernels; that of the shift of kinds is the last."""
    layers_in_c, grads = described(layers)
    if shift is not None:
        grads.append([np.full_like(shift, np.nan)])
    kinds = (0, 0, 0, 0) if shift is None else (len(shift), *map(address, (kind, shift, grads[-1][0])))
    problem = training.Embedding(r.shape, address(r), layers_in_c, float64=r.dtype == np.float64, kinds=kinds)
    kept = np.full(problem.kept(), np.nan, r.dtype) if keep else None
    a, slope, of_ga = np.empty_like(ga), np.empty_like(r), np.empty_like(ga)
    problem.run("sum", address(a), address(kept))
    problem.run("slope", address(ga), address(kept), address(slope))
    problem.run("transposed_slope", address(v), address(kept), address(of_ga))
    problem.run("gradients", address(gu), address(ga), address(v), address(kept))
    return a, slope, of_ga, *(x for group in grads for x in group if x is not None)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("rows", "slots", "components"), [(7, 5, 4), (3, 250, 4), (40, 31, 3), (1, 1, 1)])
@pytest.mark.parametrize("name", NETWORKS)
def test_embedding(name, rows, slots, components, keep, dtype):
    widths, step, bias = NETWORKS[name]
    layers = weights([1, *widths], step, bias, dtype)
    shape, of_sum = (rows, slots, components), (rows, components, widths[-1])
    r, ga, gu, v = random_arrays(dtype, shape, of_sum, of_sum, shape)
    empty = np.random.default_rng(3).random((rows, slots)) < 0.3
    r[empty] = v[empty] = 0

    def summed(r, layers):
        return anp.einsum("nkd,nkm->ndm", r, apply(layers, r[:, :, :1]))

    def slope(r, ga, layers):
        return autograd.grad(lambda r: anp.sum(summed(r, layers) * ga))(r)

    def loss(ga, *params):
        layers_now = with_trained(layers, params)
        return anp.sum(summed(r, layers_now) * gu) + anp.sum(slope(r, ga, layers_now) * v)

    params = trained(layers)
    of_ga, *of_params = autograd.grad(lambda given: loss(*given))((ga, *params))
    expected_slope = slope(r, ga, layers)
    expected_slope[empty] = 0
    found = embedded(layers, r, ga, gu, v, keep=keep)
    close(found, [summed(r, layers), expected_slope, of_ga, *of_params], dtype)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("kinds", [1, 9, 14161])
def test_embedding_of_kinds(kinds, dtype):
    layers = weights([1, 5, 10], False, True, dtype)
    shape, of_sum = (40, 61, 4), (40, 4, 10)
    r, ga, gu, v, shift = random_arrays(dtype, shape, of_sum, of_sum, shape, (kinds, 5))
    kind = np.random.default_rng(3).integers(kinds, size=shape[:2])
    empty = np.random.default_rng(4).random(shape[:2]) < 0.3
    r[empty] = v[empty] = 0
    kind[empty] = -7  # is not read

    def summed(r, shift):
        return anp.einsum("nkd,nkm->ndm", r, apply(layers, r[:, :, :1], shift[np.where(empty, 0, kind)]))

    def slope(r, ga, shift):
        return autograd.grad(lambda r: anp.sum(summed(r, shift) * ga))(r)

    def loss(shift):
        return anp.sum(summed(r, shift) * gu) + anp.sum(slope(r, ga, shift) * v)

    expected = slope(r, ga, shift)
    expected[empty] = 0
    a, of_r, *_, of_shift = embedded(layers, r, ga, gu, v, keep=True, kind=kind, shift=shift)
    close([a, of_r, of_shift], [summed(r, shift), expected, autograd.grad(loss)(shift)], dtype)


@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize(
    ("rows", "widths"), [(5, [7, 6, 6, 1]), (21, [300, 48, 48, 1]), (9, [10, 20, 40, 13, 3]), (3, [4, 1])]
)
def test_network(rows, widths, dtype):
    layers = weights(widths, True, True, dtype, last_is_linear=True)
    x, gy, gu, v = random_arrays(dtype, (rows, widths[0]), (rows, widths[-1]), (rows, widths[-1]), (rows, widths[0]))
    layers_in_c, grads = described(layers)
    problem = training.Network(rows, address(x), layers_in_c, float64=dtype == "float64")
    kept, tangents = np.full((2, problem.kept()), np.nan, dtype)
    y, gx, of_gy, of_x = np.empty_like(gy), np.empty_like(x), np.empty_like(gy), np.empty_like(x)
    problem.run("value", address(y), address(kept))
    problem.run("slope", address(gy), address(kept), address(gx))
    problem.run("tangent", address(v), address(kept), address(of_gy), address(tangents))
    problem.run("gradients", *map(address, (gu, gy, v, kept, tangents, of_x)))

    def slope(x, gy, layers):
        return autograd.grad(lambda x: anp.sum(apply(layers, x) * gy))(x)

    def loss(x, gy, *params):
        layers_now = with_trained(layers, params)
        return anp.sum(apply(layers_now, x) * gu) + anp.sum(slope(x, gy, layers_now) * v)

    of = autograd.grad(lambda given: loss(*given))((x, gy, *trained(layers)))
    close([y, gx, of_x], [apply(layers, x), slope(x, gy, layers), of[0]], dtype)
    close([of_gy], [autograd.grad(lambda g: anp.sum(slope(x, g, layers) * v))(gy)], dtype)
    close([x for group in grads for x in group if x is not None], of[2:], dtype)


def test_nothing_is_empty_handed():
    """No rows and no slots."""
    layers = weights([1, 4], False, True, "float64")
    for rows, slots in ((0, 5), (3, 0)):
        r, ga, v = random_arrays("float64", (rows, slots, 4), (rows, 4, 4), (rows, slots, 4))
        a, slope, *others = embedded(layers, r, ga, ga, v, keep=True)
        assert a.shape == (rows, 4, 4)
        assert not a.any()
        assert slope.shape == r.shape
        assert not any(x.any() for x in others)


def printed(script, threads):
    """What a program in a process of its own prints; ``t`` is this module."""
    begin = "import sys; sys.path.insert(0, sys.argv[1])\nimport test_training as t, numpy as np\n"
    return subprocess.run(
        [sys.executable, "-c", begin + script, os.path.dirname(__file__)], check=True, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": threads, "DP_INTRA_OP_PARALLELISM_THREADS": ""},
    ).stdout  # fmt: skip


@pytest.mark.parametrize("other", ["2", "3"])
def test_threads_change_no_bit(other):
    script = """
import hashlib
layers = t.weights([1, 25, 50], False, True, "float64")
r, ga, v, shift = t.random_arrays("float64", (90, 60, 4), (90, 4, 50), (90, 60, 4), (9, 25))
kind = np.random.default_rng(3).integers(9, size=(90, 60))
for given in ({}, {"kind": kind, "shift": shift}):
    found = t.embedded(layers, r, ga, ga, v, keep=True, **given)
    print(hashlib.sha256(b"".join(x.tobytes() for x in found)).hexdigest())
"""
    assert printed(script, "1") == printed(script, other)


def test_memory_does_not_grow_with_kinds():
    """Beyond two tables of the shift, which are 2.8 MB each, whatever the number of tasks."""
    script = """
import resource
layers = t.weights([1, 25], False, True, "float64")
r, ga, v, shift = t.random_arrays("float64", (200, 120, 4), (200, 4, 25), (200, 120, 4), (14161, 25))
kind = np.random.default_rng(3).integers(9, size=(200, 120))
def peak(kinds):
    t.embedded(layers, r, ga, ga, v, keep=True, kind=kind, shift=shift[:kinds])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few, many = peak(9), peak(14161)
print((many - few) // 1024)
"""
    assert int(printed(script, "1")) < 12
