"""Precision names of input files and model files."""

from __future__ import annotations

from dp_core.errors import ConfigError, nearest

_NAMES = {
    "float64": "float64",
    "double": "float64",
    "default": "float64",
    "float32": "float32",
    "single": "float32",
    "float16": "float16",
    "half": "float16",
}


def canonical(precision: str) -> str:
    """The array-API name of a precision: ``default`` and ``double`` are float64.

    float16 is kept for reading files; evaluation refuses it (see the manual page Differences).
    """
    try:
        return _NAMES[precision]
    except KeyError:
        raise ConfigError(f"Unknown precision {precision!r}{nearest(precision, _NAMES)}") from None
