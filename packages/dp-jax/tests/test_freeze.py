"""What is special to JAX's frozen files; what holds for all is in ``tests/test_frozen_files.py``."""

import builtins
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dp_core import frozen
from dp_core.backend import get_backend
from dp_core.errors import BackendError, FormatError
from dp_core.format import seal
from dp_core.model_file import document_bytes, load_model

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
needs_tensorflow = pytest.mark.skipif(not find_spec("tensorflow"), reason="TensorFlow writes this kind of file")
SUFFIXES = [".hlo", pytest.param(".savedmodel", marks=needs_tensorflow)]


@pytest.fixture(scope="module", params=SUFFIXES)
def frozen_file(request, tmp_path_factory):
    """A stored model, and a frozen file of it, of each kind."""
    model = load_model(GOLDEN / "se_e2_a_oneside.dp")
    path = tmp_path_factory.mktemp("frozen") / f"model{request.param}"
    get_backend("jax").freeze(model, document_bytes(model), path)
    return model, path


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


def test_a_damaged_program(frozen_file, jax_backend, tmp_path):
    _, path = frozen_file
    wrong = tmp_path / path.name
    if path.is_dir():
        shutil.copytree(path, wrong)
        graph = wrong / "graph.export"
        graph.write_bytes(graph.read_bytes()[:1000])
        seal(wrong)
    else:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(wrong, "w") as target:
            for name in source.namelist():
                target.writestr(name, source.read(name)[: 1000 if name == "graph.export" else None])
    with pytest.raises(FormatError, match="does not load"):
        jax_backend.load(wrong)


def test_without_tensorflow(model, jax_backend, monkeypatch, tmp_path):
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "tensorflow":
            raise ImportError("No module named 'tensorflow'")
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BackendError, match="pip install tensorflow-cpu"):
        jax_backend.freeze(model, document_bytes(model), tmp_path / "model.savedmodel")
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
