"""dpa2 against numbers of another implementation, in two domains, in a hybrid, trained, and what is refused."""

import copy

import array_api_strict
import numpy as np
import pytest

from dp_core.batching import build_batch
from dp_core.descriptors.dpa2 import DPA2
from dp_core.errors import ConfigError, FormatError
from dp_core.models.standard import StandardModel
from dp_core.module import leaves, map_with_path, replace, tree_map
from dp_core.neighbors import frame_neighbors
from dp_core.predictors import DeepPot
from dp_core.schema import parse_model
from dp_core.schema.section import validate
from dp_core.training import train

CELL = np.array([[6.0, 0.0, 0.0], [0.5, 6.5, 0.0], [0.0, 0.3, 7.0]])
COORD = np.array([[1.0, 1.2, 1.1], [2.3, 1.9, 0.6], [0.2, 3.1, 2.2], [4.9, 5.6, 6.2]])
TYPES = np.array([0, 1, 1, 0])

REPINIT = {"rcut": 4.0, "rcut_smth": 1.0, "nsel": 9, "neuron": [3, 6], "axis_neuron": 2, "tebd_dim": 3}
REPFORMER = {
    "rcut": 3.5, "rcut_smth": 1.0, "nsel": 6, "nlayers": 2, "g1_dim": 4, "g2_dim": 3, "axis_neuron": 2,
    "attn1_hidden": 2, "attn1_nhead": 2, "attn2_hidden": 2, "attn2_nhead": 2,
}  # fmt: skip
THREE_BODY = {
    "use_three_body": True, "three_body_neuron": [2, 4], "three_body_sel": 6, "three_body_rcut": 3.6,
    "three_body_rcut_smth": 1.0,
}  # fmt: skip
EVERYTHING = (
    THREE_BODY | {"tebd_input_mode": "strip"},
    {"update_h2": True, "update_style": "res_residual", "attn2_has_gate": True},
    {"add_tebd_to_repinit_out": True, "use_tebd_bias": True},
)
#: Options with numbers that DeePMD-kit 3.2.0 gives for the same weights: descriptor[0, 0], [0, 1], [1, 0], [3, −1], its
#: sum, its sum of squares; rotation[0, 0], its sum of squares.
VECTORS = {
    "default": (
        ({}, {}, {}),
        [0.3371024568645, -0.092484819894076, 0.24363619716276,
         -0.38356970986526, -0.25699150627093, 1.98141784452],
        [1.061491028983, 0.65211802328697, -0.38088548048355, 3.2104902423864],
    ),
    "everything": (
        EVERYTHING,
        [1.049119706367, -0.50109003624938, 0.4547709899422,
         -0.23278925899659, 0.89554313434419, 4.3450901694216],
        [1.4206361567515, 0.83063461962905, -0.52407278263848, 5.4056246023783],
    ),
    "not smooth": (
        ({}, {"update_style": "res_incr", "g1_out_conv": False, "g1_out_mlp": False, "use_sqrt_nnei": False,
              "direct_dist": True},
         {"smooth": False, "concat_output_tebd": False}),
        [0.47969848030656, -0.35362022534922, 0.38048698610002,
         -0.43622802102119, -0.18224428141935, 2.1679350024503],
        [0.038535046497734, 0.27422687010998, 0.071344355193787, 1.7272416918544],
    ),
}  # fmt: skip


def section(repinit=None, repformer=None, **others):
    return {
        "type": "dpa2", "seed": 1, "repinit": REPINIT | (repinit or {}), "repformer": REPFORMER | (repformer or {}),
        **others,
    }  # fmt: skip


def wave(path, leaf):
    """Weights that anyone can write down."""
    name = path.rsplit(".", 1)[-1]
    a, b = np.indices(leaf.shape[-2:]) if leaf.ndim > 1 else (None, np.arange(len(leaf)))
    if "norm" in path:
        return 1 + 0.1 * np.sin(b) if name == "w" else 0.05 * np.cos(b)
    if name == "w":
        return 0.4 * np.sin(1 + a + 2 * b)
    if name == "b":
        return 0.2 * np.cos(1 + 3 * b)
    if "residual" in path:
        return 0.2 + 0.05 * np.sin(b)
    return leaf


def with_statistics(part):
    t = np.arange(2)[:, None, None]
    radial = np.arange(4) == 0
    davg = np.where(radial, 0.05 * (t + 1), 0.0) + np.zeros_like(part.davg)
    dstd = np.where(radial, 0.3 + 0.1 * t, 0.2 + 0.1 * t) + np.zeros_like(part.dstd)
    return replace(part, davg=davg, dstd=dstd)


def made(changes, names=("A", "B")):
    """The descriptor with weights that follow a formula, as a document keeps it."""
    repinit, repformer, others = changes
    settings = validate(DPA2.Settings, section(repinit, repformer, **others))
    descriptor = map_with_path(wave, DPA2.init(settings, names)).map_parts(with_statistics)
    return DPA2.deserialize(descriptor.serialize())


def model_of(repinit=None, repformer=None, type_map=("O", "H"), **others):
    """A model with random weights."""
    settings = parse_model(
        {
            "type_map": list(type_map),
            "descriptor": section(repinit, repformer, **others),
            "fitting_net": {"neuron": [5, 5], "seed": 2},
        }
    )
    return StandardModel.init(settings, settings.type_map)


def values_of(descriptor):
    model = replace(model_of(), descriptor=descriptor)
    batch = build_batch([frame_neighbors(COORD, CELL, TYPES, model.neighbor_spec)], model.neighbor_spec)
    return tuple(batch.to_atoms(x) for x in descriptor(batch.table))


@pytest.mark.parametrize("case", VECTORS)
def test_against_known_numbers(case):
    changes, values, rotations = VECTORS[case]
    d, rotation = values_of(made(changes))
    seen = [d[0, 0], d[0, 1], d[1, 0], d[3, -1], d.sum(), (d * d).sum()]
    np.testing.assert_allclose(seen, values, rtol=1e-11)
    np.testing.assert_allclose([*rotation[0, 0], (rotation**2).sum()], rotations, rtol=1e-11)


@pytest.mark.parametrize("case", VECTORS)
def test_standard_functions_are_enough(case):
    """An array library that has nothing else gives the same."""
    descriptor = made(VECTORS[case][0])
    model = replace(model_of(), descriptor=descriptor)
    batch = build_batch([frame_neighbors(COORD, CELL, TYPES, model.neighbor_spec)], model.neighbor_spec)
    strict, table = (tree_map(array_api_strict.asarray, tree) for tree in (descriptor, batch.table))
    for found, expected in zip(strict(table), descriptor(batch.table), strict=True):
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", VECTORS)
def test_documents_are_read_as_they_were_written(case):
    first = made(VECTORS[case][0]).serialize()
    second = DPA2.deserialize(first).serialize()

    def flat(value, path=""):
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            return {k: v for key, x in items for k, v in flat(x, f"{path}/{key}").items()}
        return {path: value}

    old, new = flat(first), flat(second)
    assert list(old) == list(new)
    for path, value in old.items():
        np.testing.assert_array_equal(value, new[path], err_msg=path)


def test_old_documents():
    """Version 2 knows neither the root of the number of neighbours nor outputs of their own."""
    old = {"use_sqrt_nnei": False, "g1_out_conv": False, "g1_out_mlp": False}
    document = made(({}, old, {})).serialize()
    expected = values_of(DPA2.deserialize(document))[0]
    inner = {key: value for key, value in document["repformer_args"].items() if key not in old}
    again = DPA2.deserialize(document | {"@version": 2, "repformer_args": inner})
    np.testing.assert_array_equal(values_of(again)[0], expected)


def test_statistics_that_differ_between_slots():
    """All slots of one table then; with equal statistics, that is the same."""
    descriptor = made(EVERYTHING)
    assert len(descriptor.shells) == 2
    slots = descriptor.map_parts(lambda part: replace(part, by_slot=True))
    assert slots.shells == ()
    for found, expected in zip(values_of(slots), values_of(descriptor), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    random = np.random.default_rng(3)
    other = descriptor.map_parts(lambda part: replace(part, dstd=part.dstd * random.uniform(0.5, 1.5, part.dstd.shape)))
    read = DPA2.deserialize(other.serialize())
    assert read.repinit.by_slot
    assert read.repformer.by_slot
    assert not np.allclose(values_of(read)[0], values_of(descriptor)[0])


def test_a_mean_direction_is_evaluated_slot_by_slot():
    """No statistics give one, but a document may have it; then empty slots count in the three-body part."""
    descriptor = made(EVERYTHING)
    davg = descriptor.three_body.davg.copy()
    davg[..., 1] = 0.3
    part = replace(descriptor.three_body, davg=davg)
    dense = replace(descriptor, three_body=replace(part, by_slot=True))
    read = DPA2.deserialize(replace(descriptor, three_body=part).serialize())
    np.testing.assert_allclose(values_of(read)[0], values_of(dense)[0], rtol=1e-12)


@pytest.mark.parametrize("changes", [({}, {}), (EVERYTHING[0], EVERYTHING[1]), ({}, {"g1_out_conv": False})])
def test_two_domains(two_domains, changes):
    """Energies and forces of a frame cut in two equal those of the whole."""
    repinit, repformer = changes
    two_domains(model_of(repinit | {"nsel": 60, "three_body_sel": 60}, {"nsel": 50} | repformer))


@pytest.mark.parametrize("means", [False, True])
def test_in_a_hybrid_it_gives_the_same(means):
    """The shared table has no shells, more slots and a larger cutoff."""
    own = section(THREE_BODY | {"three_body_rcut": 3.0, "nsel": 4}, {"nsel": 3, "rcut": 3.2})
    own["repinit"]["three_body_sel"] = 2
    for part in ("repinit", "repformer"):
        own[part]["set_davg_zero"] = not means
    other = {"type": "dpa1", "rcut": 4.5, "sel": 40, "neuron": [2, 4], "axis_neuron": 2, "attn_layer": 0}
    found = []
    for chosen in (own, {"type": "hybrid", "list": [own, other]}):
        document = {"type_map": ["O", "H"], "descriptor": chosen, "fitting_net": {"neuron": [5]}}
        model = StandardModel.init(parse_model(document), ["O", "H"])
        if means:
            model = StandardModel.deserialize(
                replace(model, descriptor=model.descriptor.map_parts(with_statistics)).serialize()
            )
        found.append(DeepPot(model, "numpy").eval_descriptor(COORD[None], CELL[None], TYPES)[..., :7])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12, atol=1e-15)


def test_training(tiny, tmp_path):
    document = tiny(numb_steps=40, disp_freq=10, save_freq=40, stat_file=None)
    repinit = THREE_BODY | {"rcut": 3.0, "nsel": "auto", "three_body_rcut": 2.5, "three_body_sel": "auto:2"}
    document["model"]["descriptor"] = section(repinit, {"rcut": 2.6, "nsel": "auto", "set_davg_zero": False})
    result = train(document, backend="numpy", directory=tmp_path)
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table["rmse_f_val"][-1] < 0.8 * table["rmse_f_val"][0]
    descriptor = result.model.descriptor
    numbers = [descriptor.settings.nsel, descriptor.settings.three_body_sel, descriptor.repformer.settings.nsel]
    assert all(number % 4 == 0 for number in numbers)
    assert numbers[0] > numbers[2] >= numbers[1]
    assert not descriptor.repinit.davg.any()
    assert descriptor.repformer.davg.any()
    for part in (descriptor.repinit, descriptor.three_body, descriptor.repformer):
        assert (part.dstd != 1.0).all()


def test_all_weights_are_trained():
    """There is one type embedding, and statistics are no weights."""
    paths = list(leaves(made(EVERYTHING)))
    assert sum("type_embedding" in path for path in paths) == 2
    assert sum(path.endswith(("davg", "dstd")) for path in paths) == 6


def test_initial_weights():
    descriptor = model_of({}, {"update_style": "res_residual", "update_residual": 0.1}).descriptor
    first, last = descriptor.repformer.layers
    assert [len(first.g1_residual), len(first.g2_residual), len(first.h2_residual)] == [4, 3, 0]
    assert [len(last.g1_residual), len(last.g2_residual), len(last.h2_residual)] == [4, 0, 0]
    assert 0.03 < np.std(np.concatenate(first.g1_residual)) < 0.3
    random = np.random.default_rng([15, 0, 1, 1, 1])  # self_mlp of layer 0 of the layers of the block of seed 1
    np.testing.assert_allclose(first.self_mlp.w, random.normal(scale=8**-0.5, size=(4, 4)), rtol=1e-14)
    frozen = model_of({}, {"update_style": "res_residual", "update_residual_init": "const"}, trainable=False)
    layer = frozen.descriptor.repformer.layers[0]
    assert not layer.g1_residual[0].any()
    assert not layer.self_mlp.trainable


def test_other_types():
    """Known types keep what they have."""
    model = model_of(THREE_BODY, exclude_types=[[0, 1]])
    model = replace(model, descriptor=model.descriptor.map_parts(with_statistics))
    changed = model.descriptor.change_type_map(["N", "H", "O"], np.random.default_rng(1))
    assert changed.repformer.exclude_types == changed.repinit.exclude_types == ((2, 1),)
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
    ("repinit", "repformer", "message"),
    [
        ({}, {"rcut": 4.0}, "repformer/rcut is 4.0 and must be smaller than repinit/rcut, 4.0"),
        ({}, {"nsel": 9}, "repformer/nsel is 9 and must be smaller than repinit/nsel, 9"),
        (THREE_BODY | {"three_body_rcut": 4.1}, {}, "three_body_rcut is 4.1 and must not be larger than repinit/rcut"),
        (THREE_BODY | {"three_body_sel": 5}, {}, "cutoff 3.5 has 6 neighbours at most, that with 3.6 only 5"),
        (THREE_BODY | {"three_body_rcut_smth": 3.7}, {}, "three_body_rcut_smth is 3.7 and must be smaller"),
        ({"rcut_smth": 4.5}, {}, "rcut_smth is 4.5 and must be smaller than rcut, 4.0"),
        ({"axis_neuron": 7}, {}, "axis_neuron is 7, more than the last width of neuron, 6"),
        ({}, {"axis_neuron": 4}, "axis_neuron is 4, more than g2_dim, 3"),
        ({}, {"nsel": 0}, "nsel is 0"),
        ({}, {"update_g1_has_grrg": False, "update_g1_has_drrd": False}, "nothing is left to update atoms with"),
        ({}, {"update_style": "res"}, "res_residual"),
        ({}, {"attn1_head": 5}, "did you mean 'attn1_nhead'"),
        ({"three_body": True}, {}, "did you mean 'use_three_body'"),
    ],
)
def test_contradictions(repinit, repformer, message):
    with pytest.raises(ConfigError, match=message):
        model_of(repinit, repformer)


def damaged(part, key, value=None):
    """The document with everything, where a part in ``part`` (a path) is missing or another."""
    document = copy.deepcopy(made(EVERYTHING).serialize())
    place = document
    for step in part:
        place = place[step]
    if value is None:
        del place[key]
    else:
        place[key] = value(place[key])
    return document


LAYERS = ("repformers_variable", "repformer_layers")


@pytest.mark.parametrize(
    "key",
    [
        "loc_attn", "attn2g_map", "attn2_mh_apply", "attn2_lm", "attn2_ev_apply", "proj_g1g2", "proj_g1g1g2",
        "linear2", "g1_self_mlp",
    ],
)  # fmt: skip
def test_a_layer_without_a_part(key):
    with pytest.raises(FormatError, match=f"RepformerLayer of the model contradicts its settings in {key}; the file"):
        DPA2.deserialize(damaged((*LAYERS, 0), key))


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ((*LAYERS, 0), "@variables", None, "has 0 weights of updates in g1_residual, and needs 4"),
        (
            (*LAYERS, 0, "@variables"),
            "g1_residual",
            lambda x: x[1:],
            "3 weights of updates in g1_residual, and needs 4",
        ),
        ((*LAYERS, 0, "@variables"), "h2_residual", lambda x: [], "0 weights of updates in h2_residual, and needs 1"),
        ((*LAYERS, 0), "update_g1_has_grrg", lambda x: False, "contradicts its settings in update_g1_has_grrg"),
        ((*LAYERS, 1), "update_chnnl_2", lambda x: True, "contradicts its settings in update_chnnl_2"),
        (LAYERS[:1], LAYERS[1], lambda x: x[:1], "The repformer of the model has 1 layers, not 2"),
        (LAYERS[:1], LAYERS[1], lambda x: [x[0], *x], "The repformer of the model has 3 layers, not 2"),
        ((LAYERS[0], "@variables"), "davg", lambda x: x[:, :3], r"davg of .* shape \(2, 3, 4\), not \(types, 6, 4\)"),
        ((LAYERS[0], "@variables"), "dstd", lambda x: x[:, :3], r"dstd of .* shape \(2, 3, 4\), not \(types, 6, 4\)"),
        ((), "tebd_transform", None, "has no tebd_transform, against its settings"),
        ((), "add_tebd_to_repinit_out", lambda x: False, "has a tebd_transform, against its settings"),
        ((), "repinit_three_body_variable", None, "has no repinit_three_body_variable, against its settings"),
    ],
)
def test_incomplete_documents(part, key, value, message):
    with pytest.raises(FormatError, match=message):
        DPA2.deserialize(damaged(part, key, value))


def test_weights_of_updates_may_be_left_over():
    document = damaged((*LAYERS, 1, "@variables"), "g2_residual", lambda x: [np.ones(3)])
    found, expected = (values_of(DPA2.deserialize(x))[0] for x in (document, made(EVERYTHING).serialize()))
    np.testing.assert_array_equal(found, expected)


def test_other_errors():
    with pytest.raises(ConfigError, match="'X' in the type_map is no element"):
        model_of(type_map=("O", "X"), use_econf_tebd=True)
    with pytest.raises(ConfigError, match="repformer/nsel is 'auto'; count the neighbours of the training data first"):
        model_of(repformer={"nsel": "auto"})
    document = model_of().descriptor.serialize()
    document["repformer_args"]["b_dim"] = 3
    with pytest.raises(FormatError, match=r"repformer_args .*b_dim: Extra inputs are not permitted"):
        DPA2.deserialize(document)
