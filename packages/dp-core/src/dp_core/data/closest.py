"""The closest pair of atoms of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dp_core.data.frame import Frame


@dataclass(frozen=True)
class ClosePair:
    """Two atoms (or an atom and its own periodic image) and their distance in Å."""

    distance: float
    first: int
    second: int

    def __str__(self) -> str:
        other = f"{self.second}" if self.first != self.second else "its own periodic image"
        return f"atoms {self.first} and {other} are {self.distance:.3g} Å apart"


def closest_pair(frame: Frame, cutoff: float) -> ClosePair | None:
    """The two closest atoms of a frame, periodic images included; None if none are closer than ``cutoff`` (Å)."""
    from vesin import NeighborList  # imports any array library that is installed, so not before it is needed

    real = np.flatnonzero(frame.types >= 0)
    box = np.zeros((3, 3)) if frame.box is None else np.array(frame.box)
    search = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
    first, second, distance = search.compute(
        points=frame.coord[real], box=box, periodic=frame.box is not None, quantities="ijd"
    )
    if not len(distance):
        return None
    k = int(np.argmin(distance))
    return ClosePair(float(distance[k]), int(real[first[k]]), int(real[second[k]]))
