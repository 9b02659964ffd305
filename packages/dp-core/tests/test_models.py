"""Models made of others: pair tables, sums, the bridge to a table, models from files."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from dp_core import DeepPot, load_model, save_model
from dp_core.batching import build_batch
from dp_core.errors import ConfigError, DataError, FormatError
from dp_core.inputs import default_fparam, numb_fparam
from dp_core.models.pair_file import PairFile, coefficients
from dp_core.models.protocol import members, new_model
from dp_core.module import leaves, replace, trained_leaves
from dp_core.neighbors import frame_neighbors
from dp_core.schema import parse_model
from dp_core.training import train

NAMES = ("O", "H")
FITTING = {"neuron": [4], "seed": 2}
DPA1 = {
    "type": "dpa1", "rcut": 3.0, "rcut_smth": 1.0, "sel": 20, "neuron": [2, 4], "axis_neuron": 2, "tebd_dim": 3,
    "attn_layer": 0, "seed": 1,
}  # fmt: skip
SE_E2_A = {
    "type": "se_e2_a", "rcut": 2.6, "rcut_smth": 1.0, "sel": [20, 20], "neuron": [2, 4], "axis_neuron": 2, "seed": 1,
}  # fmt: skip
DPA3 = {
    "type": "dpa3",
    "repflow": {
        "n_dim": 4, "e_dim": 3, "a_dim": 4, "nlayers": 2, "axis_neuron": 2,
        "e_rcut": 2.9, "e_rcut_smth": 1.0, "e_sel": 20, "a_rcut": 2.4, "a_rcut_smth": 1.0, "a_sel": 12,
    },
}  # fmt: skip


def standard(descriptor, names=None, **fitting):
    model = {"descriptor": descriptor, "fitting_net": FITTING | fitting}
    return model | ({} if names is None else {"type_map": list(names)})


def energies(r, scale=1.0):
    """Three pairs of types, zero from 2.5 Å on: (points, 3) eV."""
    u = np.where(r < 2.5, (2.5 - r) ** 3, 0.0)
    return scale * np.stack([2.0 * u, 1.0 * u, 0.5 * u], axis=1)


@pytest.fixture
def table(tmp_path):
    """A file with a table from 0.1 to 3 Å."""
    r = np.arange(1, 31) * 0.1
    np.savetxt(tmp_path / "table.txt", np.column_stack([r, energies(r)]))
    return str(tmp_path / "table.txt")


def pairtab(table, rcut=3.0, **more):
    return {"type": "pairtab", "tab_file": table, "rcut": rcut, "sel": 30} | more


def linear(*models, weights="sum", names=NAMES, **more):
    return {"type": "linear_ener", "type_map": list(names), "models": list(models), "weights": weights} | more


def bridge(descriptor, table, **more):
    return standard(descriptor, NAMES) | {"use_srtab": table, "sw_rmin": 0.8, "sw_rmax": 1.2} | more


def made(section, names=NAMES, seed=3):
    """A model of random networks and biases."""
    model = new_model(parse_model(section), names)
    return replace(model, out_bias=np.random.default_rng(seed).normal(size=model.out_bias.shape))


def cluster(natoms=10, seed=5, ntypes=2, spacing=1.3):
    random = np.random.default_rng(seed)
    grid = np.array([[i % 3, i // 3 % 3, i // 9] for i in range(natoms)]) * spacing
    return grid + random.normal(scale=0.1, size=grid.shape), random.integers(0, ntypes, natoms)


def evaluated(model, coord, types, **parameters):
    """Energies of the atoms, and forces."""
    found = DeepPot(model, "numpy").eval(coord[None], None, types, atomic=True, **parameters)
    return found[3][0, :, 0], found[1][0]


# -- pair tables


def test_a_pair_has_the_energy_of_the_table(table):
    model = made(pairtab(table))
    at = np.array([0.3, 0.95, 1.2, 2.0, 2.4, 2.7, 3.2])
    for k, (first, second) in enumerate([(0, 0), (0, 1), (1, 1)]):
        for r, expected in zip(at, energies(at)[:, k], strict=True):
            found, _ = evaluated(model, np.array([[0, 0, 0], [r, 0, 0]]), np.array([first, second]))
            bias = model.out_bias[0, [first, second], 0]
            np.testing.assert_allclose(found - bias, expected / 2, rtol=5e-3, atol=2e-4)


def test_splines_go_through_the_points_and_are_smooth():
    r = np.linspace(0.5, 3.0, 26)
    cubic = coefficients(np.column_stack([r, energies(r)]))
    assert cubic.shape == (4, 25, 4)
    np.testing.assert_allclose(cubic[:, :, 3], energies(r)[:-1, [0, 1, 1, 2]].T)
    np.testing.assert_array_equal(cubic[1], cubic[2])
    a, b, c, d = np.moveaxis(cubic, -1, 0)
    np.testing.assert_allclose((a + b + c + d)[:, :-1], d[:, 1:], atol=1e-12)
    np.testing.assert_allclose((3 * a + 2 * b + c)[:, :-1], c[:, 1:], atol=1e-12)
    np.testing.assert_allclose((6 * a + 2 * b)[:, :-1], 2 * b[:, 1:], atol=1e-11)
    np.testing.assert_allclose(c[:, 0], 0.0, atol=1e-14)
    np.testing.assert_allclose((3 * a + 2 * b + c)[:, -1], 0.0, atol=1e-12)


def test_a_table_that_ends_in_zero_goes_on_with_zeros(table, caplog):
    file = PairFile.read(table, 2, 4.0)
    assert file.rmax == pytest.approx(3.0)
    np.testing.assert_allclose(file.values[:, 0], np.arange(1, 41) * 0.1)
    assert not file.values[30:, 1:].any()
    assert not caplog.records


def test_a_table_that_does_not_end_in_zero_falls_smoothly(tmp_path, caplog):
    r = np.arange(1, 11) * 0.1
    np.savetxt(tmp_path / "short.txt", np.column_stack([r, 1.0 / r]))
    values = PairFile.read(str(tmp_path / "short.txt"), 1, 2.0).values
    assert "not zero at its end, 1 Å" in caplog.text
    assert len(values) == 19
    assert values[-1, 1] == 0.0
    assert (np.diff(values[9:, 1]) < 0).all()


def write(path, rows):
    np.savetxt(path, np.atleast_2d(rows))
    return str(path)


GRID = np.arange(1, 11) * 0.1
ROWS = np.column_stack([GRID, energies(GRID)])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (ROWS[:, :3], "has 3 columns; a table for 2 types has 4"),
        (ROWS[:2], "has 2 rows; give at least 3"),
        (ROWS[[0, 1, 3, 4]], "not equally spaced: row 3 has 0.4 Å, after steps of 0.1 Å it should be 0.3"),
        (ROWS[::-1], "begin with 1 and 0.9 Å; they should grow"),
        (np.where(ROWS[4, 1] == ROWS, np.nan, ROWS), "values that are no numbers in row 5"),
        (ROWS + np.array([5.0, 0, 0, 0]), "begins at 5.1 Å, not below the cutoff of 3 Å"),
    ],
)
def test_tables_that_do_not_serve(tmp_path, rows, told):
    with pytest.raises(ConfigError, match=told):
        made(pairtab(write(tmp_path / "t.txt", rows)))


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(ConfigError, match=r"absent.txt cannot be read: No such file"):
        made(pairtab(str(tmp_path / "absent.txt")))
    (tmp_path / "words.txt").write_text("r u\n1 2\n")
    with pytest.raises(ConfigError, match="is no table of numbers"):
        made(pairtab(str(tmp_path / "words.txt")))


def test_atoms_closer_than_the_table_are_refused(tmp_path):
    model = made(pairtab(write(tmp_path / "t.txt", ROWS[4:]), rcut=1.0))
    coord = np.array([[0, 0, 0], [0.45, 0, 0.0]])
    with pytest.raises(DataError, match=r"Atoms 0 and 1 of frame 0 are 0.45 Å apart, but the pair table .* at 0.5 Å"):
        evaluated(model, coord, np.array([0, 1]))
    spec = model.neighbor_spec
    table = build_batch([frame_neighbors(coord, None, np.array([0, 1]), spec)], spec).table
    at_begin = ROWS[4, 2] / 2
    np.testing.assert_allclose(model(table)["energy"][:, 0] - model.out_bias[0, :, 0], at_begin)


# -- sums


@pytest.mark.parametrize(
    ("weights", "factors"), [("sum", (1, 1, 1)), ("mean", (1 / 3,) * 3), ([0.5, -1, 2], (0.5, -1, 2))]
)
def test_a_sum_is_that_of_its_models(table, weights, factors):
    """Whatever neighbours, types and biases each of them has."""
    near = DPA1 | {"rcut": 2.2, "sel": 9, "seed": 5}
    section = linear(standard(DPA1), standard(near, ("N", "H", "O")), pairtab(table, 2.7), weights=weights)
    model = made(section)
    model = replace(model, models=tuple(
        replace(m, out_bias=np.random.default_rng(k).normal(size=m.out_bias.shape)) for k, m in enumerate(model.models)
    ))  # fmt: skip
    coord, types = cluster()
    energy, force = evaluated(model, coord, types)
    expected = model.out_bias[0, types, 0]
    expected_force = np.zeros_like(force)
    for k, (factor, child) in enumerate(zip(factors, model.models, strict=True)):
        e, f = evaluated(child, coord, np.array(model.types_of(k))[types])
        expected, expected_force = expected + factor * e, expected_force + factor * f
    np.testing.assert_allclose(energy, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(force, expected_force, rtol=1e-11, atol=1e-12)


KINDS = {
    "shells of shells": [DPA3, DPA1 | {"rcut": 3.4, "sel": 30}, DPA1 | {"rcut": 2.0, "sel": 5}],
    "shells of a hybrid": [
        DPA1 | {"rcut": 1.6},
        {"type": "hybrid", "list": [DPA1 | {"rcut": 3.4, "sel": 30}, DPA1 | {"rcut": 3.4, "sel": 9}]},
    ],
    "not one in the other": [DPA3, DPA1 | {"rcut": 3.4, "sel": 10}],
    "blocks by type": [SE_E2_A, SE_E2_A | {"rcut": 3.3, "sel": [30, 24]}],
    "blocks and none": [SE_E2_A, DPA1 | {"sel": 6}, DPA3],
}


@pytest.mark.parametrize("name", KINDS)
def test_models_of_all_kinds_share_a_table(name):
    model = made(linear(*map(standard, KINDS[name])))
    assert bool(model.neighbor_spec.shells) == name.startswith("shells")
    coord, types = cluster()
    energy, force = evaluated(model, coord, types)
    alone = [evaluated(child, coord, types) for child in model.models]
    np.testing.assert_allclose(energy - model.out_bias[0, types, 0], sum(e for e, _ in alone), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(force, sum(f for _, f in alone), rtol=1e-11, atol=1e-13)


CROWDED = {
    "other sel": [SE_E2_A | {"sel": [2, 4]}, SE_E2_A | {"sel": [4, 1]}],
    "one sel": [SE_E2_A | {"sel": [2, 4]}] * 2,
    "blocks and none": [SE_E2_A | {"sel": [2, 4]}, DPA1],
    "one type": [SE_E2_A | {"sel": [0, 6]}, DPA1 | {"sel": 6}],
}


@pytest.mark.parametrize("name", CROWDED)
def test_what_is_left_out_in_a_sum_is_left_out_alone(name, caplog):
    """The nearest of all types first, then the nearest of each type; and the same is told of it."""
    model = made(linear(*map(standard, CROWDED[name])))
    coord, types = cluster(14)
    energy, force = evaluated(model, coord, types)
    told = {record.getMessage() for record in caplog.records}
    caplog.clear()
    alone = [evaluated(child, coord, types) for child in model.models]
    np.testing.assert_allclose(energy - model.out_bias[0, types, 0], sum(e for e, _ in alone), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(force, sum(f for _, f in alone), rtol=1e-11, atol=1e-13)
    assert told == {record.getMessage() for record in caplog.records} != set()


def test_too_small_sel_of_a_bridge_is_told_once(table, caplog):
    """The table has as many neighbours as the network, so that it has nothing to tell."""
    coord, types = cluster(14)
    evaluated(made(bridge(SE_E2_A | {"sel": [2, 4]}, table)), coord, types)
    (record,) = caplog.records
    assert "Numbers of the model (sel): [2, 4]" in record.getMessage()


def test_every_model_of_a_sum_knows_the_first_atom():
    """Its type counts for empty slots of each of them, also where the shared table has none for the nearer ones."""
    near, far = (DPA1 | {"set_davg_zero": False, "rcut": rcut, "sel": sel} for rcut, sel in ((1.6, 20), (3.4, 30)))
    model = made(linear(standard(near), standard(far)))

    def with_mean(part):
        return replace(part, davg=part.davg + np.array([0.3, 0.0, 0.0, 0.0]))

    model = replace(model, models=tuple(replace(m, descriptor=with_mean(m.descriptor)) for m in model.models))
    assert model.neighbor_spec.marks_first
    assert model.neighbor_spec.shells
    coord, types = cluster()
    energy, _ = evaluated(model, coord, types)
    alone = sum(evaluated(child, coord, types)[0] for child in model.models)
    np.testing.assert_allclose(energy - model.out_bias[0, types, 0], alone, rtol=1e-12, atol=1e-13)


def test_exclusions_of_the_models_and_of_the_sum(table):
    """Pairs and atoms that a model leaves out are left out in it alone."""
    child = standard(DPA1, ("H", "O")) | {"pair_exclude_types": [[0, 0]], "atom_exclude_types": [1]}
    model = made(linear(child, pairtab(table), pair_exclude_types=[[0, 1]], atom_exclude_types=[1]))
    coord, types = cluster()
    energy, _ = evaluated(model, coord, types)
    first, second = (
        replace(m, pair_exclude_types=(*m.pair_exclude_types, (0, 1)), min_nbor_dist=None) for m in model.models
    )
    parts = evaluated(first, coord, 1 - types)[0] + evaluated(second, coord, types)[0]
    expected = np.where(types == 1, 0.0, parts + model.out_bias[0, types, 0])
    np.testing.assert_allclose(energy, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ([standard(DPA1, ("O",))], "model/models/0 has no type H: its type_map is O, that of the whole is O H"),
        ([standard(SE_E2_A, ("H", "O"))], "model/models/0 has networks of certain types"),
        (
            [standard(DPA1, numb_fparam=1), standard(DPA1, numb_fparam=2)],
            "do not agree in numb_fparam: 1 in model/models/0, 2 in model/models/1",
        ),
        (
            [standard(DPA1, numb_aparam=3), standard(DPA1, numb_aparam=2)],
            "do not agree in numb_aparam: 3 in model/models/0, 2 in model/models/1",
        ),
        (
            [standard(DPA1, numb_fparam=1, default_fparam=[1.0]), standard(DPA1, numb_fparam=1)],
            r"do not agree in default_fparam: \(1.0,\) in model/models/0, None in model/models/1",
        ),
    ],
)
def test_models_that_do_not_go_together(models, told):
    with pytest.raises(ConfigError, match=told):
        made(linear(*models))


def test_a_model_without_parameters_beside_one_with_some(table):
    model = made(linear(standard(DPA1, numb_fparam=2, default_fparam=[0.5, 1.0]), standard(DPA3), pairtab(table)))
    assert (numb_fparam(model), default_fparam(model)) == (2, (0.5, 1.0))
    coord, types = cluster()
    given, _ = evaluated(model, coord, types, fparam=[0.5, 1.0])
    left_out, _ = evaluated(model, coord, types)
    other, _ = evaluated(model, coord, types, fparam=[0.5, 1.5])
    np.testing.assert_array_equal(given, left_out)
    assert np.abs(other - given).max() > 1e-6


def test_the_descriptor_is_that_of_the_first_model_with_one(table):
    coord, types = cluster()
    model = made(linear(pairtab(table), standard(DPA1, ("H", "O"))))
    found = DeepPot(model, "numpy").eval_descriptor(coord[None], None, types)
    np.testing.assert_allclose(found, DeepPot(model.models[1], "numpy").eval_descriptor(coord[None], None, 1 - types))
    with pytest.raises(ConfigError, match="has no networks"):
        DeepPot(made(linear(pairtab(table))), "numpy").eval_descriptor(coord[None], None, types)


# -- the bridge


def test_at_contact_the_energy_is_that_of_the_table(table):
    """Below sw_rmin the table alone counts, above sw_rmax the network alone."""
    model = made(bridge(DPA1, table))
    network, pairs = model.models
    types = np.array([0, 1])
    bias = model.out_bias[0, types, 0]
    for r, alone in ((0.5, pairs), (0.75, pairs), (1.3, network), (2.0, network)):
        coord = np.array([[0, 0, 0], [0, r, 0.0]])
        (energy, force), (expected, expected_force) = (evaluated(m, coord, types) for m in (model, alone))
        np.testing.assert_allclose(energy - bias, expected, rtol=1e-12)
        np.testing.assert_allclose(force, expected_force, rtol=1e-10, atol=1e-12)
    between = [evaluated(m, np.array([[0, 0, 0], [0, 1.0, 0]]), types)[0] for m in (model, pairs, network)]
    np.testing.assert_allclose(between[0] - bias, (between[1] + between[2]) / 2, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.1, 0.02])
def test_far_atoms_have_the_energy_of_the_network(table, alpha):
    """However small the weights exp(−r/smin_alpha) become."""
    model = made(bridge(DPA1 | {"rcut": 6.0}, table, smin_alpha=alpha))
    types = np.array([0, 1, 1])
    for r in (4.4, 5.0, 5.8):
        coord = np.array([[0, 0, 0], [0, r, 0], [0, 2 * r, 0.1]])
        (energy, force), (expected, expected_force) = (evaluated(m, coord, types) for m in (model, model.models[0]))
        np.testing.assert_allclose(energy - model.out_bias[0, types, 0], expected, rtol=1e-12)
        np.testing.assert_allclose(force, expected_force, rtol=1e-10, atol=1e-13)


def test_an_atom_alone_has_the_energy_of_the_network(table):
    model = made(bridge(DPA1, table))
    (energy, _), (expected, _) = (evaluated(m, np.zeros((1, 3)), np.array([1])) for m in (model, model.models[0]))
    np.testing.assert_allclose(energy - model.out_bias[0, 1, 0], expected, rtol=1e-13)


@pytest.mark.parametrize("descriptor", [DPA1, SE_E2_A, DPA3], ids=lambda d: d["type"])
def test_forces_of_a_bridge_are_derivatives(table, descriptor):
    model = made(bridge(descriptor, table))
    coord, types = cluster(spacing=1.05)
    random = np.random.default_rng(2)
    direction = random.normal(size=coord.shape)
    h = 1e-5
    e = [evaluated(model, coord + k * h * direction, types)[0].sum() for k in (-2, -1, 1, 2)]
    slope = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * h)
    np.testing.assert_allclose(slope, -(evaluated(model, coord, types)[1] * direction).sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sw_rmin": 0.05}, r"begins at 0.1 Å, but below sw_rmin, 0.05 Å"),
        ({"use_srtab": "short"}, r"ends at 1 Å and is not zero there, but it counts up to sw_rmax, 1.2 Å"),
        ({"sw_rmin": None}, "sw_rmin: is required with use_srtab"),
        ({"use_srtab": None}, "sw_rmin: has an effect only with use_srtab"),
        ({"sw_rmax": 0.5}, "sw_rmin: is 0.8 and must be smaller than sw_rmax, 0.5"),
    ],
)
def test_bridges_that_do_not_hold(table, tmp_path, changes, told):
    if changes.get("use_srtab") == "short":
        changes = {"use_srtab": write(tmp_path / "short.txt", ROWS)}
    with pytest.raises(ConfigError, match=told):
        made(bridge(DPA1, table, **changes))


def test_a_bridge_has_two_names(table):
    section = bridge(DPA1, table)
    one, other = (made(section | {"type": name}) for name in ("standard", "dpzbl"))
    assert {p: v.tolist() for p, v in leaves(one).items()} == {p: v.tolist() for p, v in leaves(other).items()}


# -- the repulsion of nuclei


def repelled(descriptor, **inner):
    return linear(standard(descriptor), {"type": "inner_potential", **inner})


def test_nuclei_repel_each_other():
    """The formula, for an O and an H, in a sum in which the network is constant below r_inner."""
    model = made(repelled(DPA1))
    types = np.array([0, 1])

    def pair(r):
        return evaluated(model, np.array([[0, 0, 0], [0, 0, r]]), types)

    a = 0.88534 * 0.5291772109 / (8**0.23 + 1)
    terms = ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.028171, 0.20162))
    at = np.array([0.1, 0.3, 0.49])
    expected = sum(c * np.exp(-k * at / a) for c, k in terms) * 14.3996 * 8 / at
    found = np.array([pair(r)[0].sum() for r in at])
    np.testing.assert_allclose(found - expected, (found - expected)[0], rtol=1e-10)
    network = model.models[0]
    for r in (0.85, 1.5):
        coord = np.array([[0, 0, 0], [0, 0, r]])
        rest = pair(r)[0].sum() - evaluated(network, coord, types)[0].sum() - model.out_bias[0, types, 0].sum()
        repulsion = evaluated(model.models[1], coord, types)[0].sum()
        np.testing.assert_allclose(rest, repulsion, rtol=1e-11)
    h = 1e-5
    for r in (0.3, 0.6, 0.7, 1.0):
        slope = (pair(r + h)[0].sum() - pair(r - h)[0].sum()) / (2 * h)
        np.testing.assert_allclose(pair(r)[1][1, 2], -slope, rtol=1e-7)


@pytest.mark.parametrize("what", ["eval_descriptor", "eval_fitting_last_layer"])
def test_descriptors_are_those_of_the_distances_that_the_network_sees(what):
    pot = DeepPot(made(repelled(DPA1)), "numpy")
    near, at_inner, far = (
        getattr(pot, what)(np.array([[[0, 0, 0], [0, 0, r]]]), None, np.array([0, 1])) for r in (0.2, 0.5, 1.5)
    )
    np.testing.assert_allclose(near, at_inner, rtol=1e-12, atol=1e-14)
    assert np.abs(far - near).max() > 1e-4


@pytest.mark.parametrize(
    ("section", "told"),
    [
        (repelled(DPA1, r_inner=0.9), "models/1/r_inner: is 0.9 and must be smaller than r_outer, 0.8"),
        (repelled(DPA3), "model/models/1: The network passes messages"),
        (repelled(DPA1) | {"weights": "mean"}, "models: has an inner_potential; give it as the second of two"),
        ({"type": "inner_potential"}, "is no model by itself"),
        (repelled(DPA1) | {"type_map": ["O", "mH"]}, "mH in the type_map is no element"),
    ],
)
def test_repulsions_that_make_no_sense(section, told):
    with pytest.raises(ConfigError, match=told):
        made(section, section.get("type_map", NAMES))


# -- documents, files


@pytest.mark.parametrize("name", ["pairtab", "linear", "zbl", "repelled"])
def test_documents_are_read_as_they_were_written(table, tmp_path, name):
    section = {
        "pairtab": pairtab(table, type_map=list(NAMES)),
        "linear": linear(standard(DPA1, ("H", "O", "N")), pairtab(table), weights=[0.5, 2.0]),
        "zbl": bridge(SE_E2_A, table, smin_alpha=0.2),
        "repelled": repelled(SE_E2_A, r_inner=0.4),
    }[name]
    model = made(section)
    save_model(model, tmp_path / "model.dp")
    again = load_model(tmp_path / "model.dp")
    assert again.serialize()["type"] == {"repelled": "linear"}.get(name, name)
    for (path, old), new in zip(leaves(model).items(), leaves(again).values(), strict=True):
        np.testing.assert_array_equal(old, new, err_msg=path)
    coord, types = cluster()
    np.testing.assert_array_equal(evaluated(model, coord, types)[1], evaluated(again, coord, types)[1])


def test_a_damaged_bridge(table):
    document = made(bridge(DPA1, table)).serialize()
    document["models"] = document["models"][::-1]
    with pytest.raises(FormatError, match="a network and a pair table"):
        type(made(bridge(DPA1, table))).deserialize(document)


def test_a_frozen_model_stays_as_it_is(table, tmp_path):
    inner = made(standard(DPA1, NAMES))
    save_model(inner, tmp_path / "inner.dp")
    section = linear({"type": "frozen", "model_file": str(tmp_path / "inner.dp")}, standard(DPA1 | {"seed": 9}))
    model = made(section)
    assert [member.fixed for member in members(model)] == [True, False]
    save_model(model, tmp_path / "model.dp")
    for one in (model, load_model(tmp_path / "model.dp")):
        assert {path.split(".")[1] for path in trained_leaves(one)} == {"1"}
    coord, types = cluster()
    np.testing.assert_array_equal(evaluated(model.models[0], coord, types)[1], evaluated(inner, coord, types)[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [("atom_exclude_types", [0]), ("pair_exclude_types", [[1, 1]]), ("preset_out_bias", {"energy": [1.0, None]}),
     ("hessian_mode", True), ("data_stat_nbatch", 3)],
)  # fmt: skip
def test_settings_that_a_frozen_model_does_not_follow(name, value):
    section = {"type": "frozen", "model_file": "inner.dp", name: value}
    with pytest.raises(ConfigError, match=f"{name}: has no effect: the model of the file"):
        parse_model(section)


def test_a_frozen_model_has_the_types_of_its_file(tmp_path):
    save_model(made(standard(DPA1, NAMES)), tmp_path / "inner.dp")
    section = {"type": "frozen", "model_file": str(tmp_path / "inner.dp"), "type_map": ["H", "O"]}
    with pytest.raises(ConfigError, match=r"model/models/0: type_map is H O, but the model of .*inner.dp has O H"):
        made(linear(section, standard(DPA1)))
    assert made(linear(section | {"type_map": list(NAMES)}, standard(DPA1))).models[0].type_map == NAMES


@pytest.mark.parametrize(
    ("name", "value"),
    [("data_stat_nbatch", 3), ("data_stat_protect", 0.1), ("data_bias_nsample", 3), ("hessian_mode", True),
     ("info", {"a": 1})],
)  # fmt: skip
def test_settings_of_the_whole_are_refused_inside(name, value):
    with pytest.raises(ConfigError, match=f"models/0/{name}: has no effect"):
        parse_model(linear(standard(DPA1) | {name: value}))
    parse_model(linear(standard(DPA1), **{name: value}))


def test_hessian_mode_that_is_off_is_nowhere():
    """It is the default, and DeePMD-kit refuses scripts that have the key."""
    for section in (standard(DPA1), linear(standard(DPA1) | {"hessian_mode": False})):
        settings = parse_model(section | {"hessian_mode": False})
        assert "hessian_mode" not in str(settings.to_document())
        assert parse_model(section | {"hessian_mode": True}).to_document()["hessian_mode"] is True


def test_other_settings_without_effect():
    with pytest.raises(ConfigError, match="models/0/fitting_net/rcond: has no effect"):
        parse_model(linear(standard(DPA1, rcond=0.1)))
    with pytest.raises(ConfigError, match="smin_alpha: has an effect only with use_srtab"):
        parse_model(standard(DPA1) | {"smin_alpha": 0.2})


def test_properties_are_not_summed():
    """Not even one that a file calls energy."""
    section = {"descriptor": DPA1, "fitting_net": {"type": "property", "property_name": "gap", "neuron": [4]}}
    document = made(section).serialize()
    document["fitting"]["var_name"] = "energy"
    whole = made(linear(standard(DPA1))).serialize() | {"models": [document]}
    with pytest.raises(FormatError, match="only models of the energy can be combined"):
        type(made(linear(standard(DPA1)))).deserialize(whole)


# -- second derivatives


@pytest.mark.parametrize("name", ["sum", "bridge", "repulsion"])
def test_second_derivatives(table, name):
    """Those of DeepPot are the derivatives of the forces, and symmetric."""
    section = {
        "sum": linear(standard(DPA1), pairtab(table)), "bridge": bridge(DPA1, table), "repulsion": repelled(DPA1),
    }[name]  # fmt: skip
    model = replace(made(section), script={"hessian_mode": True})
    coord, types = cluster(4, spacing=1.05)
    pot = DeepPot(model, "numpy")
    found = pot.eval(coord[None], None, types)[-1][0]
    h, direction = 1e-5, np.random.default_rng(4).normal(size=coord.shape)
    plus, minus = (pot.eval((coord + s * h * direction)[None], None, types)[1][0] for s in (1, -1))
    np.testing.assert_allclose(found @ direction.ravel(), (minus - plus).ravel() / (2 * h), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, found.T, atol=1e-10)


# -- training


def trained(tiny, tmp_path, model, **options):
    document = tiny(**{"numb_steps": 12, "disp_freq": 4, "save_freq": 12} | options)
    document["model"] = {"type_map": list(NAMES)} | model
    result = train(document, backend="numpy", directory=tmp_path)
    return result, np.genfromtxt(tmp_path / "lcurve.out", names=True) if result.step else None


def test_training_a_sum(tiny, tmp_path, table):
    """Its own bias is fitted; statistics are those of every model, in its types; the table is found in the folder."""
    near = DPA1 | {"rcut": 2.4, "sel": "auto", "set_davg_zero": False}
    models = [standard(near), standard(near, ("H", "O")), pairtab("table.txt", sel="auto")]
    result, curve = trained(tiny, tmp_path, linear(*models))
    assert curve["rmse_trn"][-1] < curve["rmse_trn"][0]
    model = load_model(result.checkpoint)
    one, other, pairs = model.models
    np.testing.assert_allclose(one.descriptor.davg, other.descriptor.davg[::-1], rtol=1e-12)
    assert (one.descriptor.dstd != 1.0).any()
    assert model.out_bias.any()
    assert not any(child.out_bias.any() for child in model.models)
    assert pairs.sel[0] > 0
    np.testing.assert_array_equal(pairs.coefficients, made(pairtab(table)).coefficients)
    assert model.script["models"][2]["tab_file"] == "table.txt"


def test_small_sel_of_a_part_is_told(tiny, tmp_path, caplog):
    small = SE_E2_A | {"rcut": 3.0, "sel": [20, 3]}
    trained(tiny, tmp_path, linear(standard(small), standard(DPA1 | {"rcut": 3.2, "sel": 60})), numb_steps=1)
    assert "has more neighbours within 3 Å than sel [20, 3] takes" in caplog.text
    assert "within 3.2 Å" not in caplog.text


def test_training_a_bridge_and_going_on(tiny, tmp_path, table):
    section = bridge(DPA1, "table.txt")
    result, curve = trained(tiny, tmp_path, section)
    assert curve["rmse_trn"][-1] < curve["rmse_trn"][0]
    model = load_model(result.checkpoint)
    assert model.serialize()["type"] == "zbl"
    assert model.out_bias.any()
    assert not model.models[0].out_bias.any()
    document = tiny(numb_steps=16, disp_freq=4, save_freq=4)
    document["model"] = section
    assert train(document, backend="numpy", directory=tmp_path, restart="model.ckpt").step == 16


def test_training_beside_a_frozen_model(tiny, tmp_path):
    save_model(made(standard(DPA1, NAMES)), tmp_path / "inner.dp")
    models = [{"type": "frozen", "model_file": "inner.dp"}, standard(DPA1)]
    result, curve = trained(tiny, tmp_path, linear(*models))
    assert curve["rmse_trn"][-1] < curve["rmse_trn"][0]
    before, after = leaves(load_model(tmp_path / "inner.dp")), leaves(load_model(result.checkpoint).models[0])
    for path, value in before.items():
        np.testing.assert_array_equal(value, after[path], err_msg=path)


def test_there_is_nothing_to_train_in_a_table(tiny, tmp_path, table):
    with pytest.raises(ConfigError, match="no network, and so nothing to train"):
        trained(tiny, tmp_path, pairtab("table.txt"))


def test_data_closer_than_the_table(tiny, tmp_path):
    rows = np.column_stack([GRID + 1.9, energies(GRID)])
    write(tmp_path / "far.txt", rows)
    with pytest.raises(DataError, match="apart, but the pair table of the model begins at 2 Å"):
        trained(tiny, tmp_path, linear(standard(DPA1), pairtab("far.txt")))


def test_a_file_of_other_types(tiny, tmp_path):
    save_model(made(standard(DPA1, ("H", "O")), names=("H", "O")), tmp_path / "other.dp")
    with pytest.raises(ConfigError, match=r"type_map is O H, but the model of .*other.dp has H O"):
        trained(tiny, tmp_path, {"type": "frozen", "model_file": "other.dp"})


def test_statistics_files_tell_numbers_of_types_apart(tiny, tmp_path, table, caplog):
    caplog.set_level(logging.INFO)
    near = DPA1 | {"set_davg_zero": False}
    section = linear(standard(near), standard(near, ("H", "O")))
    first, _ = trained(tiny, tmp_path, section, numb_steps=0, stat_file="stat")
    again, _ = trained(tiny, tmp_path, section, numb_steps=0, stat_file="stat", stat_file_mode="read")
    for path, value in leaves(first.model).items():
        if path.endswith(("davg", "dstd", "out_bias")):
            np.testing.assert_array_equal(value, leaves(again.model)[path], err_msg=path)
