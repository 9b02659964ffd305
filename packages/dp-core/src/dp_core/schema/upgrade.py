"""Old forms of an input file brought to the present one (version 2 of DeePMD-kit's input).

Version 0 (DeePMD-kit 0.x) has all keys at the top; version 1 (1.x) has the training data in ``training`` itself. Keys
that moved between sections later are moved here too. Renamed keys are left to ``names.py``.
"""

from __future__ import annotations

from typing import Any

from dp_core.schema.problems import Journal, path
from dp_core.schema.sections import Training, TrainingData

Document = dict[str, Any]

SECTIONS = ("model", "learning_rate", "loss", "training")
_DESCRIPTOR = ("model", "descriptor")
_FITTING = ("model", "fitting_net")
_SEEDED = (_DESCRIPTOR, _FITTING, ("training",))

#: Keys of version 0 that have another place now.
V0_KEYS: dict[str, tuple[str, ...]] = {
    "type_map": ("model", "type_map"),
    "rcut": (*_DESCRIPTOR, "rcut"),
    "rcut_smth": (*_DESCRIPTOR, "rcut_smth"),
    "sel_a": (*_DESCRIPTOR, "sel"),
    "filter_neuron": (*_DESCRIPTOR, "neuron"),
    "filter_resnet_dt": (*_DESCRIPTOR, "resnet_dt"),
    "axis_neuron": (*_DESCRIPTOR, "axis_neuron"),
    "n_axis_neuron": (*_DESCRIPTOR, "axis_neuron"),
    "n_neuron": (*_FITTING, "neuron"),
    "fitting_neuron": (*_FITTING, "neuron"),
    "resnet_dt": (*_FITTING, "resnet_dt"),
    "fitting_resnet_dt": (*_FITTING, "resnet_dt"),
    "numb_fparam": (*_FITTING, "numb_fparam"),
} | {key: ("learning_rate", key) for key in ("start_lr", "stop_lr", "decay_steps", "decay_rate")}
V0_KEYS |= {
    f"{end}_pref_{term}": ("loss", f"{end}_pref_{term}")
    for end in ("start", "limit")
    for term in ("e", "f", "v", "ae", "pf")
}
V0_KEYS |= {
    key: ("training", key)
    for key in (
        "systems", "set_prefix", "batch_size", "sys_prob", "sys_probs", "sys_weights", "auto_prob", "auto_prob_style",
        "stop_batch", "disp_file", "disp_freq", "numb_test", "save_freq", "save_ckpt", "load_ckpt", "disp_training",
        "time_training", "profiling", "profiling_file", "tensorboard", "tensorboard_log_dir",
    )
}  # fmt: skip
V0_SMOOTH_ONLY = ("filter_neuron", "filter_resnet_dt", "axis_neuron", "n_axis_neuron", "rcut_smth")
V0_LOCAL_FRAME = ("sel_r", "axis_rule")

#: Keys of version 0 that meant a choice dp does not have: the value that changes nothing.
V0_FIXED = {"coord_norm": True, "type_fitting_net": False}

#: Keys of ``training`` that belong to ``training/training_data`` since version 2.
DATA_KEYS = ("systems", "set_prefix", "batch_size", "sys_prob", *TrainingData.model_fields, *TrainingData.aliases())

OPTIMIZER_KEYS = (
    "opt_type", "adam_beta1", "adam_beta2", "weight_decay", "momentum", "muon_momentum", "lr_adjust", "lr_adjust_coeff",
    "kf_blocksize", "kf_start_pref_e", "kf_limit_pref_e", "kf_start_pref_f", "kf_limit_pref_f",
)  # fmt: skip
WARMUP_KEYS = ("warmup_steps", "warmup_ratio", "warmup_start_factor")

#: Keys of ``training`` that have no meaning any more, and what to use.
DROPPED = {
    "numb_test": "give training/validation_data to see errors on other frames",
    "load_ckpt": "to go on from a checkpoint use: dp train --restart",
}


def without_comments(value: Any) -> Any:
    """A copy without keys that begin with an underscore; keys are strings."""
    if isinstance(value, dict):
        return {str(k): without_comments(v) for k, v in value.items() if not str(k).startswith("_")}
    return [without_comments(v) for v in value] if isinstance(value, list) else value


def upgrade(document: Document, journal: Journal) -> Document:
    """The document in its present form; what was moved or dropped goes to the journal."""
    version_0 = not set(document) & set(SECTIONS) and bool(set(document) & set(V0_KEYS))
    if version_0:
        journal.notices.append("the input has the form of DeePMD-kit 0.x")
        document = _from_v0(document, journal)
    training = document.get("training")
    if isinstance(training, dict):
        if "systems" in training:
            if not version_0:
                journal.notices.append("the input has the form of DeePMD-kit 1.x")
            _from_v1(document, training, journal)
        _move_later_keys(document, training, journal)
    return document


def _put(document: Document, place: tuple[str, ...], value: Any) -> None:
    for key in place[:-1]:
        document = document.setdefault(key, {})
    document[place[-1]] = value


def _from_v0(old: Document, journal: Journal) -> Document:
    """Version 0 to version 1."""
    new: Document = {section: {} for section in SECTIONS}
    new["model"] = {"descriptor": {}, "fitting_net": {}}
    old = dict(old)
    if old.pop("use_smooth", False):
        new["model"]["descriptor"]["type"] = "se_e2_a"
        if "rcut_smth" not in old:
            journal.problem(("rcut_smth",), "is required: where the smooth switch begins, below rcut")
    else:
        _local_frame(old, new, journal)
    for key, neutral in V0_FIXED.items():
        if old.pop(key, neutral) != neutral:
            journal.problem((key,), f"only {str(neutral).lower()} is supported")
    if "seed" in old:
        seed = old.pop("seed")
        random = _SEEDED[1:] if new["model"]["descriptor"]["type"] == "loc_frame" else _SEEDED
        for place in ((*section, "seed") for section in random):
            _put(new, place, seed)
            journal.origin[place] = ("seed",)
    for key, value in old.items():
        home = V0_KEYS.get(key, (key,))
        if home in journal.origin:
            journal.problem((key,), f"is given twice, here and as {path(journal.origin[home])}; keep one")
            continue
        _put(new, home, value)
        if home != (key,):
            journal.moved((key,), home)
    return new


def _local_frame(old: Document, new: Document, journal: Journal) -> None:
    """The keys of the loc_frame descriptor, which version 0 had without use_smooth."""
    new["model"]["descriptor"]["type"] = "loc_frame"
    journal.origin[(*_DESCRIPTOR, "type")] = ("use_smooth",)
    for key in ("sel_a", *V0_LOCAL_FRAME, "rcut"):
        if key in old:
            _put(new, (*_DESCRIPTOR, key), old.pop(key))
            journal.moved((key,), (*_DESCRIPTOR, key))
    for key in V0_SMOOTH_ONLY:
        if key in old:
            del old[key]
            journal.problem((key,), "has an effect only with use_smooth: true")


def _from_v1(document: Document, training: Document, journal: Journal) -> None:
    """Version 1 to version 2, in place: the data get a section, the decay rate becomes a final rate."""
    if "training_data" in training:
        journal.problem(("training", "systems"), "is given beside training/training_data; keep only the section")
        for key in DATA_KEYS:
            training.pop(key, None)
        return
    data: Document = {}
    for key in DATA_KEYS:
        if key in training:
            name = "sys_probs" if key == "sys_prob" else key
            data[name] = training.pop(key)
            journal.moved(("training", key), ("training", "training_data", name))
    training["training_data"] = data
    _decay_rate_to_stop_lr(document.get("learning_rate"), training, journal)


def _decay_rate_to_stop_lr(rate: Any, training: Document, journal: Journal) -> None:
    if not isinstance(rate, dict) or "decay_rate" not in rate:
        return
    place = ("learning_rate", "decay_rate")
    if "stop_lr" in rate:
        del rate["decay_rate"]
        journal.dropped(place, "stop_lr is given")
        return
    names = ("numb_steps", *(old for old, name in Training.aliases().items() if name == "numb_steps"))
    steps = next((training[n] for n in names if n in training), None)
    numbers = [rate["decay_rate"], rate.get("start_lr"), rate.get("decay_steps"), steps]
    if all(isinstance(x, int | float) and not isinstance(x, bool) and x > 0 for x in numbers):
        factor, start, every, total = (float(x) for x in numbers if x is not None)
        del rate["decay_rate"]
        rate["stop_lr"] = start * factor ** (total / every)
        journal.moved(place, ("learning_rate", "stop_lr"), f"{rate['stop_lr']:.4g}")


def _move_later_keys(document: Document, training: Document, journal: Journal) -> None:
    """Keys of training that got another section in version 2 or no meaning, in place."""
    for key, instead in DROPPED.items():
        if training.pop(key, None) is not None:
            journal.dropped(("training", key), instead)
    for section, keys, wins in (("learning_rate", WARMUP_KEYS, False), ("optimizer", OPTIMIZER_KEYS, True)):
        for key in keys:
            if key not in training:
                continue
            value = training.pop(key)
            target = document.setdefault(section, {})
            name = "type" if key == "opt_type" else key
            if not isinstance(target, dict):
                continue  # reported as no section
            if name in target and not wins:
                journal.problem(("training", key), f"is also given in {section}; keep it there")
                continue
            if name in target and target[name] != value:
                journal.notices.append(f"{section}/{name} {target[name]!r} is replaced by training/{key} {value!r}")
            target[name] = value
            journal.moved(("training", key), (section, name))
