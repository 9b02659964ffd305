"""The compiled step. What every backend does with a training is in ``tests/test_training_steps.py``."""

import numpy as np
import pytest

from dp_core import arrays
from dp_core.backend import Optimizer, TrainState
from dp_core.errors import BackendError
from dp_core.outputs import forces


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
    for key, value in eager.params().items():
        np.testing.assert_allclose(compiled.params()[key], value, rtol=1e-10, err_msg=key)


def test_compiled_step_without_compiler(torch_backend, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendError, match="enable_compile is true"):
        torch_backend.training(pair_loss, TrainState({"w": np.ones(1)}), Optimizer(), compiled=True)
