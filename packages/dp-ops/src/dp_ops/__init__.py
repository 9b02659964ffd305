"""Compiled parts of dp: where the libraries, the headers and the CMake package are."""

from __future__ import annotations

import sysconfig
from pathlib import Path

__version__ = "0.1.0"

ROOT = Path(__file__).parent


def library(name: str) -> Path:
    """The shared library of a name, ``lib/lib<name>.so``. Raises FileNotFoundError."""
    # an editable installation has them beside the packages that are installed
    roots = (ROOT, Path(sysconfig.get_paths()["platlib"]) / "dp_ops")
    paths = [root / "lib" / f"lib{name}.so" for root in roots]
    path = next((p for p in paths if p.is_file()), paths[0])
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; install dp-ops again: pip install --force-reinstall dp-ops")
    return path
