"""The TensorFlow backend."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import dp_tf.primitives  # noqa: F401  (makes dp-core know tensors)
from dp_core.backend import Derived, DerivedEvaluator, Evaluator, LossFunction, Optimizer, TrainState, threads
from dp_core.batching import no_rounding
from dp_core.module import Array, is_array, tree_map
from dp_core.neighbors import Neighborhood
from dp_core.outputs import evaluate_atoms
from dp_tf import distributed
from dp_tf.autodiff import gradient
from dp_tf.freeze import freeze, load
from dp_tf.graphs import Graph, to_tensor
from dp_tf.training import TensorflowTraining

#: Numbers of glibc's M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD, with values.
_MALLOPT = ((-4, 0), (-1, 2**31 - 1), (-2, 2**26))


def set_devices() -> None:
    """Use one graphics processor if there is one and the environment does not say ``DEVICE=cpu``."""
    found = tf.config.list_physical_devices("GPU")
    if os.environ.get("DEVICE", "").lower() == "cpu":
        found = []
    chosen = found[distributed.rank() % len(found)] if found else None
    tf.config.set_visible_devices([chosen] if chosen else [], "GPU")
    if chosen:
        tf.config.experimental.set_memory_growth(chosen, True)


def set_threads() -> None:
    """Use as many threads as ``DP_INTRA_OP_PARALLELISM_THREADS`` and ``DP_INTER_OP_PARALLELISM_THREADS`` say.

    There are ``OMP_NUM_THREADS`` of each where nothing else is said.
    """
    for kind, use in (
        ("INTRA", tf.config.threading.set_intra_op_parallelism_threads),
        ("INTER", tf.config.threading.set_inter_op_parallelism_threads),
    ):
        if count := threads(kind, "OMP_NUM_THREADS"):
            use(count)


def keep_memory() -> None:
    """Let the C library keep freed memory: mapping every large array anew takes a tenth of a training step."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            for parameter, value in _MALLOPT:
                library.mallopt(parameter, value)


class TensorflowBackend:
    """Evaluates, trains and freezes with TensorFlow, on a graphics processor where there is one."""

    name = "tensorflow"
    suffixes = (".pb", ".savedmodeltf")
    chunk_rows = 256  # rows of a table that are best evaluated together
    round_rows = staticmethod(no_rounding)
    round_slots = staticmethod(no_rounding)

    def __init__(self) -> None:
        try:
            set_devices()
            set_threads()
        except RuntimeError:  # a program that has used TensorFlow before has made its own choice
            pass
        tf.config.experimental.enable_tensor_float_32_execution(False)  # products keep the precision of the model
        keep_memory()
        distributed.join()

    @property
    def rank(self) -> int:
        """Number of this process among those that train together; 0 writes the files."""
        return distributed.rank()

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return distributed.world_size()

    def array(self, x: np.ndarray) -> Array:
        """The array as a tensor."""
        return to_tensor(x)

    def evaluator(self, model: Any, function: Derived = evaluate_atoms) -> DerivedEvaluator:
        """A function of tables that evaluates the model with its derivative, or another function of the two."""
        tree = tree_map(to_tensor, model)
        graph = Graph(lambda table: function(tree, table, gradient))

        def evaluate(table: Neighborhood) -> dict[str, np.ndarray]:
            return {name: value.numpy() for name, value in graph(table).items()}

        return evaluate

    def apply(self, function: Callable[[Any, Any], Array], model: Any, table: Any) -> np.ndarray:
        """``function(model, table)`` without derivatives."""
        out = function(tree_map(to_tensor, model), tree_map(to_tensor, table))
        values: np.ndarray = out.numpy() if is_array(out) and not isinstance(out, np.ndarray) else np.asarray(out)
        return values

    def training(
        self, loss: LossFunction, state: TrainState, optimizer: Optimizer, *, compiled: bool = False
    ) -> TensorflowTraining:
        """Begin or continue a training. compiled: by XLA, anew for all sizes of batches."""
        return TensorflowTraining(loss, state, optimizer, compiled)

    def freeze(self, model: Any, document: bytes, path: Path) -> None:
        """Write ``.pb`` (one graph) or ``.savedmodeltf`` (a SavedModel, a folder)."""
        freeze(model, document, path)

    def load(self, path: Path) -> Evaluator:
        """The evaluator in a frozen file."""
        return load(path)
