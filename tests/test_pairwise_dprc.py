"""pairwise_dprc: the QM region and MM residues, on every backend, against the definition written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dp_core import DeepPot, load_model
from dp_core.backend import get_backend
from dp_core.data import Frame, open_systems, write_npy_system
from dp_core.errors import ConfigError, DataError
from dp_core.inputs import input_labels
from dp_core.model_file import document_bytes
from dp_core.models.protocol import map_members, new_model
from dp_core.module import replace
from dp_core.schema import parse_model
from dp_core.statistics import bias_labels, change_bias
from dp_core.testing import check_model
from dp_core.training import train

TYPES = ["C", "H", "mO", "mH"]
BIAS = [-1.5, 0.5, 7.0, 8.0]  # eV; that of MM types counts for nothing


def part(rcut, seed, **fitting):
    descriptor = {
        "type": "se_atten", "rcut": rcut, "rcut_smth": 1.0, "sel": 60, "neuron": [4, 8], "axis_neuron": 2,
        "attn_layer": 0, "set_davg_zero": True, "seed": seed,
    }  # fmt: skip
    network = {"neuron": [6, 6], "seed": seed, "numb_aparam": 1, "use_aparam_as_mask": True}
    return {"descriptor": descriptor, "fitting_net": network | fitting}


def section(**changes):
    exclude = {"exclude_types": [[0, 0], [0, 1], [1, 1]]}
    mixed = part(3.5, 2)
    mixed["descriptor"] |= exclude
    return {"type": "pairwise_dprc", "type_map": TYPES, "qm_model": part(4.5, 1), "qmmm_model": mixed} | changes


@pytest.fixture
def model():
    def stronger(member):
        descriptor = member.model.descriptor
        return replace(member.model, descriptor=replace(descriptor, dstd=0.1 * descriptor.dstd))

    made = map_members(new_model(parse_model(section()), TYPES), stronger)
    return replace(made, out_bias=np.array(BIAS)[None, :, None])


def frame(periodic):
    """Five atoms of the QM region, residues of three, two and one atoms, and an atom that is not there."""
    random = np.random.default_rng(3)
    grid = np.array([[i % 3, i // 3 % 3, i // 9] for i in range(12)]) * 2.1
    coord = grid + random.normal(scale=0.2, size=grid.shape)
    types = np.array([2, 0, 1, 3, 1, 1, 3, 2, 3, 0, 2, 1])
    fragment = np.array([1, 0, 0, 1, 0, 0, 1, 2, 2, 0, 7, -1])
    coord[10] += [0.0, 0.0, 0.0 if periodic else 20.0]  # a residue that no atom sees
    return coord, np.diag([6.6, 6.9, 9.0]) if periodic else None, types, fragment


def by_hand(model, coord, box, types, fragment):
    """Energy, force and virial of the definition: one evaluation for the region, and one for each residue."""
    region = fragment == 0
    groups = [(model.models[0], region)]
    groups += [(model.models[1], region | (fragment == f)) for f in np.unique(fragment[fragment > 0])]
    energy = sum(BIAS[t] for t in types[region])
    force, virial = np.zeros_like(coord), np.zeros(9)
    for inner, chosen in groups:
        if not chosen.any():
            continue
        e, f, v = DeepPot(inner, "numpy").eval(coord[chosen], box, types[chosen])
        energy, virial = energy + e[0, 0], virial + v[0]
        force[chosen] += f[0]
    return energy, force, virial


@pytest.mark.parametrize("periodic", [False, True])
def test_the_definition(model, backend, periodic):
    coord, box, types, fragment = frame(periodic)
    energy, force, virial = by_hand(model, coord, box, types, fragment)
    found = DeepPot(model, backend).eval(coord, box, types, aparam=fragment, atomic=True)
    np.testing.assert_allclose(found[0][0, 0], energy, rtol=1e-10)
    np.testing.assert_allclose(found[1][0], force, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found[2][0], virial, rtol=0, atol=1e-10)
    assert np.abs(force[fragment > 0]).max() > 1e-3
    assert found[3][0, -1, 0] == 0.0


def test_tables_in_parts(model):
    """Neighbours without a row have fragments too; frames have residues of their own."""
    frames = [frame(periodic) for periodic in (True, False)]
    dp = DeepPot(model, "numpy", auto_batch_size=4)
    for coord, box, types, fragment in frames:
        energy, force, _ = by_hand(model, coord, box, types, fragment)
        found = dp.eval(coord, box, types, aparam=fragment)
        np.testing.assert_allclose(found[0][0, 0], energy, rtol=1e-10)
        np.testing.assert_allclose(found[1][0], force, rtol=0, atol=1e-10)


def test_without_a_region_or_residues(model, backend):
    coord, box, types, fragment = frame(True)
    dp = DeepPot(model, backend)
    alone = DeepPot(model.models[0], "numpy").eval(coord, box, types)
    only = dp.eval(coord, box, types, aparam=np.zeros(12))
    np.testing.assert_allclose(only[1], alone[1], rtol=0, atol=1e-10)
    energy, force, _ = by_hand(model, coord, box, types, np.maximum(fragment, 1))
    none = dp.eval(coord, box, types, aparam=np.maximum(fragment, 1))
    np.testing.assert_allclose(none[0][0, 0], energy, rtol=1e-10)
    np.testing.assert_allclose(none[1][0], force, rtol=0, atol=1e-10)


def test_physics(model):
    """Finite differences, permutations, files, and the same from every backend."""
    report = check_model(model, "numpy", natoms=7)
    report.raise_for_failures()


def test_fragments_that_are_none(model):
    coord, box, types, fragment = frame(True)
    dp = DeepPot(model, "numpy")
    assert dp.get_dim_aparam() == 1
    with pytest.raises(DataError, match="needs 1 atomic parameters"):
        dp.eval(coord, box, types)
    for wrong in (0.5, -2):
        with pytest.raises(DataError, match=f"aparam is {wrong:g} for atom 0"):
            dp.eval(coord, box, types, aparam=np.where(np.arange(12) == 0, wrong, fragment))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"qm_model": part(4.0, 1, use_aparam_as_mask=False)}, "use_aparam_as_mask"),
        ({"qm_model": {"descriptor": {"type": "se_e2_a", "sel": [9] * 4}, "fitting_net": {}}}, "mixed types"),
        ({"qm_model": section()}, "has a descriptor|tells fragments"),
        ({"qmmm_model": part(4.0, 1) | {"data_stat_nbatch": 3}}, "qmmm_model/data_stat_nbatch"),
        ({"qmmm_model": None}, "qmmm_model"),
    ],
)
def test_sections_that_do_not_fit(change, told):
    with pytest.raises(ConfigError, match=told):
        new_model(parse_model({k: v for k, v in section(**change).items() if v is not None}), TYPES)


def test_a_frozen_graph_is_refused(model, backend, tmp_path):
    suffix = {"torch": ".pth", "jax": ".hlo", "tensorflow": ".savedmodeltf"}.get(backend)
    if suffix is None:
        pytest.skip("NumPy has no frozen files")
    with pytest.raises(ConfigError, match=r"Evaluate its \.dp file"):
        get_backend(backend).freeze(model, document_bytes(model), tmp_path / f"model{suffix}")


@pytest.fixture
def data(model, tmp_path):
    """Frames that a model of the kind with another bias labels."""
    dp, random, frames = DeepPot(model, "numpy"), np.random.default_rng(5), []
    coord, box, types, fragment = frame(True)
    for index in range(4):
        moved = coord + random.normal(scale=0.1, size=coord.shape)
        energy, force, _ = dp.eval(moved, box, types, aparam=fragment)
        labels = {"energy": energy[0], "force": force[0], "aparam": fragment[:, None].astype(float)}
        frames.append(Frame(0, index, moved, box, types, labels, frozenset(labels)))
    write_npy_system(tmp_path / "data", frames, TYPES)
    return tmp_path / "data"


def test_a_training(data, backend, tmp_path):
    document = {
        "model": section(qm_model=part(4.5, 3)),
        "learning_rate": {"start_lr": 0.003, "stop_lr": 0.001, "decay_steps": 10},
        "loss": {},
        "training": {
            "training_data": {"systems": [str(data)], "batch_size": 2}, "numb_steps": 20, "disp_freq": 10, "seed": 1,
            "stat_file": str(tmp_path / "statistics"),
        },
    }  # fmt: skip
    result = train(document, backend=backend, directory=tmp_path)
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table["rmse_f_trn"][-1] < table["rmse_f_trn"][0]
    assert np.abs(result.model.out_bias[0, :2]).max() > 0.1
    assert not result.model.out_bias[0, 2:].any()  # atoms of residues have none
    inner = [m.descriptor.dstd for m in result.model.models]
    assert all(np.ptp(x) > 0 for x in inner)
    assert any(p.name.startswith("qm_") for p in (tmp_path / "statistics").rglob("*"))
    coord, box, types, fragment = frame(True)
    file = load_model(result.checkpoint)
    values = [DeepPot(m, "numpy").eval(coord, box, types, aparam=fragment)[0] for m in (file, result.model)]
    np.testing.assert_allclose(*values, rtol=1e-12)


def test_the_bias_follows_data(model, data):
    """The constants that a change of bias finds are those of the QM region."""
    wrong = replace(model, out_bias=model.out_bias + np.array([1.0, 1.0, 3.0, 3.0])[None, :, None])
    systems = open_systems([str(data)], TYPES)
    labels = [*bias_labels(wrong), *input_labels(wrong)]
    frames = [systems[0].frame(k, labels) for k in range(4)]
    changed, _ = change_bias(wrong, frames, get_backend("numpy").evaluator(wrong))
    coord, box, types, fragment = frame(True)
    values = [DeepPot(m, "numpy").eval(coord, box, types, aparam=fragment)[0] for m in (changed, model)]
    np.testing.assert_allclose(*values, rtol=1e-9)
    assert not (changed.out_bias - wrong.out_bias)[0, 2:].any()
