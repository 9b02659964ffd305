"""One graph for all sizes, the compiled step. The rest is in ``tests/test_training_steps.py``."""

import numpy as np
import pytest
import tensorflow as tf

from dp_core import arrays
from dp_core.backend import Optimizer, TrainState
from dp_core.module import trained_leaves
from dp_core.neighbors import Neighborhood
from dp_core.training.batch import TrainingBatch


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


def test_compiled_step(model, loss_of, make_batch, tf_backend):
    """By XLA, for more than one size."""
    loss, state = loss_of(model, tf_backend), TrainState(trained_leaves(model))
    runs = [tf_backend.training(loss, state, Optimizer(), compiled=compiled) for compiled in (True, False)]
    for rows, slots in (([5, 4], [6, 7]), ([3, 2], [4, 4])):
        found, expected = (run.step([make_batch(model, rows, slots)], 0.01) for run in runs)
        assert found == pytest.approx(expected, rel=1e-10)
    for key, value in runs[1].params().items():
        np.testing.assert_allclose(runs[0].params()[key], value, rtol=0, atol=1e-10 * np.abs(value).max(), err_msg=key)
