"""Stored models give the stored numbers, on every backend."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dp_core import DeepEval, DeepPot
from dp_core.model_file import load_model
from dp_core.models.protocol import message_passing
from dp_core.models.standard import StandardModel

GOLDEN = Path(__file__).parent / "golden"


def relative(a, b):
    return np.abs(a * 1.0 - b).max() / np.abs(b).max()


def binding(values, types, messages):
    """What the stored numbers fix. Where messages pass, the atomic virial is a matter of convention; its sum is not.
    Atoms that are placeholders have no descriptor."""
    if messages:
        values["atom_virial"] = values["atom_virial"].sum(axis=1)
    for key in {"descriptor", "fitting_last_layer"} & values.keys():
        values[key] = values[key] * (types >= 0)[..., None]
    return values


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.npz")))
def test_outputs(golden, backend, name):
    case = golden(name)
    tolerance = json.loads(case.path.with_suffix(".json").read_text())["tolerance"]["rtol"]
    with DeepEval(case.path, backend) as pot:
        found = case.evaluated_by(pot)
        required = found.keys() - {"atom_virial"}  # some cases are stored without it
        if "descriptor" in case.data:
            found["descriptor"] = pot.eval_descriptor(*case.inputs, **case.parameters)
            found["fitting_last_layer"] = pot.eval_fitting_last_layer(*case.inputs, **case.parameters)
        messages = message_passing(pot.get_model())
    found, expected = (binding(values, case.data["atype"], messages) for values in (found, case.data))
    for key in found.keys() & expected.keys():
        assert found[key].shape == expected[key].shape, key
        assert found[key].dtype == (bool if key == "mask_mag" else np.float64), key
        assert relative(found[key], expected[key]) < tolerance, key
    assert required <= expected.keys()


def test_yaml_gives_the_same(golden, backend):
    case = golden("se_e2_a_oneside")
    energy, force, _ = DeepPot(case.path.with_suffix(".yaml"), backend).eval(*case.inputs)
    assert relative(energy, case.data["energy"]) < 1e-9
    assert relative(force, case.data["force"]) < 1e-9


def test_statistics_that_differ_between_slots(golden, backend):
    """davg and dstd by slot against the defining formula, evaluated for every slot of every atom."""
    case = golden("se_e2_a_oneside")
    document = load_model(case.path).serialize()
    variables = document["descriptor"]["@variables"]
    random = np.random.default_rng(5)
    variables["davg"] = variables["davg"] + 0.1 * random.normal(size=variables["davg"].shape)
    variables["dstd"] = variables["dstd"] * random.uniform(0.5, 1.5, variables["dstd"].shape)
    model = StandardModel.deserialize(document)
    pot = DeepPot(model, backend)
    coord, box, types = case.inputs
    found = pot.eval_descriptor(coord, box, types)
    expected = [dense_descriptor(model.descriptor, x, b.reshape(3, 3), types) for x, b in zip(coord, box, strict=True)]
    assert relative(found, np.array(expected)) < 1e-10

    h, direction = 1e-5, random.normal(size=coord.shape)
    plus, minus = (pot.eval(coord + s * h * direction, box, types)[0][:, 0] for s in (1, -1))
    slope = -np.einsum("fac,fac->f", pot.eval(coord, box, types)[1], direction)
    np.testing.assert_allclose((plus - minus) / (2 * h), slope, rtol=1e-5)


def dense_descriptor(d, coord, box, types):
    """The descriptor of se_e2_a, one atom and one slot at a time: (atoms, width)."""
    images = np.array([[a, b, c] for a in range(-3, 4) for b in range(-3, 4) for c in range(-3, 4)]) @ box
    return np.array([dense_row(d, coord, images, types, i) for i in range(len(types))])


def dense_row(d, coord, images, types, i):
    vectors = (coord[:, None, :] + images - coord[i]).reshape(-1, 3)
    distance = np.linalg.norm(vectors, axis=1)
    neighbor_types = np.repeat(types, len(images))
    total, slot = np.zeros((4, d.dim_emb)), 0
    for t, wanted in enumerate(d.sel):
        near = np.flatnonzero((distance > 1e-9) & (distance < d.rcut) & (neighbor_types == t))
        near = near[np.argsort(distance[near])][:wanted]
        for k in range(wanted):
            row = np.zeros(4)
            if k < len(near):
                r = distance[near[k]]
                u = min(max((r - d.rcut_smth) / (d.rcut - d.rcut_smth), 0.0), 1.0)
                w = 1 - 10 * u**3 + 15 * u**4 - 6 * u**5
                row = w / r * np.concatenate([[1.0], vectors[near[k]] / r])
            row = (row - d.davg[types[i], slot]) / d.dstd[types[i], slot]
            total += np.outer(row, d.embeddings[(t,)](row[None, :1])[0])
            slot += 1
    a = total / sum(d.sel)
    return (a.T @ a[:, : d.axis_neuron]).ravel()
