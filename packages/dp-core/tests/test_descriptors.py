"""Descriptors by type and their mixtures: training, the neighbours that each sees, documents, settings refused."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from dp_core import DeepPot, load_model, registry
from dp_core.batching import build_batch
from dp_core.descriptors.protocol import neighbor_spec
from dp_core.errors import ConfigError
from dp_core.models.standard import StandardModel
from dp_core.module import leaves, map_with_path, replace
from dp_core.neighbors import frame_neighbors
from dp_core.schema import parse_model
from dp_core.training import train

NAMES = ("O", "H")
COMMON = {"sel": "auto", "rcut": 3.0, "rcut_smth": 1.0, "neuron": [2, 4], "seed": 1}
SE_E2_A = {"type": "se_e2_a", **COMMON, "axis_neuron": 2, "type_one_side": True}
SE_E2_R = {"type": "se_e2_r", **COMMON, "rcut": 2.6}
SE_E3 = {"type": "se_e3", **COMMON, "rcut": 2.8}
DPA1 = {"type": "dpa1", **COMMON, "axis_neuron": 2, "attn": 4, "attn_layer": 1, "tebd_dim": 3, "set_davg_zero": False}
DPA3 = {
    "type": "dpa3",
    "repflow": {
        "n_dim": 4, "e_dim": 3, "a_dim": 4, "nlayers": 2, "axis_neuron": 2,
        "e_rcut": 2.9, "e_rcut_smth": 1.0, "e_sel": 20, "a_rcut": 2.4, "a_rcut_smth": 1.0, "a_sel": 12,
    },
}  # fmt: skip
LOC_FRAME = {"type": "loc_frame", "sel_a": [2, 3], "sel_r": [2, 0], "rcut": 3.0, "axis_rule": []}
HYBRIDS = {
    "by type": {"type": "hybrid", "list": [SE_E2_A, SE_E2_R, SE_E3]},
    "all kinds": {"type": "hybrid", "list": [DPA1, SE_E2_R | {"exclude_types": [[0, 1]]}, LOC_FRAME]},
    "mixed": {"type": "hybrid", "list": [DPA1, DPA1 | {"rcut": 2.5, "attn_layer": 0}]},
}
EVERY = {s["type"]: s for s in (SE_E2_R, SE_E2_R | {"type_one_side": True}, SE_E3, LOC_FRAME)} | HYBRIDS


def changed(section, **changes):
    return {key: value for key, value in (section | changes).items() if value is not ...}


def made(section, names=NAMES, seed=3):
    """A descriptor with random statistics, the same for all slots."""
    settings = parse_model({"type_map": list(names), "descriptor": section, "fitting_net": {}}).descriptor
    descriptor = registry.lookup("descriptor", settings.type).init(settings, names)
    random = np.random.default_rng(seed)

    def statistics(path, leaf):
        if not path.endswith(("davg", "dstd")):
            return leaf
        low, high = (-0.1, 0.1) if path.endswith("davg") else (0.5, 2.0)
        drawn = random.uniform(low, high, (len(leaf), 1, leaf.shape[-1])) if leaf.ndim == 3 else leaf
        if path.endswith("davg") and leaf.ndim == 3:
            drawn[:, :, 1:] = 0.0
        return np.broadcast_to(drawn, leaf.shape).copy()

    return map_with_path(statistics, descriptor)


def values_of(descriptor, coord, types, ntypes=2):
    """The descriptor of every atom of a frame without cell, and its equivariant part."""
    spec = neighbor_spec(descriptor, ntypes, frozenset())
    batch = build_batch([frame_neighbors(coord, None, types, spec)], spec)
    values, axes = descriptor(batch.table)
    return batch.to_atoms(values), None if axes is None else batch.to_atoms(axes)


def cluster(natoms=12, seed=5, ntypes=2):
    random = np.random.default_rng(seed)
    grid = np.array([[i % 3, i // 3 % 3, i // 9] for i in range(natoms)]) * 1.3
    return grid + random.normal(scale=0.1, size=grid.shape), random.integers(0, ntypes, natoms)


# -- training


@pytest.mark.parametrize("name", EVERY)
def test_training(tiny, tmp_path, name):
    document = tiny(numb_steps=12, disp_freq=4, save_freq=12, model={"descriptor": None})
    document["model"]["descriptor"] = EVERY[name]
    result = train(document, backend="numpy", directory=tmp_path)
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table["rmse_trn"][-1] < table["rmse_trn"][0]
    model = load_model(result.checkpoint)
    assert not any(
        "auto" in str(s.get("sel")) for s in [model.script["descriptor"], *model.script["descriptor"].get("list", [])]
    )
    statistics = {path: leaf for path, leaf in leaves(model).items() if path.endswith("dstd")}
    assert len(statistics) == len(EVERY[name].get("list", [0]))
    assert all((leaf != 1.0).any() for leaf in statistics.values())
    moved = sum((leaf != leaves(result.model)[path]).any() for path, leaf in leaves(model).items())
    assert not moved


def test_sel_is_counted_for_every_cutoff(tiny, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    document = tiny(numb_steps=0, model={"descriptor": None})
    document["model"]["descriptor"] = {"type": "hybrid", "list": [SE_E2_A, SE_E2_R, DPA1, SE_E3 | {"sel": [1, 30]}]}
    model = train(document, backend="numpy", directory=tmp_path).model
    two, radial, mixed, three = model.descriptor.list
    assert two.sel > radial.sel
    assert len(mixed.sel) == 1
    assert "model/descriptor/list/1/sel 'auto' is [" in caplog.text
    assert "model/descriptor/list/3/sel is [1, 30], but atoms of the data have up to" in caplog.text
    assert model.neighbor_spec.split
    assert model.neighbor_spec.sel == (max(sum(d.sel) for d in (two, radial, mixed, three)),)


def test_sel_is_not_counted_where_that_is_forbidden(tiny, tmp_path):
    document = tiny(model={"descriptor": None})
    document["model"]["descriptor"] = HYBRIDS["by type"]
    with pytest.raises(ConfigError, match=r"model/descriptor/list/0/sel is 'auto'.*--skip-neighbor-stat forbids"):
        train(document, backend="numpy", directory=tmp_path, skip_neighbor_stat=True)


# -- which neighbours a descriptor sees


FIXED = {"sel": [14, 14]}


def test_a_hybrid_is_its_descriptors_side_by_side():
    children = [SE_E2_A | FIXED, SE_E2_R | FIXED, DPA1 | {"sel": 20}, LOC_FRAME, DPA3, SE_E3 | FIXED]
    descriptor = made({"type": "hybrid", "list": children})
    coord, types = cluster()
    values, axes = values_of(descriptor, coord, types)
    alone = [values_of(child, coord, types) for child in descriptor.list]
    assert values.shape == (12, descriptor.dim_out)
    assert axes.shape == (12, descriptor.dim_emb, 3)
    assert descriptor.message_passing
    np.testing.assert_allclose(values, np.concatenate([v for v, _ in alone], axis=1), rtol=1e-12, atol=1e-14)
    together = np.concatenate([a for _, a in alone if a is not None], axis=1)
    np.testing.assert_allclose(axes, together, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("other", [SE_E2_A | FIXED | {"rcut": 4.0}, DPA1 | {"sel": 30, "rcut": 4.0}])
@pytest.mark.parametrize("section", [SE_E2_R | {"sel": [2, 3]}, SE_E3 | {"sel": [2, 1]}, DPA1 | {"sel": 4}])
def test_a_small_sel_keeps_the_nearest(section, other):
    """A descriptor sees as many of the neighbours of the hybrid as its own sel has, by type or in all."""
    descriptor = made({"type": "hybrid", "list": [other, section]})
    child = descriptor.list[1]
    coord, types = cluster(seed=6)
    values, _ = values_of(descriptor, coord, types)
    far = replace(child, rcut=child.rcut)
    spec = replace(
        neighbor_spec(far, 2, frozenset()), types_alone=True
    )  # not cut to sum(sel) before types are told apart
    batch = build_batch([frame_neighbors(coord, None, types, spec)], spec)
    alone = batch.to_atoms(child(batch.table)[0])
    np.testing.assert_allclose(values[:, -child.dim_out :], alone, rtol=1e-12, atol=1e-14)


def test_an_excluded_neighbour_beyond_the_own_cutoff_is_no_empty_slot():
    """The list is not cut to the cutoff of a descriptor: such a neighbour counts 0, an empty slot −davg/dstd."""
    section = SE_E2_R | FIXED | {"exclude_types": [[0, 1]], "rcut": 2.0}
    descriptor = made({"type": "hybrid", "list": [SE_E2_A | FIXED, section]})
    child = descriptor.list[1]
    coord, types = np.array([[0.0, 0, 0], [0, 0, 2.5]]), np.array([0, 1])
    together, alone = values_of(descriptor, coord, types)[0], values_of(child, coord, types)[0]
    net = child.embeddings[(0, 1)]
    empty = (-child.davg[0, :1] / child.dstd[0, :1])[:, :1]
    expected = alone[0] + (net(0.0 * empty)[0] - net(empty)[0]) / (5 * 28)
    np.testing.assert_allclose(together[0, -child.dim_out :], expected, rtol=1e-12)


def test_statistics_that_differ_between_slots_inside_a_hybrid():
    descriptor = made({"type": "hybrid", "list": [SE_E2_A | FIXED, SE_E2_R | {"sel": [3, 2]}]})
    random = np.random.default_rng(1)
    child = descriptor.list[1]
    document = replace(child, davg=child.davg + random.normal(size=child.davg.shape)).serialize()
    by_slot = type(child).deserialize(document)
    assert by_slot.by_slot
    coord, types = cluster(natoms=4)
    values, _ = values_of(replace(descriptor, list=(descriptor.list[0], by_slot)), coord, types)
    alone, _ = values_of(by_slot, coord, types)
    np.testing.assert_allclose(values[:, -child.dim_out :], alone, rtol=1e-12)


@pytest.mark.parametrize("section", [SE_E2_A, SE_E2_R, SE_E3])
def test_empty_slots_in_closed_form_are_those_of_every_slot(section):
    """Evaluated one by one, slots with the same statistics give the same."""
    descriptor = made(section | FIXED)
    coord, types = cluster()
    closed, _ = values_of(descriptor, coord, types)
    dense, _ = values_of(replace(descriptor, by_slot=True), coord, types)
    np.testing.assert_allclose(closed, dense, rtol=1e-12, atol=1e-15)
    none = np.array([[0.0, 0, 0], [50.0, 0, 0]])
    closed, dense = (values_of(replace(descriptor, by_slot=b), none, np.array([0, 1]))[0] for b in (False, True))
    np.testing.assert_allclose(closed, dense, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("natoms", [2, 3, 4, 5, 8])
def test_pairs_of_one_type_are_counted_once(natoms):
    """Against the sum over all ordered pairs."""
    descriptor = made(SE_E3 | {"sel": [9], "rcut": 9.0}, names=("O",))
    coord, types = cluster(natoms, ntypes=1)
    found, _ = values_of(descriptor, coord, types, ntypes=1)
    spec = neighbor_spec(descriptor, 1, frozenset())
    table = build_batch([frame_neighbors(coord, None, types, spec)], spec).table
    v = descriptor.environment(table, 4)[0][:, :, 1:]
    e = np.einsum("njc,nkc->njk", v, v)
    expected = (e[..., None] * descriptor.embeddings[(0, 0)](e[..., None])).sum(axis=(1, 2)) / 81
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_a_type_without_slots():
    """sel 0 leaves a type out."""
    for section in (SE_E2_A, SE_E2_R, SE_E3):
        descriptor = made(section | {"sel": [0, 14]})
        coord, types = cluster()
        values, _ = values_of(descriptor, coord, types)
        assert np.isfinite(values).all()
        assert values[types == 0].any()


def test_a_mean_direction_is_evaluated_slot_by_slot():
    """No statistics give one, but a document may have it; then empty slots count in se_e3."""
    descriptor = made(SE_E3 | FIXED)
    davg = descriptor.davg.copy()
    davg[:, :, 1:] = 0.05
    read = type(descriptor).deserialize(replace(descriptor, davg=davg).serialize())
    assert read.by_slot
    alone, _ = values_of(read, np.zeros((1, 3)), np.array([0]))
    e = ((0.05 / read.dstd[0, 0, 1:]) ** 2).sum()
    expected = sum(e * read.embeddings[pair](np.array([[e]]))[0] for pair in ((0, 0), (0, 1), (1, 1)))
    np.testing.assert_allclose(alone[0], expected, rtol=1e-12)


# -- documents


@pytest.mark.parametrize("name", EVERY)
def test_documents_are_read_as_they_were_written(name):
    section = EVERY[name]
    for part in section.get("list", [section]):
        part = part | ({"sel": 20 if part["type"] == "dpa1" else [9, 8]} if "sel" in part else {})
        descriptor = made(part)
        document = descriptor.serialize()
        again = registry.lookup("descriptor", document["type"]).deserialize(document)
        static = [
            name for name, value in vars(descriptor).items() if isinstance(value, str | bool | int | float | tuple)
        ]
        for name in static:
            assert name == "attention" or getattr(again, name) == getattr(descriptor, name), name
        for (path, old), new in zip(leaves(descriptor).items(), leaves(again).values(), strict=True):
            np.testing.assert_array_equal(old, new, err_msg=path)


def test_names_in_documents():
    assert made(SE_E2_R | FIXED).serialize()["type"] == "se_r"
    assert made({"type": "se_r", **COMMON, **FIXED}).serialize()["@version"] == 2
    assert made({"type": "se_t", **COMMON, **FIXED}).serialize()["type"] == "se_e3"
    document = made({"type": "hybrid", "list": [SE_E3 | FIXED]}).serialize()
    assert (document["type"], document["@version"], len(document["list"])) == ("hybrid", 1, 1)
    assert "spin" not in document["list"][0]


# -- settings that are refused


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (changed(SE_E2_R, rcut_smth=3.5), "rcut_smth is 3.5 and must be smaller than rcut, 2.6"),
        (changed(SE_E2_R, axis_neuron=4), "axis_neuron: unknown key"),
        (changed(SE_E3, type_one_side=True), "type_one_side: unknown key"),
        (changed(SE_E3, sel=[0, 0]), r"sel is \[0, 0\]; give the most neighbours"),
        (changed(SE_E3, neuron=[]), "neuron is .*; give at least one width"),
        (changed(SE_E3, activation_function="tan"), "did you mean 'tanh'"),
        ({"type": "hybrid"}, "list: is required"),
        ({"type": "hybrid", "list": []}, "list: is empty; give at least one descriptor"),
        ({"type": "hybrid", "list": [HYBRIDS["by type"]]}, "descriptor/list: has a hybrid in it; write"),
        ({"type": "hybrid", "list": [SE_E3, changed(SE_E2_R, rcut=-1)]}, "list/1/rcut: is -1, expected a number > 0"),
        (
            {"type": "hybrid", "list": [SE_E3, changed(SE_E2_R, rcutt=1)]},
            "list/1/rcutt: unknown key; did you mean 'rcut'",
        ),
        ({"type": "hybrid", "list": [{"type": "se_e2_q"}]}, "list/0/type: Unknown descriptor type 'se_e2_q'"),
    ],
)
def test_settings_that_are_refused(section, told):
    with pytest.raises(ConfigError, match=told):
        parse_model({"type_map": list(NAMES), "descriptor": section, "fitting_net": {}})


def test_what_does_not_fit_the_type_map():
    with pytest.raises(ConfigError, match="descriptor/sel has 1 entries, but the type map has 2 elements"):
        made(SE_E3 | {"sel": [4]})
    with pytest.raises(ConfigError, match="model/descriptor/list/1: descriptor/sel has 3 entries"):
        made({"type": "hybrid", "list": [SE_E3 | FIXED, SE_E2_R | {"sel": [1, 2, 3]}]})
    with pytest.raises(ConfigError, match=r"exclude_types names \[0, 2\]; types go from 0 to 1"):
        made(SE_E3 | FIXED | {"exclude_types": [[0, 2]]})


def test_types_of_a_hybrid_cannot_be_changed_if_one_of_them_cannot():
    random = np.random.default_rng(0)
    mixed = made({"type": "hybrid", "list": [DPA1 | {"sel": 9}, DPA1 | {"sel": 8}]})
    swapped = mixed.change_type_map(("H", "O"), random)
    np.testing.assert_array_equal(swapped.list[1].davg, mixed.list[1].davg[::-1])
    with pytest.raises(ConfigError, match="Descriptor 1 of the hybrid, se_r, has networks of certain types"):
        made({"type": "hybrid", "list": [DPA1 | {"sel": 9}, SE_E2_R | FIXED]}).change_type_map(("H", "O"), random)


def test_the_local_frame_warns_of_nothing(caplog):
    """Neighbours that it leaves out are meant to be."""
    descriptor = made(LOC_FRAME)
    model = StandardModel.init(
        parse_model({"type_map": list(NAMES), "descriptor": LOC_FRAME, "fitting_net": {"neuron": [3]}}), NAMES
    )
    assert descriptor.sel == (4, 3)
    coord, types = cluster(18)
    with caplog.at_level(logging.WARNING):
        DeepPot(model, "numpy").eval(coord, None, types)
    assert not caplog.records


def test_every_layer_says_that_it_is_not_trained():
    for trainable in (True, False):
        networks = made(SE_E3 | FIXED | {"trainable": trainable}).serialize()["embeddings"]["networks"]
        assert {layer["trainable"] for network in networks for layer in network["layers"]} == {trainable}
