"""The kernels of dp-ops as JAX uses them, against automatic differentiation; in the environment of all backends."""

from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dp_core import frozen
from dp_core.arrays import embedding_sum, network, table_sum
from dp_core.compression import compress
from dp_core.kernels import one_more_gradient
from dp_core.module import leaves, tree_map, with_leaves
from dp_core.nn import EmbeddingNet, FittingNet
from dp_core.nn.attention import NeighborAttention
from dp_core.nn.table import Grid, Table
from dp_jax import kernels
from dp_jax.backend import JaxBackend
from dp_jax.freeze import exported
from dp_jax.namespace import gradient

pytestmark = [
    pytest.mark.crossing,
    pytest.mark.skipif(find_spec("dp_ops") is None, reason="dp-ops is not installed"),
]

EMBEDDING = {"embedding_sum", "embedding_slope"}
NETWORK = {"network_value", "network_slope"}
ATTENTION = {"attention_value", "attention_slope"}
TRAINING = {"embedding_transposed_slope", "embedding_gradients", "network_tangent", "network_gradients"}


@pytest.fixture(autouse=True)
def used(jax_backend, monkeypatch):
    """The names of the kernels that are used."""
    from dp_ops import jax as native

    names, target = set(), native._target

    def recorded(name):
        names.add(name)
        return target(name)

    monkeypatch.setattr(native, "_target", recorded)
    return names


def agree(found, expected, rtol):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1.0, np.abs(b).max(initial=0)))


#: The kinds of the slots of ``matrix``, where these have kinds.
KINDS = np.random.default_rng(5).integers(0, 3, (7, 11))


@pytest.fixture(params=["float64", "float32", "float64 kinds", "float32 kinds"])
def networks(request):
    """An embedding and a fitting network; with kinds, the first takes a row for each of three kinds too."""
    precision, *kinds = request.param.split()
    fitting = FittingNet.init(40, 2, [5, 5, 10], precision=precision, seed=2, trainable=[True] * 4)
    embedding = EmbeddingNet.init(4 if kinds else 1, [5, 10, 20], precision=precision, seed=1)
    made = {"embedding": embedding, "fitting": fitting}
    if kinds:
        made["kinds"] = np.random.default_rng(6).normal(size=(3, 3)).astype(precision)
    return tree_map(jnp.asarray, made)


@pytest.fixture
def matrix(networks):
    """R of seven rows with eleven slots, some of them empty."""
    random = np.random.default_rng(3)
    made = random.normal(size=(7, 11, 4))
    made[random.random((7, 11)) < 0.3] = 0
    return jnp.asarray(made, networks["fitting"].layers[0].w.dtype)


def energies(networks, x):
    net, given = networks["embedding"], ()
    if "kinds" in networks:
        net, shift = net.of_number(networks["kinds"])
        given = shift, jnp.asarray(KINDS)
    found = embedding_sum(1.1 * x, net, *given)
    rows = jnp.matrix_transpose(found)[:, :, :2].reshape(len(x), -1)
    return network(jnp.sin(rows), networks["fitting"].layers)


def computed(networks, matrix, params, *, forces):
    """A loss, its terms, and its gradients by the weights."""

    def loss(params):
        net = with_leaves(networks, params)
        if not forces:
            y = energies(net, matrix)
            return jnp.sum(jnp.cos(y)), y

        def energy(x):
            y = energies(net, x)
            return jnp.sum(y**2), y

        y, slope = gradient(energy, matrix)
        slope = jnp.where(matrix != 0, slope, 0)  # that of empty slots is not used
        return jnp.sum(jnp.cos(y)) + jnp.sum(slope**3), (y, slope)

    with kernels.in_use(trains=True):
        return jax.value_and_grad(loss, has_aux=True)(params)


@pytest.mark.parametrize("forces", [True, False])
def test_training(networks, matrix, forces, used, monkeypatch):
    params = leaves(networks)
    function = jax.jit(partial(computed, networks, matrix, forces=forces))
    found = function(params)
    assert used >= (EMBEDDING | NETWORK | TRAINING if forces else {"embedding_gradients", "network_gradients"})
    double = matrix.dtype == jnp.float64
    if double:
        random, h = np.random.default_rng(4), 1e-6
        along = {k: random.normal(size=v.shape) for k, v in params.items()}
        plus, minus = (function({k: v + s * h * along[k] for k, v in params.items()})[0][0] for s in (1, -1))
        slope = sum(float(jnp.sum(g * along[k])) for k, g in found[1].items())
        assert (plus - minus) / (2 * h) == pytest.approx(slope, rel=1e-7, abs=1e-7)
    used.clear()
    monkeypatch.setenv("DP_OPS", "0")
    expected = jax.jit(partial(computed, networks, matrix, forces=forces))(params)
    agree(found, expected, 1e-12 if double else 1e-4)
    assert not used


@pytest.mark.parametrize("networks", ["float64"], indirect=True)
def test_slopes_of_one_value(networks, matrix):
    """Weights get the gradients of one slope; of two, which cannot be told apart, none that seem right."""
    layers, params = networks["fitting"].layers, leaves(networks["fitting"].layers)
    x = matrix.reshape(7, -1)[:, :40]

    def loss(params, count):
        with kernels.in_use(trains=True), one_more_gradient():
            y, pull = jax.vjp(lambda x: network(x, with_leaves(layers, params)), x)
        return sum(jnp.sum(pull(y * (k + 1))[0] ** 2) for k in range(count))

    one, two = (jax.jit(jax.grad(partial(loss, count=count)))(params) for count in (1, 2))
    assert all(np.isfinite(g).all() for g in one.values())
    assert all(np.isnan(g).all() for g in two.values())


def attention_of(precision, layers=2, **changed):
    """Attention among features of width 9."""
    settings = {
        "dotr": True, "smooth": False, "scaling_factor": 1.0, "normalize": True, "temperature": None,
        "trainable_ln": True, "ln_eps": 1e-5, "precision": str(precision), "seed": 1,
    } | changed  # fmt: skip
    return NeighborAttention.init(layers, 12, 9, 7, **settings)


@pytest.mark.parametrize(
    ("changed", "precision", "forces"),
    [
        ({}, "float64", True),
        ({"smooth": True, "dotr": False}, "float64", True),
        ({"smooth": True, "normalize": False}, "float64", False),
        ({"smooth": True}, "float32", True),
    ],
)
def test_attention(changed, precision, forces, used, monkeypatch):
    random = np.random.default_rng(4)

    def numbers(*shape):
        return jnp.asarray(random.normal(size=shape), precision)

    made = tree_map(lambda x: x + 0.1 * numbers(*x.shape), attention_of(precision, **changed))
    g, sides, valid = numbers(6, 11, 9), numbers(6, 11, 4), random.random((6, 11, 1)) < 0.7
    valid[3], valid[5] = False, True  # no neighbours, and all
    valid = jnp.asarray(valid, precision)

    def loss(given, params, sides):
        made_now = with_leaves(made, params)

        def energy(x):
            y = made_now(given * jnp.cos(x[..., :1]), x[..., :3], jax.nn.sigmoid(x[..., 3:]), valid) * valid
            return jnp.sum(jnp.sin(0.3 * y)), y

        y, slope = gradient(energy, sides) if forces else (energy(sides)[1], jnp.zeros(1))
        return jnp.sum(y**2) + jnp.sum((slope * valid) ** 2), (y, slope * valid)

    def run(*given):
        with kernels.in_use(trains=True):
            return jax.value_and_grad(loss, argnums=(0, 1) if forces else (0, 1, 2), has_aux=True)(*given)

    given = g, leaves(made), sides
    found = jax.jit(run)(*given)
    assert used == ATTENTION | {"attention_gradients"} | ({"attention_tangent"} if forces else set())
    used.clear()
    monkeypatch.setenv("DP_OPS", "0")
    agree(found, jax.jit(lambda *given: run(*given))(*given), 1e-11 if precision == "float64" else 1e-3)
    assert not used


@pytest.mark.parametrize(
    ("angular", "components", "gated", "dtype"),
    [
        (False, 4, None, "float64"),
        (True, 1, "types", "float64"),
        (True, 4, "switch", "float64"),
        (False, 4, "switch", "float32"),
    ],
)
def test_table_sum(angular, components, gated, dtype, used, monkeypatch):
    random = np.random.default_rng(3)
    grid = Grid(-1.0, 1.0, 3.0, 0.02, 0.2, -1.0, angular)
    table = tree_map(jnp.asarray, Table.of_network(EmbeddingNet.init(1, [5, 10], seed=1), grid, dtype))
    matrix = random.normal(0, 2, (7, 11, components)).astype(dtype)
    matrix[random.random((7, 11)) < 0.3] = 0
    types = jnp.asarray(random.normal(size=(4, 10)), dtype) if gated else None
    index = jnp.asarray(random.integers(0, 4, (7, 11))) if gated else None
    given = [jnp.asarray(matrix)] + ([jnp.asarray(random.random((7, 11, 1)), dtype)] if gated == "switch" else [])
    filled = np.any(matrix != 0, axis=2, keepdims=True)

    def energy(given):
        y = table_sum(given[0], table, types, index, given[1] if gated == "switch" else None)
        return jnp.sum(jnp.sin(y)), y

    def run(given):
        with kernels.in_use(trains=False):
            y, slopes = gradient(energy, given)
        return y, [slope * filled for slope in slopes]

    found = jax.jit(run)(given)
    assert used == {"table_sum", "table_slope"}
    used.clear()
    monkeypatch.setenv("DP_OPS", "0")
    agree(found, jax.jit(lambda given: run(given))(given), 1e-12 if dtype == "float64" else 1e-4)
    assert not used


def test_further_derivatives_and_other_functions_are_left_to_array_code(networks, matrix, used):
    def energy(x):
        return jnp.sum(energies(networks, x) ** 2), None

    def of_slope(x):
        return jnp.sum(gradient(energy, x)[1] ** 2), None

    with kernels.in_use(trains=False):
        jax.eval_shape(lambda x: gradient(of_slope, x), matrix)
    jax.eval_shape(lambda x: gradient(energy, x), matrix)
    assert not used


def test_what_does_not_fit_is_refused(networks, used):
    from dp_ops import jax as native

    x = jnp.zeros((3, 5), networks["fitting"].layers[0].w.dtype)
    with pytest.raises(jax.errors.JaxRuntimeError, match="x does not fit the network"):
        native.network(networks["fitting"].layers, x, forces=False)
    (layer,) = tree_map(jnp.asarray, attention_of(x.dtype, layers=1)).layers
    g, one = jnp.zeros((3, 5, 8), x.dtype), jnp.ones((3, 5, 1), x.dtype)
    with pytest.raises(jax.errors.JaxRuntimeError, match="g does not fit the attention"):
        native.attention(layer, [g, one, one], one, one[:, :1], forces=False)
    scaled = replace(layer, out_proj=replace(layer.out_proj, idt=jnp.ones(9, x.dtype)))
    g = jnp.zeros((3, 5, 9), x.dtype)
    with pytest.raises(jax.errors.JaxRuntimeError, match="the layers of an attention have no idt"):
        native.attention(scaled, [g, one, one], one, one[:, :1], forces=False)


def shortened(model):
    return compress(model, min_nbor_dist=1.0)


@pytest.mark.parametrize(
    ("name", "changed", "kernels_of_it"),
    [
        ("se_e2_a_twoside", None, EMBEDDING | NETWORK),
        ("ener_fparam_aparam", None, EMBEDDING | NETWORK),
        ("se_e2_a_oneside", shortened, {"table_sum", "table_slope"} | NETWORK),
        ("dpa1_strip_oneside", shortened, {"table_sum", "table_slope"} | NETWORK),
        ("se_atten_v2", None, ATTENTION | NETWORK),
    ],
)
def test_evaluation(name, changed, kernels_of_it, stored, make_table, used, monkeypatch):
    model = stored(name) if changed is None else changed(stored(name))
    blocks = model.neighbor_spec.blocks, model.neighbor_spec.slot_blocks
    table = make_table(model, [5, 3, 4, 2][: blocks[0]], [6, 9, 2, 3][: blocks[1]], frames=3)
    found = JaxBackend().evaluator(model)(table)
    assert used == kernels_of_it
    monkeypatch.setenv("DP_OPS", "0")
    agree(found, JaxBackend().evaluator(model)(table), 1e-12)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("se_e2_a_oneside", lambda model: model),
        ("se_e2_a_oneside", shortened),
        ("se_atten_v2", lambda model: model),
    ],
)
def test_exported_graphs_have_none(name, stored, changed, used):
    model = tree_map(jnp.asarray, changed(stored(name)))
    record = frozen.capabilities(model)
    graph = exported(model, frozen.graph_inputs(frozen.sample_table(model), record), record)
    assert "custom_call" not in graph.mlir_module().replace("stablehlo.custom_call @shape_assertion", "")
    assert not used
