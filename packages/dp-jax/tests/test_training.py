"""Compilations, failures of compiled steps, launching. The rest is in ``tests/test_training_steps.py``."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dp_core.backend import Optimizer, TrainState, get_backend
from dp_core.errors import BackendError
from dp_core.module import replace

ROWS, SLOTS = [5, 4], [6, 7]


def loss(params, batch, gradient):
    energy = jnp.sum(batch.table.vectors * params["w"])
    return energy**2 + jnp.mean(batch.force**2), {"energy": energy}


@pytest.fixture
def run(jax_backend):
    return jax_backend.training(loss, TrainState({"w": np.ones(3)}), Optimizer())


def test_one_program_for_each_shape(model, run, make_batch, caplog):
    with caplog.at_level(logging.INFO, "dp_jax"):
        for seed, rows in enumerate((ROWS, ROWS, [6, 4], ROWS)):
            run.step([make_batch(model, rows, SLOTS, seed)], 0.01)
    first, second = (record.message for record in caplog.records)
    assert first.startswith("compiled the training step for rows (5, 4), slots (6, 7) in ")
    assert "rows (6, 4)" in second
    assert second.endswith("; 2 so far")


@pytest.mark.parametrize("count", [1, 2])
def test_a_step_that_fails_while_it_runs_changes_nothing(model, run, make_batch, count):
    """JAX says so after all has been computed: what was given to it must still be there."""
    good = make_batch(model, ROWS, SLOTS)
    run.step([good] * count, 0.01)
    before = run.state()
    bad = replace(good, force=np.full_like(good.force, np.nan))
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        run.step([bad] * count, 0.01)
    state = run.state()
    assert state.updates == before.updates == 1
    for found, expected in ((state.params, before.params), (state.moments["first"], before.moments["first"])):
        np.testing.assert_array_equal(found["w"], expected["w"])
    assert np.isfinite(run.step([good] * count, 0.01)["loss"])


def test_incomplete_launch(monkeypatch):
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    with pytest.raises(BackendError, match="JAX_NUM_PROCESSES=2, JAX_PROCESS_ID=: processes that train together need"):
        get_backend.__wrapped__("jax")
