"""What ``dp train`` says of wrong labels, spins, tables and parameters for models of every kind.

Each sentence names the thing, what was found, what was expected, and the repair.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from dp_core.data import Frame, write_npy_system

TYPES = ["O", "H"]
DESCRIPTOR = {"type": "se_e2_a", "rcut": 3.0, "rcut_smth": 1.0, "sel": [20, 20], "neuron": [2, 4], "axis_neuron": 2}
MIXED = DESCRIPTOR | {"type": "dpa1", "sel": 20, "attn_layer": 0, "tebd_dim": 2}
SPIN = {"spin": {"use_spin": [True, False], "virtual_scale": 0.3}}
ENERGY = {"energy": 1, "force": 3}
NOTHING = "so there is nothing to train on. They have: energy, force. Add labels, or other terms to the loss."


def fitted(kind, loss, labels, **fitting):
    """A model of a kind, its loss, and data with labels of such sizes."""
    return {"fitting_net": {"type": kind, "neuron": [4]} | fitting}, loss, labels


def spinning(labels, **changes):
    return {"spin": SPIN["spin"] | changes}, {"type": "ener_spin"}, labels


def bridged(**changes):
    return {"use_srtab": "table.txt", "sw_rmin": 0.5, "sw_rmax": 1.5} | changes, {}, ENERGY


def summed(*parts):
    """A sum of models; numbers of frame parameters, or sections."""
    models = [
        {"type_map": TYPES, "descriptor": MIXED, "fitting_net": {"neuron": [4], "numb_fparam": part}}
        if isinstance(part, int)
        else part
        for part in parts
    ]
    section = {"type": "linear_ener", "weights": "sum", "models": models, "descriptor": None, "fitting_net": None}
    return section, {}, ENERGY | {"fparam": 1}


TABLE = {"type": "pairtab", "type_map": TYPES, "tab_file": "table.txt", "rcut": 3.0, "sel": 20}
TENSOR = {"type": "tensor", "pref": 1.0, "pref_atomic": 1.0}
OF_ATOMS = TENSOR | {"pref": 0.0}

#: model, loss, labels of the data; then arrays that take the place of theirs, or a table from … to … Å
CASES = {
    # labels that are missing
    "no dipoles": (fitted("dipole", TENSOR, ENERGY), {}, f"data has dipole or atom_dipole, {NOTHING}"),
    "dipoles of frames only": (
        fitted("dipole", OF_ATOMS, {"dipole": 3}),
        {},
        "data has atom_dipole, so there is nothing to train on. They have: dipole.",
    ),
    "no densities of states of atoms": (
        fitted("dos", {"type": "dos"}, {"dos": 5}, numb_dos=5),
        {},
        "data has atom_dos, so there is nothing to train on. They have: dos.",
    ),
    "no property": (
        fitted("property", {"type": "property"}, ENERGY, property_name="gap"),
        {},
        "data/set.000 has no gap.npy, which is required here. Its arrays: box.npy, coord.npy, energy.npy",
    ),
    "no populations": (
        fitted("population", {"type": "population"}, ENERGY),
        {},
        "no atom_population.npy or atomic_population.npy",
    ),
    "no Hessian": (
        fitted("ener", {"start_pref_h": 1.0}, ENERGY),
        {},
        "has hessian, for which the loss section has a weight (start_pref_h, limit_pref_h). They have: "
        "energy, force. Add the labels, or take the weight away.",
    ),
    "no weights of forces": (
        fitted("ener", {"start_pref_pf": 1.0}, ENERGY),
        {},
        "weight (start_pref_pf, limit_pref_pf)",
    ),
    "no energies of atoms": (
        fitted("ener", {"limit_pref_ae": 1.0}, ENERGY),
        {},
        "weight (start_pref_ae, limit_pref_ae)",
    ),
    "no spins": (spinning(ENERGY), {}, "has no spin.npy, which is required here"),
    "no frame parameters": (fitted("ener", {}, ENERGY, numb_fparam=1), {}, "has no fparam.npy, which is required here"),
    # shapes
    "dipoles of four": (
        fitted("dipole", TENSOR, {"dipole": 4}),
        {},
        "data/set.000/dipole.npy has 4 numbers a frame, expected 3; coord.npy has 4 frames. Correct the array",
    ),
    "some dipoles of atoms": (
        fitted("dipole", OF_ATOMS, ENERGY),
        {"atomic_dipole": (4, 14)},
        "atomic_dipole.npy has 14 numbers a frame, expected 3×5=15 for 5 atoms",
    ),
    "six polarizabilities": (fitted("polar", TENSOR, {"polarizability": 6}), {}, "6 numbers a frame, expected 9;"),
    "another property": (
        fitted("property", {"type": "property"}, {"gap": 2}, property_name="gap", task_dim=3),
        {},
        "has 2 numbers a frame, expected 3",
    ),
    "one population": (
        fitted("population", {"type": "population"}, {}),
        {"atomic_population": (4, 5)},
        "expected 2×5=10 for 5 atoms",
    ),
    "part of a Hessian": (
        fitted("ener", {"start_pref_h": 1.0}, ENERGY),
        {"hessian": (4, 15)},
        "has 15 numbers a frame, expected (3×5)²=225",
    ),
    "another frame parameter": (
        fitted("ener", {}, ENERGY | {"fparam": 2}, numb_fparam=1),
        {},
        "fparam.npy has 2 numbers a frame, expected 1;",
    ),
    # spins
    "lengths of spins": (spinning(ENERGY), {"spin": (4, 5)}, "spin.npy has 5 numbers a frame, expected 3×5=15"),
    "spins in words": (
        spinning(ENERGY),
        {"spin": np.full((4, 15), "up")},
        "spin.npy holds <U2, expected real numbers. Write it again as float32",
    ),
    "complex spins": (
        spinning(ENERGY),
        {"spin": np.full((4, 15), 1j)},
        "spin.npy holds complex128, expected real numbers.",
    ),
    "spins of an unknown type": (
        spinning(ENERGY, use_spin=["Fe"]),
        {},
        "model/spin/use_spin names 'Fe', which is no type. Known",
    ),
    "flags of another type map": (
        spinning(ENERGY, use_spin=[True]),
        {},
        "has 1 flags for 2 types (O, H). Give one for each",
    ),
    "spins as a word": (spinning(ENERGY, use_spin="O"), {}, "model/spin/use_spin: is 'O', expected a list of values"),
    "scales of other types": (
        spinning(ENERGY, virtual_scale=[0.3] * 3),
        {},
        "virtual_scale has 3 numbers; give one, or 2, one for each type (O, H), or 1",
    ),
    "loss of a model without spins": (
        (SPIN, {"type": "ener"}, ENERGY | {"spin": 15}),
        {},
        'has spins. Set loss/type to "ener_spin".',
    ),
    "loss of a model with spins": (
        ({}, {"type": "ener_spin"}, ENERGY),
        {},
        'has no spins. Give model/spin, or use "ener"',
    ),
    # tables
    "table that ends too soon": (
        bridged(),
        (0.1, 1.0),
        "table.txt ends at 1 Å and is not zero there, but it counts up to sw_rmax, 1.5 Å. Give a longer",
    ),
    "table that begins too late": (
        bridged(),
        (0.8, 3.0),
        "table.txt begins at 0.8 Å, but below sw_rmin, 0.5 Å, the table alone counts. Give a table that",
    ),
    "table of other types": (
        bridged(use_srtab="wide.txt"),
        (0.1, 3.0),
        "wide.txt has 7 columns; a table for 2 types has 4: the distance and",
    ),
    "no table": (bridged(), {}, "The pair table table.txt cannot be read: No such file or directory. Check the path."),
    "atoms below the table": (
        summed(0, TABLE),
        (2.3, 3.0),
        "Å apart, but the pair table of the model begins at 2.3 Å. Give a table that begins at",
    ),
    "a table alone": (
        (TABLE | {"descriptor": None, "fitting_net": None}, {}, ENERGY),
        (0.1, 3.0),
        "no network, and so nothing to train. Make it part",
    ),
    # parameters of the parts of a sum
    "frame parameters of parts": (
        summed(1, 2),
        {},
        "The models do not agree in numb_fparam: 1 in model/models/0, 2 in model/models/1. Give the same, or 0 where a",
    ),
}


def write(folder, model, loss, labels, given):
    """The input, the data and the tables of a case."""
    random = np.random.default_rng(1)
    points = np.array([[i % 2, i // 2 % 2, i // 4] for i in range(5)]) * 2.0 + 1.0
    frames = []
    for k in range(4):
        values = {name: random.normal(size=(5, 3) if name == "force" else size) for name, size in labels.items()}
        coord = points + random.normal(scale=0.1, size=(5, 3))
        frames.append(
            Frame(0, k, coord, np.diag([4.5, 5.0, 5.5]), np.array([0, 1, 1, 0, 1]), values, frozenset(values))
        )
    write_npy_system(folder / "data", frames, TYPES)
    if isinstance(given, tuple):
        r = np.arange(given[0], given[1] + 0.005, 0.01)
        for name, pairs in (("table.txt", 3), ("wide.txt", 6)):
            energies = np.exp(-r)[:, None] * np.ones(pairs)
            energies[-1] = 0.0 if given[1] == 3.0 else energies[-1]
            np.savetxt(folder / name, np.column_stack([r, energies]))
    else:
        for name, values in given.items():
            values = random.normal(size=values) if isinstance(values, tuple) else values
            np.save(folder / f"data/set.000/{name}.npy", values)
    section = {"type_map": TYPES, "descriptor": DESCRIPTOR, "fitting_net": {"neuron": [4]}} | model
    document = {
        "model": {key: value for key, value in section.items() if value is not None},
        "learning_rate": {"start_lr": 1e-3, "stop_lr": 1e-4, "decay_steps": 2},
        "loss": loss,
        "training": {"training_data": {"systems": "data", "batch_size": 2}, "numb_steps": 1, "seed": 1},
    }
    (folder / "input.json").write_text(json.dumps(document))


@pytest.mark.parametrize("name", CASES)
def test_training_is_refused(dp, tmp_path, name):
    case, given, sentence = CASES[name]
    write(tmp_path, *case, given)
    shown = dp("train", "input.json")
    assert shown.code == 1
    assert sentence in shown.err[shown.err.index("Error: ") :]
    assert "mistake in dp" not in shown.err
    assert name == "atoms below the table" or not (tmp_path / "lcurve.out").exists()  # that is found on the way


def test_spins_of_types_without_spin_are_told_of(dp, tmp_path):
    write(tmp_path, *spinning(ENERGY), {"spin": np.full((4, 15), 0.5), "force_mag": (4, 15)})
    shown = dp("train", "input.json")
    assert shown.code == 0
    (told,) = [line for line in shown.messages if "has a spin of" in line]
    expected = (
        "H, has a spin of 0.866 μB, but the model knows spins of O only (model/spin/use_spin). Spins of other types"
    )
    assert expected in told
    assert told.startswith("data, frame 0: Atom ")
