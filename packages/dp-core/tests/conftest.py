"""Tiny systems and an input for them, for tests of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core.data import Frame, write_npy_system

TYPE_MAP = ["O", "H"]


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
