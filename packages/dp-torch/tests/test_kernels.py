"""Networks by the kernels of dp-ops against automatic differentiation."""

from importlib.util import find_spec

import pytest
import torch

import dp_torch.backend  # noqa: F401  (makes dp-core know tensors)
from dp_core.arrays import embedding_sum, network, scaled_rows
from dp_core.module import leaves, tree_map
from dp_core.nn import EmbeddingNet, FittingNet
from dp_torch import kernels
from dp_torch.autodiff import gradient
from dp_torch.rows import scaled_rows as native_rows

pytestmark = pytest.mark.skipif(find_spec("dp_ops") is None, reason="dp-ops is not installed")


def made(precision="float64"):
    net = FittingNet.init(6, 2, [5, 5, 10], precision=precision, seed=1, trainable=[True] * 4)
    return tree_map(lambda x: torch.from_numpy(x).requires_grad_(), net)


def computed(net, x, forces):
    """Value, slope, and the gradients of x and the weights of a loss on both."""

    def energy(x):
        y = network(torch.sin(x), net.layers)
        return (y**2).sum(), y

    y, slope = gradient(energy, 1.1 * x)
    loss = torch.cos(y).sum() + forces * (slope**3).sum()
    return y, slope, *torch.autograd.grad(loss, [x, *leaves(net).values()], allow_unused=True)


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("forces", [0.0, 1.0])
def test_network(forces, precision, monkeypatch):
    net = made(precision)
    x = torch.randn(7, 6, dtype=net.layers[0].w.dtype, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert kernels.available(x.detach(), net.layers)
    found = computed(net, x, forces)
    monkeypatch.setenv("DP_OPS", "0")
    assert not kernels.available(x.detach(), net.layers)
    rtol = 1e-11 if precision == "float64" else 1e-4
    for a, b in zip(found, computed(net, x, forces), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=rtol * max(1.0, float(b.detach().abs().max())))


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("step", [False, True])
def test_slots_of_several_kinds(step, precision, monkeypatch):
    net = EmbeddingNet.init(4, [5, 10, 10], resnet_dt=step, precision=precision, seed=1)
    net = tree_map(lambda x: torch.from_numpy(x).requires_grad_(), net)
    random = torch.Generator().manual_seed(3)
    # more slots than a block of the kernels has, and some that are empty
    matrix = torch.randn(9, 30, 4, dtype=net.layers[0].w.dtype, generator=random)
    matrix[:, 27:] = 0.0
    matrix[2] = 0.0
    types = torch.randn(4, 3, dtype=matrix.dtype, generator=random).requires_grad_()
    kind = torch.randint(0, 4, (9, 30), generator=random)

    def computed():
        alone, shift = net.of_number(types)

        def energy(r):
            a = embedding_sum(r, alone, shift, kind)
            return (0.001 * a @ a.transpose(1, 2)).sin().sum(), a

        a, slope = gradient(energy, matrix)
        slope = torch.where(matrix == 0.0, 0.0, slope)  # those of empty slots mean nothing
        loss = (a**2).sum() + (slope**2).sum()
        return a, slope, *torch.autograd.grad(loss, [types, *leaves(net).values()])

    found = computed()
    monkeypatch.setenv("DP_OPS", "0")
    rtol = 1e-11 if precision == "float64" else 1e-4
    for a, b in zip(found, computed(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=rtol * max(1.0, float(b.detach().abs().max())))


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("numbers", [(1.0, 0.0, 1e-24), (0.04, 1e-5, 0.0), (7.0, 0.0, 20.0)])
def test_scaled_rows(numbers, precision, monkeypatch):
    x = torch.randn(6, 150, dtype=getattr(torch, precision), generator=torch.Generator().manual_seed(4))
    if numbers[1] or numbers[2] > 1.0:  # elsewhere the derivative at 0 is 1e12
        x[:, 3] = 0.0
    x.requires_grad_()
    weight = torch.linspace(-1.0, 1.0, 6, dtype=x.dtype).requires_grad_()

    def computed():
        def energy(x):
            y = scaled_rows((weight[:, None] * x).T, *numbers)  # rows that are no rows in memory
            return (y * weight).sin().sum(), y

        y, slope = gradient(energy, x)
        return y, slope, *torch.autograd.grad((slope**2 * torch.cos(weight)[:, None]).sum(), [x, weight])

    found = computed()
    assert native_rows(x.T, *numbers) is not None
    monkeypatch.setenv("DP_OPS", "0")
    assert native_rows(x.T, *numbers) is None
    rtol = 1e-11 if precision == "float64" else 1e-4
    for a, b in zip(found, computed(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=rtol * max(1.0, float(b.detach().abs().max())))


def test_numerical_gradient():
    net = made()
    x = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: network(x, net.layers), (x, *leaves(net).values()))


def test_evaluation_without_graph():
    net = made()
    x = torch.randn(3, 6, dtype=torch.float64)
    with torch.no_grad():
        _, slope = gradient(lambda x: (network(x, net.layers).sum(), None), x)
    assert not slope.requires_grad
    assert torch.isfinite(slope).all()
