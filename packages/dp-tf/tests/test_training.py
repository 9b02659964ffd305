"""Optimizers, accumulation, restart, several processes, the compiled step."""

import inspect
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from dp_core import arrays
from dp_core.backend import Optimizer, TrainState, get_backend
from dp_core.module import trained_leaves
from dp_core.neighbors import Neighborhood
from dp_core.training.batch import TrainingBatch

ROWS, SLOTS = [5, 4], [6, 7]
MOMENTS = ("first", "second")


@pytest.fixture
def start(model, loss_of):
    """``start(backend, optimizer, state)`` begins a training."""

    def begin(backend, optimizer=None, state=None, **options):
        state = state or TrainState(trained_leaves(model))
        return backend.training(loss_of(model, backend), state, optimizer or Optimizer(), **options)

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
def test_like_numpy(model, start, make_batch, tf_backend, optimizer):
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(10)]
    runs = [start(backend, optimizer) for backend in (tf_backend, get_backend("numpy"))]
    for batch in batches:
        found, expected = (run.step([batch, batches[0]], 0.01) for run in runs)
        assert found == pytest.approx(expected, rel=1e-10)
    state, reference = (run.state() for run in runs)
    assert state.updates == reference.updates == 10
    equal(state.params, reference.params, 1e-10)
    for name in ("first", "second"):
        equal(state.moments[name], reference.moments[name], 1e-9)


def test_restart_is_exact(model, start, make_batch, tf_backend):
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(4)]
    whole, part = start(tf_backend), start(tf_backend)
    for batch in batches:
        expected = whole.step([batch], 0.01)
    for batch in batches[:2]:
        part.step([batch], 0.01)
    rest = start(tf_backend, state=part.state())
    for batch in batches[2:]:
        found = rest.step([batch], 0.01)
    assert found == expected
    assert rest.state().updates == 4
    equal(rest.state().params, whole.state().params)
    equal(rest.state().moments["second"], whole.state().moments["second"])


def test_moments_move_to_another_backend(model, start, make_batch, tf_backend):
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(4)]
    first = start(tf_backend)
    for batch in batches[:2]:
        first.step([batch], 0.01)
    moved = start(get_backend("numpy"), state=first.state())
    for batch in batches[2:]:
        found, expected = moved.step([batch], 0.01), first.step([batch], 0.01)
    assert found == pytest.approx(expected, rel=1e-10)
    equal(moved.state().params, first.state().params, 1e-10)


def test_state_is_a_copy_and_evaluation_changes_nothing(model, start, make_batch, tf_backend):
    batch = make_batch(model, ROWS, SLOTS)
    given = TrainState(trained_leaves(model))
    before = {k: v.copy() for k, v in given.params.items()}
    run = start(tf_backend, state=given)
    evaluated = run.evaluate(batch)
    state = run.state()
    stepped = run.step([batch], 0.01)
    assert evaluated == {k: v for k, v in stepped.items() if k != "grad_norm"}
    equal(state.params, before)
    equal(given.params, before)


def test_unused_parameters(tf_backend):
    state = TrainState({"used": np.ones(3), "unused": np.ones(2)})
    run = tf_backend.training(lambda p, _, __: (tf.reduce_sum(p["used"] ** 2), {}), state, Optimizer())
    run.step([{}], 0.1)
    assert run.state().params["unused"].tolist() == [1.0, 1.0]
    assert run.state().params["used"] == pytest.approx(0.9)


def line_loss(params, batch, gradient):
    w, b = (arrays.cast(params[k], "float64") for k in ("w", "b"))
    xp = arrays.namespace(w)
    error = xp.sum(batch["x"] * w, axis=1) + b - batch["y"]
    return xp.sum(error**2), {"largest": xp.max(xp.abs(error))}


def line_batch(seed, n=5):
    random = np.random.default_rng(seed)
    return {"x": random.normal(size=(n, 3)), "y": random.normal(size=n)}


@pytest.mark.parametrize("optimizer", [Optimizer(), Optimizer("AdamW", weight_decay=0.02, max_norm=0.5)])
def test_single_precision_stays_single(tf_backend, optimizer):
    state = TrainState({"w": np.full(3, 0.1, np.float32), "b": np.zeros(1)})
    found, expected = (b.training(line_loss, state, optimizer) for b in (tf_backend, get_backend("numpy")))
    for seed in range(5):
        runs = [run.step([line_batch(seed, n=3 + seed)], 0.05) for run in (found, expected)]
        assert runs[0] == pytest.approx(runs[1], rel=1e-5)
    state, reference = found.state(), expected.state()
    assert {k: v.dtype for k, v in state.params.items()} == {k: v.dtype for k, v in reference.params.items()}
    equal(state.params, reference.params, 1e-5)
    equal(state.moments["second"], reference.moments["second"], 1e-4)
    assert state.moments["first"]["w"].dtype == np.float32


def test_given_arrays_are_not_changed(tf_backend):
    given = TrainState({"w": np.ones(3), "b": np.zeros(1)}, {n: {"w": np.ones(3), "b": np.ones(1)} for n in MOMENTS}, 7)
    run = tf_backend.training(line_loss, given, Optimizer())
    params = run.params()
    before = {k: v.copy() for k, v in params.items()}
    run.step([line_batch(0)], 0.1)
    assert given.params["w"].tolist() == given.moments["first"]["w"].tolist() == [1.0] * 3
    equal(params, before)
    assert run.state().updates == 8


def test_batches_of_any_number_of_frames(tf_backend):
    """The number of frames is open as well: one graph."""
    made = []

    def loss(params, batch, gradient):
        made.append(batch.nframes)
        energy = arrays.segment_sum(params["w"][0] * batch.table.vectors[:, :, 0], batch.table.frame, batch.nframes)
        return tf.reduce_sum(energy**2), {"frames": tf.cast(tf.shape(energy)[0], tf.float64)}

    run = tf_backend.training(loss, TrainState({"w": np.ones(1)}), Optimizer())
    for frames in (2, 3, 1):
        table = Neighborhood(
            vectors=np.ones((6, 4, 3)), index=np.zeros((6, 4), int), types=np.zeros(6, int),
            neighbor_types=np.zeros((6, 4), int), frame=np.arange(6) % frames, fparam=None, aparam=None,
            row_counts=(6,), slot_counts=(4,),
        )  # fmt: skip
        batch = TrainingBatch(table, {}, {}, {}, None, frames, 0)
        assert run.step([batch], 0.1)["frames"] == frames
    assert len(made) == 1


def test_compiled_step(model, start, make_batch, tf_backend):
    """By XLA, for more than one size."""
    runs = [start(tf_backend, compiled=compiled) for compiled in (True, False)]
    for rows, slots in ((ROWS, SLOTS), ([3, 2], [4, 4])):
        found, expected = (run.step([make_batch(model, rows, slots)], 0.01) for run in runs)
        assert found == pytest.approx(expected, rel=1e-10)
    equal(runs[0].state().params, runs[1].state().params, 1e-10)


WORKER = """
import sys
import numpy as np
from dp_core import arrays
from dp_core.backend import Optimizer, TrainState, get_backend

LOSS

backend = get_backend("tensorflow")
several = sys.argv[1] == "several"
assert backend.world_size == (2 if several else 1)
start = 0.1 if backend.rank == 0 else 7.0  # the other processes take over what the first one has
state = TrainState({"w": np.full(3, start), "b": np.full(1, start, np.float32)})
run = backend.training(line_loss, state, Optimizer(max_norm=1.0))
for step in range(4):
    seeds = [2 * step + backend.rank] if several else [2 * step, 2 * step + 1]
    metrics = run.step([line_batch(s, n=5 + s) for s in seeds], 0.05)
if backend.rank == 0:
    np.savez(sys.argv[2], norm=metrics["grad_norm"], **run.state().params)
"""


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(WORKER.replace("LOSS", inspect.getsource(line_loss) + "\n\n" + inspect.getsource(line_batch)))
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    jobs = []
    for mode, index in (("several", 0), ("several", 1), ("one", None)):
        config = {} if index is None else {"cluster": cluster, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TF_CONFIG": json.dumps(config)}
        command = [sys.executable, str(script), mode, str(tmp_path / f"{mode}.npz")]
        jobs.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    done = [(job.communicate()[1], job.returncode) for job in jobs]
    for said, status in done:
        assert status == 0, said
        assert said == ""
    several, one = (np.load(tmp_path / f"{mode}.npz") for mode in ("several", "one"))
    for key in ("w", "b", "norm"):
        np.testing.assert_allclose(several[key], one[key], rtol=1e-6 if key == "b" else 1e-13)
    assert several["b"].dtype == np.float32
