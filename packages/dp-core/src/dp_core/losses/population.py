"""The loss of populations: electrons with spin up (α) and down (β) of the atoms, and their totals in each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.data.frame import Label
from dp_core.inputs import atomic_label
from dp_core.losses.reductions import mean, mean_natoms, quotient, smooth_absolute, total_of
from dp_core.losses.shared import check_kind, is_active, prefactors
from dp_core.module import Array
from dp_core.outputs import Gradient, OutputDef
from dp_core.schema.section import Section, option, wrong

if TYPE_CHECKING:
    from dp_core.training.batch import TrainingBatch

#: Term -> the error that it displays.
TERMS = {
    "spin": "spin_loss",
    "spin_total": "spin_total_loss",
    "pop": "pop_loss",
    "pop_alpha_total": "pop_alpha_total_loss",
    "pop_beta_total": "pop_beta_total_loss",
}


class PopulationSettings(Section):
    """Settings of the population loss in an input file."""

    type: Literal["population"] = option("population", "name of the loss")
    start_pref_spin: float = option(1.0, "weight of the spins of the atoms, α − β, at the start", ge=0)
    limit_pref_spin: float = option(1.0, "weight of the spins of the atoms at the end", ge=0)
    start_pref_spin_total: float = option(1.0, "weight of the spin of the frame at the start", ge=0)
    limit_pref_spin_total: float = option(1.0, "weight of the spin of the frame at the end", ge=0)
    start_pref_pop: float = option(1.0, "weight of the populations of the atoms at the start", ge=0)
    limit_pref_pop: float = option(1.0, "weight of the populations of the atoms at the end", ge=0)
    start_pref_pop_alpha_total: float = option(1.0, "weight of all α electrons of the frame at the start", ge=0)
    limit_pref_pop_alpha_total: float = option(1.0, "weight of all α electrons of the frame at the end", ge=0)
    start_pref_pop_beta_total: float = option(1.0, "weight of all β electrons of the frame at the start", ge=0)
    limit_pref_pop_beta_total: float = option(1.0, "weight of all β electrons of the frame at the end", ge=0)
    loss_func: Literal["smooth_mae", "mae", "rmse"] = option("smooth_mae", "measure of the errors that is made small")
    metric: list[Literal["mae", "rmse"]] = option(["mae"], "measures of the populations that are displayed")
    beta: float = option(1.0, "where smooth_mae becomes linear", unit="e", gt=0)

    @pydantic.model_validator(mode="after")
    def _some(self) -> PopulationSettings:
        if not any(is_active(self, term) for term in TERMS):
            raise wrong("start_pref_pop", "and all other prefactors are zero, so there is nothing to train")
        return self


@dataclass(frozen=True)
class PopulationLoss:
    """Loss of populations, with prefactors that follow the learning rate."""

    settings: PopulationSettings
    start_lr: float
    output: OutputDef

    Settings = PopulationSettings

    @classmethod
    def from_settings(cls, settings: PopulationSettings, start_lr: float, output: OutputDef) -> PopulationLoss:
        """The loss of an input section. Raises ConfigError for models of something else."""
        check_kind("population", ("population",), output)
        return cls(settings, start_lr, output)

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms with a weight."""
        return tuple(term for term in TERMS if is_active(self.settings, term))

    def prefactors(self, learning_rate: float) -> dict[str, float]:
        """The weight of each term at a learning rate."""
        return prefactors(self.settings, self.terms, learning_rate / self.start_lr)

    def labels(self, model: Any) -> list[Label]:
        """The populations of the atoms, which every frame must have."""
        label = atomic_label(model)
        return [Label(label.name, label.size, atomic=True, required=True, selected=label.selected)]

    def predict(self, model: Any, batch: TrainingBatch, gradient: Gradient) -> dict[str, Array]:
        """The populations of the atoms."""
        out = model(batch.table)
        return {"atomic": out["population"], "mask": out["mask"]}

    def __call__(self, predicted: dict[str, Array], batch: TrainingBatch) -> tuple[Array, dict[str, Array]]:
        """The loss, its terms, the total spin of the model, and the measures of the populations.

        predicted: atomic (n, 2), mask (n,). Terms of atoms are sums over the batch, divided by the mean size of frames.
        """
        mask, found = predicted["mask"], batch.found["atom_population"]
        values = predicted["atomic"] * mask[:, None]
        error = values - batch.labels["atom_population"] * mask[:, None]
        xp = namespace(error)
        each = mean_natoms(mask, batch, found)

        def of_atoms(x: Array) -> Array:
            return quotient(self._summed(x, mask), each)

        def of_frames(x: Array) -> Array:
            return self._summed(arrays.segment_sum(x, batch.table.frame, batch.nframes), found)

        alpha, beta = error[:, 0:1], error[:, 1:2]
        terms = {
            "spin": lambda: of_atoms(alpha - beta),
            "spin_total": lambda: of_frames(alpha - beta),
            "pop": lambda: of_atoms(error),
            "pop_alpha_total": lambda: of_frames(alpha),
            "pop_beta_total": lambda: of_frames(beta),
        }
        found_terms = {term: terms[term]() for term in self.terms}
        spin = arrays.segment_sum(values[:, 0:1] - values[:, 1:2], batch.table.frame, batch.nframes)
        metrics = {TERMS[term]: value for term, value in found_terms.items()} | {"spin_total": mean(spin, found)}
        if "mae" in self.settings.metric:
            metrics["mae"] = mean(xp.abs(error), mask)
        if "rmse" in self.settings.metric:
            metrics["rmse"] = xp.sqrt(mean(error * error, mask))
        return total_of([batch.prefactors[term] * value for term, value in found_terms.items()]), metrics

    def _summed(self, error: Array, weight: Array) -> Array:
        """The sum over rows that count and columns by the chosen measure: (m, c), (m,) -> ()."""
        xp = namespace(error, weight)
        s = self.settings
        if s.loss_func == "rmse":
            width = float(arrays.shape(error)[1])
            return xp.sqrt(mean(error * error, weight)) * xp.sum(weight) * width
        size = smooth_absolute(error, s.beta) if s.loss_func == "smooth_mae" else xp.abs(error)
        return xp.sum(xp.sum(size, axis=1) * weight)
