"""The JAX backend."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dp_core.backend import Derived, DerivedEvaluator, Evaluator, LossFunction, Optimizer, TrainState, checked, threads
from dp_core.module import Array, leaves, with_leaves
from dp_core.neighbors import Neighborhood
from dp_core.outputs import evaluate_atoms
from dp_jax import distributed, kernels, sizes
from dp_jax.compiled import Compiled, outline
from dp_jax.freeze import freeze, load
from dp_jax.namespace import gradient
from dp_jax.training import JaxTraining

#: Functions applied last that are kept, with what is compiled of them.
_APPLIED = 4


class JaxBackend:
    """Evaluates, trains and freezes with JAX in double precision, on graphics processors where there are any."""

    name = "jax"
    suffixes = (".savedmodel", ".hlo")
    chunk_rows = 256  # rows of a table that are best evaluated together
    round_rows = staticmethod(sizes.round_rows)
    round_slots = staticmethod(sizes.round_slots)

    def __init__(self) -> None:
        if count := threads("INTRA"):
            os.environ["NPROC"] = str(count)  # what XLA reads when it makes its threads, at the first computation
        jax.config.update("jax_enable_x64", True)
        if jax.config.jax_default_matmul_precision is None:  # else graphics processors round float32 to TF32
            jax.config.update("jax_default_matmul_precision", "highest")
        if os.environ.get("DEVICE", "").lower() == "cpu":
            jax.config.update("jax_platforms", "cpu")
        distributed.join()
        self._evaluators: dict[tuple[Derived, str], Compiled] = {}
        self._applied: dict[Any, Compiled] = {}

    @property
    def rank(self) -> int:
        """Number of this process among those that train together; 0 writes the files."""
        number: int = jax.process_index()
        return number

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        count: int = jax.process_count()
        return count

    def array(self, x: np.ndarray) -> Array:
        """A copy of the array on the device."""
        return jax.numpy.array(checked(x, self.name))

    def evaluator(self, model: Any, function: Derived = evaluate_atoms) -> DerivedEvaluator:
        """A function of tables that evaluates the model with its derivative, or another function of the two."""
        template = outline(model)

        def evaluated(table: Neighborhood, values: dict[str, Array]) -> tuple[dict[str, Array]]:
            with kernels.in_use(trains=False):
                return (function(with_leaves(template, values), table, gradient),)

        # models that differ in their numbers only share what is compiled
        compiled = self._evaluators.setdefault((function, repr(template)), Compiled("evaluation", evaluated))
        values = {path: self.array(x) for path, x in leaves(model).items()}

        def evaluate(table: Neighborhood) -> dict[str, np.ndarray]:
            (out,) = compiled(sizes.with_frames(table), values)
            return {name: np.asarray(value) for name, value in out.items()}

        return evaluate

    def apply(self, function: Callable[[Any, Any], Array], model: Any, table: Any) -> np.ndarray:
        """``function(model, table)`` without derivatives. The last functions are compiled once for every shape."""
        template = outline(model)
        key = (function, repr(template))
        if key not in self._applied:

            def applied(table: Any, values: dict[str, Array]) -> tuple[dict[str, Array]]:
                return ({"value": function(with_leaves(template, values), table)},)

            self._applied[key] = Compiled("function", applied)
            for old in list(self._applied)[:-_APPLIED]:
                del self._applied[old]
        (out,) = self._applied[key](sizes.with_frames(table), leaves(model))
        return np.asarray(out["value"])

    def training(
        self, loss: LossFunction, state: TrainState, optimizer: Optimizer, *, compiled: bool = False
    ) -> JaxTraining:
        """Begin or continue a training. It is compiled in any case."""
        return JaxTraining(loss, state, optimizer)

    def freeze(self, model: Any, document: bytes, path: Path) -> None:
        """Write ``.hlo`` (StableHLO of jax.export) or ``.savedmodel`` (the same for TensorFlow's C interface)."""
        freeze(model, document, path, self.array, self.evaluator(model))

    def load(self, path: Path) -> Evaluator:
        """The evaluator in a frozen file."""
        return load(path)
