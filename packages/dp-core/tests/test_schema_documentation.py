"""The description of all settings: for editors, for programs, for people."""

import json

import jsonschema
import pytest

from dp_core import schema
from dp_core.errors import ConfigError
from dp_core.schema.problems import sections

GOOD = {
    "_comment": "one of each",
    "model": {
        "type_map": ["O", "H"],
        "descriptor": {"type": "se_a", "sel": "auto", "n_axis_neuron": 4, "exclude_types": [[0, 1]]},
        "fitting_net": {"n_neuron": [8, 8], "trainable": [True, False, True], "_note": "x"},
        "srtab_add_bias": True,
        "preset_out_bias": {"energy": [None, 1.0]},
    },
    "learning_rate": {"type": "wsd", "start_lr": 0.001, "decay_type": "cosine"},
    "optimizer": {"type": "AdamW"},
    "training": {
        "training_data": {"systems": "data", "batch_size": [1, 2], "sys_weights": [0.5, 0.5]},
        "validation_data": None,
        "stop_batch": 10,
        "zero_stage": 0,
    },
}


@pytest.fixture(scope="module")
def validator():
    document = schema.json_schema()
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_schema_accepts_what_the_parser_accepts(validator):
    found = schema.parse_input(GOOD)
    for document in (GOOD, found.to_document(), found.upgraded):
        assert [e.message for e in validator.iter_errors(document)] == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("training", "stopbatch", 1),
        ("training", "zero_stage", 2),
        ("training", "disp_freq", "often"),
        ("training", "disp_freq", 0),
        ("optimizer", "type", "SGD"),
        ("learning_rate", "decay_steps", 5),
        ("model", "descriptor", {"type": "se_e2_a", "rcut": -1}),
        ("model", "descriptor", {"sel": "auto"}),
        ("model", "fitting_net", {"type": "enr"}),
    ],
)
def test_schema_refuses_what_the_parser_refuses(validator, section, key, value):
    document = GOOD | {section: GOOD[section] | {key: value}}
    assert not validator.is_valid(document)
    with pytest.raises(schema.InputError):
        schema.parse_input(document)


def test_schema_is_plain_json_with_help_for_every_key():
    document = schema.json_schema()
    assert json.loads(json.dumps(document)) == document
    rcut = document["$defs"]["descriptor.se_e2_a"]["properties"]["rcut"]
    assert rcut == {"type": "number", "exclusiveMinimum": 0, "default": 6.0, "description": "Cutoff radius. Unit: Å."}
    training = document["properties"]["training"]["properties"]
    assert training["stop_batch"]["deprecated"] is True
    assert training["stop_batch"]["description"] == "Old name of numb_steps."


def test_every_key_is_described_to_people():
    text = schema.documentation("rst")
    for where, section in sections(schema.Input):
        for key in section.model_fields:
            if key != "type":
                place = "/".join([part.split(" (")[0] for part in where.split("/") if part] + [key])
                assert f"| place: ``{place}``" in text, place
    assert "When type is ``wsd``" in text
    assert "``se_e2_a`` (alias se_a)" in text


def test_description_for_programs_has_the_form_of_deepmd_kit():
    arguments = {a["name"]: a for a in json.loads(schema.documentation("json"))}
    assert list(arguments) == ["model", "learning_rate", "optimizer", "loss", "training", "validating"]
    steps = arguments["training"]["sub_fields"]["numb_steps"]
    assert steps["alias"] == ["stop_batch", "num_step", "num_steps", "numb_step"]
    assert steps["optional"] is True
    assert sorted(steps["type"]) == ["NoneType", "int"]
    variants = arguments["model"]["sub_variants"]["type"]
    assert variants["default_tag"] == "standard"
    descriptor = variants["choice_dict"]["standard"]["sub_fields"]["descriptor"]["sub_variants"]["type"]
    aliases = {name: descriptor["choice_alias"][name] for name in ("se_a", "se_r", "se_at", "se_a_3be", "se_t")}
    assert aliases == {"se_a": "se_e2_a", "se_r": "se_e2_r"} | dict.fromkeys(("se_at", "se_a_3be", "se_t"), "se_e3")
    assert descriptor["choice_dict"]["se_e2_a"]["sub_fields"]["rcut"]["default"] == 6.0


def test_unknown_format_of_the_documentation():
    with pytest.raises(ConfigError, match="'html'; expected 'rst' or 'json'"):
        schema.documentation("html")
