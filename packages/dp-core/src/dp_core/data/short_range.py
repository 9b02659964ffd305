"""Systems without the long-range part of a model in their labels: what the rest of the model has to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dp_core.backend import Backend
from dp_core.data.frame import Floats, Frame, Integers, Label
from dp_core.data.system import System
from dp_core.errors import ConfigError, DataError
from dp_core.long_range import LongRange
from dp_core.prediction import Prediction, Structure

#: Labels that have a long-range part which is not computed.
_REFUSED = ("hessian", "atom_ener")


def short_range_systems(systems: Sequence[System], model: Any, backend: Backend) -> list[System]:
    """The systems as the neighbours-only part of a model is to learn them; as they are if it has no other part."""
    long = LongRange(model, backend)
    return [ShortRangeSystem(s, long) for s in systems] if long else list(systems)


class ShortRangeSystem(System):
    """A system whose energies, forces and virials lack those of ``long``, computed once for each frame."""

    def __init__(self, system: System, long: Callable[[Sequence[Structure]], Prediction]):
        self._system, self._long = system, long
        self.name, self.nframes, self.natoms = system.name, system.nframes, system.natoms
        self.mixed, self.periodic, self.own_names = system.mixed, system.periodic, system.own_names
        self.sizes, self.origins = system.sizes, system.origins
        self.index, self.type_map = system.index, system.type_map
        self._known: dict[int, dict[str, Floats]] = {}

    def frame(self, i: int, labels: Sequence[Label] = ()) -> Frame:
        """Frame ``i`` with the labels asked for. Raises DataError also for open boundaries."""
        frame = self._system.frame(i, labels)
        if refused := [name for name in _REFUSED if name in frame.found]:
            raise ConfigError(
                f"The model has a long-range part, which dp does not take off labels of {' and '.join(refused)}. Leave "
                "these terms out of the loss."
            )
        wanted = frame.found & {"energy", "force", "virial"}
        if not wanted:
            return frame
        if i not in self._known:
            self._known[i] = self._compute(frame)
        changed = {name: frame.labels[name] - self._known[i][name] for name in wanted}
        for value in changed.values():
            value.setflags(write=False)
        return replace(frame, labels=frame.labels | changed)

    def _compute(self, frame: Frame) -> dict[str, Floats]:
        try:
            found = self._long([Structure(frame.coord, frame.box, frame.types)])
        except DataError as error:
            raise DataError(f"{self.where(frame.index)}: {error}") from error
        return {"energy": found.energy, "force": found.force, "virial": np.reshape(found.virial, 9)}

    def where(self, i: int) -> str:
        """Where frame ``i`` is, in words for a message."""
        return self._system.where(i)

    def own_types(self, i: int) -> Integers:
        """(N,) types of frame ``i`` in the numbering of the files."""
        return self._system.own_types(i)

    def types_of(self, i: int) -> Integers:
        """(N,) model types of frame ``i``."""
        return self._system.types_of(i)

    def used_types(self) -> Integers:
        """The types that really occur, in the numbering of the files."""
        return self._system.used_types()

    def available(self) -> frozenset[str]:
        """Names of all quantities that some frame has."""
        return self._system.available()

    def bind(self, type_map: Sequence[str], index: int) -> None:
        """Types are bound already, because charges belong to types."""
        raise NotImplementedError

    def _structure(self, i: int) -> tuple[Floats, Floats | None]:
        return self._system._structure(i)

    def _values(self, i: int, label: Label) -> Floats | None:
        return self._system._values(i, label)
