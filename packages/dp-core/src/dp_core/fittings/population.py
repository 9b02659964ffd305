"""The fitting of populations: descriptor -> electrons of each atom with spin up and down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from dp_core.fittings.base import Fitting, FittingSettings, check_fitting, init_fitting
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.outputs import OutputDef
from dp_core.schema.section import option


class PopulationFittingSettings(FittingSettings):
    """Settings of the population fitting in an input file."""

    type: Literal["population"] = option("population", "name of the fitting")
    neuron: list[int] = option([128, 128, 128], "widths of the hidden layers", aliases=("n_neuron",))


@module
class PopulationFitting(Fitting):
    """Electrons of each atom, α and β: (n, dim_descrpt) -> (n, 2). They have no bias."""

    Settings = PopulationFittingSettings
    output = OutputDef("population", (2,), kind="population", reducible=False, differentiable=False, unit="e")

    def __call__(self, descriptor: Array, rotation: Array | None, table: Neighborhood) -> dict[str, Array]:
        """The electrons of each atom, by the name of the output."""
        return {"population": self.evaluate(descriptor, table)}

    def with_statistics(self, values: Array, bias: Array, std: Array, types: Array) -> Array:
        """The values themselves."""
        return values

    @classmethod
    def init(
        cls,
        settings: PopulationFittingSettings,
        *,
        dim_descrpt: int,
        mixed_types: bool,
        type_map: Sequence[str],
        embedding_width: int | None = None,
    ) -> PopulationFitting:
        """A new fitting with random networks."""
        fields = init_fitting(settings, width=2, dim_descrpt=dim_descrpt, mixed_types=mixed_types, type_map=type_map)
        return cls(**fields)

    def serialize(self) -> dict[str, Any]:
        """The document of the fitting."""
        return self.common_document("population", "population", 4) | {"dim_out": 2, "atom_ener": []}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PopulationFitting:
        """The fitting of a document."""
        return cls(**cls.common_fields(check_fitting(data, "population", 4)))
