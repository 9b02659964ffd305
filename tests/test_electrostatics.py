"""Sums over spread charges, and the models that contain them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from dp_core import DeepPot, testing
from dp_core.backend import get_backend, installed
from dp_core.compression import compress, is_compressed, uncompressed
from dp_core.data import Frame, Label, open_systems, write_npy_system
from dp_core.data.budget import Budget
from dp_core.data.short_range import short_range_systems
from dp_core.errors import ConfigError, DataError, FormatError
from dp_core.ewald import COULOMB, ewald
from dp_core.frozen import capabilities
from dp_core.long_range import LongRange, long_range, short_range
from dp_core.model_file import load_model, model_document, model_from_document, save_model
from dp_core.models.protocol import new_model
from dp_core.module import replace
from dp_core.prediction import Derivatives, Prediction, Structure
from dp_core.schema import parse_model
from dp_core.training import train

GOLDEN = Path(__file__).parent / "golden"
MODEL = GOLDEN / "dplr.dp"
MADELUNG = 1.7475645946331821906  # of NaCl, OEIS A085469
CELL = np.array([[6.1, 0.3, -0.2], [0.9, 5.7, 0.5], [-0.6, 0.8, 6.4]])


def of_points(position, charge, cell, beta, backend):
    """The energy of point charges: the sum, and what the Gaussians leave of it, in real space."""
    found = ewald(position, charge, cell, beta=beta, spacing=0.2, backend=get_backend(backend)).energy.sum()
    found -= COULOMB * beta / math.sqrt(math.pi) * np.sum(charge**2)
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3) @ cell
    for shift in images:
        d = np.linalg.norm(position[:, None] - position + shift, axis=-1)
        d[d == 0.0] = np.inf
        screened = np.vectorize(math.erfc)(beta * d) / d
        found += 0.5 * COULOMB * charge @ screened @ charge
    return found


def test_rock_salt_has_its_madelung_constant(backend):
    corner = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    charge = np.repeat([1.0, -1.0], 4)
    found = of_points(2.1 * corner, charge, 4.2 * np.eye(3), 0.8, backend)
    assert found == pytest.approx(-4 * MADELUNG * COULOMB / 2.1, rel=1e-12)
    # the same crystal in a triclinic cell, and with a charge distribution that is no point of symmetry
    primitive = 2.1 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [2.0, 1.0, 1.0]])
    two = np.array([[0.3, 0.1, -0.2], [2.4, 0.1, -0.2]])
    found = of_points(two, np.array([1.0, -1.0]), primitive, 0.8, backend)
    assert found == pytest.approx(-MADELUNG * COULOMB / 2.1, rel=1e-10)


def test_point_charges_do_not_depend_on_the_spread():
    random = np.random.default_rng(0)
    position, charge = random.uniform(size=(7, 3)) @ CELL, random.normal(size=7)
    charge -= charge.mean()
    one, other = (of_points(position, charge, CELL, beta, "numpy") for beta in (0.65, 1.0))
    assert one == pytest.approx(other, abs=1e-9)


def test_forces_and_virial_are_derivatives(backend):
    random = np.random.default_rng(1)
    position, charge = random.uniform(size=(5, 3)) @ CELL, random.normal(size=5)

    def summed(x, cell):
        return ewald(x, charge, cell, beta=0.4, spacing=0.83, backend=get_backend(backend))

    found = summed(position, CELL)
    step = 1e-4
    for atom, axis in ((0, 0), (3, 1), (4, 2)):
        shift = np.zeros((5, 3))
        shift[atom, axis] = step
        slope = (summed(position + shift, CELL).energy.sum() - summed(position - shift, CELL).energy.sum()) / (2 * step)
        assert found.force[atom, axis] == pytest.approx(-slope, abs=1e-7)
    for a, b in ((0, 0), (0, 2), (2, 1)):
        up, down = (np.eye(3) + s * step * np.outer(np.eye(3)[b], np.eye(3)[a]) for s in (1, -1))
        rise = summed(position @ up, CELL @ up).energy.sum() - summed(position @ down, CELL @ down).energy.sum()
        assert found.virial[a, b] == pytest.approx(-rise / (2 * step), abs=1e-6)
    assert np.abs(found.force.sum(axis=0)).max() < 1e-12


def test_pieces_make_the_whole(monkeypatch, backend):
    random = np.random.default_rng(2)
    position, charge = random.uniform(size=(5, 3)) @ CELL, random.normal(size=5)
    whole = ewald(position, charge, CELL, beta=0.4, spacing=1.0, backend=get_backend(backend))
    monkeypatch.setattr("dp_core.ewald._AT_ONCE", 300)
    pieces = ewald(position, charge, CELL, beta=0.4, spacing=1.0, backend=get_backend(backend))
    for name in ("energy", "force", "virial"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), atol=1e-12)


def test_modifier_gives_the_stored_numbers(golden, backend):
    """The correction alone; the sums are among the tests of frozen files."""
    case, model = golden("dplr"), load_model(MODEL)
    frames = [Structure(x, h.reshape(3, 3), case.data["atype"]) for x, h in zip(case.data["coord"], case.data["box"])]
    found = LongRange(model, get_backend(backend))(frames)
    for name in ("energy", "force", "virial"):
        expected = case.data[f"modifier_{name}"]
        value = getattr(found, name).reshape(expected.shape)
        assert np.abs(value - expected).max() < 1e-9 * np.abs(expected).max(), name
    np.testing.assert_allclose(found.atomic.reshape(3, -1).sum(axis=1), found.energy, rtol=1e-12)
    whole, short = DeepPot(model, backend), DeepPot(short_range(model), backend)
    for name, a, b in zip(("energy", "force", "virial"), whole.eval(*case.inputs), short.eval(*case.inputs)):
        assert np.abs(b - case.data[f"model_{name}"]).max() < 1e-9 * np.abs(b).max()
        assert np.abs(a - case.data[name]).max() < 1e-9 * np.abs(a).max()


def test_check_model_looks_at_forces_through_the_centroids(monkeypatch):
    monkeypatch.setattr(testing, "installed", lambda: ["numpy"])
    through = {"whole: force = -dE/dx", "whole: virial = -dE/dstrain"}
    report = testing.check_model(MODEL, "numpy", natoms=4)
    report.raise_for_failures()
    assert through <= {check.name for check in report.checks}

    def forgotten(self, pull, field):
        return Prediction(0, 0, 0, Derivatives(np.zeros_like(field), np.zeros((1, 3, 3)), None))

    monkeypatch.setattr("dp_core.long_range._Parts.pulled", forgotten)
    assert through <= {check.name for check in testing.check_model(MODEL, "numpy", natoms=4).failures}


# -- training


def written(folder: Path, case) -> str:
    """The stored frames with their whole energies, forces and virials as a system."""
    frames = []
    for k in range(3):
        labels = {name: case.data[name][k] for name in ("energy", "force", "virial")}
        coord, box = case.data["coord"][k], case.data["box"][k].reshape(3, 3)
        frames.append(Frame(0, k, coord, box, case.data["atype"], labels, frozenset(labels)))
    write_npy_system(folder / "data", frames, ["O", "H"])
    return str(folder / "data")


def input_for(folder: Path, case, **model) -> dict:
    system = written(folder, case)
    return {
        "model": load_model(MODEL).script | model,
        "learning_rate": {"type": "exp", "start_lr": 1e-9, "stop_lr": 1e-10},
        "loss": {
            "type": "ener", "start_pref_e": 1, "limit_pref_e": 1, "start_pref_f": 1, "limit_pref_f": 1,
            "start_pref_v": 1, "limit_pref_v": 1,
        },
        "training": {
            "training_data": {"systems": system, "batch_size": 1},
            "validation_data": {"systems": system, "batch_size": 1},
            "numb_steps": 2, "disp_freq": 1, "seed": 1,
        },
        "validating": {"full_validation": True, "validation_freq": 1, "full_val_start": 0},
    }  # fmt: skip


MODIFIER = {
    "type": "dipole_charge", "model_name": "dipole.dp", "model_charge_map": [-8.0], "sys_charge_map": [6.0, 1.0],
    "ewald_h": 0.75, "ewald_beta": 0.375,
}  # fmt: skip


def test_training_learns_what_the_charges_leave(golden, tmp_path, backend):
    """The stored model has no errors against labels that contain the long-range part."""
    case = golden("dplr")
    save_model(load_model(MODEL).modifier.dipole, tmp_path / "dipole.dp")
    document = input_for(tmp_path, case, modifier=MODIFIER)
    result = train(document, backend=backend, directory=tmp_path, init_frz_model=MODEL)
    rows = np.loadtxt(tmp_path / "lcurve.out")
    assert rows.shape[0] == 2
    assert rows[:, 1:-1].max() < 1e-6
    validated = np.loadtxt(tmp_path / "val.log", comments="#")
    assert validated[:, 1:].max() < 1e-3  # meV
    with DeepPot(result.checkpoint, backend) as pot:
        energy, force, virial = pot.eval(*case.inputs)
    np.testing.assert_allclose(energy, case.data["energy"], rtol=1e-6)
    np.testing.assert_allclose(force, case.data["force"], atol=1e-6)
    np.testing.assert_allclose(virial, case.data["virial"], atol=1e-6)
    if backend != installed()[0]:  # compiled once more for nothing
        return
    document["training"]["numb_steps"] = 3
    train(document, backend=backend, directory=tmp_path, restart=result.checkpoint)
    assert np.loadtxt(tmp_path / "lcurve.out")[2, 1:-1].max() < 1e-6


def test_labels_are_computed_once(golden, tmp_path, monkeypatch):
    (system,) = open_systems(written(tmp_path, golden("dplr")), ["O", "H"])
    model, budget = load_model(MODEL), Budget(1 << 20)
    labels = [Label("energy", 1), Label("force", 3, atomic=True), Label("virial", 9)]
    (reduced,) = short_range_systems([system], model, get_backend("numpy"), labels, budget)
    first = reduced.frame(1, labels)
    monkeypatch.setattr(reduced, "_long", None)  # not asked again
    again = reduced.frame(1, labels[1:])
    np.testing.assert_array_equal(first.labels["force"], again.labels["force"])
    assert set(again.labels) == {"force", "virial"}
    assert not first.labels["force"].flags.writeable
    np.testing.assert_allclose(first.labels["energy"], golden("dplr").data["model_energy"][1], rtol=1e-9)
    assert reduced.frame(2).labels == {}
    assert budget.left == (1 << 20) - 8 * (10 + 3 * system.natoms)
    assert short_range_systems([system], short_range(model), get_backend("numpy"), labels, budget) == [system]


@pytest.mark.parametrize("left", [8, 7])
def test_labels_are_kept_as_far_as_memory_allows(golden, tmp_path, left):
    """Here the energies of one frame, or none; everything else is computed again, and the same."""
    (system,) = open_systems(written(tmp_path, golden("dplr")), ["O", "H"])
    labels, budget = [Label("energy", 1), Label("force", 3, atomic=True)], Budget(left)
    (reduced,) = short_range_systems([system], load_model(MODEL), get_backend("numpy"), labels[:1], budget)
    for _ in range(2):
        for k in range(2):
            frame = reduced.frame(k, labels)
            np.testing.assert_allclose(frame.labels["energy"], golden("dplr").data["model_energy"][k], rtol=1e-9)
            np.testing.assert_allclose(frame.labels["force"], golden("dplr").data["model_force"][k], atol=1e-9)
    assert budget.left == left % 8


def test_the_model_of_dipoles_is_compressed_too(golden, tmp_path):
    case, model = golden("dplr"), load_model(MODEL)
    save_model(compress(model, min_nbor_dist=0.7), tmp_path / "small.dp")
    small = load_model(tmp_path / "small.dp")
    assert is_compressed(small)
    assert is_compressed(small.modifier.dipole)
    for value, name in zip(DeepPot(small, "numpy").eval(*case.inputs), ("energy", "force", "virial")):
        np.testing.assert_allclose(value, case.data[name], atol=1e-7)
    again = uncompressed(small)
    assert not is_compressed(again.modifier.dipole)
    assert again.modifier.fingerprint() == model.modifier.fingerprint()


# -- charges as a member of a sum


def summed_settings(**ewald_settings):
    table = {"type": "pairtab", "tab_file": str(GOLDEN / "pair_table_OH.txt"), "rcut": 4.0, "sel": 30}
    charges = {"type": "ewald", "charges": [-0.8, 0.4], **ewald_settings}
    return {"type": "linear_ener", "type_map": ["O", "H"], "models": [table, charges], "weights": [1.0, 0.5]}


def test_charges_in_a_sum(golden, backend, tmp_path):
    case = golden("dplr")
    settings = summed_settings(ewald_h=0.8)
    model = new_model(parse_model(settings), ["O", "H"])
    save_model(model, tmp_path / "sum.dp")
    found = DeepPot(tmp_path / "sum.dp", backend).eval(*case.inputs)
    alone = DeepPot(short_range(model), backend).eval(*case.inputs)
    charge = np.array([-0.8, 0.4])[case.data["atype"]]
    for k in range(3):
        cell = case.data["box"][k].reshape(3, 3)
        term = ewald(case.data["coord"][k], charge, cell, beta=0.4, spacing=0.8, backend=get_backend("numpy"))
        assert found[0][k, 0] - alone[0][k, 0] == pytest.approx(0.5 * term.energy.sum(), abs=1e-9)
        np.testing.assert_allclose(found[1][k] - alone[1][k], 0.5 * term.force, atol=1e-9)
        np.testing.assert_allclose(found[2][k] - alone[2][k], 0.5 * term.virial.ravel(), atol=1e-9)


def test_charges_in_a_sum_with_a_network_and_centroids(golden, tmp_path):
    """A sum of the stored network and the stored charges is the stored model, and trains."""
    case, model = golden("dplr"), load_model(MODEL)
    save_model(model.modifier.dipole, tmp_path / "dipole.dp")
    charges = {"type": "ewald", "charges": [6.0, 1.0]} | {k: MODIFIER[k] for k in MODIFIER if "charge" not in k}
    charges |= {"type": "ewald", "model_charge_map": [-8.0]}
    section = {"type": "linear_ener", "type_map": ["O", "H"], "models": [model.script, charges], "weights": "sum"}
    fresh = new_model(parse_model(section), ["O", "H"], tmp_path)
    whole = replace(fresh, models=(short_range(model), fresh.models[1]))
    again = model_from_document(model_document(whole))
    for value, name in zip(DeepPot(again, "numpy").eval(*case.inputs), ("energy", "force", "virial")):
        np.testing.assert_allclose(value, case.data[name], atol=1e-9)
    save_model(again, tmp_path / "whole.dp")
    document = input_for(tmp_path, case) | {"model": section}
    train(document, backend="numpy", directory=tmp_path, init_frz_model=tmp_path / "whole.dp")
    assert np.loadtxt(tmp_path / "lcurve.out")[:, 1:-1].max() < 1e-6


def test_frozen_files_say_what_their_graphs_leave_out():
    model, summed = load_model(MODEL), new_model(parse_model(summed_settings()), ["O", "H"])
    found = [capabilities(m)["long_range"] for m in (short_range(model), model, summed)]
    assert found == [None, "modifier", "member"]


# -- what is refused


@pytest.mark.parametrize(
    ("loss", "message"),
    [({"start_pref_h": 1.0}, "no second derivatives"), ({"enable_atom_ener_coeff": True}, "labels of atom_ener_coeff")],
)
def test_losses_of_what_is_not_computed(golden, tmp_path, loss, message):
    save_model(load_model(MODEL).modifier.dipole, tmp_path / "dipole.dp")
    document = input_for(tmp_path, golden("dplr"), modifier=MODIFIER)
    document["loss"] = {"type": "ener", "start_pref_e": 1.0, "limit_pref_e": 1.0} | loss
    with pytest.raises(ConfigError, match=message):
        train(document, backend="numpy", directory=tmp_path)
    assert not (tmp_path / "lcurve.out").exists()


def test_second_derivatives_are_refused_with_the_settings():
    with pytest.raises(ConfigError, match="hessian_mode: does not go with modifier"):
        parse_model(load_model(MODEL).script | {"modifier": MODIFIER, "hessian_mode": True})
    with pytest.raises(ConfigError, match="no second derivatives"):
        new_model(parse_model(summed_settings() | {"hessian_mode": True}), ["O", "H"])


def test_new_types_need_charges(tmp_path):
    """Whether the model knows its input or not."""
    save_model(load_model(MODEL).modifier.dipole, tmp_path / "dipole.dp")
    descriptor = {"type": "dpa1", "rcut": 4.0, "rcut_smth": 0.5, "sel": 40, "neuron": [4, 8], "attn_layer": 0}
    section = {"descriptor": descriptor, "fitting_net": {"neuron": [5]}, "modifier": MODIFIER}
    model = new_model(parse_model(section), ["O", "H"], tmp_path)
    for script in (None, section):
        assert replace(model, script=script).change_type_map(["H", "O"]).type_map == ("H", "O")
        with pytest.raises(ConfigError, match="charge of C is not known"):
            replace(model, script=script).change_type_map(["H", "O", "C"])


def test_a_grid_that_is_too_coarse(caplog):
    """Refused in settings; a file with it is read with a warning."""
    model = load_model(MODEL)
    with pytest.raises(ConfigError, match=r"modifier/ewald_h: is 2 Å, too coarse .* give 1.3 or less"):
        parse_model(model.script | {"modifier": MODIFIER | {"ewald_beta": 0.39, "ewald_h": 2.0}})
    with pytest.raises(ConfigError, match=r"models/1/ewald_h: is 0.2 Å, too coarse .* give 0.12 or less"):
        parse_model(summed_settings(ewald_beta=4.0, ewald_h=0.2))
    assert parse_model(summed_settings(ewald_beta=4.0, ewald_h=0.12))
    document = model_document(model)
    assert not caplog.records
    document["modifier"] = document["modifier"] | {"ewald_h": 2.0}
    assert model_from_document(document).modifier.spacing == 2.0
    assert "ewald_h is 2 Å, too coarse" in caplog.text


def test_what_a_whole_model_cannot_do(golden):
    case, pot = golden("dplr"), DeepPot(MODEL, "numpy")
    coord, _, types = case.inputs
    with pytest.raises(DataError, match="open boundaries"):
        pot.eval(coord, None, types)
    with pytest.raises(ConfigError, match="no virials of single atoms"):
        pot.eval(*case.inputs, atomic=True)
    with pytest.raises(ConfigError, match=r"long-range part, .* Take differences of the forces of predict"):
        pot.hessian(Structure(coord[0], np.eye(3) * 9, types))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sys_charge_map": [6.0]}, "has 1 charges of atoms, but the type map has 2"),
        ({"model_charge_map": [-8.0, 1.0]}, r"has 2 charges, but the dipole model gives dipoles of 1 types \(O\)"),
        ({"model_name": str(GOLDEN / "se_e2_a_oneside.dp")}, "not of dipoles"),
    ],
)
def test_wrong_charges(tmp_path, changes, message):
    model = load_model(MODEL)
    save_model(model.modifier.dipole, tmp_path / "dipole.dp")
    with pytest.raises(ConfigError, match=message):
        new_model(parse_model(model.script | {"modifier": MODIFIER | changes}), ["O", "H"], tmp_path)


def test_wrong_places(tmp_path):
    model = load_model(MODEL)
    save_model(model.modifier.dipole, tmp_path / "dipole.dp")
    dipoles = model.modifier.dipole.script | {"modifier": MODIFIER}
    with pytest.raises(ConfigError, match="models of the energy"):
        new_model(parse_model(dipoles), ["O", "H"], tmp_path)
    with pytest.raises(ConfigError, match="no model by itself"):
        new_model(parse_model({"type": "ewald", "charges": [1.0]}), ["O"])
    inner = summed_settings()
    only = parse_model(inner | {"models": inner["models"][1:], "weights": "sum"})
    with pytest.raises(ConfigError, match="None of the models sees neighbours"):
        new_model(only, ["O", "H"])
    inner["models"][0] |= {"modifier": MODIFIER}
    with pytest.raises(ConfigError, match="models/0/modifier: has no effect"):
        parse_model(inner)
    with pytest.raises(ConfigError, match="charge of X is not known"):
        load_model(MODEL).modifier.of_types(["O", "X"])


def test_a_damaged_modifier_is_told():
    document = model_document(load_model(MODEL))
    assert long_range(model_from_document(document))
    for key, value in (("dipole_model", None), ("sys_charge_map", [1.0]), ("@version", 9)):
        broken = {**document, "modifier": {**document["modifier"], key: value}}
        if value is None:
            del broken["modifier"]["dipole_model"]
        with pytest.raises(FormatError):
            model_from_document(broken)
