"""The loss of properties: errors of frames in units of the deviation of the training data, summed over the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.data.frame import Label
from dp_core.losses.reductions import mean, quotient, smooth_absolute
from dp_core.losses.shared import check_kind
from dp_core.module import Array
from dp_core.outputs import Gradient, OutputDef, reduce_output
from dp_core.schema.section import Section, option

if TYPE_CHECKING:
    from dp_core.training.batch import TrainingBatch

Measure = Literal["smooth_mae", "mae", "mse", "rmse", "mape"]

#: Added to the label that a relative error is divided by.
_SMALL = 1e-3


class PropertySettings(Section):
    """Settings of the property loss in an input file."""

    type: Literal["property"] = option("property", "name of the loss")
    loss_func: Measure = option("smooth_mae", "measure of the errors that is made small")
    metric: list[Measure] = option(["mae"], "measures that are displayed", min_length=1)
    beta: float = option(1.0, "where smooth_mae becomes linear, in deviations of the training data", gt=0)


@dataclass(frozen=True)
class PropertyLoss:
    """Loss of one property. It has no weights."""

    settings: PropertySettings
    output: OutputDef

    Settings = PropertySettings

    @classmethod
    def from_settings(cls, settings: PropertySettings, start_lr: float, output: OutputDef) -> PropertyLoss:
        """The loss of an input section. Raises ConfigError for models of something else."""
        check_kind("property", ("property",), output)
        return cls(settings, output)

    def prefactors(self, learning_rate: float) -> dict[str, float]:
        """None."""
        return {}

    def labels(self, model: Any) -> list[Label]:
        """The property of the frame, which every frame must have."""
        return [Label(self.output.name, self.output.size, required=True)]

    def predict(self, model: Any, batch: TrainingBatch, gradient: Gradient) -> dict[str, Array]:
        """The property of the frames, with the bias and deviation of the model, (task_dim,)."""
        found = reduce_output(model(batch.table), self.output, batch.table, batch.nframes)
        return found | {"bias": model.out_bias[0, 0, :], "std": model.out_std[0, 0, :]}

    def __call__(self, predicted: dict[str, Array], batch: TrainingBatch) -> tuple[Array, dict[str, Array]]:
        """The loss and the measures to display. An extensive property counts per atom."""
        s, found = self.settings, batch.found[self.output.name]
        label, value = batch.labels[self.output.name], predicted["total"]
        if not self.output.intensive:
            count = arrays.segment_sum(predicted["mask"], batch.table.frame, batch.nframes)[:, None]
            label, value = quotient(label, count), quotient(value, count)
        error = value - label
        std = predicted["std"][None, :]
        scaled = quotient(error, std)  # what is the same in all training data has nothing to learn
        count = namespace(found).sum(found) * float(self.output.size)
        summed = s.loss_func in ("smooth_mae", "mae", "mse")
        loss = _measure(s.loss_func, error if s.loss_func == "mape" else scaled, label, found, s.beta)
        metrics: dict[str, Array] = {name: _measure(name, error, label, found, s.beta) for name in s.metric}
        return loss * count if summed else loss, metrics


def _measure(name: str, error: Array, label: Array, found: Array, beta: float) -> Array:
    """The mean of errors (frames, c) by a measure."""
    xp = namespace(error)
    if name == "smooth_mae":
        return mean(smooth_absolute(error, beta), found)
    if name == "mae":
        return mean(xp.abs(error), found)
    if name == "mape":
        return mean(xp.abs(error / (label + _SMALL)), found)
    squares = mean(error * error, found)
    return xp.sqrt(squares) if name == "rmse" else squares
