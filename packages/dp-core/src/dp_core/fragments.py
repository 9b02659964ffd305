"""Fragments of a frame: the QM region and MM residues, each of which a model sees together with the QM region alone.

The atomic parameter of an atom is the number of its fragment: 0 for the QM region, 1, 2, … for residues, −1 for an atom
that is not there. In the energy of the region and one residue every atom of the region has neighbours of its own, so
that a table of atoms comes with *copies* of its rows: which row, and which residue it sees beside the region. All
residues beyond the cutoff of an atom leave it the same energy; one copy stands for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp_core.errors import DataError
from dp_core.module import Array, module

Ints = NDArray[np.int64]


@module
class Copies:
    """Rows of a table, each seen with some of its neighbours: m copies."""

    row: Array  # (m,); −1 for padding
    fragment: Array  # (m,), the neighbours of this fragment and of the QM region are seen
    weight: Array  # (m,), how many times the energy counts; 0 for padding


@module
class Fragments:
    """The fragments of a table with n rows and K slots."""

    region: Array  # (n,), 1.0 for atoms of the QM region, else 0.0
    neighbor: Array  # (n, K), fragment of the neighbour; −1 in an empty slot
    alone: Copies  # the QM region without residues
    pairs: Copies  # the QM region and one residue, for each residue


def in_region(aparam: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which atoms are in the QM region. aparam: (N, 1). Raises DataError for what numbers no fragment."""
    found: NDArray[np.bool_] = numbers(aparam) == 0
    return found


def numbers(aparam: NDArray[np.floating]) -> Ints:
    """The fragments of atoms, from (N, 1) atomic parameters. Raises DataError for what numbers no fragment."""
    given = np.asarray(aparam, np.float64).reshape(-1)
    found = np.rint(given)
    wrong = np.flatnonzero(~((found == given) & (found >= -1)))
    if len(wrong):
        raise DataError(
            f"aparam is {given[wrong[0]]:g} for atom {wrong[0]}; the model takes fragments: 0 for the QM region, "
            "1, 2, … for MM residues, −1 for atoms that are not there."
        )
    return found.astype(np.int64)


def table_fragments(
    of_atoms: Ints,
    owner: Ints,
    index: Ints,
    frame: Ints,
    residues: Ints,
    round_rows: Callable[[int], int],
) -> Fragments:
    """The fragments of a table.

    of_atoms: (atoms,) fragments; owner: (n + ghosts,) atom of each row, −1 for padding; index: (n, K) row or ghost row
    of each neighbour, −1 in an empty slot; frame: (n,); residues: (frames,) residues of each frame.
    """
    n = len(frame)
    of_rows = np.append(of_atoms, -1)[owner]
    neighbor = np.where(index >= 0, np.append(of_rows, -1)[index], -1)
    region = np.flatnonzero(of_rows[:n] == 0)
    apart = np.flatnonzero(of_rows[:n] > 0)
    row, slot = np.nonzero(neighbor[region] > 0)
    near = np.unique(np.stack([region[row], neighbor[region][row, slot]], axis=1), axis=0)
    far = residues[frame[region]] - np.bincount(near[:, 0], minlength=n)[region]
    left = far > 0
    pairs = _copies(
        np.concatenate([region[left], near[:, 0], apart]),
        np.concatenate([np.zeros(left.sum(), np.int64), near[:, 1], of_rows[apart]]),
        np.concatenate([far[left], np.ones(len(near) + len(apart))]),
        round_rows,
    )
    alone = _copies(region, np.zeros_like(region), np.ones(len(region)), round_rows)
    return Fragments((of_rows[:n] == 0).astype(np.float64), neighbor, alone, pairs)


def _copies(row: Ints, fragment: Ints, weight: NDArray[Any], round_rows: Callable[[int], int]) -> Copies:
    """Copies, made more by padding; one at least, because compiled programs do not take tables without rows."""
    more = max(1, round_rows(len(row))) - len(row)
    return Copies(
        np.concatenate([row, np.full(more, -1)]),
        np.concatenate([fragment, np.full(more, -1)]),
        np.concatenate([np.asarray(weight, np.float64), np.zeros(more)]),
    )
