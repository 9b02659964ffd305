"""PyTorch against NumPy, conversion of arrays, devices and threads."""

import os
import subprocess
import sys

import array_api_compat.torch as compat
import numpy as np
import pytest
import torch

from dp_core import arrays
from dp_core.backend import get_backend
from dp_core.errors import BackendError
from dp_core.module import leaves, replace, tree_map
from dp_core.outputs import evaluate_atoms
from dp_torch.autodiff import gradient

MODELS = [
    "se_e2_a_oneside", "se_e2_a_twoside", "se_e2_a_exclude_twoside", "act_gelu", "act_softplus_sigmoid",
    "ener_fparam_aparam", "ener_atom_ener", "atom_exclude",
]  # fmt: skip


def sizes(model, *rows):
    blocks = model.neighbor_spec.blocks
    return [5, 3, 4, 2][:blocks], [6, 9, 2, 3][:blocks]


@pytest.mark.parametrize("name", MODELS)
def test_like_numpy(stored, make_table, torch_backend, name):
    model = stored(name)
    table = make_table(model, *sizes(model))
    found, expected = (b.evaluator(model)(table) for b in (torch_backend, get_backend("numpy")))
    assert list(found) == list(expected)
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-12 * np.abs(expected[key]).max(), err_msg=key)


def test_small_blocks_change_nothing(model, make_table, torch_backend, monkeypatch):
    table = make_table(model, [20, 31], [7, 9])
    expected = torch_backend.evaluator(model)(table)
    monkeypatch.setattr("dp_torch.embedding.BLOCK", 50)
    for key, value in torch_backend.evaluator(model)(table).items():
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-13, err_msg=key)


def test_neighbours_at_right_angles(stored, make_table, torch_backend, monkeypatch):
    """Their products are 0 like those of empty slots, but not the derivatives of these."""
    model = stored("se_e3")
    table = make_table(model, *sizes(model))
    axes = np.eye(3)[np.arange(table.vectors.shape[1]) % 3]
    table = replace(table, vectors=np.linalg.norm(table.vectors, axis=-1, keepdims=True) * axes)
    monkeypatch.setattr("dp_torch.embedding.BLOCK", 1)
    found, expected = (b.evaluator(model)(table)["gradient"] for b in (torch_backend, get_backend("numpy")))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_single_precision_stays_single(stored, make_table, torch_backend):
    model = stored("float32")
    out = torch_backend.evaluator(model)(make_table(model, [4, 3], [5, 5]))
    assert {v.dtype for v in out.values()} == {np.dtype(np.float64)}
    tree = tree_map(torch_backend.array, model)
    assert tree.descriptor.embeddings.networks[0].layers[0].w.dtype == torch.float32
    expected = get_backend("numpy").evaluator(model)(make_table(model, [4, 3], [5, 5]))
    assert not np.array_equal(out["energy"], out["energy"].astype(np.float32).astype(np.float64))  # the bias is float64
    np.testing.assert_allclose(out["gradient"], expected["gradient"], rtol=0, atol=1e-6)


def test_inputs_stay_and_may_be_read_only(model, make_table, torch_backend):
    table = make_table(model, [4, 3], [5, 5])
    before = {k: v.copy() for k, v in leaves(table).items()}
    for x in (*leaves(table).values(), *leaves(model).values()):
        x.flags.writeable = False
    torch_backend.evaluator(model)(table)
    for key, value in leaves(table).items():
        np.testing.assert_array_equal(value, before[key])


def test_apply(model, make_table, torch_backend):
    table = make_table(model, [4, 3], [5, 5])
    found = torch_backend.apply(lambda m, t: m.eval_descriptor(t), model, table)
    np.testing.assert_allclose(found, model.eval_descriptor(table), rtol=0, atol=1e-13)


def test_evaluation_keeps_no_graph(model, make_table, torch_backend):
    """Neither of the inputs nor of parameters, even where these are in training."""
    table = tree_map(torch_backend.array, make_table(model, [4, 3], [5, 5]))
    tree = tree_map(lambda x: torch_backend.array(x).requires_grad_(), model)
    with torch.no_grad():
        out = evaluate_atoms(tree, table, gradient)
    assert not any(v.requires_grad for v in out.values())
    expected = torch_backend.evaluator(model)(make_table(model, [4, 3], [5, 5]))
    np.testing.assert_allclose(out["gradient"], expected["gradient"], rtol=0, atol=1e-14)


def test_types_are_strict(torch_backend):
    assert torch_backend.array(np.zeros(2, np.float32)).dtype == torch.float32
    with pytest.raises(BackendError, match="complex128"):
        torch_backend.array(np.zeros(2, complex))
    with pytest.raises(BackendError, match="float16"):
        torch_backend.array(np.zeros(2, np.float16))


def test_segment_sum():
    x = torch.arange(12, dtype=torch.float64).reshape(6, 2)
    segments = torch.tensor([2, -1, 0, 2, -1, 0])
    found = arrays.segment_sum(x, segments, 4)
    assert arrays._NATIVE[compat.__name__, "segment_sum"](x, segments, 4).equal(found)
    assert found.tolist() == [[14, 16], [0, 0], [6, 8], [0, 0]]


def run_python(code, **environment):
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"} | environment
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


THREADS = (
    "from dp_core.backend import get_backend; b = get_backend('torch'); import torch; print(torch.get_num_threads())"
)


def test_threads():
    assert run_python(THREADS, OMP_NUM_THREADS="1").stdout == "1\n"
    assert run_python(THREADS, OMP_NUM_THREADS="1", DP_INTRA_OP_PARALLELISM_THREADS="3").stdout == "3\n"
    wrong = run_python(THREADS, DP_INTRA_OP_PARALLELISM_THREADS="many")
    assert "BackendError: DP_INTRA_OP_PARALLELISM_THREADS is 'many'" in wrong.stderr


def test_device_of_the_environment():
    code = "from dp_core.backend import get_backend; print(get_backend('torch').device)"
    assert run_python(code, DEVICE="cpu").stdout == "cpu\n"


def test_no_compiler_framework_is_loaded_for_evaluation():
    """Importing TorchDynamo takes seconds."""
    code = (
        "import sys, numpy as np; from dp_core.backend import *; b = get_backend('torch')\n"
        "run = b.training(lambda p, batch, g: ((p['w'] ** 2).sum(), {}), TrainState({'w': np.ones(3)}), Optimizer())\n"
        "run.step([{}], 0.1); print('torch._dynamo' in sys.modules)"
    )
    found = run_python(code)
    assert found.stdout == "False\n", found.stderr
