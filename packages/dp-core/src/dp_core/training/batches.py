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
    part: (k, n) takes every n-th batch, the k-th of each n. Processes that train together take parts of the same
        sequence, so the state of the sampler is the same in all of them.
    """

    def __init__(
        self,
        systems: Sequence[System],
        sampler: Sampler,
        store: FrameStore,
        make: Callable[[Sequence[Item]], Any],
        timeline: Timeline,
        part: tuple[int, int] = (0, 1),
    ):
        self.systems, self.sampler, self.store = systems, sampler, store
        self._make, self._timeline, self._part = make, timeline, part

    def draw(self) -> Drawn:
        """The next batch. Raises DataError for damaged files and numbers that cannot be right."""
        rank, processes = self._part
        places = [self.sampler.next() for _ in range(processes)][rank]
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
