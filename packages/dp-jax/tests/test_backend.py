"""JAX against NumPy, conversion of arrays, sizes, devices and threads."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dp_core import DeepPot, arrays
from dp_core.backend import get_backend
from dp_core.errors import BackendError
from dp_core.module import leaves, replace, tree_map
from dp_jax.namespace import gradient
from dp_jax.sizes import round_rows, round_slots, without_empty

MODELS = ["se_e2_a_twoside", "act_softplus_sigmoid", "ener_fparam_aparam"]


@pytest.mark.parametrize("name", MODELS)
def test_like_numpy(stored, make_table, jax_backend, name):
    model = stored(name)
    blocks = model.neighbor_spec.blocks
    table = make_table(model, [5, 3, 4, 2][:blocks], [6, 9, 2, 3][:blocks], frames=3)
    found, expected = (b.evaluator(model)(table) for b in (jax_backend, get_backend("numpy")))
    assert list(found) == list(expected)
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-12 * np.abs(expected[key]).max(), err_msg=key)


def test_single_precision_stays_single(stored, make_table, jax_backend):
    model = stored("float32")
    table = make_table(model, [4, 3], [5, 5])
    out, expected = (b.evaluator(model)(table) for b in (jax_backend, get_backend("numpy")))
    assert {v.dtype for v in out.values()} == {np.dtype(np.float64)}
    tree = tree_map(jax_backend.array, model)
    assert tree.descriptor.embeddings.networks[0].layers[0].w.dtype == jnp.float32
    assert not np.array_equal(out["energy"], out["energy"].astype(np.float32).astype(np.float64))  # the bias is float64
    np.testing.assert_allclose(out["gradient"], expected["gradient"], rtol=0, atol=1e-6)


def test_inputs_stay_and_weights_may_change(model, make_table, jax_backend):
    """Nothing is written to, and what is compiled serves all weights."""
    table = make_table(model, [4, 3], [5, 5])
    before = {k: v.copy() for k, v in leaves(table).items()}
    for x in (*leaves(table).values(), *leaves(model).values()):
        x.flags.writeable = False
    first = jax_backend.evaluator(model)(table)
    (programs,) = [c for c in jax_backend._evaluators.values() if c.count and c.name == "evaluation"][-1:]
    count = programs.count
    other = replace(model, out_bias=model.out_bias + 1.0)
    second = jax_backend.evaluator(other)(table)
    np.testing.assert_allclose(second["energy"], first["energy"] + first["mask"][:, None], rtol=1e-13)
    assert programs.count == count
    for key, value in leaves(table).items():
        np.testing.assert_array_equal(value, before[key])


def test_apply(model, make_table, jax_backend):
    table = make_table(model, [4, 3], [5, 5])
    found = jax_backend.apply(lambda m, t: m.eval_descriptor(t), model, table)
    np.testing.assert_allclose(found, model.eval_descriptor(table), rtol=0, atol=1e-13)


def test_descriptors_are_compiled_once(model, jax_backend):
    pot = DeepPot(model, backend="jax")
    used = []
    for x in (1.0, 1.1):
        pot.eval_descriptor(np.array([[0.0, 0.0, 0.0, x, 0.0, 0.0]]), None, [0, 1])
        used.append(list(jax_backend._applied.values())[-1])
    assert used[0] is used[1]
    assert used[0].count == 1


def test_products_keep_their_precision():
    code = "import jax; from dp_core.backend import get_backend; get_backend('jax'); "
    shown = code + "print(jax.config.jax_default_matmul_precision)"
    assert run_python(shown).stdout == "highest\n"
    assert run_python(shown, JAX_DEFAULT_MATMUL_PRECISION="tensorfloat32").stdout == "tensorfloat32\n"


def test_arrays_are_copies_of_known_types(jax_backend):
    x = np.zeros(1024)
    found = jax_backend.array(x)
    x += 1.0
    assert float(jnp.sum(found)) == 0.0
    assert found.dtype == jnp.float64
    assert jax_backend.array(np.zeros(2, np.float32)).dtype == jnp.float32
    with pytest.raises(BackendError, match="complex128"):
        jax_backend.array(np.zeros(2, complex))
    with pytest.raises(BackendError, match="float16"):
        jax_backend.array(np.zeros(2, np.float16))


def test_gradients_nest(jax_backend):
    def cubes(x):
        return (x**3).sum(), {"square": x**2}

    def slopes(x):
        extra, g = gradient(cubes, x)
        return (g**2).sum(), extra | {"slope": g}

    x = jax_backend.array(np.array([1.0, 2.0]))
    extra, g = gradient(slopes, x)
    np.testing.assert_allclose(extra["square"], [1, 4])
    np.testing.assert_allclose(extra["slope"], [3, 12])
    np.testing.assert_allclose(g, [36, 288])  # d 9x⁴/dx
    _, constant = gradient(lambda x: (jnp.ones(()), None), x)
    np.testing.assert_array_equal(constant, [0, 0])


def test_segment_sum():
    x = jnp.arange(12.0).reshape(6, 2)
    segments = jnp.array([2, -1, 0, 2, -1, 0])
    found = arrays.segment_sum(x, segments, 4)
    assert found.tolist() == [[14, 16], [0, 0], [6, 8], [0, 0]]
    slope = jax.grad(lambda x: (arrays.segment_sum(x, segments, 4) ** 2).sum())(x)
    np.testing.assert_array_equal(slope, 2 * found[segments] * (segments >= 0)[:, None])


@pytest.mark.parametrize(("rounded", "step"), [(round_rows, 4), (round_slots, 8)])
def test_sizes_are_few(rounded, step):
    sizes = [rounded(n) for n in range(2000)]
    assert sizes[0] == 0
    assert all(n <= size <= max(n + 7, n * (1 + 1 / step)) for n, size in enumerate(sizes))
    assert all(rounded(size) == size for size in sizes)
    assert len(set(sizes)) < 5 + 7 * step


def test_empty_blocks_are_filled(model, make_table):
    """What a table says of neighbours stays, ghosts included."""
    table = make_table(model, [3, 0], [0, 4], padding=False)
    index = table.index.copy()
    index[0, 0] = 5  # the third ghost
    table = replace(table, index=index, aparam=np.arange(3.0)[:, None])
    full, rows, slots = without_empty(table)
    assert (full.row_counts, full.slot_counts) == ((3, 1), (1, 4))
    for name in ("vectors", "neighbor_types"):
        np.testing.assert_array_equal(getattr(full, name)[rows][:, slots], getattr(table, name))
        assert abs(getattr(full, name)[3]).sum() == (0 if name == "vectors" else 5)
    assert full.index[rows][:, slots][0, 0] == 6
    same = (table.index < 0) | (table.index > 2)
    np.testing.assert_array_equal(full.index[rows][:, slots][~same], table.index[~same])
    assert full.types.tolist() == [*table.types, -1]
    assert full.aparam[:, 0].tolist() == [0, 1, 2, 0]
    assert without_empty(full)[0] is full


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


THREADS = """
import os
from dp_core.backend import get_backend
get_backend("jax").array([1.0])
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux does")
def test_threads():
    few, many = (run_python(THREADS, DP_INTRA_OP_PARALLELISM_THREADS=n) for n in ("1", "9"))
    assert int(many.stdout) >= int(few.stdout) + 8
    assert few.stderr == ""
    wrong = run_python(THREADS, DP_INTRA_OP_PARALLELISM_THREADS="many")
    assert "BackendError: DP_INTRA_OP_PARALLELISM_THREADS is 'many'" in wrong.stderr


def test_device_of_the_environment():
    code = "from dp_core.backend import get_backend; print(get_backend('jax').array([1.0]).device.platform)"
    assert run_python(code, DEVICE="cpu").stdout == "cpu\n"
