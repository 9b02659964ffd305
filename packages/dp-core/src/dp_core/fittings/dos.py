"""The fitting of the density of states: descriptor -> occupation at fixed energies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from dp_core.fittings.base import Fitting, FittingSettings, check_fitting, init_fitting
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.outputs import OutputDef
from dp_core.schema.kinds import Precision
from dp_core.schema.section import option


class DosFittingSettings(FittingSettings):
    """Settings of the density-of-states fitting in an input file."""

    type: Literal["dos"] = option("dos", "name of the fitting")
    numb_dos: int = option(300, "number of energies", gt=0)
    precision: Precision = option("float64", "precision of the networks")


@module
class DosFitting(Fitting):
    """Density of states of each atom: (n, dim_descrpt) -> (n, numb_dos)."""

    numb_dos: int = 300

    Settings = DosFittingSettings

    @property
    def output(self) -> OutputDef:
        """What is predicted."""
        unit = "Occupation/eV"
        return OutputDef("dos", (self.numb_dos,), kind="dos", reducible=True, differentiable=False, unit=unit)

    def __call__(self, descriptor: Array, rotation: Array | None, table: Neighborhood) -> dict[str, Array]:
        """The density of states of each atom, by the name of the output."""
        return {"dos": self.evaluate(descriptor, table)}

    @classmethod
    def init(
        cls,
        settings: DosFittingSettings,
        *,
        dim_descrpt: int,
        mixed_types: bool,
        type_map: Sequence[str],
        embedding_width: int | None = None,
    ) -> DosFitting:
        """A new fitting with random networks."""
        width = settings.numb_dos
        fields = init_fitting(
            settings, width=width, dim_descrpt=dim_descrpt, mixed_types=mixed_types, type_map=type_map
        )
        return cls(**fields, numb_dos=width)

    def serialize(self) -> dict[str, Any]:
        """The document of the fitting."""
        return self.common_document("dos", "dos", 4) | {"dim_out": self.numb_dos, "atom_ener": list(self.atom_ener)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DosFitting:
        """The fitting of a document."""
        data = check_fitting(data, "dos", 4)
        return cls(**cls.common_fields(data), numb_dos=int(data.get("dim_out", 300)))
