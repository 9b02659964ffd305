"""The PyTorch backend."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dp_torch.namespace  # noqa: F401  (native primitives)
from dp_core.backend import Derived, DerivedEvaluator, Evaluator, LossFunction, Optimizer, TrainState, checked, threads
from dp_core.batching import no_rounding
from dp_core.module import Array, is_array, tree_map
from dp_core.neighbors import Neighborhood
from dp_core.outputs import evaluate_atoms
from dp_torch import distributed
from dp_torch.autodiff import gradient
from dp_torch.freeze import freeze, load
from dp_torch.training import TorchTraining


def choose_device() -> torch.device:
    """The graphics processor of this process, if there is one and the environment does not say ``DEVICE=cpu``."""
    if os.environ.get("DEVICE", "").lower() == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


class TorchBackend:
    """Evaluates, trains and freezes with PyTorch, on a graphics processor where there is one."""

    name = "torch"
    suffixes = (".pth", ".pt2")
    chunk_rows = 256  # rows of a table that are best evaluated together
    round_rows = staticmethod(no_rounding)
    round_slots = staticmethod(no_rounding)

    def __init__(self) -> None:
        if count := threads("INTRA"):  # PyTorch itself obeys OMP_NUM_THREADS
            torch.set_num_threads(count)
        self.device = choose_device()

    @property
    def rank(self) -> int:
        """Number of this process among those that train together; 0 writes the files."""
        return distributed.rank()

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return distributed.world_size()

    def array(self, x: np.ndarray) -> Array:
        """The array as a tensor on the device. On a CPU it shares the memory."""
        x = checked(x, self.name)
        if not x.flags.writeable or not x.flags.c_contiguous:
            x = np.array(x, order="C")
        return torch.from_numpy(x).to(self.device)

    def evaluator(self, model: Any, function: Derived = evaluate_atoms) -> DerivedEvaluator:
        """A function of tables that evaluates the model with its derivative, or another function of the two."""
        tree = tree_map(self.array, model)

        def evaluate(table: Neighborhood) -> dict[str, np.ndarray]:
            with torch.no_grad():
                out = function(tree, tree_map(self.array, table), gradient)
            return {name: value.cpu().numpy() for name, value in out.items()}

        return evaluate

    def apply(self, function: Callable[[Any, Any], Array], model: Any, table: Any) -> np.ndarray:
        """``function(model, table)`` without derivatives."""
        with torch.no_grad():
            out = function(tree_map(self.array, model), tree_map(self.array, table))
        values: np.ndarray = out.cpu().numpy() if is_array(out) else np.asarray(out)
        return values

    def training(
        self, loss: LossFunction, state: TrainState, optimizer: Optimizer, *, compiled: bool = False
    ) -> TorchTraining:
        """Begin or continue a training."""
        return TorchTraining(loss, state, optimizer, self.array, compiled)

    def freeze(self, model: Any, document: bytes, path: Path) -> None:
        """Write ``.pth`` (TorchScript) or ``.pt2`` (compiled for the processor of this machine)."""
        freeze(model, document, path, self.array)

    def load(self, path: Path) -> Evaluator:
        """The evaluator in a frozen file. A ``.pt2`` holds machine code: load it from places you trust."""
        return load(path, self.array)
