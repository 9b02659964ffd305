"""Descriptors with a type embedding: published numbers, every slot one by one, other types, settings, trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dp_core import registry
from dp_core.batching import build_batch
from dp_core.errors import ConfigError, FormatError
from dp_core.model_file import load_model
from dp_core.module import leaves, replace, trained_leaves, with_leaves
from dp_core.neighbors import NeighborSpec, frame_neighbors
from dp_core.nn.attention import softmax_parts
from dp_core.nn.electrons import electron_configurations
from dp_core.nn.type_embedding import TypeEmbedding
from dp_core.schema.section import Variant
from dp_core.training import train

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
BOX = np.array([[6, 0, 0], [0.5, 6.5, 0], [0, 0.3, 7]])
COORD = np.array([[1.0, 1.2, 1.1], [2.3, 1.9, 0.6], [0.2, 3.1, 2.2], [4.9, 5.6, 6.2]])
TYPES = np.array([0, 1, 1, 0])
SHARED = {"sel": 9, "rcut": 4.0, "rcut_smth": 1.0, "set_davg_zero": False, "use_tebd_bias": False}
DPA1 = SHARED | {
    "type": "dpa1",
    "neuron": [3, 6],
    "axis_neuron": 2,
    "tebd_dim": 3,
    "attn": 4,
    "smooth_type_embedding": True,
}
TEBD = SHARED | {"type": "se_e3_tebd", "neuron": [2, 4], "tebd_dim": 3}

#: settings; width; D[0,0], D[0,1], D[1,0], the last of atom 3; the sum and sum of squares; rot[0,0,:] and its squares
VECTORS = {
    "three bodies": (
        TEBD,
        7,
        (0.19153775858994, 0.019032241363537, 0.071119127832934, -0.38356970986526, 0.40630322114272, 1.0572621733124),
        None,
    ),
    "three bodies, strip": (
        TEBD | {"tebd_dim": 4, "tebd_input_mode": "strip", "use_tebd_bias": True},
        8,
        (1.9064262691946, 0.7173967209575, 0.46179788628172, 0.094980333672225, 15.114440156708, 16.735786384845),
        None,
    ),
    "smooth attention": (
        DPA1,
        15,
        (
            0.38603602484136, -0.028210820223668, 0.15437596386924, -0.38356970986526,
            -0.085981165770191, 1.5265967657994,
        ),
        (0.35172884527864, 0.39097170379114, -0.066756686130164, 1.1407687266691),
    ),
    "other attention": (
        DPA1
        | {"attn_layer": 1, "smooth_type_embedding": False, "attn_dotr": False, "normalize": False, "temperature": 0.5}
        | {"type_one_side": True, "exclude_types": [[1, 1]]},
        15,
        (0.27852895744579, 0.019950386307821, 0.1128109532545, -0.38356970986526, -0.081388913415282, 1.3532334670977),
        (0.30762345905149, 0.37653548084217, -0.046627328152186, 1.0665575702981),
    ),
    "degree 4": (
        DPA1 | {"attn_layer": 0, "tebd_input_mode": "strip", "lmax": 4, "concat_output_tebd": False},
        12,
        (
            0.27365782690654, 0.019610279979933, 0.11296763723664, -0.00055506283477438,
            0.020693876842105, 0.30629960603577,
        ),
        (0.25581365130186, 0.21459075034777, -0.072267659201648, 0.52345186059735),
    ),
    "se_atten_v2": (
        {k: v for k, v in DPA1.items() if k != "smooth_type_embedding"}
        | {"type": "se_atten_v2", "tebd_dim": 4, "attn_layer": 1},
        16,
        (0.31176439588052, 0.03998348631559, 0.24565575906584, 0.26279463948752, 9.2252535270397, 10.159874295592),
        (0.30074012786512, 0.3669071613575, -0.045992951725998, 1.1712411814219),
    ),
}  # fmt: skip


def made(settings, type_map=("O", "H")):
    """A new descriptor of a section of an input file."""
    section = Variant("descriptor").validate(settings)
    return registry.lookup("descriptor", section.type).init(section, type_map)


def determined(descriptor):
    """The descriptor with the weights and statistics of the published numbers."""
    values = {}
    for path, leaf in leaves(descriptor).items():
        a, b = np.indices(leaf.shape) if leaf.ndim == 2 else (None, np.arange(leaf.shape[-1]))
        name = path.rsplit(".", 1)[-1]
        if ".norm." in path:
            values[path] = 1 + 0.1 * np.sin(b) if name == "w" else 0.05 * np.cos(b)
        elif name == "w":
            values[path] = 0.4 * np.sin(1 + a + 2 * b)
        elif name == "b":
            values[path] = 0.2 * np.cos(1 + 3 * b)
        elif name == "degree_gain_raw":
            values[path] = 0.5 + 0.25 * b
        else:
            t = np.arange(leaf.shape[0])[:, None]
            stat = np.zeros(leaf.shape)
            stat[..., 0] = 0.05 * (t + 1) if name == "davg" else 0.3 + 0.1 * t
            stat[..., 1:] = 0.0 if name == "davg" else (0.2 + 0.1 * t)[..., None]
            values[path] = stat
    return with_leaves(descriptor, values)


def spec_of(d, ntypes=2):
    return NeighborSpec(d.rcut, d.sel, False, ntypes, marks_first=d.marks_first)


def evaluated(d, coord=COORD, box=BOX, types=TYPES):
    """Descriptor and equivariant part in the order of the atoms."""
    spec = spec_of(d, d.ntypes)
    batch = build_batch([frame_neighbors(coord, box, types, spec)], spec)
    found, rotation = d(batch.table)
    return batch.to_atoms(found), None if rotation is None else batch.to_atoms(rotation)


@pytest.mark.parametrize("name", VECTORS)
def test_published_numbers(name):
    settings, width, numbers, rotation = VECTORS[name]
    d = determined(made(settings))
    for copy in (d, type(d).deserialize(d.serialize())):
        found, rot = evaluated(copy)
        assert found.shape == (4, width) == (4, copy.dim_out)
        seen = (found[0, 0], found[0, 1], found[1, 0], found[3, -1], found.sum(), (found**2).sum())
        np.testing.assert_allclose(seen, numbers, rtol=1e-11)
        if rotation is None:
            assert rot is None
        else:
            np.testing.assert_allclose((*rot[0, 0], (rot**2).sum()), rotation, rtol=1e-11)


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("virtual", [False, True])
def test_empty_slots_one_by_one(name, virtual):
    """What stands for the empty slots is the same as evaluating each of them; also with an atom alone in its cell."""
    d = determined(made(VECTORS[name][0]))
    types = np.array([-1, 1, 1, 0]) if virtual else TYPES
    for box in (BOX, 9.0 * np.eye(3)):
        closed, dense = (evaluated(x, box=box, types=types) for x in (d, replace(d, by_slot=True)))
        np.testing.assert_allclose(closed[0], dense[0], rtol=0, atol=1e-14)
    assert d.marks_first == (name in ("smooth attention", "other attention"))


@pytest.mark.parametrize(("precision", "lowest"), [("float32", -130.0), ("float64", -800.0)])
@pytest.mark.parametrize("spare", [0.0, 2.0])
def test_low_logits_do_not_vanish(precision, lowest, spare):
    """Without empty slots, a smooth attention is that of the largest logit, however low; else that of those slots."""
    logits = np.array([[[lowest, lowest + 1.0, 0.0]]], precision)
    valid = np.array([[[1], [1], [0]]], precision)
    p, total = softmax_parts(logits, valid, np.full((1, 1, 1), spare, precision), smooth=True)
    expected = np.array([1.0, np.e]) / (1.0 + np.e) if not spare else np.zeros(2)
    np.testing.assert_allclose((p / total)[0, 0, :2], expected, rtol=1e-5, atol=1e-30)
    assert p.dtype == total.dtype == precision


def test_large_logits_do_not_overflow():
    """Attention without normalisation, with logits in the thousands, is that of the largest one."""
    settings = DPA1 | {"normalize": False, "temperature": 1e5, "smooth_type_embedding": False, "set_davg_zero": True}
    for smooth in (False, True):
        d = determined(made(settings | {"smooth_type_embedding": smooth}))
        found = evaluated(replace(d, davg=0 * d.davg, zero_mean=True))[0]
        alone = evaluated(replace(d, davg=0 * d.davg, zero_mean=True), box=None, coord=20 * COORD)[0]
        assert np.isfinite(found).all()
        assert np.isfinite(alone).all()


@pytest.mark.parametrize("same", [True, False])
def test_attention_with_and_without_the_guard(same):
    d = determined(made(DPA1 | {"smooth_type_embedding": same}))
    layers = tuple(replace(x, scale=40.0) for x in d.attention.layers)
    guarded = replace(d, attention=replace(d.attention, layers=layers))
    import dp_core.nn.attention as module

    expected = evaluated(guarded)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SAFE", 100.0)
        np.testing.assert_allclose(evaluated(guarded)[0], expected, rtol=1e-12)


def test_a_network_of_parts_is_that_of_their_whole():
    """Also where the first layer has a skip connection, because its width is that of the input or twice that."""
    for neuron in ([7, 6], [14, 6], [5, 6]):
        d = determined(made(DPA1 | {"neuron": neuron}))
        net, types = d.embeddings[()], d.types()
        s, index = np.linspace(-1, 1, 6).reshape(2, 3, 1), np.array([[0, 1, 2], [2, 1, 0]])
        center = np.array([[0], [1]])
        joined = [s, types[index], np.broadcast_to(types[center], (2, 3, 3))]
        expected = net(np.concatenate(joined, axis=-1))
        np.testing.assert_allclose(net.of_parts([s, (types, index), (types, center)]), expected, atol=1e-14)


# -- types


def test_electrons():
    rows = electron_configurations(["H", "O", "Cr", "Og"]) * np.sqrt(118)
    assert rows.shape == (4, 118)
    assert rows[0, :4].tolist() == [-1, 1, -1, -1]
    # 1s² 2s² 2p⁴: one pair and two single electrons
    assert rows[1, :10].tolist() == [1, 1, 1, 1, 1, 1, -1, 1, -1, 1]
    electrons = (rows.reshape(4, 59, 2) + 1).sum(axis=(1, 2)) / 2
    assert electrons.tolist() == [1, 8, 24, 118]
    assert rows[2].reshape(59, 2)[9:15].sum() == 0  # 3d⁵ 4s¹: six boxes with one electron
    every = electron_configurations(["Pd", "La", "U", "Rg"]) * np.sqrt(118)
    assert ((every.reshape(4, 59, 2) + 1).sum(axis=(1, 2)) / 2).tolist() == [46, 57, 92, 111]


@pytest.mark.parametrize("settings", [DPA1, TEBD])
def test_electrons_need_elements(settings):
    with pytest.raises(ConfigError, match=r"'TYPE_0' in the type_map is no element. Use symbols such as O and Fe"):
        made(settings | {"use_econf_tebd": True}, ["O", "TYPE_0"])
    document = made(settings | {"use_econf_tebd": True}).serialize()
    document["type_embedding"]["type_map"] = None
    with pytest.raises(ConfigError, match=r"the model has no type_map. Give model/type_map"):
        type(made(settings)).deserialize(document)


def test_change_of_types_as_stored():
    before = load_model(GOLDEN / "type_map_changed_from.dp").descriptor
    expected = load_model(GOLDEN / "type_map_changed.dp").descriptor
    found = before.change_type_map(["O", "S", "C", "N", "H"], np.random.default_rng(1))
    old, new = leaves(found), leaves(expected)
    assert list(old) == list(new)
    name = "type_embedding.embedding.layers.0.w"
    kept = [0, 2, 3, 4]
    np.testing.assert_array_equal(old[name][kept], new[name][kept])
    assert (old[name][1] >= 0).all()
    assert (old[name][1] < 1).all()
    for path in old.keys() - {name}:
        np.testing.assert_array_equal(old[path], new[path])
    assert found.type_map == expected.type_map == found.type_embedding.type_map


@pytest.mark.parametrize("econf", [False, True])
@pytest.mark.parametrize("tebd_dim", [2, 3, 4, 6])
def test_known_types_keep_their_values(econf, tebd_dim):
    """Also where the type embedding has a skip connection before or after."""
    d = determined(made(DPA1 | {"tebd_dim": tebd_dim, "use_econf_tebd": econf, "exclude_types": [[0, 1]]}))
    changed = d.change_type_map(["N", "H", "O"], np.random.default_rng(1))
    assert changed.exclude_types == ((2, 1),)
    expected = evaluated(d)
    found = evaluated(changed, types=np.array([2, 1])[TYPES])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)
    np.testing.assert_array_equal(changed.dstd[0], np.ones((9, 4)))


@pytest.mark.parametrize("width", [2, 3, 4, 6])
def test_known_types_keep_their_values_with_learned_steps(width):
    """The steps scale the weights, not the skip connection."""
    before = TypeEmbedding.init(["O", "H"], [width, 5], resnet_dt=True, use_tebd_bias=True, seed=1)
    after = before.change_type_map(["N", "H", "O"], np.random.default_rng(1))
    np.testing.assert_allclose(after()[[2, 1]], before()[:2], rtol=1e-12, atol=1e-14)


def test_types_that_cannot_change():
    bent = TypeEmbedding.init(["O", "H"], [4], activation_function="tanh")
    with pytest.raises(ConfigError, match=r"skip connection .* activation is 'tanh'"):
        bent.change_type_map(["O", "H", "N"], np.random.default_rng(1))
    nameless = replace(made(DPA1), type_map=None)
    with pytest.raises(ConfigError, match="no type_map"):
        nameless.change_type_map(["O"], np.random.default_rng(1))


# -- settings and documents


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"stripped_type_embedding": False, "tebd_input_mode": "strip"},
            "stripped_type_embedding is false, but tebd_i",
        ),
        ({"temperature": 0.5, "scaling_factor": 2.0}, "temperature takes the place of scaling_factor"),
        ({"attn_mask": True}, "attn_mask is true, which dp does not support"),
        ({"axis_neuron": 7}, "axis_neuron is 7, more than the last width of neuron, 6"),
        ({"lmax": 5}, "less than or equal to 4"),
        ({"rcut_smth": 4.0}, "rcut_smth is 4.0 and must be smaller than rcut"),
        ({"sel": 0}, "sel is 0; give the most neighbours"),
        ({"sel": [3, -1]}, "sel is .3, -1.; give the most neighbours"),
        ({"tebd_input_mode": "stripped"}, "'concat' or 'strip'"),
        ({"attn_layers": 1}, "attn_layers"),
    ],
)
def test_impossible_settings(change, message):
    with pytest.raises(ValueError, match=message):
        made(DPA1 | change)


def test_types_of_exclusions_must_exist():
    with pytest.raises(ConfigError, match=r"exclude_types names .0, 2."):
        made(DPA1 | {"exclude_types": [[0, 2]]})
    with pytest.raises(ConfigError, match="sel is 'auto'; count the neighbours"):
        made(DPA1 | {"sel": "auto"})


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        ({}, True),
        ({"tebd_input_mode": "strip", "smooth_type_embedding": False}, True),
        ({"tebd_input_mode": "strip"}, False),
        ({"set_davg_zero": True}, False),
    ],
)
def test_warning_of_an_order_of_atoms(caplog, change, warned):
    made(DPA1 | change)
    assert ("energies depend on the order of the atoms" in caplog.text) == warned


def test_old_forms():
    strip = made(DPA1 | {"stripped_type_embedding": True})
    assert strip.embeddings_strip is not None
    assert registry.lookup("descriptor", "se_atten") is type(strip)
    aliases = registry.lookup("descriptor", "dpa1").Settings.aliases()
    assert aliases["smooth_type_embdding"] == "smooth_type_embedding"
    assert aliases["n_axis_neuron"] == "axis_neuron"
    document = made(DPA1).serialize()
    del document["use_tebd_bias"], document["type_embedding"]["use_tebd_bias"]
    document["@version"] = document["type_embedding"]["@version"] = 1
    assert type(strip).deserialize(document).type_embedding.ntypes == 2


def test_foreign_documents():
    d = made(DPA1)
    with pytest.raises(FormatError, match="spin"):
        type(d).deserialize(d.serialize() | {"spin": {}})
    document = d.serialize()
    document["attention_layers"]["do_mask"] = True
    with pytest.raises(FormatError, match="attn_mask: false"):
        type(d).deserialize(document)
    document = d.serialize()
    document["attention_layers"]["attention_layers"][0]["attention_layer"]["out_proj"]["activation_function"] = "tanh"
    with pytest.raises(FormatError, match="they are linear"):
        type(d).deserialize(document)


def test_documents_have_their_versions():
    versions = {name: made(case[0]).serialize()["@version"] for name, case in VECTORS.items()}
    assert versions == dict.fromkeys(VECTORS, 2) | {"three bodies": 1, "three bodies, strip": 1, "degree 4": 4}


def test_seeds():
    def weights(seed):
        return trained_leaves(made(DPA1 | {"seed": seed, "tebd_input_mode": "strip", "lmax": 2}))

    first, again, other = weights(3), weights(3), weights(4)
    assert all(np.array_equal(first[k], again[k]) for k in first)
    random = [k for k in first if ".norm." not in k]
    assert not any(np.array_equal(first[k], other[k]) for k in random)
    # the second layer of the network of distances is part 1 of part 0 of part 0
    expected = np.random.default_rng([1, 0, 0, 3]).normal(scale=1 / 3, size=(3, 6))
    np.testing.assert_array_equal(first["embeddings.networks.0.layers.1.w"], expected)
    assert "davg" not in first
    assert not any("norm" in k for k in trained_leaves(made(DPA1 | {"trainable_ln": False})))
    assert not trained_leaves(made(DPA1 | {"trainable": False}))


# -- trainings


@pytest.mark.parametrize(
    "settings",
    [
        DPA1 | {"attn_layer": 2, "set_davg_zero": True},
        DPA1 | {"attn_layer": 0, "tebd_input_mode": "strip", "use_econf_tebd": True},
        VECTORS["se_atten_v2"][0],
        TEBD,
    ],
)
def test_training(tiny, tmp_path, settings):
    document = tiny(numb_steps=40, disp_freq=20, save_freq=40)
    document["model"]["descriptor"] = settings | {"rcut": 3.0, "sel": "auto", "seed": 1}
    result = train(document, backend="numpy", directory=tmp_path)
    assert result.step == 40
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table["rmse_f_trn"][-1] < table["rmse_f_trn"][0]
    descriptor = load_model(result.checkpoint).descriptor
    assert descriptor.nnei % 4 == 0
    assert (descriptor.davg != 0).any() != descriptor.set_davg_zero


@pytest.mark.parametrize("settings", [DPA1 | {"tebd_input_mode": "strip"}, TEBD])
def test_every_layer_says_that_it_is_not_trained(settings):
    """DeePMD-kit goes by the layers, in which attention, types and distances are alike; norms have a setting."""

    def flags(value, place=""):
        if isinstance(value, dict):
            found = [(place, value["trainable"])] if "trainable" in value and value.get("@class") == "Layer" else []
            return found + [f for key, v in value.items() for f in flags(v, f"{place}/{key}")]
        return [f for k, v in enumerate(value) for f in flags(v, f"{place}/{k}")] if isinstance(value, list) else []

    for trainable in (True, False):
        document = made(settings | {"trainable": trainable}).serialize()
        assert document["trainable"] == document["type_embedding"]["trainable"] == trainable
        of_layers = {place: flag for place, flag in flags(document) if "type_embedding" not in place}
        assert set(of_layers.values()) == {trainable}
        assert any("attention" in place for place in of_layers) == (settings["type"] == "dpa1")
