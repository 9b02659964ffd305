"""Batches of one data set: which frames, with which neighbours, as arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dp_core.data import Sampler, System
from dp_core.training.frames import FrameStore, Item
from dp_core.training.timeline import Timeline


@dataclass(frozen=True)
class Drawn:
    """One batch."""

    batch: Any
    places: list[tuple[int, int]]
    """(system, frame) of each of its frames."""
    natoms: int
    sampler: dict[str, Any]
    """The state of the sampler after this batch was drawn."""


class BatchSource:
    """Draws batches forever.

    make: from frames with their neighbours to what the loss takes.
    """

    def __init__(
        self,
        systems: Sequence[System],
        sampler: Sampler,
        store: FrameStore,
        make: Callable[[Sequence[Item]], Any],
        timeline: Timeline,
    ):
        self.systems, self.sampler, self.store = systems, sampler, store
        self._make, self._timeline = make, timeline

    def draw(self) -> Drawn:
        """The next batch. Raises DataError for damaged files and numbers that cannot be right."""
        places = self.sampler.next()
        state = self.sampler.state()
        with self._timeline.span("frames"):
            items = [self.store[place] for place in places]
        with self._timeline.span("batch"):
            batch = self._make(items)
        return Drawn(batch, places, sum(frame.natoms for frame, _ in items), state)

    def all_frames(self) -> Iterator[Item]:
        """Every frame once."""
        for k, system in enumerate(self.systems):
            for i in range(system.nframes):
                yield self.store[k, i]

    def where(self, places: Sequence[tuple[int, int]]) -> str:
        """The frames of a batch in words."""
        shown = "; ".join(self.store.where(place) for place in places[:8])
        return shown + (f"; and {len(places) - 8} more" if len(places) > 8 else "")
