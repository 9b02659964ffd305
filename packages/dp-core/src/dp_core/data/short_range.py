"""Systems without the long-range part of a model in their labels: what the rest of the model has to learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dp_core.backend import Backend
from dp_core.data.budget import Budget
from dp_core.data.frame import Floats, Frame, Integers, Label
from dp_core.data.system import System
from dp_core.errors import ConfigError, DataError
from dp_core.long_range import LongRange, long_range
from dp_core.prediction import Prediction, Structure

#: Labels that have a long-range part which is not computed.
_REFUSED = ("hessian", "atom_ener", "atom_ener_coeff")

#: Labels that have one which is.
_COMPUTED = frozenset({"energy", "force", "virial"})


def check_labels(model: Any, labels: Sequence[Label]) -> None:
    """Raise ConfigError if the labels of a loss have a long-range part, of this model, that is not computed."""
    refused = [label.key for label in labels if label.key in _REFUSED]
    if refused and long_range(model):
        raise ConfigError(
            f"The model has a long-range part, which dp does not take off labels of {' and '.join(refused)}. Leave "
            "these terms out of the loss."
        )


def short_range_systems(
    systems: Sequence[System], model: Any, backend: Backend, labels: Sequence[Label], budget: Budget
) -> list[System]:
    """The systems as the neighbours-only part of a model is to learn them; as they are if it has no other part.

    labels: for which the other part is kept, as far as the budget allows. It is computed again where it is not.
    """
    long = LongRange(model, backend)
    return [ShortRangeSystem(s, long, labels, budget) for s in systems] if long else list(systems)


class ShortRangeSystem(System):
    """A system whose energies, forces and virials lack those of ``long``."""

    def __init__(
        self,
        system: System,
        long: Callable[[Sequence[Structure]], Prediction],
        labels: Sequence[Label],
        budget: Budget,
    ):
        self._keep, self._budget = _COMPUTED & {label.key for label in labels}, budget
        self._system, self._long = system, long
        self.name, self.nframes, self.natoms = system.name, system.nframes, system.natoms
        self.mixed, self.periodic, self.own_names = system.mixed, system.periodic, system.own_names
        self.sizes, self.origins = system.sizes, system.origins
        self.index, self.type_map = system.index, system.type_map
        self._known: dict[int, dict[str, Floats]] = {}

    def frame(self, i: int, labels: Sequence[Label] = ()) -> Frame:
        """Frame ``i`` with the labels asked for. Raises DataError also for open boundaries."""
        frame = self._system.frame(i, labels)
        wanted = frame.found & _COMPUTED
        if not wanted:
            return frame
        known = self._known.get(i, {})
        if not wanted <= known.keys():
            known = self._compute(frame)
            self._remember(i, known)
        changed = {name: frame.labels[name] - known[name] for name in wanted}
        for value in changed.values():
            value.setflags(write=False)
        return replace(frame, labels=frame.labels | changed)

    def _remember(self, i: int, found: dict[str, Floats]) -> None:
        kept = {name: found[name] for name in self._keep}
        size = sum(value.nbytes for value in kept.values())
        if i not in self._known and size <= self._budget.left:
            self._budget.left -= size
            self._known[i] = kept

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
