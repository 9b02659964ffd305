"""The loss of densities of states: of frames and atoms, as they are and summed up to each energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.data.frame import Label
from dp_core.inputs import atomic_label, total_label
from dp_core.losses.reductions import known, mean, mean_natoms, total_of
from dp_core.losses.shared import check_kind, is_active, prefactors
from dp_core.module import Array
from dp_core.outputs import Gradient, OutputDef, reduce_output
from dp_core.schema.section import Section, option, wrong

if TYPE_CHECKING:
    from dp_core.training.batch import TrainingBatch

#: Term -> the error that it displays, whether it is of atoms, whether it is of the sum up to each energy.
TERMS = {
    "ados": ("rmse_local_dos", True, False),
    "acdf": ("rmse_local_cdf", True, True),
    "dos": ("rmse_global_dos", False, False),
    "cdf": ("rmse_global_cdf", False, True),
}


class DosSettings(Section):
    """Settings of the density-of-states loss in an input file."""

    type: Literal["dos"] = option("dos", "name of the loss")
    start_pref_dos: float = option(0.0, "weight of the density of the frame at the start", ge=0)
    limit_pref_dos: float = option(0.0, "weight of the density of the frame at the end", ge=0)
    start_pref_cdf: float = option(0.0, "weight of the density of the frame up to each energy, at the start", ge=0)
    limit_pref_cdf: float = option(0.0, "weight of the density of the frame up to each energy, at the end", ge=0)
    start_pref_ados: float = option(1.0, "weight of the densities of the atoms at the start", ge=0)
    limit_pref_ados: float = option(1.0, "weight of the densities of the atoms at the end", ge=0)
    start_pref_acdf: float = option(0.0, "weight of the densities of the atoms up to each energy, at the start", ge=0)
    limit_pref_acdf: float = option(0.0, "weight of the densities of the atoms up to each energy, at the end", ge=0)

    @pydantic.model_validator(mode="after")
    def _some(self) -> DosSettings:
        if not any(is_active(self, term) for term in TERMS):
            raise wrong("start_pref_ados", "and all other prefactors are zero, so there is nothing to train")
        return self


@dataclass(frozen=True)
class DosLoss:
    """Loss of a density of states, with prefactors that follow the learning rate."""

    settings: DosSettings
    start_lr: float
    output: OutputDef

    Settings = DosSettings

    @classmethod
    def from_settings(cls, settings: DosSettings, start_lr: float, output: OutputDef) -> DosLoss:
        """The loss of an input section. Raises ConfigError for models of something else."""
        check_kind("dos", ("dos",), output)
        return cls(settings, start_lr, output)

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms with a weight."""
        return tuple(term for term in TERMS if is_active(self.settings, term))

    def prefactors(self, learning_rate: float) -> dict[str, float]:
        """The weight of each term at a learning rate."""
        return prefactors(self.settings, self.terms, learning_rate / self.start_lr)

    def labels(self, model: Any) -> list[Label]:
        """The labels of the terms in use; none is required."""
        of_atoms = {TERMS[term][1] for term in self.terms}
        return [atomic_label(model) if atomic else total_label(model) for atomic in sorted(of_atoms)]

    def predict(self, model: Any, batch: TrainingBatch, gradient: Gradient) -> dict[str, Array]:
        """The densities of atoms and frames."""
        return reduce_output(model(batch.table), self.output, batch.table, batch.nframes)

    def __call__(self, predicted: dict[str, Array], batch: TrainingBatch) -> tuple[Array, dict[str, Array]]:
        """The loss, and the root mean square errors of its terms; those of frames are per atom.

        predicted: atomic (n, numb_dos), total (frames, numb_dos), mask (n,).
        """
        xp = namespace(predicted["atomic"])
        terms, metrics = [], {}
        for term in self.terms:
            shown, atomic, summed = TERMS[term]
            name, part = ("atom_dos", "atomic") if atomic else ("dos", "total")
            error = batch.labels[name] - predicted[part]
            if summed:
                error = error @ arrays.constant(np.triu(np.ones((self.output.size,) * 2)).tolist(), like=error)
            found = batch.found[name]
            weight = predicted["mask"] * arrays.take(found, batch.table.frame) if atomic else found
            value = mean(error * error, weight)
            root = xp.sqrt(value)
            terms.append(batch.prefactors[term] * value)
            metrics[shown] = known(root if atomic else root / mean_natoms(predicted["mask"], batch, found), found)
        return total_of(terms), metrics
