"""The local frame: a stored model made of stored weights, the rules of its axes, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core import DeepPot
from dp_core.batching import build_batch
from dp_core.descriptors.loc_frame import LocalFrame, LocalFrameSettings
from dp_core.errors import ConfigError
from dp_core.fittings.energy import EnergyFitting, EnergyFittingSettings
from dp_core.model_file import load_model
from dp_core.models.standard import StandardModel
from dp_core.module import leaves, replace, with_leaves
from dp_core.neighbors import frame_neighbors
from dp_core.schema import parse_model

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("O", "H")
RULE = [0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0]


def model_of_weights() -> StandardModel:
    """The model of the stored weights, which are arrays of another program."""
    with np.load(GOLDEN / "loc_frame" / "weights.npz") as stored:
        weights = dict(stored)
    settings = LocalFrameSettings(sel_a=[4, 8], sel_r=[6, 12], rcut=4.0, axis_rule=RULE)
    descriptor = replace(LocalFrame.init(settings, NAMES), davg=weights["davg"], dstd=weights["dstd"])
    fitting = EnergyFitting.init(
        EnergyFittingSettings(neuron=[12, 8, 8]), dim_descrpt=descriptor.dim_out, mixed_types=False, type_map=NAMES
    )
    values = {}
    for path in leaves(fitting):
        parts = path.split(".")
        if parts[0] == "nets":
            layer = "out" if parts[4] == "3" else f"layer{parts[4]}"
            values[path] = weights[f"fit_type{parts[2]}_{layer}_{parts[5]}"]
    bias = weights["bias_atom_e"].reshape(1, 2, 1)
    return StandardModel(descriptor, with_leaves(fitting, values), bias, np.ones_like(bias), NAMES)


def test_stored_model_has_the_stored_weights():
    stored, made = leaves(load_model(GOLDEN / "loc_frame.dp")), leaves(model_of_weights())
    assert stored.keys() == made.keys()
    for path, value in made.items():
        np.testing.assert_array_equal(stored[path], value, err_msg=path)


def test_energies_of_all_frames_and_forces_that_follow_from_them():
    """The stored forces of two frames lack what some atoms that axes point to should get; ours are derivatives."""
    with np.load(GOLDEN / "loc_frame" / "all_frames.npz") as stored:
        case = dict(stored)
    pot = DeepPot(GOLDEN / "loc_frame.dp", "numpy")
    inputs = case["coord"], case["box"], case["atype"]
    energy, force, _, atom_energy, _ = pot.eval(*inputs, atomic=True)
    np.testing.assert_allclose(energy, case["energy"], rtol=1e-12)
    np.testing.assert_allclose(atom_energy, case["atom_energy"], rtol=1e-11)
    np.testing.assert_allclose(pot.eval_descriptor(*inputs), case["descriptor"], atol=1e-12)
    np.testing.assert_allclose(force.sum(axis=1), 0, atol=1e-12)
    other = np.argwhere(np.abs(force - case["force"]).max(axis=-1) > 1e-9).tolist()
    assert other == [[1, 9], [2, 6], [2, 9]]
    for frame, atom in other:
        assert np.abs(case["force"][frame].sum(axis=0)).max() > 1e-3
        moved = np.repeat(case["coord"][[frame]], 6, axis=0)
        for c in range(3):
            moved[2 * c : 2 * c + 2, atom, c] += [1e-5, -1e-5]
        e = pot.eval(moved, np.repeat(case["box"][[frame]], 6, axis=0), case["atype"])[0].reshape(3, 2)
        np.testing.assert_allclose((e[:, 1] - e[:, 0]) / 2e-5, force[frame, atom], rtol=1e-6)


def coordinates(settings: LocalFrameSettings, coord: Any, types: Any) -> tuple[np.ndarray, np.ndarray]:
    """The descriptor of every atom before normalisation, and its axes; all in one frame without cell."""
    ntypes = len(settings.sel_a)
    descriptor = LocalFrame.init(settings, [f"T{t}" for t in range(ntypes)])
    model = StandardModel(descriptor, None, np.zeros((1, ntypes, 1)), np.ones((1, ntypes, 1)), descriptor.type_map)
    spec = model.neighbor_spec
    batch = build_batch([frame_neighbors(np.array(coord, float), None, np.array(types), spec)], spec)
    values, axes = descriptor.coordinates(batch.table)
    return batch.to_atoms(values), batch.to_atoms(axes)


LINE = [[0, 0, 0], [1.0, 0, 0], [0, 1.5, 0], [0, 0, 2.0], [-2.5, 0, 0]]


def test_axes_without_a_rule():
    """The nearest two neighbours of all, first those of the first type."""
    settings = LocalFrameSettings(sel_a=[4], sel_r=[0], axis_rule=[])
    values, axes = coordinates(settings, LINE, [0] * 5)
    np.testing.assert_allclose(axes[0], np.eye(3), atol=1e-15)
    np.testing.assert_allclose(values[0, :4], [1, 0, 1, 0], atol=1e-15)  # 1/r, z, x, y
    np.testing.assert_allclose(values[0, 8:12], [0.5, 0.5, 0, 0], atol=1e-15)
    radial, axes = coordinates(LocalFrameSettings(sel_a=[1], sel_r=[3], axis_rule=[]), LINE, [0] * 5)
    assert radial.shape == (5, 7)
    np.testing.assert_allclose(radial[0, 4:], [1 / 1.5, 1 / 2, 1 / 2.5])
    np.testing.assert_allclose(axes[0], [[0, 1, 0], [0, 0, 1], [1, 0, 0]], atol=1e-15)  # those of sel_r


def test_opposite_axes_take_the_next_neighbour():
    line = [[0, 0, 0], [1.0, 0, 0], [-1.1, 0, 0], [0, 0, 1.5]]
    _, axes = coordinates(LocalFrameSettings(sel_a=[3], sel_r=[0], axis_rule=[]), line, [0] * 4)
    np.testing.assert_allclose(axes[0], [[1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-15)
    _, axes = coordinates(LocalFrameSettings(sel_a=[3], sel_r=[0], axis_rule=[0, 0, 0, 0, 0, 1]), line, [0] * 4)
    np.testing.assert_allclose(axes[0], [[1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-15)


def test_axes_of_any_other_type():
    """-(t + 1) is any type but t, the nearest first; among sel_r it is -t."""
    types = [0, 1, 2, 0, 1]
    rule = [0, -1, 0, 0, -1, 1]  # the nearest two that are not of type 0
    values, axes = coordinates(LocalFrameSettings(sel_a=[2, 2, 2], sel_r=[0] * 3, axis_rule=rule * 3), LINE, types)
    np.testing.assert_allclose(axes[0], np.eye(3), atol=1e-15)
    assert values.shape == (5, 24)
    rule = [0, -3, 1, 0, -2, 1]  # the second that is not of type 2, the second that is not of type 1
    _, axes = coordinates(LocalFrameSettings(sel_a=[2, 2, 2], sel_r=[0] * 3, axis_rule=rule * 3), LINE, types)
    np.testing.assert_allclose(axes[0], [[0, 0, 1], np.zeros(3), np.zeros(3)], atol=1e-15)  # the same atom twice
    rule = [1, -1, 0, 1, -2, 0]  # in sel_r: the first not of type 1, the first not of type 2
    _, axes = coordinates(LocalFrameSettings(sel_a=[0] * 3, sel_r=[2, 2, 2], axis_rule=rule * 3), LINE, types)
    np.testing.assert_allclose(axes[0], [[0, 1, 0], [1, 0, 0], [0, 0, -1]], atol=1e-15)


def test_equal_distances_give_one_neighbour():
    square = [[0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]]
    settings = LocalFrameSettings(sel_a=[2, 2], sel_r=[0, 0], axis_rule=[0, -1, 0, 0, -1, 1] * 2)
    _, axes = coordinates(settings, square, [0, 1, 1])
    np.testing.assert_allclose(np.abs(axes[0].sum(axis=0)), np.ones(3), atol=1e-15)


def test_no_neighbours(golden, backend):
    pot = DeepPot(golden("loc_frame").path, backend)
    energy, force, virial = pot.eval(np.zeros((1, 1, 3)), None, [0])
    assert np.isfinite(energy).all()
    assert not force.any()
    assert not virial.any()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sel_a": [4]}, r"sel_a is \[4\] and sel_r is \[6, 12\]; give one number for each type"),
        ({"sel_a": [-4, 8]}, "give numbers ≥ 0, at least 2"),
        ({"axis_rule": [0, 1, 0]}, "axis_rule has 3 numbers; give 6 for each of the 2 types"),
        ({"axis_rule": ...}, "axis_rule: is required"),
        ({"rcut_smth": 1.0}, "unknown key"),
    ],
)
def test_settings_that_are_refused(changes, told):
    section = {"type": "loc_frame", "sel_a": [4, 8], "sel_r": [6, 12], "axis_rule": RULE} | changes
    section = {key: value for key, value in section.items() if value is not ...}
    with pytest.raises(ConfigError, match=told):
        parse_model({"type_map": list(NAMES), "descriptor": section, "fitting_net": {}})


@pytest.mark.parametrize("wrong", [[2, 0, 0], [0, 2, 0], [0, 1, 12], [1, 0, -1], [0, -1, 3], [1, 1, 12]])
def test_rules_that_name_no_neighbour(wrong):
    settings = LocalFrameSettings(sel_a=[4, 8], sel_r=[6, 12], axis_rule=[*RULE[:6], *RULE[6:9], *wrong])
    with pytest.raises(ConfigError, match="for type 1, which names no neighbour"):
        LocalFrame.init(settings, NAMES)


def test_another_number_of_types():
    settings = LocalFrameSettings(sel_a=[4, 8], sel_r=[6, 12], axis_rule=[])
    with pytest.raises(ConfigError, match="sel_a has 2 entries, but the type map has 3 elements"):
        LocalFrame.init(settings, ("O", "H", "C"))
