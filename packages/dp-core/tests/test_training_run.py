"""Whole trainings on tiny data: files, determinism, display, averages, options."""

from __future__ import annotations

import json
import logging
import shutil
from types import SimpleNamespace

import lmdb
import msgpack
import numpy as np
import pytest

from dp_core import load_model
from dp_core.data import Label, open_systems
from dp_core.errors import ConfigError, DataError
from dp_core.module import leaves, trained_leaves
from dp_core.neighbors import frame_neighbors
from dp_core.numpy_backend import NumpyBackend
from dp_core.schema import load_input
from dp_core.training import LogReporter, load_checkpoint, train
from dp_core.training.setup import Data, check_labels
from dp_core.training.validation import Mean, full_errors


def run(document, tmp_path, **more):
    return train(document, backend="numpy", directory=tmp_path, **more)


def same(a, b):
    assert list(a) == list(b)
    return all(np.array_equal(a[k], b[k]) for k in a)


def test_files_of_a_run(tiny, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    result = run(tiny(max_ckpt_keep=2), tmp_path)
    assert result.step == 8
    assert result.checkpoint == tmp_path / "model.ckpt-8.dp"
    assert sorted(p.name for p in tmp_path.glob("model.ckpt*")) == [
        "model.ckpt-6.dp", "model.ckpt-8.dp", "model.ckpt.dp",
    ]  # fmt: skip
    assert (tmp_path / "model.ckpt.dp").is_symlink()
    assert (tmp_path / "model.ckpt.dp").resolve() == result.checkpoint
    assert (tmp_path / "checkpoint").read_text() == "model.ckpt-8.dp"
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table["step"].tolist() == [1, 2, 4, 6, 8]
    assert table.dtype.names[:3] == ("step", "rmse_val", "rmse_trn")
    assert np.isfinite(table["rmse_f_val"]).all()
    text = caplog.text
    for line in (
        "Batch       1: trn: rmse = ", "Batch       8: val: rmse = ", "eta = 0:00:00 at ", "Found 2 System(s):",
        "Saved model to model.ckpt-8.dp", "finished training",
    ):  # fmt: skip
        assert line in text
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


def test_the_model_learns(tiny, tmp_path):
    run(tiny(numb_steps=60, disp_freq=20, save_freq=60), tmp_path)
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table["rmse_f_val"][-1] < 0.8 * table["rmse_f_val"][0]


def test_a_checkpoint_is_a_model_file(tiny, tmp_path):
    result = run(tiny(), tmp_path)
    model = load_model(result.checkpoint)
    assert same(leaves(model), leaves(result.model))
    assert 1.0 < model.min_nbor_dist < 2.5
    assert model.script["descriptor"]["sel"] == [20, 20]


def test_equal_seeds_give_equal_bits(tiny, tmp_path):
    first, second = (run(tiny(), tmp_path).model for _ in range(2))
    assert same(leaves(first), leaves(second))
    other = run(tiny(seed=2), tmp_path).model
    assert not same(leaves(first), leaves(other))


def test_a_missing_seed_is_drawn_and_recorded(tiny, tmp_path):
    first = run(tiny(seed=None), tmp_path).model
    recorded = json.loads((tmp_path / "out.json").read_text())
    assert recorded["training"]["seed"] >= 0
    assert recorded["model"]["descriptor"]["seed"] != recorded["model"]["fitting_net"]["seed"]
    again = train(tmp_path / "out.json", backend="numpy", directory=tmp_path).model
    assert same(leaves(first), leaves(again))
    assert not same(leaves(first), leaves(run(tiny(seed=None), tmp_path).model))


def test_seeds_of_the_parts_win(tiny, tmp_path):
    part = {"descriptor": {"seed": 5}}
    a = run(tiny(model=part, numb_steps=0), tmp_path).model
    b = run(tiny(model=part, numb_steps=0, seed=9), tmp_path).model
    assert same(leaves(a.descriptor.embeddings), leaves(b.descriptor.embeddings))
    assert not same(leaves(a.fitting.nets), leaves(b.fitting.nets))


def test_output_is_a_complete_input(tiny, tmp_path):
    run(tiny(model={"descriptor": {"sel": "auto"}}), tmp_path, output="full.json")
    settings = load_input(tmp_path / "full.json")
    assert all(n % 4 == 0 and n >= 4 for n in settings.model.descriptor.sel)
    assert settings.training.disp_file == "lcurve.out"
    assert not (tmp_path / "input_v2_compat.json").exists()


def test_old_names_are_written_in_the_form_of_today(tiny, tmp_path):
    document = tiny()
    document["model"]["descriptor"]["n_axis_neuron"] = document["model"]["descriptor"].pop("axis_neuron")
    run(document, tmp_path)
    upgraded = load_input(tmp_path / "input_v2_compat.json")
    assert upgraded.model.descriptor.axis_neuron == 2
    assert not upgraded.notices


def test_automatic_sel_needs_the_neighbours(tiny, tmp_path):
    with pytest.raises(ConfigError, match="skip-neighbor-stat forbids"):
        run(tiny(model={"descriptor": {"sel": "auto"}}), tmp_path, skip_neighbor_stat=True)
    assert run(tiny(), tmp_path, skip_neighbor_stat=True).model.min_nbor_dist is None


def test_small_sel_is_told(tiny, tmp_path, caplog):
    run(tiny(model={"descriptor": {"sel": [20, 3]}}), tmp_path, skip_neighbor_stat=True)
    assert "has more neighbours within 3 Å than sel [20, 3] takes" in caplog.text


def test_zero_steps_write_a_checkpoint(tiny, tmp_path):
    result = run(tiny(numb_steps=0), tmp_path)
    assert result.checkpoint == tmp_path / "model.ckpt-0.dp"
    assert load_checkpoint(result.checkpoint).step == 0
    assert (tmp_path / "lcurve.out").read_text() == ""


def test_epochs(tiny, tmp_path):
    # 9 frames in batches of one, drawn by size: 9 batches are an epoch
    assert run(tiny(numb_steps=None, numb_epoch=1.5), tmp_path).step == 14


def test_processes_share_epochs_and_scale_the_rate_when_asked(tiny, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(NumpyBackend, "world_size", 2)
    document = tiny(numb_steps=None, numb_epoch=1.5, learning_rate={"scale_by_worker": "sqrt"})
    assert run(document, tmp_path).step == 7
    rates = np.genfromtxt(tmp_path / "lcurve.out", names=True)["lr"]
    assert rates[0] == pytest.approx(0.01 * 2**0.5, rel=0.02)
    assert "start_lr is 0.0141421, scaled for 2 processes (scale_by_worker)." in caplog.text
    run(document | {"learning_rate": {"start_lr": 0.01}}, tmp_path)
    assert np.genfromtxt(tmp_path / "lcurve.out", names=True)["lr"][0] == 0.01


def test_nothing_to_train(tiny, tmp_path):
    frozen = {"descriptor": {"trainable": False}, "fitting_net": {"trainable": False}}
    with pytest.raises(ConfigError, match="No parameter is left to train: trainable is false"):
        run(tiny(model=frozen), tmp_path)


def test_type_map_of_the_data(tiny, tmp_path):
    assert run(tiny(model={"type_map": None}, numb_steps=1), tmp_path).model.type_map == ("O", "H")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"pair_exclude_types": [[0, 5]]}, r"model/pair_exclude_types names \[0, 5\]; types go from 0 to 1 \(O, H"),
        ({"pair_exclude_types": [[-1, 0]]}, r"model/pair_exclude_types names \[-1, 0\]"),
        ({"atom_exclude_types": [2]}, "model/atom_exclude_types names 2; types go"),
        ({"descriptor": {"exclude_types": [[0, 2]]}}, r"model/descriptor/exclude_types names \[0, 2\]"),
        ({"preset_out_bias": {"enrgy": [1.0, None]}}, "a bias for 'enrgy'; did you mean 'energy'"),
        ({"preset_out_bias": {"energy": [1.0]}, "type_map": None}, "preset_out_bias/energy has 1 entries, but"),
    ],
)
def test_types_and_outputs_that_the_model_does_not_have(tiny, tmp_path, model, message):
    with pytest.raises(ConfigError, match=message):
        run(tiny(model=model), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_no_validation_data(tiny, tmp_path):
    run(tiny(validation_data=None), tmp_path)
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table.dtype.names == ("step", "rmse_trn", "rmse_e_trn", "rmse_f_trn", "rmse_v_trn", "lr")


def test_quiet_training(tiny, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(tiny(disp_training=False, time_training=False), tmp_path)
    assert (tmp_path / "lcurve.out").read_text() == ""
    assert "Batch " not in caplog.text


def test_interval_average(tiny, tmp_path):
    run(tiny(disp_freq=1), tmp_path)
    every = np.genfromtxt(tmp_path / "lcurve.out", names=True)["rmse_f_trn"]
    run(tiny(disp_freq=4, disp_avg=True), tmp_path)
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table["step"].tolist() == [1, 4, 8]
    assert np.allclose(table["rmse_f_trn"], [every[0], every[1:4].mean(), every[4:].mean()], rtol=0.01)


def test_mean_weighs_and_skips_missing_labels():
    mean = Mean()
    mean.add({"rmse_e": 1.0, "rmse_v": float("nan")}, 10)
    mean.add({"rmse_e": 4.0, "rmse_v": 2.0}, 20)
    assert mean.values() == {"rmse_e": 3.0, "rmse_v": 2.0}
    assert np.isnan(Mean({"rmse_v": [0.0, 0.0]}).values()["rmse_v"])


def test_accumulated_batches_are_one_large_batch(tiny, tmp_path):
    data = {"systems": ["data/a"]}
    two = run(tiny(training_data=data | {"batch_size": 1}, acc_freq=2, numb_steps=2), tmp_path).model
    one = run(tiny(training_data=data | {"batch_size": 2}, numb_steps=2), tmp_path).model
    for path, value in trained_leaves(one).items():
        assert np.allclose(value, trained_leaves(two)[path], rtol=1e-9, atol=1e-12), path


def test_averaged_parameters(tiny, tmp_path):
    run(tiny(enable_ema=True, ema_decay=0.75, numb_steps=3, save_freq=1, ema_ckpt_keep=2), tmp_path)
    states = {n: trained_leaves(load_model(tmp_path / f"model.ckpt-{n}.dp")) for n in (2, 3)}
    averages = {n: trained_leaves(load_model(tmp_path / f"model_ema.ckpt-{n}.dp")) for n in (2, 3)}
    assert sorted(p.name for p in tmp_path.glob("model_ema*")) == [
        "model_ema.ckpt-2.dp", "model_ema.ckpt-3.dp", "model_ema.ckpt.dp",
    ]  # fmt: skip
    for path, average in averages[3].items():
        assert np.allclose(average, 0.75 * averages[2][path] + 0.25 * states[3][path], rtol=1e-14)
    assert (tmp_path / "checkpoint").read_text() == "model.ckpt-3.dp"


def test_full_validation(tiny, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    validating = {
        "full_validation": True, "validation_freq": 2, "full_val_start": 2, "validation_metric": "F:RMSE",
        "max_best_ckpt": 2,
    }  # fmt: skip
    result = run(tiny(validating=validating), tmp_path)
    lines = (tmp_path / "val.log").read_text().splitlines()
    assert lines[0].split()[:4] == ["#", "step", "E_MAE(meV/atom)", "E_RMSE(meV/atom)"]
    rows = {int(line.split()[0]): [float(x) for x in line.split()[1:]] for line in lines if not line.startswith("#")}
    assert list(rows) == [2, 4, 6, 8]
    ranking = sorted(rows, key=lambda step: rows[step][3])[:2]
    names = sorted(p.name for p in tmp_path.glob("best.ckpt*"))
    assert names == sorted(f"best.ckpt-{step}.t-{rank}.dp" for rank, step in enumerate(ranking, 1))
    assert "# saved best checkpoint: best.ckpt-2.t-1.dp (F:RMSE = " in "\n".join(lines)
    assert load_checkpoint(tmp_path / names[0]).step in ranking
    _check_against_predictions(rows[8], result.model, tmp_path / "data/v/set.000")
    run(tiny(numb_steps=1, save_freq=1, validating=validating), tmp_path)
    assert not list(tmp_path.glob("best.ckpt*"))  # a fresh run does not keep those of another


def _check_against_predictions(row, model, folder):
    from dp_core import DeepPot

    coord, box, force, energy, virial = (
        np.load(folder / f"{n}.npy") for n in ("coord", "box", "force", "energy", "virial")
    )
    e, f, v = DeepPot(model, backend="numpy").eval(coord, box, [1, 0, 0])
    volume = np.abs(np.linalg.det(box.reshape(-1, 3, 3)))[:, None]
    energy_error = (e.ravel() - energy.ravel()) / 3
    force_error = f.ravel() - force.ravel()
    stress_error = (v.reshape(-1, 9) - virial.reshape(-1, 9)) / volume
    expected = [g(x) * 1e3 for x in (energy_error, force_error, stress_error)
                for g in (lambda x: np.abs(x).mean(), lambda x: np.sqrt((x**2).mean()))]  # fmt: skip
    assert np.allclose(row, expected, rtol=1e-4)


def test_full_validation_cuts_large_frames(tiny, tmp_path, monkeypatch):
    """A table has a few rows at a time, with the same errors."""
    document = tiny(training_data={"systems": ["data/b"]}, validation_data={"systems": ["data/b"]}, numb_steps=0)
    model = run(document, tmp_path).model
    labels = [Label("energy", 1), Label("force", 3, atomic=True), Label("virial", 9)]
    frames = []
    for system in open_systems(str(tmp_path / "data/b"), model.type_map):
        for i in range(system.nframes):
            frame = system.frame(i, labels)
            frames.append((frame, frame_neighbors(frame.coord, frame.box, frame.types, model.neighbor_spec)))

    class Counting(NumpyBackend):
        rows = ()

        def evaluator(self, model):
            evaluate = super().evaluator(model)

            def counted(table):
                self.rows += (len(table.types),)
                return evaluate(table)

            return counted

    whole, cut = Counting(), Counting()
    cut.chunk_rows = 2
    expected = full_errors(model, whole, frames)
    assert full_errors(model, cut, frames) == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert set(whole.rows) == {6}
    assert set(cut.rows) == {2}
    assert {what for what, error in expected.items() if np.isnan(error)} == {
        f"{what}:{how}"
        for what in ("FR", "FM")
        for how in ("MAE", "RMSE")  # of models with spins
    }


def test_full_validation_of_averages(tiny, tmp_path):
    validating = {
        "full_validation": True, "ema_full_validation": True, "validation_freq": 2, "full_val_start": 0.5,
    }  # fmt: skip
    run(tiny(enable_ema=True, validating=validating), tmp_path)
    for name in ("val.log", "val_ema.log"):
        steps = [line.split()[0] for line in (tmp_path / name).read_text().splitlines() if line[0] == " "]
        assert steps == ["4", "6", "8"]
    assert len(list(tmp_path.glob("best_ema.ckpt-*.t-1.dp"))) == 1


def test_change_of_bias_at_the_end(tiny, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    plain = run(tiny(), tmp_path).model
    changed = run(tiny(change_bias_after_training=True), tmp_path)
    assert same(trained_leaves(plain), trained_leaves(changed.model))
    assert not np.array_equal(plain.out_bias, changed.model.out_bias)
    assert "Change output bias of ['O', 'H'] from " in caplog.text
    assert np.array_equal(load_model(changed.checkpoint).out_bias, changed.model.out_bias)


def test_other_folders(tiny, tmp_path):
    run(tiny(save_ckpt="out/m", save_dir="out/steps", disp_file="logs/curve.out", save_freq=4), tmp_path)
    assert sorted(p.name for p in (tmp_path / "out/steps").iterdir()) == ["m-4.dp", "m-8.dp"]
    assert (tmp_path / "out/m.dp").resolve() == (tmp_path / "out/steps/m-8.dp").resolve()
    assert (tmp_path / "checkpoint").read_text() == "out/steps/m-8.dp"
    assert (tmp_path / "logs/curve.out").is_file()
    assert (tmp_path / "logs/train_log.jsonl").is_file()


def test_statistics_file_is_used(tiny, tmp_path):
    first = run(tiny(stat_file="stat", numb_steps=0), tmp_path).model
    bias = tmp_path / "stat/O H/bias_atom_energy"
    np.save(bias.with_suffix(".npy"), np.load(bias) + 1.0)
    bias.with_suffix(".npy").replace(bias)
    second = run(tiny(stat_file="stat", numb_steps=0), tmp_path).model
    assert np.allclose(second.out_bias - first.out_bias, 1.0)


@pytest.mark.parametrize(
    "model",
    [
        {"preset_out_bias": {"energy": [-7.0, None]}},
        {"atom_exclude_types": [1]},
        {"pair_exclude_types": [[0, 1]]},
        {"descriptor": {"exclude_types": [[0, 1]]}},
        {"descriptor": {"env_protection": 0.5}},
        {"preset_out_bias": {"energy": [None, -1.0]}},
    ],
)
def test_statistics_of_other_settings_are_not_taken_from_the_file(tiny, tmp_path, model):
    run(tiny(stat_file="stat", numb_steps=0), tmp_path)
    kept = run(tiny(model=model, stat_file="stat", numb_steps=0), tmp_path).model
    fresh = run(tiny(model=model, numb_steps=0), tmp_path).model
    assert same(leaves(kept), leaves(fresh))
    again = run(tiny(model=model, stat_file="stat", stat_file_mode="read", numb_steps=0), tmp_path).model
    assert np.allclose(again.out_bias, fresh.out_bias)
    without = run(tiny(stat_file="stat", numb_steps=0), tmp_path).model
    assert same(leaves(without), leaves(run(tiny(numb_steps=0), tmp_path).model))


def test_dry_run_writes_nothing(tiny, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    result = run(
        tiny(save_ckpt="new/m", stat_file="stat", model={"descriptor": {"sel": "auto"}}), tmp_path, dry_run=True
    )
    assert sorted(tmp_path.rglob("*")) == before
    summary = result.summary
    assert (summary.first_step, summary.num_steps, summary.batches_per_epoch) == (0, 8, 9)
    assert [row.natoms for row in summary.training] == [4, 6]
    assert summary.trained < summary.parameters
    assert summary.learning_rates[0] == 0.01
    assert summary.seconds_per_step > 0
    assert all(n % 4 == 0 for n in summary.sel)


def test_unusual_labels_stop_before_anything_is_written(tiny, tmp_path):
    document = tiny()
    run(document, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.glob("*") if p.is_file()}
    force = np.load(tmp_path / "data/b/set.000/force.npy")
    force[2, 4] = np.nan
    np.save(tmp_path / "data/b/set.000/force.npy", force)
    with pytest.raises(DataError, match=r"data/b.*frame 2.*force of atom 1 is nan"):
        run(tiny(), tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.glob("*") if p.is_file()} == before


def test_data_without_labels(tiny, tmp_path, caplog):
    tiny_document = tiny()
    for path in [*tmp_path.glob("data/*/set.000/virial.npy"), tmp_path / "data/v/set.000/force.npy"]:
        path.unlink()
    run(tiny_document, tmp_path, output="first.json")
    assert "No frame of the training data has virial; what the loss compares with it counts nothing." in caplog.text
    assert "No frame of the validation data has force or virial; what" in caplog.text
    before = sorted(tmp_path.iterdir())
    for path in [*tmp_path.glob("data/*/set.000/energy.npy"), *tmp_path.glob("data/*/set.000/force.npy")]:
        path.unlink()
    with pytest.raises(DataError, match="No frame of the training data has energy or force or virial, so there is"):
        run(tiny_document, tmp_path)
    assert sorted(tmp_path.iterdir()) == before


def test_labels_that_a_loss_of_a_plugin_asks_for(tiny, tmp_path, model):
    tiny()
    systems = open_systems(str(tmp_path / "data/a"), model.type_map)
    wanted = [Label("energy", 1), Label("curl", 3, asked_by="start_pref_curl")]
    loss = SimpleNamespace(labels=lambda model: wanted)
    with pytest.raises(
        DataError, match=r"training data has curl, .* \(start_pref_curl\)\. They have: energy, force, v"
    ):
        check_labels(Data(systems, None, model.type_map), model, loss, LogReporter())


def test_defaults_are_no_labels_to_train_on(tiny, tmp_path):
    """The coefficients of atomic energies count where they are absent, but belong to energies."""
    loss = {"enable_atom_ener_coeff": True, "start_pref_f": 0, "limit_pref_f": 0, "start_pref_v": 0, "limit_pref_v": 0}
    document = tiny(loss=loss)
    for path in tmp_path.glob("data/*/set.000/energy.npy"):
        path.unlink()
    with pytest.raises(DataError, match=r"has energy, so there is nothing to train on. They have: force, virial. Add"):
        run(document, tmp_path)


def test_lmdb_labels_that_do_not_count(tiny, tmp_path):
    def packed(array):
        return {"type": str(array.dtype), "shape": list(array.shape), "data": array.tobytes()}

    labels = {"energies": packed(np.zeros(1)), "forces": packed(np.zeros((2, 3))), "virials": packed(np.zeros(9))}
    frame = {"atom_types": packed(np.array([0, 1])), "cells": packed(5 * np.eye(3)), "coords": packed(np.eye(3)[:2])}
    frame |= labels | {f"find_{name}": 0.0 for name in labels}
    with lmdb.open(str(tmp_path / "data.lmdb"), map_size=1 << 20) as env, env.begin(write=True) as transaction:
        transaction.put(b"__metadata__", msgpack.packb({"nframes": 1, "type_map": ["O", "H"]}))
        transaction.put(b"000000000000", msgpack.packb(frame))
    with pytest.raises(DataError, match=r"energy or force or virial, so there .* They have: no labels"):
        run(tiny(training_data={"systems": ["data.lmdb"]}), tmp_path)


def test_shapes_of_all_files_are_checked_first(tiny, tmp_path, monkeypatch):
    """Also of those that the sample leaves out."""
    monkeypatch.setattr("dp_core.training.setup.MOST_ATOMS", 4)
    document = tiny(model={"data_stat_nbatch": 1})
    np.save(tmp_path / "data/b/set.000/force.npy", np.zeros((4, 17)))
    with pytest.raises(DataError, match=r"data/b/set.000/force.npy has 17 numbers a frame, expected 3×6=18"):
        run(document, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_a_system_that_min_pair_dist_empties_is_refused_first(tiny, tmp_path):
    document = tiny(training_data={"min_pair_dist": 4.0})
    with pytest.raises(DataError, match=r"Every frame of system .*data/a has atoms closer than min_pair_dist 4.0 Å"):
        run(document, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_coordinates_in_another_unit_are_told(tiny, tmp_path, caplog):
    document = tiny(numb_steps=0)
    run(document, tmp_path)
    assert "in nm" not in caplog.text
    for name in ("coord", "box"):
        path = tmp_path / f"data/a/set.000/{name}.npy"
        np.save(path, np.load(path) * (0.1 if name == "coord" else 1.0))
    run(document, tmp_path)
    assert "Are the coordinates in nm? Lengths are in Å." in caplog.text


@pytest.mark.parametrize("skip", [True, False])
def test_a_large_cluster_in_another_unit_is_refused(tiny, tmp_path, skip):
    """Before its pairs fill the memory; only the estimate is ever counted."""
    count = 18
    grid = np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1).reshape(1, -1) * 2.0
    folder = tmp_path / "data/a"
    shutil.rmtree(folder)
    (folder / "set.000").mkdir(parents=True)
    (folder / "nopbc").touch()
    (folder / "type.raw").write_text("0\n" * count**3)
    np.save(folder / "set.000/coord.npy", 0.1 * grid)
    np.save(folder / "set.000/energy.npy", np.zeros(1))
    document = tiny(training_data={"systems": ["data/a"]}, model={"descriptor": {"rcut": 6.0}})
    with pytest.raises(DataError, match=r"frame 0: 5832 atoms lie in a cube .*, the closest two 0.2 Å apart.*in nm"):
        run(document, tmp_path, skip_neighbor_stat=skip)


def test_a_model_trained_with_hessians_gives_them(tiny, tmp_path):
    from dp_core import DeepPot

    document = tiny(loss={"start_pref_h": 1.0}, numb_steps=0)
    np.save(tmp_path / "data/a/set.000/hessian.npy", np.zeros((5, 144)))
    assert DeepPot(run(document, tmp_path).checkpoint, "numpy").has_hessian
    assert DeepPot(run(document | {"training": document["training"] | {"numb_steps": 1}}, tmp_path,
                       restart="model.ckpt").checkpoint, "numpy").has_hessian  # fmt: skip
    without = DeepPot(run(tiny(numb_steps=0, model={"hessian_mode": False}), tmp_path).checkpoint, "numpy")
    assert not without.has_hessian
    assert "hessian_mode" not in without.get_model_def_script()


def test_unwritable_folder(tiny, tmp_path):
    (tmp_path / "taken").touch()
    for option, more in {
        "save_ckpt": {}, "disp_file": {}, "save_dir": {}, "profiling_file": {"profiling": True},
        "tensorboard_log_dir": {"tensorboard": True}, "stat_file": {},
    }.items():  # fmt: skip
        with pytest.raises(ConfigError, match=r"taken.* cannot be written"):
            run(tiny(**{option: "taken/x"}, **more), tmp_path)
    with pytest.raises(ConfigError, match=r"taken.* cannot be written"):
        run(tiny(), tmp_path, output="taken/out.json")
    averages = {"ema_full_validation": True, "save_best_dir": "taken/x"}
    with pytest.raises(ConfigError, match=r"taken.* cannot be written"):
        run(tiny(enable_ema=True, validating=averages), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "taken"]


def test_reporter_of_ones_own(tiny, tmp_path):
    class Mine(LogReporter):
        shown = ()
        stages = ()

        def display(self, shown, *, timing):
            self.shown += (shown,)

        def progress(self, stage, done, total):
            self.stages += ((stage, done, total),)

    mine = Mine()
    run(tiny(), tmp_path, reporter=mine)
    assert [s.step for s in mine.shown] == [1, 2, 4, 6, 8]
    assert mine.shown[-1].remaining == 0.0
    assert ("Statistics", 9, 9) in mine.stages


@pytest.mark.parametrize("skip", [True, False])
def test_coincident_atoms_are_named(tiny, tmp_path, skip):
    """Also without the count of neighbours, which would find them first."""
    document = tiny()
    path = tmp_path / "data/a/set.000/coord.npy"
    coord = np.load(path)
    coord[1, 3:6] = coord[1, :3]
    np.save(path, coord)
    with pytest.raises(DataError, match="0 and 1"):
        run(document, tmp_path, skip_neighbor_stat=skip)
