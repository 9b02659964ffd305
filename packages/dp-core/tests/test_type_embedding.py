"""The section model/type_embedding: se_e2_a with one network for all types, in both forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dp_core import DeepPot, load_model, registry
from dp_core.errors import ConfigError
from dp_core.model_file import model_document, model_from_document
from dp_core.module import leaves, replace, trained_leaves
from dp_core.schema import parse_model
from dp_core.training import train

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
STORED = ("se_e2_a_type_embedding", "se_a_ebd_v2")
SECTION = {"neuron": [3, 4], "seed": 4}
DESCRIPTOR = {"sel": [9, 9], "rcut": 3.0, "rcut_smth": 1.0, "neuron": [2, 4], "axis_neuron": 2, "seed": 1}
KINDS = {"se_a": "se_e2_a", "se_a_tpe_v2": "se_a_ebd_v2"}  # as written in an input, and in a document


def settings(kind, descriptor=None, section=SECTION):
    document = {
        "type_map": ["O", "H"],
        "type_embedding": section,
        "descriptor": DESCRIPTOR | {"type": kind} | (descriptor or {}),
        "fitting_net": {"neuron": [5]},
    }
    return parse_model(document)


def made(*args, **kwargs):
    return registry.lookup("model", "standard").init(settings(*args, **kwargs), ["O", "H"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("one_side", [True, False])
def test_one_network_for_all_types(kind, one_side):
    model = made(kind, {"type_one_side": one_side})
    assert len(model.descriptor.embeddings.networks) == len(model.fitting.nets.networks) == 1
    assert model.fitting.mixed_types
    assert model.descriptor.dim_out == model.fitting.dim_descrpt == 2 * 4 + 4
    typed = 4 if one_side else 8
    widths = {p.split(".")[0]: v.shape[0] for p, v in leaves(model.descriptor).items() if p.endswith("layers.0.w")}
    expected = {"embeddings": 1, "embeddings_strip": typed} if "v2" in kind else {"embeddings": 1 + typed}
    assert widths == expected | {"type_embedding": 2}


@pytest.mark.parametrize("kind", KINDS)
def test_documents_are_read_as_they_were_written(kind):
    model = made(kind, {"exclude_types": [[0, 1]], "type_one_side": True})
    document = model_document(model)
    assert document["model"]["descriptor"]["type"] == KINDS[kind]
    again = model_from_document(document)
    assert type(again.descriptor) is type(model.descriptor)
    for (path, old), new in zip(leaves(model).items(), leaves(again).values(), strict=True):
        np.testing.assert_array_equal(old, new, err_msg=path)
    coord, types = np.random.default_rng(1).uniform(0, 4, (1, 8, 3)), np.arange(8) % 2
    energies = [DeepPot(m, "numpy").eval(coord, None, types)[0] for m in (model, again)]
    np.testing.assert_array_equal(*energies)


@pytest.mark.parametrize("kind", KINDS)
def test_each_section_says_what_is_trained(kind):
    for descriptor, types in ((True, False), (False, True)):
        model = made(kind, {"trainable": descriptor}, SECTION | {"trainable": types})
        for copy in (model, model_from_document(model_document(model))):
            trained = {path.split(".")[0] for path in trained_leaves(copy.descriptor)}
            networks = {"embeddings", "embeddings_strip"} if "v2" in kind else {"embeddings"}
            assert trained == (networks if descriptor else {"type_embedding"})


@pytest.mark.parametrize("kind", KINDS)
def test_training(tiny, tmp_path, kind):
    document = tiny(numb_steps=12, disp_freq=4, save_freq=12, model={"descriptor": None})
    document["model"] |= {"descriptor": DESCRIPTOR | {"type": kind, "sel": "auto"}, "type_embedding": SECTION}
    result = train(document, backend="numpy", directory=tmp_path)
    table = np.genfromtxt(tmp_path / "lcurve.out", names=True)
    assert table["rmse_trn"][-1] < table["rmse_trn"][0]
    script = load_model(result.checkpoint).script
    assert script["type_embedding"]["neuron"] == [3, 4]
    assert script["type_embedding"]["activation_function"] == "tanh"


@pytest.mark.parametrize("name", STORED)
def test_excluded_blocks_are_empty(name):
    """Unlike in se_e2_a, empty slots of types that the centre does not see add nothing: it can see none of them."""
    model = load_model(GOLDEN / f"{name}.dp")
    all_pairs = ((0, 0), (0, 1), (1, 1))
    blind = replace(model, descriptor=replace(model.descriptor, exclude_types=all_pairs))
    alone = DeepPot(blind, "numpy").eval_descriptor(np.zeros((1, 1, 3)), None, [0])
    width = model.descriptor.dim_out - model.descriptor.type_embedding.width
    assert not alone[..., :width].any()
    assert model.descriptor.davg.any()
    seeing = replace(model, descriptor=replace(model.descriptor, exclude_types=()))
    assert DeepPot(seeing, "numpy").eval_descriptor(np.zeros((1, 1, 3)), None, [0])[..., :width].any()


def test_a_section_of_its_own_is_not_needed():
    model = registry.lookup("model", "standard").init(settings("se_a_ebd_v2", section=None), ["O", "H"])
    assert model.descriptor.type_embedding.embedding.neuron == (8,)
    assert model.descriptor.type_embedding.embedding.activation_function == "linear"


@pytest.mark.parametrize(
    ("kind", "section", "told"),
    [
        ("se_e3", {}, "type_embedding: does not go with the descriptor se_e3; leave the section out"),
        ("se_r", {}, "does not go with the descriptor se_e2_r; leave"),
        ("se_e3_tebd", {}, "does not go with the descriptor se_e3_tebd; it has its own, of tebd_dim numbers; leave"),
        ("se_a", {"neuron": []}, r"type_embedding: neuron is \[\]; give at least one width"),
        ("se_a", {"neurons": [3]}, "type_embedding/neurons: unknown key; did you mean 'neuron'"),
        ("se_a", {"use_econf_tebd": 1}, "type_embedding/use_econf_tebd"),
    ],
)
def test_sections_that_are_refused(kind, section, told):
    descriptor = {key: DESCRIPTOR[key] for key in ("sel", "rcut", "rcut_smth", "neuron")} | {"type": kind}
    with pytest.raises(ConfigError, match=told):
        parse_model({"type_map": ["O", "H"], "type_embedding": section, "descriptor": descriptor, "fitting_net": {}})


def test_electrons_need_elements():
    with pytest.raises(ConfigError, match="'X' in the type_map is no element"):
        registry.lookup("model", "standard").init(
            settings("se_a", section=SECTION | {"use_econf_tebd": True}), ["O", "X"]
        )
