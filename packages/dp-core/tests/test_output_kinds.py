"""Models of dipoles, polarizabilities, densities of states, properties and populations: settings, losses, training."""

import json

import numpy as np
import pytest

from dp_core import DeepDipole, DeepEval, DeepPot
from dp_core.data import Frame, write_npy_system
from dp_core.errors import ConfigError, DataError
from dp_core.losses.population import PopulationLoss, PopulationSettings
from dp_core.model_file import load_model, model_document, model_from_document
from dp_core.models.standard import StandardModel
from dp_core.module import leaves
from dp_core.neighbors import frame_neighbors
from dp_core.numpy_backend import gradient
from dp_core.schema import parse_model
from dp_core.training import train
from dp_core.training.batch import make_batch, with_prefactors

DESCRIPTOR = {"type": "se_e2_a", "sel": [20, 20], "rcut": 3.0, "rcut_smth": 1.0, "neuron": [2, 4], "axis_neuron": 2}
POINTS = np.array([[i % 2, i // 2 % 2, i // 4] for i in range(5)]) * 2.0 + 1.0

#: fitting -> its settings, its loss, and the labels of the data with their sizes
KINDS = {
    "dipole": ({"sel_type": 0}, {"type": "tensor", "pref": 0.5, "pref_atomic": 1}, {"dipole": 3, "atom_dipole": 3}),
    "polar": (
        {"fit_diag": False, "scale": [2.0, 0.5]},
        {"type": "tensor", "pref": 1, "pref_atomic": 1, "enable_atomic_weight": True},
        {"polarizability": 9, "atom_polarizability": 9, "atom_weight": 1},
    ),
    "dos": (
        {"numb_dos": 5},
        {"type": "dos", "start_pref_cdf": 0.1, "limit_pref_acdf": 0.1, "limit_pref_dos": 1},
        {"dos": 5, "atom_dos": 5},
    ),
    "property": (
        {"property_name": "gap", "task_dim": 2, "intensive": True},
        {"type": "property", "metric": ["mae", "mape"]},
        {"gap": 2},
    ),
    "population": ({}, {"type": "population", "metric": ["mae", "rmse"]}, {"atom_population": 2}),
}
COLUMNS = {
    "dipole": ["rmse_global_dipole", "rmse_local_dipole"],
    "polar": ["rmse_global_polar", "rmse_local_polar"],
    "dos": ["rmse_global_cdf", "rmse_global_dos", "rmse_local_cdf", "rmse_local_dos"],
    "property": ["mae", "mape"],
    "population": [
        "mae", "pop_alpha_total_loss", "pop_beta_total_loss", "pop_loss", "rmse", "spin_loss", "spin_total",
        "spin_total_loss",
    ],
}  # fmt: skip


def write_data(folder, labels, natoms=5):
    random = np.random.default_rng(2)
    frames = []
    for k in range(4):
        values = {
            name: random.normal(size=(natoms, size) if name.startswith("atom_") else size)
            for name, size in labels.items()
        }
        coord = POINTS + random.normal(scale=0.1, size=(natoms, 3))
        frames.append(
            Frame(0, k, coord, np.diag([4.5, 5.0, 5.5]), np.array([0, 1, 1, 0, 1]), values, frozenset(values))
        )
    write_npy_system(folder, frames, ["O", "H"])


def document(kind, **changes):
    fitting, loss, _ = KINDS[kind]
    return {
        "model": {
            "type_map": ["O", "H"], "descriptor": DESCRIPTOR, "fitting_net": {"type": kind, "neuron": [6]} | fitting,
        },
        "learning_rate": {"start_lr": 0.01, "stop_lr": 1e-3, "decay_steps": 5},
        "loss": loss,
        "training": {
            "training_data": {"systems": "data", "batch_size": 4}, "numb_steps": 12, "disp_freq": 3, "seed": 1,
            "save_freq": 12,
        },
    } | changes  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_training(tmp_path, kind):
    write_data(tmp_path / "data", KINDS[kind][2])
    result = train(document(kind), backend="numpy", directory=tmp_path)
    rows = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert list(rows.dtype.names) == ["step", *(f"{name}_trn" for name in COLUMNS[kind]), "lr"]
    values = np.array([rows[name] for name in rows.dtype.names])
    assert np.isfinite(values).all()
    log = [json.loads(line) for line in (tmp_path / "train_log.jsonl").read_text().splitlines()]
    shown = "pop_alpha_total_loss" if kind == "population" else next(iter(log[0]["training"]))
    assert log[-1]["training"][shown] < log[0]["training"][shown]

    predictor = DeepEval(tmp_path / "model.ckpt-12.dp", "numpy")
    assert predictor.get_sel_type() == ([0] if kind == "dipole" else [0, 1])
    if kind != "dipole" and kind != "polar" and kind != "population":
        assert np.abs(result.model.out_bias).max() > 0
    with pytest.raises(ConfigError, match="nothing for DeepPot"):
        DeepPot(result.model, "numpy")


@pytest.mark.parametrize("kind", KINDS)
def test_document_and_back(kind):
    settings = parse_model(document(kind)["model"])
    model = StandardModel.init(settings, ["O", "H"])
    again = model_from_document(model_document(model))
    assert leaves(again).keys() == leaves(model).keys()
    for path, value in leaves(model).items():
        np.testing.assert_array_equal(leaves(again)[path], value, err_msg=path)
    assert again.output == model.output
    assert again.fitting.exclude_types == model.fitting.exclude_types == ((1,) if kind == "dipole" else ())


@pytest.mark.parametrize("name", ["mask", "gradient", "energy", "coord", "fparam", "atom_gap", "atomic_gap"])
def test_names_that_a_property_cannot_have(name):
    with pytest.raises(ConfigError, match=f"property_name.*'{name}', which is the name of something else"):
        model_of("property", property_name=name)


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 9)])
def test_statistics_files_hold_matrices(tmp_path, shape):
    """As written, and as nine numbers."""
    write_data(tmp_path / "data", KINDS["polar"][2])
    settings = document("polar")
    settings["training"] |= {"numb_steps": 0, "stat_file": "stat"}
    first = train(settings, backend="numpy", directory=tmp_path).model
    for kind in ("bias", "std"):
        path = tmp_path / "stat" / "O H" / f"{kind}_atom_polarizability"
        stored = np.load(path)
        assert stored.shape == (2, 3, 3)
        with open(path, "wb") as file:
            np.save(file, stored.reshape(shape) + 1.0)
    settings["training"] |= {"stat_file_mode": "read"}
    again = train(settings, backend="numpy", directory=tmp_path).model
    np.testing.assert_allclose(again.out_bias, first.out_bias + 1.0)


def model_of(kind, **fitting):
    section = document(kind)["model"]
    section["fitting_net"] |= fitting
    return StandardModel.init(parse_model(section), ["O", "H"])


def test_scale_of_selected_types():
    assert model_of("polar").fitting.scale.ravel().tolist() == [2.0, 0.5]
    assert model_of("polar", scale=[3.0], pol_type=[1]).fitting.scale.ravel().tolist() == [1.0, 3.0]
    assert model_of("polar", scale=4).fitting.scale.ravel().tolist() == [4.0, 4.0]
    with pytest.raises(ConfigError, match=r"scale has 3 numbers; give one for each of the 2 types .* \(O, H\)"):
        model_of("polar", scale=[1.0, 2.0, 3.0])
    with pytest.raises(ConfigError, match="sel_type names 2; types go from 0 to 1"):
        model_of("dipole", sel_type=[2])


def test_descriptor_without_directions():
    section = document("dipole")["model"]
    section["descriptor"] = {"type": "se_e2_r", "sel": [20, 20], "rcut": 3.0, "neuron": [2, 4]}
    with pytest.raises(ConfigError, match="'dipole' needs a descriptor that knows directions"):
        StandardModel.init(parse_model(section), ["O", "H"])


@pytest.mark.parametrize(
    ("kind", "changes", "error", "message"),
    [
        ("dipole", {"loss": {"type": "ener"}}, ConfigError, "predicts 'dipole'. Set loss/type to \"tensor\""),
        ("dos", {"loss": KINDS["property"][1]}, ConfigError, "predicts 'dos'. Set loss/type to \"dos\""),
        ("polar", {"loss": {"type": "tensor", "pref": 0, "pref_atomic": 0}}, ConfigError, "nothing to train"),
        ("dos", {"loss": {"type": "dos", "start_pref_ados": 0, "limit_pref_ados": 0}}, ConfigError, "nothing to train"),
    ],
)
def test_losses_that_do_not_fit(tmp_path, kind, changes, error, message):
    write_data(tmp_path / "data", KINDS[kind][2])
    with pytest.raises(error, match=message):
        train(document(kind, **changes), backend="numpy", directory=tmp_path)


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("dipole", {}, "No frame of the training data has dipole or atom_dipole"),
        ("property", {}, "gap"),
        ("polar", {"polarizability": 6}, "polarizability"),
        ("dos", {"atom_dos": 4}, "atom_dos"),
    ],
)
def test_labels_that_are_missing_or_wrong(tmp_path, kind, labels, message):
    write_data(tmp_path / "data", labels)
    with pytest.raises(DataError, match=message):
        train(document(kind), backend="numpy", directory=tmp_path)


def test_derivatives_of_polarizabilities():
    """By NumPy, since models do not give them, against differences."""
    predictor = DeepEval(model_of("polar"), "numpy")
    types, box = [0, 1, 1, 0, 1], np.diag([4.5, 5.0, 5.5])
    total, force, virial = predictor.eval_full(POINTS, box, types)
    assert (total.shape, force.shape, virial.shape) == ((1, 9), (1, 9, 5, 3), (1, 9, 9))
    h = 1e-5 * np.random.default_rng(1).normal(size=POINTS.shape)
    plus, minus = (predictor.eval(POINTS + s * h, box, types, atomic=False) for s in (1, -1))
    np.testing.assert_allclose((plus - minus) / 2, -np.einsum("fcna,na->fc", force, h), rtol=1e-6, atol=1e-13)


def test_loss_of_populations():
    model = model_of("population")
    loss = PopulationLoss.from_settings(PopulationSettings(loss_func="mae"), 1.0, model.output)
    random = np.random.default_rng(3)
    frames = []
    for k, natoms in enumerate((5, 3)):
        labels = {"atom_population": random.normal(size=(natoms, 2))}
        types = np.array([0, 1, 1, 0, 1])[:natoms]
        frames.append(Frame(0, k, POINTS[:natoms], None, types, labels, frozenset(labels)))
    spec = model.neighbor_spec
    batch = make_batch(
        frames, [frame_neighbors(f.coord, None, f.types, spec) for f in frames], spec, loss.labels(model)
    )
    batch = with_prefactors(batch, loss.prefactors(1.0))
    value, metrics = loss(loss.predict(model, batch, gradient), batch)
    errors = [DeepEval(model, "numpy").eval(f.coord, None, f.types)[0][0] - f.labels["atom_population"] for f in frames]
    spins = [e[:, 0] - e[:, 1] for e in errors]
    expected = {
        "pop_loss": sum(np.abs(e).sum() for e in errors) / 4,
        "spin_loss": sum(np.abs(s).sum() for s in spins) / 4,
        "spin_total_loss": sum(abs(s.sum()) for s in spins),
        "pop_alpha_total_loss": sum(abs(e[:, 0].sum()) for e in errors),
        "pop_beta_total_loss": sum(abs(e[:, 1].sum()) for e in errors),
    }
    for name, wanted in expected.items():
        assert metrics[name] == pytest.approx(wanted, rel=1e-12), name
    assert value == pytest.approx(sum(expected.values()), rel=1e-12)
    assert metrics["mae"] == pytest.approx(np.abs(np.concatenate(errors)).mean(), rel=1e-12)


def test_wrong_predictor(tmp_path):
    from dp_core import save_model

    save_model(model_of("dos"), tmp_path / "dos.dp")
    with pytest.raises(ConfigError, match="predicts 'dos', which is no dipole"):
        DeepDipole(tmp_path / "dos.dp", "numpy")
    assert DeepEval(tmp_path / "dos.dp", "numpy").numb_dos == 5
    assert load_model(tmp_path / "dos.dp").output.kind == "dos"
