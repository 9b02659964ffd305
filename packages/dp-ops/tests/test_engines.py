"""Engines give the stored numbers from every kind of file, for other sizes than at freezing, and survive bad ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dp_ops
from dp_core.backend import get_backend
from dp_core.batching import build_batch
from dp_core.frozen import capabilities, graph_inputs, sample_table
from dp_core.model_file import document_bytes, load_model
from dp_core.module import replace
from dp_core.neighbors import frame_neighbors
from dp_core.outputs import forces

pytestmark = pytest.mark.crossing  # files of all backends
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
def frozen_file(tmp_path_factory: pytest.TempPathFactory, torch_engine: Callable[[], None]) -> Callable[..., Path]:
    """``frozen_file(name, suffix)``: a stored model as a file of that kind."""
    folder, made = tmp_path_factory.mktemp("models"), {}

    def make(name: str, suffix: str) -> Path:
        path = folder / f"{name}{suffix}"
        if path not in made:
            if KINDS[suffix][0] == "torch":
                torch_engine()
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
    given = {"fparam": case["fparam"][:1], "aparam": case["aparam"][0]} if "fparam" in case else {}
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


@pytest.mark.parametrize("suffix", QUICK)
def test_weights_of_rows(program, frozen_file, tmp_path, suffix):
    """Only what rows with weight depend on has a gradient: that of the model in Python."""
    model = load_model(GOLDEN / "dpa2_small.dp")
    table = sample_table(model)
    table = replace(table, weight=(np.arange(len(table.types)) < 3).astype(float))
    write_inputs(graph_inputs(table, capabilities(model)), tmp_path / "inputs")
    out = run(program, frozen_file("dpa2_small", suffix), tmp_path / "inputs")
    expected = get_backend("numpy").evaluator(model)(table)
    whole = get_backend("numpy").evaluator(model)(replace(table, weight=None))
    for name in ("energy", "gradient"):
        limit = 1e-9 * np.abs(expected[name]).max()
        np.testing.assert_allclose(out[name], expected[name].ravel(), rtol=0, atol=limit, err_msg=name)
    assert np.abs(whole["gradient"] - expected["gradient"]).max() > 1e-3 * np.abs(whole["gradient"]).max()


@pytest.mark.slow
@pytest.mark.skipif(".pt2" not in INSTALLED, reason="PyTorch is not installed")
def test_stored_numbers_of_machine_code(program, frozen_file, tmp_path):
    check_stored_numbers(program, frozen_file(PLAIN, ".pt2"), PLAIN, tmp_path, threads=3)


@pytest.fixture
def no_rows(tmp_path: Path) -> Path:
    """The inputs of a table without rows."""
    path = tmp_path / "no_rows"
    shapes = {"vectors": (0, 4, 3), "index": (0, 4), "types": (0,), "neighbor_types": (0, 4), "frame": (0,)}
    shapes |= {"fparam": (1, 0), "aparam": (0, 0), "rows_0": (0,), "rows_1": (0,), "slots_0": (2,), "slots_1": (2,)}
    floats = ("vectors", "fparam", "aparam")
    write_inputs({k: np.zeros(s, float if k in floats else np.int64) for k, s in shapes.items()}, path)
    return path


@pytest.mark.parametrize("suffix", QUICK)
def test_no_rows_have_no_outputs(program, frozen_file, no_rows, suffix):
    out = run(program, frozen_file(PLAIN, suffix), no_rows)
    assert {name: x.size for name, x in out.items()} == {"energy": 0, "mask": 0, "gradient": 0}


def test_sizes_that_do_not_fit_are_refused(program, frozen_file, no_rows):
    no_rows.write_text(no_rows.read_text().replace("rows_0 i 1 0", "rows_0 i 1 1 0").replace("(0,)", ""))
    no_rows.write_text(no_rows.read_text().replace("vectors f 3 0 4 3", "vectors f 3 2 4 3 " + "0 " * 24))
    out = run(program, frozen_file(PLAIN, ".dp"), no_rows)
    assert "blocks of the table do not fit" in out["error"]


def damage(path: Path) -> None:
    """Change a byte of the program in a frozen file, or of the only file."""
    if path.is_dir():
        path = path / "saved_model.pb"
    content = bytearray(path.read_bytes())
    content[middle_of_the_largest_member(path) if zipfile.is_zipfile(path) else len(content) // 2] ^= 255
    path.write_bytes(content)


def middle_of_the_largest_member(path: Path) -> int:
    """A place in an archive that is not padding between members, of which there is no checksum."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.compress_size)
    header = path.read_bytes()[largest.header_offset :][:30]
    names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return largest.header_offset + len(header) + names + largest.compress_size // 2


def copied(path: Path, folder: Path) -> Path:
    copy = folder / path.name
    if path.is_dir():
        shutil.copytree(path, copy)
    else:
        shutil.copy(path, copy)
    return copy


@pytest.mark.parametrize("suffix", [s for s in QUICK if KINDS[s][1] != "numpy"])
def test_damaged_files_are_named(program, frozen_file, no_rows, tmp_path, suffix):
    path = copied(frozen_file(PLAIN, suffix), tmp_path)
    damage(path)
    assert str(path) in run(program, path, no_rows)["error"]


@pytest.mark.parametrize("suffix", [s for s in (".pth", ".pb", ".dp") if s in INSTALLED])
def test_files_cut_short_are_named(program, frozen_file, no_rows, tmp_path, suffix):
    path = copied(frozen_file(PLAIN, suffix), tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    error = run(program, path, no_rows)["error"]
    assert str(path) in error
    assert "damaged" in error or "cut off" in error


@pytest.mark.skipif(".pth" not in INSTALLED, reason="PyTorch is not installed")
def test_newer_files_are_refused(program, frozen_file, no_rows, tmp_path):
    path = tmp_path / "new.pth"
    with zipfile.ZipFile(frozen_file(PLAIN, ".pth")) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("capabilities.json"):
                content = json.dumps(json.loads(content) | {"version": 9}).encode()
            new.writestr(name, content)
    error = run(program, path, no_rows)["error"]
    assert "version 9" in error
    assert "pip install --upgrade dp-ops" in error


@pytest.fixture
def bare_python(tmp_path: Path) -> Iterator[Path]:
    """The executable of a Python without packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / "bare/lib" / version / "site-packages").mkdir(parents=True)
    (tmp_path / "bare/bin").mkdir()
    (tmp_path / "bare/pyvenv.cfg").write_text("home = /nowhere/bin\n")
    (tmp_path / "bare/bin/python3").touch()
    return tmp_path / "bare/bin/python3"


@pytest.mark.parametrize("suffix", [s for s in (".pth", ".pb", ".dp") if s in INSTALLED])
def test_an_absent_framework_is_named(program, frozen_file, no_rows, bare_python, tmp_path, suffix):
    error = run(
        program, frozen_file(PLAIN, suffix), no_rows, DP_PYTHON=str(bare_python), HOME=str(tmp_path), PYTHONPATH=""
    )["error"]
    assert "pip install" in error
    assert "DP_PYTHON" in error


@pytest.mark.skipif(".pth" not in INSTALLED, reason="PyTorch is not installed")
def test_another_version_of_pytorch_is_named(program, frozen_file, no_rows, bare_python):
    torch = next(bare_python.parents[1].glob("lib/*/site-packages")) / "torch"
    (torch / "lib").mkdir(parents=True)
    (torch / "version.py").write_text("__version__ = '1.2.3+cpu'\n")
    (torch / "lib/libtorch_cpu.so").touch()
    error = run(program, frozen_file(PLAIN, ".pth"), no_rows, DP_PYTHON=str(bare_python))["error"]
    assert "1.2.3" in error
    assert "python -m dp_ops.build torch" in error


def test_no_number_of_threads(program, frozen_file, no_rows):
    suffix = next((s for s in (".pb", ".pth") if s in INSTALLED), None)
    if suffix is None:
        pytest.skip("neither TensorFlow nor PyTorch is installed")
    path = frozen_file("dpa2_small", suffix)
    error = run(program, path, no_rows, DP_INTRA_OP_PARALLELISM_THREADS="two")["error"]
    assert "DP_INTRA_OP_PARALLELISM_THREADS is 'two'" in error


@pytest.mark.parametrize(
    ("suffix", "module"),
    [(s, m) for s, m in ((".yaml", "numpy"), (".pth", "torch"), (".pb", "tensorflow")) if s in INSTALLED],
)
def test_the_framework_of_the_process_is_used(frozen_file, suffix, module):
    """The C interface inside Python: engines join the interpreter and the frameworks that run."""
    script = f"""
import ctypes, numpy as np, {module}
if {module!r} == "torch":
    {module}.set_num_threads(3)
library = ctypes.CDLL({str(dp_ops.library("deepmd_c"))!r})
library.DP_NewDeepPot.restype = library.DP_DeepPotCheckOK.restype = ctypes.c_void_p
pot = ctypes.c_void_p(library.DP_NewDeepPot({str(frozen_file(PLAIN, suffix))!r}.encode()))
case = np.load({str(GOLDEN / PLAIN)!r} + ".npz")
coord, box, types = case["coord"][0].ravel(), case["box"][0].ravel(), case["atype"].astype(np.int32)
energy, force, virial = np.zeros(1), np.zeros(coord.size), np.zeros(9)
address = lambda x: ctypes.c_void_p(x.ctypes.data)
library.DP_DeepPotCompute(pot, len(types), address(coord), address(types), address(box), address(energy),
                          address(force), address(virial), None, None)
print(ctypes.string_at(library.DP_DeepPotCheckOK(pot)).decode())
assert abs(energy[0] / case["energy"][0].item() - 1) < 1e-9
assert np.abs(force - case["force"][0].ravel()).max() < 1e-9 * np.abs(force).max()
if {module!r} == "torch":
    assert {module}.get_num_threads() == 3
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
