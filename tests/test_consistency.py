"""What makes the backends one program: the same training on each, from the same start, and no model in any of them."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dp_core import registry
from dp_core.backend import FRAMEWORKS, installed
from dp_core.data import Frame, write_npy_system
from dp_core.kernels import kernel_library
from dp_core.training import Display, LogReporter, train

GOLDEN = Path(__file__).parent / "golden"
OTHERS = [name for name in installed() if name != "numpy"]
STEPS = 20

#: The library of dp-ops that a backend uses.
KERNELS = {"torch": "dp_kernels", "jax": "dp_jax", "tensorflow": "dp_tensorflow"}


class Curve(LogReporter):
    """Keeps what is displayed."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[dict[str, float]] = []

    def display(self, shown: Display, *, timing: bool) -> None:
        self.shown.append(dict(shown.training))


def write_data(folder: Path) -> list[str]:
    """Two systems of different size, one of them open, with random labels of energy, force and virial."""
    random = np.random.default_rng(7)
    for name, count in (("large", 26), ("small", 11)):
        types = np.arange(count) % 3 // 2
        frames = []
        for k in range(6):
            grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 3), -1).reshape(-1, 3)[:count]
            coord = 2.2 * grid + random.uniform(-0.4, 0.4, (count, 3))
            labels = {"energy": random.normal(size=1), "force": random.normal(size=(count, 3))}
            if name == "large":
                labels["virial"] = random.normal(size=9)
            box = 6.6 * np.eye(3) if name == "large" else None
            frames.append(Frame(0, k, coord, box, types, labels, frozenset(labels)))
        write_npy_system(folder / name, frames, ["O", "H"])
    return [str(folder / "large"), str(folder / "small")]


def curve(backend: str, folder: Path) -> list[dict[str, float]]:
    """The errors at every step of a short training."""
    folder.mkdir(parents=True, exist_ok=True)
    embedding = {"rcut": 4.0, "rcut_smth": 0.5, "neuron": [4, 8], "axis_neuron": 3, "seed": 1}
    document = {
        "model": {
            "type_map": ["O", "H"],
            "descriptor": {"type": "hybrid", "list": [
                {"type": "se_e2_a", "sel": "auto", **embedding},
                {"type": "dpa1", "sel": 40, "attn": 6, "attn_layer": 1, "smooth_type_embedding": True, **embedding},
            ]},
            "fitting_net": {"neuron": [12, 12], "seed": 2},
        },
        "learning_rate": {"type": "exp", "start_lr": 0.005, "stop_lr": 1e-4, "decay_steps": 5},
        "loss": {
            "type": "ener", "start_pref_e": 0.1, "limit_pref_e": 1, "start_pref_f": 100, "limit_pref_f": 1,
            "start_pref_v": 0.01, "limit_pref_v": 0.1,
        },
        "optimizer": {"type": "AdamW", "weight_decay": 0.01},
        "training": {
            "training_data": {"systems": write_data(folder), "batch_size": 2}, "numb_steps": STEPS, "disp_freq": 1,
            "seed": 3, "gradient_max_norm": 20.0,
        },
    }  # fmt: skip
    reporter = Curve()
    train(document, backend=backend, directory=folder, reporter=reporter)
    return reporter.shown


@cache
def reference(folder: Path) -> list[dict[str, float]]:
    return curve("numpy", folder)


@pytest.mark.parametrize("backend", OTHERS)
def test_twenty_steps_are_those_of_numpy(backend, tmp_path, tmp_path_factory):
    expected = reference(tmp_path_factory.getbasetemp() / "reference")
    found = curve(backend, tmp_path)
    assert len(found) == len(expected) == STEPS
    for step, (one, other) in enumerate(zip(found, expected, strict=True), 1):
        assert one.keys() == other.keys()
        for key, value in other.items():
            assert one[key] == pytest.approx(value, rel=1e-6, nan_ok=True), f"{key} at step {step}"
    assert len({errors["rmse_f"] for errors in expected}) == STEPS  # something happens at every step


@pytest.mark.parametrize("backend", sorted(KERNELS.keys() & set(OTHERS)))
def test_twenty_steps_with_and_without_kernels(backend, tmp_path, monkeypatch):
    if kernel_library(KERNELS[backend]) is None:
        pytest.skip("dp-ops has no kernels here for this framework")
    expected = curve(backend, tmp_path / "with")
    monkeypatch.setenv("DP_OPS", "0")
    found = curve(backend, tmp_path / "without")
    for one, other in zip(found, expected, strict=True):
        for key, value in other.items():
            assert one[key] == pytest.approx(value, rel=1e-8, nan_ok=True), key


@pytest.mark.parametrize("backend", OTHERS)
def test_no_model_in_a_backend(backend):
    """A backend serves models that it has never heard of."""
    spec = find_spec(FRAMEWORKS[backend])
    sources = {path: path.read_text() for path in Path(spec.origin).parent.rglob("*.py")}
    words = {"ener", "property"}  # that mean other things too
    known = [name for kind in ("descriptor", "fitting") for name in registry.names(kind) if name not in words]
    names = re.compile("|".join([*known, "se_e2", "se_e3", "se_a", "dpa", "loc_frame", "dipole", "polar", "zbl"]))
    for path, text in sources.items():
        assert not names.search(text.lower()), path
    assert sum(len(text.splitlines()) for text in sources.values()) < 1500
