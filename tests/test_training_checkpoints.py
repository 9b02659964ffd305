"""Checkpoints of every backend are model files: other programs of dp open them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dp_core import DeepPot, load_model
from dp_core.backend import CHECKPOINTS, installed
from dp_core.data import Frame, write_npy_system
from dp_core.training import train


def document() -> dict:
    return {
        "model": {
            "type_map": ["Cu"],
            "descriptor": {"rcut": 3.0, "neuron": [2, 4], "axis_neuron": 2, "type_one_side": True, "type": "se_e2_a"},
            "fitting_net": {"neuron": [4]},
        },
        "training": {"training_data": {"systems": "data"}, "numb_steps": 2, "seed": 1},
    }


@pytest.fixture
def coord(tmp_path: Path) -> np.ndarray:
    coord = np.array([[0.5, 0.5, 0.5], [2.5, 0.7, 0.6], [0.4, 2.4, 0.8], [2.6, 2.5, 2.4]])
    labels = {"energy": np.array([-1.0]), "force": 0.1 * coord}
    frame = Frame(0, 0, coord, np.eye(3) * 4.0, np.zeros(4, np.int64), labels, frozenset(labels))
    write_npy_system(tmp_path / "data", [frame], ["Cu"])
    return coord


@pytest.mark.parametrize("backend", [name for name in installed() if name in CHECKPOINTS])
def test_a_checkpoint_is_opened_like_a_model(tmp_path, coord, backend):
    result = train(document(), backend=backend, directory=tmp_path)
    assert result.checkpoint == tmp_path / f"model.ckpt-2{CHECKPOINTS[backend]}"
    link = tmp_path / f"model.ckpt{CHECKPOINTS[backend]}"
    assert load_model(link).type_map == ("Cu",)
    box = np.eye(3) * 4.0
    energy = [DeepPot(m, backend="numpy").eval(coord, box, [0] * 4)[0] for m in (link, result.model)]
    assert np.array_equal(*energy)
