"""Few sizes: XLA compiles a program for every shape, which takes seconds, so that blocks are padded to some of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dp_core.module import replace
from dp_core.neighbors import Neighborhood


def _next(count: int, per_octave: int, least: int) -> int:
    """The count, enlarged to a multiple of ``least`` with no more than ``per_octave`` sizes between n and 2n."""
    step = max(least, (1 << max(0, count - 1).bit_length()) // (2 * per_octave))
    return -(-count // step) * step


def round_rows(count: int) -> int:
    """The size of a block of rows: 0, 8, 16, … 64, 80, 96, 112, 128, 160, … at most a fifth of many is padding."""
    return _next(count, 4, 8)


def round_slots(count: int) -> int:
    """The size of a block of slots: 0, 8, 16, … 128, 144, 160, … in finer steps, because slots cost most."""
    return _next(count, 8, 8)


def with_rounded_rows(x: np.ndarray) -> np.ndarray:
    """The array with rows of zeros up to a rounded number."""
    return np.pad(x, ((0, round_rows(len(x)) - len(x)), (0, 0)))


def with_frames(table: Any) -> Any:
    """The table with a rounded number of frames, which is a size only where there are frame parameters."""
    fparam = getattr(table, "fparam", None)
    return table if fparam is None else replace(table, fparam=with_rounded_rows(fparam))


def _places(counts: tuple[int, ...], sizes: tuple[int, ...]) -> np.ndarray:
    """Where the elements of blocks go when every block is enlarged."""
    starts = np.cumsum(sizes) - sizes
    return np.concatenate([s + np.arange(c) for s, c in zip(starts, counts, strict=True)])


def without_empty(table: Neighborhood) -> tuple[Neighborhood, np.ndarray, np.ndarray]:
    """The table with at least one row and slot in every block, and where its rows and slots are now.

    A graph with open sizes takes any but zero.
    """
    row_counts = tuple(max(1, c) for c in table.row_counts)
    slot_counts = tuple(max(1, c) for c in table.slot_counts)
    rows, slots = _places(table.row_counts, row_counts), _places(table.slot_counts, slot_counts)
    if row_counts == table.row_counts and slot_counts == table.slot_counts:
        return table, rows, slots
    n, k = sum(row_counts), sum(slot_counts)

    def by_row(x: np.ndarray, fill: int) -> np.ndarray:
        out = np.full((n, *x.shape[1:]), fill, x.dtype)
        out[rows] = x
        return out

    def by_slot(x: np.ndarray, fill: int) -> np.ndarray:
        out = np.full((n, k, *x.shape[2:]), fill, x.dtype)
        out[rows[:, None], slots] = x
        return out

    ghosts = table.index >= len(table.types)
    index = np.where(
        ghosts, table.index - len(table.types) + n, rows[np.where(ghosts, 0, table.index)] if len(rows) else -1
    )
    changed = replace(
        table,
        vectors=by_slot(table.vectors, 0),
        index=by_slot(np.where(table.index < 0, -1, index), -1),
        types=by_row(table.types, -1),
        neighbor_types=by_slot(table.neighbor_types, -1),
        frame=by_row(table.frame, 0),
        aparam=None if table.aparam is None else by_row(table.aparam, 0),
        weight=None if table.weight is None else by_row(table.weight, 0),
        row_counts=row_counts,
        slot_counts=slot_counts,
    )
    return changed, rows, slots
