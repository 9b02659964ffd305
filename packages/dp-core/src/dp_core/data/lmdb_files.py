"""Systems in LMDB databases: one msgpack map a frame; sizes and compositions may mix."""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from dp_core.data.frame import Floats, Integers, Label, memory_name
from dp_core.data.store import optional
from dp_core.data.system import System
from dp_core.errors import DataError

#: Names on disk that differ from the name in memory.
_RENAMED = {
    "coords": "coord",
    "cells": "box",
    "energies": "energy",
    "forces": "force",
    "atom_types": "atype",
    "virials": "virial",
}
_IGNORED = {"coord", "box", "atype", "atom_numbs", "atom_names", "orig"}

#: Frames that are looked at for labels that do not count in the first one.
_LOOKED_AT = 100


class _Database:
    """An open database; LMDB allows a process to open each one only once, so systems share them."""

    def __init__(self, env: Any):
        self.env = env


_opened: WeakValueDictionary[str, _Database] = WeakValueDictionary()


def _open(path: str) -> _Database:
    lmdb = optional("lmdb", "lmdb", path)
    folder = os.path.realpath(os.path.dirname(path) if os.path.basename(path) == "data.mdb" else path)
    database = _opened.get(folder)
    if database is None:
        try:
            env = lmdb.open(folder, subdir=os.path.isdir(folder), readonly=True, lock=False, readahead=False)
        except lmdb.Error as error:
            raise DataError(f"{path} cannot be read as an LMDB database: {error}. Copy or write it again.") from error
        database = _opened[folder] = _Database(env)
    return database


class LmdbSystem(System):
    """A database with a map ``__metadata__`` and one map a frame. Opening it reads the metadata and the first frame."""

    def __init__(self, path: str):
        self.name = path
        self._last: tuple[int, dict[str, Any]] = (-1, {})  # a frame is asked for its parts in turn
        self._unpack = optional("msgpack", "lmdb", path).unpackb
        self._database = _open(path)
        metadata = self._map(b"__metadata__", "__metadata__")
        if "nframes" not in metadata:
            raise DataError(f"{path}: __metadata__ has no nframes. It has: {', '.join(sorted(metadata))}.")
        self.nframes = int(metadata["nframes"])
        if self.nframes < 1:
            raise DataError(f"{path} holds no frames.")
        self._format = _text(metadata.get("frame_idx_fmt", "012d"))
        names = metadata.get("type_map")
        self.own_names = tuple(_text(name) for name in names) if names else None
        sizes = metadata.get("frame_nlocs")
        if sizes is None:
            sizes = [len(self.own_types(i)) for i in range(self.nframes)]
        every = self._per_frame(sizes, "frame_nlocs")
        self.natoms = int(every.max())
        self.sizes = None if (every == every[0]).all() else every
        origins = metadata.get("frame_system_ids")
        self.origins = None if origins is None else self._per_frame(origins, "frame_system_ids")
        self.mixed = True  # the metadata does not say whether compositions differ
        self.periodic = self._structure(0)[1] is not None

    def _per_frame(self, numbers: Any, name: str) -> Integers:
        array = np.asarray(numbers, dtype=np.int64)
        if array.shape != (self.nframes,):
            raise DataError(
                f"{self.name}: {name} in __metadata__ has {array.size} entries, expected {self.nframes} (nframes)."
            )
        return array

    def where(self, i: int) -> str:
        """Where frame ``i`` is: database and key."""
        return f"{self.name}, frame {i:{self._format}}"

    def own_types(self, i: int) -> Integers:
        """(N,) types of frame ``i`` in the numbering of the database."""
        types = self._need(i, "atype").astype(np.int64).ravel()
        if types.min(initial=0) < -1 or (self.own_names is not None and types.max(initial=0) >= len(self.own_names)):
            raise DataError(
                f"{self.where(i)}: atom_types run from {types.min()} to {types.max()}; "
                f"type_map in __metadata__ names {len(self.own_names or ())} types."
            )
        return types

    def used_types(self) -> Integers:
        """The types that really occur, in the numbering of the database, sorted; reads every frame."""
        used = {int(t) for i in range(self.nframes) for t in np.unique(self.own_types(i))}
        return np.array(sorted(used - {-1}), dtype=np.int64)

    def available(self) -> frozenset[str]:
        """Names in memory of the quantities of the first frame that count in it, or in one of 100 frames."""
        frame = self._frame(0)
        names = {key for key in frame if key not in _IGNORED and not key.startswith("find_")}
        found = {key for key in names if _counts(frame, key)}
        for i in np.unique(np.linspace(0, self.nframes - 1, _LOOKED_AT, dtype=np.int64)).tolist():
            if found == names:
                break
            found |= {key for key in names - found if _counts(self._frame(i), key)}
        return frozenset(found)

    def _structure(self, i: int) -> tuple[Floats, Floats | None]:
        coord = self._need(i, "coord").astype(np.float64)
        natoms = len(self.own_types(i))
        if coord.size != 3 * natoms:
            raise DataError(
                f"{self.where(i)}: coords has {coord.size} numbers, expected 3×{natoms} for {natoms} atoms."
            )
        box = self._frame(i).get("box")
        if box is None or not np.any(box):
            return coord.reshape(natoms, 3), None
        if np.size(box) != 9:
            raise DataError(f"{self.where(i)}: cells has {np.size(box)} numbers, expected 9.")
        return coord.reshape(natoms, 3), np.array(box, dtype=np.float64).reshape(3, 3)

    def _values(self, i: int, label: Label) -> Floats | None:
        frame = self._frame(i)
        if not _counts(frame, label.key):
            return None
        numbers = np.array(frame[label.key], dtype=np.float64).ravel()
        natoms = len(self.own_types(i))
        if numbers.size != label.count(natoms):
            raise DataError(
                f"{self.where(i)}: {label.key} has {numbers.size} numbers, expected {label.count_in_words(natoms)}."
            )
        return numbers

    def _need(self, i: int, key: str) -> np.ndarray:
        frame = self._frame(i)
        if key not in frame:
            raise DataError(f"{self.where(i)} has no {key}. It has: {', '.join(sorted(frame))}.")
        return np.asarray(frame[key])

    def _frame(self, i: int) -> dict[str, Any]:
        last, frame = self._last
        if last == i:
            return frame
        raw = self._map(format(i, self._format).encode("ascii"), f"frame {i}")
        frame = {_memory_key(key): value for key, value in raw.items()}
        self._last = (i, frame)
        return frame

    def _map(self, key: bytes, what: str) -> dict[str, Any]:
        with self._database.env.begin() as transaction:
            blob = transaction.get(key)
        if blob is None:
            raise DataError(
                f"{self.name} has no entry {key.decode()!r} ({what}). Is it a deep-potential database, and whole?"
            )
        try:
            value = self._unpack(blob, raw=True, strict_map_key=False)
            return {_text(name): _decoded(item) for name, item in value.items()}
        except Exception as error:  # msgpack and numpy raise a dozen kinds on damaged bytes
            raise DataError(
                f"{self.name}, {what}: the entry is damaged ({error}). Write the database again."
            ) from error


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _memory_key(key: str) -> str:
    if key.startswith("find_"):
        return "find_" + _memory_key(key[5:])
    return _RENAMED.get(key, memory_name(key))


def _counts(frame: dict[str, Any], key: str) -> bool:
    """Whether a frame has a quantity, and does not say that it is only a filling."""
    return key in frame and bool(float(np.ravel(frame.get(f"find_{key}", 1.0))[0]))


def _decoded(item: Any) -> Any:
    """Maps ``{type, shape, data}`` as arrays, in lists too; everything else unchanged."""
    if isinstance(item, dict):
        fields = {_text(key): value for key, value in item.items()}
        if {"type", "data"} <= set(fields):
            array = np.frombuffer(fields["data"], dtype=np.dtype(_text(fields["type"])))
            return array.reshape(fields["shape"]) if "shape" in fields else array
        return fields
    if isinstance(item, list):
        return [_decoded(value) for value in item]
    return item
