"""The native linear layer against automatic differentiation of the portable one."""

import pytest
import torch

from dp_core import arrays
from dp_torch.autodiff import gradient
from dp_torch.linear import linear


def tensor(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def losses(function, w, b, v, x, with_value):
    """Of a network of two equal layers: a loss of its slope along x, alone or with the value."""

    def energy(x):
        y = torch.tanh(function(torch.tanh(function(x, w, b)), w, b))
        return y.sum(), y

    y, slope = gradient(energy, x)
    return (slope * v).square().sum() + (y.sin().sum() if with_value else 0.0)


@pytest.mark.parametrize("many", [0, 100])
@pytest.mark.parametrize("with_value", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4), (0, 4)])
def test_gradients(shape, bias, with_value, many, monkeypatch):
    monkeypatch.setattr("dp_torch.linear._MANY", many)
    torch.manual_seed(3)
    w, v, x = tensor(4, 4).requires_grad_(), tensor(*shape), tensor(*shape)
    b = tensor(4).requires_grad_() if bias else None
    params = [p for p in (w, b) if p is not None]
    called = []

    def native(*args):
        called.append(linear(*args))
        return called[-1]

    monkeypatch.setitem(arrays._NATIVE, (arrays.namespace(x).__name__, "linear"), native)
    found = torch.autograd.grad(losses(arrays.linear, w, b, v, x, with_value), params)
    assert len(called) == 2
    assert all(y is not None for y in called)
    expected = torch.autograd.grad(
        losses(lambda x, w, b: x @ w if b is None else x @ w + b, w, b, v, x, with_value), params
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_left_to_pytorch_where_nothing_is_trained():
    x, w = tensor(2, 3), tensor(3, 3)
    assert linear(x, w, None) is None
    with torch.no_grad():
        assert linear(x, w.requires_grad_(), None) is None
