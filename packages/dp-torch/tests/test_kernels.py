"""Networks by the kernels of dp-ops against automatic differentiation."""

from importlib.util import find_spec

import pytest
import torch

import dp_torch.backend  # noqa: F401  (makes dp-core know tensors)
from dp_core.arrays import embedding_sum, network
from dp_core.module import leaves, tree_map
from dp_core.nn import EmbeddingNet, FittingNet
from dp_core.nn.attention import NeighborAttention
from dp_torch import kernels
from dp_torch.autodiff import gradient

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


ATTENTIONS = {
    "as by default": {},
    "smooth": {"smooth": True},
    "no angles": {"dotr": False},
    "smooth without angles": {"smooth": True, "dotr": False},
    "of any length": {"normalize": False, "scaling_factor": 0.1},
    "smooth, of any length": {"normalize": False, "smooth": True},
    "temperature": {"temperature": -0.7},
}


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("form", ATTENTIONS)
def test_attention(form, precision, monkeypatch):
    settings = {
        "dotr": True, "smooth": False, "scaling_factor": 1.0, "normalize": True, "temperature": None,
        "trainable_ln": True, "ln_eps": 1e-5, "precision": precision, "seed": 1,
    } | ATTENTIONS[form]  # fmt: skip
    random, dtype = torch.Generator().manual_seed(4), getattr(torch, precision)

    def numbers(*shape):
        return torch.randn(shape, dtype=dtype, generator=random)

    made = NeighborAttention.init(2, 14, 9, 11, **settings)
    made = tree_map(lambda x: (torch.from_numpy(x) + 0.1 * numbers(*x.shape)).requires_grad_(), made)
    g, sides = numbers(40, 13, 9).requires_grad_(), numbers(40, 13, 4)
    valid = (numbers(40, 13, 1) < 0.5).to(dtype)
    valid[3], valid[5] = 0.0, 1.0  # no neighbours, and as many as there are slots

    def computed():
        def energy(x):
            y = made(g * torch.cos(x[..., :1]), x[..., :3], x[..., 3:].sigmoid(), valid) * valid
            return (0.3 * y).sin().sum(), y

        y, slope = gradient(energy, sides)
        slope = slope * valid
        loss = (y**2).sum() + (slope**2).sum()
        return y, slope, *torch.autograd.grad(loss, [g, *leaves(made).values()])

    found = computed()
    assert made(g, sides[..., :3], sides[..., 3:], valid).grad_fn.name() == "ValueBackward"  # of a kernel
    monkeypatch.setenv("DP_OPS", "0")
    rtol = 1e-11 if precision == "float64" else 1e-3
    for a, b in zip(found, computed(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=rtol * max(1.0, float(b.detach().abs().max())))
