"""Frames with their neighbours, found once and kept as far as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np

from dp_core.data import Frame, Label, System, validate_frame
from dp_core.data.budget import Budget
from dp_core.neighbors import FrameNeighbors, Ints, NeighborSpec, named_neighbors, part_of
from dp_core.virtual_atoms import VirtualAtoms

Item = tuple[Frame, FrameNeighbors]


class FrameStore:
    """Frames of a list of systems, checked, with their neighbours.

    The first frames that fit into the budget are kept for the whole training. Frames come in random passes, so to
    replace kept ones by others would not make more of them be there when they are needed.

    warn: is told when a frame has more neighbours than the model takes.
    virtual: what is added to the frames, of models with spins. centers: only types below this have rows; None for all.
    """

    def __init__(
        self,
        systems: Sequence[System],
        labels: Sequence[Label],
        spec: NeighborSpec,
        budget: Budget,
        warn: Callable[[str], None],
        virtual: VirtualAtoms | None = None,
        centers: int | None = None,
    ):
        self._virtual, self._centers = virtual, centers
        self._systems, self._labels, self.spec = systems, labels, spec
        self._budget, self._warn = budget, warn
        self._kept: dict[tuple[int, int], Item] = {}
        self._told: dict[NeighborSpec, Ints] = {}

    def __getitem__(self, place: tuple[int, int]) -> Item:
        """A frame by (system, frame). Raises DataError for numbers that cannot be right."""
        if place in self._kept:
            return self._kept[place]
        system = self._systems[place[0]]
        frame = system.frame(place[1], self._labels)
        validate_frame(frame, system)
        if self._virtual is not None:
            frame = self._virtual.frame(frame, self._labels)
        neighbors = named_neighbors(frame.coord, frame.box, frame.types, self.spec, system.where(place[1]))
        if self._centers is not None:
            neighbors = part_of(neighbors, 0, int(np.searchsorted(neighbors.types, self._centers)))
        self._check_sel(neighbors, place)
        size = _bytes(frame) + _bytes(neighbors)
        if size <= self._budget.left:
            self._budget.left -= size
            self._kept[place] = frame, neighbors
        return frame, neighbors

    def _check_sel(self, neighbors: FrameNeighbors, place: tuple[int, int]) -> None:
        for spec, wanted in self.spec.crowded(neighbors.wanted):
            told = self._told.get(spec, spec.limits)
            if not (wanted > told).any():
                continue
            told = self._told[spec] = np.maximum(told, wanted)
            need = told[:-1].tolist() if spec.by_type else int(told[-1])
            self._warn(
                f"{self.where(place)} has more neighbours within {spec.rcut:g} Å than sel {list(spec.sel)} takes; the "
                f"farthest are left out, so forces are wrong there. Set sel to at least {need}, or to 'auto'."
            )

    def where(self, place: tuple[int, int]) -> str:
        """A frame in words."""
        return self._systems[place[0]].where(place[1])


def _bytes(item: Frame | FrameNeighbors) -> int:
    values = [getattr(item, f.name) for f in fields(item)]
    values += [array for value in values if isinstance(value, dict) for array in value.values()]
    return sum(value.nbytes for value in values if isinstance(value, np.ndarray))
