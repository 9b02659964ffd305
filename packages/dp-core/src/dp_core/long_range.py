"""The long-range part of an energy: spread charges on atoms and on centroids that a model of dipoles places.

It depends on whole frames, not on neighbourhoods, so it stands beside the table: models say in ``long_range`` what they
have of it, predictors add it, and trainings take it off the labels, where its parameters are constant.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dp_core.backend import Backend
from dp_core.errors import ConfigError, DataError
from dp_core.ewald import ewald
from dp_core.inputs import numb_aparam, numb_fparam
from dp_core.models.protocol import message_passing
from dp_core.module import Array, leaves, module, replace
from dp_core.neighbors import Floats, Ints, Neighborhood, NeighborSpec, frame_pairs
from dp_core.outputs import ENERGY, OutputDef
from dp_core.prediction import Derivatives, Parameters, Prediction, Structure, predict, tables


@dataclass(frozen=True, eq=False)
class SpreadCharges:
    """Gaussian charges on atoms and, with a model of dipoles, on centroids at atom + dipole.

    A plain value, not a module: none of its numbers is trained.
    """

    type_map: tuple[str, ...]
    charges: tuple[float, ...]  # e, by type
    beta: float  # 1/Å
    spacing: float  # Å
    dipole: Any = field(default=None, repr=False)  # model of the displacements of the centroids in Å, NumPy leaves
    centroid_charges: tuple[float, ...] = ()  # e, by type of the dipole model that has a dipole, in its order

    def fingerprint(self) -> str:
        """A short text that differs for other charges and other models of dipoles."""
        numbers = (self.type_map, self.charges, self.beta, self.spacing, self.centroid_charges)
        found = zlib.crc32(repr(numbers).encode())
        for path, leaf in leaves(self.dipole).items():
            found = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), zlib.crc32(path.encode(), found))
        return f"{found:08x}"

    def of_types(self, type_map: Sequence[str]) -> Floats:
        """The charges of other types, by name. Raises ConfigError for one without."""
        known = dict(zip(self.type_map, self.charges, strict=True))
        if absent := [name for name in type_map if name not in known]:
            raise ConfigError(
                f"The charge of {', '.join(absent)} is not known; the long-range part is of {' '.join(self.type_map)}."
            )
        return np.array([known[name] for name in type_map])


def check_charges(term: SpreadCharges, place: str) -> None:
    """Raise ConfigError if charges and types do not go together. place: of the settings, for the message."""
    if len(term.charges) != len(term.type_map):
        raise ConfigError(
            f"{place} has {len(term.charges)} charges of atoms, but the type map has {len(term.type_map)} elements "
            f"({' '.join(term.type_map)}). Give one for each."
        )
    if term.dipole is None:
        return
    names = term.dipole.type_map
    if term.dipole.output.kind != "dipole":
        raise ConfigError(f"{place}/model_name is a model of {term.dipole.output.name!r}, not of dipoles.")
    if absent := [name for name in term.type_map if name not in names]:
        raise ConfigError(f"{place}/model_name is a model of {' '.join(names)}; it does not know {' '.join(absent)}.")
    if numb_fparam(term.dipole) or numb_aparam(term.dipole):
        raise ConfigError(f"{place}/model_name is a model with frame or atomic parameters; give one without.")
    chosen = [names[t] for t in _selected(term.dipole)]
    if len(term.centroid_charges) != len(chosen):
        raise ConfigError(
            f"{place}/model_charge_map has {len(term.centroid_charges)} charges, but the dipole model gives dipoles of "
            f"{len(chosen)} types ({' '.join(chosen)}). Give one for each."
        )


def _selected(dipole: Any) -> list[int]:
    """The types that have a dipole."""
    return [t for t in range(len(dipole.type_map)) if t not in dipole.atom_exclude_types]


def long_range(model: Any) -> list[tuple[float, SpreadCharges]]:
    """The long-range terms of a model, each with its weight; [] for most models."""
    own = getattr(model, "modifier", None)
    found: list[tuple[float, SpreadCharges]] = [] if own is None else [(1.0, own)]
    return found + (model.long_range() if hasattr(model, "long_range") else [])


def short_range(model: Any) -> Any:
    """The model without its long-range terms."""
    if getattr(model, "modifier", None) is not None:
        model = replace(model, modifier=None)
    return model.short_range() if hasattr(model, "short_range") else model


@module
class _Pull:
    """−field·dipole of every atom as an energy. The fields, eV/Å per e, are the atomic parameters."""

    dipole: Any
    output: ClassVar[OutputDef] = ENERGY

    def __call__(self, table: Neighborhood) -> dict[str, Array]:
        out = self.dipole(replace(table, aparam=None))
        pulled = table.aparam * out[self.dipole.output.name]
        return {"energy": -(pulled[:, 0:1] + pulled[:, 1:2] + pulled[:, 2:3]), "mask": out["mask"]}


def _dipoles(model: Any, table: Neighborhood) -> Array:
    return model(table)[model.output.name]


class LongRange:
    """The terms of a model, computed by a backend for frames whose types are those of the model."""

    def __init__(self, model: Any, backend: Backend):
        self._terms = [(weight, _Term(term, model.type_map, backend)) for weight, term in long_range(model)]

    def __bool__(self) -> bool:
        return bool(self._terms)

    def __call__(self, structures: Sequence[Structure]) -> Prediction:
        """Energies, also of atoms, forces and virials, without those of atoms.

        Raises DataError for a frame without a cell.
        """
        found = [[term(s) for s in structures] for _, term in self._terms]
        weights = [weight for weight, _ in self._terms]

        def total(name: str, join: Any) -> Floats:
            each = [join([getattr(p, name) for p in of_term]) for of_term in found]
            return np.asarray(sum(w * x for w, x in zip(weights, each, strict=True)))

        derivatives = Derivatives(total("force", np.concatenate), total("virial", np.stack), None)
        energies = total("atomic", np.concatenate)
        natoms = np.array([len(s.types) for s in structures], np.int64)
        sums = total("energy", np.array)
        return Prediction(sums, energies, natoms, derivatives)


@dataclass(frozen=True)
class _OfFrame:
    energy: float
    atomic: Floats  # (N,)
    force: Floats  # (N, 3)
    virial: Floats  # (3, 3)


class _Term:
    """One term on a backend."""

    def __init__(self, term: SpreadCharges, type_map: Sequence[str], backend: Backend):
        self._term, self._backend = term, backend
        self._charges = np.append(term.of_types(type_map), 0.0)  # the last for virtual atoms
        self._dipole = term.dipole
        if self._dipole is not None:
            names = self._dipole.type_map
            self._renamed = np.array([*(names.index(name) for name in type_map), -1], np.int64)
            of_types = dict(zip(_selected(self._dipole), term.centroid_charges, strict=True))
            self._centroid_charges = np.array([*(of_types.get(t, 0.0) for t in range(len(names))), 0.0])
            self._pull = backend.evaluator(_Pull(self._dipole))

    def __call__(self, structure: Structure) -> _OfFrame:
        coord, box, types = structure.coord, structure.box, structure.types
        n = len(types)
        if box is None:
            raise DataError("The model has a long-range part, which needs a cell; this frame has open boundaries.")
        if not n:
            return _OfFrame(0.0, np.zeros(0), np.zeros((0, 3)), np.zeros((3, 3)))
        position, charge = coord, self._charges[types]
        if self._dipole is not None:
            of_dipole = Structure(coord, box, self._renamed[types])
            parts = _Parts(of_dipole, self._dipole, self._backend)
            displacement = parts.dipoles()
            own = self._centroid_charges[of_dipole.types]
            carried = np.flatnonzero(own)
            position = np.concatenate([coord, (coord + displacement)[carried]])
            charge = np.concatenate([charge, own[carried]])
        term = self._term
        found = ewald(position, charge, box, beta=term.beta, spacing=term.spacing, backend=self._backend)
        atomic, force, virial = found.energy[:n].copy(), found.force[:n].copy(), found.virial
        if self._dipole is not None:
            atomic[carried] += found.energy[n:]
            pull = np.zeros((n, 3))
            pull[carried] = found.force[n:]
            moved = parts.pulled(self._pull, pull)
            force += pull + moved.force
            virial = virial - pull.T @ displacement + moved.virial[0]
        return _OfFrame(float(found.energy.sum()), atomic, force, virial)


class _Parts:
    """The tables of one frame for a model of dipoles."""

    def __init__(self, structure: Structure, dipole: Any, backend: Backend):
        self._structure, self._dipole, self._backend = structure, dipole, backend
        spec: NeighborSpec = dipole.neighbor_spec
        self._spec, self._pairs = spec, [frame_pairs(*structure, spec)]

    def _tables(self, aparam: Floats | None) -> Any:
        return tables(
            [self._structure], self._spec, self._backend, rows=self._backend.chunk_rows,
            whole=message_passing(self._dipole), parameters=Parameters(None, aparam), pairs=self._pairs,
        )  # fmt: skip

    def dipoles(self) -> Floats:
        """The dipole of every atom, (N, 3) in Å."""
        found = np.zeros((len(self._structure.types), 3))
        for part in self._tables(None):
            rows: Ints = part.batch.rows
            real = rows >= 0
            found[rows[real]] = self._backend.apply(_dipoles, self._dipole, part.batch.table)[real]
        return found

    def pulled(self, pull: Any, field: Floats) -> Prediction:
        """The derivatives of −Σ field·dipole for constant fields (N, 3)."""
        result, _ = predict(pull, self._tables(field), [len(self._structure.types)])
        return result


def with_long_range(short: Prediction, long: Prediction) -> Prediction:
    """The sum of the two. Raises ConfigError where there are virials of atoms, which have no long-range part."""
    refuse_atomic_virial(short.atom_virial is not None)
    derivatives = Derivatives(short.force + long.force, short.virial + long.virial, None)
    return Prediction(short.total + long.total, short.atomic + long.atomic, short.natoms, derivatives)


def refuse_atomic_virial(wanted: bool) -> None:
    """Raise ConfigError if the virials of atoms are wanted of a model with a long-range part."""
    if wanted:
        raise ConfigError(
            "The long-range part of the model has no virials of single atoms. Ask for the virial of the frame alone "
            "(atomic=False)."
        )
