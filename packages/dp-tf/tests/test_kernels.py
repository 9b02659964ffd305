"""The kernels of dp-ops as TensorFlow uses them, against automatic differentiation."""

from importlib.util import find_spec

import numpy as np
import pytest
import tensorflow as tf

import dp_tf.primitives  # noqa: F401
from dp_core import frozen
from dp_core.arrays import network
from dp_core.module import leaves, tree_map
from dp_core.nn import FittingNet
from dp_tf import kernels
from dp_tf.autodiff import gradient, of_weights
from dp_tf.freeze import _graph
from dp_tf.graphs import to_tensor

pytestmark = pytest.mark.skipif(find_spec("dp_ops") is None, reason="dp-ops is not installed")


@pytest.fixture(params=["float64", "float32"])
def net(request):
    made = FittingNet.init(6, 2, [5, 5, 10], precision=request.param, seed=1, trainable=[True] * 4)
    return tree_map(tf.constant, made)


def computed(net, x, forces):
    """Value, slope, and the gradients of x and the weights of a loss on both."""
    params = list(leaves(net).values())

    def energy(x):
        y = network(tf.sin(x), net.layers)
        return tf.reduce_sum(y**2), y

    with of_weights(), tf.GradientTape() as tape:
        tape.watch([x, *params])
        scaled = 1.1 * x
        y, slope = gradient(energy, scaled)
        loss = tf.reduce_sum(tf.cos(y)) + forces * tf.reduce_sum(slope**3)
    return y, slope, *tape.gradient(loss, [x, *params], unconnected_gradients="zero")


@pytest.mark.parametrize("forces", [0.0, 1.0])
@pytest.mark.parametrize("eager", [True, False])
def test_network(net, forces, eager, monkeypatch):
    x = tf.constant(np.random.default_rng(2).normal(size=(7, 6)), net.layers[0].w.dtype)
    assert kernels.available()

    def run():
        function = computed if eager else tf.function(computed, autograph=False)
        return function(net, x, tf.constant(forces, x.dtype))

    found = run()
    monkeypatch.setenv("DP_OPS", "0")
    assert not kernels.available()
    rtol = 1e-11 if x.dtype == tf.float64 else 1e-4
    for a, b in zip(found, run(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1.0, np.abs(b).max()))


def test_wrong_weights_are_refused(net):
    from dp_ops import tensorflow as native

    x = tf.zeros((3, 5), net.layers[0].w.dtype)
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not fit the network"):
        native.network(net.layers, x, pulls=lambda: False)


def test_frozen_graphs_have_none(stored):
    model = stored("se_e2_a_oneside")
    graph = _graph(tree_map(to_tensor, model), frozen.capabilities(model))
    assert not [node.op for node in graph.node if node.op.startswith("Dp")]
