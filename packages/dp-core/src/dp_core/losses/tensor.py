"""The loss of dipoles and polarizabilities: mean squared errors of frames and of atoms, with constant weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.data.frame import Label
from dp_core.inputs import atomic_label, total_label
from dp_core.losses.reductions import known, mean, mean_natoms, total_of
from dp_core.losses.shared import check_kind
from dp_core.module import Array
from dp_core.outputs import Gradient, OutputDef, reduce_output
from dp_core.schema.section import Section, option, wrong

if TYPE_CHECKING:
    from dp_core.training.batch import TrainingBatch


class TensorSettings(Section):
    """Settings of the tensor loss in an input file."""

    type: Literal["tensor"] = option("tensor", "name of the loss")
    pref: float = option(..., "weight of the tensor of the frame", ge=0)
    pref_atomic: float = option(..., "weight of the tensors of the atoms", ge=0)
    enable_atomic_weight: bool = option(False, "errors of atoms are multiplied by the label atomic_weight")

    @pydantic.model_validator(mode="after")
    def _some(self) -> TensorSettings:
        if not (self.pref or self.pref_atomic):
            raise wrong("pref", "and pref_atomic are zero, so there is nothing to train")
        return self


@dataclass(frozen=True)
class TensorLoss:
    """Loss of one output that is a vector or a matrix."""

    settings: TensorSettings
    output: OutputDef

    Settings = TensorSettings

    @classmethod
    def from_settings(cls, settings: TensorSettings, start_lr: float, output: OutputDef) -> TensorLoss:
        """The loss of an input section. Raises ConfigError for models of something else."""
        check_kind("tensor", ("dipole", "polar"), output)
        return cls(settings, output)

    def prefactors(self, learning_rate: float) -> dict[str, float]:
        """The weights, whatever the learning rate."""
        return {"global": self.settings.pref, "local": self.settings.pref_atomic}

    def labels(self, model: Any) -> list[Label]:
        """The labels with a weight; none is required. Those of atoms may be given for selected types only."""
        s = self.settings
        labels = [total_label(model)] if s.pref else []
        if s.pref_atomic:
            labels.append(atomic_label(model))
            if s.enable_atomic_weight:
                labels.append(Label("atomic_weight", 1, atomic=True, default=1.0, counts_when_absent=True))
        return labels

    def predict(self, model: Any, batch: TrainingBatch, gradient: Gradient) -> dict[str, Array]:
        """The tensors of atoms and frames."""
        return reduce_output(model(batch.table), self.output, batch.table, batch.nframes)

    def __call__(self, predicted: dict[str, Array], batch: TrainingBatch) -> tuple[Array, dict[str, Array]]:
        """The loss, and the errors ``rmse_local_dipole``, ``rmse_global_dipole`` (per atom), or those of ``polar``.

        predicted: atomic (n, size), total (frames, size), mask (n,). Errors of labels that no frame has are NaN.
        """
        s, name, kind = self.settings, self.output.name, self.output.kind
        terms: list[Array] = []
        metrics: dict[str, Array] = {}
        xp = namespace(predicted["atomic"])
        if s.pref_atomic:
            found = batch.found[f"atom_{name}"]
            error = batch.labels[f"atom_{name}"] - predicted["atomic"]
            if s.enable_atomic_weight:
                error = error * batch.labels["atom_weight"]
            local = mean(error * error, predicted["mask"] * arrays.take(found, batch.table.frame))
            terms.append(batch.prefactors["local"] * local)
            metrics[f"rmse_local_{kind}"] = known(xp.sqrt(local), found)
        if s.pref:
            found = batch.found[name]
            error = batch.labels[name] - predicted["total"]
            whole = mean(error * error, found)
            terms.append(batch.prefactors["global"] * whole)
            metrics[f"rmse_global_{kind}"] = known(xp.sqrt(whole) / mean_natoms(predicted["mask"], batch, found), found)
        return total_of(terms), metrics
