"""One table of neighbours for several models or descriptors, and what each of them sees of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.errors import ConfigError
from dp_core.module import Array, replace
from dp_core.neighbors import Neighborhood, NeighborSpec


def shared_spec(specs: Sequence[NeighborSpec], ntypes: int, exclude: Iterable[tuple[int, int]]) -> NeighborSpec:
    """The neighbours of a table in which every one of the specs finds its own.

    ntypes: types of the table; exclude: pairs of them that do not see each other.
    """
    by_type = all(s.by_type and s.sel == specs[0].sel for s in specs)
    split = not by_type and any(s.in_blocks for s in specs)
    sel = specs[0].sel if by_type else (max(sum(s.sel) for s in specs),)
    return NeighborSpec(
        max(s.rcut for s in specs),
        sel[:ntypes] if by_type else sel,
        by_type,
        ntypes,
        frozenset(exclude),
        shells=() if by_type or split else _nested(specs),
        split=split,
        types_alone=any(s.types_alone for s in specs),
        marks_first=any(s.marks_first for s in specs),
        closest=max(s.closest for s in specs),
        parts=_different(specs),
    )


def _different(specs: Sequence[NeighborSpec]) -> tuple[NeighborSpec, ...]:
    """The specs without those that limit neighbours no further than another one with the same cutoff."""
    parts = [part for s in specs for part in s.parts or (s,)]
    limits = {(p.rcut, p.types_alone, p.sel if p.by_type else (sum(p.sel),)): p for p in parts}
    totals = {(p.rcut, sum(p.sel)) for p in parts if p.by_type and not p.types_alone}
    return tuple(p for p in limits.values() if p.by_type or (p.rcut, sum(p.sel)) not in totals)


def _nested(specs: Sequence[NeighborSpec]) -> tuple[tuple[float, int], ...]:
    """A shell for each spec and its own shells, but for the largest; none where one is not inside the next."""
    shells = sorted({shell for s in specs for shell in (*s.shells, (s.rcut, sum(s.sel)))})
    nested = all(inner[1] <= outer[1] for inner, outer in pairwise(shells))
    return tuple(shells[:-1]) if nested else ()


def seen(table: Neighborhood, shared: NeighborSpec, own: NeighborSpec, types: Sequence[int]) -> Neighborhood:
    """The part of a shared table that a model with its own spec sees, with the numbers that it has for the types.

    types: what the model calls each type of the table.
    """
    if own.in_blocks:
        view = _blocks(table, shared, own)
    elif shared.in_blocks:
        view = _one_block(merged(table), shared, own)
    elif shared.shells:
        view = _joined_shells(table, shared, own)
    else:
        view = _one_block(table, shared, own)
    if tuple(types) != tuple(range(len(types))):
        view = replace(view, types=_renamed(view.types, types), neighbor_types=_renamed(view.neighbor_types, types))
    return _without_pairs(view, own) if own.exclude else view


def check_blocks(own: NeighborSpec, types: Sequence[int], name: str) -> None:
    """Raise ConfigError if a model with networks by type has other numbers for the types than the table."""
    if own.in_blocks and tuple(types) != tuple(range(own.ntypes)):
        raise ConfigError(
            f"{name} has networks of certain types, so that its type_map must be that of the whole model, in the same "
            "order. Give it the same type_map, or a descriptor of mixed types such as dpa1."
        )


def _blocks(table: Neighborhood, shared: NeighborSpec, own: NeighborSpec) -> Neighborhood:
    """Blocks by type: the nearest of all types together first, then the nearest of each type."""
    total = sum(own.sel)
    limits = tuple(own.sel) if own.by_type else (total,) * own.ntypes
    keep = None if limits == shared.sel else nearest(table, limits)
    if not own.types_alone and (total < sum(shared.sel) or shared.types_alone):
        near = namespace(table.vectors).argsort(_by_distance(table), axis=-1) < total  # the rank of each slot
        keep = near if keep is None else namespace(near).logical_and(near, keep)
    return _within(table, shared, own, keep)


def _one_block(table: Neighborhood, shared: NeighborSpec, own: NeighborSpec) -> Neighborhood:
    limits = (sum(own.sel),)
    full = limits == shared.sel and not shared.types_alone
    return _within(table, shared, own, None if full else nearest(table, limits))


def _within(table: Neighborhood, shared: NeighborSpec, own: NeighborSpec, keep: Array | None) -> Neighborhood:
    """The table without the neighbours beyond the cutoff, and without those that are not to be kept."""
    if own.rcut < shared.rcut:
        xp = namespace(table.vectors)
        near = xp.sum(table.vectors * table.vectors, axis=-1) <= own.rcut**2
        keep = near if keep is None else xp.logical_and(near, keep)
    return table if keep is None else kept(table, keep)


def _joined_shells(table: Neighborhood, shared: NeighborSpec, own: NeighborSpec) -> Neighborhood:
    """The blocks of slots that are inside the cutoff, as one block for each shell that the model has, and the rest.

    Joined blocks have empty slots in between. Models with shells take that; for others neighbours come first again.
    """
    shells = [*shared.shells, (shared.rcut, sum(shared.sel))]
    ends = [shells.index(shell) + 1 for shell in (*own.shells, (own.rcut, sum(own.sel)))]
    counts = tuple(sum(table.slot_counts[a:b]) for a, b in pairwise([0, *ends]))
    joined = replace(first_blocks(table, ends[-1]), slot_counts=counts)
    return merged(joined) if ends[-1] > 1 and not own.shells else joined


def first_blocks(table: Neighborhood, count: int) -> Neighborhood:
    """The table with its first blocks of slots only."""
    if count == len(table.slot_counts):
        return table

    def cut(x: Array) -> Array:
        return arrays.concat(arrays.split(x, table.slot_counts, axis=1)[:count], axis=1)

    return replace(
        table,
        vectors=cut(table.vectors),
        index=cut(table.index),
        neighbor_types=cut(table.neighbor_types),
        slot_counts=table.slot_counts[:count],
    )


def _renamed(types: Array, names: Sequence[int]) -> Array:
    """Other numbers for types; what is negative tells a type too, see ``Neighborhood``."""
    xp = namespace(types)
    table = arrays.constant(list(names), like=types)
    marks = arrays.take(table, xp.maximum(-2 - types, xp.zeros_like(types)))
    negative = xp.where(types < -1, -2 - marks, types)
    return xp.where(types < 0, negative, arrays.take(table, xp.maximum(types, xp.zeros_like(types))))


def _without_pairs(table: Neighborhood, own: NeighborSpec) -> Neighborhood:
    """The table without the neighbours that the model excludes."""
    xp = namespace(table.vectors)
    allowed = np.ones((own.ntypes, own.ntypes))
    for a, b in own.exclude:
        allowed[a, b] = allowed[b, a] = 0.0
    first, second = (xp.maximum(t, xp.zeros_like(t)) for t in (table.types, table.neighbor_types))
    pairs = arrays.constant(allowed.ravel().tolist(), like=table.vectors)
    return kept(table, arrays.take(pairs, first[:, None] * own.ntypes + second) > 0.5)


def nearest(table: Neighborhood, limits: Sequence[int]) -> Array | None:
    """The first slots of every block, as many as its limit: (1, K) bool; None if that is all."""
    if all(isinstance(count, int) and count <= most for count, most in zip(table.slot_counts, limits, strict=True)):
        return None
    blocks = zip(table.slot_counts, limits, strict=True)
    return arrays.concat([arrays.positions(count, like=table.vectors) < most for count, most in blocks])[None, :]


def kept(table: Neighborhood, keep: Array) -> Neighborhood:
    """The table with only some of its neighbours, the other slots empty. keep: (n, K) or (1, K) bool."""
    xp = namespace(table.vectors, keep)

    def filled(x: Array) -> Array:
        return xp.where(xp.logical_or(keep, x < 0), x, xp.full_like(x, -1))  # what empty slots tell stays

    return replace(
        table,
        vectors=xp.where(keep[..., None], table.vectors, xp.zeros_like(table.vectors)),
        index=filled(table.index),
        neighbor_types=filled(table.neighbor_types),
    )


def merged(table: Neighborhood) -> Neighborhood:
    """A table with neighbours in any order as one with a single block, in which the nearest neighbour comes first."""
    xp = namespace(table.vectors)
    order = _by_distance(table)
    n, k = arrays.shape(order)
    place = xp.reshape(arrays.positions(n * k, like=table.vectors), (n, k))[:, :1] + order

    def sorted_slots(x: Array) -> Array:
        return arrays.take(xp.reshape(x, (n * k, *arrays.shape(x)[2:])), place)

    return replace(
        table,
        vectors=sorted_slots(table.vectors),
        index=sorted_slots(table.index),
        neighbor_types=sorted_slots(table.neighbor_types),
        row_counts=(n,),
        slot_counts=(k,),
    )


def _by_distance(table: Neighborhood) -> Array:
    """The slots of each row, the nearest neighbour first, empty ones last: (n, K)."""
    xp = namespace(table.vectors)
    squares = xp.sum(table.vectors * table.vectors, axis=-1)
    return xp.argsort(xp.where(table.neighbor_types >= 0, squares, xp.full_like(squares, float("inf"))), axis=-1)
