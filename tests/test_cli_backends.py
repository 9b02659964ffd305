"""A model's way through the commands on every backend: train, freeze, test, show, convert, plot."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from dp_cli.main import main
from dp_core import load_model
from dp_core.backend import CHECKPOINTS, SUFFIXES, installed
from dp_core.data import Frame, write_npy_system
from dp_core.format import read_document, write_document
from dp_core.module import leaves

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


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A folder with one model in every kind of file."""
    folder = tmp_path_factory.mktemp("kinds")
    for suffix in FILES:
        assert main(["convert-backend", str(GOLDEN / "ener_fparam_aparam.dp"), str(folder / f"a{suffix}")]) == 0
    return folder


def converts(capsys, source, target):
    """The command writes a file with the same numbers and the same leaves."""
    capsys.readouterr()
    assert main(["convert-backend", str(source), target]) == 0
    found = re.search(r"energy (\S+) eV/atom, force (\S+) eV/Å, virial (\S+) eV/atom", capsys.readouterr().err)
    assert max(map(float, found.groups())) < 1e-10
    before, after = (leaves(load_model(path)) for path in (source, target))
    assert all(np.array_equal(before[name], after[name]) for name in before | after)


@pytest.mark.crossing
@pytest.mark.parametrize(("source", "target"), list(permutations(FILES, 2)))
def test_every_kind_of_file_becomes_every_other(here, capsys, kinds, source, target):
    converts(capsys, kinds / f"a{source}", f"b{target}")


@pytest.fixture(scope="module")
def compiled(kinds):
    """``a.pt2`` beside the others. Of each graph with its weights, only the first is compiled; it takes a minute."""
    import torch

    made, compile_it = {}, torch._inductor.aoti_compile_and_package

    def once(exported, *, package_path):
        key = hashlib.sha256(exported.graph_module.code.encode())
        for name, value in (*exported.state_dict.items(), *exported.constants.items()):
            key.update(name.encode() + value.numpy().tobytes())
        if key.hexdigest() not in made:
            compile_it(exported, package_path=package_path)
            made[key.hexdigest()] = package_path.getvalue()
        else:
            package_path.write(made[key.hexdigest()])
        return package_path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch._inductor, "aoti_compile_and_package", once)
        assert main(["convert-backend", str(GOLDEN / "ener_fparam_aparam.dp"), str(kinds / "a.pt2")]) == 0
        yield made


@pytest.mark.crossing
@pytest.mark.slow
@pytest.mark.skipif("torch" not in installed(), reason="PyTorch writes .pt2")
@pytest.mark.parametrize(("source", "target"), [p for s in FILES for p in ((s, ".pt2"), (".pt2", s))])
def test_compiled_files_become_every_other(here, capsys, kinds, compiled, source, target):
    converts(capsys, kinds / f"a{source}", f"b{target}")
    assert len(compiled) == 1  # whatever file it came from


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


def curve():
    return np.loadtxt("lcurve.out")


#: Each installed backend with the next one.
RING = list(zip(installed(), [*installed()[1:], installed()[0]], strict=True))


@pytest.mark.crossing
@pytest.mark.parametrize(("first", "second"), RING)
def test_a_training_goes_on_elsewhere(here, first, second):
    """Six steps on one backend equal two on it, two on another with its moments, and two on the first again."""
    document = json.loads((here / "input.json").read_text())

    def train(backend, steps, *arguments):
        document["training"] |= {"numb_steps": steps, "save_freq": 100}
        document["learning_rate"] |= {"decay_steps": 1, "decay_rate": 0.9}
        (here / "input.json").write_text(json.dumps(document))
        assert main(["-b", backend, "train", "input.json", *arguments]) == 0

    train(first, 6)
    whole, end = curve(), load_model(f"model.ckpt-6{CHECKPOINTS[first]}")
    train(first, 2)
    train(second, 4, "--restart", "model.ckpt")
    train(first, 6, "--restart", "model.ckpt")  # the newer of two, that of the other backend
    np.testing.assert_allclose(curve(), whole, rtol=1e-6)
    there, again = leaves(end), leaves(load_model(f"model.ckpt-6{CHECKPOINTS[first]}"))
    for name, value in there.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_checkpoint_tells_the_backend(here, monkeypatch, backend):
    """Without a flag. The suffix of NumPy's, .dp, is that of models for all: there the environment tells."""
    assert main(["-b", backend, "train", "input.json"]) == 0
    if backend == "numpy":
        monkeypatch.setenv("DP_BACKEND", "np")
    assert main(["freeze"]) == 0
    assert (here / f"frozen_model{SUFFIXES[backend][0]}").exists()
    assert main(["train", "input.json", "--restart", "model.ckpt"]) == 0
    assert sorted(p.name for p in here.glob("model.ckpt.*")) == [f"model.ckpt{CHECKPOINTS[backend]}"]


def cut(path):
    """Keep half of a file, or of the document in a folder."""
    file = path if path.is_file() else path / "model.dp"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def one_screen(capsys, *arguments):
    """The message of a command that fails as it should."""
    capsys.readouterr()
    assert main(list(arguments)) == 1
    text = capsys.readouterr().err
    lines = [line for line in text.splitlines() if not line.startswith("[")]
    assert lines[0].startswith("Error: ")
    assert lines[-1].startswith("(traceback: ")
    assert len(lines) <= 3
    assert "mistake in dp" not in text
    return " ".join(lines)


@pytest.mark.parametrize("suffix", FILES)
def test_a_damaged_model_is_one_screen(here, capsys, kinds, suffix):
    name = f"broken{suffix}"
    source = kinds / f"a{suffix}"
    (shutil.copytree if source.is_dir() else shutil.copy)(source, name)
    cut(here / name)
    for arguments in (
        ("test", "-m", name, "-s", "data"),
        ("show", name, "type-map"),
        ("convert-backend", name, "x.dp"),
    ):
        text = one_screen(capsys, *arguments)
        assert name in text
        assert any(word in text for word in ("damaged", "cut off", "cannot be read", "whole"))
    assert not (here / "x.dp").exists()


@pytest.mark.parametrize("suffix", [".dp", ".yaml"])
def test_a_file_of_a_newer_format_is_one_screen(here, capsys, suffix):
    document = read_document(GOLDEN / "se_e2_a_oneside.dp")
    document["model"]["descriptor"]["@version"] = 99
    write_document(document, f"new{suffix}")
    for arguments in (("test", "-m", f"new{suffix}", "-s", "data"), ("convert-backend", f"new{suffix}", "x.dp")):
        text = one_screen(capsys, *arguments)
        assert "Descriptor se_e2_a" in text
        assert "version 99" in text
        assert "upgrade dp-core" in text


@pytest.mark.parametrize("suffix", [".dp", ".yaml"])
def test_a_model_with_an_unknown_plugin_is_one_screen(here, capsys, suffix):
    document = read_document(GOLDEN / "se_e2_a_oneside.dp")
    document["model"]["descriptor"]["type"] = "se_e2_x"
    write_document(document, f"own{suffix}")
    for arguments in (("test", "-m", f"own{suffix}", "-s", "data"), ("check", f"own{suffix}")):
        text = one_screen(capsys, *arguments)
        assert "Unknown descriptor type 'se_e2_x'" in text


def test_a_bias_goes_to_any_kind_of_file(here, capsys):
    """From a checkpoint to a checkpoint with the state of the training, to everything else as a model."""
    assert main(["--dp", "train", "input.json"]) == 0
    for target in ("own.pt", "own.dp", "own.yaml", "own"):
        assert main(["change-bias", "model.ckpt.dp", "-b", "1", "2", "-o", target]) == 0
    assert load_model("own.yaml").out_bias.ravel().tolist() == [1.0, 2.0]
    assert main(["--dp", "train", "input.json", "--restart", "own.pt"]) == 0
    one_screen(capsys, "--dp", "train", "input.json", "--restart", "own.yaml")
    for wrong in ("nan", "inf"):
        assert main(["change-bias", "own.dp", "-b", wrong, "2"]) == 2
