"""Frozen files: the same numbers as the model for all sizes, the document inside, and errors."""

import builtins
import json
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dp_core import frozen
from dp_core.backend import backend_of, get_backend
from dp_core.errors import BackendError, DataError, FormatError
from dp_core.inference import DeepPot
from dp_core.model_file import document_bytes, load_model
from dp_core.module import leaves, replace

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
SIZES = [
    ([20, 10], [7, 3], 3),
    ([5, 9], [0, 4], 1),  # no neighbours of one type
    ([0, 9], [6, 4], 2),  # no atoms of one type
    ([1, 0], [0, 0], 1),  # one isolated atom
    ([0, 0], [3, 4], 1),  # nothing
]
needs_tensorflow = pytest.mark.skipif(not find_spec("tensorflow"), reason="TensorFlow writes this kind of file")
SUFFIXES = [".hlo", pytest.param(".savedmodel", marks=needs_tensorflow)]


@pytest.fixture
def freeze(jax_backend, tmp_path):
    """``freeze(model, suffix)`` writes a frozen file."""

    def write(model, suffix=".hlo"):
        path = tmp_path / f"model{suffix}"
        jax_backend.freeze(model, document_bytes(model), path)
        return path

    return write


@pytest.fixture(scope="module", params=SUFFIXES)
def frozen_file(request, tmp_path_factory):
    """A stored model, and a frozen file of it, of each kind."""
    model = load_model(GOLDEN / "se_e2_a_oneside.dp")
    path = tmp_path_factory.mktemp("frozen") / f"model{request.param}"
    backend = get_backend("jax")
    for _ in range(2):  # the second replaces the first
        backend.freeze(model, document_bytes(model), path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return model, path


def test_all_sizes(frozen_file, make_table, jax_backend):
    model, path = frozen_file
    evaluate, reference = jax_backend.load(path), get_backend("numpy").evaluator(model)
    for rows, slots, frames in SIZES:
        table = make_table(model, rows, slots, frames=frames)
        found, expected = evaluate(table), reference(table)
        assert list(found) == list(expected)
        for key, value in found.items():
            assert value.shape == expected[key].shape
            assert value.dtype == np.float64
            scale = np.abs(expected[key]).max(initial=0.0)
            np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-12 * scale, err_msg=f"{key} {rows}")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["se_e2_a_twoside", "ener_fparam_aparam", "float32"])
def test_golden(stored, freeze, name, suffix):
    """Stored numbers, of systems other than the file was made with."""
    pot = DeepPot(freeze(stored(name), suffix))
    assert pot.backend_name == "jax"
    case = np.load(GOLDEN / f"{name}.npz")
    tolerance = json.loads((GOLDEN / f"{name}.json").read_text())["tolerance"]["rtol"]
    parameters = {key: case[key] for key in ("fparam", "aparam") if key in case}
    found = pot.eval(case["coord"], case.get("box"), case["atype"], **parameters)
    for value, key in zip(found, ("energy", "force", "virial"), strict=True):
        assert np.abs(value - case[key]).max() < tolerance * np.abs(case[key]).max(), key


def test_the_graph_is_checked(model, freeze, tmp_path, monkeypatch):
    def wrong(model, gradient):
        evaluate = frozen.graph(model, gradient)
        return lambda *inputs: (evaluate(*inputs)[0] + 1.0, *evaluate(*inputs)[1:])

    monkeypatch.setattr("dp_jax.freeze.graph", wrong)
    with pytest.raises(BackendError, match="gives another 'energy'"):
        freeze(model)
    assert not list(tmp_path.iterdir())


def test_parameters(stored, freeze, make_table, jax_backend):
    """Numbers of frames that change, defaults that are filled in, and parameters that are missing."""
    model = stored("ener_default_fparam")
    evaluate, reference = jax_backend.load(freeze(model)), get_backend("numpy").evaluator(model)
    for frames in (1, 9):
        table = make_table(model, [5, 4], [3, 4], frames=frames)
        np.testing.assert_allclose(evaluate(table)["energy"], reference(table)["energy"], rtol=1e-12)
    table = replace(table, fparam=None)
    np.testing.assert_allclose(evaluate(table)["energy"], reference(table)["energy"], rtol=1e-12)
    evaluate = jax_backend.load(freeze(stored("ener_fparam_aparam")))
    with pytest.raises(DataError, match="aparam"):
        evaluate(replace(make_table(stored("ener_fparam_aparam"), [5, 4], [3, 4]), aparam=None))


def test_the_document_and_the_record_are_inside(frozen_file):
    model, path = frozen_file
    assert backend_of(path) == "jax"
    code = f"import sys, dp_core.model_file as m; print(m.document_bytes(m.load_model({str(path)!r})).hex()); "
    code += "print([name for name in ('jax', 'tensorflow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"
    again = load_model(path)
    for key, value in leaves(model).items():
        np.testing.assert_array_equal(leaves(again)[key], value)
    if path.is_dir():
        record = json.loads((path / "capabilities.json").read_text())
    else:
        with zipfile.ZipFile(path) as archive:
            record = json.loads(archive.read("capabilities.json"))
    assert record == json.loads(json.dumps(frozen.capabilities(model)))


def test_tensorflow_is_not_needed_to_evaluate(frozen_file, tmp_path):
    _, path = frozen_file
    case = GOLDEN / "se_e2_a_oneside.npz"
    code = (
        "import sys, numpy as np; sys.modules['tensorflow'] = None; from dp_core import DeepPot\n"
        f"case = np.load({str(case)!r}); pot = DeepPot({str(path)!r})\n"
        "energy = pot.eval(case['coord'], case['box'], case['atype'])[0]\n"
        "print(np.abs(energy - case['energy']).max() < 1e-9 * np.abs(case['energy']).max())"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n"
    assert done.stderr == ""


def damaged(path, folder, change):
    """A copy with the contents of members changed; None leaves one out."""
    made = folder / f"{change.__name__}{path.suffix}"
    if path.is_dir():
        made.mkdir()
        for file in path.iterdir():
            content = change(file.name, file.read_bytes())
            if content is not None:
                (made / file.name).write_bytes(content)
        return made
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(made, "w") as target:
        for item in source.infolist():
            content = change(item.filename, source.read(item))
            if content is not None:
                target.writestr(item, content)
    return made


def newer(name, content):
    return content.replace(b'"version": 1', b'"version": 99') if name == "capabilities.json" else content


def foreign(name, content):
    return None if name == "capabilities.json" else content


def broken(name, content):
    return content[: len(content) // 2] if name == "graph.export" else content


def unreadable(name, content):
    return content[:20] if name == "capabilities.json" else content


def test_damaged_and_foreign_files(frozen_file, jax_backend, tmp_path):
    _, path = frozen_file
    for change, message in [
        (newer, "version 99 .* reads up to 1"),
        (foreign, "was not written by dp"),
        (broken, "does not load"),
        (unreadable, "is damaged"),
    ]:
        with pytest.raises(FormatError, match=message):
            jax_backend.load(damaged(path, tmp_path, change))
    with pytest.raises(FormatError, match="cannot be read"):
        jax_backend.load(tmp_path / f"absent{path.suffix}")
    if path.is_file():
        half = tmp_path / "half.hlo"
        half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(FormatError, match=r"half\.hlo is damaged"):
            jax_backend.load(half)
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo("graph.export")
        content = bytearray(path.read_bytes())
        begin = member.header_offset + 30 + len(member.filename)
        content[begin : begin + 40] = bytes(40 * [255])
        half.write_bytes(content)
        with pytest.raises(FormatError, match=r"half\.hlo is damaged"):
            jax_backend.load(half)


def test_without_tensorflow(model, freeze, monkeypatch, tmp_path):
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "tensorflow":
            raise ImportError("No module named 'tensorflow'")
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BackendError, match="pip install tensorflow-cpu"):
        freeze(model, ".savedmodel")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def c_program(tmp_path_factory):
    """A C program that knows nothing but what TensorFlow's wheel ships: folder, a file of inputs -> outputs as text."""
    root = Path(find_spec("tensorflow").origin).parent
    program = tmp_path_factory.mktemp("c") / "evaluate"
    source = Path(__file__).with_name("evaluate.c")
    libraries = ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{root}"]
    compiler = [shutil.which("gcc"), "-std=c11", "-Wall", "-Werror", str(source), "-o", str(program)]
    subprocess.run([*compiler, f"-I{root / 'include'}", f"-L{root}", *libraries], check=True)
    return program


@pytest.mark.slow
@needs_tensorflow
@pytest.mark.skipif(not shutil.which("gcc"), reason="compiles a program")
@pytest.mark.parametrize("frozen_file", [".savedmodel"], indirect=True)
def test_plain_c(frozen_file, make_table, c_program, tmp_path):
    model, path = frozen_file
    reference = get_backend("numpy").evaluator(model)
    for rows, slots in (([9, 4], [5, 8]), ([1, 3], [2, 1])):
        table, inputs = make_table(model, rows, slots), tmp_path / "inputs.txt"
        with inputs.open("w") as file:
            for name, x in frozen.graph_inputs(table, frozen.capabilities(model)).items():
                kind = "i" if x.dtype == np.int64 else "f"
                print(name, kind, x.ndim, *x.shape, *x.ravel().tolist(), file=file)
        done = subprocess.run([str(c_program), str(path), str(inputs)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for line, (key, expected) in zip(done.stdout.splitlines(), reference(table).items(), strict=True):
            found = np.array(line.split(), float)
            np.testing.assert_allclose(found, expected.ravel(), rtol=0, atol=1e-13, err_msg=key)
