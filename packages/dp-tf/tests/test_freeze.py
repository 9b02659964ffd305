"""Frozen files: the same numbers as the model for all sizes, the document inside, and errors."""

import contextlib
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dp_core import frozen
from dp_core.backend import backend_of
from dp_core.errors import BackendError, DataError, FormatError
from dp_core.format.protobuf_field import field, find_field
from dp_core.model_file import DOCUMENT_FIELD, RECORD_FIELD, document_bytes, load_model, read_model_document
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
    "se_e2_a_exclude": 1e-12,
    "mixed_float32_float64": 1e-5,
}
BOTH = pytest.mark.parametrize("suffix", [".pb", ".savedmodeltf"])


@pytest.fixture
def freeze(tf_backend, tmp_path):
    """``freeze(model, suffix)`` writes a frozen file, framework warnings being errors."""

    def write(model, suffix=".pb"):
        path = tmp_path / f"model{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tf_backend.freeze(model, document_bytes(model), path)
        return path

    return write


def same_as_model(evaluate, model, make_table, tf_backend, tolerance):
    blocks = model.neighbor_spec.blocks
    reference = tf_backend.evaluator(model)
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
def test_all_sizes(stored, freeze, make_table, tf_backend, name):
    model = stored(name)
    same_as_model(tf_backend.load(freeze(model)), model, make_table, tf_backend, MODELS[name])


@pytest.mark.parametrize("name", ["se_e2_a_oneside", "ener_fparam_aparam"])
def test_all_sizes_of_a_saved_model(stored, freeze, make_table, tf_backend, name):
    model = stored(name)
    freeze(model, ".savedmodeltf")
    path = freeze(model, ".savedmodeltf")  # takes the place of the first
    same_as_model(tf_backend.load(path), model, make_table, tf_backend, MODELS[name])
    assert not list(path.parent.glob(".*"))


def test_the_graph_is_checked(model, freeze, tmp_path, monkeypatch):
    def other(model, table, gradient):
        out = evaluate_atoms(model, table, gradient)
        return out | {"energy": out["energy"] + 1.0}

    monkeypatch.setattr("dp_tf.freeze.evaluate_atoms", other)
    with pytest.raises(BackendError, match="gives another 'energy'"):
        freeze(model)
    assert not list(tmp_path.iterdir())


def test_parameters_default_and_missing(stored, freeze, make_table, tf_backend):
    model = stored("ener_default_fparam")
    table = replace(make_table(model, [5, 4], [3, 4], frames=3), fparam=None)
    evaluate = tf_backend.load(freeze(model))
    np.testing.assert_allclose(evaluate(table)["energy"], tf_backend.evaluator(model)(table)["energy"], rtol=1e-12)
    model = stored("ener_fparam_aparam")
    evaluate = tf_backend.load(freeze(model))
    for key in ("fparam", "aparam"):
        with pytest.raises(DataError, match=key):
            evaluate(replace(make_table(model, [5, 4], [3, 4]), **{key: None}))


@BOTH
def test_the_document_and_the_record_are_inside(model, freeze, tf_backend, tmp_path, suffix):
    path, document = tmp_path / f"model{suffix}", document_bytes(model)
    tf_backend.freeze(model, document, path)
    assert backend_of(path) == "tensorflow"
    if suffix == ".pb":
        data = path.read_bytes()
        assert find_field(data, DOCUMENT_FIELD) == document
        record = json.loads(find_field(data, RECORD_FIELD))
    else:
        assert (path / "model.dp").read_bytes() == document
        record = json.loads((path / "capabilities.json").read_text())
    assert record == frozen.capabilities(model)
    again = load_model(path)
    for key, value in leaves(model).items():
        np.testing.assert_array_equal(leaves(again)[key], value)
    code = f"import sys, dp_core.model_file as m; m.load_model({str(path)!r}); print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_tensorflow_reads_the_file(model, freeze):
    """Inputs and outputs have the names of the record, and nothing in the graph belongs to this process."""
    with tf.io.gfile.GFile(str(freeze(model)), "rb") as file:
        graph = tf.compat.v1.GraphDef()
        graph.ParseFromString(file.read())
    nodes = {node.name: node for node in graph.node}
    record = frozen.capabilities(model)
    assert {nodes[name].op for name in record["inputs"]} == {"Placeholder"}
    assert {nodes[output["name"]].op for output in record["outputs"]} == {"Identity"}
    assert not graph.library.function
    assert not any("_gradient_op_type" in node.attr for node in graph.node)
    assert not {node.op for node in graph.node} & {"PyFunc", "EagerPyFunc", "VarHandleOp"}


def test_a_saved_model_has_a_signature(model, freeze):
    loaded = tf.saved_model.load(str(freeze(model, ".savedmodeltf")))
    _, inputs = loaded.signatures["serving_default"].structured_input_signature
    record = frozen.capabilities(model)
    assert sorted(inputs) == sorted(record["inputs"])
    assert set(loaded.signatures["serving_default"].structured_outputs) == {o["name"] for o in record["outputs"]}


def rewritten(path, name, change):
    made = path.with_name(name)
    made.write_bytes(change(path.read_bytes()))
    return made


def without_fields(data):
    graph = tf.compat.v1.GraphDef.FromString(data)
    graph.DiscardUnknownFields()
    return graph.SerializeToString()


def with_unknown_operation(data):
    return (
        data.replace(b"TanhGrad", b"TanhLass")
        .replace(b"\n\x04Tanh", b"\n\x04Lass")
        .replace(b"\x12\x04Tanh", b"\x12\x04Lass")
    )


def test_damaged_and_foreign_graphs(model, freeze, tf_backend, tmp_path):
    path = freeze(model)
    half = rewritten(path, "half.pb", lambda data: data[: len(data) // 2])
    newer = rewritten(path, "newer.pb", lambda data: data + field(RECORD_FIELD, b'{"version": 99}'))
    for wrong, message in [
        (half, "half.pb is damaged: it ends after"),
        (rewritten(path, "text.pb", lambda _: b"no graph at all"), "text.pb is damaged"),
        (rewritten(path, "empty.pb", lambda _: b""), "was not written by dp"),
        (tmp_path / "absent.pb", "absent.pb does not exist"),
        (newer, "version 99 .* reads up to 1"),
        (rewritten(path, "list.pb", lambda data: data + field(RECORD_FIELD, b"[]")), "record is unreadable"),
        (rewritten(path, "foreign.pb", without_fields), "was not written by dp"),
        (rewritten(path, "operation.pb", with_unknown_operation), "does not load"),
    ]:
        with pytest.raises(FormatError, match=message):
            tf_backend.load(wrong)
    for wrong in ("half.pb", "text.pb", "foreign.pb", "absent.pb"):
        with pytest.raises(FormatError, match=wrong):
            read_model_document(tmp_path / wrong)


def test_damaged_and_foreign_saved_models(model, freeze, tf_backend, tmp_path):
    path = freeze(model, ".savedmodeltf")

    def changed(name, change):
        made = shutil.copytree(path, tmp_path / f"{name}.savedmodeltf")
        change(made)
        return made

    def halve(folder):
        graph = folder / "saved_model.pb"
        graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])

    file = tmp_path / "file.savedmodeltf"
    file.write_text("no folder")
    newer = json.dumps(frozen.capabilities(model) | {"version": 99})
    for wrong, message in [
        (changed("half", halve), "half.savedmodeltf does not load"),
        (changed("nograph", lambda folder: (folder / "saved_model.pb").unlink()), "nograph.savedmodeltf does not load"),
        (changed("foreign", lambda folder: (folder / "capabilities.json").unlink()), "was not written by dp"),
        (changed("newer", lambda folder: (folder / "capabilities.json").write_text(newer)), "version 99"),
        (file, "is no folder"),
    ]:
        with pytest.raises(FormatError, match=message):
            tf_backend.load(wrong)


def test_files_that_are_too_large_are_refused(model, freeze, tmp_path, monkeypatch):
    monkeypatch.setattr("dp_tf.freeze.LIMIT", 10_000)
    with pytest.raises(BackendError, match="2 GiB at most"):
        freeze(model)
    assert not list(tmp_path.iterdir())


def test_fields_of_any_bytes():
    """Reading hostile bytes ends with an answer or a FormatError."""
    message = b"\x08\x96\x01" + field(3, b"abc") + b"\x11" + bytes(8) + b"\x25" + bytes(4) + field(70001, b"x" * 300)
    assert find_field(message, 3) == b"abc"
    assert find_field(message, 70001) == b"x" * 300
    assert find_field(message, 5) is None
    assert find_field(message + field(3, b""), 3) == b""
    random = np.random.default_rng(0)
    for end in range(len(message)):
        for data in (message[:end], random.bytes(end)):
            with contextlib.suppress(FormatError):
                assert find_field(data, 70001) is None
    with pytest.raises(FormatError, match="has no end"):
        find_field(b"\xff" * 20, 1)


@pytest.fixture(scope="session")
def c_program(tmp_path_factory):
    """A C program that knows nothing but the C library of TensorFlow."""
    program, root = tmp_path_factory.mktemp("c") / "evaluate", Path(tf.__file__).parent
    source = Path(__file__).with_name("evaluate.c")
    libraries = [f"-L{root}", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{root}"]
    command = ["gcc", "-O0", "-Wall", "-Werror", str(source), "-o", str(program), f"-I{root / 'include'}", *libraries]
    subprocess.run(command, check=True)
    return program


@pytest.mark.slow
def test_plain_c(model, freeze, make_table, tf_backend, c_program, tmp_path):
    path, record = freeze(model), frozen.capabilities(model)
    for rows, slots in (([9, 4], [5, 8]), ([30, 17], [9, 3]), ([1, 0], [0, 0])):
        table = make_table(model, rows, slots)
        inputs = tmp_path / "inputs.txt"
        with inputs.open("w") as file:
            for name, x in frozen.graph_inputs(table, record).items():
                print(name, "i" if x.dtype == np.int64 else "f", x.ndim, *x.shape, *x.ravel().tolist(), file=file)
        expected = tf_backend.evaluator(model)(table)
        done = subprocess.run([c_program, path, inputs, *expected], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for line, (key, values) in zip(done.stdout.splitlines(), expected.items(), strict=True):
            np.testing.assert_allclose(np.array(line.split(), float), values.ravel(), rtol=0, atol=1e-13, err_msg=key)
