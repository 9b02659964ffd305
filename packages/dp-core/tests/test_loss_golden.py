"""Losses, gradients and a short training against stored numbers of DeePMD-kit, on every installed backend."""

import json
from pathlib import Path

import numpy as np
import pytest

from dp_core import registry
from dp_core.backend import Optimizer, TrainState, get_backend, installed
from dp_core.data import Frame
from dp_core.inputs import input_labels
from dp_core.losses.energy import EnergyLoss
from dp_core.model_file import load_model
from dp_core.module import leaves, trained_leaves, tree_map
from dp_core.neighbors import frame_neighbors
from dp_core.schema.section import validate
from dp_core.training.batch import loss_function, make_batch, with_prefactors
from dp_core.virtual_atoms import virtual_atoms

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
TRAINING = GOLDEN / "training"
NAMES = ("train_se_e2_a", "train_fparam", "train_dpa1", "train_dipole", "train_dos", "train_property", "train_spin")
CASES = {name: json.loads((TRAINING / f"{name}.json").read_text()) for name in NAMES}
SETTINGS = [(name, s["id"]) for name, case in CASES.items() for s in case["settings"]]


@pytest.fixture(params=[name for name in installed() if name != "numpy"] or ["numpy"])
def backend(request):
    return get_backend(request.param)


def setting(name, key):
    return next(s for s in CASES[name]["settings"] if s["id"] == key)


#: Of the case without prefactors, which are not those that an input has.
DOS_DEFAULT = {
    "start_pref_dos": 1,
    "limit_pref_dos": 1,
    "start_pref_cdf": 1000,
    "start_pref_ados": 0,
    "limit_pref_ados": 0,
}


def loss_of(case, model):
    section = {"type": "ener"} | case["loss_section"]
    section |= DOS_DEFAULT if section == {"type": "dos"} else {}
    kind = registry.lookup("loss", section["type"])
    return kind.from_settings(validate(kind.Settings, section), case["start_lr"], model.output)


def read_frames(name, labels, dropped=()):
    data = np.load(TRAINING / f"{name}.npz")
    natoms = data["coord"].shape[1]
    frames = []
    for k, coord in enumerate(data["coord"]):
        keys = {x.key: x.key if x.key in data else f"label_{x.key}" for x in labels}
        found = frozenset(key for key, place in keys.items() if place in data and key not in dropped)
        values = {
            x.key: data[keys[x.key]][k].reshape(x.shape(natoms)) if x.key in found else np.zeros(x.shape(natoms))
            for x in labels
        }
        box = data["box"][k].reshape(3, 3) if "box" in data else None
        types = np.broadcast_to(data["atype"], data["coord"].shape[:2])[k].astype(np.int64)
        frames.append(Frame(0, k, coord, box, types, values, found))
    return frames


def batch_of(name, model, loss, backend, dropped=()):
    labels = loss.labels(model)
    wanted = [*labels, *input_labels(model)]
    frames = read_frames(name, wanted, dropped)
    virtual = virtual_atoms(model)
    frames = frames if virtual is None else [virtual.frame(frame, wanted) for frame in frames]
    spec = model.neighbor_spec
    neighbors = [frame_neighbors(f.coord, f.box, f.types, spec) for f in frames]
    return make_batch(frames, neighbors, spec, labels, backend.round_rows, backend.round_slots)


def start(name, case, backend):
    model = load_model(TRAINING / f"{name}.dp")
    loss = loss_of(case, model)
    batch = batch_of(name, model, loss, backend, case.get("drop_labels", ()))
    function = loss_function(tree_map(backend.array, model), loss)
    return backend.training(function, TrainState(trained_leaves(model)), Optimizer()), loss, batch


@pytest.mark.parametrize(("name", "key"), SETTINGS)
def test_loss_metrics_and_gradient(backend, name, key):
    case = setting(name, key)
    run, loss, batch = start(name, case, backend)
    batch = with_prefactors(batch, loss.prefactors(case["lr"]))
    more = ("l2_", "mae_") if case.get("mae", False) else ("l2_",)  # stored, but never displayed
    expected = {k: v for k, v in case["values"].items() if not k.startswith(more)}

    evaluated = run.evaluate(batch)
    stepped = run.step([batch], case["lr"])
    assert set(stepped) == set(expected)
    assert set(evaluated) == set(expected) - {"grad_norm"}
    for k, v in expected.items():
        wanted = pytest.approx(np.nan if v is None else v, rel=1e-9, nan_ok=True)
        assert stepped[k] == wanted, k
        assert evaluated.get(k, stepped[k]) == wanted, k

    if "grad_dp" in case:
        gradient = leaves(load_model(TRAINING / case["grad_dp"]))
        first = run.state().moments["first"]  # after one step a tenth of the gradient
        assert set(first) == set(trained_leaves(load_model(TRAINING / f"{name}.dp")))
        for path, value in first.items():
            scale = np.abs(gradient[path]).max()
            np.testing.assert_allclose(value / 0.1, gradient[path], rtol=0, atol=1e-9 * scale, err_msg=path)


def test_trajectory(backend):
    name = "train_se_e2_a"
    case = setting(name, "mse")
    case = case | {
        "loss_section": case["loss_section"] | {"limit_pref_v": 0.1}
    }  # of the stored run; its file is silent
    run, loss, batch = start(name, case, backend)
    expected = CASES[name]["trajectory"]
    for rate, value, norm in zip(expected["lr"], expected["loss"], expected["grad_norm"], strict=True):
        metrics = run.step([with_prefactors(batch, loss.prefactors(rate))], rate)
        assert metrics["loss"] == pytest.approx(value, rel=1e-9)
        assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-9)
    after = leaves(load_model(TRAINING / expected["final_model_file"]))
    for path, value in run.state().params.items():
        scale = np.abs(after[path]).max()
        np.testing.assert_allclose(value, after[path], rtol=0, atol=1e-9 * scale, err_msg=path)


@pytest.mark.parametrize("system", ["hessian.npz", "hessian.nopbc.npz"])
def test_hessian_as_label(backend, system):
    """The Hessian of the model on each backend, by its difference from the stored one."""
    data = np.load(GOLDEN / system)
    model = load_model(GOLDEN / "hessian.dp")
    loss = EnergyLoss(
        EnergyLoss.Settings(start_pref_e=0, limit_pref_e=0, start_pref_f=0, limit_pref_f=0, start_pref_h=1), 1.0
    )
    labels = loss.labels(model)
    types = data["atype"].astype(np.int64)
    frames = [
        Frame(
            0, k, coord, data["box"][k].reshape(3, 3) if "box" in data else None, types,
            {"hessian": data["hessian"][k].reshape(-1)}, frozenset({"hessian"}),
        )
        for k, coord in enumerate(data["coord"])
    ]  # fmt: skip
    spec = model.neighbor_spec
    neighbors = [frame_neighbors(f.coord, f.box, f.types, spec) for f in frames]
    batch = make_batch(frames, neighbors, spec, labels, backend.round_rows, backend.round_slots)
    function = loss_function(tree_map(backend.array, model), loss)
    run = backend.training(function, TrainState(trained_leaves(model)), Optimizer())
    metrics = run.evaluate(with_prefactors(batch, loss.prefactors(1.0)))
    assert metrics["rmse_h"] < 1e-9 * np.abs(data["hessian"]).max()
