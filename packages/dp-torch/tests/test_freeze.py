"""Frozen files: the same numbers as the model for all sizes, the document inside, and errors."""

import json
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from dp_core import frozen
from dp_core.backend import backend_of
from dp_core.errors import BackendError, DataError, FormatError
from dp_core.model_file import document_bytes, load_model, read_model_document
from dp_core.models.standard import StandardModel
from dp_core.module import leaves, replace
from dp_core.outputs import evaluate_atoms

SIZES = [
    ([20, 10, 4, 3], [7, 3, 5, 2], 3),
    ([5, 9, 2, 0], [0, 4, 1, 2], 1),  # no neighbours of one type
    ([0, 9, 3, 1], [6, 4, 0, 2], 2),  # no atoms of one type
    ([1, 1, 1, 1], [1, 1, 1, 1], 4),
    ([1, 0, 0, 0], [0, 0, 0, 0], 1),  # one isolated atom
    ([0, 0, 0, 0], [3, 4, 1, 1], 1),  # nothing
]
MODELS = {
    "se_e2_a_oneside": 1e-12,
    "se_e2_a_twoside": 1e-12,
    "act_relu_linear": 1e-12,
    "ener_fparam_aparam": 1e-12,
    "ener_atom_ener": 1e-12,
    "atom_exclude": 1e-12,
    "se_e2_a_exclude": 1e-12,
    "float32": 1e-5,
    "mixed_float32_float64": 1e-5,
}


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


def same_as_model(evaluate, model, make_table, torch_backend, tolerance):
    blocks = model.neighbor_spec.blocks
    reference = torch_backend.evaluator(model)
    for rows, slots, frames in SIZES:
        table = make_table(model, rows[:blocks], slots[:blocks], frames=frames)
        found, expected = evaluate(table), reference(table)
        assert list(found) == list(expected)
        for key, value in found.items():
            assert value.shape == expected[key].shape
            assert value.dtype == np.float64
            scale = np.abs(expected[key]).max(initial=0.0)
            np.testing.assert_allclose(value, expected[key], rtol=0, atol=tolerance * scale, err_msg=f"{key} {rows}")


@pytest.mark.parametrize("name", MODELS)
def test_all_sizes(stored, freeze, make_table, torch_backend, name):
    model = stored(name)
    path = freeze(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate = torch_backend.load(path)
        same_as_model(evaluate, model, make_table, torch_backend, MODELS[name])


def test_tables_larger_than_a_part(model, freeze, make_table, torch_backend, monkeypatch):
    evaluate = torch_backend.load(freeze(model))
    table = make_table(model, [30, 41], [8, 9])
    monkeypatch.setattr("dp_torch.freeze._SLOTS", 100)
    found, expected = evaluate(table), torch_backend.evaluator(model)(table)
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=0, atol=1e-13, err_msg=key)


@pytest.mark.parametrize("sel", [[1, 2], [3, 3]])
def test_few_neighbours_with_statistics_by_slot(model, freeze, sel):
    """Every slot is evaluated, sizes near those that PyTorch treats apart (freezing checks the graph itself)."""
    document = model.serialize()
    variables = document["descriptor"]["@variables"]
    document["descriptor"]["sel"] = sel
    for key in ("davg", "dstd"):
        variables[key] = variables[key][:, : sum(sel)].copy()
    variables["davg"][:, 0] += 0.1
    changed = StandardModel.deserialize(document)
    assert changed.descriptor.by_slot
    assert freeze(changed).is_file()


def test_the_graph_is_checked(model, freeze, tmp_path, monkeypatch):
    def other(model, table, gradient):
        out = evaluate_atoms(model, table, gradient)
        return out | {"energy": out["energy"] + 1.0}

    monkeypatch.setattr("dp_torch.freeze.evaluate_atoms", other)
    with pytest.raises(BackendError, match="gives another 'energy'"):
        freeze(model)
    assert not list(tmp_path.iterdir())


def test_default_parameters_are_filled_in(stored, freeze, make_table, torch_backend):
    model = stored("ener_default_fparam")
    table = replace(make_table(model, [5, 4], [3, 4], frames=3), fparam=None)
    evaluate = torch_backend.load(freeze(model))
    np.testing.assert_allclose(evaluate(table)["energy"], torch_backend.evaluator(model)(table)["energy"], rtol=1e-12)


def test_parameters_that_only_mark_atoms(model, freeze, make_table, torch_backend):
    """They enter no graph, so that they need not be given."""
    marked = replace(model, fitting=replace(model.fitting, numb_aparam=1, use_aparam_as_mask=True))
    table = make_table(model, [5, 4], [3, 4])
    found = torch_backend.load(freeze(marked))(table)["energy"]
    np.testing.assert_allclose(found, torch_backend.evaluator(model)(table)["energy"], rtol=1e-12)


def test_missing_parameters(stored, freeze, make_table, torch_backend):
    model = stored("ener_fparam_aparam")
    evaluate = torch_backend.load(freeze(model))
    for key in ("fparam", "aparam"):
        with pytest.raises(DataError, match=key):
            evaluate(replace(make_table(model, [5, 4], [3, 4]), **{key: None}))


def test_the_document_is_inside(model, freeze, torch_backend):
    path, document = freeze(model), document_bytes(model)
    torch_backend.freeze(model, document, path)
    assert backend_of(path) == "torch"
    with zipfile.ZipFile(path) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith("/model.dp")]
        assert archive.read(member) == document
    again = load_model(path)
    for key, value in leaves(model).items():
        np.testing.assert_array_equal(leaves(again)[key], value)
    code = f"import sys, dp_core.model_file as m; m.load_model({str(path)!r}); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_record(stored, freeze):
    with zipfile.ZipFile(freeze(stored("ener_default_fparam"))) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith("/capabilities.json")]
        record = json.loads(archive.read(member))
    assert record["type_map"] == ["O", "H"]
    assert (record["rcut"], record["sel"], record["by_type"], record["blocks"]) == (4.5, [36, 36], True, 2)
    assert record["inputs"][-5:] == ["aparam", "rows_0", "rows_1", "slots_0", "slots_1"]
    assert [(o["name"], o["unit"]) for o in record["outputs"]] == [
        ("energy", "eV"),
        ("mask", "1"),
        ("gradient", "eV/Å"),
    ]
    assert len(record["default_fparam"]) == record["numb_fparam"]
    assert record["message_passing"] is False


def test_the_graph_names_its_arguments(model, freeze):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(freeze(model))
    names = [argument.name for argument in module.forward.schema.arguments]
    assert names[1:] == frozen.capabilities(model)["inputs"]


def rewritten(path, change):
    """The same archive with the contents of members changed; None leaves one out."""
    made = path.with_name(f"{change.__name__}.pth")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(made, "w") as target:
        for item in source.infolist():
            content = change(item.filename.rsplit("/", 1)[-1], source.read(item))
            if content is not None:
                target.writestr(item, content)
    return made


def test_damaged_and_foreign_files(model, freeze, torch_backend, tmp_path):
    path = freeze(model)

    def newer(name, content):
        return content.replace(b'"version": 1', b'"version": 99') if name == "capabilities.json" else content

    def foreign(name, content):
        return None if name == "capabilities.json" else content

    def listed(name, content):
        return b"[]" if name == "capabilities.json" else content

    def empty(name, content):
        return b'{"version": 1}' if name == "capabilities.json" else content

    def broken(name, content):
        return content[: len(content) // 2] if name == "data.pkl" else content

    half = tmp_path / "half.pth"
    half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    text = tmp_path / "text.pt2"
    text.write_text("no archive")
    for wrong, message in [
        (half, "half.pth is damaged"),
        (text, "text.pt2 is damaged"),
        (tmp_path / "absent.pth", "absent.pth cannot be read"),
        (rewritten(path, newer), "version 99 .* reads up to 1"),
        (rewritten(path, foreign), "was not written by dp"),
        (rewritten(path, listed), "record is unreadable"),
        (rewritten(path, empty), "record is unreadable"),
        (rewritten(path, broken), "does not load"),
    ]:
        with pytest.raises(FormatError, match=message):
            torch_backend.load(wrong)


def test_no_compiler(model, freeze, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BackendError, match="Install g\\+\\+"):
        freeze(model, ".pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_compiled_file(model, freeze, make_table, torch_backend):
    path = freeze(model, ".pt2")
    evaluate = torch_backend.load(path)
    same_as_model(evaluate, model, make_table, torch_backend, 1e-12)
    assert read_model_document(path)["model"]["type"] == "standard"
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
