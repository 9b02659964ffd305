"""Neighbourhoods: the table that every model is a function of, and how it is made from coordinates.

One row per central atom, K slots per row. Rows of one type are contiguous; for descriptors with one network per
neighbour type the slots are in blocks by type as well, for those that look at near neighbours more closely in blocks by
shell. Inside a block the nearest neighbour comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dp_core.errors import DataError
from dp_core.fragments import Fragments
from dp_core.module import Array, module, replace

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

#: ``NeighborSpec.closest`` of models with spins: of the 2N atoms of a frame, atom k + N may be where atom k is.
COINCIDENT = -1.0


@module
class Neighborhood:
    """The table of neighbourhoods of a batch: n rows, K slots.

    Rows come in consecutive blocks of ``row_counts`` (one per type, or a single one), slots in blocks of
    ``slot_counts``. A row of type −1 is padding, and so is a slot of a negative type: −1, or −2 − t to tell the type t
    of the first atom of the frame, see ``NeighborSpec.marks_first``.

    A table may be a part of a larger one, with neighbours that have no row in it: ghosts, numbered from n on. Models
    that pass messages then need ``exchange``, which gives the features of the ghosts below those of the rows:
    (n, d) -> (n + ghosts, d). Its derivative must bring the gradients of ghosts back to their owners.
    """

    vectors: Array  # (n, K, 3), r_j − r_i in Å; 0 in an empty slot
    index: Array  # (n, K), row of the neighbour; −1 in an empty slot
    types: Array  # (n,), type of the central atom
    neighbor_types: Array  # (n, K)
    frame: Array  # (n,), the frame that the row belongs to
    fparam: Array | None  # (frames, numb_fparam), then charge and multiplicity for models that depend on them
    aparam: Array | None  # (n, numb_aparam)
    row_counts: tuple[int, ...]
    slot_counts: tuple[int, ...]
    weight: Array | None = None  # (n,), see ``evaluate_atoms``; None: 1 everywhere
    exchange: Callable[[Array], Array] | None = None
    fragments: Fragments | None = None  # of models that tell fragments apart


@dataclass(frozen=True)
class NeighborSpec:
    """What a model needs to know of its neighbours.

    Slots are limited to the nearest sum(sel) neighbours, then (``by_type``) to the nearest sel[t] of each type. With
    ``types_alone`` sel limits types alone, and leaving out others is meant, not a flaw.

    Each of the ``shells``, from the inside, is a radius in Å and a number: as many nearest neighbours closer than the
    radius get a block of slots of their own, unless a smaller shell has them; the last block is of the rest. Not
    together with blocks by type.

    Some old models give empty slots the type t of the first atom of their frame: with ``marks_first`` empty slots have
    the type −2 − t (−1 if that atom is virtual), and every row has one in each block.
    """

    rcut: float  # Å
    sel: tuple[int, ...]
    by_type: bool
    ntypes: int
    exclude: frozenset[tuple[int, int]] = frozenset()  # pairs of types that do not see each other
    shells: tuple[tuple[float, int], ...] = ()
    split: bool = False  # blocks by type although sel limits all types together
    types_alone: bool = False
    marks_first: bool = False
    closest: float = 0.0  # Å, pairs should be farther apart; or ``COINCIDENT``
    fragments: bool = False  # the atomic parameter numbers fragments, which the table tells
    parts: tuple[NeighborSpec, ...] = ()  # what each of several models that share the table sees of it

    @property
    def in_blocks(self) -> bool:
        """Whether rows and slots come in blocks by type."""
        return self.by_type or self.split

    @property
    def blocks(self) -> int:
        """Number of row blocks."""
        return self.ntypes if self.in_blocks else 1

    @property
    def limits(self) -> Ints:
        """(blocks + 1,) the most neighbours of each block, and in all."""
        total = sum(self.sel)
        sel = self.sel if self.by_type else (total,) * self.blocks
        return np.array([*sel, np.iinfo(np.int64).max if self.types_alone else total], np.int64)

    @property
    def slot_blocks(self) -> int:
        """Number of slot blocks."""
        return self.blocks + len(self.shells)

    def crowded(self, wanted: Ints) -> list[tuple[NeighborSpec, Ints]]:
        """Where neighbours are left out, although they are meant to count: the spec, or those of its parts.

        wanted: see ``FrameNeighbors``. Beside each spec is its share of it.
        """
        specs = self.parts or (self,)
        shares = np.split(wanted, np.cumsum([s.blocks + 1 for s in specs])[:-1])
        return [(s, w) for s, w in zip(specs, shares, strict=True) if not s.types_alone and (w > s.limits).any()]


@dataclass(frozen=True)
class PairList:
    """The pairs of one frame that may be within the cutoff, found once and good while atoms move little.

    Each pair is stored once. Seen from a row r, pair p appears as entry p when r is its first atom, and as entry
    p + pairs when r is its second; ``order`` lists the entries row after row.
    """

    natoms: int  # with virtual atoms
    atoms: Ints  # (n,) the real atoms in the order of the rows: sorted by type
    types: Ints  # (n,) their types
    first: Rows  # (pairs,) row
    second: Rows  # (pairs,) row
    shift: Rows  # (pairs, 3) cell vectors added to the position of the second atom
    order: Rows  # (2·pairs,) entries
    start: Ints  # (n + 1,) where the entries of each row start in ``order``


@dataclass(frozen=True)
class FrameNeighbors:
    """The neighbours of the rows ``start`` to ``stop`` of one frame, sorted by (row, slot block, distance)."""

    natoms: int  # with virtual atoms
    atoms: Ints  # (n,) the real atoms in the order of the rows: sorted by type
    types: Ints  # (n,) their types
    center: Rows  # (pairs,) row
    neighbor: Rows  # (pairs,) row
    shell: Rows | None  # (pairs,) slot block, where blocks are shells
    slot: Rows  # (pairs,) place inside the slot block
    vectors: Floats  # (pairs, 3)
    wanted: Ints  # (blocks + 1,) most neighbours found by block, and in all; if the spec has parts, that of each part
    nearest: float  # Å, the shortest distance; inf without pairs
    start: int
    stop: int


def frame_pairs(coord: Floats, cell: Floats | None, types: Ints, spec: NeighborSpec, skin: float = 0.0) -> PairList:
    """All pairs of one frame within rcut + skin, periodic images included.

    coord: (N, 3) Å, anywhere (not only inside the cell); cell: (3, 3) Å, rows are the lattice vectors, None for open
    boundaries; types: (N,), −1 for virtual atoms. Raises DataError for types, coordinates or a cell that make no sense.
    """
    types = np.asarray(types, dtype=np.int64)
    if len(types) and types.max() >= spec.ntypes:
        raise DataError(
            f"Atom {int(types.argmax())} has type {types.max()}, but the model knows types 0 to {spec.ntypes - 1}. "
            "Check the type map."
        )
    real = np.flatnonzero(types >= 0)
    atoms = real[np.argsort(types[real], kind="stable")]
    points = np.ascontiguousarray(coord[atoms], dtype=np.float64)
    _check_geometry(points, cell, spec.rcut + skin, atoms)
    first, second, shift = _search(points, cell, spec.rcut + skin)
    npairs = len(first)
    entries = np.concatenate([first, second]).astype(np.int64)
    starts = np.cumsum([0, *np.bincount(entries, minlength=len(atoms))])
    entries <<= 32
    entries += np.arange(2 * npairs)
    entries.sort()  # by row, then by entry
    entries &= 0xFFFFFFFF
    return PairList(len(types), atoms, types[atoms], first, second, shift, entries.astype(np.int32), starts)


#: More neighbours than this are no matter, but a wrong unit or a wrong cell.
_MOST_NEIGHBORS = 20_000


def _check_geometry(points: Floats, cell: Floats | None, radius: float, atoms: Ints) -> None:
    """Refuse what has no neighbour list, or one that fills the memory."""
    if not np.isfinite(points).all():
        row = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise DataError(f"Atom {atoms[row]} has the coordinates {points[row].tolist()}, which are no numbers.")
    if cell is None:
        refuse_crowd(points, radius)
        return
    volume = abs(float(np.linalg.det(cell)))
    longest = float(np.prod(np.linalg.norm(cell, axis=1)))
    if not volume > 1e-10 * longest:
        raise DataError(
            f"The cell {np.asarray(cell).tolist()} has no volume. Give three lattice vectors as rows in Å, "
            "or None for open boundaries."
        )
    expected = len(points) / volume * 4.0 / 3.0 * np.pi * radius**3
    if expected > _MOST_NEIGHBORS:
        raise DataError(
            f"{len(points)} atoms in a cell of {volume:.4g} Å³ have about {expected:.3g} neighbours within "
            f"{radius:g} Å each. The cell is too small, or the cutoff too large: check that lengths are in Å."
        )


def refuse_crowd(points: Floats, radius: float) -> None:
    """Raise DataError if open boundaries give so many neighbours that the unit of length must be wrong.

    They are estimated from the fullest cube with an edge of the radius, Å.
    """
    in_sphere = 4.0 / 3.0 * np.pi
    if in_sphere * len(points) <= _MOST_NEIGHBORS:
        return
    cubes = np.floor((points - points.min(axis=0)) / radius)
    width = cubes.max(axis=0) + 1
    _, cube, counts = np.unique(
        (cubes[:, 0] * width[1] + cubes[:, 1]) * width[2] + cubes[:, 2], return_inverse=True, return_counts=True
    )
    if in_sphere * counts.max() > _MOST_NEIGHBORS:
        crowd = points[cube == counts.argmax()]
        raise DataError(
            f"{len(crowd)} atoms lie in a cube with an edge of {radius:g} Å, the closest two "
            f"{_closest(crowd, radius):.3g} Å apart. Are the coordinates in nm? Lengths are in Å."
        )


def _closest(points: Floats, edge: float) -> float:
    """The shortest distance of points in a cube, Å; found among so few pairs that it is quick."""
    first, second, _ = _search(points, None, 2.0 * edge / len(points) ** (1.0 / 3.0))
    return float(np.linalg.norm(points[first] - points[second], axis=1).min(initial=np.inf))


def _search(points: Floats, cell: Floats | None, radius: float) -> tuple[Rows, Rows, Rows]:
    """Each pair within the radius once: first row, second row, shift of the second in cell vectors."""
    from vesin import NeighborList

    if len(points) == 0:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 3), np.int32)
    box = np.zeros((3, 3)) if cell is None else np.ascontiguousarray(cell, dtype=np.float64)
    search = NeighborList(cutoff=radius, full_list=False)
    # views of the library's memory, copied below in half the size
    pairs, shift = search.compute(points=points, box=box, periodic=cell is not None, quantities="PS", copy=False)
    return pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32), shift.astype(np.int32)


def row_neighbors(
    pairs: PairList, coord: Floats, cell: Floats | None, spec: NeighborSpec, start: int = 0, stop: int | None = None
) -> FrameNeighbors:
    """The neighbours of some rows of a frame, for coordinates and cell near those that the pairs were found for."""
    stop = len(pairs.atoms) if stop is None else stop
    entry = pairs.order[pairs.start[start] : pairs.start[stop]]
    center = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(pairs.start[start : stop + 1]))
    reverse = entry >= len(pairs.first)
    pair = np.where(reverse, entry - np.int32(len(pairs.first)), entry)
    neighbor = np.where(reverse, pairs.first[pair], pairs.second[pair])
    vectors = coord[pairs.atoms[neighbor]] - coord[pairs.atoms[center]]
    if cell is not None:
        vectors += np.where(reverse, -1.0, 1.0)[:, None] * (pairs.shift[pair] @ cell)
    distance = np.sqrt(np.einsum("pc,pc->p", vectors, vectors))

    block = pairs.types[neighbor] if spec.in_blocks else 0
    group = (center - start) * spec.blocks + block
    near = np.flatnonzero(distance <= spec.rcut)
    # one key for the three orders: the distance is the fraction, so that a plain sort is enough
    near = near[np.argsort(group[near] + distance[near] / (1.001 * spec.rcut), kind="stable")]
    center, neighbor, group = center[near], neighbor[near], group[near]
    distance, vectors = distance[near], vectors[near]

    groups = (stop - start) * spec.blocks
    per_block = np.bincount(group, minlength=groups).reshape(-1, spec.blocks)
    found = [_counts(center - start, pairs.types[neighbor], distance, stop - start, part) for part in spec.parts]
    wanted = np.concatenate([[*c.max(axis=0, initial=0), c.sum(axis=1).max(initial=0)] for c in found or [per_block]])
    keep = _within_sel(center - start, group, distance, per_block, spec)
    shell = None
    if spec.shells:
        shell = _shells(rank_in_group(group, groups), distance, spec)
        group, groups = group * spec.slot_blocks + shell, groups * spec.slot_blocks
    if spec.exclude:
        allowed = ~_banned(spec)[pairs.types[center], pairs.types[neighbor]]
        keep = allowed if keep is None else keep & allowed
    if keep is not None:
        center, neighbor, group, vectors = center[keep], neighbor[keep], group[keep], vectors[keep]
        shell = None if shell is None else shell[keep]
    slot = rank_in_group(group, groups).astype(np.int32)
    nearest = float(distance.min(initial=np.inf))
    return FrameNeighbors(
        pairs.natoms, pairs.atoms, pairs.types, center, neighbor, shell, slot, vectors, wanted, nearest, start, stop
    )


def frame_neighbors(coord: Floats, cell: Floats | None, types: Ints, spec: NeighborSpec) -> FrameNeighbors:
    """The neighbours of one frame. coord: (N, 3) Å; cell: (3, 3) Å or None; types: (N,), −1 for virtual atoms.

    Raises DataError for types, coordinates or a cell that make no sense.
    """
    return row_neighbors(frame_pairs(coord, cell, types, spec), coord, cell, spec)


def named_neighbors(coord: Floats, cell: Floats | None, types: Ints, spec: NeighborSpec, where: str) -> FrameNeighbors:
    """The same of a frame that errors name ``where``; atoms at the same place are an error too."""
    try:
        found = frame_neighbors(coord, cell, types, spec)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    refuse_close(found, spec, where)
    return found


def part_of(found: FrameNeighbors, start: int, stop: int) -> FrameNeighbors:
    """Some of the rows, of neighbours that are known for all rows of the frame."""
    first, last = np.searchsorted(found.center, [start, stop])
    pairs = slice(first, last)
    return replace(
        found, center=found.center[pairs], neighbor=found.neighbor[pairs], slot=found.slot[pairs],
        shell=None if found.shell is None else found.shell[pairs], vectors=found.vectors[pairs], start=start, stop=stop,
    )  # fmt: skip


def refuse_close(found: FrameNeighbors, spec: NeighborSpec, where: str) -> None:
    """Raise DataError if two atoms are at the same place, or closer than the model can tell; ``where`` names the frame.

    Pairs that do not see each other may be closer.
    """
    if found.nearest > max(spec.closest, 0.0) or not len(found.vectors):
        return
    squares = np.einsum("pc,pc->p", found.vectors, found.vectors)
    if spec.closest == COINCIDENT:
        apart = np.abs(found.atoms[found.center] - found.atoms[found.neighbor])
        squares[apart == found.natoms // 2] = np.inf  # an atom and its own virtual atom
        if squares.min() > 0.0:
            return
    p = int(np.argmin(squares))
    distance = float(np.sqrt(squares[p]))
    if found.nearest > 0.0 and distance >= spec.closest:
        return
    i, j = (int(found.atoms[row[p]]) for row in (found.center, found.neighbor))
    if found.nearest > 0.0:
        raise DataError(
            f"Atoms {i} and {j} of {where} are {distance:.3g} Å apart, but the pair table of the model begins at "
            f"{spec.closest:g} Å. Give a table that begins at shorter distances, or leave the structure out."
        )
    half = found.natoms // 2
    if spec.closest == COINCIDENT and max(i, j) >= half:
        names = [f"virtual atom of atom {k - half}" if k >= half else f"atom {k}" for k in (i, j)]
        raise DataError(
            f"The {names[0]} and the {names[1]} of {where} are at the same place. Check the coordinates and the spins."
        )
    raise DataError(f"Atoms {i} and {j} of {where} are at the same place. Remove one of them.")


class MovingPairs:
    """The pairs of a frame that moves: found with a skin, and again only when atoms or cell have moved too far.

    Two atoms or images that are not in the list were more than rcut + skin apart. They are beyond the cutoff as long
    as the strain of the cell and what the atoms moved beyond that strain cannot bring them nearer by the skin.
    """

    def __init__(self, spec: NeighborSpec, skin: float):
        self.searches = 0
        self._spec = spec
        self._skin = skin
        self._pairs: PairList | None = None

    def __call__(self, coord: Floats, cell: Floats | None, types: Ints) -> PairList:
        """The pairs for these coordinates; see ``frame_pairs``."""
        if self._pairs is None or not self._still_good(coord, cell, types):
            self._pairs = frame_pairs(coord, cell, types, self._spec, self._skin)
            self._coord, self._cell, self._types = coord.copy(), None if cell is None else cell.copy(), types.copy()
            self.searches += 1
        return self._pairs

    def _still_good(self, coord: Floats, cell: Floats | None, types: Ints) -> bool:
        if (cell is None) != (self._cell is None) or not np.array_equal(types, self._types):
            return False
        strained, longest = self._coord, 1.0
        if cell is not None and self._cell is not None and not np.array_equal(cell, self._cell):
            if abs(np.linalg.det(cell)) < 1e-10 * np.prod(np.linalg.norm(cell, axis=1)):
                return False  # no cell at all, which the search will say
            strained = self._coord @ np.linalg.solve(self._cell, cell)
            longest = float(np.linalg.norm(np.linalg.solve(cell, self._cell), 2))
        rest = coord - strained
        rest = rest - rest.mean(axis=0) if len(rest) else rest  # moving all atoms alike changes nothing
        apart = 2.0 * float(np.linalg.norm(rest, axis=1).max(initial=0.0))
        # d' = F d + rest_j − rest_i with the strain F, so |d| ≤ |F⁻¹| (|d'| + apart)
        return longest * (self._spec.rcut + apart) < self._spec.rcut + self._skin


def rank_in_group(group: NDArray[np.integer], count: int) -> Ints:
    """Position of each element inside its group; the groups are contiguous and sorted."""
    sizes = np.bincount(group, minlength=count)
    starts: Ints = np.cumsum(sizes) - sizes
    ranks: Ints = np.arange(len(group)) - starts[group]
    return ranks


def _counts(row: Rows, types: Ints, distance: Floats, rows: int, spec: NeighborSpec) -> Ints:
    """How many neighbours each row has within the cutoff, by block: (rows, blocks)."""
    near = distance <= spec.rcut
    group = row[near] * spec.blocks + (types[near] if spec.in_blocks else 0)
    return np.bincount(group, minlength=rows * spec.blocks).reshape(-1, spec.blocks)


def _shells(rank: Ints, distance: Floats, spec: NeighborSpec) -> Rows:
    """The slot block of each pair, from its rank among the neighbours of its row."""
    shell = np.zeros(len(rank), np.int32)
    for radius, most in spec.shells:
        shell += (rank >= most) | (distance >= radius)
    return shell


def _banned(spec: NeighborSpec) -> NDArray[np.bool_]:
    """Which pairs of types do not see each other: (ntypes, ntypes)."""
    banned = np.zeros((spec.ntypes, spec.ntypes), bool)
    for a, b in spec.exclude:
        banned[a, b] = banned[b, a] = True
    return banned


def _within_sel(
    row: Rows, group: Ints, distance: Floats, per_block: Ints, spec: NeighborSpec
) -> NDArray[np.bool_] | None:
    """Which pairs the limits of sel keep; None for all."""
    sel, total, rows = spec.limits[:-1], spec.limits[-1], len(per_block)
    if per_block.sum(axis=1).max(initial=0) <= total and (per_block.max(axis=0, initial=0) <= sel).all():
        return None
    by_distance = np.lexsort((distance, row))
    keep = np.empty(len(row), bool)
    keep[by_distance] = rank_in_group(row[by_distance], rows) < total
    # nearest first inside a block, so that the first sel[t] of a block are its nearest, cut or not
    return keep & (rank_in_group(group, rows * spec.blocks) < sel[group % spec.blocks])
