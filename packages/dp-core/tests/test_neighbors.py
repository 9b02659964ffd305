from __future__ import annotations

import itertools

import numpy as np
import pytest

from dp_core.batching import build_batch
from dp_core.errors import DataError
from dp_core.neighbors import MovingPairs, NeighborSpec, frame_neighbors, frame_pairs, row_neighbors

CELLS = {
    "open": None,
    "large": np.diag([9.0, 10.0, 11.0]),
    "triclinic": np.array([[5.0, 0.3, 0.0], [-1.5, 4.0, 0.2], [0.8, 1.0, 4.5]]),
    "smaller than the cutoff": np.array([[2.1, 0.0, 0.4], [0.5, 2.4, 0.0], [0.0, -0.3, 1.9]]),
}


def brute_force(coord, cell, rcut):
    """Every pair: center, neighbour and vector, in one sorted array."""
    shifts = np.zeros((1, 3))
    if cell is not None:
        shifts = np.array(list(itertools.product(range(-8, 9), repeat=3))) @ cell
    rows = []
    for i, j in itertools.product(range(len(coord)), repeat=2):
        vectors = coord[j] + shifts - coord[i]
        distance = np.linalg.norm(vectors, axis=1)
        near = (distance <= rcut) & (distance > 1e-10)
        rows += [[i, j, *v] for v in vectors[near]]
    return in_order(np.array(rows).reshape(-1, 5))


def in_order(pairs):
    rounded = np.round(pairs, 9) + 0.0
    return rounded[np.lexsort(rounded.T)]


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
@pytest.mark.parametrize("natoms", [1, 2, 7])
def test_all_pairs_are_found(cell, natoms):
    random = np.random.default_rng(natoms)
    coord = random.uniform(-2, 4, (natoms, 3))  # inside and outside of the cell
    types = np.zeros(natoms, int)
    found = frame_neighbors(coord, cell, types, NeighborSpec(3.0, (1000,), by_type=False, ntypes=1))
    pairs = np.column_stack([found.atoms[found.center], found.atoms[found.neighbor], found.vectors])
    np.testing.assert_allclose(in_order(pairs), brute_force(coord, cell, 3.0), atol=1e-8)


def test_slots_are_sorted_and_limited():
    random = np.random.default_rng(0)
    coord, types = random.uniform(0, 5, (30, 3)), random.integers(0, 3, 30)
    spec = NeighborSpec(4.0, (4, 0, 6), by_type=True, ntypes=3)
    table = build_batch([frame_neighbors(coord, None, types, spec)], spec)
    t = table.table
    assert t.row_counts == tuple(np.bincount(types))
    assert t.slot_counts == (4, 0, 6)
    assert np.all(np.diff(t.types) >= 0)
    r = np.linalg.norm(t.vectors, axis=-1)
    for n, (block, kind) in itertools.product(range(30), [(slice(0, 4), 0), (slice(4, 10), 2)]):
        used = t.index[n, block] >= 0
        assert np.all(t.neighbor_types[n, block][used] == kind)
        assert np.all(np.diff(r[n, block][used]) >= 0)
    # the nearest sum(sel) = 10 of all types are kept first
    center = coord[table.rows[0]]
    tenth = np.sort(np.linalg.norm(coord - center, axis=1))[10]
    assert r[0].max() <= tenth + 1e-12


def test_excluded_pairs_count_for_the_limit():
    coord = np.array([[0.0, 0, 0], [1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]])
    types = np.array([0, 1, 0, 0])
    spec = NeighborSpec(5.0, (2,), by_type=False, ntypes=2, exclude=frozenset([(1, 0)]))
    found = frame_neighbors(coord, None, types, spec)
    of_first = found.atoms[found.neighbor[found.center == 0]]
    assert of_first.tolist() == [2]
    assert found.wanted.tolist() == [3, 3]


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_parts_hold_the_rows_of_the_whole(cell):
    random = np.random.default_rng(3)
    coord, types = random.uniform(0, 4, (11, 3)), np.array([0, 1, -1, 1, 0, 1, 1, -1, 0, 0, 1])
    spec = NeighborSpec(2.5, (60, 60), by_type=True, ntypes=2)
    pairs = frame_pairs(coord, cell, types, spec)
    whole = row_neighbors(pairs, coord, cell, spec)
    parts = [row_neighbors(pairs, coord, cell, spec, a, b) for a, b in [(0, 1), (1, 6), (6, 9)]]
    for name in ("center", "neighbor", "slot", "vectors"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name))

    for part in parts:
        batch = build_batch([part], spec)
        index, n = batch.table.index, len(batch.table.types)
        assert len(np.unique(batch.owner)) == len(batch.owner)  # one row or ghost row an atom
        expected = whole.atoms[part.neighbor]
        slots = np.argwhere(index >= 0)
        assert len(slots) == len(expected)
        assert sorted(batch.owner[index[index >= 0]]) == sorted(expected)
        assert index.max(initial=-1) < len(batch.owner)
        np.testing.assert_array_equal(batch.rows, part.atoms[part.start : part.stop])
        assert n == part.stop - part.start


def test_moving_pairs_equal_fresh_ones():
    random = np.random.default_rng(4)
    cell = CELLS["triclinic"]
    coord, types = random.uniform(0, 4, (9, 3)), random.integers(0, 2, 9)
    spec = NeighborSpec(3.0, (80, 80), by_type=True, ntypes=2)
    moving = MovingPairs(spec, skin=0.4)
    steps = 40
    for _ in range(steps):
        coord = coord + random.normal(scale=0.03, size=coord.shape)
        cell = cell * (1 + random.normal(scale=1e-4))
        found = row_neighbors(moving(coord, cell, types), coord, cell, spec)
        fresh = frame_neighbors(coord, cell, types, spec)
        a, b = (in_order(np.column_stack([f.center, f.neighbor, f.vectors])) for f in (found, fresh))
        np.testing.assert_allclose(a, b, atol=1e-8)
    assert 1 < moving.searches < steps / 2

    count = moving.searches
    moving(coord, cell, 1 - types)
    moving(coord, None, 1 - types)
    moving(coord, cell, 1 - types)
    moving(coord, cell @ np.diag([1.0, 1.0, 1.3]), 1 - types)
    assert moving.searches == count + 4


@pytest.mark.parametrize(
    ("coord", "before", "after"),
    [
        ([[0, 0, 0]], np.eye(3) * 20.0, np.eye(3) * 2.5),  # no pair was in the list
        ([[0, 0, 0], [4.4, 0, 0]], np.diag([4.0, 9, 9]), np.diag([3.55, 9, 9])),  # an image two cells away comes near
    ],
)
def test_moving_pairs_see_images_that_the_cell_brings_near(coord, before, after):
    """A cell that shrinks may bring images near that no pair of the list crosses."""
    spec = NeighborSpec(3.0, (80, 80), by_type=True, ntypes=2)
    coord, types = np.array(coord, float), np.zeros(len(coord), int)
    moving = MovingPairs(spec, skin=0.5)
    moving(coord, before, types)
    found = row_neighbors(moving(coord, after, types), coord, after, spec)
    assert len(found.center) == len(frame_neighbors(coord, after, types, spec).center) > 0


def test_moving_pairs_ignore_what_changes_no_distance():
    spec = NeighborSpec(3.0, (80, 80), by_type=True, ntypes=2)
    random = np.random.default_rng(5)
    coord, types, cell = random.uniform(0, 8, (20, 3)), random.integers(0, 2, 20), np.eye(3) * 8.0
    moving = MovingPairs(spec, skin=0.5)
    for shift in (0.0, 3.0, -40.0):
        moving(coord + shift, cell, types)
    for strain in (1.001, 0.999, 1.01):
        moving(coord * strain, cell * strain, types)
    assert moving.searches == 1


def test_no_atoms():
    spec = NeighborSpec(3.0, (5,), by_type=False, ntypes=1)
    found = frame_neighbors(np.zeros((2, 3)), None, np.array([-1, -1]), spec)
    batch = build_batch([found], spec)
    assert batch.table.vectors.shape == (0, 0, 3)
    assert batch.to_atoms(np.zeros((0, 2))).shape == (2, 2)
    assert build_batch([], spec).table.types.shape == (0,)


@pytest.mark.parametrize(
    ("coord", "cell", "types", "message"),
    [
        ([[0, 0, 0]], None, [2], "Atom 0 has type 2, but the model knows types 0 to 1"),
        ([[0, 0, 0], [0, np.nan, 0]], None, [0, 1], "Atom 1 has the coordinates"),
        ([[0, 0, 0]], np.zeros((3, 3)), [0], "has no volume"),
        ([[0, 0, 0]], np.ones((3, 3)), [0], "has no volume"),
        ([[0, 0, 0]], np.eye(3) * 0.1, [0], "check that lengths are in Å"),
    ],
)
def test_impossible_structures(coord, cell, types, message):
    spec = NeighborSpec(4.5, (5, 5), by_type=True, ntypes=2)
    with pytest.raises(DataError, match=message):
        frame_neighbors(np.array(coord, float), cell, np.array(types), spec)
