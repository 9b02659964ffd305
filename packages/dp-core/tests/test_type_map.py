"""Models brought to other types: known ones keep their energies, whatever the order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dp_core import DeepPolar, DeepPot, registry
from dp_core.errors import ConfigError
from dp_core.model_file import load_model, model_document, model_from_document, save_model
from dp_core.module import leaves, map_with_path, replace
from dp_core.schema import parse_model

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
MIXED = {"sel": 12, "rcut": 4.0, "rcut_smth": 1.0, "neuron": [2, 4], "tebd_dim": 3}
DPA1 = MIXED | {"type": "dpa1", "attn": 4, "attn_layer": 1, "axis_neuron": 2, "set_davg_zero": False}
TEBD = MIXED | {"type": "se_e3_tebd", "exclude_types": [[0, 2]]}
REPFLOW = {
    "n_dim": 6, "e_dim": 4, "a_dim": 4, "nlayers": 1, "axis_neuron": 2, "e_rcut": 4.0, "e_rcut_smth": 3.0, "e_sel": 12,
    "a_rcut": 3.0, "a_rcut_smth": 2.0, "a_sel": 6,
}  # fmt: skip
REPINIT = {"rcut": 4.0, "rcut_smth": 1.0, "nsel": 12, "neuron": [2, 4], "axis_neuron": 2, "tebd_dim": 3}
REPFORMER = {
    "rcut": 3.0, "rcut_smth": 1.0, "nsel": 6, "nlayers": 1, "g1_dim": 6, "g2_dim": 4, "axis_neuron": 2,
    "attn1_hidden": 3, "attn1_nhead": 2, "attn2_hidden": 3, "attn2_nhead": 2,
}  # fmt: skip
SECTIONS = {
    "dpa1": DPA1,
    "se_atten_v2": DPA1 | {"type": "se_atten_v2"},
    "se_e3_tebd": TEBD,
    "electrons": TEBD | {"use_econf_tebd": True},
    "dpa2": {"type": "dpa2", "repinit": REPINIT, "repformer": REPFORMER, "exclude_types": [[0, 2]]},
    "dpa3": {"type": "dpa3", "repflow": REPFLOW, "exclude_types": [[1, 1]]},
    "hybrid": {"type": "hybrid", "list": [DPA1, TEBD]},
}
OLD, NEW = ["O", "H", "C"], ["N", "C", "O", "H"]
BY_TYPE = {"type": "se_e2_a", "sel": [5, 5, 5], "rcut": 4.0, "neuron": [2, 4], "axis_neuron": 2}


def made(descriptor, **changes):
    """A model with random statistics and biases."""
    settings = parse_model({"type_map": OLD, "descriptor": descriptor, "fitting_net": {"neuron": [4]}} | changes)
    model = registry.lookup("model", "standard").init(settings, OLD)
    random = np.random.default_rng(2)

    def drawn(path, leaf):
        name = path.rsplit(".", 1)[-1]
        if name in ("out_bias", "bias_atom_e"):
            return random.normal(size=leaf.shape)
        if name == "dstd" and "dpa3" not in descriptor["type"]:
            return np.broadcast_to(random.uniform(0.5, 1.0, (len(leaf), 1, 4)), leaf.shape).copy()
        return leaf

    return replace(map_with_path(drawn, model), script=settings.to_document())


@pytest.mark.parametrize("name", SECTIONS)
def test_known_types_keep_their_energies(name):
    model = made(
        SECTIONS[name],
        pair_exclude_types=[[0, 1]],
        atom_exclude_types=[2],
        preset_out_bias={"energy": [1.0, None, 2.0]},
        fitting_net={"neuron": [4], "atom_ener": [0.5, None, 0.25], "type": "ener"},
    )
    changed = model.change_type_map(NEW, seed=1)
    random = np.random.default_rng(3)
    coord, box, types = random.uniform(0, 6, (1, 9, 3)), 6 * np.eye(3).reshape(1, 9), np.arange(9) % 3
    expected = DeepPot(model, "numpy").eval(coord, box, types)
    for copy in (changed, model_from_document(model_document(changed))):
        pot = DeepPot(copy, "numpy")
        found = pot.eval(coord, box, np.array([2, 3, 1])[types])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
        assert pot.get_type_map() == copy.script["type_map"] == NEW
        assert np.isfinite(pot.eval(coord, box, np.arange(9) % 4)[0]).all()
    assert changed.atom_exclude_types == changed.fitting.exclude_types == (1,)
    assert changed.pair_exclude_types == ((2, 3),)
    assert changed.script["pair_exclude_types"] == [[2, 3]]
    assert changed.preset_out_bias == changed.script["preset_out_bias"] == {"energy": [None, 2.0, 1.0, None]}
    assert changed.fitting.atom_ener == (None, 0.25, 0.5, None)
    assert changed.script["fitting_net"]["atom_ener"] == [None, 0.25, 0.5, None]
    assert changed.out_bias[0, 0] == 0.0
    assert changed.out_std.shape == (1, 4, 1)
    again = registry.lookup("model", "standard").init(parse_model(changed.script), NEW)
    assert {p: v.shape for p, v in leaves(again).items()} == {p: v.shape for p, v in leaves(changed).items()}
    assert again.descriptor.serialize().get("exclude_types") == changed.descriptor.serialize().get("exclude_types")


def test_known_types_keep_their_polarizabilities():
    fitting = {"type": "polar", "neuron": [4], "scale": [2.0, 3.0], "sel_type": [0, 2]}
    model = made(DPA1, fitting_net=fitting)
    model = replace(model, fitting=replace(model.fitting, constant_matrix=np.array([0.1, 0.2, 0.3])))
    changed = model.change_type_map(NEW, seed=1)
    coord, types = np.random.default_rng(3).uniform(0, 6, (1, 9, 3)), np.arange(9) % 3
    expected = DeepPolar(model, "numpy").eval(coord, None, types)
    found = DeepPolar(changed, "numpy").eval(coord, None, np.array([2, 3, 1])[types])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.abs(expected).max() > 1e-6
    assert changed.script["fitting_net"]["scale"] == [1.0, 3.0, 2.0, 1.0]
    assert sorted(changed.script["fitting_net"]["sel_type"]) == [0, 1, 2]


@pytest.mark.parametrize(("names", "excluded"), [(NEW, (1, 3)), (["H", "S"], (0,)), (["S", "O"], ())])
def test_selected_types_of_the_script_are_those_of_the_model(names, excluded):
    fitting = {"type": "dipole", "neuron": [4], "sel_type": [0]}
    changed = made(DPA1, fitting_net=fitting).change_type_map(names)
    again = registry.lookup("model", "standard").init(parse_model(changed.script), names)
    assert tuple(sorted(changed.fitting.exclude_types)) == again.fitting.exclude_types == excluded


def test_one_type_with_an_output_must_stay():
    model = made(DPA1, fitting_net={"type": "dipole", "neuron": [4], "sel_type": 0})
    with pytest.raises(ConfigError, match="excludes all of H, C, so no atom would have an output"):
        model.change_type_map(["H", "C"])


@pytest.mark.parametrize("names", [["H"], ["H", "S"], ["S", "H", "C"]])
def test_energies_stay_without_the_type_with_a_vacuum_energy(names, tmp_path):
    model = made(DPA1, fitting_net={"neuron": [4], "atom_ener": [-1.0, None, None]})
    changed = model.change_type_map(names, seed=1)
    save_model(changed, tmp_path / "changed.dp")
    coord = np.random.default_rng(3).uniform(0, 6, (1, 12, 3))
    expected = DeepPot(model, "numpy").eval(coord, None, np.full(12, 1))[0]
    for copy in (changed, load_model(tmp_path / "changed.dp")):
        found = DeepPot(copy, "numpy").eval(coord, None, np.full(12, names.index("H")))[0]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    again = registry.lookup("model", "standard").init(parse_model(changed.script), names)
    assert again.fitting.vacuum == changed.fitting.vacuum


def test_types_are_dropped_with_what_excludes_them():
    changed = made(TEBD, pair_exclude_types=[[0, 1]], atom_exclude_types=[0]).change_type_map(["C", "H"])
    assert changed.pair_exclude_types == changed.atom_exclude_types == ()
    assert changed.script["descriptor"]["exclude_types"] == []
    assert changed.descriptor.exclude_types == ()


def test_as_stored():
    """The document that DeePMD-kit makes of the same model, but for the random numbers of the new type."""
    found = load_model(GOLDEN / "type_map_changed_from.dp").change_type_map(["O", "S", "C", "N", "H"], seed=0)
    with np.load(GOLDEN / "type_map_changed.npz") as case:
        pot = DeepPot(found, "numpy")
        assert 1 not in case["atype"]
        energy, force, _ = pot.eval(case["coord"], case["box"], case["atype"])
        np.testing.assert_allclose(energy, case["energy"], rtol=1e-12)
        np.testing.assert_allclose(force, case["force"], atol=1e-12)
    expected = load_model(GOLDEN / "type_map_changed.dp")
    differing = differences(model_document(expected)["model"], model_document(found)["model"])
    assert differing == ["descriptor/type_embedding/embedding/layers/0/@variables/w"]


def differences(one, other, place=""):
    """Places where two documents differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        return [d for key in one for d in differences(one[key], other[key], f"{place}/{key}".strip("/"))]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [d for k, pair in enumerate(zip(one, other, strict=True)) for d in differences(*pair, f"{place}/{k}")]
    return [] if np.array_equal(one, other) else [place]


@pytest.mark.parametrize("typed", [{}, {"type_embedding": {"neuron": [3]}}])
def test_networks_of_types_cannot_be_changed(typed):
    with pytest.raises(ConfigError, match=r"types.* cannot be changed.* Train a new model"):
        made(BY_TYPE, **typed).change_type_map(NEW)


def test_networks_of_types_are_named():
    with pytest.raises(ConfigError, match="the descriptor se_e2_a, has networks of certain types, O, H, C in this"):
        made(BY_TYPE).change_type_map(NEW)
    with pytest.raises(ConfigError, match="Descriptor 1 of the hybrid, se_e2_a"):
        made({"type": "hybrid", "list": [DPA1, BY_TYPE]}).change_type_map(NEW)


@pytest.mark.parametrize("names", [[], ["O", "O"]])
def test_names_must_be_distinct(names):
    with pytest.raises(ConfigError, match="name each element once"):
        made(DPA1).change_type_map(names)
