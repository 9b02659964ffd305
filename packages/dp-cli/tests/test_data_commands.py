"""``dp init`` and ``dp data``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

from dp_core.data import open_systems, write_npy_system
from dp_core.schema import load_input

TYPE_MAP = ["O", "H"]


@pytest.fixture
def xyz(tmp_path, make_frames):
    """``a.xyz``, 30 frames with labels under unusual names."""
    atoms = []
    for f in make_frames([0, 1, 1, 0], 30, 1):
        one = Atoms([TYPE_MAP[t] for t in f.types], positions=f.coord, cell=f.box, pbc=True)
        one.info["my_energy"], one.arrays["my_forces"] = f.labels["energy"][0], f.labels["force"]
        one.info["energy"], one.arrays["forces"] = f.labels["energy"][0], f.labels["force"]
        atoms.append(one)
    write(tmp_path / "a.xyz", atoms, write_results=False)
    return tmp_path / "a.xyz"


def test_init_writes_an_input_that_trains(dp, tmp_path, data):
    shown = dp("init", "data")
    assert shown.code == 0
    assert "9 frames in 2 systems, open and periodic" in shown.out
    assert "elements: O H" in shown.out
    assert "dp train input.json" in shown.out
    document = json.loads((tmp_path / "input.json").read_text())
    assert document["_comment"]
    assert document["model"]["type_map"] == TYPE_MAP
    assert document["model"]["descriptor"]["sel"] == "auto"
    assert document["model"]["descriptor"]["rcut"] == 6.0
    assert document["loss"]["start_pref_v"] > 0
    assert document["training"]["numb_steps"] == 20_000
    assert "validation_data" not in document["training"]
    assert "validation" in document["training"]["_comment_validation"]
    small = document["model"] | {"fitting_net": {"neuron": [4]}}
    small["descriptor"] |= {"neuron": [2, 4], "axis_neuron": 2, "rcut": 3.0}
    document["training"] |= {"numb_steps": 2, "disp_freq": 1}
    (tmp_path / "input.json").write_text(json.dumps(document | {"model": small}))
    assert dp("train", "input.json").code == 0


def test_init_as_yaml_has_comments(dp, tmp_path, data):
    assert dp("init", "data/b", "-o", "in.yaml").code == 0
    text = (tmp_path / "in.yaml").read_text()
    assert "# elements in the order of the types" in text
    assert "_comment" not in text
    settings = load_input(tmp_path / "in.yaml")
    assert settings.loss.start_pref_v == 0  # no virial in the data
    assert settings.training.training_data.systems == ["data/b"]


def test_init_sets_frames_of_a_file_aside(dp, tmp_path, xyz):
    assert dp("init", "a.xyz").code == 0
    training = load_input(tmp_path / "input.json").training
    train, valid = (open_systems(s.systems) for s in (training.training_data, training.validation_data))
    assert (train[0].nframes, valid[0].nframes) == (27, 3)
    assert not np.array_equal(train[0].frame(26).coord, valid[0].frame(0).coord)


def test_init_sets_systems_aside(dp, tmp_path, make_frames):
    for k in range(12):
        write_npy_system(tmp_path / f"many/s{k:02d}", make_frames([0, 1], 2, k), TYPE_MAP)
    assert dp("init", "many").code == 0
    training = load_input(tmp_path / "input.json").training
    assert training.validation_data.systems == ["many/s05"]
    assert len(training.training_data.systems) == 11


def test_init_knows_names_of_validation_data(dp, tmp_path, make_frames):
    for name in ("train/a", "validation/a"):
        write_npy_system(tmp_path / "set" / name, make_frames([0, 1], 2, len(name)), TYPE_MAP)
    assert dp("init", "set").code == 0
    training = load_input(tmp_path / "input.json").training
    assert training.validation_data.systems == ["set/validation/a"]
    assert training.training_data.systems == ["set/train/a"]


def test_init_overwrites_nothing(dp, tmp_path, data):
    (tmp_path / "input.json").write_text("mine")
    shown = dp("init", "data")
    assert shown.code == 1
    assert "input.json exists" in shown.err
    assert (tmp_path / "input.json").read_text() == "mine"
    assert dp("init", "data", "--force").code == 0
    assert (tmp_path / "input.json").read_text() != "mine"


def test_init_refuses(dp, tmp_path, make_frames):
    write_npy_system(tmp_path / "bare", make_frames([0, 1], 2, 1, ()), TYPE_MAP)
    assert "needs at least one of the two" in dp("init", "bare").err
    assert "ends in .json or .yaml" in dp("init", "bare", "-o", "input.txt").err
    shown = dp("init", "bar")
    assert shown.code == 1
    assert "did you mean bare?" in shown.err


def test_check_prints_a_table(dp, data):
    shown = dp("data", "check", "data")
    assert shown.code == 0
    head, a, b = shown.out.splitlines()[1:4]
    assert head.split()[:4] == ["system", "frames", "atoms", "elements"]
    assert a.split()[:6] == ["data/a", "5", "4", "O", "H", "periodic"]
    assert b.split()[:6] == ["data/b", "4", "6", "O", "H", "open"]
    assert a.index("periodic") == b.index("open") == head.index("cell")
    assert shown.out.splitlines()[-1] == "9 frames in 2 systems: 0 errors and 2 warnings."


def test_check_finds_errors(dp, tmp_path, data):
    energy = np.load(data / "a/set.000/energy.npy")
    energy[2] = np.nan
    np.save(data / "a/set.000/energy.npy", energy)
    shown = dp("data", "check", "data", "absent")
    assert shown.code == 1
    assert "Error: System data/a, set.000, frame 2: energy is nan." in shown.out
    assert "absent" in shown.out
    assert shown.out.splitlines()[-1].startswith("9 frames in 2 systems: 2 errors")


def test_check_against_elements_of_a_model(dp, data):
    shown = dp("data", "check", "data", "-t", "O", "C")
    assert shown.code == 1
    assert "contains H" in shown.out
    assert dp("data", "check", "data", "-t", "C", "H", "O").code == 0


def test_names_of_labels_are_for_files_of_ase(dp, tmp_path, data):
    shown = dp("data", "convert", "data", "out", "-k", "force=mine")
    assert shown.code == 1
    assert "fixed names" in shown.err
    assert not (tmp_path / "out").exists()


def test_an_element_twice(dp, data):
    shown = dp("neighbor-stat", "-r", "3", "-s", "data", "-t", "O", "O")
    assert shown.code == 1
    assert "O O names an element twice" in shown.err


def test_convert(dp, tmp_path, xyz):
    shown = dp("data", "convert", "a.xyz", "out", "-t", "H", "O", "-k", "energy=my_energy", "-k", "force=my_forces")
    assert shown.code == 0
    assert shown.out.splitlines()[0] == "out/H2O2"
    before, after = open_systems("a.xyz", TYPE_MAP)[0], open_systems("out", TYPE_MAP)[0]
    assert after.nframes == before.nframes == 30
    assert (tmp_path / "out/H2O2/type_map.raw").read_text().split() == ["H", "O"]
    assert {"energy", "force"} <= after.available()
    again = dp("data", "convert", "a.xyz", "out")
    assert again.code == 1
    assert "not empty" in again.err
    assert dp("data", "convert", "a.xyz", "a.xyz").code == 1
    assert dp("data", "convert", "a.xyz", "other", "-k", "energy").code == 2
    assert not (tmp_path / "other").exists()
