"""Compiled parts of dp: where the libraries, the headers and the CMake package are."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"


def _root() -> Path:
    """Where compiled files are: beside this file, or in the other folder of the package if it is edited in place."""
    return next((Path(place) for place in __path__ if (Path(place) / "lib").is_dir()), Path(__file__).parent)


ROOT = _root()


def library(name: str) -> Path:
    """The shared library of a name, ``lib/lib<name>.so``. Raises FileNotFoundError."""
    path = library_dir() / f"lib{name}.so"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; install dp-ops again: pip install --force-reinstall dp-ops")
    return path


def library_dir() -> Path:
    """The folder of the shared libraries, for ``g++ -L``."""
    return ROOT / "lib"


def include_dir() -> Path:
    """The folder of ``deepmd/c_api.h`` and ``deepmd/deepmd.hpp``, for ``g++ -I``."""
    return ROOT / "include"


def cmake_dir() -> Path:
    """The folder of the CMake package, for ``cmake -DDeePMD_DIR=``."""
    return library_dir() / "cmake" / "DeePMD"


def pkgconfig_dir() -> Path:
    """The folder of ``deepmd_c.pc``, for ``PKG_CONFIG_PATH``."""
    return library_dir() / "pkgconfig"
