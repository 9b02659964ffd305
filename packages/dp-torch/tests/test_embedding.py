"""The native sum of embeddings against automatic differentiation of the portable one."""

import pytest
import torch

from dp_core import arrays
from dp_core.nn import Layer
from dp_torch import embedding
from dp_torch.autodiff import gradient


class Net:
    """A network with the attributes of ``EmbeddingNet``."""

    def __init__(self, widths, step, bias, resnet=True, function="tanh"):
        torch.manual_seed(1)
        self.function, self.layers = function, []
        for n_in, n_out in zip((1, *widths), widths, strict=False):
            idt = self.parameter(n_out) if step and n_out in (n_in, 2 * n_in) else None
            b = self.parameter(n_out) if bias else None
            self.layers.append(Layer(self.parameter(n_in, n_out), b, idt, function, resnet, "float64", True))

    @staticmethod
    def parameter(*shape):
        return torch.randn(*shape, dtype=torch.float64).requires_grad_()

    @property
    def parameters(self):
        return [p for layer in self.layers for p in (layer.w, layer.b, layer.idt) if p is not None]

    def __call__(self, x):
        for layer in self.layers:
            x = arrays.dense(x, layer.w, layer.b, layer.idt, getattr(torch, self.function), layer.resnet)
        return x


def portable(matrix, net):
    return matrix.transpose(1, 2) @ net(matrix[..., :1])


NETS = {
    "doubling": ((3, 6, 12), False, True),
    "steps": ((4, 4, 8), True, True),
    "from one": ((1, 2, 3), True, False),
    "one layer": ((2,), False, True),
    "plain": ((3, 6), False, True, False),
}


@pytest.fixture(params=NETS)
def net(request):
    return Net(*NETS[request.param])


@pytest.fixture(params=[10**6, 10], ids=["one block", "blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(embedding, "BLOCK", request.param)


MATRIX = torch.randn(7, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def close(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11 * float(b.detach().abs().amax()))


def energy(function, net):
    """A function of R that is not linear in the sum."""

    def total(matrix):
        a = function(matrix, net)
        return (a @ a.transpose(1, 2)).sin().sum(), a

    return total


def both(compute):
    close(compute(embedding.embedding_sum), compute(portable))


def test_value_and_slope(net, blocks):
    with torch.no_grad():
        both(lambda f: gradient(energy(f, net), MATRIX))


def test_training_on_slopes_and_values(net, blocks):
    def compute(function):
        a, slope = gradient(energy(function, net), MATRIX)
        return torch.autograd.grad((slope**2).sum() + 3 * (a**2).sum(), net.parameters, allow_unused=True)

    both(compute)


def test_training_on_slopes_alone(net, blocks):
    def compute(function):
        def linear(matrix):
            return function(matrix, net).sum(), None

        return torch.autograd.grad((gradient(linear, MATRIX)[1] ** 2).sum(), net.parameters, allow_unused=True)

    both(compute)


def test_training_on_values_alone(net, blocks):
    both(lambda f: torch.autograd.grad(f(MATRIX, net).cos().sum(), net.parameters, allow_unused=True))


def test_twice_with_one_graph(net):
    _, slope = gradient(energy(embedding.embedding_sum, net), MATRIX)
    first = torch.autograd.grad((slope**2).sum(), net.parameters, retain_graph=True, allow_unused=True)
    again = torch.autograd.grad((slope**2).sum(), net.parameters, allow_unused=True)
    close(again, first)


def test_second_slope(net):
    """Nested gradients, as in a Hessian, and their training."""

    def compute(function):
        def inner(matrix):
            return (gradient(lambda m: energy(either, net)(m), matrix)[1] ** 2).sum(), None

        def either(matrix, net):
            found = function(matrix, net)
            return portable(matrix, net) if found is None else found

        second = gradient(inner, MATRIX)[1]
        return second, *torch.autograd.grad((second**2).sum(), net.parameters, allow_unused=True)

    both(compute)


def test_unavailable_derivatives_are_no_numbers():
    net = Net((2, 4), False, True)
    total, _ = energy(embedding.embedding_sum, net)(MATRIX.clone().requires_grad_())
    (of_weight,) = torch.autograd.grad(total, net.parameters[:1], create_graph=True)
    assert of_weight.isnan().all()


def test_other_activations_are_left_to_the_portable_form():
    assert embedding.embedding_sum(MATRIX, Net((2, 4), False, True, function="sigmoid")) is None


def test_no_rows_and_no_slots():
    net = Net((2, 4), False, True)
    for shape in ((0, 5, 4), (3, 0, 4), (0, 0, 4)):
        matrix = torch.zeros(shape, dtype=torch.float64)
        out, slope = gradient(energy(embedding.embedding_sum, net), matrix)
        assert out.shape == (shape[0], 4, 4)
        assert not out.any()
        assert slope.shape == shape
