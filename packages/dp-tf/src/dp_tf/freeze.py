"""Frozen files: a model as a graph of plain operations, in one file (.pb) or as a SavedModel (.savedmodeltf)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from dp_core import frozen
from dp_core.errors import BackendError, FormatError
from dp_core.format import read_bytes, seal, write_bytes
from dp_core.format.protobuf_field import LIMIT, field, sealed
from dp_core.model_file import FIELDS, GRAPH_SUFFIX
from dp_core.module import tree_map
from dp_core.neighbors import Neighborhood
from dp_core.outputs import evaluate_atoms
from dp_tf.autodiff import gradient
from dp_tf.graphs import to_tensor
from dp_tf.kernels import portable

Evaluate = Callable[[Neighborhood], dict[str, np.ndarray]]

_SIGNATURE = "serving_default"
_ERRORS = (tf.errors.OpError, DecodeError, OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the framework's remarks about what it writes."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _specs(record: dict[str, Any]) -> list[tf.TensorSpec]:
    """Types and shapes of the inputs of a frozen graph, in order."""
    rows = (None, None)
    fixed = {
        "vectors": tf.TensorSpec((*rows, 3), tf.float64),
        "index": tf.TensorSpec(rows, tf.int64),
        "neighbor_types": tf.TensorSpec(rows, tf.int64),
        "fparam": tf.TensorSpec((None, record["numb_fparam"]), tf.float64),
        "aparam": tf.TensorSpec((None, record["numb_aparam"]), tf.float64),
        "weight": tf.TensorSpec((None,), tf.float64),
    }
    others = tf.TensorSpec((None,), tf.int64)
    return [tf.TensorSpec.from_spec(fixed.get(name, others), name=name) for name in record["inputs"]]


def _graph(model: Any, record: dict[str, Any]) -> Any:
    """The graph of a model with tensor leaves, as a protobuf message; inputs and outputs have their names."""
    function = frozen.graph(model, gradient)
    names = [output["name"] for output in record["outputs"]]

    def evaluate(*inputs: Any) -> list[Any]:
        return [tf.identity(x, name) for name, x in zip(names, function(*inputs), strict=True)]

    with portable():  # programs that run the file have TensorFlow alone
        traced = tf.function(evaluate, input_signature=_specs(record), autograph=False).get_concrete_function()
    graph = convert_variables_to_constants_v2(traced).graph.as_graph_def()
    for node in graph.node:
        node.attr.pop("_gradient_op_type", None)  # names of functions in this process
    return graph


def _function(graph: Any, record: dict[str, Any]) -> Any:
    """The function that runs a graph: the inputs in order -> the outputs in order. TensorFlow remarks on it."""
    whole = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    inputs, outputs = (
        [whole.graph.as_graph_element(f"{name}:0") for name in names]
        for names in (record["inputs"], [output["name"] for output in record["outputs"]])
    )
    return whole.prune(inputs, outputs)


def freeze(model: Any, document: bytes, path: Path) -> None:
    """Write a frozen file; a single graph for ``.pb``, else a SavedModel. model: the tree with NumPy leaves."""
    record, tree = frozen.capabilities(model), tree_map(to_tensor, model)
    graph, members = _graph(tree, record), frozen.contents(document, record)

    def reference(table: Neighborhood) -> dict[str, np.ndarray]:
        out = evaluate_atoms(tree, tree_map(to_tensor, table), gradient)
        return {name: x.numpy() for name, x in out.items()}

    with frozen.writing(path, model, load, reference) as made:
        if path.suffix == GRAPH_SUFFIX:
            _write_graph(graph, members, made)
        else:
            _write_saved_model(graph, record, members, made)


def _write_graph(graph: Any, members: dict[str, bytes], path: Path) -> None:
    size = graph.ByteSize() + sum(map(len, members.values())) + 100
    if size > LIMIT:
        raise BackendError(
            f"The file would have {size / 2**30:.1f} GiB, and a .pb file has 2 GiB at most. Freeze to .savedmodeltf."
        )
    fields = [field(FIELDS[name], content) for name, content in members.items()]
    write_bytes(path, sealed(b"".join([graph.SerializeToString(), *fields])))


def _write_saved_model(graph: Any, record: dict[str, Any], members: dict[str, bytes], path: Path) -> None:
    with _quiet():
        run = _function(graph, record)
    names = [output["name"] for output in record["outputs"]]
    module = tf.Module()

    def evaluate(*inputs: Any) -> dict[str, Any]:
        return dict(zip(names, run(*inputs), strict=True))

    module.evaluate = tf.function(evaluate, input_signature=_specs(record), autograph=False)
    with _quiet():
        tf.saved_model.save(module, str(path), signatures={_SIGNATURE: module.evaluate})
    for name, content in members.items():
        write_bytes(path / name, content)
    seal(path)


def load(path: Path) -> Evaluate:
    """The evaluator in a frozen file. Raises FormatError for files that are damaged, foreign or too new."""
    record, _ = frozen.read_frozen(path, "dp-tf")
    names = [output["name"] for output in record["outputs"]]
    try:
        with _quiet():
            run = _saved_model(path) if path.is_dir() else _single_graph(path, record)
    except _ERRORS as error:
        raise FormatError(f"{path} does not load: {error}. Copy or freeze it again.") from error

    def evaluate(table: Neighborhood) -> dict[str, np.ndarray]:
        inputs = {name: tf.convert_to_tensor(x) for name, x in frozen.graph_inputs(table, record).items()}
        found = run(inputs)
        return {name: found[name].numpy() for name in names}

    return evaluate


def _saved_model(path: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The function in a SavedModel: inputs by name -> outputs by name."""
    saved = tf.saved_model.load(str(path)).signatures[_SIGNATURE]
    return lambda inputs: saved(**inputs)


def _single_graph(path: Path, record: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The function in a ``.pb``: inputs by name -> outputs by name."""
    run = _function(tf.compat.v1.GraphDef.FromString(read_bytes(path)), record)
    names = [output["name"] for output in record["outputs"]]
    return lambda inputs: dict(zip(names, run(*inputs.values()), strict=True))
