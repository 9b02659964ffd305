"""Activation functions by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.errors import ConfigError, nearest
from dp_core.module import Array


def _relu(x: Array) -> Array:
    xp = namespace(x)
    return xp.maximum(x, xp.zeros_like(x))


def _relu6(x: Array) -> Array:
    xp = namespace(x)
    return xp.minimum(_relu(x), 6.0 * xp.ones_like(x))


def _linear(x: Array) -> Array:
    return x


_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda x: namespace(x).tanh(x),
    "relu": _relu,
    "relu6": _relu6,
    "softplus": arrays.softplus,
    "sigmoid": arrays.sigmoid,
    "gelu": arrays.gelu,
    "gelu_tf": arrays.gelu,
    "silu": arrays.silu,
    "linear": _linear,
    "none": _linear,
}


@cache
def activation(name: str) -> Callable[[Array], Array]:
    """The function of that name, in any case; ``silut:T`` and ``custom_silu:T`` take a threshold, 3 by default."""
    key = name.lower()
    if key in _FUNCTIONS:
        return _FUNCTIONS[key]
    base, _, threshold = key.partition(":")
    if base in ("silut", "custom_silu"):
        try:
            return partial(arrays.silu, threshold=float(threshold) if threshold else 3.0)
        except ValueError:
            raise ConfigError(
                f"The threshold of the activation {name!r} is not a number; write for example 'silut:3.0'."
            ) from None
    raise ConfigError(f"Unknown activation function {name!r}{nearest(key, [*_FUNCTIONS, 'silut'])}")


def jet(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, first and second derivative of the function of that name; at a kink those of the flat side."""
    y: np.ndarray = activation(name)(x)
    base, _, threshold = name.lower().partition(":")
    if base == "tanh":
        return y, 1.0 - y * y, -2.0 * y * (1.0 - y * y)
    if base in ("linear", "none"):
        return y, np.ones_like(x), np.zeros_like(x)
    if base in ("relu", "relu6"):
        return y, np.where((x > 0) & ((x < 6.0) | (base == "relu")), 1.0, 0.0), np.zeros_like(x)
    if base in ("gelu", "gelu_tf"):
        return y, *_gelu_slopes(x)
    s = arrays.sigmoid(x)
    ds = s * (1.0 - s)
    if base == "sigmoid":
        return y, ds, ds * (1.0 - 2.0 * s)
    if base == "softplus":
        return y, s, ds
    slope, curvature = s + x * ds, ds * (2.0 + x * (1.0 - 2.0 * s))
    if base == "silu":
        return y, slope, curvature
    limit = float(threshold) if threshold else 3.0
    at = float(arrays.sigmoid(np.float64(limit)))
    steep = at + limit * at * (1.0 - at)
    t = np.tanh(steep * (x - limit))
    beyond = steep * (1.0 - t * t), -2.0 * steep * steep * t * (1.0 - t * t)
    return y, np.where(x < limit, slope, beyond[0]), np.where(x < limit, curvature, beyond[1])


def _gelu_slopes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative of ``arrays.gelu``, x/2 (1 + tanh(u)) with u = √(2/π) (x + 0.044715 x³)."""
    c = np.sqrt(2.0 / np.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    du, ddu = c * (1.0 + 3.0 * 0.044715 * x * x), c * 6.0 * 0.044715 * x
    dt = (1.0 - t * t) * du
    ddt = (1.0 - t * t) * ddu - 2.0 * t * dt * du
    return 0.5 * (1.0 + t) + 0.5 * x * dt, dt + 0.5 * x * ddt
