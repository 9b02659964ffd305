"""The loss of energy models: energies, forces, virials and what derives from them.

Weights move with the learning rate from their start to their limit. Errors of totals are per atom; means over atoms
pool the batch, so that larger frames weigh more. Only atoms that the model does not mask count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.data.frame import Label
from dp_core.errors import ConfigError
from dp_core.losses.energy_terms import TERMS
from dp_core.losses.shared import check_kind, is_active, prefactors, weights_of
from dp_core.module import Array
from dp_core.outputs import Gradient, OutputDef, evaluate_atoms, hessian, reduce_energy
from dp_core.schema.section import Section, option, wrong
from dp_core.virtual_atoms import virtual_atoms

if TYPE_CHECKING:
    from dp_core.training.batch import TrainingBatch


class EnergySettings(Section):
    """Settings of the energy loss in an input file."""

    type: Literal["ener"] = option("ener", "name of the loss")
    start_pref_e: float = option(0.02, "weight of the energy at the start", ge=0)
    limit_pref_e: float = option(1.0, "weight of the energy at the end", ge=0)
    start_pref_f: float = option(1000.0, "weight of the forces at the start", ge=0)
    limit_pref_f: float = option(1.0, "weight of the forces at the end", ge=0)
    start_pref_v: float = option(0.0, "weight of the virial at the start", ge=0)
    limit_pref_v: float = option(0.0, "weight of the virial at the end", ge=0)
    start_pref_h: float = option(0.0, "weight of the Hessian at the start", ge=0)
    limit_pref_h: float = option(0.0, "weight of the Hessian at the end", ge=0)
    start_pref_ae: float = option(0.0, "weight of the atomic energies at the start", ge=0)
    limit_pref_ae: float = option(0.0, "weight of the atomic energies at the end", ge=0)
    start_pref_pf: float = option(0.0, "weight of the forces weighted by atom_pref, at the start", ge=0)
    limit_pref_pf: float = option(0.0, "weight of the forces weighted by atom_pref, at the end", ge=0)
    start_pref_gf: float = option(0.0, "weight of the generalised forces at the start", ge=0)
    limit_pref_gf: float = option(0.0, "weight of the generalised forces at the end", ge=0)
    numb_generalized_coord: int = option(0, "number of generalised coordinates (columns of drdq)", ge=0)
    use_default_pf: bool = option(False, "frames without atom_pref have the weight 1 for every atom")
    relative_f: float | None = option(
        None, "given, force errors are divided by the length of the labelled force plus this", unit="eV/Å", gt=0
    )
    enable_atom_ener_coeff: bool = option(
        False, "the energy is the sum of atomic energies times the label atom_ener_coeff"
    )
    loss_func: Literal["mse", "mae"] = option("mse", "mean of squared or of absolute errors")
    use_huber: bool = option(False, "errors beyond huber_delta count linearly")
    huber_delta: float | list[float] = option(
        0.01, "where Huber's loss becomes linear; one number, or those of energy, force and virial"
    )
    f_use_norm: bool = option(False, "the error of a force is the length of the difference vector")
    intensive_ener_virial: bool = option(False, "squared errors of energy and virial are per atom twice, not once")

    @pydantic.field_validator("huber_delta")
    @classmethod
    def _thresholds(cls, value: float | list[float]) -> float | list[float]:
        deltas = value if isinstance(value, list) else [value] * 3
        if len(deltas) != 3 or min(deltas) <= 0:
            raise ValueError(f"is {value}, expected one positive number, or three: energy, force, virial")
        return value

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> EnergySettings:
        active = [t for t in TERMS if self.is_active(t)]
        if not active:
            raise wrong("start_pref_e", "and all other prefactors are zero, so there is nothing to train")
        if self.use_huber and self.loss_func == "mae":
            raise wrong(
                "use_huber", 'is true, and loss_func is "mae"; Huber\'s loss belongs to "mse". Remove one of them'
            )
        if self.f_use_norm and not self.use_huber and self.loss_func != "mae":
            raise wrong("f_use_norm", 'is true, which needs use_huber true or loss_func "mae"')
        unfit = [f"start_pref_{t}" for t in ("pf", "gf", "h") if t in active]
        unfit += ["relative_f"] if self.relative_f is not None else []
        if self.use_huber and unfit:
            raise wrong("use_huber", f"is true, which does not go with {', '.join(unfit)}. Remove one of them")
        if "gf" in active and self.numb_generalized_coord < 1:
            raise wrong("numb_generalized_coord", "is 0, but start_pref_gf is given. Give the number of coordinates")
        return self

    def is_active(self, term: str) -> bool:
        """Whether a term has a weight at any time."""
        return is_active(self, term)


@dataclass(frozen=True)
class EnergyLoss:
    """Energy loss with prefactors that follow the learning rate."""

    settings: EnergySettings
    start_lr: float  # the learning rate that start prefactors belong to

    Settings = EnergySettings

    @classmethod
    def from_settings(cls, settings: EnergySettings, start_lr: float, output: OutputDef) -> EnergyLoss:
        """The loss of an input section. Raises ConfigError for models of something else."""
        check_kind("ener", ("energy",), output)
        return cls(settings, start_lr)

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms with a weight."""
        return tuple(t for t in TERMS if self.settings.is_active(t))

    def prefactors(self, learning_rate: float) -> dict[str, float]:
        """The weight of each term at a learning rate."""
        return prefactors(self.settings, self.terms, learning_rate / self.start_lr)

    def labels(self, model: Any) -> list[Label]:
        """The labels of the terms in use. None is required: a frame without one does not count in its term.

        Raises ConfigError for a model with spins.
        """
        if virtual_atoms(model) is not None:
            raise ConfigError('loss/type is "ener", but the model has spins. Set loss/type to "ener_spin".')
        s = self.settings
        atom_pref = Label(
            "atom_pref", 1, atomic=True, default=1.0, repeat=3, counts_when_absent=s.use_default_pf,
            asked_by=weights_of("pf"),
        )  # fmt: skip
        wanted = {
            "e": [Label("energy", 1)],
            "f": [Label("force", 3, atomic=True)],
            "v": [Label("virial", 9)],
            "ae": [Label("atom_ener", 1, atomic=True, asked_by=weights_of("ae"))],
            "pf": [Label("force", 3, atomic=True), atom_pref],
            "gf": [
                Label("force", 3, atomic=True),
                Label("drdq", 3 * s.numb_generalized_coord, atomic=True, asked_by=weights_of("gf")),
            ],
            "h": [Label("hessian", 9, atomic=True, asked_by=weights_of("h"))],
        }
        if s.enable_atom_ener_coeff:
            wanted["e"].append(Label("atom_ener_coeff", 1, atomic=True, default=1.0, counts_when_absent=True))
        return list({label.key: label for term in self.terms for label in wanted[term]}.values())

    def predict(self, model: Any, batch: TrainingBatch, gradient: Gradient) -> dict[str, Array]:
        """Energies, and as far as terms in use need them, forces, virials and Hessians."""
        table = batch.table
        if {"f", "v", "pf", "gf"} & set(self.terms):
            predicted = reduce_energy(evaluate_atoms(model, table, gradient), table, batch.nframes)
        else:
            out = model(table)
            energy = arrays.segment_sum(out["energy"], table.frame, batch.nframes)
            predicted = {"atom_energy": out["energy"], "energy": energy, "mask": out["mask"]}
        if "h" in self.terms:
            predicted["hessian"] = hessian(model, table, gradient, batch.place, batch.widest)
        return predicted

    def __call__(self, predicted: dict[str, Array], batch: TrainingBatch) -> tuple[Array, dict[str, Array]]:
        """The loss, and the errors ``rmse_e``, ``rmse_f``, … of its terms with ``rmse``, the root of the loss.

        They are ``mae_e``, … where ``loss_func`` is "mae", except for ``rmse_gf`` and ``rmse_h``.

        predicted: energy (frames, 1), atom_energy (n, 1), mask (n,), force (n, 3), virial (frames, 3, 3), hessian
        (n, P, 3, 3). Errors of labels that no frame has are NaN.
        """
        total: Array = None
        metrics: dict[str, Array] = {}
        for name in self.terms:
            value, errors = TERMS[name](self.settings, predicted, batch)
            value = batch.prefactors[name] * value
            total = value if total is None else total + value
            metrics |= errors
        return total, metrics | {"rmse": namespace(total).sqrt(total)}
