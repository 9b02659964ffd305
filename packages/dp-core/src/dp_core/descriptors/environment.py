"""The environment matrix of a neighbourhood, shared by the descriptors: its rows, their normalisation, empty slots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.module import Array, replace
from dp_core.neighbors import Neighborhood

#: Nothing beside any product of two neighbours, but not 0, which is that of an empty slot.
TINY = 1e-30


def smooth_switch(r: Array, rcut_smth: float, rcut: float) -> Array:
    """1 below rcut_smth, 0 beyond rcut, 1 − 10u³ + 15u⁴ − 6u⁵ between (C2; Zhang et al., NeurIPS 2018)."""
    xp = namespace(r)
    u = (r - rcut_smth) / (rcut - rcut_smth)
    u = xp.minimum(xp.maximum(u, xp.zeros_like(u)), xp.ones_like(u))
    return 1.0 + u * u * u * (-10.0 + u * (15.0 - 6.0 * u))


def environment_matrix(
    vectors: Array, occupied: Array, *, rcut: float, rcut_smth: float, protection: float
) -> tuple[Array, Array]:
    """Radial and angular rows of the environment matrix, zero in empty slots.

    vectors: (n, K, 3) Å; occupied: (n, K) bool. Returns w/(r+p) as (n, K, 1) and w·d/(r+p)² as (n, K, 3), with the
    smooth switch w (descriptor DeepPot-SE).
    """
    xp = namespace(vectors, occupied)
    r = arrays.safe_norm(vectors, occupied)
    w = xp.where(occupied, smooth_switch(r, rcut_smth, rcut), xp.zeros_like(r))
    inverse = 1.0 / (r + protection) if protection else 1.0 / r
    radial = w * inverse
    return radial[..., None], vectors * (radial * inverse)[..., None]


def normalized(matrix: Array, davg: Array, dstd: Array, table: Neighborhood, *, by_slot: bool) -> Array:
    """(matrix − davg)/dstd by type of the centre: (n, K, d), with davg and dstd (ntypes, sum(sel), d).

    Empty slots are 0, unless every slot is evaluated (``by_slot``, see ``with_all_slots``).
    """
    xp = namespace(matrix, davg)
    types = xp.maximum(table.types, xp.zeros_like(table.types))
    if by_slot:
        return (matrix - arrays.take(davg, types)) / arrays.take(dstd, types)
    scale = 1.0 / dstd[:, 0, :]
    shift = arrays.take(davg[:, 0, :] * scale, types)[:, None, :]
    scaled = matrix * arrays.take(scale, types)[:, None, :] - shift
    return xp.where((table.neighbor_types >= 0)[..., None], scaled, xp.zeros_like(scaled))


def masked(matrix: Array, table: Neighborhood, ntypes: int, exclude: Sequence[tuple[int, int]]) -> Array:
    """The matrix (n, K, d), zero where the pair of types is excluded; empty slots are never excluded."""
    if not exclude:
        return matrix
    xp = namespace(matrix)
    mask = arrays.constant(pair_table(ntypes, exclude), like=matrix)
    center, neighbor = (xp.where(t < 0, xp.full_like(t, ntypes), t) for t in (table.types, table.neighbor_types))
    pair = center[:, None] * (ntypes + 1) + neighbor
    return matrix * arrays.take(xp.reshape(mask, (-1,)), pair)[..., None]


def pair_table(ntypes: int, exclude: Iterable[tuple[int, int]]) -> np.ndarray:
    """0 for excluded pairs (both orders), else 1: (ntypes + 1, ntypes + 1); the last type is that of an empty slot."""
    table = np.ones((ntypes + 1, ntypes + 1))
    for a, b in exclude:
        table[a, b] = table[b, a] = 0.0
    return table


def seen(table: Neighborhood, ntypes: int, exclude: Sequence[tuple[int, int]]) -> Array:
    """Which slots have a neighbour whose type the centre sees: (n, K) bool."""
    occupied = table.neighbor_types >= 0
    if not exclude:
        return occupied
    xp = namespace(table.vectors)
    real = arrays.cast(occupied, "float64")[..., None]
    return xp.logical_and(occupied, masked(real, table, ntypes, exclude)[..., 0] > 0.5)


def empty_counts(occupied: Array, table: Neighborhood, sel: Sequence[int], precision: str) -> Array:
    """How many slots of each block are empty, of as many as the format has: (n, K) bool -> (n, blocks)."""
    xp = namespace(occupied)
    blocks = arrays.split(occupied, table.slot_counts, axis=1)
    return arrays.concat(
        [
            want - xp.sum(arrays.cast(block, precision), axis=1)[:, None]
            for want, block in zip(sel, blocks, strict=True)
        ],
        axis=1,
    )


def differ_between_slots(davg: np.ndarray, dstd: np.ndarray) -> bool:
    """Whether statistics (ntypes, slots, d) are not the same for all slots; no statistics of dp are."""
    return bool(np.any(davg != davg[:, :1]) or np.any(dstd != dstd[:, :1]))


def with_all_slots(table: Neighborhood, sel: Sequence[int]) -> Neighborhood:
    """The table with every slot block as long as its ``sel``: empty slots are added, more distant neighbours cut."""

    def widen(x: Array, fill: float) -> Array:
        xp = namespace(x)
        blocks = []
        for block, count in zip(arrays.split(x, table.slot_counts, axis=1), sel, strict=True):
            rest = (arrays.shape(x)[0], count, *arrays.shape(x)[2:])
            empty = xp.broadcast_to(arrays.constant(fill, like=x), rest)
            blocks.append(xp.concat([block, empty], axis=1)[:, :count, ...])
        return arrays.concat(blocks, axis=1)

    return replace(
        table,
        vectors=widen(table.vectors, 0.0),
        index=widen(table.index, -1),
        neighbor_types=widen(table.neighbor_types, -1),
        slot_counts=tuple(sel),
    )


def environment_document(rcut: float, rcut_smth: float, protection: float) -> dict[str, Any]:
    """The part ``env_mat`` of a document, which repeats what the descriptor says."""
    return {"rcut": rcut, "rcut_smth": rcut_smth, "protection": protection, "use_exp_switch": False}
