"""Tiny systems and an input for them, for tests of training; and a frame cut in two domains."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from autograd.extend import defvjp, primitive

from dp_core.batching import Batch, build_batch
from dp_core.data import Frame, write_npy_system
from dp_core.module import replace
from dp_core.neighbors import frame_pairs, row_neighbors
from dp_core.numpy_backend import gradient
from dp_core.outputs import evaluate_atoms

TYPE_MAP = ["O", "H"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs no backend, so that the environments of backends do not run it once more."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("backends") is None:
            item.add_marker("core")


def tiny_system(path: Path, types: list[int], nframes: int, seed: int) -> None:
    """Atoms near the points of a grid in a periodic cell, with smooth labels: springs to the points."""
    rng = np.random.default_rng(seed)
    natoms = len(types)
    points = np.array([[i % 2, i // 2 % 2, i // 4] for i in range(natoms)]) * 2.0 + 1.0
    frames = []
    for index in range(nframes):
        shift = rng.normal(scale=0.1, size=(natoms, 3))
        labels = {
            "energy": np.array([-3.0 * natoms + float((shift**2).sum())]),
            "force": -2.0 * shift,
            "virial": -2.0 * (shift.T @ points).ravel(),
        }
        frames.append(
            Frame(0, index, points + shift, np.diag([4.5, 5.0, 5.5]), np.array(types), labels, frozenset(labels))
        )
    write_npy_system(path, frames, TYPE_MAP)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A function that writes data to ``tmp_path`` and gives an input document; its arguments go into ``training``.

    A mapping changes a section inside, None removes a key. ``model=…``, ``loss=…`` and other sections are merged too.
    """
    tiny_system(tmp_path / "data/a", [0, 1, 1, 0], 5, 1)
    tiny_system(tmp_path / "data/b", [0, 1, 1, 1, 0, 1], 4, 2)
    tiny_system(tmp_path / "data/v", [1, 0, 0], 3, 3)

    def make(**changes: Any) -> dict[str, Any]:
        document: dict[str, Any] = {
            "model": {
                "type_map": TYPE_MAP,
                "descriptor": {
                    "type": "se_e2_a",
                    "sel": [20, 20],
                    "rcut": 3.0,
                    "rcut_smth": 1.0,
                    "neuron": [2, 4],
                    "axis_neuron": 2,
                    "type_one_side": True,
                },
                "fitting_net": {"neuron": [4, 4]},
            },
            "learning_rate": {"start_lr": 0.01, "stop_lr": 0.001, "decay_steps": 5},
            "loss": {"start_pref_v": 1.0, "limit_pref_v": 1.0},
            "training": {
                "training_data": {"systems": ["data/a", "data/b"], "batch_size": 1},
                "validation_data": {"systems": ["data/v"], "batch_size": 1, "numb_btch": 2},
                "numb_steps": 8,
                "seed": 1,
                "disp_freq": 2,
                "save_freq": 2,
            },
        }
        sections = {k: changes.pop(k) for k in list(changes) if k in {"model", "learning_rate", "loss", "validating"}}
        return _merged(document, sections | {"training": changes})

    return make


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    out = json.loads(json.dumps(old))
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = _merged(out[key], value)
        elif value is None:
            out.pop(key, None)
        else:
            out[key] = value
    return out


class Domains:
    """The exchange of features between two domains that are evaluated at the same time, each in a thread of its own."""

    def __init__(self, owners: list[np.ndarray]):
        self.owners = owners  # rows of the frame: those of a domain, then its ghosts
        self.values: list[Any] = [None, None]
        self.barrier = threading.Barrier(2, timeout=60)

    def _both(self, k: int, mine: np.ndarray) -> list[np.ndarray]:
        self.values[k] = mine
        self.barrier.wait()
        seen = list(self.values)
        self.barrier.wait()
        return seen

    def exchange(self, k: int, n: int) -> Callable[[Any], Any]:
        """For domain k with n rows."""
        mine, others = self.owners[k], self.owners[1 - k]
        total = max(max(owners) for owners in self.owners) + 1

        def forward(x: np.ndarray) -> np.ndarray:
            values = np.zeros((total, x.shape[1]))
            for domain, rows in enumerate(self._both(k, x)):
                values[self.owners[domain][: len(rows)]] = rows
            return values[mine]

        def backward(g: np.ndarray) -> np.ndarray:
            both = self._both(k, g)
            gradients = np.zeros((total, g.shape[1]))
            np.add.at(gradients, mine, both[k])
            np.add.at(gradients, others, both[1 - k])
            return gradients[mine[:n]]

        function = primitive(forward)
        defvjp(function, lambda _, __: backward)
        return function


def forces_with_ghosts(g: np.ndarray, batch: Batch) -> np.ndarray:
    """(n + ghosts, 3) from the gradient (n, K, 3)."""
    index = batch.table.index
    out = np.zeros((len(batch.owner), 3))
    np.add.at(out, index[index >= 0], -g[index >= 0])
    out[: len(index)] += g.sum(axis=1)
    return out


@pytest.fixture
def two_domains() -> Callable[[Any], None]:
    """A function that asserts that a model gives a frame cut in two the energies and forces of the whole."""

    def check(model: Any) -> None:
        random = np.random.default_rng(5)
        coord, types = random.uniform(0, 7.0, (14, 3)), random.integers(0, 2, 14)
        spec = model.neighbor_spec
        pairs = frame_pairs(coord, 7.0 * np.eye(3), types, spec)

        def part(start: int, stop: int) -> Batch:
            return build_batch([row_neighbors(pairs, coord, 7.0 * np.eye(3), spec, start, stop)], spec)

        whole = part(0, 14)
        expected = evaluate_atoms(model, whole.table, gradient)
        parts = [part(0, 6), part(6, 14)]
        domains = Domains([batch.owner for batch in parts])
        assert all(len(batch.owner) > len(batch.rows) for batch in parts)
        results: list[Any] = [None, None]

        def run(k: int) -> None:
            table = parts[k].table
            table = replace(table, exchange=domains.exchange(k, len(table.types)))
            results[k] = evaluate_atoms(model, table, gradient)

        threads = [threading.Thread(target=run, args=(k,)) for k in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        energy, force = np.zeros((14, 1)), np.zeros((14, 3))
        for batch, out in zip(parts, results, strict=True):
            energy[batch.rows] = out["energy"]
            np.add.at(force, batch.owner, forces_with_ghosts(out["gradient"], batch))
        np.testing.assert_allclose(energy, whole.to_atoms(expected["energy"]), rtol=1e-12)
        wanted = whole.to_atoms(forces_with_ghosts(expected["gradient"], whole))
        np.testing.assert_allclose(force, wanted, atol=1e-12 * np.abs(wanted).max())

    return check
