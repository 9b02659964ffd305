"""A system: frames on disk, whatever the format, read one by one."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence

import numpy as np

from dp_core.data.frame import Floats, Frame, Integers, Label
from dp_core.errors import DataError


class System(abc.ABC):
    """Frames that belong together, with random access; nothing but headers is kept in memory.

    A system is opened with the type names of its own files; ``bind`` then expresses the types in those of a model.
    A format is one subclass, with the abstract members below.
    """

    name: str
    """The path as given or found, for messages and tables."""
    nframes: int
    natoms: int
    """Atoms of the largest frame, padding included."""
    mixed: bool
    """Whether frames may differ in size or composition."""
    periodic: bool
    """Whether frames have a cell (True if some have)."""
    own_names: tuple[str, ...] | None
    """Type names of the files; None if they have only numbers."""
    sizes: Integers | None = None
    """(nframes,) atoms of each frame where they differ, else None."""
    origins: Integers | None = None
    """(nframes,) number of the system each frame once came from, where the format tells (LMDB)."""

    index: int = 0
    type_map: tuple[str, ...] = ()
    """The type names of the model, after ``bind``."""
    _lookup: Integers

    @abc.abstractmethod
    def where(self, i: int) -> str:
        """Where frame ``i`` is, in words for a message: path, set and frame."""

    @abc.abstractmethod
    def own_types(self, i: int) -> Integers:
        """(N,) types of frame ``i`` in the numbering of the files; −1 = padding."""

    @abc.abstractmethod
    def used_types(self) -> Integers:
        """The types that really occur, in the numbering of the files, sorted, without padding."""

    @abc.abstractmethod
    def _structure(self, i: int) -> tuple[Floats, Floats | None]:
        """Coordinates (N, 3) and cell (3, 3) or None of frame ``i``; new arrays."""

    @abc.abstractmethod
    def _values(self, i: int, label: Label) -> Floats | None:
        """The numbers of a label in frame ``i``, flat, as many as on disk; None if absent."""

    @abc.abstractmethod
    def available(self) -> frozenset[str]:
        """Names in memory of all quantities that some frame has, beside coordinates, cell and types."""

    def missing(self, label: Label, i: int) -> str:
        """The message for a required label that frame ``i`` has not."""
        return (
            f"{self.where(i)} has no {label.key}, which is required here. It has: "
            f"{', '.join(sorted(self.available())) or 'nothing'}. Add {label.key}, or remove this system."
        )

    def check_labels(self, labels: Iterable[Label]) -> None:
        """Raise DataError if a required label is absent or a file has the wrong shape; reads one frame only."""
        if self.nframes:
            self.frame(0, list(labels))

    @property
    def elements(self) -> tuple[str, ...]:
        """Names of the types that really occur (their numbers where there are no names)."""
        used = self.used_types()
        return tuple(self.own_names[t] if self.own_names else str(t) for t in used)

    def bind(self, type_map: Sequence[str], index: int) -> None:
        """Express types as positions in ``type_map``; this is system number ``index``.

        Raises DataError if an atom is of an element that is not there, or of a number beyond the end.
        """
        self.type_map, self.index = tuple(type_map), index
        known = ", ".join(self.type_map)
        if self.own_names is None:
            used = self.used_types()
            if used.size and used[-1] >= len(self.type_map):
                raise DataError(
                    f"System {self.name} has atoms of type {used[-1]}, but the model has only {len(self.type_map)} "
                    f"types ({known}; numbered from 0). Add a type_map.raw with the element names to the system, "
                    "or correct its type.raw."
                )
            count = len(self.type_map)
            self._lookup = np.append(np.arange(count), -1)
            return
        place = {name: k for k, name in enumerate(self.type_map)}
        self._lookup = np.array([*(place.get(name, -2) for name in self.own_names), -1], dtype=np.int64)
        if (self._lookup == -2).any():  # only now is it worth finding out which types occur
            unknown = [self.own_names[t] for t in self.used_types() if self._lookup[t] == -2]
            if unknown:
                raise DataError(
                    f"System {self.name} contains {', '.join(unknown)}, which the model does not know. "
                    f"It knows: {known}. Add the element to type_map of the model, or remove the system."
                )

    def types_of(self, i: int) -> Integers:
        """(N,) model types of frame ``i``; −1 = padding."""
        return self._lookup[self.own_types(i)]

    def frame(self, i: int, labels: Sequence[Label] = ()) -> Frame:
        """Frame ``i`` with the labels asked for.

        Raises DataError if a required label is absent, or if a file is damaged or of the wrong shape.
        """
        if not 0 <= i < self.nframes:
            raise IndexError(f"frame {i} of system {self.name}, which has {self.nframes}")
        try:
            return self._assembled(i, labels)
        except OSError as error:
            raise DataError(f"{self.where(i)} cannot be read: {error}. Was it moved while in use?") from error

    def _assembled(self, i: int, labels: Sequence[Label]) -> Frame:
        coord, box = self._structure(i)
        types = self.types_of(i)
        padding = types < 0
        padded = bool(padding.any())
        if padded:
            coord[padding] = 0
        values: dict[str, Floats] = {}
        found = set()
        for label in labels:
            flat = self._values(i, label)
            if flat is None and label.required:
                raise DataError(self.missing(label, i))
            if flat is not None or label.counts_when_absent:
                found.add(label.key)
            value = _filled(label, len(types)) if flat is None else _shaped(label, flat, types)
            if padded and label.atomic and label.key != "hessian":
                value[padding] = 0
            values[label.key] = _frozen(value)
        return Frame(
            system=self.index,
            index=i,
            coord=_frozen(coord),
            box=None if box is None else _frozen(box),
            types=_frozen(types),
            labels=values,
            found=frozenset(found),
        )

    def frames(self, indices: Iterable[int], labels: Sequence[Label] = ()) -> list[Frame]:
        """Several frames, in the order asked for."""
        return [self.frame(int(i), labels) for i in indices]


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _filled(label: Label, natoms: int) -> Floats:
    default = np.atleast_1d(np.asarray(label.default, dtype=np.float64))
    if default.size not in (1, label.size):
        raise DataError(
            f"The default of {label.key} has {default.size} numbers, expected {label.size} (or one for all)."
        )
    if default.size > 1:
        default = np.repeat(default, label.repeat)
    return np.broadcast_to(default, label.shape(natoms)).copy()


def _shaped(label: Label, flat: Floats, types: Integers) -> Floats:
    """Flat numbers in the shape in memory; rows of unselected atoms, if not in the file, are filled."""
    if label.repeat > 1:
        flat = np.repeat(flat, label.repeat)
    shape = label.shape(len(types))
    if flat.size == np.prod(shape):
        return flat.reshape(shape)
    value = _filled(label, len(types))
    value[np.isin(types, label.selected or ())] = flat.reshape(-1, shape[-1])
    return value


def selected_atoms(label: Label, types: Integers) -> int:
    """How many atoms have the label: those of the selected types, or all real ones."""
    return int(np.isin(types, label.selected).sum()) if label.selected is not None else int((types >= 0).sum())
