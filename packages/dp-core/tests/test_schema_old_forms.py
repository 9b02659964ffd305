"""Old names and old forms of input files become today's, and the user is told."""

import pytest

from dp_core import schema
from dp_core.schema import InputError

V0 = {
    "use_smooth": True,
    "sel_a": [46, 92],
    "rcut_smth": 5.8,
    "rcut": 6.0,
    "filter_neuron": [25, 50, 100],
    "filter_resnet_dt": False,
    "n_axis_neuron": 16,
    "n_neuron": [240, 240, 240],
    "resnet_dt": True,
    "coord_norm": True,
    "type_fitting_net": False,
    "systems": ["../data/"],
    "set_prefix": "set",
    "stop_batch": 1000000,
    "batch_size": [1],
    "start_lr": 0.001,
    "decay_steps": 5000,
    "decay_rate": 0.95,
    "seed": 1,
    "disp_file": "lcurve.out",
    "disp_freq": 100,
    "numb_test": 10,
    "save_freq": 1000,
    "save_ckpt": "model.ckpt",
    "load_ckpt": "model.ckpt",
    "disp_training": True,
    "time_training": True,
    "profiling": False,
    "profiling_file": "timeline.json",
    "start_pref_e": 0.02,
    "limit_pref_e": 1,
    "start_pref_f": 1000,
    "limit_pref_f": 1,
    "start_pref_v": 0,
    "limit_pref_v": 0,
}

V1 = {
    "model": {
        "type_map": ["O", "H"],
        "descriptor": {
            "type": "se_a",
            "sel": [46, 92],
            "rcut_smth": 5.8,
            "rcut": 6.0,
            "neuron": [25, 50, 100],
            "resnet_dt": False,
            "axis_neuron": 16,
            "seed": 1,
        },
        "fitting_net": {"n_neuron": [240, 240, 240], "resnet_dt": True, "seed": 1},
    },
    "learning_rate": {"type": "exp", "decay_steps": 5000, "decay_rate": 0.95, "start_lr": 0.001},
    "loss": {"start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_f": 1000, "limit_pref_f": 1},
    "training": {
        "systems": ["../data/"],
        "set_prefix": "set",
        "stop_batch": 1000000,
        "batch_size": [1],
        "seed": 1,
        "disp_file": "lcurve.out",
        "disp_freq": 100,
        "numb_test": 10,
        "save_freq": 1000,
        "save_ckpt": "model.ckpt",
        "load_ckpt": "model.ckpt",
        "disp_training": True,
        "time_training": True,
        "profiling": False,
        "profiling_file": "timeline.json",
    },
}

V2 = {
    "model": {
        "descriptor": {"type": "se_e2_a", "sel": [46, 92], "rcut": 6.0, "rcut_smth": 5.8, "neuron": [25, 50, 100]},
        "fitting_net": {"neuron": [8, 8]},
    },
    "learning_rate": {"start_lr": 0.002},
    "training": {"training_data": {"systems": ["a"]}, "numb_steps": 100},
}

#: What both old forms above say: 1e-3·0.95^(1000000/5000) is the final rate.
STOP_LR = 0.001 * 0.95**200


def edited(base, **edits):
    """A copy with ``section__key=value`` set; the value ``...`` removes the key."""
    document = {k: edited(v) if isinstance(v, dict) else v for k, v in base.items()}
    for path, value in edits.items():
        *sections, key = path.split("__")
        at = document
        for name in sections:
            at = at.setdefault(name, {})
        if value is ...:
            del at[key]
        else:
            at[key] = value
    return document


def test_version_1_becomes_version_2():
    found = schema.parse_input(V1)
    assert found.upgraded == {
        "model": {
            "type_map": ["O", "H"],
            "descriptor": V1["model"]["descriptor"] | {"type": "se_e2_a"},
            "fitting_net": {"neuron": [240, 240, 240], "resnet_dt": True, "seed": 1},
        },
        "learning_rate": {"type": "exp", "decay_steps": 5000, "start_lr": 0.001, "stop_lr": pytest.approx(STOP_LR)},
        "loss": V1["loss"],
        "training": {
            "training_data": {"systems": ["../data/"], "batch_size": [1]},
            "numb_steps": 1000000,
            "seed": 1,
            "disp_file": "lcurve.out",
            "disp_freq": 100,
            "save_freq": 1000,
            "save_ckpt": "model.ckpt",
            "disp_training": True,
            "time_training": True,
            "profiling": False,
            "profiling_file": "timeline.json",
        },
    }
    assert found.notices == (
        "the input has the form of DeePMD-kit 1.x",
        "training/numb_test has no effect: give training/validation_data to see errors on other frames",
        "training/load_ckpt has no effect: to go on from a checkpoint use: dp train --restart",
        "model/descriptor/type 'se_a' is now 'se_e2_a'",
        "training/systems is now training/training_data/systems",
        "training/batch_size is now training/training_data/batch_size",
        "learning_rate/decay_rate is now learning_rate/stop_lr 3.505e-08",
        "model/fitting_net/n_neuron is now model/fitting_net/neuron",
        "training/stop_batch is now training/numb_steps",
    )


def test_version_0_says_the_same_as_version_1():
    old = schema.parse_input(V0 | {"type_map": ["O", "H"]})
    new = schema.parse_input(edited(V1, loss__start_pref_v=0, loss__limit_pref_v=0))
    assert old == new
    assert old.notices[0] == "the input has the form of DeePMD-kit 0.x"
    assert "filter_neuron is now model/descriptor/neuron" in old.notices
    assert "stop_batch is now training/numb_steps" in old.notices
    assert "systems is now training/training_data/systems" in old.notices


def test_other_spellings_of_version_0():
    names = {"n_axis_neuron": "axis_neuron", "n_neuron": "fitting_neuron", "resnet_dt": "fitting_resnet_dt"}
    assert schema.parse_input({names.get(k, k): v for k, v in V0.items()}) == schema.parse_input(V0)


@pytest.mark.parametrize(
    ("edits", "place", "reason"),
    [
        ({"coord_norm": False}, "coord_norm", "only true is supported"),
        ({"type_fitting_net": True}, "type_fitting_net", "only false is supported"),
        ({"rcut_smth": ...}, "rcut_smth", "is required: where the smooth switch begins, below rcut"),
        ({"axis_neuron": 4}, "axis_neuron", "is given twice, here and as n_axis_neuron; keep one"),
        ({"set_prefix": "batch"}, "set_prefix", "is not supported by this version of dp (set folders"),
        ({"rcut": "six"}, "rcut", "is 'six', expected a number > 0 in Å"),
        ({"stop_batch": -1}, "stop_batch", "is -1, expected an integer ≥ 0"),
        ({"fitler_neuron": [1]}, "fitler_neuron", "unknown key"),
        ({"systems": ...}, "training/training_data", "is required: the data that the model learns from"),
    ],
)
def test_errors_in_version_0_are_told_by_its_own_names(edits, place, reason):
    with pytest.raises(InputError) as error:
        schema.parse_input(edited(V0, **edits))
    assert any(str(p).startswith(f"{place}: {reason}") for p in error.value.problems)


def test_local_frame_of_version_0():
    smooth = ("filter_neuron", "filter_resnet_dt", "n_axis_neuron", "rcut_smth")
    rule = [0, 1, 0, 0, 1, 1] * 2
    document = edited(V0, use_smooth=False, sel_r=[4, 8], axis_rule=rule, **dict.fromkeys(smooth, ...))
    settings = schema.parse_input(document)
    expected = {"type": "loc_frame", "sel_a": [46, 92], "sel_r": [4, 8], "rcut": 6.0, "axis_rule": rule}
    assert settings.model.descriptor.to_document() == expected
    assert settings.model.fitting_net.seed == settings.training.seed == 1


def test_only_smooth_keys_are_told_apart():
    document = edited(V0, use_smooth=False, sel_r=[4, 8], axis_rule=[0, 1, 0, 0, 0, 1])
    with pytest.raises(InputError) as error:
        schema.parse_input(document)
    found = [str(p) for p in error.value.problems]
    assert "filter_neuron: has an effect only with use_smooth: true" in found


def test_both_forms_of_the_data_are_an_error():
    with pytest.raises(InputError, match="training/systems: is given beside training/training_data; keep only"):
        schema.parse_input(edited(V1, training__training_data={"systems": "a"}))


@pytest.mark.parametrize("name", ["sys_prob", "sys_probs", "sys_weights"])
def test_probabilities_of_version_1(name):
    found = schema.parse_input(edited(V1, **{f"training__{name}": [1.0]}))
    assert found.training.training_data.sys_probs == [1.0]


@pytest.mark.parametrize("name", ["auto_prob", "auto_prob_style"])
def test_automatic_probabilities_of_version_1(name):
    found = schema.parse_input(edited(V1, **{f"training__{name}": "prob_uniform"}))
    assert found.training.training_data.auto_prob == "prob_uniform"


def test_decay_rate_of_version_1_yields_to_a_final_rate():
    found = schema.parse_input(edited(V1, learning_rate__stop_lr=1e-6))
    assert (found.learning_rate.stop_lr, found.learning_rate.decay_rate) == (1e-6, None)
    assert "learning_rate/decay_rate has no effect: stop_lr is given" in found.notices


def test_decay_rate_of_today_stays():
    found = schema.parse_input(edited(V2, learning_rate__decay_rate=0.5))
    assert (found.learning_rate.stop_lr, found.learning_rate.decay_rate) == (5e-8, 0.5)


ALIASES = [
    ("training__numb_steps", "training__stop_batch", 7),
    ("training__numb_steps", "training__num_step", 7),
    ("training__numb_steps", "training__num_steps", 7),
    ("training__numb_steps", "training__numb_step", 7),
    ("training__numb_epoch", "training__num_epoch", 2.5),
    ("training__numb_epoch", "training__num_epochs", 2.5),
    ("training__numb_epoch", "training__numb_epochs", 2.5),
    ("training__training_data__auto_prob", "training__training_data__auto_prob_style", "prob_uniform"),
    ("training__training_data__sys_probs", "training__training_data__sys_weights", [1.0]),
    ("training__validation_data__numb_btch", "training__validation_data__numb_batch", 3),
    ("model__descriptor__axis_neuron", "model__descriptor__n_axis_neuron", 8),
    ("model__fitting_net__neuron", "model__fitting_net__n_neuron", [3, 4]),
]


@pytest.mark.parametrize(("name", "old", "value"), ALIASES)
def test_an_old_name_means_the_same_as_the_new_one(name, old, value):
    base = edited(
        V2, training__numb_steps=..., model__fitting_net__neuron=..., training__validation_data={"systems": "b"}
    )
    if "numb" not in name or "btch" in name:
        base = edited(base, training__numb_steps=100)
    found = schema.parse_input(edited(base, **{old: value}))
    assert found == schema.parse_input(edited(base, **{name: value}))
    assert found.notices == (f"{old.replace('__', '/')} is now {name.replace('__', '/')}",)


@pytest.mark.parametrize(("section", "old", "new"), [("descriptor", "se_a", "se_e2_a"), ("loss", "ener_hess", "ener")])
def test_old_names_of_types(section, old, new):
    path = "model__descriptor__type" if section == "descriptor" else "loss__type"
    found = schema.parse_input(edited(V2, **{path: old}))
    assert found == schema.parse_input(edited(V2, **{path: new}))
    assert found.notices == (f"{path.replace('__', '/')} '{old}' is now '{new}'",)


def test_an_old_name_beside_the_new_one():
    assert schema.parse_input(edited(V2, training__stop_batch=100)) == schema.parse_input(V2)
    with pytest.raises(
        InputError, match="training/stop_batch: is the old name of numb_steps, which is also given, 100; keep one"
    ):
        schema.parse_input(edited(V2, training__stop_batch=7))


@pytest.mark.parametrize(("key", "value"), [("warmup_steps", 3), ("warmup_ratio", 0.1), ("warmup_start_factor", 0.2)])
def test_warm_up_moves_to_the_learning_rate(key, value):
    found = schema.parse_input(edited(V2, **{f"training__{key}": value}))
    assert getattr(found.learning_rate, key) == value
    assert found.notices == (f"training/{key} is now learning_rate/{key}",)
    with pytest.raises(InputError, match=f"training/{key}: is also given in learning_rate; keep it there"):
        schema.parse_input(edited(V2, **{f"training__{key}": value, f"learning_rate__{key}": value}))


def test_optimizer_keys_move_from_training_and_win():
    document = edited(
        V2,
        training__opt_type="AdamW",
        training__adam_beta1=0.8,
        training__weight_decay=0.01,
        optimizer={"type": "Adam", "weight_decay": 0.1, "adam_beta2": 0.99},
    )
    found = schema.parse_input(document)
    assert found.optimizer.to_document() == {
        "type": "AdamW",
        "adam_beta1": 0.8,
        "adam_beta2": 0.99,
        "weight_decay": 0.01,
    }
    assert "optimizer/weight_decay 0.1 is replaced by training/weight_decay 0.01" in found.notices
    assert "training/opt_type is now optimizer/type" in found.notices


def test_keys_of_other_optimizers_in_training_are_refused_at_their_place():
    with pytest.raises(InputError) as error:
        schema.parse_input(edited(V2, training__opt_type="LKF", training__kf_blocksize=1024))
    assert [p.place for p in error.value.problems] == [("training", "kf_blocksize"), ("training", "opt_type")]


def test_number_of_test_frames_is_dropped_in_any_version():
    found = schema.parse_input(edited(V2, training__numb_test=5))
    assert found == schema.parse_input(V2)
    assert found.notices == (
        "training/numb_test has no effect: give training/validation_data to see errors on other frames",
    )
