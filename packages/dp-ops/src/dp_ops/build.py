"""Compile what needs the headers of an installed framework, for its version: ``python -m dp_ops.build NAME``.

Wheels carry libraries for some versions in ``dp_ops/lib/FRAMEWORK-VERSION/``; others are compiled into the cache of
the user, ``$XDG_CACHE_HOME/dp-ops/VERSION OF DP-OPS/FRAMEWORK-VERSION/``. Programs look for them in both.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from dp_ops import ROOT, __version__

#: Where the sources and headers are: in an installed package, or in a checkout.
SOURCES = ROOT / "sources" if (ROOT / "sources").is_dir() else ROOT.parents[1]


class BuildError(RuntimeError):
    """What is missing to compile a library, and how to repair it."""


@dataclass(frozen=True)
class Recipe:
    """How ``libdp_NAME.so`` is compiled.

    framework: the package that brings the headers; sources: files below ``SOURCES``; flags: of the compiler, given the
    folder of the framework. Optimization, ``-fPIC -shared``, and the folders of our headers and libraries are added.
    """

    framework: str
    sources: tuple[str, ...]
    flags: Callable[[Path], list[str]]


def _torch_flags(folder: Path) -> list[str]:
    include, library = folder / "include", folder / "lib"
    headers = [f"-isystem{include}", f"-isystem{include / 'torch/csrc/api/include'}"]
    return ["-std=c++20", *headers, f"-L{library}", "-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"]


RECIPES = {"torch": Recipe("torch", ("engines/torch_adapter.cpp",), _torch_flags)}


def framework_folder(framework: str) -> Path:
    """The folder of an installed package, which is not imported. Raises BuildError."""
    spec = find_spec(framework)
    if spec is None or not spec.submodule_search_locations:
        raise BuildError(f"{framework} is not installed for {sys.executable}. Install it: pip install {framework}")
    return Path(next(iter(spec.submodule_search_locations)))


def framework_version(framework: str) -> str:
    """The version of the distribution of an installed package, without what follows a plus. Raises BuildError."""
    folder = framework_folder(framework).parent
    for found in distributions(path=[str(folder)]):  # the package tensorflow is in tensorflow-cpu and others
        name = (found.metadata["Name"] or "").lower().replace("-", "_")
        if name == framework or name in {f"{framework}_{kind}" for kind in ("cpu", "gpu", "rocm", "intel")}:
            return found.version.split("+")[0]
    raise BuildError(f"The version of {framework} in {folder} is not known. Install it again: pip install {framework}")


def cache_folder() -> Path:
    """Where this version of dp-ops keeps what it compiles."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "dp-ops" / __version__


def find_built(name: str) -> Path | None:
    """The library of a recipe for the installed framework, in the package or in the cache; None if there is none."""
    try:
        place = _place(name)
    except BuildError:
        return None
    return next((path for folder in (ROOT / "lib", cache_folder()) if (path := folder / place).is_file()), None)


def target_of(name: str, folder: Path | None = None) -> Path:
    """Where ``build`` puts the library of a recipe. Raises BuildError if the framework is missing."""
    return (folder or cache_folder()) / _place(name)


def build(name: str, folder: Path | None = None) -> Path:
    """Compile the library of a recipe for the installed framework, into the cache or another folder; its path.

    Raises BuildError if the framework or a compiler is missing, or compilation fails.
    """
    recipe, target = RECIPES[name], target_of(name, folder)
    compiler = shlex.split(os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or "")
    if not compiler:
        raise BuildError(f"{target.name} needs a C++ compiler, and there is none: set CXX, or install g++.")
    flags = recipe.flags(framework_folder(recipe.framework))
    sources = [str(SOURCES / source) for source in recipe.sources]
    ours = ["-O2", "-fPIC", "-shared", "-fvisibility=hidden", f"-I{SOURCES}", f"-L{ROOT / 'lib'}"]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        made = Path(place) / target.name
        done = subprocess.run([*compiler, *ours, *sources, *flags, "-o", str(made)], capture_output=True, text=True)
        if done.returncode:
            lines = "\n".join(done.stderr.splitlines()[:20])
            raise BuildError(f"{' '.join(compiler)} could not compile {', '.join(recipe.sources)}:\n{lines}")
        made.replace(target)
    return target


def _place(name: str) -> Path:
    """The path of the library of a recipe below the folders of libraries."""
    framework = RECIPES[name].framework
    return Path(f"{framework}-{framework_version(framework)}") / f"libdp_{name}.so"


def main() -> int:
    """``python -m dp_ops.build NAME``: prints the path of the library."""
    parser = argparse.ArgumentParser(prog="python -m dp_ops.build", description=__doc__)
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--folder", type=Path, help="instead of the cache")
    parser.add_argument("--where", action="store_true", help="print the path alone; compile nothing")
    given = parser.parse_args()
    try:
        print(target_of(given.name, given.folder) if given.where else build(given.name, given.folder))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
