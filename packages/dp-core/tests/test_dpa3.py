"""dpa3 against numbers of another implementation, in parts, in a hybrid, and what is refused."""

import numpy as np
import pytest

from dp_core.batching import build_batch
from dp_core.descriptors.dpa3 import DPA3
from dp_core.errors import ConfigError, DataError, FormatError
from dp_core.models.standard import StandardModel
from dp_core.module import map_with_path, replace
from dp_core.neighbors import frame_neighbors
from dp_core.predictors import DeepPot
from dp_core.schema import parse_model
from dp_core.schema.section import validate
from dp_core.training import train

CELL = np.array([[6.0, 0.0, 0.0], [0.5, 6.5, 0.0], [0.0, 0.3, 7.0]])
COORD = np.array([[1.0, 1.2, 1.1], [2.3, 1.9, 0.6], [0.2, 3.1, 2.2], [4.9, 5.6, 6.2]])
TYPES = np.array([0, 1, 1, 0])

REPFLOW = {
    "n_dim": 4, "e_dim": 3, "a_dim": 4, "nlayers": 2, "axis_neuron": 2,
    "e_rcut": 4.0, "e_rcut_smth": 3.0, "e_sel": 9, "a_rcut": 3.5, "a_rcut_smth": 2.5, "a_sel": 5,
}  # fmt: skip
#: Options with numbers that DeePMD-kit 3.2.0 gives for the same weights: descriptor[0, 0], [0, 1], [1, 0], [3, −1], its
#: sum, its sum of squares; rotation[0, 0], its sum of squares.
VECTORS = {
    "default": (
        {}, {},
        [1.2760240913333, -0.065683987729768, 0.26219775812713, 0.1517211818382, 7.0699240934149, 6.0747261893948],
        [0.59045444342377, 0.75581569587247, -0.078248011861467, 1.2223421775082],
    ),
    "compressed": (
        {"a_compress_rate": 1, "a_compress_e_rate": 2, "n_multi_edge_message": 2, "smooth_edge_update": True,
         "use_exp_switch": True, "edge_init_use_dist": True},
        {"add_chg_spin_ebd": True, "concat_output_tebd": True, "use_tebd_bias": True},
        [1.5613580673699, -0.17492935702836, 0.4657692745523, 0.059561896079854, 16.635713851177, 17.566484746716],
        [0.55528083772247, 1.1967021150152, 0.09159080448285, 3.3398261022253],
    ),
    "dynamic": (
        {"use_dynamic_sel": True, "smooth_edge_update": True, "sel_reduce_factor": 2.0, "sequential_update": True},
        {},
        [1.3826389758064, -0.067971061361076, 0.287338408017, 0.15174695571575, 7.2057436106309, 6.371619240259],
        [0.8368688065103, 1.0714221465481, -0.11084143110665, 2.4576849028796],
    ),
}  # fmt: skip


def settings_of(repflow, **others):
    return validate(DPA3.Settings, {"type": "dpa3", "repflow": REPFLOW | repflow, **others})


def wave(path, leaf):
    """Weights that anyone can write down."""
    name = path.rsplit(".", 1)[-1]
    a, b = np.indices(leaf.shape[-2:]) if leaf.ndim > 1 else (None, np.arange(len(leaf)))
    if name == "w":
        return 0.4 * np.sin(1 + a + 2 * b)
    if name == "b":
        return 0.2 * np.cos(1 + 3 * b)
    if "residual" in path:
        return 0.2 + 0.05 * np.sin(b)
    return leaf


def with_vectors(descriptor):
    t = np.arange(2)[:, None, None]
    davg = np.where(np.arange(4) == 0, 0.05 * (t + 1), 0.0) + np.zeros((2, 9, 4))
    dstd = np.where(np.arange(4) == 0, 0.3 + 0.1 * t, 0.2 + 0.1 * t) + np.zeros((2, 9, 4))
    return replace(map_with_path(wave, descriptor), davg=davg, dstd=dstd)


def model_of(repflow, type_map=("O", "H"), **others):
    """A model with random weights."""
    document = {
        "type_map": list(type_map),
        "descriptor": {"type": "dpa3", "repflow": REPFLOW | repflow, "seed": 1, **others},
        "fitting_net": {"neuron": [5, 5], "seed": 2},
    }
    settings = parse_model(document)
    return StandardModel.init(settings, settings.type_map)


@pytest.mark.parametrize("case", VECTORS)
def test_against_known_numbers(case):
    repflow, others, values, rotations = VECTORS[case]
    descriptor = with_vectors(DPA3.init(settings_of(repflow, **others), ["A", "B"]))
    model = replace(model_of({}), descriptor=descriptor)
    found = frame_neighbors(COORD, CELL, TYPES, model.neighbor_spec)
    fparam = np.array([[1.0, 2.0]]) if descriptor.charge_spin else None
    batch = build_batch([found], model.neighbor_spec, fparam=fparam)
    d, rotation = (batch.to_atoms(x) for x in descriptor(batch.table))
    seen = [d[0, 0], d[0, 1], d[1, 0], d[3, -1], d.sum(), (d * d).sum()]
    np.testing.assert_allclose(seen, values, rtol=1e-11)
    np.testing.assert_allclose([*rotation[0, 0], (rotation**2).sum()], rotations, rtol=1e-11)
    again = DPA3.deserialize(descriptor.serialize())
    np.testing.assert_array_equal(again(batch.table)[0], descriptor(batch.table)[0])


def test_statistics_that_differ_between_slots():
    """The place of a neighbour is that among all of its centre, whatever shell it is in."""
    descriptor = with_vectors(DPA3.init(settings_of({}), ["A", "B"]))
    random = np.random.default_rng(3)
    dstd = descriptor.dstd * random.uniform(0.5, 1.5, descriptor.dstd.shape)
    by_slot = DPA3.deserialize(replace(descriptor, dstd=dstd).serialize())
    model = replace(model_of({}), descriptor=by_slot)
    batch = build_batch([frame_neighbors(COORD, CELL, TYPES, model.neighbor_spec)], model.neighbor_spec)
    table = batch.table
    distance = np.where(table.index >= 0, np.linalg.norm(table.vectors, axis=-1), np.inf)
    expected = np.argsort(np.argsort(distance, axis=1), axis=1)
    place = by_slot._places(table)
    assert (place[table.index >= 0] == expected[table.index >= 0]).all()
    assert not np.allclose(by_slot(table)[0], descriptor(table)[0])


@pytest.mark.parametrize("options", [{}, {"sequential_update": True}, {"update_angle": False}])
def test_two_domains(two_domains, options):
    """Energies and forces of a frame cut in two equal those of the whole."""
    two_domains(model_of({"e_sel": 60, "a_sel": 50} | options))


# -- the model as part of dp


def test_in_a_hybrid_it_gives_the_same():
    """The shared table has no shells, more slots and a larger cutoff."""
    alone = parse_model({
        "type_map": ["O", "H"],
        "descriptor": {"type": "dpa3", "repflow": REPFLOW | {"a_sel": 3, "use_exp_switch": True}, "seed": 1},
        "fitting_net": {"neuron": [5]},
    })  # fmt: skip
    other = {"type": "se_e2_a", "rcut": 4.5, "sel": [20, 20], "neuron": [2, 4], "axis_neuron": 2, "seed": 1}
    both = parse_model({
        "type_map": ["O", "H"],
        "descriptor": {"type": "hybrid", "list": [alone.descriptor.to_document(), other]},
        "fitting_net": {"neuron": [5]},
    })  # fmt: skip
    found = [
        DeepPot(StandardModel.init(settings, ["O", "H"]), "numpy").eval_descriptor(COORD[None], CELL[None], TYPES)
        for settings in (alone, both)
    ]
    np.testing.assert_allclose(found[1][..., :4], found[0], rtol=1e-12)


def test_training(tiny, tmp_path):
    document = tiny(numb_steps=40, disp_freq=10, save_freq=40, stat_file=None)
    repflow = {"e_rcut": 3.0, "e_rcut_smth": 1.0, "e_sel": "auto", "a_rcut": 2.5, "a_rcut_smth": 1.0, "a_sel": "auto:2"}
    document["model"]["descriptor"] = {"type": "dpa3", "repflow": REPFLOW | repflow | {"fix_stat_std": 0.0}}
    result = train(document, backend="numpy", directory=tmp_path)
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table["rmse_f_val"][-1] < 0.8 * table["rmse_f_val"][0]
    descriptor = result.model.descriptor
    assert descriptor.repflow.a_sel % 4 == descriptor.repflow.e_sel % 4 == 0
    assert not descriptor.davg.any()
    assert (descriptor.dstd[:, :, 0] != 0.3).all()


def test_charge_and_spin():
    model = model_of({}, add_chg_spin_ebd=True, default_chg_spin=[1, 2])
    pot = DeepPot(model, "numpy")
    assert pot.has_chg_spin_ebd()
    assert pot.has_default_chg_spin()
    default = pot.eval(COORD, CELL, TYPES)[0]
    assert pot.eval(COORD, CELL, TYPES, charge_spin=[1.9, 2.0])[0] == default
    assert pot.eval(COORD, CELL, TYPES, charge_spin=[0, 2])[0] != default
    with pytest.raises(DataError, match="total charge of 100; known: −100 to 99"):
        pot.eval(COORD, CELL, TYPES, charge_spin=[100, 1])
    with pytest.raises(DataError, match="multiplicity of -1"):
        pot.eval(COORD, CELL, TYPES, charge_spin=[0, -1])
    needs = DeepPot(model_of({}, add_chg_spin_ebd=True), "numpy")
    with pytest.raises(DataError, match=r"Give charge_spin as \(1, 2\) numbers"):
        needs.eval(COORD, CELL, TYPES)
    with pytest.raises(DataError, match="charge_spin was given, but the model has none"):
        DeepPot(model_of({}), "numpy").eval(COORD, CELL, TYPES, charge_spin=[0, 1])


def test_charge_and_spin_beside_frame_parameters():
    document = {
        "type_map": ["O", "H"],
        "descriptor": {"type": "dpa3", "repflow": REPFLOW, "seed": 1, "add_chg_spin_ebd": True},
        "fitting_net": {"neuron": [5], "seed": 2, "numb_fparam": 1, "default_fparam": [0.5]},
    }
    pot = DeepPot(StandardModel.init(parse_model(document), ["O", "H"]), "numpy")
    one = pot.eval(COORD, CELL, TYPES, charge_spin=[1, 2])[0]
    assert pot.eval(COORD, CELL, TYPES, charge_spin=[1, 2], fparam=[0.5])[0] == one
    assert pot.eval(COORD, CELL, TYPES, charge_spin=[1, 2], fparam=[0.6])[0] != one
    assert pot.eval(COORD, CELL, TYPES, charge_spin=[1, 3], fparam=[0.5])[0] != one


def test_initial_weights():
    descriptor = model_of({"update_residual_init": "norm", "n_multi_edge_message": 2}).descriptor
    layer = descriptor.layers[1]
    assert len({leaf.tobytes() for leaf in layer.n_residual}) == 4
    assert 0.03 < np.std(np.concatenate([*layer.n_residual, *layer.e_residual, *layer.a_residual])) < 0.3
    seed = [0, 1, 1, 1, 1]  # node_self of layer 1 of the layers of the block of seed 1
    random = np.random.default_rng(seed)
    np.testing.assert_allclose(layer.node_self.w, random.normal(scale=8**-0.5, size=(4, 4)), rtol=1e-14)
    assert (model_of({}).descriptor.layers[0].n_residual[0] == 0.1).all()
    frozen = model_of({}, trainable=False).descriptor
    assert not frozen.layers[0].n_residual[0].any()
    assert not frozen.layers[0].node_self.trainable
    assert (model_of({"skip_stat": True, "fix_stat_std": 0.0}).descriptor.dstd == 0.3).all()


def test_other_types():
    """Known types keep what they have."""
    model = model_of({}, exclude_types=[[0, 1]])
    changed = model.descriptor.change_type_map(["N", "H", "O"], np.random.default_rng(1))
    assert changed.exclude_types == ((2, 1),)
    assert (changed.dstd == 0.3).all()
    fitting = replace(model.fitting, ntypes=3, bias_atom_e=np.zeros((3, 1)))
    new = replace(
        model,
        descriptor=changed,
        fitting=fitting,
        type_map=("N", "H", "O"),
        out_bias=np.zeros((1, 3, 1)),
        out_std=np.ones((1, 3, 1)),
    )
    found = DeepPot(new, "numpy").eval_descriptor(COORD, CELL, np.array([2, 1])[TYPES])
    np.testing.assert_allclose(found, DeepPot(model, "numpy").eval_descriptor(COORD, CELL, TYPES), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"e_rcut": 3.2}, "a_rcut is 3.5 and must not be larger than e_rcut, 3.2"),
        ({"a_sel": 10}, "a_sel is 10 and must not be larger than e_sel, 9"),
        ({"a_rcut_smth": 3.5}, "a_rcut_smth is 3.5 and must be smaller than a_rcut"),
        ({"a_compress_rate": 3}, "must be a multiple of 2·a_compress_rate, 6"),
        ({"use_dynamic_sel": True}, "use_dynamic_sel needs smooth_edge_update: true"),
        ({"sequential_update": True, "update_style": "res_avg"}, "sequential_update needs update_style"),
        ({"update_style": "res"}, "res_residual"),
        ({"axis_neuron": 5}, "axis_neuron is 5"),
        ({"n_dims": 5}, "n_dim"),
    ],
)
def test_contradictions(options, message):
    with pytest.raises(ConfigError, match=message):
        model_of(options)


def test_unknown_options_of_a_document():
    document = model_of({}).descriptor.serialize()
    document["repflow_args"]["b_dim"] = 3
    with pytest.raises(FormatError, match=r"repflow_args .*b_dim: Extra inputs are not permitted"):
        DPA3.deserialize(document)


@pytest.mark.parametrize(("key", "needed"), [("n_residual", 4), ("e_residual", 2), ("a_residual", 1)])
def test_missing_weights_of_updates(key, needed):
    document = model_of({"n_multi_edge_message": 2}).descriptor.serialize()
    stored = document["repflow_variable"]["repflow_layers"][0]["@variables"]
    stored[key] = stored[key][1:]
    with pytest.raises(FormatError, match=f"{needed - 1} weights of updates in {key}, and needs {needed}; the file"):
        DPA3.deserialize(document)


@pytest.mark.parametrize("key", ["edge_angle_linear1", "angle_self_linear", "a_compress_n_linear"])
def test_missing_layers(key):
    document = model_of({"a_compress_rate": 1, "a_compress_use_split": False}).descriptor.serialize()
    del document["repflow_variable"]["repflow_layers"][1][key]
    with pytest.raises(FormatError, match=f"A RepFlowLayer of the model has no {key}, which its settings need"):
        DPA3.deserialize(document)


def test_number_of_layers():
    document = model_of({}).descriptor.serialize()
    layers = document["repflow_variable"]["repflow_layers"]
    count = len(layers)
    del layers[0]
    with pytest.raises(FormatError, match=f"has {count - 1} repflow_layers where its settings say nlayers = {count}"):
        DPA3.deserialize(document)


def test_other_contradictions():
    with pytest.raises(ConfigError, match="default_chg_spin is given, but add_chg_spin_ebd is false"):
        model_of({}, default_chg_spin=[0, 1])
    with pytest.raises(ConfigError, match="give two, the charge and multiplicity"):
        model_of({}, add_chg_spin_ebd=True, default_chg_spin=[0])
    with pytest.raises(ConfigError, match="'X' in the type_map is no element"):
        model_of({}, type_map=("O", "X"), use_econf_tebd=True)
    with pytest.raises(ConfigError, match="count the neighbours of the training data first"):
        model_of({"e_sel": "auto"})
