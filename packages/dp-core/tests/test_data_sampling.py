"""Batches: every size rule, every probability rule, passes, restarts."""

import json
import logging
from collections import Counter

import numpy as np
import pytest

from dp_core.data import Frame, Sampler, open_systems, write_npy_system
from dp_core.data.sampling import batch_rules, system_probabilities
from dp_core.errors import ConfigError, DataError


@pytest.fixture
def systems(tmp_path):
    """Three systems of 2, 3 and 8 atoms with 10, 7 and 4 frames."""
    return make(tmp_path, (2, 10), (3, 7), (8, 4))


def make(path, *shapes):
    for k, (natoms, nframes) in enumerate(shapes):
        coord = np.arange(3.0 * natoms).reshape(natoms, 3)
        frames = [Frame(0, i, coord + i, None, np.zeros(natoms, int), {}, frozenset()) for i in range(nframes)]
        write_npy_system(path / f"s{k}", frames, ["H"])
    return open_systems(str(path))


def draw(sampler, count):
    return [sampler.next() for _ in range(count)]


class TestRules:
    @pytest.mark.parametrize(
        ("batch_size", "expected"),
        [
            (3, [3, 3, 3]),
            ([1, 2, 4], [1, 2, 4]),
            ("auto", [16, 11, 4]),
            ("auto:6", [3, 2, 1]),
            ("max:6", [3, 2, 1]),
            ("max:7", [3, 2, 1]),
            ("filter:8", [4, 2, 1]),
        ],
    )
    def test_frames_per_batch(self, systems, batch_size, expected):
        assert [row.batch_size for row in Sampler(systems, batch_size, seed=0).table()] == expected

    @pytest.mark.parametrize("batch_size", [1, 3, [1, 2, 3], "auto", "auto:7", "max:6", "filter:20"])
    def test_a_batch_is_of_one_system_and_a_pass_is_complete(self, systems, batch_size):
        sampler = Sampler(systems, batch_size, seed=4)
        size = {k: row.batch_size for k, row in enumerate(sampler.table())}
        seen = {0: [], 1: [], 2: []}
        for batch in draw(sampler, 60):
            (system,) = {s for s, _ in batch}
            assert 1 <= len(batch) <= size[system]
            seen[system].append([i for _, i in batch])
        for system, batches in seen.items():
            count = systems[system].nframes
            per_pass = -(-count // min(size[system], count))
            for start in range(0, len(batches) - per_pass + 1, per_pass):
                one_pass = batches[start : start + per_pass]
                assert sorted(i for batch in one_pass for i in batch) == list(range(count))
                assert all(len(batch) == min(size[system], count) for batch in one_pass[:-1])

    def test_filter_leaves_out_large_systems_and_says_so(self, systems, caplog):
        with caplog.at_level(logging.WARNING, "dp_core.data"):
            sampler = Sampler(systems, "filter:6", seed=0)
        assert "filter:6 leaves out 4 frames" in caplog.text
        assert {s for batch in draw(sampler, 50) for s, _ in batch} == {0, 1}
        assert sampler.table()[2].probability == 0
        with pytest.raises(DataError, match="filter:1 leaves no frame"):
            Sampler(systems, "filter:1")

    def test_mixed_draws_each_frame_from_any_system(self, systems):
        batches = draw(Sampler(systems, "mixed:6", seed=0), 50)
        assert all(len(batch) == 6 for batch in batches)
        assert max(len({s for s, _ in batch}) for batch in batches) == 3
        counts = Counter(s for batch in batches for s, _ in batch)
        assert counts[0] / 300 == pytest.approx(10 / 21, abs=0.08)  # by frames

    def test_mix_fills_up_with_atoms_and_loses_no_frame(self, systems):
        sampler = Sampler(systems, "mix:12", seed=0)
        batches = draw(sampler, 200)
        atoms = [sum(systems[s].natoms for s, _ in batch) for batch in batches]
        assert max(atoms) <= 12
        assert np.mean(atoms) > 8
        first = next(k for k, b in enumerate(batches) if len({s for s, _ in b}) > 1)
        assert first < 5
        for system in range(3):  # what did not fit into a batch opens the next: passes stay complete
            drawn = [i for batch in batches for s, i in batch if s == system]
            count = systems[system].nframes
            assert sorted(drawn[:count]) == list(range(count))
        assert [len(b) for b in draw(Sampler(systems, "mix:1", seed=0), 5)] == [1] * 5

    @pytest.mark.parametrize("bad", ["many", "auto:0", "max", "auto:x", "mixed", 0, [1, 2], [1, 2, 0], [1, 2, "3"]])
    def test_other_rules_are_refused(self, systems, bad):
        with pytest.raises(ConfigError, match="batch_size"):
            Sampler(systems, bad)

    def test_a_batch_larger_than_the_system_is_the_system(self, systems, caplog):
        with caplog.at_level(logging.WARNING, "dp_core.data"):
            sampler = Sampler(systems, [1, 1, 9], sys_probs=[0, 0, 1], seed=0)
        assert "batch_size 9 is larger than system" in caplog.text
        assert sorted(i for _, i in sampler.next()) == [0, 1, 2, 3]
        caplog.clear()
        Sampler(systems, "auto:1000")
        assert not caplog.records

    def test_names_of_rules(self):
        assert [r.count for r in batch_rules("auto", 2)[0]] == [32, 32]
        assert batch_rules("filter:5", 1)[1]


class TestProbabilities:
    BATCHES = np.array([10.0, 20.0, 30.0, 40.0])

    @pytest.mark.parametrize(
        ("auto_prob", "sys_probs", "expected"),
        [
            ("prob_sys_size", None, [0.1, 0.2, 0.3, 0.4]),
            ("prob_uniform", None, [0.25] * 4),
            ("prob_sys_size;0:2:0.5;2:4:0.5", None, [1 / 6, 1 / 3, 3 / 14, 4 / 14]),
            ("prob_sys_size; 0:1:1; 3:4:3", None, [0.25, 0, 0, 0.75]),
            ("prob_sys_size", [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]),
            ("prob_uniform", [0.4, -1, -1, 0], [0.4, 0.24, 0.36, 0]),
            ("prob_uniform", [-1, -1, -1, -1], [0.1, 0.2, 0.3, 0.4]),
        ],
    )
    def test_rules(self, auto_prob, sys_probs, expected):
        np.testing.assert_allclose(system_probabilities(self.BATCHES, auto_prob, sys_probs), expected)

    def test_left_out_systems_have_none(self):
        np.testing.assert_allclose(system_probabilities(np.array([0.0, 3, 3]), "prob_uniform"), [0, 0.5, 0.5])

    @pytest.mark.parametrize(
        ("auto_prob", "sys_probs", "message"),
        [
            ("prob_sys", None, "auto_prob is 'prob_sys', expected"),
            ("prob_sys_size;0:2", None, "'0:2' is not start:end:weight"),
            ("prob_sys_size;0:5:1", None, "must have 0 ≤ start < end ≤ 4"),
            ("prob_sys_size;0:1:0", None, "has probability 0"),
            ("", [0.5, 0.5], "lists 2 numbers, but there are 4 systems"),
            ("", [0.5, 0.5, 0.5, 0.5], "add up to 2, expected 1"),
            ("", [0.5, 0.3, 0.1, 0.0], "add up to 0.9, expected 1"),
            ("", [1.5, -1, -1, -1], "add up to 1.5"),
        ],
    )
    def test_errors(self, auto_prob, sys_probs, message):
        with pytest.raises(ConfigError, match=message):
            system_probabilities(self.BATCHES, auto_prob, sys_probs)

    def test_systems_are_drawn_accordingly(self, systems):
        sampler = Sampler(systems, 1, sys_probs=[0.7, 0.1, 0.2], seed=3)
        counts = Counter(sampler.next()[0][0] for _ in range(2000))
        np.testing.assert_allclose([counts[k] / 2000 for k in range(3)], [0.7, 0.1, 0.2], atol=0.03)


class TestTableAndEpochs:
    def test_rows(self, systems):
        row = Sampler(systems, 4, seed=0).table()[1]
        assert (row.name, row.natoms, row.batch_size, row.batches, row.periodic) == (systems[1].name, 3, 4, 2, False)
        assert row.probability == pytest.approx(2 / 6)

    def test_batches_per_epoch(self, systems):
        assert Sampler(systems, 1).batches_per_epoch == pytest.approx(21)
        assert Sampler(systems, 2).batches_per_epoch == pytest.approx(5 + 4 + 2)
        assert Sampler(systems, 1, auto_prob="prob_uniform").batches_per_epoch == pytest.approx(30)
        assert Sampler(systems, 1, sys_probs=[0.5, 0.5, 0]).batches_per_epoch == pytest.approx(20)
        assert Sampler(systems, "mixed:3").batches_per_epoch == pytest.approx(7)
        assert Sampler(systems, "mix:10").batches_per_epoch == pytest.approx((2 * 10 + 3 * 7 + 8 * 4) / 10)


class TestRestart:
    @pytest.mark.parametrize("batch_size", [2, "auto:7", "max:6", "filter:6", "mixed:5", "mix:11"])
    @pytest.mark.parametrize("stop", [0, 1, 7, 40])
    def test_the_same_batches_follow(self, systems, batch_size, stop):
        sampler = Sampler(systems, batch_size, seed=11)
        draw(sampler, stop)
        state = json.loads(json.dumps(sampler.state()))
        expected = draw(sampler, 40)
        other = Sampler(systems, batch_size, seed=99)
        draw(other, 5)
        other.restore(state)
        assert draw(other, 40) == expected
        assert other.state() == sampler.state()

    def test_seeds(self, systems):
        assert draw(Sampler(systems, 2, seed=1), 20) == draw(Sampler(systems, 2, seed=1), 20)
        assert draw(Sampler(systems, 2, seed=1), 20) != draw(Sampler(systems, 2, seed=2), 20)
        assert draw(Sampler(systems, 2), 20) != draw(Sampler(systems, 2), 20)

    def test_passes_differ(self, systems):
        sampler = Sampler(systems, 10, sys_probs=[1, 0, 0], seed=1)
        assert len({tuple(batch) for batch in draw(sampler, 5)}) == 5

    def test_changed_data_start_anew_with_a_warning(self, systems, tmp_path, caplog):
        sampler = Sampler(systems, 2, seed=1)
        draw(sampler, 3)
        other = Sampler(systems[:2], 2, seed=1)
        with caplog.at_level(logging.WARNING, "dp_core.data"):
            other.restore(sampler.state())
        assert "changed since the checkpoint" in caplog.text
        assert other.state()["passes"] == {}


class TestMinPairDist:
    def frames(self, distances, box=None):
        coords = [np.array([[0, 0, 0], [d, 0, 0.0]]) for d in distances]
        return [Frame(0, i, c, box, np.zeros(2, int), {}, frozenset()) for i, c in enumerate(coords)]

    def test_close_frames_are_passed_over(self, tmp_path, caplog):
        write_npy_system(tmp_path / "s", self.frames([1.0, 0.3, 2.0, 0.1, 0.9]), ["H"])
        sampler = Sampler(open_systems(str(tmp_path)), 2, min_pair_dist=0.8, seed=0)
        with caplog.at_level(logging.WARNING, "dp_core.data"):
            drawn = [i for batch in draw(sampler, 20) for _, i in batch]
        assert set(drawn) == {0, 2, 4}
        assert len(caplog.records) == 1
        assert "atoms 0 and 1 are" in caplog.text

    def test_periodic_images_count(self, tmp_path):
        write_npy_system(tmp_path / "s", self.frames([4.8, 2.0], 5 * np.eye(3)), ["H"])
        sampler = Sampler(open_systems(str(tmp_path)), 1, min_pair_dist=0.8, seed=0)
        assert {i for batch in draw(sampler, 5) for _, i in batch} == {1}

    def test_no_frame_left(self, tmp_path):
        write_npy_system(tmp_path / "s", self.frames([0.3, 0.3]), ["H"])
        with pytest.raises(DataError, match=r"Every frame of system .* closer than min_pair_dist 0.8 Å"):
            Sampler(open_systems(str(tmp_path)), 1, min_pair_dist=0.8)
