"""Systems from any file that ASE reads: extended XYZ, .traj, vasprun.xml, OUTCAR and many more.

Frames of one file may differ in size, composition and boundaries. Labels are looked for under their usual names, in the
calculator's results, the frame's info and the per-atom arrays; other names are given by ``keys``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dp_core.data.frame import Floats, Integers, Label, memory_name
from dp_core.data.store import optional
from dp_core.data.system import System
from dp_core.errors import DataError

log = logging.getLogger("dp_core.data")

#: Names under which programs store a label, the first that is present is taken.
USUAL_KEYS = {
    "energy": (
        "energy",
        "REF_energy",
        "ref_energy",
        "DFT_energy",
        "dft_energy",
        "Energy",
        "total_energy",
        "free_energy",
    ),
    "force": (
        "forces",
        "force",
        "REF_forces",
        "REF_force",
        "ref_forces",
        "DFT_forces",
        "dft_forces",
        "dft_force",
        "Forces",
    ),
    "virial": ("virial", "virials", "REF_virial", "REF_virials", "ref_virial", "DFT_virial", "dft_virial"),
    "stress": ("stress", "REF_stress", "ref_stress", "DFT_stress", "dft_stress"),
    "atom_ener": ("atom_ener", "energies", "atomic_energies", "local_energy"),
    "atom_dipole": ("atom_dipole", "atomic_dipole"),
}


@dataclass(slots=True)
class _Structure:
    numbers: Integers  # atomic numbers
    coord: Floats
    cell: Floats | None
    fields: dict[str, Any]  # calculator results, info and arrays in one


class AseSystem(System):
    """A file read by ASE, whole: its frames stay in memory.

    path: the file; ``file@start:stop:step`` takes some of its frames.
    keys: label name → key in the file, for labels that are not under a usual name.
    """

    def __init__(self, path: str, keys: Mapping[str, str] | None = None):
        self.name = path
        self._keys = dict(keys or {})
        self._frames = list(_read(path))
        if not self._frames:
            raise DataError(f"{path} holds no frames that ASE can read. Check that the file is what its name says.")
        self._told: set[str] = set()
        from ase.data import chemical_symbols

        first_seen = dict.fromkeys(int(z) for frame in self._frames for z in dict.fromkeys(frame.numbers.tolist()))
        self.own_names = tuple(chemical_symbols[z] for z in first_seen)
        place = np.zeros(len(chemical_symbols), dtype=np.int64)
        place[list(first_seen)] = np.arange(len(first_seen))
        self._place = place
        self.nframes = len(self._frames)
        sizes = np.array([len(frame.numbers) for frame in self._frames])
        self.natoms = int(sizes.max())
        self.sizes = None if (sizes == sizes[0]).all() else sizes
        first = self._frames[0].numbers
        self.mixed = self.sizes is not None or any((frame.numbers != first).any() for frame in self._frames)
        self.periodic = any(frame.cell is not None for frame in self._frames)

    def where(self, i: int) -> str:
        """Where frame ``i`` is: file and frame, counted from 0."""
        return f"{self.name}, frame {i}"

    def own_types(self, i: int) -> Integers:
        """(N,) types of frame ``i``, numbered in the order of the elements' first appearance."""
        return self._place[self._frames[i].numbers]

    def used_types(self) -> Integers:
        """All of them: only elements that occur are known."""
        return np.arange(len(self.own_names or ()))

    def available(self) -> frozenset[str]:
        """Names in memory of all quantities in any frame; usual keys under the name of their label."""
        keys = frozenset().union(*(frame.fields for frame in self._frames))
        names = {memory_name(key) for key in keys}
        for label in {*USUAL_KEYS, *self._keys}:
            if keys & set(self._candidates(label)):
                names.add(label)
        if "stress" in names and self.periodic:
            names.add("virial")
        return frozenset(names)

    def missing(self, label: Label, i: int) -> str:
        """The message for a required label that frame ``i`` has not."""
        return f"{self.where(i)} has no {label.key}. {self._what_is_there(label, i)}"

    def _what_is_there(self, label: Label, i: int) -> str:
        present = ", ".join(sorted(self._frames[i].fields)) or "none"
        wanted = ", ".join(self._candidates(label.key))
        return f"Looked for: {wanted}. Keys in the file: {present}. Rename the key in the file."

    def _candidates(self, name: str) -> tuple[str, ...]:
        if name in self._keys:
            return (self._keys[name],)
        return USUAL_KEYS.get(name, (name, "atomic_" + name[5:]) if name.startswith("atom_") else (name,))

    def _structure(self, i: int) -> tuple[Floats, Floats | None]:
        frame = self._frames[i]
        return frame.coord.copy(), None if frame.cell is None else frame.cell.copy()

    def _values(self, i: int, label: Label) -> Floats | None:
        frame = self._frames[i]
        key = self._find(i, label.key)
        factor = 1.0
        if key is None and label.key == "virial" and frame.cell is not None:
            key, factor = self._find(i, "stress"), -abs(float(np.linalg.det(frame.cell)))
        if key is None:
            self._tell_once(label, i)
            return None
        numbers = _numbers(frame.fields[key], key, self.where(i)) * factor
        if label.key == "virial":
            numbers = _from_voigt(numbers)
        count = label.count(len(frame.numbers))
        if numbers.size != count:
            raise DataError(
                f"{self.where(i)}: {key} has {numbers.size} numbers, "
                f"expected {label.count_in_words(len(frame.numbers))}."
            )
        return numbers

    def _find(self, i: int, name: str) -> str | None:
        fields = self._frames[i].fields
        present = [key for key in self._candidates(name) if fields.get(key) is not None]
        rivals = [
            key for key in present[1:] if key != "free_energy" and not np.array_equal(fields[key], fields[present[0]])
        ]
        if rivals and name not in self._told:
            self._told.add(name)
            log.warning(
                "%s has %s under several names: using %s, not %s.", self.name, name, present[0], ", ".join(rivals)
            )
        return present[0] if present else None

    def _tell_once(self, label: Label, i: int) -> None:
        usual = label.key in USUAL_KEYS or label.key in self._keys  # others are asked for just in case
        if usual and not label.required and not label.counts_when_absent and label.key not in self._told:
            self._told.add(label.key)
            log.warning("%s has no %s. %s", self.where(i), label.key, self._what_is_there(label, i))


def _read(path: str) -> Iterator[_Structure]:
    io = optional("ase.io", "ase", path)
    file, at, index = path.rpartition("@")
    if not at or os.path.exists(path):
        file, index = path, ":"
    try:
        for i, atoms in enumerate(io.iread(file, index=index)):
            yield _structure(atoms, f"{path}, frame {i}")
    except DataError:
        raise
    except Exception as error:  # ASE's readers raise whatever their parsing meets
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise DataError(
            f"ASE cannot read {path} ({reason}). Check that the file is whole and its suffix names its format."
        ) from error


def _structure(atoms: Any, where: str) -> _Structure:
    cell = None
    if atoms.pbc.all():
        cell = np.array(atoms.cell, dtype=np.float64)
        if not cell.any():
            raise DataError(f'{where} is periodic but has no cell. Give the cell, or set pbc="F F F".')
    elif atoms.pbc.any():
        axes = " and ".join(axis for axis, on in zip("abc", atoms.pbc) if on)
        raise DataError(
            f"{where} is periodic along {axes} only; a structure must be periodic in all three directions or in none. "
            'Put vacuum (more than the cutoff) along the open directions and set pbc="T T T".'
        )
    if not len(atoms):
        raise DataError(f"{where} has no atoms.")
    fields = {**atoms.info, **{k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}}
    if atoms.calc is not None:
        fields |= {key: value for key, value in getattr(atoms.calc, "results", {}).items() if value is not None}
    numbers = np.asarray(atoms.numbers, dtype=np.int64)
    return _Structure(numbers, np.array(atoms.positions, dtype=np.float64), cell, fields)


def _numbers(value: Any, key: str, where: str) -> Floats:
    try:
        return np.array(value, dtype=np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {key} is {value!r}, expected numbers.") from error


def _from_voigt(numbers: Floats) -> Floats:
    """xx yy zz yz xz xy → the nine of the full tensor; nine stay as they are."""
    return numbers[[0, 5, 4, 5, 1, 3, 4, 3, 2]] if numbers.size == 6 else numbers
