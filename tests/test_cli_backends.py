"""A model's way through the commands on every backend: train, freeze, test, show, convert, plot."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from dp_cli.main import main
from dp_core.backend import CHECKPOINTS, SUFFIXES, installed
from dp_core.data import Frame, write_npy_system

GOLDEN = Path(__file__).parent / "golden"

#: One file of each kind that the installed backends can write.
FILES = [suffix for name in installed() for suffix in SUFFIXES[name] if suffix not in (".yml", ".pt2")]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with ``data`` and ``input.json``."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    points = np.array([[i % 2, i // 2 % 2, i // 4] for i in range(6)]) * 1.5
    frames = []
    for k in range(6):
        shift = rng.normal(scale=0.1, size=(6, 3))
        labels = {"energy": np.array([-10.0 + (shift**2).sum()]), "force": -2.0 * shift}
        types = np.array([0, 1, 1, 0, 1, 1])
        frames.append(Frame(0, k, points + shift, np.eye(3) * 5.0, types, labels, frozenset(labels)))
    write_npy_system(tmp_path / "data", frames, ["O", "H"])
    document = {
        "model": {
            "type_map": ["O", "H"],
            "descriptor": {"type": "se_e2_a", "rcut": 3.0, "sel": "auto", "neuron": [2, 4], "axis_neuron": 2,
                           "type_one_side": True},
            "fitting_net": {"neuron": [4, 4]},
        },
        "learning_rate": {"start_lr": 0.01, "stop_lr": 0.001},
        "loss": {},
        "training": {
            "training_data": {"systems": "data", "batch_size": 2}, "numb_steps": 4, "disp_freq": 1, "save_freq": 2,
            "seed": 1,
        },
    }  # fmt: skip
    (tmp_path / "input.json").write_text(json.dumps(document))
    return tmp_path


def errors(capsys, *arguments):
    """The weighted averages that ``dp test`` prints."""
    capsys.readouterr()
    assert main(["test", *arguments]) == 0
    last = capsys.readouterr().err.split("weighted average")[1]
    return [float(x) for x in re.findall(r"(\S+) eV", last)]


def test_from_input_to_potential(here, capsys, backend):
    """What active-learning programs run, in their order and with their options after the input."""
    flag = {"numpy": "--dp", "torch": "--pt", "jax": "--jax", "tensorflow": "--tf"}[backend]
    assert main([flag, "train", "input.json", "--skip-neighbor-stat"]) == 1  # sel is "auto"
    assert main([flag, "train", "input.json"]) == 0
    for name in ("out.json", "lcurve.out", "checkpoint", f"model.ckpt{CHECKPOINTS[backend]}"):
        assert (here / name).is_file()
    assert main([flag, "train", "input.json", "--restart", "model.ckpt"]) == 0
    assert main([flag, "freeze"]) == 0
    frozen = f"frozen_model{SUFFIXES[backend][0]}"
    assert (here / frozen).exists()
    text = capsys.readouterr().err
    assert f"Saved frozen model to {frozen}" in text
    assert f"Largest difference of {frozen} ({backend}) from its source (numpy)" in text
    from_checkpoint = errors(capsys, "-m", f"model.ckpt{CHECKPOINTS[backend]}", "-s", "data")
    assert errors(capsys, "-m", frozen, "-s", "data") == pytest.approx(from_checkpoint, rel=1e-5)
    assert main([flag, "test", "-s", "data"]) == 0  # the default names
    assert main([flag, "change-bias", frozen, "-s", "data"]) == 0
    assert main(["show", f"frozen_model_updated{SUFFIXES[backend][0]}", "type-map", "size"]) == 0
    assert main([flag, "train", "input.json", "--init-frz-model", frozen]) == 0
    assert main(["plot"]) == 0


@pytest.mark.parametrize(("source", "target"), list(permutations(FILES, 2)))
def test_every_kind_of_file_becomes_every_other(here, capsys, source, target):
    model = GOLDEN / "ener_fparam_aparam.dp"
    assert main(["convert-backend", str(model), f"a{source}"]) == 0
    capsys.readouterr()
    assert main(["convert-backend", f"a{source}", f"b{target}"]) == 0
    found = re.search(r"energy (\S+) eV/atom, force (\S+) eV/Å, virial (\S+) eV/atom", capsys.readouterr().err)
    assert max(map(float, found.groups())) < 1e-10
    assert main(["convert-backend", f"b{target}", "c.dp"]) == 0
    assert main(["show", "c.dp", "type-map", "descriptor"]) == 0


def test_a_frozen_file_without_its_framework(here, capsys, monkeypatch, backend):
    """The document inside is read, and evaluated by NumPy."""
    suffix = SUFFIXES[backend][0]
    assert main(["convert-backend", str(GOLDEN / "se_e2_a_oneside.dp"), f"a{suffix}"]) == 0
    monkeypatch.setattr("dp_core.backend.installed", lambda: ["numpy"])
    assert main(["convert-backend", f"a{suffix}", "b.yaml"]) == 0
    assert main(["show", f"a{suffix}", "type-map"]) == 0
    text = capsys.readouterr().err
    assert "The type_map is ['O', 'H']" in text
    if backend != "numpy":
        assert f"{backend} is not installed; a{suffix} is read and evaluated without it." in text


def test_a_queue_that_stops_the_training(here):
    """SIGTERM: a checkpoint, one line, and the status that a shell gives."""
    document = json.loads((here / "input.json").read_text())
    document["training"] |= {"numb_steps": 100_000, "save_freq": 100_000}
    (here / "input.json").write_text(json.dumps(document))
    command = [sys.executable, "-m", "dp_cli", "--dp", "train", "input.json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "Batch       3" in line:
                process.terminate()
                break
        rest = process.stderr.read()
    assert process.returncode == 143
    last = rest.splitlines()[-1]
    step = int(
        re.fullmatch(r"Stopped by SIGTERM after step (\d+) of 100000\. Go on with --restart model\.ckpt\.", last)[1]
    )
    assert "Traceback" not in rest
    document["training"]["numb_steps"] = step + 2
    (here / "input.json").write_text(json.dumps(document))
    assert main(["--dp", "train", "input.json", "-r", "model.ckpt"]) == 0
    assert np.genfromtxt("lcurve.out", names=True)["step"][-1] == step + 2


def test_parameters_come_from_the_data(here, capsys):
    with np.load(GOLDEN / "ener_fparam_aparam.npz") as case:
        frames = len(case["coord"])
        folder = here / "with"
        (folder / "set.000").mkdir(parents=True)
        for name in ("coord", "box", "energy", "force", "fparam", "aparam"):
            np.save(folder / "set.000" / f"{name}.npy", case[name].reshape(frames, -1))
        np.savetxt(folder / "type.raw", case["atype"], fmt="%d")
    model = str(GOLDEN / "ener_fparam_aparam.dp")
    assert max(errors(capsys, "-m", model, "-s", "with")) < 1e-9
    assert main(["eval-desc", "-m", model, "-s", "with"]) == 0
    assert main(["model-devi", "-m", model, model, "-s", "with"]) == 0
    assert np.loadtxt("model_devi.out")[:, 1:].max() == 0
    assert main(["change-bias", model, "-s", "with", "-o", "same.dp"]) == 0
    (folder / "set.000/fparam.npy").unlink()
    capsys.readouterr()
    assert main(["test", "-m", model, "-s", "with"]) == 1
    assert "fparam" in capsys.readouterr().err
