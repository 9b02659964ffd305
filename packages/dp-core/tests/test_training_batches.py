"""Frames and batches: neighbours once, a limit to memory, parts of one sequence for several processes."""

from __future__ import annotations

import pytest

from dp_core.data import Label, Sampler, open_systems
from dp_core.data.budget import Budget
from dp_core.errors import DataError
from dp_core.neighbors import NeighborSpec
from dp_core.training import frames
from dp_core.training.batches import BatchSource
from dp_core.training.frames import FrameStore
from dp_core.training.timeline import Timeline

SPEC = NeighborSpec(3.0, (20, 20), True, 2)
LABELS = [Label("energy", 1), Label("force", 3, atomic=True)]


@pytest.fixture
def systems(tiny, tmp_path):
    tiny()
    return open_systems(["data/a", "data/b"], ["O", "H"], base=tmp_path)


def store_of(systems, budget, spec=SPEC, warn=pytest.fail):
    return FrameStore(systems, LABELS, spec, budget, warn)


def test_neighbours_are_found_once_while_memory_lasts(systems, monkeypatch):
    found = []
    search = frames.named_neighbors
    monkeypatch.setattr(frames, "named_neighbors", lambda *a: found.append(1) or search(*a))
    places = [(k, i) for k, system in enumerate(systems) for i in range(system.nframes)]

    def searches(budget):
        found.clear()
        store = store_of(systems, budget)
        first, again = ([store[place][1] for place in places] for _ in range(2))
        assert all((a.vectors == b.vectors).all() for a, b in zip(first, again))
        assert budget.left >= 0
        return len(found)

    plenty = Budget(10**9)
    assert searches(plenty) == len(places)
    assert searches(Budget(0)) == 2 * len(places)
    half = Budget((10**9 - plenty.left) // 2)
    assert len(places) < searches(half) < 2 * len(places)


def test_too_small_sel_is_told_once_for_each_number(systems):
    told = []
    store = store_of(systems, Budget(0), NeighborSpec(3.0, (1, 1), True, 2), told.append)
    for _ in range(2):
        for i in range(systems[1].nframes):
            _ = store[1, i]
    assert 1 <= len(told) <= systems[1].nframes
    assert "data/b" in told[0]
    assert "Set sel to at least [" in told[0]


def test_frames_are_checked(systems, tmp_path):
    import numpy as np

    path = tmp_path / "data/a/set.000/energy.npy"
    energy = np.load(path)
    energy[3] = np.inf
    np.save(path, energy)
    store = store_of(systems, Budget(0))
    _ = store[0, 2]
    with pytest.raises(DataError, match=r"data/a.*frame 3.*energy is inf"):
        _ = store[0, 3]


def test_processes_share_one_sequence(systems):
    def source(part):
        sampler = Sampler(systems, 1, seed=3)
        return BatchSource(
            systems, sampler, store_of(systems, Budget(10**9)), lambda items: None, Timeline(False), part
        )

    whole, parts = source((0, 1)), [source((k, 3)) for k in range(3)]
    for _ in range(5):
        together = [whole.draw() for _ in parts]
        apart = [part.draw() for part in parts]
        assert [d.places for d in apart] == [d.places for d in together]
        assert all(d.sampler == together[-1].sampler for d in apart)
