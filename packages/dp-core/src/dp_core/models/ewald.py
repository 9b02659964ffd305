"""ewald: the energy of fixed charges, and of centroids, as a member of a sum of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import pydantic

from dp_core.errors import ConfigError
from dp_core.long_range import SpreadCharges
from dp_core.models.base import EnergyModel, base_fields, new_fields
from dp_core.models.modifier import charges_document, new_charges, read_charges
from dp_core.models.settings import ModelSettings, check_grid
from dp_core.module import module
from dp_core.schema.section import option, wrong


class EwaldSettings(ModelSettings):
    """Gaussian charges in a periodic cell, beside other models of a sum."""

    paths: ClassVar[tuple[str, ...]] = ("model_name",)

    type: Literal["ewald"] = option("ewald", "kind of model")
    charges: list[float] = option(..., "charge of each type", unit="e")
    model_name: str | None = option(
        None, "model file of dipoles, which carry charges at the distance of the dipole from their atoms", min_length=1
    )
    model_charge_map: list[float] = option([], "charge of the dipoles of each type that has one", unit="e")
    ewald_beta: float = option(0.4, "how narrow the Gaussians are", unit="1/Å", gt=0)
    ewald_h: float = option(1.0, "spacing of the grid", unit="Å", gt=0)

    @pydantic.model_validator(mode="after")
    def _plain(self) -> Self:
        for name, default in ModelSettings.model_fields.items():
            if name != "type_map" and getattr(self, name) != default.default:
                raise wrong(name, "has no effect on charges; leave it out")
        if self.model_charge_map and self.model_name is None:
            raise wrong("model_charge_map", "has an effect only with model_name")
        check_grid(self.ewald_beta, self.ewald_h)
        return self

    def with_counted_sel(self, count: Any) -> EwaldSettings:
        """The settings themselves: there are no neighbours."""
        return self


@module
class Ewald(EnergyModel):
    """A model without neighbours: its energy is that of whole frames, in ``long_range``."""

    charges: SpreadCharges | None = None
    neighbor_spec: ClassVar[None] = None

    Settings = EwaldSettings

    def long_range(self) -> list[tuple[float, SpreadCharges]]:
        """Its energy."""
        return [(1.0, self.charges)] if self.charges is not None else []

    def map_members(self, change: Any) -> Ewald:
        """The model itself: it has no networks."""
        return self

    @classmethod
    def init(cls, settings: EwaldSettings, type_map: Sequence[str], *, inside: bool = False) -> Ewald:
        """The charges of the settings. inside: a sum. Raises ConfigError for charges that do not fit the types."""
        if not inside:
            raise ConfigError(
                "An ewald is no model by itself. Give it as one of the models of a linear_ener, beside one with "
                "neighbours."
            )
        term = new_charges(
            type_map, settings.charges, settings.model_name, settings.model_charge_map, settings, place="ewald"
        )
        return cls(**new_fields(settings, type_map), charges=term)

    def serialize(self) -> dict[str, Any]:
        """The model document."""
        assert self.charges is not None
        return self.base_document("ewald", 1) | {"charges": charges_document(self.charges)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Ewald:
        """The model of a document."""
        return cls(**base_fields(data, (1, 1)), charges=read_charges(data["charges"]))
