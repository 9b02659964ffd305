"""From paths to systems."""

from __future__ import annotations

import difflib
import fnmatch
import glob
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from dp_core.data.npy import NpySystem
from dp_core.data.store import Directory, Hdf5Group, directories_with_types, groups_with_types, open_hdf5
from dp_core.data.system import System
from dp_core.errors import DataError

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def open_systems(
    systems: str | Sequence[str],
    type_map: Sequence[str] | None = None,
    *,
    patterns: Sequence[str] | None = None,
    base: str | Path | None = None,
    keys: Mapping[str, str] | None = None,
) -> list[System]:
    """Open data sets; only headers are read (of files for ASE, everything).

    systems: one path or several. Each is a system folder (with ``type.raw``), a folder searched for them recursively,
        an HDF5 file or ``file#/group`` (the same inside), an LMDB database, or any file that ASE reads.
    type_map: type names of the model; None takes the names of the systems themselves, in order of first appearance.
    patterns: glob patterns; the systems are then the matches below each path, instead of the search.
    base: the folder that relative paths start from; default the working directory.
    keys: label name → key, for files read by ASE whose labels have unusual names.

    Raises DataError if nothing is there, a file is damaged, an atom is of an unknown type, or formats do not mix.
    """
    paths = [os.path.join(base, p) if base else p for p in ([systems] if isinstance(systems, str) else systems)]
    opened = [opener() for path in paths for opener in locate(path, patterns, keys)]
    if not opened:
        raise DataError("No data systems given; name at least one path in systems.")
    check_one_format(opened)
    names = list(type_map) if type_map is not None else collect_type_map(opened)
    if len(set(names)) < len(names):
        raise DataError(f"The type map {' '.join(names)} names an element twice; give every element once.")
    for index, system in enumerate(opened):
        system.bind(names, index)
    return opened


def collect_type_map(systems: str | Sequence[str] | Sequence[System]) -> list[str]:
    """The type names of systems, in order of first appearance; the numbers ("0", "1", …) where none has names.

    Raises DataError if some systems have names and others only numbers: nobody can tell which is which.
    """
    if isinstance(systems, str):
        systems = [systems]
    opened = [
        s for item in systems for s in ([item] if isinstance(item, System) else [open() for open in locate(item)])
    ]
    named = [s for s in opened if s.own_names is not None]
    if not named:
        return [str(t) for t in range(1 + max(int(s.used_types().max()) for s in opened))]
    if len(named) < len(opened):
        without = next(s.name for s in opened if s.own_names is None)
        raise DataError(
            f"System {without} has no type names while {named[0].name} has. Add a type_map.raw to it, or give type_map."
        )
    return list(dict.fromkeys(name for s in named for name in s.own_names or ()))


def check_one_format(systems: Iterable[System]) -> None:
    """Raise DataError if some systems are in mixed_type format and others in the ordinary one."""
    folders = [s for s in systems if isinstance(s, NpySystem)]
    mixed = [s.name for s in folders if s.mixed]
    if mixed and len(mixed) < len(folders):
        plain = next(s.name for s in folders if not s.mixed)
        raise DataError(
            f"System {mixed[0]} is in mixed_type format (it has real_atom_types.npy) and {plain} is not. "
            "Train on systems of one kind, or convert one of them."
        )


def locate(
    path: str, patterns: Sequence[str] | None = None, keys: Mapping[str, str] | None = None
) -> list[Callable[[], System]]:
    """What opens each system that a path stands for. Raises DataError if there is none."""
    openers = _with_fixed_names(path, patterns)
    if openers is None:
        from dp_core.data.ase_files import AseSystem

        return [partial(AseSystem, path, keys)]
    if keys:
        raise DataError(
            f"{path} has labels under fixed names, so they cannot be given others (here {', '.join(keys)}): "
            "that is for files that ASE reads. Rename the files of the labels instead."
        )
    return openers


def _with_fixed_names(path: str, patterns: Sequence[str] | None) -> list[Callable[[], System]] | None:
    """What opens each system of a path in one of the layouts of DeePMD-kit, None if it is a file for ASE."""
    file, hash_sign, group = path.partition("#")
    if hash_sign and not os.path.exists(path):
        _must_exist(file)
        return _in_group(open_hdf5(file, group), path, patterns)
    if path.rstrip("/").endswith(".lmdb") or "data.mdb" in path or os.path.isfile(os.path.join(path, "data.mdb")):
        from dp_core.data.lmdb_files import LmdbSystem

        _must_exist(path)
        return [partial(LmdbSystem, path.rstrip("/"))]
    if os.path.isdir(path):
        return _in_directory(path, patterns)
    part, at, _ = path.rpartition("@")
    _must_exist(path if not at or os.path.exists(path) else part)
    if _is_hdf5(path):
        return _in_group(open_hdf5(path), path, patterns)
    return None


def _in_directory(path: str, patterns: Sequence[str] | None) -> list[Callable[[], System]]:
    if patterns is None:
        folders = list(directories_with_types(path))
    else:
        found = (m for p in patterns for m in glob.glob(os.path.join(glob.escape(path), "**", p), recursive=True))
        folders = sorted({os.path.normpath(m) for m in found if os.path.isfile(os.path.join(m, "type.raw"))})
    if not folders:
        below = "" if patterns is None else f" matching {', '.join(patterns)}"
        raise DataError(
            f"No system{below} in {path}: neither it nor a folder below contains type.raw. "
            "Give a folder in the deepmd/npy layout, or a file that ASE reads (such as data.xyz)."
        )
    return [partial(NpySystem, Directory(folder)) for folder in folders]


def _in_group(root: Hdf5Group, path: str, patterns: Sequence[str] | None) -> list[Callable[[], System]]:
    groups = groups_with_types(root)
    if patterns is not None:
        groups = [g for g in groups if any(_matches(g.name[len(root.name) :].strip("/"), p) for p in patterns)]
    if not groups:
        raise DataError(f"No system in {path}: no group of it contains type.raw.")
    return [partial(NpySystem, group) for group in groups]


def _matches(path: str, pattern: str) -> bool:
    """Whether the end of ``path`` matches, component by component, as in a recursive glob."""
    parts, wanted = path.split("/"), [p for p in pattern.strip("/").split("/") if p != "**"]
    return len(parts) >= len(wanted) and all(
        fnmatch.fnmatchcase(part, want) for part, want in zip(parts[-len(wanted) :], wanted)
    )


def _must_exist(path: str) -> None:
    if os.path.exists(path):
        return
    folder = os.path.dirname(path) or "."
    hint = f" in {os.getcwd()}" if not os.path.isabs(path) else ""
    if os.path.isdir(folder):
        close = difflib.get_close_matches(os.path.basename(path), os.listdir(folder), n=1)
        hint += f"; did you mean {os.path.join(os.path.dirname(path), close[0])}?" if close else ""
    raise DataError(f"Data system {path} does not exist{hint}" + ("" if hint.endswith("?") else "."))


def _is_hdf5(path: str) -> bool:
    if not os.path.isfile(path):  # file@slice
        return False
    try:
        with open(path, "rb") as file:
            return file.read(8) == _HDF5_MAGIC
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from error
