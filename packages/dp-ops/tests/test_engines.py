"""Engines give the stored numbers from every kind of file, for other sizes than at freezing, and survive bad ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dp_ops
from dp_core.backend import get_backend
from dp_core.frozen import capabilities, graph_inputs
from dp_core.model_file import document_bytes, load_model
from dp_core.neighbors import build_batch, frame_neighbors
from dp_core.outputs import forces

HERE = Path(__file__).parent
GOLDEN = HERE.parents[2] / "tests" / "golden"
PLAIN = "se_e2_a_oneside"
#: suffix -> engine, backend that freezes, package that the backend needs
KINDS = {
    ".pth": ("torch", "torch", "dp_torch"),
    ".pt2": ("torch", "torch", "dp_torch"),
    ".pb": ("tensorflow", "tensorflow", "dp_tf"),
    ".savedmodeltf": ("tensorflow", "tensorflow", "dp_tf"),
    ".savedmodel": ("tensorflow", "jax", "dp_jax"),
    ".hlo": ("python", "jax", "dp_jax"),
    ".dp": ("python", "numpy", "dp_core"),
    ".yaml": ("python", "numpy", "dp_core"),
}
INSTALLED = [suffix for suffix, (_, _, package) in KINDS.items() if find_spec(package)]
QUICK = [suffix for suffix in INSTALLED if suffix != ".pt2"]  # which takes a minute to compile


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that evaluates a table with an engine."""
    path = tmp_path_factory.mktemp("engine_run") / "engine_run"
    command = [os.environ.get("CXX", "g++"), "-std=c++17", f"-I{HERE.parent}", HERE / "engine_run.cpp", "-o", path]
    subprocess.run([*command, "-ldl", "-pthread"], check=True)
    return path


@pytest.fixture(scope="session")
def frozen_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``frozen_file(name, suffix)``: a stored model as a file of that kind."""
    folder, made = tmp_path_factory.mktemp("models"), {}

    def make(name: str, suffix: str) -> Path:
        path = folder / f"{name}{suffix}"
        if path not in made:
            model = load_model(GOLDEN / f"{name}.dp")
            get_backend(KINDS[suffix][1]).freeze(model, document_bytes(model), path)
            made[path] = True
        return path

    return make


def rounded(suffix: str) -> dict[str, Any]:
    """How sizes are rounded for files of a kind."""
    if suffix not in (".savedmodel", ".hlo"):
        return {}
    from dp_jax import sizes

    return {
        "round_rows": lambda count: sizes.round_rows(max(1, count)),
        "round_slots": lambda count: sizes.round_slots(max(1, count)),
    }


def write_inputs(inputs: dict[str, np.ndarray], path: Path) -> None:
    lines = []
    for name, x in inputs.items():
        kind = "i" if x.dtype == np.int64 else "f"
        numbers = " ".join(repr(v) for v in x.ravel().tolist())
        lines.append(f"{name} {kind} {x.ndim} {' '.join(map(str, x.shape))} {numbers}")
    path.write_text("\n".join(lines))


def run(program: Path, model: Path, inputs: Path, threads: int = 1, **environment: str) -> dict[str, np.ndarray]:
    """The outputs by name, or the key ``error``; the program must not end otherwise."""
    engine = dp_ops.library(f"dp_engine_{KINDS[model.suffix][0]}")
    given = {"DP_PYTHON": sys.executable, "TF_CPP_MIN_LOG_LEVEL": "3"} | environment
    done = subprocess.run(
        [program, engine, model, inputs, str(threads)], capture_output=True, text=True, env=os.environ | given
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if done.stdout.startswith("error: "):
        return {"error": done.stdout[7:].strip()}
    names, *lines = done.stdout.splitlines()
    return {name: np.array(line.split(), float) for name, line in zip(names.split(), lines, strict=True)}


def check_stored_numbers(program: Path, path: Path, name: str, folder: Path, threads: int = 1) -> None:
    model = load_model(GOLDEN / f"{name}.dp")
    case = np.load(GOLDEN / f"{name}.npz")
    spec, record = model.neighbor_spec, capabilities(model)
    coord, cell = case["coord"][0].reshape(-1, 3), case["box"][0].reshape(3, 3)
    given = {key: case[key][:1] for key in ("fparam", "aparam") if key in case}
    batch = build_batch([frame_neighbors(coord, cell, case["atype"], spec)], spec, **given, **rounded(path.suffix))
    inputs = graph_inputs(batch.table, record)
    write_inputs(inputs, folder / "inputs")
    out = run(program, path, folder / "inputs", threads)
    assert "error" not in out, out
    g, index = out["gradient"].reshape(*inputs["index"].shape, 3), inputs["index"]
    force = batch.to_atoms(forces(g, index, len(index)))
    virial = -np.einsum("nka,nkb->ab", g, inputs["vectors"])
    for found, expected in (
        (out["energy"].sum(), case["energy"][0]),
        (force, case["force"][0]),
        (virial, case["virial"][0]),
    ):
        assert np.abs(np.ravel(found) - np.ravel(expected)).max() <= 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["ener_fparam_aparam", "dpa2_small"])
@pytest.mark.parametrize("suffix", QUICK)
def test_stored_numbers(program, frozen_file, tmp_path, suffix, name):
    check_stored_numbers(program, frozen_file(name, suffix), name, tmp_path, threads=3)
