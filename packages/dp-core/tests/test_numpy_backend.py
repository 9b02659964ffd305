"""Gradients of the NumPy backend."""

from __future__ import annotations

import numpy as np
import pytest

from dp_core.arrays import namespace
from dp_core.numpy_backend import gradient


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_second_derivatives_of_tanh_are_finite_everywhere(dtype):
    x = np.array([-1e4, -50.0, -0.3, 0.0, 2.0, 400.0, 1e30], dtype)

    def slope(x):
        _, first = gradient(lambda y: (namespace(y).sum(namespace(y).tanh(y)), None), x)
        return namespace(first).sum(first), first

    first, second = gradient(slope, x)
    t = np.tanh(x.astype(np.float64))
    assert first.dtype == second.dtype == dtype
    np.testing.assert_allclose(first, 1 - t**2, atol=1e-6)
    np.testing.assert_allclose(second, -2 * t * (1 - t**2), atol=1e-6)
