"""A training process is killed with SIGKILL at many places; a restart must end with the bits of a run left alone.

This file is also the program of that process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core.backend import get_backend
from dp_core.data import Frame, write_npy_system
from dp_core.errors import BackendError
from dp_core.module import leaves
from dp_core.training import find_checkpoint, load_checkpoint, train

STEPS, SAVE = 12, 3


def document() -> dict[str, Any]:
    return {
        "model": {
            "type_map": ["O", "H"],
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
        "training": {
            "training_data": {"systems": ["data"], "batch_size": "mixed:2"},
            "validation_data": {"systems": ["data"]},
            "numb_steps": STEPS,
            "seed": 1,
            "disp_freq": 1,
            "save_freq": SAVE,
            "max_ckpt_keep": 2,
            "enable_ema": True,
        },
    }


def write_data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    points = np.array([[1.0, 1, 1], [3, 1, 1], [1, 3, 1], [3, 3, 1]])
    for name, types in (("a", [0, 1, 1, 0]), ("b", [1, 1, 0])):
        grid, frames = points[: len(types)], []
        for k in range(4):
            shift = rng.normal(scale=0.1, size=grid.shape)
            labels = {"energy": np.array([(shift**2).sum() - 3.0]), "force": -2.0 * shift}
            frames.append(Frame(0, k, grid + shift, np.eye(3) * 5.0, np.array(types), labels, frozenset(labels)))
        write_npy_system(folder / name, frames, ["O", "H"])


def signal_in(name: str, count: int, number: int) -> None:
    """Make this process send itself a signal at the count-th call of a function of ``os``."""
    calls = 0

    def dies(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == count:
                os.kill(os.getpid(), number)
            return function(*args, **kwargs)

        return wrapped

    setattr(os, name, dies(getattr(os, name)))


def assert_equal_ends(a: Path, b: Path) -> None:
    one, other = load_checkpoint(a), load_checkpoint(b)
    assert one.step == other.step == STEPS
    for x, y in zip(
        (leaves(one.model), one.moments["first"], one.moments["second"], one.ema),
        (leaves(other.model), other.moments["first"], other.moments["second"], other.ema),
        strict=True,
    ):
        assert all(np.array_equal(x[k], y[k]) for k in x | y)
    for sampler in ("sampler", "validation_sampler"):
        x, y = (c.progress[sampler] | {"data": "of another folder"} for c in (one, other))
        assert x == y


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a training on a backend that nothing disturbed."""

    @cache
    def folder_of(backend: str) -> Path:
        try:
            get_backend(backend)
        except BackendError:
            pytest.skip(f"no {backend} backend here")
        folder = tmp_path_factory.mktemp(backend)
        write_data(folder / "data")
        train(document(), backend=backend, directory=folder)
        return folder

    return folder_of


def start(backend: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, __file__, backend, str(folder), *arguments], env=environment, text=True, stderr=subprocess.PIPE
    )


def restart(backend: str, folder: Path) -> Path:
    result = train(document(), backend=backend, directory=folder, restart="model.ckpt")
    assert result.checkpoint is not None
    return result.checkpoint


# In a later save: the averaged file not synced; before the file has its name, the link, the pointer; an old file left.
PLACES = [("fsync", 11), ("replace", 10), ("replace", 11), ("replace", 12), ("unlink", 8)]
CASES = [("torch", *place) for place in PLACES] + [("numpy", *place) for place in PLACES[:2]]


@pytest.mark.parametrize(("backend", "function", "count"), CASES)
def test_killed_while_saving(undisturbed, tmp_path, backend, function, count):
    whole = undisturbed(backend)
    write_data(tmp_path / "data")
    process = start(backend, tmp_path, function, str(count), "SIGKILL")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    step = load_checkpoint(find_checkpoint(tmp_path, backend)).step
    assert 0 < step < STEPS
    end = restart(backend, tmp_path)
    assert_equal_ends(whole / end.name, end)
    assert (tmp_path / "lcurve.out").read_text() == (whole / "lcurve.out").read_text()
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in whole.iterdir()}


@pytest.mark.parametrize(("backend", "after"), [("numpy", SAVE + 1), ("torch", SAVE + 1), ("torch", 2 * SAVE)])
def test_killed_at_any_time(undisturbed, tmp_path, backend, after):
    whole = undisturbed(backend)
    write_data(tmp_path / "data")
    process = start(backend, tmp_path)
    log = tmp_path / "train_log.jsonl"
    while process.poll() is None and not (log.is_file() and len(log.read_text().splitlines()) >= after):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    end = restart(backend, tmp_path)
    assert_equal_ends(whole / end.name, end)


def test_terminated(undisturbed, tmp_path):
    backend, whole = "torch", undisturbed("torch")
    write_data(tmp_path / "data")
    process = start(backend, tmp_path, "fsync", "10", "SIGTERM")
    _, message = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, message
    assert "Stopped by SIGTERM after step" in message
    end = restart(backend, tmp_path)
    assert_equal_ends(whole / end.name, end)


def test_a_restart_on_another_backend(undisturbed, tmp_path):
    backend, whole = "torch", undisturbed("torch")
    write_data(tmp_path / "data")
    process = start(backend, tmp_path, "fsync", "12", "SIGKILL")
    process.communicate()
    end = load_checkpoint(restart("numpy", tmp_path))
    expected = leaves(load_checkpoint(find_checkpoint(whole, backend)).model)
    for path, value in leaves(end.model).items():
        assert np.allclose(value, expected[path], rtol=1e-7, atol=1e-9), path


def main() -> None:
    from dp_core.training import TrainingInterruptedError

    backend, folder, *place = sys.argv[1:]
    if place:
        signal_in(place[0], int(place[1]), signal.Signals[place[2]])
    try:
        train(document(), backend=backend, directory=folder)
    except TrainingInterruptedError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
