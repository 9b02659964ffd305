"""A TensorFlow SavedModel of one node that runs StableHLO, for programs that use TensorFlow's C interface."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax.export import Exported

from dp_core.errors import BackendError


def import_tensorflow() -> Any:
    """TensorFlow, without its greetings. Raises BackendError where it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    try:
        import tensorflow
    except ImportError as error:
        raise BackendError(
            f"A .savedmodel is written with TensorFlow, which does not load: {error}. Install it with: "
            "pip install tensorflow-cpu (the file can be used without it), or freeze to .hlo"
        ) from error
    return tensorflow


def write_graph(tf: Any, exported: Exported, inputs: Sequence[str], outputs: Sequence[str], folder: Path) -> None:
    """Write ``saved_model.pb``: nodes with the names of inputs and outputs, in the signature ``serving_default``."""
    from tensorflow.compiler.tf2xla.python import xla
    from tensorflow.core.protobuf import saved_model_pb2

    graph = tf.Graph()
    with graph.as_default(), tf.device(None):
        given = [
            tf.compat.v1.placeholder(tf.as_dtype(aval.dtype), _open(aval.shape), name)
            for name, aval in zip(inputs, exported.in_avals, strict=True)
        ]
        found = xla.call_module(
            given,
            version=exported.calling_convention_version,
            module=exported.mlir_module_serialized,
            Tout=[tf.as_dtype(aval.dtype) for aval in exported.out_avals],
            Sout=[tf.TensorShape(_open(aval.shape)) for aval in exported.out_avals],
            platforms=[platform.upper() for platform in exported.platforms],
            function_list=[],
            has_token_input_output=False,
            disabled_checks=[],
        )
        named = [tf.identity(x, name) for name, x in zip(outputs, found, strict=True)]
    saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    content = saved.meta_graphs.add()
    content.meta_info_def.tags.append("serve")
    content.meta_info_def.tensorflow_version = tf.__version__
    content.graph_def.CopyFrom(graph.as_graph_def())
    signature = content.signature_def["serving_default"]
    signature.method_name = "tensorflow/serving/predict"
    for entries, tensors in ((signature.inputs, given), (signature.outputs, named)):
        for x in tensors:
            entry = entries[x.op.name]
            entry.name, entry.dtype = x.name, x.dtype.as_datatype_enum
            entry.tensor_shape.CopyFrom(x.shape.as_proto())
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())


def _open(shape: tuple[Any, ...]) -> list[int | None]:
    """A shape with None for sizes left open."""
    return [size if isinstance(size, int) else None for size in shape]
