"""What the commands for a finished model print and write."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from dp_cli import models
from dp_core import DeepPot, load_model, save_model
from dp_core.data import open_systems, write_npy_system
from dp_core.model_file import document_bytes
from dp_core.module import leaves, replace
from dp_core.testing import Check, CheckReport

TYPE_MAP = ["O", "H"]


def metrics(shown):
    """The numbers of the last block by label."""
    dashes = [k for k, m in enumerate(shown.messages) if m.startswith("# ---")]
    lines = shown.messages[dashes[-2] + 2 : dashes[-1]]
    return {line.split(":")[0].strip(): float(line.split()[-2]) for line in lines}


def predicted(model, system):
    frames = system.frames(range(system.nframes))
    return DeepPot(model, "numpy").predict(frames)


def test_test_sums_by_components(dp, model, data):
    shown = dp("test", "-m", model, "-s", "data")
    assert shown.code == 0
    assert "# number of systems : 2" in shown.messages
    energy, force = [], []
    for system in open_systems("data", TYPE_MAP):
        out = predicted(model, system)
        labels = [system.frame(i, make_labels(system)) for i in range(system.nframes)]
        energy += [e - f.labels["energy"][0] for e, f in zip(out.energy, labels, strict=True)]
        force += [out.force - np.concatenate([f.labels["force"] for f in labels])]
    errors = np.concatenate([f.ravel() for f in force])
    found = metrics(shown)
    assert found["Energy MAE"] == pytest.approx(np.mean(np.abs(energy)), rel=1e-6)
    assert found["Energy RMSE"] == pytest.approx(np.sqrt(np.mean(np.square(energy))), rel=1e-6)
    assert found["Force  RMSE"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-6)
    assert found["Force  MAE"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-6)


def make_labels(system):
    from dp_core.data import COMMON_LABELS

    return [label for label in COMMON_LABELS if label.key in system.available()]


def test_test_takes_some_frames(dp, model, data):
    shown = dp("test", "-m", model, "-s", "data/a", "-n", 2)
    assert "# number of test data : 2 " in shown.messages
    first = dp("test", "-m", model, "-s", "data/a", "-n", 2, "--shuffle-test", "-r", 1)
    again = dp("test", "-m", model, "-s", "data/a", "-n", 2, "--shuffle-test", "-r", 1)
    other = dp("test", "-m", model, "-s", "data/a", "-n", 2, "--shuffle-test", "-r", 2)
    assert metrics(first) == metrics(again)
    assert metrics(first) != metrics(other)
    assert dp("test", "-m", model, "-s", "data/a", "-n", 99).messages[2] == "# number of test data : 5 "


def test_test_sources(dp, tmp_path, model, data, training_input):
    whole = metrics(dp("test", "-m", model, "-s", "data"))
    (tmp_path / "list.txt").write_text("# comment\ndata/a\n\ndata/b\n")
    assert metrics(dp("test", "-m", model, "-f", "list.txt")) == whole
    training_input({"training/validation_data": {"systems": ["data/b"]}})
    (tmp_path / "elsewhere").mkdir()
    assert metrics(dp("test", "-m", model, "--train-data", "input.json")) == whole
    validation = metrics(dp("test", "-m", model, "--valid-data", tmp_path / "input.json"))
    assert validation == metrics(dp("test", "-m", model, "-s", "data/b"))
    assert metrics(dp("test", "-m", model, "-s", "data", "-S", "set")) == whole


def test_test_without_labels_or_with_few(dp, tmp_path, model, make_frames):
    write_npy_system(tmp_path / "s", make_frames([0, 1], 2, 1, ()), TYPE_MAP)
    shown = dp("test", "-m", model, "-s", "s")
    assert shown.code == 0
    assert any("has no labels" in m for m in shown.messages)
    assert not any("RMSE" in m for m in shown.messages)
    write_npy_system(tmp_path / "f", make_frames([0, 1], 2, 1, ("force",)), TYPE_MAP)
    assert list(metrics(dp("test", "-m", model, "-s", "f"))) == ["Force  MAE", "Force  RMSE"]


def test_detail_files(dp, tmp_path, model, data):
    assert dp("test", "-m", model, "-s", "data", "-d", "run.1").code == 0
    a, _ = open_systems("data", TYPE_MAP)
    text = (tmp_path / "run.1.e.out").read_text().splitlines()
    assert [line for line in text if line.startswith("#")] == [
        "# data/a: data_e pred_e",
        "# data/b: data_e pred_e",
    ]
    energy = np.loadtxt(tmp_path / "run.1.e.out")
    assert energy.shape == (9, 2)
    np.testing.assert_array_equal(energy[:5, 1], predicted(model, a).energy)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "run.1.e_peratom.out")[5:], energy[5:] / 6)
    force = np.loadtxt(tmp_path / "run.1.f.out")
    assert force.shape == (5 * 4 + 4 * 6, 6)
    np.testing.assert_array_equal(force[:20, 3:], predicted(model, a).force)
    virial = np.loadtxt(tmp_path / "run.1.v.out")
    assert virial.shape == (9, 18)
    assert np.isnan(virial[5:, :9]).all()  # the open system has no label
    assert np.isfinite(virial[:, 9:]).all()
    stress = np.loadtxt(tmp_path / "run.1.s.out")
    np.testing.assert_allclose(stress, -virial[:5] / (4.5 * 5.0 * 5.5), rtol=1e-14)
    assert (tmp_path / "run.1.f.out").read_text().splitlines()[0] == (
        "# data/a: data_fx data_fy data_fz pred_fx pred_fy pred_fz"
    )
    names = " ".join(f"{kind}_v{a}{b}" for kind in ("data", "pred") for a in "xyz" for b in "xyz")
    assert (tmp_path / "run.1.v.out").read_text().splitlines()[0] == f"# data/a: {names}"


def test_detail_files_are_not_touched_by_a_failure(dp, tmp_path, model, data):
    assert dp("test", "-m", model, "-s", "data", "-d", "old").code == 0
    before = (tmp_path / "old.e.out").read_bytes()
    force = np.load(tmp_path / "data/b/set.000/force.npy")
    force[3, 0] = np.nan
    np.save(tmp_path / "data/b/set.000/force.npy", force)
    files = sorted(p.name for p in tmp_path.iterdir())
    shown = dp("test", "-m", model, "-s", "data", "-d", "old")
    assert shown.code == 1
    assert "force" in shown.err
    assert (tmp_path / "old.e.out").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == files


def test_small_chunks_give_the_same(dp, model, data, monkeypatch):
    whole = metrics(dp("test", "-m", model, "-s", "data"))
    monkeypatch.setenv("DP_TEST_CHUNK_ATOMS", "5")
    parts = metrics(dp("test", "-m", model, "-s", "data"))
    assert parts == pytest.approx(whole, rel=1e-5)
    monkeypatch.setenv("DP_TEST_CHUNK_ATOMS", "many")
    assert dp("test", "-m", model, "-s", "data").code == 1


def test_files_of_ase_are_data(dp, tmp_path, model, data, make_frames):
    from ase import Atoms
    from ase.io import write

    frames = make_frames([0, 1, 1, 0], 5, 1)
    atoms = []
    for f in frames:
        one = Atoms([TYPE_MAP[t] for t in f.types], positions=f.coord, cell=f.box, pbc=True)
        one.info["REF_energy"], one.arrays["REF_forces"] = f.labels["energy"][0], f.labels["force"]
        one.info["virial"] = f.labels["virial"].reshape(3, 3)
        atoms.append(one)
    write(tmp_path / "a.xyz", atoms, write_results=False)
    npy, xyz = (metrics(dp("test", "-m", model, "-s", s)) for s in ("data/a", "a.xyz"))
    assert xyz == pytest.approx(npy, rel=1e-4)


def test_show(dp, model, make_model):
    shown = dp("show", model, "type-map", "descriptor", "fitting-net", "size", "observed-type", "serialization-tree")
    assert shown.code == 0
    descriptor, fitting = make_model().script["descriptor"], make_model().script["fitting_net"]
    assert shown.messages[:11] == [
        "This is a singletask model",
        "The type_map is ['O', 'H']",
        f"The descriptor parameter is {descriptor}",
        f"The fitting_net parameter is {fitting}",
        "Parameter counts:",
        "Parameters in descriptor: 32",
        "Parameters in fitting-net: 130",
        "Parameters in total: 162",
        "The observed types for this model: ",
        "Number of observed types: 2 ",
        "Observed types: ['H', 'O'] ",
    ]
    assert shown.messages[11] == "Model serialization tree:"
    assert shown.messages[13].startswith("├──descriptor -> Descriptor se_e2_a")


def test_show_without_the_input_of_the_model(dp, tmp_path, make_model):
    from dp_core.module import replace

    save_model(replace(make_model(), script=None), tmp_path / "m.dp")
    shown = dp("show", "m.dp", "descriptor")
    assert "'rcut': 3.0" in shown.err
    assert "'sel': [20, 20]" in shown.err


def test_show_refuses(dp, model):
    shown = dp("show", model, "model-branch")
    assert shown.code == 1
    assert "The 'model-branch' option requires a multitask model." in shown.err
    shown = dp("show", model, "typemap")
    assert shown.code == 2
    assert "did you mean 'type-map'" in shown.err


def test_convert_there_and_back(dp, tmp_path, model):
    for source, target in (("model.dp", "a.yaml"), ("a.yaml", "b.dp")):
        shown = dp("convert-backend", source, target)
        assert shown.code == 0
        assert f"Largest difference of {target} (numpy) from its source (numpy): energy 0.0e+00" in shown.err
    first, last = load_model(model), load_model(tmp_path / "b.dp")
    np.testing.assert_array_equal(first.descriptor.embeddings.networks[0].layers[0].w,
                                  last.descriptor.embeddings.networks[0].layers[0].w)  # fmt: skip
    assert last.min_nbor_dist == 0.9


def test_a_wrong_conversion_is_not_kept(dp, tmp_path, model, monkeypatch, make_model):
    (tmp_path / "old.dp").write_bytes(b"precious")
    other = document_bytes(make_model(fitting_net={"neuron": [4, 4], "seed": 2}))
    monkeypatch.setattr("dp_core.model_file.document_bytes", lambda model: other)
    shown = dp("convert-backend", model, "old.dp")
    assert shown.code == 1
    assert "old.dp is not written, because the model gives other results on numpy" in shown.err
    assert (tmp_path / "old.dp").read_bytes() == b"precious"


def test_single_precision_may_differ_more(dp, tmp_path, model, monkeypatch):
    """Also where weights are stored in double precision."""
    rounding = models.Difference({"energy": 1e-5}, {"energy": 1.0}, {"energy": "eV/atom"})
    monkeypatch.setattr(models, "difference", lambda first, second: rounding)
    tree = load_model(model)
    save_model(replace(tree, descriptor=replace(tree.descriptor, precision="float32")), tmp_path / "low.dp")
    assert "float32" not in {str(leaf.dtype) for leaf in leaves(load_model(tmp_path / "low.dp")).values()}
    assert [dp("convert-backend", name, "new.dp").code for name in ("low.dp", "model.dp")] == [0, 1]


def test_eval_desc(dp, tmp_path, model, data, make_frames):
    write_npy_system(tmp_path / "more/a", make_frames([0, 1, 1], 2, 5), TYPE_MAP)
    (tmp_path / "list").write_text("data\nmore\n")
    shown = dp("eval-desc", "-m", model, "-f", "list", "-o", "out")
    assert shown.code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.npy", "a_1.npy", "b.npy"]
    first = np.load(tmp_path / "out/a.npy")
    assert first.shape == (5, 4, 8)
    assert first.dtype == np.float64
    frames = make_frames([0, 1, 1, 0], 5, 1)
    expected = DeepPot(model, "numpy").eval_descriptor(
        np.stack([f.coord for f in frames]), np.stack([f.box for f in frames]), frames[0].types
    )
    np.testing.assert_allclose(first, expected, rtol=1e-12)
    assert np.load(tmp_path / "out/a_1.npy").shape == (2, 3, 8)
    assert "# descriptor shape: (2, 3, 8)" in shown.messages
    assert dp("eval-desc", "-m", model, "-s", "data/a", "--dtype", "fp32").code == 0
    assert np.load(tmp_path / "desc/a.npy").dtype == np.float32


def test_neighbor_stat(dp, data):
    shown = dp("neighbor-stat", "-s", "data", "-r", 3.0, "-t", "O", "H")
    assert shown.code == 0
    assert shown.messages[0].startswith("min_nbor_dist: ")
    sizes = json.loads(shown.messages[1].removeprefix("max_nbor_size: "))
    assert len(sizes) == 2
    mixed = dp("neighbor-stat", "-s", "data", "-r", 3.0, "--one-type")
    assert len(json.loads(mixed.messages[1].removeprefix("max_nbor_size: "))) == 1
    for wrong in (-1, "nan", "inf", 1e5):
        assert "give a number of Å" in dp("neighbor-stat", "-s", "data", "-r", wrong).err


@pytest.fixture
def two_models(tmp_path, make_model):
    save_model(make_model(), tmp_path / "graph.000.dp")
    save_model(make_model(fitting_net={"neuron": [4, 4], "seed": 2}), tmp_path / "graph.001.dp")


def test_model_devi_file(dp, tmp_path, two_models, data):
    (tmp_path / "model_devi.out").write_text("rows of another run\n")
    shown = dp("model-devi", "-m", "graph.000", "graph.001", "-s", "data", "-f", 10)
    assert shown.code == 0
    lines = (tmp_path / "model_devi.out").read_text().splitlines()
    assert lines[0] == "# data/a"
    assert lines[1] == "# step      " + "".join(
        f"{name:<19}" for name in ("max_devi_v", "min_devi_v", "avg_devi_v", "max_devi_f", "min_devi_f", "avg_devi_f",
                                   "devi_e")
    )  # fmt: skip
    assert lines[7] == "# data/b"
    table = np.loadtxt(tmp_path / "model_devi.out")
    assert table.shape == (9, 8)
    assert table[:, 0].tolist() == [0, 10, 20, 30, 40, 0, 10, 20, 30]
    assert (table[:, 1:] > 0).all()


def test_model_devi_options(dp, tmp_path, two_models, data):
    arguments = ("model-devi", "-m", "graph.000", "graph.001", "-s", "data/a", "-o")
    for name, more in (("plain", []), ("atomic", ["--atomic"]), ("real", ["--real_error"]),
                       ("relative", ["--relative", 1.0, "--relative_v", 1.0])):  # fmt: skip
        assert dp(*arguments, name, *more).code == 0
    plain, atomic, real, relative = (np.loadtxt(tmp_path / n) for n in ("plain", "atomic", "real", "relative"))
    assert atomic.shape == (5, 12)
    np.testing.assert_allclose(atomic[:, 8:].max(axis=1), plain[:, 4], rtol=1e-6)
    assert (relative[:, 1:7] < plain[:, 1:7]).all()
    np.testing.assert_array_equal(relative[:, 7], plain[:, 7])
    assert (real[:, 7] > plain[:, 7]).all()


def test_model_devi_refuses(dp, tmp_path, two_models, data, make_model):
    assert "two or more" in dp("model-devi", "-m", "graph.000", "-s", "data").err
    shown = dp("model-devi", "-s", "data")
    assert "graph.002" in shown.err
    save_model(make_model(type_map=["H", "O"]), tmp_path / "other.dp")
    assert "type map" in dp("model-devi", "-m", "graph.000.dp", "other.dp", "-s", "data").err
    assert not (tmp_path / "model_devi.out").exists()


def test_change_bias(dp, tmp_path, model, data):
    shown = dp("change-bias", model, "-s", "data")
    assert shown.code == 0
    assert any(m.startswith("Change output bias of ['O', 'H'] from [1. 2.] to [-") for m in shown.messages)
    assert f"Saved model to {tmp_path}/model_updated.dp" in shown.messages
    before, after = (metrics(dp("test", "-m", m, "-s", "data")) for m in ("model.dp", "model_updated.dp"))
    assert after["Energy RMSE/Natoms"] < 0.1 * before["Energy RMSE/Natoms"]
    assert after["Force  RMSE"] == before["Force  RMSE"]


def test_change_bias_to_values(dp, tmp_path, model):
    shown = dp("change-bias", model, "-b", "-93.5", "-187.25", "-o", "b.dp")
    assert shown.code == 0
    assert "Change output bias of ['O', 'H'] from [1. 2.] to [ -93.5  -187.25]." in shown.messages
    assert load_model(tmp_path / "b.dp").out_bias.ravel().tolist() == [-93.5, -187.25]
    assert "2 types" in dp("change-bias", model, "-b", "-93.5", "-o", "c.dp").err
    assert not (tmp_path / "c.dp").exists()


def test_documentation(dp):
    rst = dp("doc-train-input")
    assert rst.out.startswith("model:\n")
    listed = json.loads(dp("doc-train-input", "--out-type", "json").out)
    assert {a["name"] for a in listed} >= {"model", "training", "loss"}
    schema = json.loads(dp("doc-train-input", "--out-type", "json_schema").out)
    assert schema["$schema"].startswith("https://json-schema.org")


def test_check(dp, model):
    shown = dp("check", model)
    assert re.search(r"^ok +force = -dE/dx ", shown.out, re.MULTILINE)
    assert shown.code == 0
    assert "FAILED" not in shown.out
    assert re.fullmatch(r"(\d+) of \1 checks passed\.", shown.out.splitlines()[-1])


def test_check_of_a_model_that_fails(dp, model, monkeypatch):
    report = CheckReport(
        (Check("rotation", 1e-3, 1e-8), Check("translation", 0.0, 1e-8)), skipped=("array-API standard",)
    )
    monkeypatch.setattr("dp_core.testing.check_model", lambda *args, **options: report)
    shown = dp("check", model)
    assert shown.code == 1
    assert shown.out.splitlines() == [
        "FAILED rotation                       1.0e-03  allowed 1e-08",
        "ok     translation                    0.0e+00  allowed 1e-08",
        "skipped array-API standard",
        "1 of 2 checks passed.",
    ]
