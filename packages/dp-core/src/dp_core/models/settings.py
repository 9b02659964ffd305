"""What the sections of all models share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pydantic

from dp_core.ewald import coarse
from dp_core.schema.section import Section, option, wrong


def check_grid(beta: float, spacing: float) -> None:
    """Raise the error of a validator for an Ewald sum that has not converged."""
    if reason := coarse(beta, spacing):
        raise wrong("ewald_h", reason)


class ModifierSettings(Section):
    """Gaussian charges on atoms and on centroids at atom + dipole, whose energy is added to that of the model."""

    type: Literal["dipole_charge"] = option(..., "kind of modifier")
    model_name: str = option(..., "model file of the dipoles, of any kind", min_length=1)
    model_charge_map: list[float] = option(..., "charge of the centroids of each type that has a dipole", unit="e")
    sys_charge_map: list[float] = option(..., "charge of the atoms of each type", unit="e")
    ewald_beta: float = option(0.4, "how narrow the Gaussians are", unit="1/Å", gt=0)
    ewald_h: float = option(1.0, "spacing of the grid", unit="Å", gt=0)

    @pydantic.model_validator(mode="after")
    def _fine(self) -> Self:
        check_grid(self.ewald_beta, self.ewald_h)
        return self

    def in_folder(self, folder: Path) -> ModifierSettings:
        """The settings with the path below a folder; an absolute one stays."""
        return self.model_copy(update={"model_name": str(folder / self.model_name)})


class ModelSettings(Section):
    """Settings that every model has."""

    paths: ClassVar[tuple[str, ...]] = ()  # the fields that name files

    type_map: list[str] | None = option(None, "names of the elements, in the order of the types")
    data_stat_nbatch: int = option(10, "batches of each system used for statistics; not inside linear_ener", gt=0)
    data_stat_protect: float = option(
        0.01, "smallest standard deviation of frame and atomic parameters; not inside linear_ener", gt=0
    )
    data_bias_nsample: int = option(
        10, "batches of each system used when only the bias is fitted; not inside linear_ener", gt=0
    )
    pair_exclude_types: list[tuple[int, int]] = option([], "pairs of types without interaction")
    atom_exclude_types: list[int] = option([], "types whose atoms contribute nothing")
    preset_out_bias: dict[str, list[float | list[float] | None]] | None = option(
        None, "fixed bias of each type, null to fit it", unit="eV"
    )
    modifier: ModifierSettings | None = option(
        None, "what is added to the energy of the model and taken off the labels that it learns; not inside linear_ener"
    )
    # false is None, which scripts leave out: DeePMD-kit's TensorFlow refuses models whose script has this key
    hessian_mode: bool | None = option(
        None,
        "DeepPot.eval gives second derivatives too; set by itself where the loss has a weight for them; not inside "
        "linear_ener",
    )
    info: dict[str, Any] = option({}, "free information kept with the model; not inside linear_ener")

    @pydantic.field_validator("hessian_mode")
    @classmethod
    def _only_if_asked_for(cls, value: bool | None) -> bool | None:
        return value or None

    @pydantic.model_validator(mode="after")
    def _names_once(self) -> Self:
        if self.type_map is not None and (not self.type_map or len(set(self.type_map)) != len(self.type_map)):
            raise ValueError(f"type_map is {self.type_map}; name each element once, or leave it out")
        return self

    @pydantic.model_validator(mode="after")
    def _no_second_derivatives(self) -> Self:
        if self.modifier is not None and self.hessian_mode:
            raise wrong("hessian_mode", "does not go with modifier, which has no second derivatives; leave one out")
        return self

    def in_folder(self, folder: Path) -> Self:
        """The settings with the paths of files below a folder; absolute ones stay."""
        updates: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name in self.paths and value is not None:
                updates[name] = str(folder / value)
            elif isinstance(value, ModelSettings | ModifierSettings):
                updates[name] = value.in_folder(folder)
            elif isinstance(value, list) and any(isinstance(v, ModelSettings) for v in value):
                updates[name] = [v.in_folder(folder) for v in value]
        return self.model_copy(update=updates) if updates else self
