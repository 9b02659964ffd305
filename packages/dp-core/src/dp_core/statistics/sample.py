"""Which frames statistics are taken of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dp_core.data import Frame, Label, System, validate_frame
from dp_core.data.frame import Integers
from dp_core.data.sampling import BatchRule, batch_rules
from dp_core.virtual_atoms import SPIN, VirtualAtoms

log = logging.getLogger("dp_core.statistics")

#: (frames done, frames in all)
Progress = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """No progress shown."""


@dataclass(frozen=True)
class Sample:
    """Frames of some systems; they are read one by one and not kept."""

    systems: Sequence[System]
    system: Integers  # (frames,), position in the list of systems
    index: Integers  # (frames,), position in the system
    virtual: VirtualAtoms | None = None  # what is added to the frames, of models with spins

    def __len__(self) -> int:
        return len(self.index)

    def frames(self, labels: Sequence[Label] = ()) -> Iterator[Frame]:
        """The frames with their labels. Raises DataError for numbers that cannot be right."""
        wanted = labels if self.virtual is None else [*labels, SPIN]
        for s, i in zip(self.system.tolist(), self.index.tolist()):
            frame = self.systems[s].frame(i, wanted)
            validate_frame(frame, self.systems[s])
            yield frame if self.virtual is None else self.virtual.frame(frame, labels)

    def where(self, k: int) -> str:
        """The k-th frame in words."""
        place: str = self.systems[int(self.system[k])].where(int(self.index[k]))
        return place


def whole(systems: Sequence[System]) -> Sample:
    """All frames."""
    return _sample(systems, [np.arange(s.nframes) for s in systems])


#: Samples with more atoms are thinned out, so that the first step of a training does not wait for hours: those for
#: statistics, the counting of neighbours, and the look at all labels.
MOST_ATOMS = 200_000


def sample_frames(
    systems: Sequence[System], batch_size: int | Sequence[int] | str, nbatch: int, *, most_atoms: int = MOST_ATOMS
) -> Sample:
    """``nbatch`` batches of every system, evenly spaced over its frames, or all frames if it has fewer.

    In a system whose frames differ in size, every size counts as a system. Of a sample with more than ``most_atoms``
    an even part is taken, at least one frame of every system. batch_size: as in the training section.
    """
    rules, drop_large = batch_rules(batch_size, len(systems))
    shares = [_shares(s, r, nbatch, len(systems), drop_large) for s, r in zip(systems, rules)]
    atoms = sum(size * wanted for of_system in shares for _, size, wanted in of_system)
    part = min(1.0, most_atoms / max(atoms, 1))
    if part < 1.0:
        log.info("The statistics are taken of about %d atoms, %.2g %% of the usual sample.", most_atoms, 100 * part)
    return _sample(systems, [_picked(of_system, part) for of_system in shares])


def _shares(
    system: System, rule: BatchRule, nbatch: int, nsystems: int, drop_large: bool
) -> list[tuple[Integers, int, int]]:
    """Frames of one size, their number of atoms, and how many of them are wanted."""
    sizes = np.full(system.nframes, system.natoms) if system.sizes is None else system.sizes
    if drop_large:
        sizes = np.where(sizes <= rule.count, sizes, 0)
    shares = []
    for size in np.unique(sizes[sizes > 0]).tolist():
        frames = np.flatnonzero(sizes == size)
        wanted = nbatch * rule.frames_for(size)
        if rule.across_systems:  # a batch is shared by the systems
            wanted = -(-wanted // nsystems)
        shares.append((frames, size, min(wanted, len(frames))))
    return shares


def _picked(shares: Sequence[tuple[Integers, int, int]], part: float) -> Integers:
    picks = [frames[_evenly(len(frames), max(1, int(part * wanted)))] for frames, _, wanted in shares]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *picks]))


def _evenly(count: int, wanted: int) -> Integers:
    """``wanted`` of ``count`` positions, evenly spaced."""
    return ((np.arange(wanted) + 0.5) * count / wanted).astype(np.int64)


def _sample(systems: Sequence[System], picks: Sequence[Integers]) -> Sample:
    system = np.repeat(np.arange(len(systems)), [len(p) for p in picks])
    return Sample(systems, system, np.concatenate([np.zeros(0, np.int64), *picks]))
