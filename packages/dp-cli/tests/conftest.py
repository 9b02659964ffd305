"""A place to run ``dp`` in: an empty folder, the NumPy backend, small data and models."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_cli.main import main
from dp_core import registry, save_model
from dp_core.data import Frame, write_npy_system
from dp_core.module import replace
from dp_core.schema import parse_model

TYPE_MAP = ["O", "H"]

MODEL: dict[str, Any] = {
    "type_map": TYPE_MAP,
    "descriptor": {
        "type": "se_e2_a",
        "rcut": 3.0,
        "rcut_smth": 1.0,
        "sel": [20, 20],
        "neuron": [2, 4],
        "axis_neuron": 2,
        "type_one_side": True,
        "seed": 1,
    },
    "fitting_net": {"neuron": [4, 4], "seed": 1},
}


@dataclass(frozen=True)
class Ran:
    """What a command left on the screen."""

    code: int
    out: str
    err: str

    @property
    def messages(self) -> list[str]:
        """The messages of the log lines."""
        return [re.sub(r"^\[[^]]*\] DEEPMD .{7} ", "", line) for line in self.err.splitlines()]


@pytest.fixture
def dp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """``dp("test", "-m", …)`` runs the command in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DP_BACKEND", "numpy")
    traces = tmp_path / "traces"
    traces.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(traces))

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run


def make_frames(
    types: list[int], count: int, seed: int, labels: tuple[str, ...] = ("energy", "force", "virial"), cell: bool = True
) -> list[Frame]:
    """Atoms near the points of a grid, with smooth labels."""
    rng = np.random.default_rng(seed)
    n = len(types)
    points = np.array([[i % 2, i // 2 % 2, i // 4] for i in range(n)]) * 2.0 + 1.0
    frames = []
    for k in range(count):
        shift = rng.normal(scale=0.1, size=(n, 3))
        values = {
            "energy": np.array([-3.0 * n + float((shift**2).sum())]),
            "force": -2.0 * shift,
            "virial": -2.0 * (shift.T @ points).ravel(),
            "atom_ener": -3.0 + (shift**2).sum(axis=1, keepdims=True),
        }
        kept = {name: values[name] for name in labels}
        box = np.diag([4.5, 5.0, 5.5]) if cell else None
        frames.append(Frame(0, k, points + shift, box, np.array(types), kept, frozenset(kept)))
    return frames


@pytest.fixture(name="make_frames")
def _make_frames() -> Callable[..., list[Frame]]:
    return make_frames


@pytest.fixture(name="make_model")
def _make_model() -> Callable[..., Any]:
    return make_model


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two systems, periodic ``data/a`` and open ``data/b``."""
    write_npy_system(tmp_path / "data/a", make_frames([0, 1, 1, 0], 5, 1), TYPE_MAP)
    write_npy_system(
        tmp_path / "data/b", make_frames([0, 1, 1, 1, 0, 1], 4, 2, ("energy", "force"), cell=False), TYPE_MAP
    )
    return tmp_path / "data"


def make_model(**changes: Any) -> Any:
    """A small random model with a bias."""
    settings = parse_model(MODEL | changes)
    type_map = settings.type_map  # type: ignore[attr-defined]
    model = registry.lookup("model", "standard").init(settings, type_map)
    bias = np.arange(1.0, len(type_map) + 1.0)[None, :, None]
    return replace(model, out_bias=bias, script=MODEL | changes, min_nbor_dist=0.9)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """``model.dp``, a small random model."""
    save_model(make_model(), tmp_path / "model.dp")
    return tmp_path / "model.dp"


@pytest.fixture
def training_input(tmp_path: Path, data: Path) -> Callable[..., Path]:
    """Writes ``input.json`` for the data; the arguments change keys, written ``section/key``, None removes one."""

    def write(changes: dict[str, Any] | None = None) -> Path:
        document: dict[str, Any] = {
            "model": json.loads(json.dumps(MODEL)),
            "learning_rate": {"start_lr": 0.01, "stop_lr": 0.001, "decay_steps": 5},
            "loss": {"start_pref_v": 1.0, "limit_pref_v": 1.0},
            "training": {
                "training_data": {"systems": ["data"], "batch_size": 1},
                "numb_steps": 4,
                "seed": 1,
                "disp_freq": 2,
                "save_freq": 2,
            },
        }
        for place, value in (changes or {}).items():
            *parents, last = place.split("/")
            section = document
            for key in parents:
                section = section[key]
            if value is None:
                section.pop(last)
            else:
                section[last] = value
        path = tmp_path / "input.json"
        path.write_text(json.dumps(document, indent=1))
        return path

    return write
