"""Precision names of input files and model files."""

from __future__ import annotations

from dp_core.errors import ConfigError, nearest

_NAMES = {
    "float64": "float64",
    "double": "float64",
    "default": "float64",
    "float32": "float32",
    "single": "float32",
}
_TOO_SHORT = ("float16", "half", "bfloat16")


def canonical(precision: str) -> str:
    """The array-API name of a precision: ``default`` and ``double`` are float64.

    Raises ConfigError for any other name; energies need more digits than 16 bits have.
    """
    if precision in _TOO_SHORT:
        raise ConfigError(
            f"The precision {precision!r} is too short for energies and forces; dp computes in float64 and float32."
        )
    try:
        return _NAMES[precision]
    except (KeyError, TypeError):
        raise ConfigError(f"Unknown precision {precision!r}{nearest(str(precision), _NAMES)}") from None
