"""Folders of arrays: a directory of ``.npy`` files, or an HDF5 group that looks like one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from dp_core.data.frame import Floats
from dp_core.errors import DataError


def optional(module: str, extra: str, what: str) -> ModuleType:
    """Import a package that only some formats need; DataError with the command to run if it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise DataError(
            f"Reading {what} needs the package {module.split('.')[0]}, which cannot be imported ({error}). "
            f"Run: pip install 'dp-core[{extra}]'"
        ) from error


class Array(Protocol):
    """An array on disk, read by ranges of its flattened numbers."""

    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers."""

    def read(self, start: int, stop: int) -> Floats:
        """Numbers start … stop−1 of the flattened array, as a new float64 array."""


class Folder(Protocol):
    """What a system needs of the place it lies in."""

    name: str

    def entries(self, sub: str = "") -> list[str]:
        """Sorted names in the folder or in one of its sub-folders."""

    def is_folder(self, sub: str) -> bool:
        """Whether an entry is a folder."""

    def text(self, file: str) -> str:
        """Content of a text file."""

    def array(self, path: str) -> Array:
        """The array ``set.000/coord.npy``."""


class NpyArray:
    """A ``.npy`` file. Only its header is kept: each read opens the file, so thousands of systems need no handles."""

    def __init__(self, path: str):
        self.path = path
        try:
            with open(path, "rb") as file:
                version = np.lib.format.read_magic(file)
                header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                self.shape, self.fortran, self.dtype = header(file)
                self.offset = file.tell()
                present = os.fstat(file.fileno()).st_size - self.offset
        except OSError as error:
            raise DataError(
                f"{path} cannot be read: {error.strerror or error}. Check the file and its permissions."
            ) from error
        except (ValueError, KeyError) as error:
            raise DataError(
                f"{path} is not a NumPy array file, or it is cut off in its header ({error}). "
                "Write it again with numpy.save."
            ) from error
        if self.dtype.kind not in "fiub":
            raise DataError(f"{path} holds {self.dtype}, expected real numbers. Write it again as float32 or float64.")
        if present < self.size * self.dtype.itemsize:
            raise DataError(
                f"{path} is truncated: its header promises {self.size * self.dtype.itemsize} bytes "
                f"(shape {self.shape}, {self.dtype}), only {present} are there. Copy or write the file again."
            )

    @property
    def size(self) -> int:
        """How many numbers."""
        return int(np.prod(self.shape, dtype=np.int64))

    @cached_property
    def _whole(self) -> np.ndarray:  # column-major files are rare; their frames do not lie together
        whole: np.ndarray = np.load(self.path).ravel()
        return whole

    def read(self, start: int, stop: int) -> Floats:
        """Numbers start … stop−1 of the flattened array, as a new float64 array."""
        try:
            if self.fortran and len(self.shape) > 1:
                return self._whole[start:stop].astype(np.float64)
            offset = self.offset + start * self.dtype.itemsize
            numbers = np.fromfile(self.path, dtype=self.dtype, count=stop - start, offset=offset)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error}. Was it moved while in use?") from error
        if numbers.size != stop - start:
            raise DataError(f"{self.path} became shorter while in use. Restart when nothing writes to it.")
        return numbers.astype(np.float64)


class Directory:
    """A folder that is a directory."""

    def __init__(self, path: str | Path):
        self.name = str(path)

    def entries(self, sub: str = "") -> list[str]:
        """Sorted names in the folder or in one of its sub-folders."""
        path = os.path.join(self.name, sub)
        try:
            return sorted(os.listdir(path))
        except OSError as error:
            raise DataError(f"Folder {path} cannot be read: {error.strerror or error}.") from error

    def is_folder(self, sub: str) -> bool:
        """Whether an entry is a folder."""
        return os.path.isdir(os.path.join(self.name, sub))

    def text(self, file: str) -> str:
        """Content of a text file."""
        path = os.path.join(self.name, file)
        try:
            with open(path, encoding="utf-8") as stream:
                return stream.read()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as text: {error}.") from error

    def array(self, path: str) -> Array:
        """The array ``set.000/coord.npy``."""
        return NpyArray(os.path.join(self.name, path))


class Hdf5Array:
    """An HDF5 dataset."""

    def __init__(self, dataset: Any, name: str):
        if not hasattr(dataset, "dtype"):
            raise DataError(f"{name} is a group, expected a dataset with numbers.")
        if dataset.dtype.kind not in "fiub":
            raise DataError(f"{name} holds {dataset.dtype}, expected real numbers.")
        self.dataset, self.name = dataset, name
        self.shape = tuple(dataset.shape)

    @property
    def size(self) -> int:
        """How many numbers."""
        return int(np.prod(self.shape, dtype=np.int64))

    @cached_property
    def _whole(self) -> np.ndarray:  # for shapes whose first axis is not the frame
        return np.asarray(self.dataset[()]).ravel()

    def read(self, start: int, stop: int) -> Floats:
        """Numbers start … stop−1 of the flattened array, as a new float64 array."""
        row = self.size // self.shape[0] if self.shape and self.shape[0] else 0
        try:
            if row and start % row == 0 and stop % row == 0:
                return np.asarray(self.dataset[start // row : stop // row], dtype=np.float64).ravel()
            return self._whole[start:stop].astype(np.float64)
        except OSError as error:
            raise DataError(f"{self.name} cannot be read: {error}. Copy or write the file again.") from error


class Hdf5Group:
    """A folder that is a group of an HDF5 file; the file stays open while any of its groups is in use."""

    def __init__(self, group: Any, name: str):
        self.group, self.name = group, name

    def entries(self, sub: str = "") -> list[str]:
        """Sorted names in the folder or in one of its sub-folders."""
        return sorted(self.group[sub] if sub else self.group)

    def is_folder(self, sub: str) -> bool:
        """Whether an entry is a group."""
        return hasattr(self.group[sub], "keys")

    def text(self, file: str) -> str:
        """Content of a text dataset: numbers, strings or bytes; joined by blanks."""
        items = np.ravel(self.group[file][()])
        return " ".join(item.decode() if isinstance(item, bytes) else str(item) for item in items)

    def array(self, path: str) -> Array:
        """The array ``set.000/coord.npy``."""
        return Hdf5Array(self.group[path], f"{self.name}/{path}")


def open_hdf5(path: str, group: str = "/") -> Hdf5Group:
    """The group of an HDF5 file as a folder. Raises DataError if the file or the group cannot be read."""
    import h5py  # takes long, and most data sets do without

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} cannot be read as HDF5: {error}. Copy or write the file again.") from error
    inside = group.strip("/")
    name = f"{path}#/{inside}"
    if not inside:
        return Hdf5Group(file, name)
    if inside not in file or not hasattr(file[inside], "keys"):
        raise DataError(f"{path} has no group /{inside}. It has: {', '.join('/' + key for key in file) or 'nothing'}.")
    return Hdf5Group(file[inside], name)


def directories_with_types(root: str) -> Iterator[str]:
    """Directories below ``root`` that contain ``type.raw``, sorted, then ``root`` itself; links are followed once."""
    found, seen = [], set()
    for folder, children, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            children.clear()
            continue
        seen.add(real)
        children[:] = [child for child in children if not child.startswith("set.")]
        if "type.raw" in files and folder != root:
            found.append(folder)
    yield from sorted(found)
    if os.path.isfile(os.path.join(root, "type.raw")):
        yield root


def groups_with_types(root: Hdf5Group) -> list[Hdf5Group]:
    """The same for the groups of an HDF5 file."""
    found: list[Hdf5Group] = []

    def walk(group: Any, name: str) -> None:
        for key in sorted(group):
            child = group[key]
            if hasattr(child, "keys") and not key.startswith("set."):
                walk(child, f"{name.rstrip('/')}/{key}")
        if "type.raw" in group:
            found.append(Hdf5Group(group, name))

    walk(root.group, root.name)
    return found
