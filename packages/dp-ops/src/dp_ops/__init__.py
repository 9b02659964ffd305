"""Compiled parts of dp: where the libraries, the headers and the CMake package are."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"

ROOT = Path(__file__).parent


def library(name: str) -> Path:
    """The shared library of a name, ``lib/lib<name>.so``. Raises FileNotFoundError."""
    path = ROOT / "lib" / f"lib{name}.so"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; install dp-ops again: pip install --force-reinstall dp-ops")
    return path
