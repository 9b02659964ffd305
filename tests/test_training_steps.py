"""What every backend does with a training: the same as NumPy. What is special to a framework is in its package."""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from dp_core.arrays import cast, namespace, safe_norm, shape
from dp_core.backend import Optimizer, TrainState, get_backend
from dp_core.module import trained_leaves
from dp_core.outputs import forces

ROWS, SLOTS = [5, 4], [6, 7]
MOMENTS = ("first", "second")


def pair_loss(params, batch, gradient):
    """A loss of the shape of a potential's, quick to compile: energies of slots, and the errors of their forces."""

    def total(vectors):
        xp = namespace(vectors, params["w"])
        x = safe_norm(vectors, batch.table.neighbor_types >= 0)
        energy = xp.sum(xp.tanh((x[..., None] * params["w"]) @ params["v"]), axis=1)
        return xp.sum(energy), energy

    energy, g = gradient(total, batch.table.vectors)
    error = forces(g, batch.table.index, shape(batch.force)[0]) - batch.force
    xp = namespace(error)
    return xp.mean(energy**2) + xp.mean(error**2), {"rmse_f": xp.sqrt(xp.mean(error**2))}


@pytest.fixture
def start():
    """``start(backend, optimizer, state)`` begins a training."""
    random = np.random.default_rng(3)
    fresh = TrainState({"w": random.normal(size=(1, 3)), "v": random.normal(size=(3, 1))})

    def begin(backend, optimizer=None, state=None):
        return get_backend(backend).training(pair_loss, state or fresh, optimizer or Optimizer())

    return begin


@pytest.fixture
def batches(model, make_batch):
    return [make_batch(model, ROWS, SLOTS, seed) for seed in range(10)]


def equal(a, b, rtol=0.0):
    assert a.keys() == b.keys()
    for key, value in a.items():
        np.testing.assert_allclose(value, b[key], rtol=0, atol=rtol * np.abs(b[key]).max(), err_msg=key)


def same_state(a, b, rtol=0.0):
    assert a.updates == b.updates
    equal(a.params, b.params, rtol)
    for name in MOMENTS:
        equal(a.moments[name], b.moments[name], 10 * rtol)


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
def test_like_numpy(start, batches, backend, optimizer):
    runs = [start(name, optimizer) for name in (backend, "numpy")]
    for batch in batches:
        found, expected = (run.step([batch, batches[0]], 0.01) for run in runs)
        assert found == pytest.approx(expected, rel=1e-10)
    same_state(*(run.state() for run in runs), 1e-10)
    assert runs[0].state().updates == 10


@pytest.mark.slow
def test_a_model_like_numpy(model, loss_of, batches, backend):
    """A whole potential, its energies and forces."""
    runs = [
        library.training(loss_of(model, library), TrainState(trained_leaves(model)), Optimizer())
        for library in map(get_backend, (backend, "numpy"))
    ]
    for batch in batches[:3]:
        found, expected = (run.step([batch], 0.01) for run in runs)
        assert found == pytest.approx(expected, rel=1e-10)
    same_state(*(run.state() for run in runs), 1e-9)


def test_restart_is_exact(start, batches, backend):
    whole, part = start(backend), start(backend)
    for batch in batches[:4]:
        expected = whole.step([batch], 0.01)
    for batch in batches[:2]:
        part.step([batch], 0.01)
    rest = start(backend, state=part.state())
    for batch in batches[2:4]:
        found = rest.step([batch], 0.01)
    assert found == expected
    same_state(rest.state(), whole.state())


def test_moments_move_to_numpy_and_back(start, batches, backend):
    whole, moved = start(backend), start(backend)
    for step, batch in enumerate(batches[:6]):
        if step in (2, 4):
            moved = start("numpy" if step == 2 else backend, state=moved.state())
        assert moved.step([batch], 0.01) == pytest.approx(whole.step([batch], 0.01), rel=1e-10)
    same_state(moved.state(), whole.state(), 1e-10)


def test_state_is_a_copy_and_evaluation_changes_nothing(start, batches, backend):
    # large enough that a framework could use the memory itself
    values = {"w": np.full((1, 64), 0.1), "v": np.full((64, 1), 0.1)}
    given = TrainState(values, {name: {k: np.ones_like(v) for k, v in values.items()} for name in MOMENTS}, 7)
    run = start(backend, state=given)
    evaluated, state = run.evaluate(batches[0]), run.state()
    stepped = run.step([batches[0]], 0.01)
    run.step([batches[1]], 0.01)
    assert evaluated == pytest.approx({k: v for k, v in stepped.items() if k != "grad_norm"}, rel=1e-13)
    for kept in (given, state):
        equal(kept.params, {"w": np.full((1, 64), 0.1), "v": np.full((64, 1), 0.1)})
        assert all((m == 1.0).all() for name in MOMENTS for m in kept.moments[name].values())
    assert run.state().updates == 9
    assert not np.array_equal(run.params()["w"], given.params["w"])


def test_unused_parameters(backend):
    state = TrainState({"used": np.ones(3), "unused": np.ones(2)})
    loss = lambda p, _, __: (namespace(p["used"]).sum(p["used"] ** 2), {})  # noqa: E731
    run = get_backend(backend).training(loss, state, Optimizer())
    run.step([{}], 0.1)
    assert run.state().params["unused"].tolist() == [1.0, 1.0]
    assert run.state().params["used"] == pytest.approx(0.9)


def line_loss(params, batch, gradient):
    if "stop" in batch:
        raise KeyboardInterrupt
    w, b = (cast(params[k], "float64") for k in ("w", "b"))
    xp = namespace(w)
    error = xp.sum(batch["x"] * w, axis=1) - batch["y"]
    return xp.sum(error**2) + xp.sum((b - 2.5) ** 2), {"largest": xp.max(xp.abs(error))}


def line_batch(seed):
    random = np.random.default_rng(seed)
    return {"x": random.normal(size=(5 + seed % 2, 3)), "y": random.normal(size=5 + seed % 2)}


@pytest.mark.parametrize(
    "optimizer", [Optimizer(weight_decay=0.1), Optimizer("AdamW", weight_decay=0.02, max_norm=0.5)]
)
def test_every_parameter_keeps_its_precision(backend, optimizer):
    state = TrainState({"w": np.full(3, 0.1, np.float32), "b": np.zeros(1)})
    found, expected = (get_backend(name).training(line_loss, state, optimizer) for name in (backend, "numpy"))
    for seed in range(5):
        one, other = (run.step([line_batch(seed), line_batch(2)], 0.05) for run in (found, expected))
        assert one == pytest.approx(other, rel=1e-5)
    same_state(found.state(), expected.state(), 1e-5)
    for values in (found.params(), *found.state().moments.values()):
        assert {k: v.dtype.name for k, v in values.items()} == {"w": "float32", "b": "float64"}


@pytest.mark.parametrize("count", [1, 2])
def test_the_norm_is_that_of_double_precision(backend, count):
    """Squares of the gradient exceed single precision here; the clipped gradient does not."""

    def loss(params, batch, gradient):
        return namespace(params["w"]).sum(params["w"] * batch["slope"]), {}

    state = TrainState({"w": np.zeros(3, np.float32)})
    run = get_backend(backend).training(loss, state, Optimizer(max_norm=1.0))
    slope = np.array([1e25, -1e25, 1e5], np.float32)
    metrics = run.step([{"slope": slope}] * count, 0.1)
    assert metrics["grad_norm"] == pytest.approx(np.linalg.norm(slope.astype(np.float64)), rel=1e-12)
    np.testing.assert_allclose(run.params()["w"][:2], [-0.1, 0.1], rtol=1e-5)


def test_a_step_that_is_interrupted_changes_nothing(backend):
    state = TrainState({"w": np.ones(3), "b": np.zeros(1)})
    run, whole = (get_backend(backend).training(line_loss, state, Optimizer()) for _ in range(2))
    for seed in range(2):
        run.step([line_batch(seed)], 0.1)
        before, params = run.state(), {k: v.copy() for k, v in run.params().items()}
        for begun in ([], [line_batch(seed)]):
            with pytest.raises(KeyboardInterrupt):
                run.step([*begun, line_batch(seed) | {"stop": np.ones(1)}], 0.1)
        same_state(run.state(), before)
        equal(run.params(), params)
        whole.step([line_batch(seed)], 0.1)
    same_state(run.state(), whole.state())


WORKER = f"""
import sys
import numpy as np
from dp_core.arrays import cast, namespace
from dp_core.backend import Optimizer, TrainState, get_backend
{inspect.getsource(line_loss)}
{inspect.getsource(line_batch)}
backend, mode = get_backend(sys.argv[1]), sys.argv[2]
assert backend.world_size == (2 if mode == "processes" else 1)
if mode == "devices":
    import jax
    assert jax.device_count() == 3
per_step = 2 // backend.world_size  # the sum of two has no order
start = 0.1 if backend.rank == 0 else 7.0  # the other processes take over what the first one has
state = TrainState({{"w": np.full(3, start), "b": np.full(1, start, np.float32)}})
run = backend.training(line_loss, state, Optimizer())
for step in range(4):
    run.step([line_batch(2 * step + per_step * backend.rank + k) for k in range(per_step)], 0.05)
metrics = run.step([line_batch(17)], 0.05)
run.evaluate(line_batch(3))
if backend.rank == 0:
    np.savez(sys.argv[3], norm=metrics["grad_norm"], **run.state().params)
"""


def free_ports(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def launches(backend, mode, script):
    """Commands to be run together, each with its environment."""
    python = [sys.executable, "-W", "error", *script]
    first, second = free_ports(2)
    if mode == "one":
        return [(python, {})]
    if mode == "devices":
        return [(python, {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"})]
    if backend == "torch":
        return [([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *script], {})]
    if backend == "jax":
        common = {"JAX_COORDINATOR_ADDRESS": f"localhost:{first}", "JAX_NUM_PROCESSES": "2"}
        return [(python, {**common, "JAX_PROCESS_ID": str(k)}) for k in range(2)]
    cluster = {"worker": [f"localhost:{port}" for port in (first, second)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": k}} for k in range(2)]
    return [(python, {"TF_CONFIG": json.dumps(task)}) for task in tasks]


@pytest.mark.slow
def test_processes_and_devices_are_one_with_a_larger_batch(tmp_path, backend):
    """Each has its share of the batches of a step; the third device has none."""
    script, found = tmp_path / "train.py", {}
    script.write_text(WORKER)
    several = {"torch": ["processes"], "jax": ["processes", "devices"], "tensorflow": ["processes"]}
    for mode in ("one", *several.get(backend, [])):
        file = tmp_path / f"{mode}.npz"
        common = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        jobs = [
            subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"} | environment, **common)
            for command, environment in launches(backend, mode, [str(script), backend, mode, str(file)])
        ]
        for job in jobs:
            said, _ = job.communicate()
            assert job.returncode == 0, said
            assert backend != "tensorflow" or said == ""
        found[mode] = np.load(file)
        for key, tolerance in (("w", 1e-13), ("b", 1e-6), ("norm", 1e-7)):
            np.testing.assert_allclose(found[mode][key], found["one"][key], rtol=tolerance)
        assert found[mode]["b"].dtype == np.float32
