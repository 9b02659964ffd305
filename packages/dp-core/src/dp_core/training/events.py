"""Events for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dp_core.backend import Optimizer, TrainState
from dp_core.errors import ConfigError

TASK = "Default"

#: So many norms are written by name, in a group that is called after their number.
_LARGEST = 10
_GROUP = f"grad_top{_LARGEST}"


def gradient_norms(before: TrainState, after: TrainState, optimizer: Optimizer, norm: float) -> dict[str, float]:
    """The norm of the gradient of each parameter in one step, before clipping, from the first moments of Adam.

    norm: of the whole gradient, before clipping.
    """
    clipped = max(1.0, norm / optimizer.max_norm) if optimizer.max_norm else 1.0
    norms = {}
    for name, new in after.moments["first"].items():
        g = (new - optimizer.beta1 * before.moments["first"][name]) / (1.0 - optimizer.beta1)
        if optimizer.type == "Adam":
            g = g - optimizer.weight_decay * before.params[name]
        norms[name] = clipped * float(np.linalg.norm(g))
    return norms


class Events:
    """Writes rate, loss and metrics of the training batches at step 1 and at every ``freq``-th step.

    clipped: also the norm of the gradient, those of the parameters as a histogram, and the largest of them by name.

    Raises ConfigError if the library is not installed or the folder cannot be written.
    """

    def __init__(self, folder: Path, freq: int, *, clipped: bool, restart_step: int | None):
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "training/tensorboard is true, but tensorboardX is not installed. "
                "Install it with: pip install tensorboardX, or set tensorboard to false."
            ) from error
        purge = None if restart_step is None else restart_step + 1
        try:
            self._writer: Any = SummaryWriter(str(folder), purge_step=purge)
        except OSError as error:
            raise ConfigError(
                f"The folder {folder} for TensorBoard cannot be written: {error.strerror}. "
                "Choose another training/tensorboard_log_dir."
            ) from error
        self._freq, self._clipped = freq, clipped

    def due(self, step: int) -> bool:
        """Whether a step is written."""
        return step == 1 or step % self._freq == 0

    def wants_norms(self, step: int) -> bool:
        """Whether a step is written with the norms of the gradient."""
        return self._clipped and self.due(step)

    def step(self, step: int, values: Mapping[str, float], grad_norm: float, norms: Mapping[str, float]) -> None:
        """The numbers of one step. norms: of the gradient of each parameter, empty if they are not wanted."""
        if not self.due(step):
            return
        scalars = dict(values)
        if norms:
            scalars["grad/total_norm"] = grad_norm
            self._writer.add_histogram(f"{TASK}/grad/param_norms", np.array(list(norms.values())), step)
            largest = sorted(norms, key=lambda name: -norms[name])[:_LARGEST]
            scalars |= {f"{_GROUP}/{name}": norms[name] for name in largest}
        for name, value in scalars.items():
            if not math.isnan(value):
                self._writer.add_scalar(f"{TASK}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
