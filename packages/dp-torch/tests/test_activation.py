"""silu and its tail above a threshold, with their first and second derivatives."""

import math

import pytest
import torch

from dp_core import arrays
from dp_torch import activation, namespace  # noqa: F401  (which provides the native functions)
from dp_torch.autodiff import gradient


def portable(x, threshold):
    y = x * torch.sigmoid(x)
    if threshold == math.inf:
        return y
    s = 1 / (1 + math.exp(-threshold))
    tail = torch.tanh((s + threshold * s * (1 - s)) * (x - threshold)) + threshold * s
    return torch.where(x < threshold, y, tail)


@pytest.fixture
def x():
    """Many numbers, on both sides of the threshold, in a part of a larger array."""
    torch.manual_seed(1)
    return (3 * torch.randn(300, 80, dtype=torch.float64))[:, ::2]


def derivatives(function, x):
    """Value, slope, and the gradients of a function of both by two parameters inside."""
    a, b = torch.tensor(1.1, dtype=x.dtype), torch.tensor(0.2, dtype=x.dtype)
    a.requires_grad_()
    b.requires_grad_()

    def energy(x):
        y = function(a * x + b)
        return (y * y).sum(), y

    y, slope = gradient(energy, x)
    return y, slope, *torch.autograd.grad((slope**3).sum() + y.sum(), [a, b])


@pytest.mark.parametrize("threshold", [math.inf, 3.0, -1.0, 100.0])
def test_derivatives(monkeypatch, x, threshold):
    monkeypatch.setattr(activation, "_LARGE", 1)
    monkeypatch.setattr(activation, "_BLOCK", 1000)
    calls = []
    monkeypatch.setattr(activation, "_bend", lambda *args, inner=activation._bend: calls.append(1) or inner(*args))
    found = derivatives(lambda z: arrays.silu(z, threshold), x)
    assert calls
    for one, other in zip(found, derivatives(lambda z: portable(z, threshold), x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threshold", [math.inf, 3.0])
def test_small_arrays_and_third_derivatives_are_left_to_autograd(x, threshold):
    assert activation.silu(x[:10], threshold) is None
    assert activation.silu(torch.cat([x, x]), threshold) is not None

    def nested(z):
        return gradient(lambda u: (arrays.silu(u, threshold).sum(), None), z)[1].sum(), None

    many = torch.cat([x, x]).contiguous()
    _, second = gradient(nested, many)
    expected = torch.autograd.functional.hvp(lambda z: portable(z, threshold).sum(), many, torch.ones_like(many))[1]
    torch.testing.assert_close(second, expected, rtol=1e-12, atol=1e-12)
