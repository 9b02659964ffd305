"""Models with spins: their section, their data, a training, and what a user may do wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dp_core import DeepPot, DeepSpin, load_model
from dp_core.compression import compress, obstacle
from dp_core.data import Frame, open_systems, write_npy_system
from dp_core.errors import ConfigError, DataError
from dp_core.frozen import capabilities
from dp_core.models.protocol import new_model
from dp_core.models.spin_section import spin_types
from dp_core.module import replace
from dp_core.numpy_backend import NumpyBackend
from dp_core.schema import parse_model
from dp_core.statistics import assign_bias, change_bias, compute_statistics, neighbor_statistics, whole
from dp_core.statistics.stat_file import StatFile
from dp_core.training import train

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
TYPES = ("Ni", "O", "Fe")


@pytest.fixture
def case():
    with np.load(GOLDEN / "spin_se_e2_a.npz") as stored:
        return dict(stored)


@pytest.fixture
def dp():
    return DeepSpin(GOLDEN / "spin_se_e2_a.dp", "numpy")


@pytest.mark.parametrize("use_spin", [[True, False, True], [2, 0], ["Fe", "Ni"]])
@pytest.mark.parametrize("scale", [0.3, [0.3, 0.3], [0.3, 0.7, 0.3]])
def test_forms_of_the_section(use_spin, scale):
    found = spin_types(use_spin, scale, TYPES)
    assert found.use_spin == (True, False, True)
    assert found.scale.tolist() == [0.3, 0.0, 0.3]


@pytest.mark.parametrize(
    ("use_spin", "scale", "told"),
    [
        ([True, False], 0.3, "2 flags for 3 types"),
        (["Co"], 0.3, "'Co', which is no type"),
        ([3], 0.3, "the type 3"),
        ([False] * 3, 0.3, "names no type"),
        (["Ni"], [0.3, 0.3], "2 numbers"),
        (["Ni"], [-0.3], "must be positive"),
    ],
)
def test_sections_that_do_not_fit(use_spin, scale, told):
    with pytest.raises(ConfigError, match=told):
        spin_types(use_spin, scale, TYPES)


def section(**more):
    descriptor = {
        "type": "se_e2_a", "rcut": 4.0, "rcut_smth": 0.5, "sel": [20, 20], "neuron": [3, 6], "axis_neuron": 2,
        "seed": 1,
    }  # fmt: skip
    return {
        "type_map": ["Ni", "O"],
        "descriptor": descriptor,
        "fitting_net": {"neuron": [5], "seed": 1},
        "spin": {"use_spin": ["Ni"], "virtual_scale": 0.3},
    } | more


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hessian_mode": True}, "does not go with hessian_mode"),
        ({"use_srtab": "t.txt", "sw_rmin": 0.5, "sw_rmax": 1.0, "smin_alpha": 0.1}, "does not go with use_srtab"),
        (
            {
                "modifier": {
                    "type": "dipole_charge",
                    "model_name": "d.dp",
                    "model_charge_map": [-8],
                    "sys_charge_map": [6],
                }
            },
            "does not go with modifier",
        ),
        ({"spin": {"use_spin": [True, False]}}, "virtual_scale"),
        ({"spin": {"use_spin": [True, False], "virtual_scale": 0.0}}, "must be positive"),
        ({"spin": {"use_spin": [True, False], "virtual_scale": 0.1, "virtual_len": [0.3]}}, "virtual atoms are in"),
        ({"spin": {"use_spin": [True, False], "virtual_scale": 0.1, "scheme": "native"}}, "deepspin"),
    ],
)
def test_model_sections_that_are_refused(change, told):
    with pytest.raises(ConfigError, match=told):
        parse_model(section(**change))


DESCRIPTORS = {
    "se_e2_r": {"type": "se_e2_r", "sel": [20, 20], "rcut": 4.0, "rcut_smth": 0.5, "neuron": [3, 6]},
    "hybrid": {
        "type": "hybrid",
        "list": [
            {"type": "se_e2_a", "sel": [9, 9], "rcut": 4.0, "rcut_smth": 0.5, "neuron": [3], "axis_neuron": 2},
            {"type": "dpa1", "sel": 20, "rcut": 3.5, "neuron": [3], "axis_neuron": 2, "attn_layer": 0},
        ],
    },
    "dpa3": {
        "type": "dpa3",
        "repflow": {
            "n_dim": 4, "e_dim": 3, "a_dim": 2, "nlayers": 1, "e_rcut": 4.0, "e_rcut_smth": 0.5, "e_sel": 30,
            "a_rcut": 3.5, "a_rcut_smth": 0.5, "a_sel": 20, "axis_neuron": 2,
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", DESCRIPTORS)
def test_other_descriptors(kind):
    """Forces are derivatives whatever sees the virtual atoms; where messages pass, these have rows."""
    settings = parse_model(section(descriptor=DESCRIPTORS[kind]))
    dp = DeepSpin(new_model(settings, settings.type_map), "numpy")
    random = np.random.default_rng(1)
    types, point = (
        np.array([0, 1, 0, 1, 0]),
        random.normal(size=(2, 1, 5, 3)) * np.array([1.5, 1.0])[:, None, None, None],
    )
    direction, h = random.normal(size=point.shape), 1e-4

    def energy(step):
        coord, spin = point + step * h * direction
        return dp.eval(coord, None, types, spin=spin)[0][0, 0]

    _, force, _, magnetic, _ = dp.eval(point[0], None, types, spin=point[1])
    slope = (energy(-2) - 8 * energy(-1) + 8 * energy(1) - energy(2)) / (12 * h)
    assert np.sum(direction * np.stack([force, magnetic])) == pytest.approx(-slope, rel=1e-6, abs=1e-10)
    assert np.abs(magnetic[0, [0, 2, 4]]).max() > 1e-6
    assert not magnetic[0, [1, 3]].any()


def test_what_a_predictor_says(dp, case):
    assert dp.has_spin
    assert dp.use_spin == (True, False)
    assert dp.get_ntypes_spin() == 1
    assert (dp.get_ntypes(), dp.get_type_map(), dp.get_sel_type()) == (2, ["Ni", "O"], [0, 1])
    inputs = case["coord"], case["box"], case["atype"]
    descriptor = dp.eval_descriptor(*inputs, spin=case["spin"])
    assert descriptor.shape[:2] == case["coord"].shape[:2]
    flat = dp.eval(*inputs, spin=case["spin"].ravel())
    for x, y in zip(flat, dp.eval(*inputs, spin=case["spin"].tolist()), strict=True):
        np.testing.assert_array_equal(x, y)
    assert flat[4].dtype == bool
    magnetic = np.broadcast_to(case["atype"] == 0, case["coord"].shape[:2])
    np.testing.assert_array_equal(flat[4][..., 0], magnetic)
    other = np.where(magnetic[..., None], case["spin"], 7.0)  # what is given for atoms without spin has no effect
    np.testing.assert_allclose(dp.eval(*inputs, spin=other)[0], case["energy"], rtol=1e-9)


def test_spins_of_length_zero(dp, case):
    """The virtual atom is then where its atom is. The energy has a cone there: the magnetic force is the mean of the
    slopes on both sides, in which the cone cancels."""
    spin = case["spin"].copy()
    spin[:, 0] = 0.0
    out = dp.eval(case["coord"], case["box"], case["atype"], spin=spin)
    for sign in (-1, 1):
        near = spin.copy()
        near[:, 0, 0] = sign * 1e-7
        for x, y in zip(out[:3], dp.eval(case["coord"], case["box"], case["atype"], spin=near), strict=False):
            np.testing.assert_allclose(x, y, atol=1e-4 * np.abs(y).max())

    def energy(axis, step):
        moved = spin.copy()
        moved[:, 0, axis] = step
        return dp.eval(case["coord"], case["box"], case["atype"], spin=moved)[0][:, 0]

    def slope(axis, h):  # its error is near h²/(virtual_scale·env_protection)
        return (energy(axis, h) - energy(axis, -h)) / (2 * h)

    h = 2e-6
    expected = np.stack([slope(axis, 2 * h) - 2 * slope(axis, h) for axis in range(3)], axis=-1)
    np.testing.assert_allclose(out[3][:, 0], expected, atol=1e-5)
    assert np.abs(energy(0, h) - energy(0, 0.0)).min() > 1e-7


def test_two_atoms_at_one_place(dp, case):
    """Only a virtual atom may be where its own atom is."""
    coord, spin = case["coord"][0].copy(), case["spin"][0].copy()

    def evaluate(coord, spin):
        return dp.eval(coord, case["box"][0], case["atype"], spin=spin)

    spin[0] = 0.0
    evaluate(coord, spin)
    first, other = np.flatnonzero(case["atype"] == 0)[:2]
    same = coord.copy()
    same[other] = same[first]
    for spins in (spin, 0.0 * spin):
        with pytest.raises(DataError, match=f"Atoms {first} and {other} of frame 0 are at the same place"):
            evaluate(same, spins)
    coord, spin = np.zeros((12, 3)), np.zeros((12, 3))
    coord[:, 0] = 20.0 * np.arange(12)  # nobody sees anybody
    spin[first] = [0.0, 0.0, 2.0]
    coord[other] = coord[first] + spin[first] * dp.get_model().virtual.scale[0]
    with pytest.raises(DataError, match=f"virtual atom of atom {first}.* of frame 0 are at the same place"):
        dp.eval(coord, None, case["atype"], spin=spin)


def test_models_that_are_not_changed(dp):
    model = dp.get_model()
    assert "any distance down to 0" in obstacle(model)
    with pytest.raises(ConfigError, match="cannot be compressed: it has spins"):
        compress(model, min_nbor_dist=1.0)
    with pytest.raises(ConfigError, match="they are Ni O"):
        model.change_type_map(["O", "Ni"])


def test_excluded_types_of_the_descriptor():
    given = section()
    given["descriptor"]["exclude_types"] = [[0, 1]]
    settings = parse_model(given)
    with pytest.raises(ConfigError, match=r"is \[\[0, 1\]\], but .* by model/pair_exclude_types"):
        new_model(settings, settings.type_map)


def test_a_statistics_file_knows_the_scale(tmp_path, case):
    """Statistics of one scale are none of another; those of the same are read."""
    systems = open_systems([write_data(tmp_path / "data", case)])
    file = StatFile(tmp_path / "stat", ["Ni", "O"])

    def statistics(scale, file, mode="update"):
        settings = parse_model(section(spin={"use_spin": ["Ni"], "virtual_scale": scale}))
        made, _ = compute_statistics(
            new_model(settings, settings.type_map), whole(systems), labels=["energy"], stat_file=file, mode=mode
        )
        return made.backbone.descriptor.dstd

    first = statistics(0.1, file)
    with pytest.raises(ConfigError, match="lacks"):
        statistics(1.5, file, "read")
    second = statistics(1.5, file)
    assert np.abs(first - second).max() > 0.01
    for scale, expected in ((0.1, first), (1.5, second)):
        np.testing.assert_allclose(statistics(scale, None), expected, rtol=1e-12)
        np.testing.assert_array_equal(statistics(scale, file, "read"), expected)


@pytest.mark.parametrize(
    ("spin", "told"),
    [
        (None, "The model has spins; give spin"),
        (np.ones((12, 2)), r"\(12, 2\), 24 numbers; expected \(36, 3\)"),
        ([["up"] * 3] * 12, "cannot be read as an array of numbers"),
        (np.full((3, 12, 3), np.nan), "spin of atom 0 of frame 0 is .*give finite numbers"),
    ],
)
def test_spins_that_do_not_fit(dp, case, spin, told):
    with pytest.raises(DataError, match=told):
        dp.eval(case["coord"], case["box"], case["atype"], spin=spin)


def test_spins_of_a_model_without(case):
    pot = DeepPot(GOLDEN / "se_e2_a_oneside.dp", "numpy")
    assert (pot.has_spin, pot.use_spin, pot.get_ntypes_spin()) == (False, (), 0)
    with pytest.raises(DataError, match="the model has no spins"):
        pot.eval(case["coord"], case["box"], case["atype"], spin=case["spin"])
    with pytest.raises(ConfigError, match="no spins, so it is nothing for DeepSpin"):
        DeepSpin(GOLDEN / "se_e2_a_oneside.dp", "numpy")


def test_the_record_of_a_frozen_file(dp):
    record = capabilities(dp.get_model())
    assert record["version"] == 2
    assert record["spin"] == {"scale": [0.314, 0.0]}
    assert record["type_map"] == ["Ni", "O"]
    assert record["blocks"] == 4
    assert "spin" not in capabilities(load_model(GOLDEN / "se_e2_a_oneside.dp"))


def write_data(folder, case, spins=True):
    """The stored frames with their results as labels."""
    frames = []
    for k, coord in enumerate(case["coord"]):
        labels = {name: case[name][k].reshape(-1, 3) for name in ("force", "force_mag", "spin")}
        labels |= {"energy": case["energy"][k], "virial": case["virial"][k]}
        labels = {name: x for name, x in labels.items() if spins or name != "spin"}
        frames.append(Frame(0, k, coord, case["box"][k].reshape(3, 3), case["atype"], labels, frozenset(labels)))
    write_npy_system(folder, frames, ["Ni", "O"])
    return str(folder)


def document(system, **loss):
    return {
        "model": section(),
        "learning_rate": {"type": "exp", "start_lr": 0.01, "stop_lr": 1e-3, "decay_steps": 5},
        "loss": {"type": "ener_spin", "start_pref_v": 0.1, "limit_pref_v": 0.1} | loss,
        "training": {
            "training_data": {"systems": [system], "batch_size": 2}, "validation_data": {"systems": [system]},
            "numb_steps": 6, "disp_freq": 3, "save_freq": 6, "seed": 1,
        },
        "validating": {
            "full_validation": True, "full_val_start": 0, "validation_freq": 3, "validation_metric": "FM:MAE",
        },
    }  # fmt: skip


def test_training(tmp_path, case):
    system = write_data(tmp_path / "data", case)
    result = train(document(system), backend="numpy", directory=tmp_path)
    head = (tmp_path / "lcurve.out").read_text().splitlines()[0].split()
    assert [name for name in head if name.endswith("_trn")] == [
        "rmse_trn", "rmse_e_trn", "rmse_fm_trn", "rmse_fr_trn", "rmse_v_trn",
    ]  # fmt: skip
    log = (tmp_path / "val.log").read_text()
    assert "FR_MAE(meV/Å)" in log
    assert "FM_MAE(meV/μB)" in log
    written = DeepSpin(result.checkpoint, "numpy")
    assert written.get_observed_types() == {"type_num": 2, "observed_type": ["Ni", "O"]}
    row = [line for line in log.splitlines() if line and not line.startswith("#")][-1].split()
    found = written.eval(case["coord"], case["box"], case["atype"], spin=case["spin"])
    magnetic = case["atype"] == 0
    errors = [np.abs(found[0] - case["energy"]).mean() / 12, np.abs(found[1] - case["force"]).mean()]
    errors.append(np.abs(found[3] - case["force_mag"])[:, magnetic].mean())
    np.testing.assert_allclose([float(row[k]) for k in (1, 3, 5)], 1e3 * np.array(errors), rtol=1e-3)


@pytest.mark.parametrize(("kind", "count"), [("se_e2_a", 2), ("dpa1", 1)])
def test_sel_counts_virtual_atoms(tmp_path, case, caplog, kind, count):
    given = document(write_data(tmp_path / "data", case))
    given["model"]["descriptor"] |= {"type": kind, "sel": "auto"}
    train(given, backend="numpy", directory=tmp_path)
    assert "more neighbours" not in caplog.text
    sel = json.loads((tmp_path / "out.json").read_text())["model"]["descriptor"]["sel"]
    assert len(sel) == count
    plain = neighbor_statistics(whole(open_systems([str(tmp_path / "data")])), 4.0, 2, mixed=count == 1).most
    assert (np.array(sel) > (2 if count == 1 else 1) * np.array(plain)).all()


def test_trainings_that_are_refused(tmp_path, case):
    system = write_data(tmp_path / "data", case)
    wrong = document(system)
    del wrong["validating"]
    with pytest.raises(ConfigError, match='Set loss/type to "ener_spin"'):
        train(wrong | {"loss": {"type": "ener"}}, backend="numpy", directory=tmp_path)
    wrong = document(system)
    del wrong["model"]["spin"]
    with pytest.raises(ConfigError, match="the model has no spins"):
        train(wrong, backend="numpy", directory=tmp_path)
    bare = write_data(tmp_path / "bare", case, spins=False)
    with pytest.raises(DataError, match="spin"):
        train(document(bare), backend="numpy", directory=tmp_path)


def test_change_of_bias(tmp_path, dp, case):
    """A bias that is off is found from the errors; that of the virtual atoms stays."""
    tree = dp.get_model()
    off = replace(tree, backbone=replace(tree.backbone, out_bias=tree.backbone.out_bias + np.eye(4)[:, :1] * 0.5))
    labels = {"energy", "spin"}
    frames = []
    for k, coord in enumerate(case["coord"]):
        values = {"energy": case["energy"][k], "spin": case["spin"][k], "atom_energy": np.zeros((12, 1))}
        frames.append(Frame(0, k, coord, case["box"][k].reshape(3, 3), case["atype"], values, frozenset(labels)))
    found, change = change_bias(off, frames, NumpyBackend().evaluator(off))
    assert change.type_map == ("Ni", "O")
    assert change.before > 0.1
    assert change.after < 1e-9
    count = np.array([(case["atype"] == t).sum() for t in (0, 1)])
    assert count @ (change.new - change.old)[:, 0] == pytest.approx(-0.5 * count[0])
    np.testing.assert_array_equal(found.backbone.out_bias[0, 2:], off.backbone.out_bias[0, 2:])
    given, change = assign_bias(tree, [1.0, 2.0])
    assert given.backbone.out_bias.ravel().tolist() == [1.0, 2.0, 0.0, 0.0]
