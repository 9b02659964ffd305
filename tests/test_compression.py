"""Compressed models of every kind give what the models give, on every backend, and from every file."""

import numpy as np
import pytest

from dp_core import DeepEval, DeepPot, load_model, save_model
from dp_core.backend import SUFFIXES, get_backend, installed
from dp_core.compression import compress, is_compressed, obstacle, tables_of, uncompressed
from dp_core.descriptors.tabulation import Resolution
from dp_core.errors import ConfigError, FormatError
from dp_core.model_file import document_bytes
from dp_core.models.protocol import new_model
from dp_core.module import leaves, replace, trained_leaves
from dp_core.nn import EmbeddingNet
from dp_core.nn.table import Table
from dp_core.schema import parse_model
from dp_core.testing import check_model

#: NumPy has an environment of its own; a .pt2 file takes a minute to compile.
FILES = [(name, s) for name in installed() for s in SUFFIXES[name] if s not in (".pt2", ".yml")]
FILES = [(name, s) for name, s in FILES if name != "numpy"] or FILES


def network():
    return EmbeddingNet.init(1, [3, 6, 6], seed=1)


def test_the_tables_of_another_program(golden):
    """DeePMD-kit's tables of the same networks; to the last digit in value, slope and curvature at the nodes."""
    stored = load_model(golden("compress_sea").path).descriptor
    nets = load_model(golden("compress_sea").path.with_name("compress_sea_twin.dp")).descriptor.embeddings.networks
    for table, net in zip(stored.tables, nets, strict=True):
        made = Table.of_network(net, table.grid, "float64")
        np.testing.assert_allclose(made.coefficients[:, :3], table.coefficients[:, :3], atol=1e-13)
        np.testing.assert_allclose(made.coefficients, table.coefficients, atol=1e-3)
        x = np.linspace(table.grid.lower - 1, table.grid.end + 1, 4001)[:, None]
        np.testing.assert_allclose(made(x), table(x), atol=1e-11)


@pytest.mark.parametrize("step", [0.01, 0.05, 0.003, 0.07])
@pytest.mark.parametrize("extrapolate", [1.0, 2.37, 5.0])
def test_any_step_gives_a_whole_grid(golden, step, extrapolate):
    part = load_model(golden("se_e3").path).descriptor
    resolution = Resolution(1.0, step, extrapolate)
    for grid in (resolution.radial(part, range(part.ntypes)), resolution.angular(part)):
        widths = np.diff(grid.nodes)
        assert widths.min() > 0
        kinds = {round(float(w), 9) for w in widths}
        assert kinds <= {round(grid.fine, 9), round(grid.coarse, 9)}
        assert Table.of_network(network(), grid, "float64").starts[-1] == grid.end


def test_where_tables_reach(golden):
    """Down to the shortest distance: from the value of an empty slot to that of the nearest neighbour."""
    part = load_model(golden("se_e2_a_oneside").path).descriptor
    grid = Resolution(1.25).radial(part, [0])
    mean, std = part.davg[0, 0, 0], part.dstd[0, 0, 0]
    u = max(0.0, (1.25 - part.rcut_smth) / (part.rcut - part.rcut_smth))
    nearest = ((1 - 10 * u**3 + 15 * u**4 - 6 * u**5) / 1.25 - mean) / std
    assert grid.lower == np.floor(-mean / std)
    assert grid.upper == np.ceil(nearest)
    assert grid.end == 5 * grid.upper
    assert (grid.fine, grid.coarse) == (0.01, 0.1)


def dpa2(**repinit):
    document = {
        "type_map": ["O", "H"],
        "descriptor": {
            "type": "dpa2",
            "repinit": {"rcut": 4.0, "rcut_smth": 1.0, "nsel": 40, "neuron": [3, 6], "axis_neuron": 2, "tebd_dim": 3}
            | {"tebd_input_mode": "strip", "use_three_body": True, "three_body_neuron": [2, 4]}
            | {"three_body_sel": 30, "three_body_rcut": 3.6, "three_body_rcut_smth": 1.0, **repinit},
            "repformer": {"rcut": 3.5, "rcut_smth": 1.0, "nsel": 30, "nlayers": 1, "g1_dim": 4, "g2_dim": 3}
            | {"axis_neuron": 2, "attn1_hidden": 2, "attn1_nhead": 2, "attn2_hidden": 2, "attn2_nhead": 2},
            "seed": 1,
        },
        "fitting_net": {"neuron": [4], "seed": 1},
    }
    return new_model(parse_model(document), ["O", "H"])


def numbers(model, golden):
    coord, box, types = golden("se_e2_a_oneside").inputs
    return DeepPot(model, "numpy").eval(coord[:1], None if box is None else box[:1], types % 2)


@pytest.mark.parametrize("one_side", [False, True])
def test_dpa2(golden, tmp_path, one_side):
    model = dpa2(type_one_side=one_side)
    made = compress(model, min_nbor_dist=0.9)
    assert made.descriptor.repinit.tables
    save_model(made, tmp_path / "c.dp")
    again = load_model(tmp_path / "c.dp")
    assert leaves(again).keys() == leaves(made).keys()
    assert again.serialize()["descriptor"]["@version"] == 4
    for found, expected in zip(numbers(again, golden), numbers(model, golden), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)
    assert not np.array_equal(numbers(again, golden)[1], numbers(model, golden)[1])  # it is the tables that are used


CASES = ["se_e2_a_twoside", "se_e3", "se_e3_tebd_strip", "dpa1_strip_oneside", "se_atten_v2", "se_a_ebd_v2", "float32"]


@pytest.mark.parametrize("name", [*CASES, "hybrid_sea_ser", "se_e2_r_twoside"])
def test_a_compressed_model_keeps_its_networks(golden, tmp_path, name):
    model = load_model(golden(name).path)
    assert obstacle(model) is None
    assert not is_compressed(model)
    made = compress(model, min_nbor_dist=1.0)
    assert is_compressed(made)
    assert tables_of(made).nbytes > 0
    assert trained_leaves(made).keys() == trained_leaves(model).keys()
    for path in ("c.dp", "c.yaml"):
        save_model(made, tmp_path / path)
        again = load_model(tmp_path / path)
        assert again.min_nbor_dist == 1.0
        assert {k: v.tobytes() for k, v in leaves(again).items()} == {k: v.tobytes() for k, v in leaves(made).items()}
    back = leaves(uncompressed(again))
    assert back.keys() == leaves(model).keys()
    assert all(np.array_equal(back[k], v) for k, v in leaves(model).items())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dpa1_attn0_concat", "dpa1; types go into the network"),
        ("dpa2_small", "dpa2; of repinit: types go"),
        ("hybrid_sea_dpa1", "hybrid; of descriptor 1 of the hybrid, dpa1: types go"),
        ("dpa3_small", "dpa3; it has no network of one number"),
        ("loc_frame", "loc_frame; it has no network"),
        ("pairtab", "it has no networks"),
        ("compress_sea", "compressed already"),
    ],
)
def test_why_not(golden, name, reason):
    with pytest.raises(ConfigError, match=reason):
        compress(load_model(golden(name).path), min_nbor_dist=1.0)


def test_impossible_settings(golden):
    model = replace(load_model(golden("se_e2_a_oneside").path), min_nbor_dist=None)
    with pytest.raises(ConfigError, match="dp compress -t"):
        compress(model)
    for more, message in [
        ({"min_nbor_dist": 0.0}, "must be positive"),
        ({"min_nbor_dist": np.inf}, "must be positive"),
        ({"min_nbor_dist": 1.0, "step": 0.0}, "step of the table is 0"),
        ({"min_nbor_dist": 1.0, "extrapolate": 0.5}, "at least 1"),
        ({"min_nbor_dist": 1e-6}, "GiB. Use a larger step"),
    ]:
        with pytest.raises(ConfigError, match=message):
            compress(model, **more)
    made = compress(replace(model, min_nbor_dist=7.0))  # no neighbour at all
    assert all(np.isfinite(x).all() for x in numbers(made, golden))


def test_a_damaged_table_of_types(golden):
    document = load_model(golden("compress_dpa1_strip").path).serialize()
    variables = document["descriptor"]["compress"]["@variables"]
    variables["type_embd_data"] = variables["type_embd_data"][1:]
    with pytest.raises(FormatError, match=r"\(15, 16\), expected is \(16, 16\)"):
        type(load_model(golden("compress_dpa1_strip").path)).deserialize(document)


def test_other_types_need_other_tables(golden):
    with pytest.raises(ConfigError, match="tables belong to its types"):
        load_model(golden("compress_dpa1_strip").path).change_type_map(["H", "O"])


#: Stored models, and how much their forces may differ: tables of angles are coarser, and kinks are no polynomials.
ACCURACY = {
    "se_e2_a_twoside": 1e-10,
    "se_e2_r_exclude": 1e-10,
    "se_e3_resnet": 1e-5,
    "se_e3_tebd_strip": 1e-5,
    "se_e3_tebd_strip_nosmooth": 1e-5,
    "dpa1_strip_oneside": 1e-10,
    "dpa1_attn2_strip_smooth": 1e-10,
    "se_atten_v2": 1e-10,
    "se_a_ebd_v2": 1e-10,
    "hybrid_sea_ser": 1e-10,
    "act_gelu": 1e-9,
    "act_relu_linear": 0.1,
    "dipole": 1e-7,
    "float32": 2e-5,
}
#: JAX compiles a program for each.
FEW = ["se_e2_a_twoside", "se_e3_tebd_strip", "dpa1_strip_oneside", "float32"]


@pytest.mark.parametrize("name", ACCURACY)
def test_the_numbers_of_the_model(golden, backend, name):
    if backend == "jax" and name not in FEW:
        pytest.skip("one model of each kind is enough where every size is compiled")
    case = golden(name)
    with DeepEval(compress(load_model(case.path), min_nbor_dist=1.0), backend) as pot:
        found = case.evaluated_by(pot)
    for key, value in found.items():
        if key in case.data:
            expected = case.data[key]
            assert np.abs(value - expected).max() / np.abs(expected).max() < ACCURACY[name], key


@pytest.mark.parametrize("name", ["se_e2_a_twoside", "se_e3", "se_e3_tebd_strip", "dpa1"])
def test_physics(golden, backend, name):
    """Forces by finite differences, second derivatives, the array-API standard, and all other checks."""
    if backend == "jax" and name != "se_e2_a_twoside":
        pytest.skip("one model is enough where every size is compiled")
    model = load_model(golden("compress_dpa1_strip" if name == "dpa1" else name).path)
    made = model if name == "dpa1" else compress(model, min_nbor_dist=0.5)
    report = check_model(made, backend, natoms=6)
    report.raise_for_failures()
    assert not report.skipped


@pytest.mark.parametrize(("kind", "suffix"), FILES)
def test_frozen_graphs_hold_the_tables(golden, tmp_path, kind, suffix):
    """Tables so coarse that one sees which are used, the networks or they; and from file to file they stay."""
    case = golden("hybrid_sea_ser")
    model = load_model(case.path)
    made = compress(model, min_nbor_dist=1.0, step=0.5)
    path = tmp_path / f"frozen{suffix}"
    get_backend(kind).freeze(made, document_bytes(made), path)
    again = load_model(path)
    assert is_compressed(again)
    assert str(tables_of(again)) == str(tables_of(made))
    inputs = [x if x is None else x[:1] for x in case.inputs[:2]]
    found, expected, full = (
        DeepPot(source, name).eval(*inputs, case.inputs[2])[1]
        for source, name in ((path, kind), (made, "numpy"), (model, "numpy"))
    )
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()
    assert np.abs(found - full).max() > 1e-7 * np.abs(expected).max()
