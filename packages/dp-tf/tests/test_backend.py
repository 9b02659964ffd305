"""TensorFlow against NumPy, gradients in gradients, conversion of arrays, devices, threads, silence."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dp_core import arrays
from dp_core.backend import get_backend
from dp_core.errors import BackendError
from dp_core.module import leaves, replace, tree_map
from dp_core.nn import Layer
from dp_core.numpy_backend import gradient as numpy_gradient
from dp_core.outputs import hessian
from dp_tf import embedding
from dp_tf.autodiff import gradient, of_weights
from dp_tf.graphs import Graph

MODELS = [
    "se_e2_a_oneside", "se_e2_a_twoside", "se_e2_a_exclude_twoside", "act_gelu", "act_softplus_sigmoid",
    "ener_fparam_aparam", "ener_atom_ener", "atom_exclude",
]  # fmt: skip
SIZES = [([5, 3, 4, 2], [6, 9, 2, 3]), ([0, 4, 1, 2], [5, 0, 2, 2]), ([1, 0, 0, 0], [0, 0, 0, 0])]


@pytest.mark.parametrize("name", MODELS)
def test_like_numpy(stored, make_table, tf_backend, name):
    """One graph for all sizes, none included."""
    model = stored(name)
    blocks = model.neighbor_spec.blocks
    evaluate, reference = (b.evaluator(model) for b in (tf_backend, get_backend("numpy")))
    for rows, slots in SIZES:
        table = make_table(model, rows[:blocks], slots[:blocks])
        found, expected = evaluate(table), reference(table)
        assert list(found) == list(expected)
        for key, value in found.items():
            assert value.dtype == np.float64
            scale = np.abs(expected[key]).max(initial=0.0)
            np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-12 * scale, err_msg=f"{key} {rows}")


def test_single_precision_stays_single(stored, make_table, tf_backend):
    model = stored("float32")
    table = make_table(model, [4, 3], [5, 5])
    out, expected = (b.evaluator(model)(table) for b in (tf_backend, get_backend("numpy")))
    assert {v.dtype for v in out.values()} == {np.dtype(np.float64)}
    assert tree_map(tf_backend.array, model).descriptor.embeddings.networks[0].layers[0].w.dtype == tf.float32
    np.testing.assert_allclose(out["gradient"], expected["gradient"], rtol=0, atol=1e-6)


def test_products_keep_their_precision(tf_backend):
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_one_graph_for_all_sizes(tf_backend, model, make_table):
    made = []
    graph = Graph(lambda table: made.append(1) or arrays.shape(table.types)[0] + table.slot_counts[0])
    for rows, slots in (([4, 3], [5, 5]), ([1, 8], [2, 0])):
        assert int(graph(make_table(model, rows, slots))) == sum(rows) + slots[0]
    assert len(made) == 1


def test_inputs_stay_and_may_be_read_only(model, make_table, tf_backend):
    table = make_table(model, [4, 3], [5, 5])
    before = {k: v.copy() for k, v in leaves(table).items()}
    for x in (*leaves(table).values(), *leaves(model).values()):
        x.flags.writeable = False
    tf_backend.evaluator(model)(table)
    for key, value in leaves(table).items():
        np.testing.assert_array_equal(value, before[key])


def test_apply(model, make_table, tf_backend):
    table = make_table(model, [4, 3], [5, 5])
    found = tf_backend.apply(lambda m, t: m.eval_descriptor(t), model, table)
    np.testing.assert_allclose(found, model.eval_descriptor(table), rtol=0, atol=1e-13)


def test_second_derivatives(model, make_table, tf_backend):
    """Gradients in gradients, where the native sum of embeddings steps aside."""
    table = make_table(model, [3, 2], [4, 4], frames=1, padding=False)
    place = np.arange(5)
    backends = (tf_backend.array, gradient), (np.asarray, numpy_gradient)
    found, expected = (
        hessian(tree_map(array, model), tree_map(array, table), slope, array(place), 5) for array, slope in backends
    )
    assert float(np.abs(expected).max()) > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


class Net:
    """A network with the attributes of ``EmbeddingNet``."""

    def __init__(self, widths, step, bias, resnet=True):
        random = np.random.default_rng(1)
        self.layers = []
        for n_in, n_out in zip((1, *widths), widths, strict=False):
            w, b, idt = (tf.constant(random.normal(size=size)) for size in ((n_in, n_out), n_out, n_out))
            idt = idt if step and n_out in (n_in, 2 * n_in) else None
            self.layers.append(Layer(w, b if bias else None, idt, "tanh", resnet, "float64", True))

    @property
    def parameters(self):
        return [p for layer in self.layers for p in (layer.w, layer.b, layer.idt) if p is not None]

    def __call__(self, x):
        for layer in self.layers:
            x = arrays.dense(x, layer.w, layer.b, layer.idt, tf.tanh, layer.resnet)
        return x


NETS = {
    "doubling": ((3, 6, 12), False, True),
    "steps": ((4, 4, 8), True, True),
    "from one": ((1, 2, 3), True, False),
    "one layer": ((2,), False, True),
    "plain": ((3, 6), False, True, False),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("eager", "context"), [(True, of_weights), (False, of_weights), (False, nullcontext)])
def test_native_sum_of_embeddings(name, eager, context):
    """Value, slope, and the gradients of weights of a loss on both, against automatic differentiation."""
    net = Net(*NETS[name])
    matrix = np.random.default_rng(2).normal(size=(11, 5, 4))
    matrix[3, 2:] = matrix[8] = 0.0
    occupied = np.any(matrix != 0, axis=2)[..., None].astype(float)

    def compute(function, x):
        def energy(r):
            a = function(r, net)
            return tf.reduce_sum(tf.sin(a @ tf.linalg.matrix_transpose(a))), a

        with context(), tf.GradientTape() as tape:
            tape.watch(net.parameters)
            a, slope = gradient(energy, x)
            slope = slope * occupied  # it is free in empty slots
            loss = tf.reduce_sum(slope**2) + 3.0 * tf.reduce_sum(a**2)
        return a, slope, *tape.gradient(loss, net.parameters, unconnected_gradients="zero")

    def portable(r, net):
        return tf.linalg.matrix_transpose(r) @ net(r[..., :1])

    run = compute if eager else tf.function(compute, autograph=False)
    found, expected = (run(f, tf.constant(matrix)) for f in (embedding.embedding_sum, portable))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * np.abs(b).max())


def test_unavailable_derivatives_are_no_numbers():
    net = Net((2, 4), False, True)
    x = tf.constant(np.random.default_rng(2).normal(size=(3, 5, 4)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        _, slope = gradient(lambda r: (tf.reduce_sum(embedding.embedding_sum(r, net) ** 2), None), x)
    assert np.isnan(tape.gradient(slope, x)).any()


def test_native_sum_is_for_one_gradient_of_tanh():
    net, x = Net((2, 4), False, True), tf.zeros((3, 5, 4), tf.float64)
    assert embedding.embedding_sum(x, net) is None
    net.layers[0] = replace(net.layers[0], activation_function="relu")

    found, _ = gradient(lambda r: (tf.reduce_sum(r), embedding.embedding_sum(r, net)), x)
    assert found is None


def test_types_are_strict(tf_backend):
    assert tf_backend.array(np.zeros(2, np.float32)).dtype == tf.float32
    for wrong in ("complex128", "float16"):
        with pytest.raises(BackendError, match=wrong):
            tf_backend.array(np.zeros(2, wrong))


def run_python(code, **environment):
    env = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL")} | environment
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


THREADS = (
    "from dp_core.backend import get_backend; get_backend('tensorflow'); import tensorflow as tf\n"
    "t = tf.config.threading\n"
    "print(t.get_intra_op_parallelism_threads(), t.get_inter_op_parallelism_threads())"
)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "0 0\n"),
        ({"OMP_NUM_THREADS": "1"}, "1 1\n"),
        ({"OMP_NUM_THREADS": "1", "DP_INTRA_OP_PARALLELISM_THREADS": "3"}, "3 1\n"),
        ({"DP_INTRA_OP_PARALLELISM_THREADS": "3", "DP_INTER_OP_PARALLELISM_THREADS": "2"}, "3 2\n"),
    ],
)
def test_threads(environment, expected):
    found = run_python(THREADS, **environment)
    assert (found.stdout, found.stderr) == (expected, "")


def test_wrong_settings_of_the_environment():
    wrong = run_python(THREADS, DP_INTRA_OP_PARALLELISM_THREADS="many")
    assert "BackendError: DP_INTRA_OP_PARALLELISM_THREADS is 'many'" in wrong.stderr
    wrong = run_python(THREADS, TF_CONFIG="two workers")
    assert "TF_CONFIG does not describe a cluster" in wrong.stderr


QUIET = """
import sys
import numpy as np
from dp_core import DeepPot
from dp_core.backend import Optimizer, TrainState, get_backend
b = get_backend("tensorflow")
pot = DeepPot(sys.argv[1] if len(sys.argv) > 1 else MODEL, "tensorflow")
print(pot.eval(np.eye(3)[None], None, [0, 1, 1])[0].shape)
run = b.training(lambda p, batch, g: ((p["w"] ** 2)[0], {}), TrainState({"w": np.ones(3)}), Optimizer())
run.step([{}], 0.1)
import tensorflow as tf
print(tf.config.get_visible_devices("GPU"))
"""


def test_nothing_is_said_at_start():
    golden = Path(__file__).parents[3] / "tests" / "golden" / "se_e2_a_oneside.dp"
    found = run_python(QUIET.replace("MODEL", repr(str(golden))), DEVICE="cpu")
    assert (found.stdout, found.stderr) == ("(1, 1)\n[]\n", "")
