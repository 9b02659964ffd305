"""The environment matrix of a neighbourhood, shared by the descriptors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.module import Array


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


def pair_table(ntypes: int, exclude: Iterable[tuple[int, int]]) -> np.ndarray:
    """0 for excluded pairs (both orders), else 1: (ntypes + 1, ntypes + 1); the last type is that of an empty slot."""
    table = np.ones((ntypes + 1, ntypes + 1))
    for a, b in exclude:
        table[a, b] = table[b, a] = 0.0
    return table
