"""Input files: what is accepted, what is refused, and what the user is told."""

import contextlib
import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_core import schema
from dp_core.errors import ConfigError
from dp_core.schema import InputError

WATER = {
    "_comment": "liquid water",
    "model": {
        "type_map": ["O", "H"],
        "descriptor": {
            "type": "se_e2_a",
            "sel": [46, 92],
            "rcut_smth": 0.5,
            "rcut": 6.0,
            "neuron": [25, 50, 100],
            "resnet_dt": False,
            "axis_neuron": 16,
            "precision": "float64",
            "type_one_side": True,
            "seed": 1,
            "_comment": " that's all",
        },
        "fitting_net": {"neuron": [240, 240, 240], "resnet_dt": True, "precision": "float64", "seed": 1},
    },
    "learning_rate": {"type": "exp", "decay_steps": 5000, "start_lr": 0.001, "stop_lr": 3.51e-8},
    "loss": {
        "type": "ener",
        "start_pref_e": 0.02,
        "limit_pref_e": 1,
        "start_pref_f": 1000,
        "limit_pref_f": 1,
        "start_pref_v": 0,
        "limit_pref_v": 0,
    },
    "training": {
        "training_data": {"systems": ["../data/data_0/", "../data/data_1/"], "batch_size": "auto"},
        "validation_data": {"systems": ["../data/data_3"], "batch_size": 1, "numb_btch": 3},
        "numb_steps": 1000000,
        "seed": 10,
        "disp_file": "lcurve.out",
        "disp_freq": 100,
        "save_freq": 1000,
        "_comment": "that's all",
    },
}


def changed(*edits, base=WATER):
    """A copy of the document with ``(path, value)`` set; the value ``...`` removes the key."""
    document = copy.deepcopy(base)
    for path, value in edits:
        *sections, key = path.split("/")
        at = document
        for name in sections:
            at = at.setdefault(name, {})
        if value is ...:
            del at[key]
        else:
            at[key] = value
    return document


def problems(*edits, base=WATER):
    """What the parser says about a changed document, without the head line."""
    with pytest.raises(InputError) as error:
        schema.parse_input(changed(*edits, base=base))
    return [str(p) for p in error.value.problems]


# -- accepted ------------------------------------------------------------------------------------------------------


def test_every_section_is_the_settings_of_its_class():
    from dp_core.descriptors.se_e2_a import SeE2A
    from dp_core.fittings.energy import EnergyFitting
    from dp_core.losses.energy import EnergyLoss
    from dp_core.models.standard import StandardModel
    from dp_core.schedules import Exponential

    found = schema.parse_input(WATER)
    assert type(found.model) is StandardModel.Settings
    assert type(found.model.descriptor) is SeE2A.Settings
    assert type(found.model.fitting_net) is EnergyFitting.Settings
    assert type(found.loss) is EnergyLoss.Settings
    assert type(found.learning_rate) is Exponential.Settings
    assert found.model.descriptor.axis_neuron == 16
    assert found.training.validation_data.numb_btch == 3
    assert found.notices == ()


def test_minimal_input_has_defaults():
    found = schema.parse_input(
        {
            "model": {"descriptor": {"type": "se_e2_a"}, "fitting_net": {}},
            "training": {"training_data": {"systems": "data"}, "numb_steps": 10},
        }
    )
    assert found.model.type == "standard"
    assert found.model.type_map is None
    assert found.model.descriptor.sel == "auto"
    assert found.model.fitting_net.type == "ener"
    assert (found.learning_rate.type, found.learning_rate.start_lr, found.learning_rate.stop_lr) == ("exp", 1e-3, 5e-8)
    assert (found.optimizer.type, found.optimizer.weight_decay) == ("Adam", 0.0)
    assert found.loss.type == "ener"
    assert found.training.save_ckpt == "model.ckpt"
    assert found.validating.full_validation is False


def test_normalized_document_is_complete_and_parses_to_the_same():
    document = changed(("model/info", {"author": "me"}), ("training/stop_batch", 7), ("training/numb_steps", ...))
    found = schema.parse_input(document)
    out = found.to_document()
    assert json.loads(json.dumps(out)) == out
    assert out["training"]["numb_steps"] == 7
    assert out["training"]["max_ckpt_keep"] == 5
    assert out["optimizer"] == {"type": "Adam", "adam_beta1": 0.9, "adam_beta2": 0.999, "weight_decay": 0.0}
    assert "numb_epoch" not in out["training"]
    assert "_comment" not in out["model"]["descriptor"]
    again = schema.parse_input(out)
    assert again == found
    assert again.to_document() == out
    assert again.notices == ()
    assert schema.parse_input(found.upgraded) == found


def test_integers_serve_as_numbers_and_lists_as_tuples():
    found = schema.parse_input(changed(("model/descriptor/rcut", 6), ("model/pair_exclude_types", [[0, 1]])))
    assert isinstance(found.model.descriptor.rcut, float)
    assert [tuple(p) for p in found.model.pair_exclude_types] == [(0, 1)]


def test_comments_are_dropped_everywhere():
    document = changed(("_note", 1), ("training/_x", []), ("model/info", {"_a": 1, "b": {"_c": 2, "d": 3}}))
    found = schema.parse_input(document)
    assert found.model.info == {"b": {"d": 3}}
    assert "_note" not in found.upgraded


def test_input_is_not_changed_by_parsing():
    document = changed(("training/systems", ["a"]), ("training/training_data", ...), ("training/opt_type", "AdamW"))
    before = copy.deepcopy(document)
    schema.parse_input(document)
    assert document == before


def test_a_model_section_alone():
    model = schema.parse_model(WATER["model"])
    assert model == schema.parse_input(WATER).model
    with pytest.raises(InputError, match="descriptor/rcutt: unknown key; did you mean 'rcut'"):
        schema.parse_model(changed(("descriptor/rcutt", 1), base=WATER["model"]))
    with pytest.raises(InputError, match="type: Unknown model type 'standart'; did you mean 'standard'"):
        schema.parse_model(changed(("type", "standart"), base=WATER["model"]))


# -- refused -------------------------------------------------------------------------------------------------------

WRONG = [
    # unknown keys
    ("model/descriptor/rcutt", 6.0, "unknown key; did you mean 'rcut'"),
    ("model/descriptor/start_lr", 6.0, "unknown key; it is a key of learning_rate"),
    ("training/rcut", 6.0, "unknown key; it is a key of model (pairtab) and of model/descriptor"),
    ("training/stopbatch", 6, "unknown key; did you mean 'stop_batch'"),
    ("learning_rate/decay_type", "linear", "unknown key; it is a key of learning_rate (wsd)"),
    ("sel", [1], "unknown key; it is a key of model (pairtab) and of model/descriptor"),
    ("xyzzy", 1, "unknown key. Known: learning_rate, loss, model, optimizer, training, validating"),
    # types
    ("model/descriptor/rcut", "6", "is '6', expected a number > 0 in Å; default 6.0"),
    ("model/descriptor/rcut", True, "is true, expected a number > 0 in Å; default 6.0"),
    ("model/descriptor/axis_neuron", 4.0, "is 4.0, expected an integer > 0; default 4"),
    ("model/descriptor/axis_neuron", True, "is true, expected an integer > 0; default 4"),
    ("model/descriptor/neuron", [25, 50.5], "is [25, 50.5], expected a list of integers; default [10, 20, 40]"),
    ("model/descriptor/sel", {"O": 46}, "is {\"O\": 46}, expected a list of integers or a string; default 'auto'"),
    ("model/type_map", ["O", 1], 'is ["O", 1], expected a list of strings or null'),
    ("model/descriptor", [], "is [], expected a section"),
    ("training", 3, "is 3, expected a section"),
    ("training/disp_training", 1, "is 1, expected true or false; default true"),
    ("training/save_ckpt", None, "is null, expected a string that is not empty; default 'model.ckpt'"),
    ("training/save_ckpt", "", "is '', expected a string that is not empty; default 'model.ckpt'"),
    ("training/stat_file", "", "is '', expected a string that is not empty or null"),
    ("training/numb_steps", 1e6, "is 1000000.0, expected an integer ≥ 0 or null"),
    ("training/training_data/systems", [1], "is [1], expected a list of strings or a string"),
    ("training/training_data/batch_size", 1.5, "is 1.5, expected an integer or a list of integers or a string"),
    ("model/preset_out_bias", {"energy": 1.0}, 'is {"energy": 1.0}, expected a section with lists of'),
    ("learning_rate/start_lr", float("nan"), "is NaN, expected a number > 0; default 0.001"),
    # ranges and words
    ("learning_rate/start_lr", -1e-3, "is -0.001, expected a number > 0; default 0.001"),
    ("learning_rate/decay_rate", 1.1, "is 1.1, expected a number > 0 and ≤ 1 or null"),
    ("learning_rate/scale_by_worker", "log", "is 'log', expected 'linear' or 'sqrt' or 'none'; default 'none'"),
    ("optimizer/adam_beta1", 1.0, "is 1.0, expected a number ≥ 0 and < 1; default 0.9"),
    ("training/disp_freq", 0, "is 0, expected an integer ≥ 1; default 1000"),
    ("training/numb_steps", -1, "is -1, expected an integer ≥ 0 or null"),
    ("training/ckpt_keep_ratio", 1, "is 1, expected a number > 0 and < 1 or null"),
    ("training/ema_decay", 1.0, "is 1.0, expected a number > 0 and < 1; default 0.999"),
    ("training/ema_ckpt_keep", 0, "is 0, expected an integer ≥ 1 or null"),
    ("training/stat_file_mode", "write", "is 'write', expected 'read' or 'update'; default 'update'"),
    ("training/training_data/batch_size", "auto:0", "is 'auto:0', expected an integer ≥ 1"),
    ("training/training_data/batch_size", [1, 0], "is [1, 0], expected an integer ≥ 1"),
    ("training/training_data/auto_prob", "prob_sys_size;0:1", "is 'prob_sys_size;0:1', expected 'prob_uniform'"),
    ("training/training_data/auto_prob", "uniform", "is 'uniform', expected 'prob_uniform'"),
    ("training/training_data/systems", [], "is empty; name at least one system"),
    ("validating/validation_freq", 0, "is 0, expected an integer ≥ 1; default 5000"),
    ("validating/max_best_ckpt", 0, "is 0, expected an integer ≥ 1; default 1"),
    ("validating/full_val_start", -0.1, "is -0.1, expected a number ≥ 0; default 0.5"),
    ("validating/validation_metric", "E:MSE", "is 'E:MSE', expected one of E:MAE, E:RMSE, F:MAE"),
    # missing
    ("model", ..., "is required: the model"),
    ("model/descriptor", ..., "is required: "),
    ("model/descriptor/type", ..., "is required; known: dpa1, "),
    ("training/training_data", ..., "is required: the data that the model learns from"),
    ("training/training_data/systems", ..., "is required: data: folders"),
    ("training/numb_steps", ..., "is required: the length of the run in steps; or give numb_epoch"),
    # kinds of values
    ("model/descriptor/precision", "float16", "The precision 'float16' is too short for energies and forces"),
    ("model/fitting_net/precision", "bfloat16", "The precision 'bfloat16' is too short"),
    ("model/fitting_net/precision", "int32", "Unknown precision 'int32'"),
    ("model/descriptor/activation_function", "tahn", "Unknown activation function 'tahn'; did you mean 'tanh'?"),
    ("model/fitting_net/activation_function", "silut:x", "The threshold of the activation 'silut:x' is not a number"),
    ("model/descriptor/seed", -1, "is -1, expected an integer ≥ 0, a list of them, or null"),
    ("model/fitting_net/seed", [1, -1], "is [1, -1], expected an integer ≥ 0"),
    ("model/fitting_net/seed", [], "is [], expected an integer ≥ 0"),
    ("model/fitting_net/rcond", -1.0, "is -1.0, expected a number ≥ 0 or null"),
    # types of sections
    ("model/type", "dpa4", "model 'dpa4' is not supported by this version of dp; see the manual page"),
    (
        "model/descriptor/type",
        "se_a_ebd",
        "descriptor 'se_a_ebd' is not supported by this version of dp; see the manual page",
    ),
    ("model/descriptor/type", "se_e2_b", "Unknown descriptor type 'se_e2_b'; did you mean 'se_e2_"),
    ("model/descriptor/type", 3, "is 3, expected the name of a descriptor: dpa1, "),
    ("model/fitting_net/type", "dpa4_ener", "fitting 'dpa4_ener' is not supported by this version of dp"),
    ("loss/type", "dens", "loss 'dens' is not supported by this version of dp"),
    ("learning_rate/type", "cosin", "Unknown schedule type 'cosin'; did you mean 'cosine'?"),
    ("optimizer/type", "LKF", "optimizer 'LKF' is not supported by this version of dp"),
    ("optimizer/type", "SGD", "is 'SGD', expected 'Adam' or 'AdamW'; default 'Adam'"),
]


@pytest.mark.parametrize(("path", "value", "reason"), WRONG)
def test_a_wrong_value_is_named_with_its_place(path, value, reason):
    found = problems((path, value))
    assert len(found) == 1
    assert found[0].startswith(f"{path}: {reason}")


UNSUPPORTED = [
    ("nvnmd", {"version": 0}),
    ("loss_dict", {}),
    ("model/modifier", {"type": "dipole_charge"}),
    ("model/srtab_add_bias", False),
    ("model/bridging_method", "ZBL"),
    ("model/finetune_head", "water"),
    ("model/model_branch_alias", ["a"]),
    ("model/fitting_net/layer_name", ["a", "b"]),
    ("optimizer/kf_blocksize", 5120),
    ("optimizer/momentum", 0.95),
    ("training/mixed_precision", {"compute_prec": "float16"}),
    ("training/enable_profiler", True),
    ("training/zero_stage", 1),
    ("training/neighbor_graph_method", "nv"),
    ("training/enable_tf32", True),
    ("training/num_epoch_dict", {}),
    ("training/training_data/set_prefix", "batch"),
    ("validating/compiled_infer", True),
    ("validating/tf32_infer", True),
    ("validating/amp_infer", True),
]


@pytest.mark.parametrize(("path", "value"), UNSUPPORTED)
def test_what_dp_cannot_do_is_refused_in_words(path, value):
    (found,) = problems((path, value))
    assert found.startswith(f"{path}: is not supported by this version of dp (")
    assert found.endswith("; see the manual page Differences")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model/srtab_add_bias", True),
        ("model/bridging_method", "None"),
        ("model/model_branch_alias", []),
        ("training/zero_stage", 0),
        ("training/neighbor_graph_method", "auto"),
        ("training/training_data/set_prefix", "set"),
        ("validating/amp_infer", False),
    ],
)
def test_the_value_that_changes_nothing_is_accepted(path, value):
    found = schema.parse_input(changed((path, value)))
    assert found == schema.parse_input(WATER)
    assert found.notices == ()


def test_multi_task_input_is_refused_in_one_sentence():
    multi = {"model": {"shared_dict": {}, "model_dict": {"a": {}}}, "loss_dict": {}, "training": {"data_dict": {}}}
    with pytest.raises(InputError, match=r"has 1 error:\n  model/model_dict: is not supported .*multi-task"):
        schema.parse_input(multi)


FULL = ("validating/full_validation", True)


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ([("training/numb_epoch", 3)], "training/numb_epoch: is given, and numb_steps too"),
        ([("training/stat_file_mode", "read")], "training/stat_file_mode: 'read' needs stat_file"),
        (
            [("learning_rate/stop_lr_ratio", 0.1)],
            "learning_rate: stop_lr 3.51e-08 and stop_lr_ratio 0.1 are both given",
        ),
        (
            [("learning_rate/warmup_steps", 3), ("learning_rate/warmup_ratio", 0.1)],
            "learning_rate: warmup_steps 3 and warmup_ratio 0.1 are both given",
        ),
        ([FULL, ("training/validation_data", None)], "validating/full_validation: needs training/validation_data"),
        ([("validating/ema_full_validation", True)], "validating/ema_full_validation: needs training/enable_ema: true"),
        (
            [FULL, ("validating/validation_metric", "v:mae")],
            "validating/validation_metric: is 'V:MAE', but loss/start_pref_v and loss/limit_pref_v are 0",
        ),
        (
            [FULL, ("validating/validation_metric", "S:RMSE")],
            "validating/validation_metric: is 'S:RMSE', but loss/start",
        ),
        (
            [FULL, ("validating/validation_metric", "FM:MAE")],
            "validating/validation_metric: is 'FM:MAE', which models trained with the loss 'ener' do not have",
        ),
        ([("model/descriptor/sel", [-1, 20])], "model/descriptor: sel is [-1, 20]; give"),
        ([("model/descriptor/sel", [0, 0])], "model/descriptor: sel is [0, 0]; give"),
        ([("model/type_map", [])], "model: type_map is []; name each element once"),
        ([("model/type_map", ["H", "H"])], "model: type_map is ['H', 'H']; name each element once"),
        ([("model/descriptor/rcut_smth", 7.0)], "model/descriptor: rcut_smth is 7.0 and must be smaller than rcut"),
    ],
)
def test_settings_that_contradict_each_other(edits, reason):
    (found,) = problems(*edits)
    assert found.startswith(reason)


def test_full_validation_by_a_trained_quantity():
    document = changed(FULL, ("validating/validation_metric", "v:rmse"), ("loss/limit_pref_v", 1))
    assert schema.parse_input(document).validating.validation_metric == "V:RMSE"


@pytest.mark.parametrize("rule", [4, [1, 2], "auto", "auto:64", "max:10", "filter:500", "mixed:8", "mix:8"])
def test_rules_of_the_batch_size(rule):
    found = schema.parse_input(changed(("training/training_data/batch_size", rule)))
    assert found.training.training_data.batch_size == rule


@pytest.mark.parametrize(
    "rule", ["prob_uniform", "prob_sys_size", "prob_sys_size; 0:5:0.3; 5:10:0.7", "prob_sys_size;0:1:1e-1;"]
)
def test_rules_of_probabilities(rule):
    found = schema.parse_input(changed(("training/training_data/auto_prob", rule)))
    assert found.training.training_data.auto_prob == rule


# -- all at once, with lines ---------------------------------------------------------------------------------------

BAD_TEXT = """{
  "model": {
    "type_map": ["O", "H"],
    "descriptor": {"type": "se_a",
\t\t"rcutt": 6.0,
\t\t"n_axis_neuron": "four"
    },
    "fitting_net": {"neuron": [8]}
  },
  "training": {
    "training_data": {"systems": "data"},
    "stop_batch": -5,
    "opt_type": "LKF"
  }
}
"""


def test_all_errors_of_a_file_come_together_with_their_lines(tmp_path):
    path = tmp_path / "input.json"
    path.write_text(BAD_TEXT)
    with pytest.raises(InputError) as error:
        schema.load_input(path)
    assert str(error.value).splitlines() == [
        f"{path} has 4 errors:",
        "  line 5   model/descriptor/rcutt: unknown key; did you mean 'rcut' or 'rcut_smth'?",
        "  line 6   model/descriptor/n_axis_neuron: is 'four', expected an integer > 0; default 4",
        "  line 12  training/stop_batch: is -5, expected an integer ≥ 0 or null",
        "  line 13  training/opt_type: optimizer 'LKF' is not supported by this version of dp; see the manual page"
        " Differences. Known: Adam, AdamW",
    ]


def test_lines_of_a_yaml_file(tmp_path):
    path = tmp_path / "input.yaml"
    path.write_text("model:\n  descriptor:\n    type: se_e2_a\n    rcut: six\n  fitting_net: {}\ntraining: {}\n")
    with pytest.raises(InputError) as error:
        schema.load_input(path)
    first, second = str(error.value).splitlines()[1:]
    assert first.startswith("  line 4  model/descriptor/rcut: is 'six', expected a number > 0")
    assert second.startswith("  line 6  training/training_data: is required")


# -- files ---------------------------------------------------------------------------------------------------------


def test_json_and_yaml_give_the_same(tmp_path):
    import yaml

    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(WATER, indent="\t"), encoding="utf-8")
    (tmp_path / "a.yml").write_text(yaml.safe_dump(WATER))
    assert schema.load_input(tmp_path / "a.json") == schema.load_input(tmp_path / "a.yml") == schema.parse_input(WATER)


def test_yaml_numbers_with_an_exponent_are_numbers(tmp_path):
    text = yaml_input("learning_rate: {start_lr: 1e-3, stop_lr: 1E-8}")
    (tmp_path / "a.yaml").write_text(text)
    rate = schema.load_input(tmp_path / "a.yaml").learning_rate
    assert (rate.start_lr, rate.stop_lr) == (1e-3, 1e-8)


def yaml_input(line):
    return (
        "model: {descriptor: {type: se_e2_a}, fitting_net: {}}\n"
        f"training: {{training_data: {{systems: d}}, numb_steps: 1}}\n{line}\n"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'{"model": {,}}', r"not valid JSON: .* at line 1, column 12:\n  .*\n +\^\nUsual causes: a comma"),
        ("a.json", b'{"model": {"a": 1,\n  // no\n "b": 2}}', "not valid JSON: .* at line 2, column 3"),
        ("a.json", b'{"model": {"a": 1', "not valid JSON"),
        ("a.json", b"", "not valid JSON"),
        ("a.json", b"[1, 2]", "holds a list; expected sections"),
        ("a.json", b"\xff\xfe\x00", "not text in UTF-8"),
        ("a.json", b'{"a": ' + b"1" * 5000 + b"}", "is not an input file"),
        ("a.json", b"[" * 100000, "is not an input file"),
        ("a.yaml", b"model: [1, 2\n", "not valid YAML: .* at line"),
        ("a.yaml", b"a: b: c", "not valid YAML: .* at line 1"),
        ("a.yaml", b"", "holds a NoneType; expected sections"),
        ("a.yaml", b"a: 2001-99-99", "not valid YAML"),
        ("a.yaml", b"a: \x00", "not valid YAML"),
        ("a.yaml", b"a: &x [*x]", "nested too deeply|not valid YAML"),
        ("a.toml", b"a = 1", r"has the suffix '\.toml'; expected \.json, \.yaml or \.yml"),
        ("a.json", b'{"model": 1,\n "a": {"b": 1,\n "b": 2}}', r"keys twice .*: a/b \(lines 2 and 3\)\. Keep one"),
        ("a.yaml", b"a:\n  b: 1\n  b: 2\n", r"keys twice .*: a/b \(lines 2 and 3\)\. Keep one"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        schema.load_input(tmp_path / name)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.json does not exist \(current folder: "):
        schema.load_input(tmp_path / "nothing.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        schema.load_input(tmp_path)


def test_the_same_key_twice_is_harmless_for_comments_and_equal_values(tmp_path):
    text = (
        json.dumps(WATER)
        .replace('"model":', '"_comment": "again", "model":')
        .replace('"rcut":', '"rcut": 6.0, "rcut":')
    )
    (tmp_path / "a.json").write_text(text)
    assert schema.load_input(tmp_path / "a.json") == schema.parse_input(WATER)


# -- nothing else than InputError ----------------------------------------------------------------------------------

# fmt: off
KEYS = [
    "type", "model", "descriptor", "training", "systems", "training_data", "sel", "rcut", "n_neuron", "loss",
    "optimizer", "learning_rate", "decay_rate", "stop_batch", "use_smooth", "opt_type", "seed", "warmup_steps",
]
PLACES = [
    "model", "model/descriptor", "model/descriptor/sel", "model/fitting_net/trainable", "model/preset_out_bias", "loss",
    "optimizer", "learning_rate", "learning_rate/decay_rate", "validating", "training", "training/training_data",
    "training/systems", "training/training_data/batch_size", "training/opt_type",
]
# fmt: on
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(KEYS)
keys = st.text(max_size=5) | st.sampled_from(KEYS)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=4), max_leaves=10)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=3))
def test_any_value_anywhere_is_accepted_or_refused(edits):
    document = copy.deepcopy(WATER)
    for place, value in edits:
        *sections, key = place.split("/")
        at = document
        for name in sections:
            at = at.get(name) if isinstance(at, dict) else None
        if isinstance(at, dict):
            at[key] = value
    _accepted_or_refused(document)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(keys, values, max_size=6))
def test_any_document_is_accepted_or_refused(document):
    _accepted_or_refused(document)


def _accepted_or_refused(document):
    found = None
    with contextlib.suppress(InputError):
        found = schema.parse_input(document)
    if found is not None:
        assert schema.parse_input(found.to_document()) == found
