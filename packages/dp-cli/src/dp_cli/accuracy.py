"""Errors of predictions, summed over frames and systems, and the lines that report them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dp_core.data.frame import Floats, Frame
    from dp_core.outputs import OutputDef

_BOTH = ("MAE", "RMSE")


class Line(NamedTuple):
    """How a quantity is reported. The blanks are part of it: programs find a line by its label."""

    label: str  # with a place for MAE or RMSE
    unit: str
    measures: tuple[str, ...] = _BOTH
    width: int = 19
    in_all: bool = True  # whether the report of all systems has it


#: By quantity, in the order of the report.
LINES = {
    "energy": Line("Energy {}", "eV"),
    "energy/N": Line("Energy {}/Natoms", "eV"),
    "force": Line("Force  {}", "eV/Å"),
    "force on atoms": Line("Force atom {}", "eV/Å", width=20),
    "magnetic force": Line("Force spin {}", "eV/uB", width=20),
    "weighted force": Line("Force weighted {}", "eV/Å"),
    "virial": Line("Virial {}", "eV"),
    "virial/N": Line("Virial {}/Natoms", "eV"),
    "stress": Line("Stress {}", "eV/Å³"),
    "atomic energy": Line("Atomic ener {}", "eV", in_all=False),
    "hessian": Line("Hessian {}", "eV/Å^2"),
    "dos": Line("DOS {}", "Occupation/eV"),
    "dos/N": Line("DOS {}/Natoms", "Occupation/eV"),
    "atomic dos": Line("Atomic DOS {}", "Occupation/eV", in_all=False),
    "property": Line("PROPERTY {}", "units", width=24),
    "atomic property": Line("Atomic PROPERTY {}", "units", width=24, in_all=False),
    "atomic population": Line("Population {}", "e"),
    **{
        kind + per: Line(f"{name}  {{}}{per}", "", ("RMSE",), width, in_all=not per)
        for kind, name, width in (("dipole", "Dipole", 19), ("polar", "Polarizability", 27))
        for per in ("", "/sqrtN", "/N")
    },
}

#: Kinds of tensors: of these either the totals or, if asked for, the values of the atoms are compared.
TENSORS = ("dipole", "polar")


@dataclass
class _Sum:
    absolute: float = 0.0
    square: float = 0.0
    weight: float = 0.0


@dataclass
class Accuracy:
    """Sums of errors by quantity. Every component counts the same, so that sums of systems are weighted averages."""

    sums: dict[str, _Sum] = field(default_factory=dict)

    def add(self, quantity: str, error: Floats, weight: Floats | None = None) -> None:
        """Add errors of any shape, each with the weight 1 or that of ``weight``."""
        total = self.sums.setdefault(quantity, _Sum())
        w = np.ones_like(error) if weight is None else weight
        total.absolute += float(np.sum(np.abs(error) * w))
        total.square += float(np.sum(error * error * w))
        total.weight += float(np.sum(w))

    def merge(self, other: Accuracy) -> None:
        """Add the sums of another system."""
        for quantity, s in other.sums.items():
            total = self.sums.setdefault(quantity, _Sum())
            total.absolute, total.square = total.absolute + s.absolute, total.square + s.square
            total.weight += s.weight

    def mae(self, quantity: str) -> float:
        """Mean absolute error."""
        s = self.sums[quantity]
        return s.absolute / s.weight if s.weight else 0.0

    def rmse(self, quantity: str) -> float:
        """Root of the mean squared error."""
        s = self.sums[quantity]
        return float(np.sqrt(s.square / s.weight)) if s.weight else 0.0

    def lines(self, *, in_all: bool = False) -> Iterator[str]:
        """A line for every measure of every quantity that was compared. in_all: in the report of all systems."""
        for quantity, line in LINES.items():
            if quantity in self.sums and (line.in_all or not in_all):
                for name in line.measures:
                    value = self.mae(quantity) if name == "MAE" else self.rmse(quantity)
                    yield f"{line.label.format(name):<{line.width}s}: {value:e} {line.unit}".rstrip()
        if {kind + per for kind in TENSORS for per in ("", "/N")} & self.sums.keys():
            yield "The unit of error is the same as the unit of provided label."


@dataclass(frozen=True)
class Predicted:
    """What a model says of one frame, virtual atoms included."""

    total: Floats  # (size,), the energy in eV
    atomic: Floats  # (N, size), energies in eV
    selected: NDArray[np.bool_]  # (N,), atoms that have an output
    force: Floats | None = None  # (N, 3) eV/Å, of energy models
    virial: Floats | None = None  # (3, 3) eV
    hessian: Floats | None = None  # (3N, 3N) eV/Å², where the frame has the label
    magnetic: Floats | None = None  # (N, 3) eV/μB, of models with spins
    spinning: NDArray[np.bool_] | None = None  # (N,), atoms with a spin


def compare(frame: Frame, predicted: Predicted, output: OutputDef, accuracy: Accuracy, *, atomic: bool) -> None:
    """Add the errors of one frame, for the labels that it has."""
    if output.kind == "energy":
        _compare_energy(frame, predicted, accuracy, atomic=atomic)
        return
    kind, name = output.kind, output.name
    if name in frame.found and not (atomic and kind in TENSORS):
        error = predicted.total - frame.labels[name]
        accuracy.add(kind, error)
        if kind == "dos":
            accuracy.add("dos/N", error / frame.natoms)
        if kind in TENSORS:
            count = max(1, int(predicted.selected.sum()))
            accuracy.add(f"{kind}/sqrtN", error / np.sqrt(count))
            accuracy.add(f"{kind}/N", error / count)
    if f"atom_{name}" in frame.found:
        error = (predicted.atomic - frame.labels[f"atom_{name}"])[predicted.selected]
        accuracy.add(kind if kind in TENSORS else f"atomic {kind}", error)


def _compare_energy(frame: Frame, predicted: Predicted, accuracy: Accuracy, *, atomic: bool) -> None:
    """Energies, forces and what else there is. Virials count with periodic boundaries only."""
    labels, natoms, real = frame.labels, frame.natoms, frame.types >= 0
    assert predicted.force is not None
    assert predicted.virial is not None
    if "energy" in frame.found:
        error = predicted.total - labels["energy"]
        accuracy.add("energy", error)
        accuracy.add("energy/N", error / natoms)
    if "force" in frame.found:
        error = (predicted.force - labels["force"])[real]
        accuracy.add("force" if predicted.magnetic is None else "force on atoms", error)
        if "atom_pref" in frame.found:
            accuracy.add("weighted force", error, labels["atom_pref"][real])
    if predicted.magnetic is not None and "force_mag" in frame.found:
        accuracy.add("magnetic force", (predicted.magnetic - labels["force_mag"])[predicted.spinning])
    if "virial" in frame.found and frame.box is not None:
        error = predicted.virial.ravel() - labels["virial"]
        accuracy.add("virial", error)
        accuracy.add("virial/N", error / natoms)
        accuracy.add("stress", error / abs(np.linalg.det(frame.box)))
    if atomic and "atom_ener" in frame.found:
        accuracy.add("atomic energy", predicted.atomic[real, 0] - labels["atom_ener"][real, 0])
    if predicted.hessian is not None:
        error = predicted.hessian - labels["hessian"].reshape(predicted.hessian.shape)
        accuracy.add("hessian", error[np.ix_(np.repeat(real, 3), np.repeat(real, 3))])
