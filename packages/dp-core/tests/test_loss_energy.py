"""The energy loss: means over ragged batches, masks, missing labels, settings."""

from pathlib import Path

import array_api_strict
import numpy as np
import pydantic
import pytest

from dp_core.backend import Optimizer, TrainState, get_backend, installed
from dp_core.data import Frame
from dp_core.losses.energy import EnergyLoss
from dp_core.model_file import load_model
from dp_core.module import leaves, replace, trained_leaves, tree_map, with_leaves
from dp_core.neighbors import frame_neighbors
from dp_core.numpy_backend import gradient
from dp_core.outputs import evaluate_atoms, hessian, hessian_matrix, reduce_energy
from dp_core.training.batch import loss_function, make_batch, with_prefactors

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
MODEL = load_model(GOLDEN / "hessian.dp")  # types O, H
OFF = {"start_pref_e": 0, "limit_pref_e": 0, "start_pref_f": 0, "limit_pref_f": 0}
ALL = {f"{end}_pref_{t}": 1.0 for t in ("e", "f", "v", "ae", "pf", "gf", "h") for end in ("start", "limit")}
FORMS = [
    {**ALL, "numb_generalized_coord": 2},
    {**ALL, "numb_generalized_coord": 2, "relative_f": 0.5, "intensive_ener_virial": True},
    {**ALL, "numb_generalized_coord": 2, "loss_func": "mae"},
    {**ALL, "numb_generalized_coord": 2, "loss_func": "mae", "f_use_norm": True, "enable_atom_ener_coeff": True},
    {"use_huber": True, "huber_delta": [0.3, 0.02, 0.5], "start_pref_v": 1, "start_pref_ae": 1},
    {"use_huber": True, "huber_delta": 0.05, "f_use_norm": True},
]


def make_loss(**keys):
    return EnergyLoss(EnergyLoss.Settings(**keys), 1.0)


def make_frames(labels, sizes=(5, 3, 4), missing=(), seed=1):
    """Random small clusters; ``missing``: pairs (frame, label)."""
    rng = np.random.default_rng(seed)
    frames = []
    for k, n in enumerate(sizes):
        values = {label.key: rng.normal(size=label.shape(n)) for label in labels}
        if "atom_pref" in values:
            values["atom_pref"] = np.abs(values["atom_pref"])
        if "hessian" in values:
            h = values["hessian"].reshape(3 * n, 3 * n)
            values["hessian"] = (h + h.T).reshape(-1)
        found = frozenset(label.key for label in labels if (k, label.key) not in missing)
        coord = rng.uniform(0, 3, (n, 3))
        frames.append(Frame(0, k, coord, None, rng.integers(0, 2, n), values, found))
    return frames


def make(frames, labels, model=MODEL, **rounding):
    spec = model.neighbor_spec
    return make_batch(
        frames, [frame_neighbors(f.coord, f.box, f.types, spec) for f in frames], spec, labels, **rounding
    )


def evaluate(loss, batch, model=MODEL, rate=1.0):
    batch = with_prefactors(batch, loss.prefactors(rate))
    value, metrics = loss_function(model, loss)(trained_leaves(model), batch, gradient)
    return float(value), {k: float(v) for k, v in metrics.items()}


def singles(loss, frames, labels, model=MODEL):
    """Predictions of each frame alone, in the order of its atoms."""
    out = []
    for frame in frames:
        batch = make([frame], labels, model)
        predicted = loss.predict(model, batch, gradient)
        order = np.argsort(frame.types, kind="stable")
        back = np.argsort(order)
        rows = {k: np.asarray(predicted[k])[back] for k in ("atom_energy", "force", "mask")}
        totals = {k: np.asarray(predicted[k])[0].reshape(-1) for k in ("energy", "virial")}
        matrix = hessian_matrix(np.asarray(predicted["hessian"])[back])
        out.append(rows | totals | {"hessian": matrix})
    return out


def expected_mse(settings, frames, predictions, missing):
    """Every term written out frame by frame, from the definitions."""

    def has(k, *keys):
        return not any((k, key) in missing for key in keys)

    count = len(frames)
    n = [p["mask"].sum() for p in predictions]
    labels = [f.labels for f in frames]
    power = 2 if settings.intensive_ener_virial else 1
    values = {}
    for term, key, size in (("e", "energy", 1), ("v", "virial", 9)):
        ks = [k for k in range(count) if has(k, key)]
        errors = [labels[k][key] - predictions[k][key] for k in ks]
        values[term] = np.mean([np.sum(e**2) / size / n[k] ** power for k, e in zip(ks, errors)])
    shift = settings.relative_f

    def force_error(k, relative=True):
        error = labels[k]["force"] - predictions[k]["force"]
        if shift is None or not relative:
            return error
        return error / (np.linalg.norm(labels[k]["force"], axis=1, keepdims=True) + shift)

    def over_atoms(ks, square):
        atoms = sum(n[k] for k in ks)
        return sum((predictions[k]["mask"][:, None] * square(k)).sum() / square(k).shape[1] for k in ks) / atoms

    values["f"] = over_atoms([k for k in range(count) if has(k, "force")], lambda k: force_error(k) ** 2)
    values["ae"] = over_atoms(
        [k for k in range(count) if has(k, "atom_ener")],
        lambda k: (labels[k]["atom_ener"] - predictions[k]["atom_energy"]) ** 2,
    )
    values["pf"] = over_atoms(
        [k for k in range(count) if has(k, "force", "atom_pref")],
        lambda k: labels[k]["atom_pref"] * force_error(k) ** 2,
    )
    ks = [k for k in range(count) if has(k, "force", "drdq")]
    projected = [
        np.einsum("icq,ic->q", labels[k]["drdq"].reshape(len(frames[k].types), 3, -1), force_error(k, relative=False))
        for k in ks
    ]
    values["gf"] = np.mean(np.square(projected))
    ks = [k for k in range(count) if has(k, "hessian")]
    squares = []
    for k in ks:
        mask = np.repeat(predictions[k]["mask"], 3)
        error = labels[k]["hessian"].reshape(len(mask), -1) - predictions[k]["hessian"]
        squares.append((error**2 * mask[:, None] * mask).sum() / (3 * n[k]) ** 2)
    values["h"] = np.mean(squares)
    return values


@pytest.mark.parametrize("exclude", [(), (1,)])
@pytest.mark.parametrize("form", FORMS[:2])
@pytest.mark.parametrize("rounding", [{}, {"round_rows": lambda n: n + 2, "round_slots": lambda n: n + 3}])
def test_every_term_in_a_ragged_batch(form, exclude, rounding):
    """Frames of different sizes, each lacking another label, with padding and masked atoms."""
    model = replace(MODEL, atom_exclude_types=exclude)
    loss = make_loss(**form)
    labels = loss.labels(model)
    missing = {(0, "virial"), (1, "energy"), (2, "force"), (0, "hessian"), (1, "drdq"), (1, "atom_ener")}
    frames = make_frames(labels, missing=missing)
    batch = make(frames, labels, model, **rounding)
    terms = expected_mse(loss.settings, frames, singles(loss, frames, labels, model), missing)
    value, metrics = evaluate(loss, batch, model)
    # 1/N is rounded to single precision
    assert value == pytest.approx(sum(terms.values()), rel=1e-6)
    assert metrics["rmse"] == pytest.approx(np.sqrt(value), rel=1e-14)
    for term in ("f", "ae", "pf", "gf", "h"):
        assert metrics[f"rmse_{term}"] == pytest.approx(np.sqrt(terms[term]), rel=1e-12), term


@pytest.mark.parametrize("form", FORMS)
def test_padding_changes_nothing(form):
    loss = make_loss(**form)
    labels = loss.labels(MODEL)
    frames = make_frames(labels)
    plain = evaluate(loss, make(frames, labels))
    padded = evaluate(loss, make(frames, labels, round_rows=lambda n: n + 3, round_slots=lambda n: 2 * n + 1))
    assert padded[0] == pytest.approx(plain[0], rel=1e-12)
    assert padded[1] == pytest.approx(plain[1], rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_strict_namespace(form):
    loss = make_loss(**form)
    labels = loss.labels(MODEL)
    batch = with_prefactors(make(make_frames(labels), labels), loss.prefactors(0.5))
    predicted = loss.predict(MODEL, batch, gradient)
    value, metrics = loss(predicted, batch)
    strict = lambda x: array_api_strict.asarray(np.asarray(x))  # noqa: E731
    strict_value, strict_metrics = loss(tree_map(strict, predicted), tree_map(strict, batch))
    assert float(strict_value) == pytest.approx(float(value), rel=1e-13)
    assert set(strict_metrics) == set(metrics)
    for k, v in metrics.items():
        assert float(strict_metrics[k]) == pytest.approx(float(v), rel=1e-13), k


def test_absent_labels_are_nan_and_count_nothing():
    loss = make_loss(start_pref_v=1, limit_pref_v=1)
    labels = loss.labels(MODEL)
    frames = make_frames(labels, missing={(k, "virial") for k in range(3)})
    value, metrics = evaluate(loss, make(frames, labels))
    assert np.isnan(metrics["rmse_v"])
    without = make_loss()
    assert value == evaluate(without, make(frames, without.labels(MODEL)))[0]


def test_metrics_and_their_order():
    loss = make_loss(**FORMS[0])
    labels = loss.labels(MODEL)
    batch = make(make_frames(labels), labels)
    names = ["rmse", "rmse_ae", "rmse_e", "rmse_f", "rmse_gf", "rmse_h", "rmse_pf", "rmse_v"]
    assert sorted(evaluate(loss, batch)[1]) == names
    absolute = make_loss(**FORMS[2])
    names = ["mae_ae", "mae_e", "mae_f", "mae_pf", "mae_v", "rmse", "rmse_gf", "rmse_h"]
    assert sorted(evaluate(absolute, batch)[1]) == names


def test_default_weights_of_forces():
    labels = make_loss(start_pref_pf=1).labels(MODEL)
    assert [(x.key, x.counts_when_absent) for x in labels if x.key == "atom_pref"] == [("atom_pref", False)]
    label = next(x for x in make_loss(start_pref_pf=1, use_default_pf=True).labels(MODEL) if x.key == "atom_pref")
    assert label.counts_when_absent
    assert label.default == 1.0
    assert label.repeat == 3


def test_labels_follow_the_terms():
    assert [x.key for x in make_loss().labels(MODEL)] == ["energy", "force"]
    assert [x.key for x in make_loss(**(OFF | {"limit_pref_e": 1})).labels(MODEL)] == ["energy"]
    loss = make_loss(**FORMS[3])
    assert [x.key for x in loss.labels(MODEL)] == [
        "energy", "atom_ener_coeff", "force", "virial", "atom_ener", "atom_pref", "drdq", "hessian",
    ]  # fmt: skip


def test_energy_alone_needs_no_derivative():
    loss = make_loss(**(OFF | {"limit_pref_e": 1}))
    labels = loss.labels(MODEL)
    batch = make(make_frames(labels), labels)

    def refuse(*_):
        raise AssertionError("a derivative was taken")

    assert set(loss.predict(MODEL, batch, refuse)) == {"atom_energy", "energy", "mask"}


def test_prefactors_follow_the_learning_rate():
    loss = EnergyLoss(EnergyLoss.Settings(), start_lr=2e-3)
    assert loss.prefactors(2e-3) == pytest.approx({"e": 0.02, "f": 1000.0})
    assert loss.prefactors(0.0) == pytest.approx({"e": 1.0, "f": 1.0})
    assert loss.prefactors(1e-3) == pytest.approx({"e": 0.51, "f": 500.5})


@pytest.mark.parametrize("form", [FORMS[0], FORMS[2], FORMS[4], FORMS[5]])
def test_gradient_is_that_of_the_loss(form):
    """Along a random direction of all parameters; Hessians make it a third derivative."""
    loss = make_loss(**form)
    labels = loss.labels(MODEL)
    batch = with_prefactors(make(make_frames(labels, (3, 2)), labels), loss.prefactors(1.0))
    function = loss_function(MODEL, loss)
    params = trained_leaves(MODEL)
    _, slope = gradient(lambda p: function(p, batch, gradient), params)
    rng = np.random.default_rng(3)
    direction = {k: rng.normal(size=v.shape) for k, v in params.items()}

    def moved(step):
        return float(function({k: v + step * direction[k] for k, v in params.items()}, batch, gradient)[0])

    h = 1e-4
    numeric = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    assert sum(np.sum(slope[k] * direction[k]) for k in params) == pytest.approx(numeric, rel=1e-6)


@pytest.mark.backends
@pytest.mark.parametrize("name", installed())
@pytest.mark.parametrize("form", [FORMS[1], FORMS[3], FORMS[4]])  # every term once; each takes a compilation
def test_backends_agree(name, form):
    backend, loss = get_backend(name), make_loss(**form)
    labels = loss.labels(MODEL)
    frames = make_frames(labels, (3, 2), missing={(0, "force")})
    batch = with_prefactors(make(frames, labels), loss.prefactors(1.0))
    (value, metrics), slope = numpy_step(loss, batch)
    rounded = make(frames, labels, round_rows=backend.round_rows, round_slots=backend.round_slots)
    function = loss_function(tree_map(backend.array, MODEL), loss)
    run = backend.training(function, TrainState(trained_leaves(MODEL)), Optimizer())
    stepped = run.step([with_prefactors(rounded, loss.prefactors(1.0))], 0.0)
    assert stepped["loss"] == pytest.approx(float(value), rel=1e-9)
    assert {k: stepped[k] for k in metrics} == pytest.approx({k: float(v) for k, v in metrics.items()}, rel=1e-9)
    for path, first in run.state().moments["first"].items():  # a tenth of the gradient
        np.testing.assert_allclose(first / 0.1, slope[path], rtol=0, atol=1e-9 * np.abs(slope[path]).max())


def numpy_step(loss, batch):
    """Loss and metrics, and the gradient."""
    function = loss_function(MODEL, loss)

    def total(params):
        value, metrics = function(params, batch, gradient)
        return value, (value, metrics)

    return gradient(total, trained_leaves(MODEL))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (OFF, "nothing to train"),
        ({"use_huber": True, "loss_func": "mae"}, "belongs to"),
        ({"f_use_norm": True}, "needs use_huber"),
        ({"use_huber": True, "start_pref_pf": 1}, "start_pref_pf"),
        ({"use_huber": True, "relative_f": 1.0}, "relative_f"),
        ({"use_huber": True, "limit_pref_h": 1.0}, "start_pref_h"),
        ({"start_pref_gf": 1.0}, "numb_generalized_coord"),
        ({"huber_delta": [0.1, 0.2]}, "three: energy, force, virial"),
        ({"huber_delta": 0.0}, "positive"),
        ({"loss_func": "rmse"}, "mse"),
        ({"start_pref_e": -1}, "greater than or equal to 0"),
        ({"start_pref": 1}, "Extra inputs"),
    ],
)
def test_contradictions(keys, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        EnergyLoss.Settings(**keys)


@pytest.mark.parametrize("system", ["hessian.npz", "hessian.nopbc.npz"])
def test_hessian(system):
    data = np.load(GOLDEN / system)
    types = data["atype"].astype(np.int64)
    count = len(types)
    labels = make_loss(**(OFF | {"start_pref_h": 1.0})).labels(MODEL)
    frames = [
        Frame(0, k, c, data["box"][k].reshape(3, 3) if "box" in data else None, types,
              {"hessian": np.zeros(9 * count**2)}, frozenset())
        for k, c in enumerate(data["coord"])
    ]  # fmt: skip
    batch = make(frames, labels, round_rows=lambda n: n + 1)
    blocks = hessian(MODEL, batch.table, gradient, batch.place, batch.widest)
    for k, frame_hessian in enumerate(data["hessian"]):
        rows = np.flatnonzero((batch.table.frame == k) & (batch.place >= 0))
        own = blocks[rows[np.argsort(batch.place[rows])]]
        np.testing.assert_allclose(
            hessian_matrix(own), frame_hessian, rtol=0, atol=1e-9 * np.abs(data["hessian"]).max()
        )


def test_trained_leaves_replace_those_of_the_template():
    loss = make_loss()
    labels = loss.labels(MODEL)
    batch = with_prefactors(make(make_frames(labels), labels), loss.prefactors(1.0))
    doubled = {k: 2 * v for k, v in trained_leaves(MODEL).items()}
    value, _ = loss_function(MODEL, loss)(doubled, batch, gradient)
    model = with_leaves(MODEL, doubled)
    assert leaves(model).keys() == leaves(MODEL).keys()
    predicted = reduce_energy(evaluate_atoms(model, batch.table, gradient), batch.table, batch.nframes)
    assert value == loss(predicted, batch)[0]
