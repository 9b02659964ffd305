"""What is special to TensorFlow's frozen files; what holds for all is in ``tests/test_frozen_files.py``."""

import contextlib
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dp_core import frozen
from dp_core.errors import BackendError, FormatError
from dp_core.format.protobuf_field import field, find_field, is_sealed, sealed
from dp_core.model_file import document_bytes


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
    made.write_bytes(sealed(change(path.read_bytes())))
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


def test_a_message_that_was_changed_is_not_sealed():
    message = sealed(field(3, b"abc"))
    assert is_sealed(message)
    assert find_field(message, 3) == b"abc"
    for k in range(len(message)):
        assert not is_sealed(message[:k])
        assert not is_sealed(message[:k] + bytes([message[k] ^ 1]) + message[k + 1 :])
    assert not is_sealed(message + field(4, b""))


def test_graphs_of_others(model, freeze, tf_backend):
    path = freeze(model)
    for wrong, message in [
        (rewritten(path, "text.pb", lambda _: b"no graph at all"), "text.pb is damaged"),
        (rewritten(path, "foreign.pb", without_fields), "was not written by dp"),
        (rewritten(path, "operation.pb", with_unknown_operation), "does not load"),
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
