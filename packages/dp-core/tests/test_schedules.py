"""Learning-rate schedules: values of DeePMD-kit 3.2, limits of the settings."""

import math
from itertools import pairwise

import pydantic
import pytest

from dp_core.errors import ConfigError
from dp_core.schedules import Cosine, Exponential, WarmupStableDecay, build_schedule

CLASSES = {"exp": Exponential, "cosine": Cosine, "wsd": WarmupStableDecay}


def schedule(kind, num_steps, workers=1, **settings):
    return build_schedule(CLASSES[kind].Settings(start_lr=1e-3, **settings), num_steps, workers)


# Values that DeePMD-kit 3.2.0 gives: kind, number of steps, settings, {step: rate}.
REFERENCE = [
    (
        "exp",
        7,
        {"decay_steps": 5, "warmup_ratio": 0.1, "warmup_start_factor": 0.2, "stop_lr": 1e-05},
        {3: 0.001, 5: 3.727593720314941e-05, 6: 3.727593720314941e-05},
    ),
    (
        "exp",
        7,
        {"decay_steps": 5, "smooth": True, "warmup_steps": 3, "stop_lr_ratio": 0.1},
        {3: 0.001, 5: 0.00031622776601683794, 6: 0.00017782794100389227},
    ),
    (
        "exp",
        7,
        {"decay_steps": 5000, "stop_lr": 1e-05},
        {3: 0.00013894954943731384, 5: 3.727593720314943e-05, 6: 1.9306977288832516e-05},
    ),
    (
        "exp",
        7,
        {"decay_steps": 5, "decay_rate": 0.5, "warmup_ratio": 0.1, "warmup_start_factor": 0.2, "stop_lr_ratio": 0.1},
        {3: 0.001, 5: 0.0005, 6: 0.0005},
    ),
    (
        "exp",
        7,
        {"decay_steps": 5000, "decay_rate": 0.5, "warmup_steps": 3, "stop_lr": 1e-05},
        {3: 0.001, 5: 0.001, 6: 0.001},
    ),
    (
        "exp",
        2000,
        {"decay_steps": 5, "stop_lr_ratio": 0.1},
        {1000: 0.0003162277660168394, 1992: 0.00010115794542599078, 1999: 0.00010057730630017477},
    ),
    (
        "exp",
        2000,
        {"decay_steps": 5, "smooth": True, "warmup_ratio": 0.1, "warmup_start_factor": 0.2, "stop_lr": 1e-05},
        {1000: 0.00012915496650148895, 1992: 1.0206783171139053e-05, 1999: 1.0025617034505657e-05},
    ),
    (
        "exp",
        2000,
        {"decay_steps": 5000, "warmup_steps": 3, "stop_lr_ratio": 0.1},
        {1000: 0.00035426152349942754, 1992: 0.00011183374264042103, 1999: 0.00011183374264042103},
    ),
    ("exp", 2000, {"decay_steps": 5, "decay_rate": 0.5, "stop_lr": 1e-05}, {1000: 1e-05, 1992: 1e-05, 1999: 1e-05}),
    (
        "exp",
        2000,
        {"decay_steps": 5000, "decay_rate": 0.5, "warmup_ratio": 0.1, "warmup_start_factor": 0.2, "stop_lr_ratio": 0.1},
        {1000: 0.001, 1992: 0.001, 1999: 0.001},
    ),
    (
        "exp",
        20000,
        {"decay_steps": 5, "warmup_steps": 3, "stop_lr": 1e-05},
        {10000: 0.0001000806350612499, 19992: 1.0027673386713365e-05, 19999: 1.0004606921927838e-05},
    ),
    (
        "exp",
        20000,
        {"decay_steps": 5, "smooth": True, "stop_lr_ratio": 0.1},
        {10000: 0.00031622776601680997, 19992: 0.00010009214583191188, 19999: 0.00010001151358820997},
    ),
    (
        "exp",
        20000,
        {"decay_steps": 5000, "warmup_ratio": 0.1, "warmup_start_factor": 0.2, "stop_lr": 1e-05},
        {10000: 0.0002782559402207125, 19992: 2.1544346900318857e-05, 19999: 2.1544346900318857e-05},
    ),
    (
        "exp",
        20000,
        {"decay_steps": 5, "decay_rate": 0.5, "warmup_steps": 3, "stop_lr_ratio": 0.1},
        {10000: 0.0001, 19992: 0.0001, 19999: 0.0001},
    ),
    (
        "exp",
        20000,
        {"decay_steps": 5000, "decay_rate": 0.5, "stop_lr": 1e-05},
        {10000: 0.00025, 19992: 0.000125, 19999: 0.000125},
    ),
    (
        "cosine",
        100,
        {"warmup_ratio": 0.1, "warmup_start_factor": 0.2, "stop_lr_ratio": 0.1},
        {50: 0.0006281416799501187, 92: 0.0001174322368277565, 99: 0.0001002741278414069},
    ),
    (
        "wsd",
        1000,
        {"warmup_steps": 3, "stop_lr": 1e-05},
        {500: 0.001, 992: 1.0860121633362293e-05, 999: 1.0099989900010101e-05},
    ),
    (
        "wsd",
        1000,
        {"decay_phase_ratio": 1.0, "stop_lr_ratio": 0.1},
        {500: 0.0001818181818181818, 992: 0.0001007252215954875, 999: 0.00010009008107296567},
    ),
    (
        "wsd",
        1000,
        {"decay_type": "cosine", "warmup_ratio": 0.1, "warmup_start_factor": 0.2, "stop_lr": 1e-05},
        {500: 0.001, 992: 2.5551335241327618e-05, 999: 1.0244252618962858e-05},
    ),
    (
        "wsd",
        1000,
        {"decay_type": "linear", "decay_phase_ratio": 0.5, "warmup_steps": 3, "stop_lr_ratio": 0.1},
        {500: 0.001, 992: 0.00011440000000000007, 999: 0.00010180000000000009},
    ),
]


@pytest.mark.parametrize(("kind", "num_steps", "settings", "rates"), REFERENCE)
def test_values_of_the_peer(kind, num_steps, settings, rates):
    lr = schedule(kind, num_steps, **settings)
    assert {step: lr(step) for step in rates} == pytest.approx(rates, rel=1e-12, abs=0)


def test_a_short_run_of_the_manual():
    lr = schedule("exp", 7, decay_steps=5, stop_lr=1e-5)
    assert [lr(t) for t in range(5)] == [1e-3] * 5
    assert lr(5) == lr(6) == pytest.approx(1e-3 * 0.01 ** (5 / 7), rel=1e-12)


def test_final_rate_is_5e_8_unless_given():
    assert Cosine.Settings().stop_lr == 5e-8
    assert schedule("cosine", 10)(10) == pytest.approx(5e-8, rel=1e-12)
    assert Cosine.Settings(stop_lr_ratio=0.1).stop_lr is None


@pytest.mark.parametrize("kind", CLASSES)
def test_all_rates_are_plain_floats_between_the_ends(kind):
    lr = schedule(kind, 50, stop_lr=1e-6, warmup_steps=5)
    rates = [lr(t) for t in range(60)]
    assert all(type(rate) is float for rate in rates)
    assert rates[0] == 0.0
    assert rates[5] == 1e-3
    assert all(later <= sooner for sooner, later in pairwise(rates[5:]))
    assert min(rates[5:]) >= 1e-6


def test_a_given_rate_of_decay_stops_at_the_final_rate():
    lr = schedule("exp", 100, decay_steps=1, decay_rate=0.5, stop_lr=1e-5)
    assert lr(1) == 5e-4
    assert lr(99) == 1e-5


def test_warm_up_begins_at_the_factor_and_is_linear():
    lr = schedule("cosine", 20, warmup_ratio=0.25, warmup_start_factor=0.2)
    assert [lr(t) for t in range(6)] == pytest.approx([2e-4, 3.6e-4, 5.2e-4, 6.8e-4, 8.4e-4, 1e-3])


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4.0), ("sqrt", 2.0), ("none", 1.0)])
def test_workers_scale_the_start(rule, factor):
    lr = schedule("exp", 100, workers=4, scale_by_worker=rule, stop_lr_ratio=0.01)
    assert lr.start_lr == lr(0) == 1e-3 * factor
    assert lr.stop_lr == pytest.approx(1e-5 * factor)


def test_a_run_without_steps_has_a_rate():
    assert schedule("exp", 0)(0) == 1e-3


def test_warm_up_must_end_before_the_run():
    with pytest.raises(ConfigError, match=r"warm-up takes 10 steps, and the whole run 10; make warmup_steps smaller"):
        schedule("exp", 10, warmup_steps=10)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("exp", {"stop_lr": 1e-8, "stop_lr_ratio": 0.1}, "both given"),
        ("exp", {"warmup_steps": 3, "warmup_ratio": 0.1}, "both given"),
        ("exp", {"decay_steps": 0}, "decay_steps"),
        ("exp", {"decay_rate": 0.0}, "decay_rate"),
        ("exp", {"decay_rate": 1.5}, "decay_rate"),
        ("exp", {"warmup_ratio": 1.0}, "warmup_ratio"),
        ("exp", {"scale_by_worker": "cubic"}, "scale_by_worker"),
        ("exp", {"stop_lr": math.nan}, "finite"),
        ("cosine", {"decay_steps": 5}, "decay_steps"),
        ("wsd", {"decay_phase_ratio": 0.0}, "decay_phase_ratio"),
        ("wsd", {"decay_type": "stairs"}, "decay_type"),
        ("wsd", {"stop_lr": 0.0}, "cannot reach a final rate of 0"),
    ],
)
def test_bad_settings_are_refused(kind, settings, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        schedule(kind, 100, **settings)


def test_warm_up_of_zero_steps_beside_a_ratio_is_no_contradiction():
    assert schedule("exp", 100, warmup_steps=0, warmup_ratio=0.1).warmup_steps == 10
