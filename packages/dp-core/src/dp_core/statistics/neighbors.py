"""Counting neighbours: the shortest distance, and how many neighbours an atom has at most."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from dp_core.data import Frame
from dp_core.data.frame import Integers
from dp_core.errors import ConfigError, DataError
from dp_core.neighbors import refuse_crowd
from dp_core.statistics.sample import Progress, Sample, silent

log = logging.getLogger("dp_core.statistics")

#: Atoms closer than this lie on each other, Å.
OVERLAP = 1e-3

_AUTO = re.compile(r"auto(?::([0-9.eE+-]+))?")

#: Frames that are read before their neighbours are counted.
_TOGETHER = 64


@dataclass(frozen=True)
class NeighborStatistics:
    """What was counted within rcut."""

    min_distance: float  # Å, between two atoms; rcut if no two are closer
    most: tuple[int, ...]  # neighbours of an atom, by their type; a single number for all types
    rcut: float  # Å


def neighbor_statistics(
    sample: Sample, rcut: float, ntypes: int, *, mixed: bool = False, progress: Progress = silent
) -> NeighborStatistics:
    """Count the neighbours of all atoms of a sample, frame by frame. rcut: Å; mixed: all types together.

    In a sample with virtual atoms these are counted too; ntypes is then twice that of the atoms.

    Raises DataError if two atoms are closer than ``OVERLAP``, naming the frame and the atoms.
    """
    nearest, most, done = rcut, np.zeros(1 if mixed else ntypes, np.int64), 0

    def count(frame: Frame) -> tuple[float, Integers, tuple[int, int]]:
        try:
            return _count(frame, rcut, ntypes, mixed)
        except DataError as error:
            raise DataError(f"{sample.systems[frame.system].where(frame.index)}: {error}") from error

    with ThreadPoolExecutor(_threads()) as pool:  # the search runs outside the interpreter's lock
        for frames in _chunks(sample.frames()):
            for distance, counts, pair in pool.map(count, frames):
                if distance < OVERLAP and sample.virtual is None:
                    raise DataError(
                        f"{sample.where(done)}: atoms {pair[0]} and {pair[1]} are only {distance:.3g} Å apart. "
                        "Remove the frame; check the cell and the unit of coordinates."
                    )
                nearest, most, done = min(nearest, distance), np.maximum(most, counts), done + 1
            progress(done, len(sample))
    return NeighborStatistics(float(nearest), tuple(most.tolist()), rcut)


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chunks(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    chunk: list[Frame] = []
    for frame in frames:
        chunk.append(frame)
        if len(chunk) == _TOGETHER:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _count(frame: Frame, rcut: float, ntypes: int, mixed: bool) -> tuple[float, Integers, tuple[int, int]]:
    """Of one frame: the shortest distance, the largest numbers of neighbours, and the closest two atoms."""
    from vesin import NeighborList

    real = np.flatnonzero(frame.types >= 0)
    columns = 1 if mixed else ntypes
    types = np.zeros(len(real), np.int64) if mixed else frame.types[real]
    if not len(real):
        return np.inf, np.zeros(columns, np.int64), (0, 0)
    if frame.box is None:
        refuse_crowd(frame.coord[real], rcut)
    search = NeighborList(cutoff=rcut, full_list=False, n_threads=1)
    first, second, distance = search.compute(
        points=frame.coord[real],
        box=np.zeros((3, 3)) if frame.box is None else np.array(frame.box),
        periodic=frame.box is not None,
        quantities="ijd",
    )
    if not len(distance):
        return np.inf, np.zeros(columns, np.int64), (0, 0)
    closest = int(np.argmin(distance))
    pair = int(real[first[closest]]), int(real[second[closest]])
    inside = distance < rcut
    i, j = first[inside].astype(np.int64), second[inside].astype(np.int64)
    cells = len(real) * columns
    counts = np.bincount(i * columns + types[j], minlength=cells) + np.bincount(j * columns + types[i], minlength=cells)
    return float(distance[closest]), counts.reshape(-1, columns).max(axis=0), pair


def auto_sel(text: str, most: Sequence[int], place: str = "descriptor/sel") -> list[int]:
    """The numbers that ``auto`` or ``auto:factor`` stands for: more than counted, rounded up to a multiple of 4.

    The factor is 1.1 unless given.

    Raises ConfigError for any other text.

    >>> auto_sel("auto:1.5", [38, 72])
    [60, 108]
    """
    match = _AUTO.fullmatch(text.strip())
    try:
        factor = float(match[1] or 1.1) if match else 0.0
    except ValueError:
        factor = 0.0
    if not factor >= 1.0:
        raise ConfigError(f'{place} is {text!r}, expected numbers, "auto" or "auto:factor" with a factor ≥ 1.')
    return [4 * ((int(count * factor) + 3) // 4) for count in most]


def counted_sel(given: Any, statistics: NeighborStatistics, place: str = "descriptor/sel") -> Any:
    """Numbers for ``sel``: those given, with a warning if they are too small, or what "auto" stands for.

    The statistics must be those of its cutoff and of its kind: by type, or of all types. place: for messages.
    """
    most = statistics.most
    if isinstance(given, str):
        return auto_sel(given, most, place)
    numbers = [given] if isinstance(given, int) else list(given)
    if len(most) == 1:
        numbers = [sum(numbers)]
    if any(n < m for n, m in zip(numbers, most)):
        log.warning(
            "%s is %s, but atoms of the data have up to %s neighbours within %g Å; the farthest are left "
            'out. Set sel to at least %s (%s with some reserve), or to "auto".',
            place, given, list(most), statistics.rcut, list(most), auto_sel("auto", most),
        )  # fmt: skip
    return given
