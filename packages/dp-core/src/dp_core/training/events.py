"""Events for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dp_core.errors import ConfigError

TASK = "Default"


class Events:
    """Writes rate, loss and metrics of the training batches at step 1 and at every ``freq``-th step.

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

    def step(
        self, step: int, metrics: Mapping[str, float], loss: float, grad_norm: float, learning_rate: float
    ) -> None:
        """The numbers of one step."""
        if step != 1 and step % self._freq:
            return
        values = {"lr": learning_rate, "loss": loss, **metrics}
        if self._clipped:
            values["grad/total_norm"] = grad_norm
        for name, value in values.items():
            if not math.isnan(value):
                self._writer.add_scalar(f"{TASK}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
