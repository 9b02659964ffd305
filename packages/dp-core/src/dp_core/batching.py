"""The table of several frames, or of parts of them, and the way back to the order of their atoms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp_core.errors import DataError
from dp_core.fragments import numbers, table_fragments
from dp_core.module import replace
from dp_core.neighbors import Floats, FrameNeighbors, Ints, Neighborhood, NeighborSpec, rank_in_group


@dataclass(frozen=True)
class Batch:
    """A table of several frames or parts of frames, and the way back to the order of the user.

    Neighbours that have no row of their own, because only a part of their frame is in the table, are *ghost rows*:
    ``table.index`` numbers them after the n rows.
    """

    table: Neighborhood
    owner: Ints  # (n + ghosts,) place of each row among the concatenated atoms of all frames; −1 for padding rows
    natoms: Ints  # (frames,) atoms of each frame, virtual ones included

    @property
    def rows(self) -> Ints:
        """(n,) the same without ghosts."""
        return self.owner[: len(self.table.types)]

    def to_atoms(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Per-row values in user order, zero for atoms without a row: (n, …) -> (atoms, …)."""
        rows = self.rows
        out = np.zeros((int(self.natoms.sum()), *values.shape[1:]), values.dtype)
        out[rows[rows >= 0]] = values[rows >= 0]
        return out

    def to_rows(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Per-atom values in the order of the rows, zero for padding: (atoms, …) -> (n, …)."""
        rows = self.rows
        out = np.zeros((len(rows), *values.shape[1:]), values.dtype)
        out[rows >= 0] = values[rows[rows >= 0]]
        return out


def no_rounding(count: int) -> int:
    """Sizes as they are."""
    return count


def build_batch(
    frames: Sequence[FrameNeighbors],
    spec: NeighborSpec,
    *,
    fparam: Floats | None = None,
    aparam: Floats | None = None,
    round_rows: Callable[[int], int] = no_rounding,
    round_slots: Callable[[int], int] = no_rounding,
) -> Batch:
    """One table of several frames, or of parts of them.

    fparam: (frames, d); aparam: (all atoms, d) in user order. The rounding functions enlarge blocks to a few sizes for
    backends that compile one program per shape; the padding has type −1.
    """
    natoms = np.array([f.natoms for f in frames], np.int64)
    first_row = np.cumsum([0, *(len(f.types) for f in frames)])
    types = _joined([f.types for f in frames])  # of all rows of the frames, in the table or not
    atoms = _joined([f.atoms + o for f, o in zip(frames, np.cumsum(natoms) - natoms)])
    inside = _joined([np.arange(o + f.start, o + f.stop) for f, o in zip(frames, first_row)])
    frame = np.repeat(np.arange(len(frames)), [f.stop - f.start for f in frames])
    neighbor = _joined([f.neighbor + o for f, o in zip(frames, first_row)])

    padded, place = _places(types[inside], spec, round_rows)
    n = sum(padded)
    ghosts = np.zeros(0, np.int64)
    if len(inside) < len(types):
        outside = np.zeros(len(types), bool)
        outside[neighbor] = True
        outside[inside] = False
        ghosts = np.flatnonzero(outside)
    target = np.empty(len(types), np.int64)  # from the rows of the frames to those of the table
    target[inside] = place
    target[ghosts] = n + np.arange(len(ghosts))
    owner = np.full(n + len(ghosts), -1, np.int64)
    owner[place] = atoms[inside]
    owner[n:] = atoms[ghosts]

    center = target[_joined([f.center + o for f, o in zip(frames, first_row)])]
    slot = _joined([f.slot for f in frames])
    slot_block = types[neighbor] if spec.in_blocks else np.zeros_like(neighbor)
    if spec.shells:
        slot_block = _joined([f.shell for f in frames if f.shell is not None])
    widest = np.zeros(spec.slot_blocks, np.int64)
    np.maximum.at(widest, slot_block, slot + 1)
    widest += spec.marks_first  # in every block, as a model may see some of them only
    slot_counts = tuple(round_slots(int(w)) for w in widest)
    k = sum(slot_counts)
    flat = center * k + np.cumsum([0, *slot_counts])[slot_block] + slot

    def filled(shape: tuple[int, ...], where: Ints, values: NDArray[np.generic], empty: int) -> Any:
        out = np.full((int(np.prod(shape)), *values.shape[1:]), empty, values.dtype)
        out[where] = values
        return out.reshape(*shape, *values.shape[1:])

    neighbor_types = filled((n, k), flat, types[neighbor], -1)
    if spec.marks_first:
        first = np.array([-2 - max(f.types[f.atoms == 0], default=-1) for f in frames], np.int64)
        neighbor_types = np.where(neighbor_types < 0, filled((n,), place, first[frame], -1)[:, None], neighbor_types)

    table = Neighborhood(
        vectors=filled((n, k), flat, np.concatenate([np.zeros((0, 3)), *(f.vectors for f in frames)]), 0),
        index=filled((n, k), flat, target[neighbor], -1),
        types=filled((n,), place, types[inside], -1),
        neighbor_types=neighbor_types,
        frame=filled((n,), place, frame, 0),
        fparam=fparam,
        aparam=None,
        row_counts=padded,
        slot_counts=slot_counts,
    )
    if spec.fragments:
        if aparam is None:
            raise DataError("The model needs the fragment of every atom, as aparam; none were given.")
        of_atoms = numbers(aparam)
        residues = [f[f > 0] for f in np.split(np.where(_real(frames), of_atoms, -1), np.cumsum(natoms)[:-1])]
        counts = np.array([len(np.unique(f)) for f in residues], np.int64)
        found = table_fragments(of_atoms, owner, table.index, table.frame, counts, round_rows)
        table = replace(table, fragments=found)
    batch = Batch(table, owner, natoms)
    return batch if aparam is None else replace(batch, table=replace(table, aparam=batch.to_rows(aparam)))


def _real(frames: Sequence[FrameNeighbors]) -> NDArray[np.bool_]:
    """Which of the concatenated atoms of frames are real: (atoms,)."""
    return np.concatenate([np.zeros(0, bool), *(np.isin(np.arange(f.natoms), f.atoms) for f in frames)])


def _joined(parts: Sequence[NDArray[np.integer]]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _places(types: Ints, spec: NeighborSpec, round_rows: Callable[[int], int]) -> tuple[tuple[int, ...], Ints]:
    """The sizes of the row blocks, and the row of the table for each of the given rows: sorted by type."""
    block = types if spec.in_blocks else np.zeros_like(types)
    padded = [round_rows(int(c)) for c in np.bincount(block, minlength=spec.blocks)]
    block_start = np.cumsum([0, *padded])
    sort = np.argsort(types, kind="stable")
    place = np.empty(len(types), np.int64)
    place[sort] = block_start[block[sort]] + rank_in_group(block[sort], spec.blocks)
    return tuple(padded), place
