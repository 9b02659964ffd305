"""Activation functions by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

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
