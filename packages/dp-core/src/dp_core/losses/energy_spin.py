"""The loss of energy models with spins: forces on the atoms and magnetic forces on their spins have terms of their own.

The rest is as in the loss of energies, see there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.data.frame import Label
from dp_core.errors import ConfigError
from dp_core.losses import energy_terms
from dp_core.losses.reductions import known, mean, total_of
from dp_core.losses.shared import check_kind, is_active, prefactors, weights_of
from dp_core.module import Array
from dp_core.outputs import Gradient, OutputDef, evaluate_atoms, sum_on_neighbors, virials
from dp_core.schema.section import Section, option, wrong
from dp_core.virtual_atoms import virtual_atoms

if TYPE_CHECKING:
    from dp_core.training.batch import TrainingBatch

_TERMS = ("e", "fr", "fm", "v", "ae", "pf")


class SpinLossSettings(Section):
    """Settings of the loss of spin models in an input file."""

    type: Literal["ener_spin"] = option("ener_spin", "name of the loss")
    start_pref_e: float = option(0.02, "weight of the energy at the start", ge=0)
    limit_pref_e: float = option(1.0, "weight of the energy at the end", ge=0)
    start_pref_fr: float = option(1000.0, "weight of the forces on atoms at the start", ge=0)
    limit_pref_fr: float = option(1.0, "weight of the forces on atoms at the end", ge=0)
    start_pref_fm: float = option(10000.0, "weight of the magnetic forces at the start", ge=0)
    limit_pref_fm: float = option(10.0, "weight of the magnetic forces at the end", ge=0)
    start_pref_v: float = option(0.0, "weight of the virial at the start", ge=0)
    limit_pref_v: float = option(0.0, "weight of the virial at the end", ge=0)
    start_pref_ae: float = option(0.0, "weight of the atomic energies at the start", ge=0)
    limit_pref_ae: float = option(0.0, "weight of the atomic energies at the end", ge=0)
    start_pref_pf: float = option(0.0, "weight of the forces weighted by atom_pref, at the start", ge=0)
    limit_pref_pf: float = option(0.0, "weight of the forces weighted by atom_pref, at the end", ge=0)
    relative_f: float | None = option(
        None, "given, force errors are divided by the length of the labelled force plus this", unit="eV/Å", gt=0
    )
    enable_atom_ener_coeff: bool = option(
        False, "the energy is the sum of atomic energies times the label atom_ener_coeff"
    )
    loss_func: Literal["mse", "mae"] = option("mse", "mean of squared or of absolute errors")
    intensive_ener_virial: bool = option(False, "squared errors of energy and virial are per atom twice, not once")

    # what the terms of the loss of energies ask for besides
    use_huber: ClassVar[bool] = False
    f_use_norm: ClassVar[bool] = False
    huber_delta: ClassVar[float] = 0.01
    numb_generalized_coord: ClassVar[int] = 0

    @pydantic.model_validator(mode="after")
    def _some(self) -> SpinLossSettings:
        if not any(is_active(self, term) for term in _TERMS):
            raise wrong("start_pref_e", "and all other prefactors are zero, so there is nothing to train")
        return self


@dataclass(frozen=True)
class SpinLoss:
    """Energy loss of a model with spins, with prefactors that follow the learning rate."""

    settings: SpinLossSettings
    start_lr: float  # the learning rate that start prefactors belong to

    Settings = SpinLossSettings

    @classmethod
    def from_settings(cls, settings: SpinLossSettings, start_lr: float, output: OutputDef) -> SpinLoss:
        """The loss of an input section. Raises ConfigError for models of something else."""
        check_kind("ener_spin", ("energy",), output)
        return cls(settings, start_lr)

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms with a weight."""
        return tuple(t for t in _TERMS if is_active(self.settings, t))

    def prefactors(self, learning_rate: float) -> dict[str, float]:
        """The weight of each term at a learning rate."""
        return prefactors(self.settings, self.terms, learning_rate / self.start_lr)

    def labels(self, model: Any) -> list[Label]:
        """The labels of the terms in use; none is required. Raises ConfigError for a model without spins."""
        if virtual_atoms(model) is None:
            raise ConfigError('loss/type is "ener_spin", but the model has no spins. Give model/spin, or use "ener".')
        wanted = {
            "e": [Label("energy", 1)],
            "fr": [Label("force", 3, atomic=True)],
            "fm": [Label("force_mag", 3, atomic=True)],
            "v": [Label("virial", 9)],
            "ae": [Label("atom_ener", 1, atomic=True, asked_by=weights_of("ae"))],
            "pf": [
                Label("force", 3, atomic=True),
                Label("atom_pref", 1, atomic=True, default=1.0, repeat=3, asked_by=weights_of("pf")),
            ],
        }
        if self.settings.enable_atom_ener_coeff:
            wanted["e"].append(Label("atom_ener_coeff", 1, atomic=True, default=1.0, counts_when_absent=True))
        return list({label.key: label for term in self.terms for label in wanted[term]}.values())

    def predict(self, model: Any, batch: TrainingBatch, gradient: Gradient) -> dict[str, Array]:
        """Energies, and as far as terms in use need them, forces, magnetic forces and virials.

        ``force`` and ``force_mag`` are (n, 3); ``magnetic`` (n,) is 1 for atoms with a spin.
        """
        table, rows = batch.table, batch.virtual
        if not {"fr", "fm", "v", "pf"} & set(self.terms):
            out = model(table)
            energy = arrays.segment_sum(out["energy"], table.frame, batch.nframes)
            return {"atom_energy": out["energy"], "energy": energy, "mask": out["mask"]}
        assert rows is not None
        out = evaluate_atoms(model, table, gradient)
        xp = namespace(out["gradient"])
        n = arrays.shape(table.types)[0]
        own = xp.sum(out["gradient"], axis=1)
        pull = arrays.segment_sum(own, rows.virtual, n) - sum_on_neighbors(out["gradient"], rows.virtual_neighbor, n)
        scales = arrays.constant(model.virtual.scale.tolist() + [0.0] * len(model.type_map), like=pull)
        scale = arrays.take(scales, xp.maximum(table.types, xp.zeros_like(table.types)))
        scale = xp.where(table.types >= 0, scale, xp.zeros_like(scale))
        kept = arrays.segment_sum(pull[:, :, None] * rows.offset[:, None, :], table.frame, batch.nframes)
        return {
            "atom_energy": out["energy"],
            "energy": arrays.segment_sum(out["energy"], table.frame, batch.nframes),
            "mask": out["mask"],
            "force": arrays.segment_sum(own, rows.atom, n)
            - sum_on_neighbors(out["gradient"], rows.atom_of_neighbor, n),
            "force_mag": pull * scale[:, None],
            "magnetic": arrays.cast(scale > 0, "float64"),
            "virial": virials(out["gradient"], table.vectors, table.frame, batch.nframes) - kept,
        }

    def __call__(self, predicted: dict[str, Array], batch: TrainingBatch) -> tuple[Array, dict[str, Array]]:
        """The loss, and the errors ``rmse_e``, ``rmse_fr``, ``rmse_fm``, … with ``rmse``, the root of the loss.

        They are ``mae_e``, … where ``loss_func`` is "mae". Errors of labels that no frame has are NaN; that of the
        magnetic forces is 0 where no atom has a spin.
        """
        terms: list[Array] = []
        metrics: dict[str, Array] = {}
        for name in self.terms:
            value, errors = _term(name, self.settings, predicted, batch)
            terms.append(batch.prefactors[name] * value)
            metrics |= errors
        total = total_of(terms)
        return total, metrics | {"rmse": namespace(total).sqrt(total)}


def _term(name: str, s: SpinLossSettings, p: dict[str, Array], b: TrainingBatch) -> tuple[Array, dict[str, Array]]:
    """A term of the loss without its prefactor, and the error to display."""
    if name == "fm":
        return _magnetic(s, p, b)
    value, errors = energy_terms.TERMS["f" if name == "fr" else name](s, p, b)
    return value, {key + "r" if name == "fr" else key: error for key, error in errors.items()}


def _magnetic(s: SpinLossSettings, p: dict[str, Array], b: TrainingBatch) -> tuple[Array, dict[str, Array]]:
    """The magnetic force on each spin."""
    error, found = b.labels["force_mag"] - p["force_mag"], b.found["force_mag"]
    xp = namespace(error)
    weights = p["magnetic"] * arrays.take(found, b.table.frame)
    if s.loss_func == "mae":
        absolute = mean(xp.abs(error), weights)
        return absolute, {"mae_fm": known(absolute, found)}
    squares = mean(error * error, weights)
    return squares, {"rmse_fm": known(xp.sqrt(squares), found)}
