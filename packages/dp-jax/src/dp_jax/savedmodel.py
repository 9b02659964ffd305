"""A TensorFlow SavedModel of one node that runs StableHLO, for programs that use TensorFlow's C interface."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
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


def write_graph(
    tf: Any, exported: Exported, inputs: Mapping[str, np.ndarray], outputs: list[str], folder: Path
) -> None:
    """Write ``saved_model.pb``: the inputs and outputs are nodes of their names, of the signature ``serving_default``."""
    from tensorflow.compiler.tf2xla.python import xla
    from tensorflow.core.protobuf import saved_model_pb2

    shapes = [[d if isinstance(d, int) else None for d in x.shape] for x in exported.in_avals]
    results = [[d if isinstance(d, int) else None for d in x.shape] for x in exported.out_avals]
    graph = tf.Graph()
    with graph.as_default(), tf.device(None):
        given = {
            name: tf.compat.v1.placeholder(tf.as_dtype(x.dtype), shape, name)
            for (name, x), shape in zip(inputs.items(), shapes, strict=True)
        }
        found = xla.call_module(
            list(given.values()),
            version=exported.calling_convention_version,
            module=exported.mlir_module_serialized,
            Tout=[tf.as_dtype(x.dtype) for x in exported.out_avals],
            Sout=[tf.TensorShape(shape) for shape in results],
            platforms=[platform.upper() for platform in exported.platforms],
            function_list=[],
            has_token_input_output=False,
            disabled_checks=[],
        )
        named = {name: tf.identity(x, name) for name, x in zip(outputs, found, strict=True)}
        signature = tf.compat.v1.saved_model.predict_signature_def(given, named)
    saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    content = saved.meta_graphs.add()
    content.meta_info_def.tags.append("serve")
    content.meta_info_def.tensorflow_version = tf.__version__
    content.graph_def.CopyFrom(graph.as_graph_def())
    content.signature_def["serving_default"].CopyFrom(signature)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
