"""Neighbourhoods: the table that every model is a function of, and how it is made from coordinates.

One row per central atom, K slots per row. Rows of one type are contiguous; for descriptors with one network per
neighbour type the slots are in blocks by type as well. Inside a block the nearest neighbour comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dp_core.errors import DataError
from dp_core.module import Array, module, replace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@module
class Neighborhood:
    """The table of neighbourhoods of a batch: n rows, K slots.

    Rows come in consecutive blocks of ``row_counts`` (one per type, or a single one), slots in blocks of
    ``slot_counts``. A row of type −1 is padding, and so is a slot of type −1.
    """

    vectors: Array  # (n, K, 3), r_j − r_i in Å; 0 in an empty slot
    index: Array  # (n, K), row of the neighbour; −1 in an empty slot
    types: Array  # (n,), type of the central atom
    neighbor_types: Array  # (n, K)
    frame: Array  # (n,), the frame that the row belongs to
    fparam: Array | None  # (frames, numb_fparam)
    aparam: Array | None  # (n, numb_aparam)
    row_counts: tuple[int, ...]
    slot_counts: tuple[int, ...]


@dataclass(frozen=True)
class NeighborSpec:
    """What a model needs to know of its neighbours.

    Slots are limited to the nearest sum(sel) neighbours, then (``by_type``) to the nearest sel[t] of each type.
    """

    rcut: float  # Å
    sel: tuple[int, ...]
    by_type: bool
    ntypes: int
    exclude: frozenset[tuple[int, int]] = frozenset()  # pairs of types that do not see each other

    @property
    def blocks(self) -> int:
        """Number of row blocks and of slot blocks."""
        return self.ntypes if self.by_type else 1


@dataclass(frozen=True)
class FrameNeighbors:
    """The neighbours of the real atoms of one frame, sorted by (row block, slot block, distance)."""

    natoms: int  # with virtual atoms
    atoms: Ints  # (n,) the real atoms in the order of the rows: sorted by type
    types: Ints  # (n,) their types
    center: Ints  # (pairs,) row
    neighbor: Ints  # (pairs,) row
    slot: Ints  # (pairs,) place inside the slot block
    vectors: Floats  # (pairs, 3)
    wanted: Ints  # (blocks + 1,) largest number of neighbours found by block, and in all; may exceed sel
    nearest: float  # Å, the shortest distance; inf without pairs


def find_pairs(coord: Floats, cell: Floats | None, rcut: float) -> tuple[Ints, Ints, Floats, Floats]:
    """All ordered pairs within rcut, periodic images included: center, neighbour, r_j − r_i, distance.

    coord: (N, 3) Å, anywhere (not only inside the cell); cell: (3, 3) rows, None for open boundaries.
    """
    from vesin import NeighborList

    if len(coord) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0)
    box = np.zeros((3, 3)) if cell is None else np.ascontiguousarray(cell, dtype=np.float64)
    points = np.ascontiguousarray(coord, dtype=np.float64)
    i, j, vectors, distance = NeighborList(cutoff=rcut, full_list=True).compute(
        points=points, box=box, periodic=cell is not None, quantities="ijDd"
    )
    return i.astype(np.int64), j.astype(np.int64), vectors, distance


def frame_neighbors(coord: Floats, cell: Floats | None, types: Ints, spec: NeighborSpec) -> FrameNeighbors:
    """The neighbours of one frame. coord: (N, 3) Å; cell: (3, 3) Å or None; types: (N,), −1 for virtual atoms.

    Raises DataError for types out of range.
    """
    types = np.asarray(types, dtype=np.int64)
    if len(types) and types.max() >= spec.ntypes:
        raise DataError(
            f"Atom {int(types.argmax())} has type {types.max()}, but the model knows types 0 to {spec.ntypes - 1}. "
            "Check the type map."
        )
    real = np.flatnonzero(types >= 0)
    atoms = real[np.argsort(types[real], kind="stable")]
    row_types = types[atoms]
    center, neighbor, vectors, distance = find_pairs(coord[atoms], cell, spec.rcut)

    block = row_types[neighbor] if spec.by_type else np.zeros_like(neighbor)
    order = np.lexsort((distance, center * spec.blocks + block))
    center, neighbor, block, distance, vectors = (
        center[order], neighbor[order], block[order], distance[order], vectors[order]
    )  # fmt: skip
    per_block = np.bincount(center * spec.blocks + block, minlength=len(atoms) * spec.blocks).reshape(-1, spec.blocks)
    per_row = per_block.sum(axis=1)
    wanted = np.append(per_block.max(axis=0, initial=0), per_row.max(initial=0))

    keep = _within_sel(center, block, distance, per_block, spec)
    if spec.exclude:
        banned = np.zeros((spec.ntypes, spec.ntypes), bool)
        for a, b in spec.exclude:
            banned[a, b] = banned[b, a] = True
        allowed = ~banned[row_types[center], row_types[neighbor]]
        keep = allowed if keep is None else keep & allowed
    if keep is not None:
        center, neighbor, block, vectors = center[keep], neighbor[keep], block[keep], vectors[keep]
    slot = _rank(center * spec.blocks + block, len(atoms) * spec.blocks)
    nearest = float(distance.min(initial=np.inf))
    return FrameNeighbors(len(types), atoms, row_types, center, neighbor, slot, vectors, wanted, nearest)


def _rank(group: Ints, count: int) -> Ints:
    """Position of each element inside its group; the groups are contiguous and sorted."""
    sizes = np.bincount(group, minlength=count)
    starts = np.cumsum(sizes) - sizes
    return np.arange(len(group)) - starts[group]


def _within_sel(
    center: Ints, block: Ints, distance: Floats, per_block: Ints, spec: NeighborSpec
) -> NDArray[np.bool_] | None:
    """Which pairs the limits of sel keep; None for all."""
    sel = np.asarray(spec.sel if spec.by_type else [sum(spec.sel)])
    total, rows = int(sel.sum()), len(per_block)
    if per_block.sum(axis=1).max(initial=0) <= total and (per_block.max(axis=0, initial=0) <= sel).all():
        return None
    by_distance = np.lexsort((distance, center))
    keep = np.empty(len(center), bool)
    keep[by_distance] = _rank(center[by_distance], rows) < total
    # nearest first inside a block, so that the first sel[t] of a block are its nearest, cut or not
    return keep & (_rank(center * spec.blocks + block, rows * spec.blocks) < sel[block])


@dataclass(frozen=True)
class Batch:
    """A table of several frames, and the way back to the order of the user."""

    table: Neighborhood
    rows: Ints  # (n,) place of each row among the concatenated atoms of all frames; −1 for padding rows
    natoms: Ints  # (frames,) atoms of each frame, virtual ones included

    def to_atoms(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Per-row values in user order, zero for virtual atoms: (n, …) -> (atoms, …)."""
        real = self.rows >= 0
        out = np.zeros((int(self.natoms.sum()), *values.shape[1:]), values.dtype)
        out[self.rows[real]] = values[real]
        return out

    def to_rows(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Per-atom values in the order of the rows, zero for padding: (atoms, …) -> (n, …)."""
        out = np.zeros((len(self.rows), *values.shape[1:]), values.dtype)
        real = self.rows >= 0
        out[real] = values[self.rows[real]]
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
    """One table of several frames.

    fparam: (frames, d); aparam: (all atoms, d) in user order. The rounding functions enlarge blocks to a few sizes for
    backends that compile one program per shape; the padding has type −1.
    """
    natoms = np.array([f.natoms for f in frames], np.int64)
    first_atom = np.cumsum(natoms) - natoms
    types = np.concatenate([f.types for f in frames]) if frames else np.zeros(0, np.int64)
    frame = np.repeat(np.arange(len(frames)), [len(f.types) for f in frames])
    atoms = np.concatenate([f.atoms + o for f, o in zip(frames, first_atom)])

    row_block = types if spec.by_type else np.zeros_like(types)
    counts = np.bincount(row_block, minlength=spec.blocks)
    padded = np.array([round_rows(int(c)) for c in counts])
    block_start = np.cumsum(padded) - padded
    sort = np.argsort(types, kind="stable")
    target = np.empty(len(types), np.int64)  # from the concatenated rows of the frames to rows of the table
    target[sort] = block_start[row_block[sort]] + _rank(row_block[sort], spec.blocks)
    n = int(padded.sum())

    first_row = np.cumsum([0, *(len(f.types) for f in frames)])
    center = target[np.concatenate([f.center + o for f, o in zip(frames, first_row)])]
    neighbor_row = np.concatenate([f.neighbor + o for f, o in zip(frames, first_row)])
    slot = np.concatenate([f.slot for f in frames])
    slot_block = types[neighbor_row] if spec.by_type else np.zeros_like(neighbor_row)
    widest = np.zeros(spec.blocks, np.int64)
    np.maximum.at(widest, slot_block, slot + 1)
    slot_counts = tuple(round_slots(int(w)) for w in widest)
    column = np.cumsum([0, *slot_counts])[slot_block] + slot
    k = sum(slot_counts)

    table_types = np.full(n, -1, np.int64)
    table_types[target] = types
    table_frame = np.zeros(n, np.int64)
    table_frame[target] = frame
    rows = np.full(n, -1, np.int64)
    rows[target] = atoms
    flat = center * k + column
    vectors = np.zeros((n * k, 3))
    vectors[flat] = np.concatenate([f.vectors for f in frames])
    index = np.full(n * k, -1, np.int64)
    index[flat] = target[neighbor_row]
    neighbor_types = np.full(n * k, -1, np.int64)
    neighbor_types[flat] = types[neighbor_row]
    table = Neighborhood(
        vectors.reshape(n, k, 3), index.reshape(n, k), table_types, neighbor_types.reshape(n, k), table_frame,
        fparam, None, tuple(int(p) for p in padded), slot_counts,
    )  # fmt: skip
    batch = Batch(table, rows, natoms)
    if aparam is None:
        return batch
    return Batch(replace(table, aparam=batch.to_rows(aparam)), rows, natoms)
