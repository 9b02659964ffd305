"""Networks by the kernels of dp-ops against automatic differentiation."""

import gc
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
from dp_torch.derivatives import Work

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


@pytest.fixture(params=["1", "0"])
def kernels_used(request, monkeypatch):
    """With the kernels, and without."""
    monkeypatch.setenv("DP_OPS", request.param)


def embedded(x, head=1.0, trained=True):
    """The sum of a network of one number, what follows from it by a head, the slope of that by x, and the weights."""
    net = EmbeddingNet.init(1, [4, 8], resnet_dt=True, precision="float64", seed=1)
    net = tree_map(lambda x: torch.from_numpy(x).requires_grad_(trained), net)
    a, slope = gradient(lambda r: ((head * (a := embedding_sum(r, net)).sin()).sum(), a), x)
    return a, slope, list(leaves(net).values())


def rows(x, head=1.0, trained=True):
    """The same for a network of rows."""
    net = tree_map(lambda x: x.requires_grad_(trained), made())
    y, slope = gradient(lambda x: ((head * (y := network(x, net.layers)).sin()).sum(), y), x)
    return y, slope, list(leaves(net).values())


CALLS = {"embedding": (embedded, (5, 7, 4)), "network": (rows, (5, 6))}


def numbers_like(shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("name", CALLS)
def test_passes_leave_nothing_to_one_another(name):
    """A pass for the head alone, which does not come to the weights, is not added to the next one."""
    call, shape = CALLS[name]
    head = torch.ones((), dtype=torch.float64, requires_grad=True)
    y, slope, weights = call(numbers_like(shape), head)
    expected = torch.autograd.grad((y**2).sum(), weights, retain_graph=True, materialize_grads=True)
    torch.autograd.grad((slope**3).sum(), head, retain_graph=True)
    found = torch.autograd.grad((y**2).sum(), weights, materialize_grads=True)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("name", CALLS)
def test_several_slopes_in_one_pass(name):
    call, shape = CALLS[name]
    x = numbers_like(shape).requires_grad_()
    y, first, weights = call(x)
    (second,) = torch.autograd.grad((y**2).sum(), x, create_graph=True)
    losses = (first**3).sum(), (second**2).sum()
    both = torch.autograd.grad(sum(losses), weights, retain_graph=True, materialize_grads=True)
    one, other = (torch.autograd.grad(z, weights, retain_graph=True, materialize_grads=True) for z in losses)
    for a, b, c in zip(both, one, other, strict=True):
        torch.testing.assert_close(a, b + c, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("name", CALLS)
def test_third_derivatives_are_unknown(name):
    call, shape = CALLS[name]
    _, slope, weights = call(numbers_like(shape))
    found = torch.autograd.grad((slope**3).sum(), weights, create_graph=True, materialize_grads=True)
    assert torch.isnan(found[0]).all()


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("name", CALLS)
def test_a_pass_inside_another(name):
    call, shape = CALLS[name]
    y, slope, weights = call(numbers_like(shape))
    expected = torch.autograd.grad((slope**2).sum() + (y**2).sum(), weights, retain_graph=True, materialize_grads=True)
    inner, done = (y**2).sum(), []

    def once(_):
        if not done:
            done.append(True)
            torch.autograd.grad(inner, weights, retain_graph=True, materialize_grads=True)

    y.register_hook(once)
    found = torch.autograd.grad((slope**2).sum() + (y**2).sum(), weights, materialize_grads=True)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert done


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_trained_leaves_nothing_behind(name, create_graph):
    call, shape = CALLS[name]
    gc.disable()  # what is left must not be in a circle
    try:
        before = alive()
        head = torch.ones((), dtype=torch.float64, requires_grad=True)
        y, slope, _ = call(numbers_like(shape), head)
        torch.autograd.grad((slope**2).sum(), head, create_graph=create_graph)
        del y, slope
        assert alive() == before
    finally:
        gc.enable()


@pytest.mark.usefixtures("kernels_used")
@pytest.mark.parametrize("name", CALLS)
def test_a_network_that_is_not_trained(name):
    """Gradients of what is behind it, by all leaves."""
    call, shape = CALLS[name]
    head = torch.ones((), dtype=torch.float64, requires_grad=True)
    y, slope, weights = call(numbers_like(shape), head, trained=False)
    ((slope**2).sum() + (head * y).sum()).backward()
    assert head.grad is not None
    expected = 2.0 * (slope**2).sum() + y.sum()  # the slope is proportional to the head
    torch.testing.assert_close(head.grad, expected.detach(), rtol=1e-12, atol=0)
    assert all(w.grad is None for w in weights)


def alive():
    """How many calls are not forgotten."""
    return sum(issubclass(type(x), Work) for x in gc.get_objects())


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
    assert made(g, sides[..., :3], sides[..., 3:], valid).grad_fn.name() == "_ValueBackward"  # of a kernel
    monkeypatch.setenv("DP_OPS", "0")
    rtol = 1e-11 if precision == "float64" else 1e-3
    for a, b in zip(found, computed(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=rtol * max(1.0, float(b.detach().abs().max())))
