"""Optimizers, accumulation, restart, several processes, the compiled step."""

import os
import subprocess
import sys

import numpy as np
import pytest

from dp_core import arrays
from dp_core.backend import Optimizer, TrainState, get_backend
from dp_core.errors import BackendError
from dp_core.module import trained_leaves
from dp_core.outputs import forces

ROWS, SLOTS = [5, 4], [6, 7]


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
def test_like_numpy(model, start, make_batch, torch_backend, optimizer):
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(3)]
    runs = [start(backend, optimizer) for backend in (torch_backend, get_backend("numpy"))]
    for batch in batches:
        found, expected = (run.step([batch, batches[0]], 0.01) for run in runs)
        assert found == pytest.approx(expected, rel=1e-10)
    state, reference = (run.state() for run in runs)
    assert state.updates == reference.updates == 3
    equal(state.params, reference.params, 1e-10)
    for name in ("first", "second"):
        equal(state.moments[name], reference.moments[name], 1e-9)


def test_restart_is_exact(model, start, make_batch, torch_backend):
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(4)]
    whole, part = start(torch_backend), start(torch_backend)
    for batch in batches:
        expected = whole.step([batch], 0.01)
    for batch in batches[:2]:
        part.step([batch], 0.01)
    rest = start(torch_backend, state=part.state())
    for batch in batches[2:]:
        found = rest.step([batch], 0.01)
    assert found == expected
    assert rest.state().updates == 4
    equal(rest.state().params, whole.state().params)
    equal(rest.state().moments["second"], whole.state().moments["second"])


def test_moments_move_to_another_backend(model, start, make_batch, torch_backend):
    batches = [make_batch(model, ROWS, SLOTS, seed) for seed in range(4)]
    first = start(torch_backend)
    for batch in batches[:2]:
        first.step([batch], 0.01)
    moved = start(get_backend("numpy"), state=first.state())
    for batch in batches[2:]:
        found, expected = moved.step([batch], 0.01), first.step([batch], 0.01)
    assert found == pytest.approx(expected, rel=1e-10)
    equal(moved.state().params, first.state().params, 1e-10)


def test_state_is_a_copy_and_evaluation_changes_nothing(model, start, make_batch, torch_backend):
    batch = make_batch(model, ROWS, SLOTS)
    given = TrainState(trained_leaves(model))
    before = {k: v.copy() for k, v in given.params.items()}
    run = start(torch_backend, state=given)
    evaluated = run.evaluate(batch)
    state = run.state()
    stepped = run.step([batch], 0.01)
    assert evaluated == {k: v for k, v in stepped.items() if k != "grad_norm"}
    equal(state.params, before)
    equal(given.params, before)


def test_unused_parameters(torch_backend):
    state = TrainState({"used": np.ones(3), "unused": np.ones(2)})
    run = torch_backend.training(lambda p, _, __: ((p["used"] ** 2).sum(), {}), state, Optimizer())
    run.step([{}], 0.1)
    assert run.state().params["unused"].tolist() == [1.0, 1.0]
    assert run.state().params["used"] == pytest.approx(0.9)


WORKER = """
import sys
import numpy as np
from dp_core import arrays
from dp_core.backend import Optimizer, TrainState, get_backend

def loss(params, batch, gradient):
    error = batch["x"] @ params["w"] + params["b"] - batch["y"]
    return (error**2).sum(), {}

def batch(seed):
    r = np.random.default_rng(seed)
    return {"x": r.normal(size=(5, 3)), "y": r.normal(size=5)}

backend = get_backend("torch")
several = sys.argv[1] == "several"
start = 0.1 if backend.rank == 0 else 7.0  # the other processes take over what the first one has
state = TrainState({"w": np.full(3, start), "b": np.full(1, start, np.float32)})
run = backend.training(loss, state, Optimizer(max_norm=1.0))
for step in range(4):
    seeds = [2 * step + backend.rank] if several else [2 * step, 2 * step + 1]
    metrics = run.step([batch(s) for s in seeds], 0.05)
if backend.rank == 0:
    np.savez(sys.argv[2], norm=metrics["grad_norm"], **run.state().params)
"""


def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(WORKER.replace('params["b"]', 'params["b"].double()'))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for launcher, mode in ((torchrun, "several"), ([sys.executable], "one")):
        command = [*launcher, str(script), mode, str(tmp_path / f"{mode}.npz")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    several, one = (np.load(tmp_path / f"{mode}.npz") for mode in ("several", "one"))
    for key in ("w", "b", "norm"):
        np.testing.assert_allclose(several[key], one[key], rtol=1e-6 if key == "b" else 1e-13)
    assert several["b"].dtype == np.float32


def pair_loss(params, batch, gradient):
    """A loss of the shape of a potential's, quick to compile: energies of slots, summed over the blocks of rows."""

    def total(vectors):
        x = arrays.safe_norm(vectors, batch.table.neighbor_types >= 0)
        blocks = arrays.split(x, batch.table.row_counts)
        energy = arrays.concat([((b[..., None] * params["w"]) @ params["v"]).tanh().sum(axis=1) for b in blocks])
        return energy.sum(), energy

    energy, g = gradient(total, batch.table.vectors)
    error = forces(g, batch.table.index, batch.force.shape[0]) - batch.force
    return (energy**2).mean() + (error**2).mean(), {"rmse_f": (error**2).mean().sqrt()}


@pytest.mark.slow
def test_compiled_step(model, make_batch, torch_backend):
    """Equal to the eager step, also for sizes that the graph was not made for."""
    batches = [make_batch(model, rows, slots) for rows, slots in (([5, 4], [6, 7]), ([9, 3], [4, 4]), ([4, 9], [8, 2]))]
    random = np.random.default_rng(3)
    state = TrainState({"w": random.normal(size=3), "v": random.normal(size=3)})
    compiled, eager = (torch_backend.training(pair_loss, state, Optimizer(), compiled=c) for c in (True, False))
    for batch in batches:
        assert compiled.step([batch], 0.01) == pytest.approx(eager.step([batch], 0.01), rel=1e-10)
    equal(compiled.state().params, eager.state().params, 1e-10)


def test_compiled_step_without_compiler(torch_backend, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendError, match="enable_compile is true"):
        torch_backend.training(pair_loss, TrainState({"w": np.ones(1)}), Optimizer(), compiled=True)
