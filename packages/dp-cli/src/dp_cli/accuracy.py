"""Errors of predictions, summed over frames and systems, and the lines that report them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dp_core.data.frame import Floats, Frame

#: Quantity -> its label with a place for MAE or RMSE, and its unit; in the order of the report.
#: The blanks are part of the format: programs find a line by its label and take the word before the unit.
LINES = {
    "energy": ("Energy {}", "eV"),
    "energy/N": ("Energy {}/Natoms", "eV"),
    "force": ("Force  {}", "eV/Å"),
    "weighted force": ("Force weighted {}", "eV/Å"),
    "virial": ("Virial {}", "eV"),
    "virial/N": ("Virial {}/Natoms", "eV"),
    "stress": ("Stress {}", "eV/Å³"),
    "atomic energy": ("Atomic ener {}", "eV"),
    "hessian": ("Hessian {}", "eV/Å^2"),
}


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

    def lines(self) -> Iterator[str]:
        """Two lines for every quantity that was compared."""
        for quantity, (label, unit) in LINES.items():
            if quantity in self.sums:
                for name, value in (("MAE", self.mae(quantity)), ("RMSE", self.rmse(quantity))):
                    yield f"{label.format(name):<19s}: {value:e} {unit}"


@dataclass(frozen=True)
class Predicted:
    """What a model says of one frame, virtual atoms included."""

    energy: float  # eV
    force: Floats  # (N, 3) eV/Å
    virial: Floats  # (3, 3) eV
    atom_energy: Floats  # (N,) eV
    hessian: Floats | None = None  # (3N, 3N) eV/Å², where the frame has the label


def compare(frame: Frame, predicted: Predicted, accuracy: Accuracy, *, atomic: bool) -> None:
    """Add the errors of one frame, for the labels that it has. Virials count with periodic boundaries only."""
    labels, natoms, real = frame.labels, frame.natoms, frame.types >= 0
    if "energy" in frame.found:
        error = predicted.energy - labels["energy"]
        accuracy.add("energy", error)
        accuracy.add("energy/N", error / natoms)
    if "force" in frame.found:
        error = (predicted.force - labels["force"])[real]
        accuracy.add("force", error)
        if "atom_pref" in frame.found:
            accuracy.add("weighted force", error, labels["atom_pref"][real])
    if "virial" in frame.found and frame.box is not None:
        error = predicted.virial.ravel() - labels["virial"]
        accuracy.add("virial", error)
        accuracy.add("virial/N", error / natoms)
        accuracy.add("stress", error / abs(np.linalg.det(frame.box)))
    if atomic and "atom_ener" in frame.found:
        accuracy.add("atomic energy", predicted.atom_energy[real] - labels["atom_ener"][real, 0])
    if predicted.hessian is not None:
        error = predicted.hessian - labels["hessian"].reshape(predicted.hessian.shape)
        accuracy.add("hessian", error[np.ix_(np.repeat(real, 3), np.repeat(real, 3))])
