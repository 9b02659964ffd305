"""Systems in the deepmd/npy layout, ordinary or mixed_type, in directories and in HDF5 groups.

type.raw            atom types, indices into type_map.raw (or into the model's type map)
type_map.raw        optional names of the types
nopbc               optional empty file: open boundaries
set.*/NAME.npy      one array per quantity, first axis = frame
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np

from dp_core.data.frame import Floats, Integers, Label, memory_name
from dp_core.data.store import Array, Folder
from dp_core.data.system import System, selected_atoms
from dp_core.errors import DataError

COORD = Label("coord", 3, atomic=True)
BOX = Label("box", 9)
TYPES = Label("real_atom_types", 1, atomic=True)

#: Types that are looked at together.
_TOGETHER = 1_000_000


@dataclass
class _Set:
    name: str
    start: int  # number of its first frame in the system
    nframes: int
    files: frozenset[str]
    #: label → its array and how many of its numbers belong to a frame; None if absent
    arrays: dict[Label, tuple[Array, int] | None] = field(default_factory=dict)


class NpySystem(System):
    """A folder with type.raw and sets. Opening it reads type.raw, type_map.raw and the headers of the coordinates."""

    def __init__(self, folder: Folder):
        self.folder, self.name = folder, folder.name
        entries = folder.entries()
        self.own_names = self._read_names(entries)
        self._types = self._read_types()
        self.natoms = len(self._types)
        self.periodic = "nopbc" not in entries
        self._sets: list[_Set] = []
        for name in entries:
            if fnmatchcase(name, "set.*") and folder.is_folder(name):
                self._add_set(name)
        if not self._sets:
            raw = "coord.raw" in entries
            raise DataError(
                f"System {self.name} has no set.* folder"
                + (", only .raw files; turn them into sets of .npy files (numpy.loadtxt, numpy.save)." if raw else ".")
            )
        self.nframes = sum(s.nframes for s in self._sets)
        self._starts = [s.start for s in self._sets]
        with_types = [s.name for s in self._sets if "real_atom_types.npy" in s.files]
        self.mixed = bool(with_types)
        if self.mixed:
            self._check_mixed(with_types)
        elif self._types.min() < 0:
            raise DataError(f"{self.name}/type.raw contains {self._types.min()}; types are numbered from 0.")

    def _read_names(self, entries: list[str]) -> tuple[str, ...] | None:
        if "type_map.raw" not in entries:
            return None
        names = tuple(self.folder.text("type_map.raw").split())
        if len(set(names)) < len(names):
            raise DataError(f"{self.name}/type_map.raw names an element twice: {' '.join(names)}.")
        return names

    def _read_types(self) -> Integers:
        words = self.folder.text("type.raw").split()
        try:
            types = np.array([int(word) for word in words], dtype=np.int64)
        except ValueError as error:
            raise DataError(
                f"{self.name}/type.raw must hold whole numbers, one for each atom ({error}); "
                "element names belong in type_map.raw."
            ) from error
        if not types.size:
            raise DataError(f"{self.name}/type.raw is empty; it must hold the type of each atom.")
        if self.own_names is not None and types.max() >= len(self.own_names):
            raise DataError(
                f"{self.name}/type.raw contains type {types.max()}, but type_map.raw names only {len(self.own_names)} "
                f"types ({', '.join(self.own_names)}; numbered from 0)."
            )
        return types

    def _add_set(self, name: str) -> None:
        files = frozenset(self.folder.entries(name))
        if "coord.npy" not in files:
            raise DataError(f"{self.name}/{name} has no coord.npy.")
        if self.periodic and "box.npy" not in files:
            raise DataError(
                f"{self.name}/{name} has no box.npy. Add the cells, or put an empty file named nopbc into {self.name} "
                "if its boundaries are open."
            )
        array = self.folder.array(f"{name}/coord.npy")
        per_frame = 3 * self.natoms
        # The first axis counts the frames, so that a wrong type.raw cannot go unseen; a single frame may lack it.
        nframes = 1 if array.size == per_frame or len(array.shape) < 2 else array.shape[0]
        if array.size != nframes * per_frame:
            found = array.size // nframes if nframes else 0
            raise DataError(
                f"{self.name}/{name}/coord.npy has {found} numbers a frame, expected "
                f"{COORD.count_in_words(self.natoms)} in type.raw. All sets of a system have the same atoms; "
                "put frames with other atoms into a system of their own."
            )
        start = self._sets[-1].start + self._sets[-1].nframes if self._sets else 0
        new = _Set(name, start, nframes, files)
        new.arrays[COORD] = (array, per_frame)
        self._sets.append(new)

    def _check_mixed(self, with_types: list[str]) -> None:
        if len(with_types) < len(self._sets):
            without = next(s.name for s in self._sets if s.name not in with_types)
            raise DataError(
                f"System {self.name}: {with_types[0]} has real_atom_types.npy but {without} has not. "
                "Either all sets of a system are mixed_type or none."
            )
        if self.own_names is None:
            raise DataError(
                f"System {self.name} has real_atom_types.npy but no type_map.raw. "
                "Add type_map.raw with the element names, in the order of the numbers."
            )

    # -- the members of System

    def _set_of(self, i: int) -> _Set:
        return self._sets[bisect.bisect_right(self._starts, i) - 1]

    def where(self, i: int) -> str:
        """Where frame ``i`` is: system, set, and frame of the set."""
        part = self._set_of(i)
        return f"System {self.name}, {part.name}, frame {i - part.start}"

    def own_types(self, i: int) -> Integers:
        """(N,) types of frame ``i`` in the numbering of type_map.raw; −1 = padding."""
        if not self.mixed:
            return self._types
        numbers = self._read(i, TYPES)
        types = numbers.astype(np.int64)
        count = len(self.own_names or ())
        if (types != numbers).any() or types.min() < -1 or types.max() >= count:
            raise DataError(
                f"{self.where(i)}: real_atom_types.npy holds numbers from {numbers.min():g} to {numbers.max():g}, "
                f"expected whole numbers from 0 to {count - 1} (the {count} names of type_map.raw), or −1 for padding."
            )
        return types

    def used_types(self) -> Integers:
        """The types that really occur, in the numbering of the files, sorted."""
        if not self.mixed:
            return np.unique(self._types)
        return self._used_types

    @cached_property
    def _used_types(self) -> Integers:
        used: set[float] = set()
        together = max(1, _TOGETHER // self.natoms)
        for part in self._sets:
            place = self._locate(part, TYPES)
            if place is None:
                raise DataError(self.missing(TYPES, part.start))
            array, count = place
            for first in range(0, part.nframes, together):
                last = min(first + together, part.nframes)
                values = np.unique(array.read(first * count, last * count))
                if not np.isin(values, np.arange(-1, len(self.own_names or ()))).all():
                    for i in range(first, last):
                        self.own_types(part.start + i)  # says which frame it is
                used.update(values.tolist())
        return np.array(sorted(used - {-1.0}), dtype=np.int64)

    def available(self) -> frozenset[str]:
        """Names in memory of all quantities in any set."""
        files = frozenset().union(*(s.files for s in self._sets))
        names = {memory_name(file[:-4]) for file in files if file.endswith(".npy")}
        return frozenset(names - {"coord", "box", "real_atom_types"})

    def missing(self, label: Label, i: int) -> str:
        """The message for a required label that frame ``i`` has not."""
        names = " or ".join(f"{name}.npy" for name in label.file_names)
        return (
            f"{self.name}/{self._set_of(i).name} has no {names}, which is required here. Its arrays: "
            f"{', '.join(sorted(self._set_of(i).files))}. Add the file, or remove the system from the input."
        )

    def check_labels(self, labels: Iterable[Label]) -> None:
        """Raise DataError if a required label is absent or a file has the wrong shape; reads headers only."""
        for part in self._sets:
            for label in (*labels, *([BOX] if self.periodic else []), *([TYPES] if self.mixed else [])):
                if self._locate(part, label) is None and label.required:
                    raise DataError(self.missing(label, part.start))

    def _structure(self, i: int) -> tuple[Floats, Floats | None]:
        coord = self._read(i, COORD).reshape(-1, 3)
        return coord, self._read(i, BOX).reshape(3, 3) if self.periodic else None

    def _values(self, i: int, label: Label) -> Floats | None:
        part = self._set_of(i)
        place = self._locate(part, label)
        if place is None:
            return None
        array, count = place
        return array.read((i - part.start) * count, (i - part.start + 1) * count)

    def _read(self, i: int, label: Label) -> Floats:
        numbers = self._values(i, label)
        if numbers is None:
            raise DataError(self.missing(label, i))
        return numbers

    def _locate(self, part: _Set, label: Label) -> tuple[Array, int] | None:
        """The array of a label in a set; its shape is checked once. Any shape of the right size will do."""
        if label in part.arrays:
            return part.arrays[label]
        found = None
        file = next((f"{name}.npy" for name in label.file_names if f"{name}.npy" in part.files), None)
        if file is not None:
            array = self.folder.array(f"{part.name}/{file}")
            count = label.count(self.natoms)
            if array.size != part.nframes * count:
                count = self._count_of_selected(label)
            if array.size != part.nframes * count:
                raise DataError(self._wrong_shape(part, file, array, label))
            found = (array, count)
        part.arrays[label] = found
        return found

    def _count_of_selected(self, label: Label) -> int:
        if label.selected is None or self.mixed:
            return label.count(self.natoms)
        return label.size * selected_atoms(label, self._lookup[self._types])

    def _wrong_shape(self, part: _Set, file: str, array: Array, label: Label) -> str:
        expected = label.count_in_words(self.natoms)
        if label.selected is not None and not self.mixed:
            expected += f" (or {self._count_of_selected(label)} for the selected atoms)"
        per_frame, rest = divmod(array.size, max(part.nframes, 1))
        seen = f"{per_frame} numbers a frame" if not rest else f"shape {array.shape} for {part.nframes} frames"
        return (
            f"{self.name}/{part.name}/{file} has {seen}, expected {expected}; coord.npy has {part.nframes} frames. "
            "Correct the array, or the size given in the input."
        )
