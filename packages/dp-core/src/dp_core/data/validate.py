"""Cheap checks of one frame: numbers that cannot be right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dp_core.data.frame import Floats, Frame
from dp_core.data.system import System
from dp_core.errors import DataError

#: Largest magnitude of a label that can be meant: (limit, whether per atom of the frame, unit).
LIMITS = {
    "energy": (1e6, True, "eV"),  # all-electron energies of heavy atoms reach several 1e5 eV an atom
    "force": (1e4, False, "eV/Å"),
    "virial": (1e5, True, "eV"),
    "atom_ener": (1e6, False, "eV"),
    "force_mag": (1e4, False, "eV/μB"),
    "hessian": (1e6, False, "eV/Å²"),
}
_OTHER = (1e10, False, "")
FARTHEST = 1e6
"""Largest coordinate in Å."""
DENSEST, THINNEST = 0.1, 1e7
"""Volume per atom in Å³ beyond which the unit of the cell must be wrong."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with a frame: the kind, for counting, and a sentence with the repair."""

    kind: str
    text: str


def validate_frame(frame: Frame, system: System) -> None:
    """Raise DataError (naming system, set and frame) at the first thing in a frame that cannot be right.

    That is: NaN or infinite coordinates, cell or labels; labels beyond ``LIMITS``; a cell that is flat, or far
    too small or large for its atoms. Left-handed cells are as good as others.
    """
    for problem in problems(frame):
        raise DataError(f"{system.where(frame.index)}: {problem.text}")


def problems(frame: Frame) -> Iterator[Problem]:
    """Everything in a frame that cannot be right."""
    bad = _not_finite("coord", frame.coord) or _not_finite("box", frame.box)
    if bad is not None:
        yield bad
        return
    farthest = np.abs(frame.coord).max(initial=0.0)
    if farthest > FARTHEST:
        yield Problem(
            "far", f"a coordinate is {farthest:.3g} Å, the limit is {FARTHEST:g}. Wrap the atoms into the cell."
        )
    if frame.box is not None:
        yield from _cell(frame.box, frame.natoms)
    for name in sorted(frame.found):
        yield from _label(name, frame.labels[name], frame.natoms)


def _not_finite(name: str, values: Floats | None) -> Problem | None:
    if values is None or np.isfinite(values).all():
        return None
    place = tuple(int(k) for k in np.argwhere(~np.isfinite(values))[0])
    of_atom = f" of atom {place[0]}" if values.ndim == 2 and name != "box" else ""
    return Problem(f"not finite {name}", f"{name}{of_atom} is {values[place]}. Remove the frame, or compute it again.")


def _label(name: str, values: Floats, natoms: int) -> Iterator[Problem]:
    bad = _not_finite(name, values)
    if bad is not None:
        yield bad
        return
    limit, per_atom, unit = LIMITS.get(name, _OTHER)
    largest = float(np.abs(values).max(initial=0.0)) / (max(natoms, 1) if per_atom else 1)
    if largest > limit:
        atom = f" of atom {np.abs(values).max(axis=1).argmax()}" if values.ndim == 2 else ""
        yield Problem(
            f"huge {name}",
            f"{name}{atom} is {largest:.3g} {unit}{' an atom' if per_atom else ''}, the limit is {limit:g}. "
            "Is the unit right, and did the calculation converge? Remove the frame, or correct it.",
        )


def _cell(box: Floats, natoms: int) -> Iterator[Problem]:
    volume = abs(float(np.linalg.det(box)))
    edges = np.linalg.norm(box, axis=1)
    if not edges.all() or volume < 1e-6 * edges.prod():
        yield Problem(
            "flat cell",
            f"the cell {_in_words(box)} has no volume. Correct box.npy (nine numbers, rows are the lattice vectors), "
            "or put an empty file named nopbc into the system if its boundaries are open.",
        )
        return
    share = volume / max(natoms, 1)
    if share < DENSEST:
        yield Problem(
            "small cell",
            f"the cell {_in_words(box)} leaves {share:.2g} Å³ for each of {natoms} atoms (usual: 5 to 50). "
            "Is it in nm? Lengths are in Å.",
        )
    elif share > THINNEST:
        yield Problem(
            "large cell",
            f"the cell {_in_words(box)} has {share:.2g} Å³ for each of {natoms} atoms (usual: 5 to 50). "
            "Is it in pm? Lengths are in Å; for open boundaries, use a file nopbc.",
        )


def _in_words(box: Floats) -> str:
    return "[" + "; ".join(" ".join(f"{x:.4g}" for x in row) for row in box) + "] Å"
