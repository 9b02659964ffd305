"""What is special to PyTorch's frozen files; what holds for all is in ``tests/test_frozen_files.py``."""

import json
import subprocess
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from dp_core import frozen
from dp_core.backend import backend_of
from dp_core.errors import BackendError, FormatError
from dp_core.model_file import document_bytes, read_model_document

SIZES = [([20, 10], [7, 3]), ([5, 9], [0, 4]), ([0, 9], [6, 4]), ([1, 1], [1, 1]), ([1, 0], [0, 0]), ([0, 0], [3, 4])]


@pytest.fixture
def freeze(torch_backend, tmp_path):
    """``freeze(model, suffix)`` writes a frozen file, framework warnings being errors."""

    def write(model, suffix=".pth"):
        path = tmp_path / f"model{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            torch_backend.freeze(model, document_bytes(model), path)
        return path

    return write


def test_tables_larger_than_a_part(model, freeze, make_table, torch_backend, monkeypatch):
    evaluate = torch_backend.load(freeze(model))
    table = make_table(model, [30, 41], [8, 9])
    monkeypatch.setattr("dp_torch.freeze._SLOTS", 100)
    found, expected = evaluate(table), torch_backend.evaluator(model)(table)
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=0, atol=1e-13, err_msg=key)


def test_the_graph_names_its_arguments(model, freeze):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(freeze(model))
    names = [argument.name for argument in module.forward.schema.arguments]
    assert names[1:] == frozen.capabilities(model)["inputs"]


def test_a_damaged_program(model, freeze, torch_backend, tmp_path):
    path, wrong = freeze(model), tmp_path / "wrong.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(wrong, "w") as target:
        for item in source.infolist():
            content = source.read(item)
            target.writestr(item, content[: len(content) // 2] if item.filename.endswith("data.pkl") else content)
    with pytest.raises(FormatError, match="does not load"):
        torch_backend.load(wrong)
    text = tmp_path / "text.pt2"
    text.write_text("no archive")
    with pytest.raises(FormatError, match=r"text\.pt2 is damaged"):
        torch_backend.load(text)


def test_no_compiler(model, freeze, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendError, match="Install g\\+\\+"):
        freeze(model, ".pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_compiled_file(model, freeze, make_table, torch_backend):
    path = freeze(model, ".pt2")
    evaluate, reference = torch_backend.load(path), torch_backend.evaluator(model)
    for rows, slots in SIZES:
        table = make_table(model, rows, slots, frames=3)
        found, expected = evaluate(table), reference(table)
        assert list(found) == list(expected)
        for key, value in found.items():
            scale = np.abs(expected[key]).max(initial=0.0)
            np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-12 * scale, err_msg=f"{key} {rows}")
    assert read_model_document(path)["model"]["type"] == "standard"
    with zipfile.ZipFile(path) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"archive"}  # whatever the name of the file
    assert backend_of(path) == "torch"


@pytest.fixture(scope="session")
def cpp_program(tmp_path_factory):
    """A C++ program that knows nothing but libtorch: file.pth, a file of inputs -> outputs as text."""
    folder, root = tmp_path_factory.mktemp("cpp"), Path(torch.__file__).parent
    program = folder / "evaluate"
    source = Path(__file__).with_name("evaluate.cpp")
    include = [f"-I{root / 'include'}", f"-I{root / 'include/torch/csrc/api/include'}"]
    libraries = [
        f"-L{root / 'lib'}",
        f"-Wl,-rpath,{root / 'lib'}",
        "-Wl,--no-as-needed",
        "-ltorch",
        "-ltorch_cpu",
        "-lc10",
    ]
    subprocess.run(["g++", "-std=c++20", "-O0", str(source), "-o", str(program), *include, *libraries], check=True)
    return program


@pytest.mark.slow
def test_plain_libtorch(model, freeze, make_table, torch_backend, cpp_program, tmp_path):
    path = freeze(model)
    table = make_table(model, [9, 4], [5, 8])
    inputs = tmp_path / "inputs.txt"
    with inputs.open("w") as file:
        for x in frozen.graph_inputs(table, frozen.capabilities(model)).values():
            kind = "i" if x.dtype == np.int64 else "f"
            print(kind, x.ndim, *x.shape, *x.ravel().tolist(), file=file)
    done = subprocess.run([str(cpp_program), str(path), str(inputs)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record, *lines = done.stdout.splitlines()
    assert json.loads(record)["outputs"][0]["name"] == "energy"
    for line, (key, expected) in zip(lines, torch_backend.evaluator(model)(table).items(), strict=True):
        found = np.array(line.split(), float)
        np.testing.assert_allclose(found, expected.ravel(), rtol=0, atol=1e-13, err_msg=key)
