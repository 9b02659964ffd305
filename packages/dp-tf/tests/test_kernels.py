"""The kernels of dp-ops as TensorFlow uses them, against automatic differentiation."""

from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import tensorflow as tf

import dp_tf.primitives  # noqa: F401
from dp_core import frozen
from dp_core.arrays import embedding_sum, network, table_sum
from dp_core.compression import compress
from dp_core.module import leaves, tree_map, with_leaves
from dp_core.nn import EmbeddingNet, FittingNet
from dp_core.nn.attention import NeighborAttention
from dp_core.nn.table import Grid, Table
from dp_tf import kernels, primitives
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


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("eager", [True, False])
def test_slots_of_several_kinds(eager, precision, monkeypatch):
    random = np.random.default_rng(3)
    net = tree_map(tf.constant, EmbeddingNet.init(4, [5, 10, 20], resnet_dt=True, precision=precision, seed=1))
    matrix = random.normal(size=(7, 11, 4)).astype(precision)
    matrix[random.random((7, 11)) < 0.3] = 0
    types, kind = tf.constant(random.normal(size=(3, 3)), precision), tf.constant(random.integers(0, 3, (7, 11)))
    params = [types, *leaves(net).values()]

    def run(x):
        with of_weights(), tf.GradientTape() as tape:
            tape.watch(params)
            alone, shift = net.of_number(types)

            def energy(r):
                a = embedding_sum(r, alone, shift, kind)
                return tf.reduce_sum(tf.sin(0.01 * a @ tf.linalg.matrix_transpose(a))), a

            a, slope = gradient(energy, x)
            slope = tf.where(x == 0, tf.zeros_like(x), slope)  # that of empty slots is not used
            loss = tf.reduce_sum(tf.cos(a)) + tf.reduce_sum(slope**2)
        return a, slope, *tape.gradient(loss, params)

    function = run if eager else tf.function(run, autograph=False)
    found = function(tf.constant(matrix))
    monkeypatch.setenv("DP_OPS", "0")
    function = run if eager else tf.function(run, autograph=False)
    rtol = 1e-11 if precision == "float64" else 1e-4
    for a, b in zip(found, function(tf.constant(matrix)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1.0, np.abs(b).max()))


ATTENTIONS = {
    "as by default": {},
    "smooth": {"smooth": True},
    "smooth without angles": {"smooth": True, "dotr": False},
    "of any length": {"normalize": False, "scaling_factor": 0.1},
}


def attention_of(precision, layers=2, **changed):
    """Attention among features of width 9."""
    settings = {
        "dotr": True, "smooth": False, "scaling_factor": 1.0, "normalize": True, "temperature": None,
        "trainable_ln": True, "ln_eps": 1e-5, "precision": precision, "seed": 1,
    } | changed  # fmt: skip
    return NeighborAttention.init(layers, 12, 9, 7, **settings)


@pytest.mark.parametrize(
    ("form", "precision", "eager"),
    [
        *((form, "float64", True) for form in ATTENTIONS),
        ("smooth", "float32", True),
        ("as by default", "float64", False),
    ],
)
def test_attention(form, precision, eager, monkeypatch):
    random = np.random.default_rng(4)

    def numbers(*shape):
        return tf.constant(random.normal(size=shape), precision)

    made = attention_of(precision, **ATTENTIONS[form])
    made = tree_map(lambda x: tf.constant(x) + 0.1 * numbers(*x.shape), made)
    g, sides, valid = numbers(6, 11, 9), numbers(6, 11, 4), random.random((6, 11, 1)) < 0.7
    valid[3], valid[5] = False, True  # no neighbours, and all
    valid, called = tf.constant(valid, precision), []

    def run(g, sides, params):
        with of_weights(), tf.GradientTape() as tape:
            tape.watch([g, *params])
            now = with_leaves(made, dict(zip(leaves(made), params, strict=True)))

            def energy(x):
                y = now(g * tf.cos(x[..., :1]), x[..., :3], tf.sigmoid(x[..., 3:]), valid) * valid
                return tf.reduce_sum(tf.sin(0.3 * y)), y

            y, slope = gradient(energy, sides)
            loss = tf.reduce_sum(y**2) + tf.reduce_sum((slope * valid) ** 2)
        return y, slope * valid, *tape.gradient(loss, [g, *params])

    def computed():
        return (run if eager else tf.function(run, autograph=False))(g, sides, list(leaves(made).values()))

    from dp_ops import tensorflow as native

    attention = native.attention
    monkeypatch.setattr(native, "attention", lambda *given, **more: called.append(1) or attention(*given, **more))
    found = computed()
    assert len(called) == 2
    monkeypatch.setenv("DP_OPS", "0")
    rtol = 1e-11 if precision == "float64" else 1e-3
    for a, b in zip(found, computed(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1.0, np.abs(b).max()))
    assert len(called) == 2


def summed(table, matrix, types, index, switch):
    """The sum and its gradients by the matrix and the switch, but for empty slots."""
    size = tf.size(matrix)

    def energy(x):
        by = None if switch is None else tf.reshape(x[size:], tf.shape(switch))
        y = table_sum(tf.reshape(x[:size], tf.shape(matrix)), table, types, index, by)
        return tf.reduce_sum(tf.sin(y)), y

    parts = [matrix] if switch is None else [matrix, switch]
    y, slope = gradient(energy, tf.concat([tf.reshape(x, (-1,)) for x in parts], 0))
    used = np.any(matrix != 0, axis=2)
    of_matrix, of_switch = np.split(slope, [size])
    return y, np.reshape(of_matrix, matrix.shape) * used[..., None], of_switch * used.ravel()[: len(of_switch)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("gated", [None, "types", "switch"])
@pytest.mark.parametrize("components", [1, 4])
@pytest.mark.parametrize("angular", [False, True])
def test_table_sum(angular, components, gated, dtype, monkeypatch):
    random = np.random.default_rng(3)
    grid = Grid(-1.0, 1.0, 3.0, 0.02, 0.2, -1.0, angular)
    table = tree_map(tf.constant, Table.of_network(EmbeddingNet.init(1, [5, 10], seed=1), grid, dtype))
    matrix = random.normal(0, 2, (7, 11, components)).astype(dtype)
    matrix[random.random((7, 11)) < 0.3] = 0
    types = random.normal(size=(4, 10)).astype(dtype) if gated else None
    index = random.integers(0, 4, (7, 11)) if gated else None
    switch = random.random((7, 11, 1)).astype(dtype) if gated == "switch" else None
    given = [None if x is None else tf.constant(x) for x in (matrix, types, index, switch)]
    assert primitives.table_sum(given[0], table, *given[1:]) is not None
    found = summed(table, *given)
    monkeypatch.setenv("DP_OPS", "0")
    assert primitives.table_sum(given[0], table, *given[1:]) is None
    rtol = 1e-12 if dtype == "float64" else 1e-4
    for a, b in zip(found, summed(table, *given), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1.0, np.abs(b).max(initial=0)))


def test_further_derivatives_of_tables_and_attention_are_left_to_array_code():
    table = Table.of_network(EmbeddingNet.init(1, [5, 10], seed=1), Grid(-1.0, 1.0, 3.0, 0.02, 0.2, -1.0), "float64")
    table, x = tree_map(tf.constant, table), tf.constant(np.random.default_rng(3).normal(size=(3, 5, 4)))
    seen = []

    def energy(x):
        seen.append(primitives.table_sum(x, table, None, None, None))
        seen.append(primitives.attention(x, None, x[..., :1], x[..., :1], x[:, :1, :1], ()))
        return tf.reduce_sum(table_sum(x, table) ** 2), None

    _, second = gradient(lambda x: (tf.reduce_sum(gradient(energy, x)[1] ** 2), None), x)
    assert seen == [None, None]
    assert np.isfinite(second).all()


def test_wrong_tables_are_refused():
    from dp_ops import tensorflow as native

    table = Table.of_network(EmbeddingNet.init(1, [5, 10], seed=1), Grid(-1.0, 1.0, 3.0, 0.02, 0.2, -1.0), "float64")
    x, gates, index = tf.zeros((2, 3, 4), tf.float64), tf.zeros((2, 9), tf.float64), tf.zeros((2, 3), tf.int64)
    with pytest.raises(tf.errors.InvalidArgumentError, match="gates do not fit"):
        native.table_sum(tree_map(tf.constant, table), x, gates, index, None)


def test_wrong_weights_are_refused(net):
    from dp_ops import tensorflow as native

    x = tf.zeros((3, 5), net.layers[0].w.dtype)
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not fit the network"):
        native.network(net.layers, x, pulls=lambda: False)
    (layer,) = tree_map(tf.constant, attention_of(x.dtype.name, layers=1)).layers
    g, one = tf.zeros((3, 5, 8), x.dtype), tf.ones((3, 5, 1), x.dtype)
    with pytest.raises(tf.errors.InvalidArgumentError, match="g does not fit the attention"):
        native.attention(layer, [g, one, one], one, one[:, :1], pulls=lambda: False)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("se_e2_a_oneside", lambda model: model),
        ("se_e2_a_oneside", partial(compress, min_nbor_dist=1.0)),
        ("se_atten_v2", lambda model: model),
    ],
)
def test_frozen_graphs_have_none(name, stored, changed):
    model = changed(stored(name))
    graph = _graph(tree_map(to_tensor, model), frozen.capabilities(model))
    assert not [node.op for node in graph.node if node.op.startswith("Dp")]
