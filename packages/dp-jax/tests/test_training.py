"""Optimizers, accumulation, restart, several devices and processes."""

import logging
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from dp_core.arrays import namespace, safe_norm
from dp_core.backend import Optimizer, TrainState, get_backend
from dp_core.errors import BackendError
from dp_core.module import trained_leaves
from dp_core.outputs import forces

ROWS, SLOTS = [5, 4], [6, 7]


def pair_loss(params, batch, gradient):
    """A loss of the shape of a potential's, quick to compile: energies of slots, and the errors of their forces."""

    def total(vectors):
        xp = namespace(vectors, params["w"])
        x = safe_norm(vectors, batch.table.neighbor_types >= 0)
        energy = xp.sum(xp.tanh((x[..., None] * params["w"]) @ params["v"]), axis=1)
        return xp.sum(energy), energy

    energy, g = gradient(total, batch.table.vectors)
    error = forces(g, batch.table.index, batch.force.shape[0]) - batch.force
    xp = namespace(error)
    return xp.mean(energy**2) + xp.mean(error**2), {"rmse_f": xp.sqrt(xp.mean(error**2))}


@pytest.fixture
def start():
    """``start(backend, optimizer, state)`` begins a training."""
    random = np.random.default_rng(3)
    fresh = TrainState({"w": random.normal(size=3), "v": random.normal(size=3)})

    def begin(backend, optimizer=None, state=None):
        return backend.training(pair_loss, state or fresh, optimizer or Optimizer())

    return begin


def equal(a, b, rtol=0.0):
    assert a.keys() == b.keys()
    for key, value in a.items():
        np.testing.assert_allclose(value, b[key], rtol=0, atol=rtol * np.abs(b[key]).max(), err_msg=key)


@pytest.mark.parametrize(
    "optimizer",
    [
        Optimizer(),
        Optimizer(beta1=0.8, beta2=0.99, epsilon=1e-6, weight_decay=0.01),
        Optimizer(type="AdamW", weight_decay=0.01),
        Optimizer(max_norm=0.05),
    ],
    ids=["Adam", "L2", "AdamW", "clipped"],
)
def test_like_numpy(model, start, make_batch, jax_backend, optimizer):
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(10)]
    runs = [start(backend, optimizer) for backend in (jax_backend, get_backend("numpy"))]
    for batch in batches:
        found, expected = (run.step([batch, batches[0]], 0.01) for run in runs)
        assert found == pytest.approx(expected, rel=1e-10)
    state, reference = (run.state() for run in runs)
    assert state.updates == reference.updates == 10
    equal(state.params, reference.params, 1e-10)
    for name in ("first", "second"):
        equal(state.moments[name], reference.moments[name], 1e-9)


@pytest.mark.slow
def test_a_model_like_numpy(model, loss_of, make_batch, jax_backend):
    """A whole potential, its energies and forces."""
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(3)]
    runs = [
        backend.training(loss_of(model, backend), TrainState(trained_leaves(model)), Optimizer())
        for backend in (jax_backend, get_backend("numpy"))
    ]
    for batch in batches:
        found, expected = (run.step([batch], 0.01) for run in runs)
        assert found == pytest.approx(expected, rel=1e-10)
    equal(runs[0].state().params, runs[1].state().params, 1e-9)


def test_single_precision_stays_single(jax_backend):
    def loss(params, batch, gradient):
        return ((params["a"].astype(batch["x"].dtype) + params["b"] - batch["x"]) ** 2).sum(), {}

    state = TrainState({"a": np.ones(3, np.float32), "b": np.ones(3)})
    for batches in ([{"x": np.zeros(3)}], [{"x": np.zeros(3)}] * 2):
        run = jax_backend.training(loss, state, Optimizer(weight_decay=0.1, max_norm=1.0))
        run.step(batches, 0.1)
        for values in (run.params(), *run.state().moments.values()):
            assert {k: v.dtype.name for k, v in values.items()} == {"a": "float32", "b": "float64"}


def test_restart_is_exact(model, start, make_batch, jax_backend):
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(4)]
    whole, part = start(jax_backend), start(jax_backend)
    for batch in batches:
        expected = whole.step([batch], 0.01)
    for batch in batches[:2]:
        part.step([batch], 0.01)
    rest = start(jax_backend, state=part.state())
    for batch in batches[2:]:
        found = rest.step([batch], 0.01)
    assert found == expected
    assert rest.state().updates == 4
    equal(rest.state().params, whole.state().params)
    equal(rest.state().moments["second"], whole.state().moments["second"])


def test_moments_move_to_another_backend_and_back(model, start, make_batch, jax_backend):
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(6)]
    whole, moved = start(jax_backend), start(jax_backend)
    for step, batch in enumerate(batches):
        if step in (2, 4):
            moved = start(get_backend("numpy") if step == 2 else jax_backend, state=moved.state())
        assert moved.step([batch], 0.01) == pytest.approx(whole.step([batch], 0.01), rel=1e-10)
    equal(moved.state().params, whole.state().params, 1e-10)


def test_state_is_a_copy_and_evaluation_changes_nothing(model, start, make_batch, jax_backend):
    batch = make_batch(model, ROWS, SLOTS)
    given = TrainState({"w": np.ones(64), "v": np.full(64, 0.1)})  # large enough that JAX could use the memory itself
    run = start(jax_backend, state=given)
    evaluated = run.evaluate(batch)
    state, params = run.state(), run.params()
    stepped = run.step([batch], 0.01)
    run.step([batch], 0.01)
    assert evaluated == pytest.approx({k: v for k, v in stepped.items() if k != "grad_norm"}, rel=1e-13)
    for copy in (state.params, params, given.params):
        equal(copy, {"w": np.ones(64), "v": np.full(64, 0.1)})
    assert not np.array_equal(run.params()["w"], np.ones(64))


def test_unused_parameters(jax_backend):
    state = TrainState({"used": np.ones(3), "unused": np.ones(2)})
    run = jax_backend.training(lambda p, _, __: ((p["used"] ** 2).sum(), {}), state, Optimizer())
    run.step([{}], 0.1)
    assert run.state().params["unused"].tolist() == [1.0, 1.0]
    assert run.state().params["used"] == pytest.approx(0.9)


def test_one_program_for_each_shape(model, start, make_batch, jax_backend, caplog):
    run = start(jax_backend)
    with caplog.at_level(logging.INFO, "dp_jax"):
        for seed, rows in enumerate((ROWS, ROWS, [6, 4], ROWS)):
            run.step([make_batch(model, rows, SLOTS, seed)], 0.01)
    first, second = (record.message for record in caplog.records)
    assert first.startswith("compiled the training step for rows (5, 4), slots (6, 7) in ")
    assert "rows (6, 4)" in second
    assert second.endswith("; 2 so far")


WORKER = """
import sys
import numpy as np
from dp_core.backend import Optimizer, TrainState, get_backend

def loss(params, batch, gradient):
    error = batch["x"] @ params["w"] - batch["y"]
    return (error**2).sum() + ((params["b"] - 2.5) ** 2).sum(), {}

def batch(seed):
    r = np.random.default_rng(seed)
    return {"x": r.normal(size=(5 + seed % 2, 3)), "y": r.normal(size=5 + seed % 2)}

backend = get_backend("jax")
mode, per_step = sys.argv[1], 4 // backend.world_size
start = 0.1 if backend.rank == 0 else 7.0  # the other processes take over what the first one has
state = TrainState({"w": np.full(3, start), "b": np.full(1, start, np.float32)})
run = backend.training(loss, state, Optimizer())
for step in range(4):
    metrics = run.step([batch(4 * step + per_step * backend.rank + k) for k in range(per_step)], 0.05)
metrics = run.step([batch(17)], 0.05)
run.evaluate(batch(3))
assert backend.world_size == {"processes": 2}.get(mode, 1)
if backend.rank == 0:
    import jax
    np.savez(sys.argv[2], norm=metrics["grad_norm"], devices=jax.device_count(), **run.state().params)
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """``train(mode, environments)`` runs processes that train together and returns what the first one found."""
    folder = tmp_path_factory.mktemp("train")
    script = folder / "train.py"
    script.write_text(WORKER)

    def run(mode, *environments):
        command = [sys.executable, "-W", "error", str(script), mode, str(folder / f"{mode}.npz")]
        common = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started = [subprocess.Popen(command, env=os.environ | env, **common) for env in environments]
        for process in started:
            output, _ = process.communicate()
            assert process.returncode == 0, output
        return dict(np.load(folder / f"{mode}.npz"))

    return run


@pytest.fixture(scope="module")
def one(train):
    return train("one", {})


def same(found, one, devices):
    for key, tolerance in (("w", 1e-13), ("b", 1e-6), ("norm", 1e-7)):
        np.testing.assert_allclose(found[key], one[key], rtol=tolerance)
    assert found["b"].dtype == np.float32
    assert found["devices"] == devices


def test_two_processes_are_one_with_twice_the_batch(train, one):
    common = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    same(train("processes", *({**common, "JAX_PROCESS_ID": str(k)} for k in range(2))), one, 2)


def test_devices_share_the_batches(train, one):
    same(train("devices", {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"}), one, 3)


def test_incomplete_launch(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    with pytest.raises(BackendError, match="JAX_NUM_PROCESSES=2, JAX_PROCESS_ID=: processes that train together need"):
        get_backend.__wrapped__("jax")
