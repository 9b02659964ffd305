"""The energy fitting: descriptor -> energy of each atom in eV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from dp_core.errors import ConfigError
from dp_core.fittings.base import Fitting, FittingSettings, check_fitting, init_fitting
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.outputs import ENERGY
from dp_core.schema.section import option


class EnergyFittingSettings(FittingSettings):
    """Settings of the energy fitting in an input file."""

    type: Literal["ener"] = option("ener", "name of the fitting")
    atom_ener: list[float | None] = option(
        [],
        "energies of the atoms in vacuum by type; given, the network contributes nothing to an isolated atom",
        unit="eV",
    )
    use_aparam_as_mask: bool = option(False, "atomic parameters mark atoms and do not enter the network")


@module
class EnergyFitting(Fitting):
    """Energy of each atom: (n, dim_descrpt) -> (n, 1) eV."""

    Settings = EnergyFittingSettings
    output = ENERGY

    def __call__(self, descriptor: Array, rotation: Array | None, table: Neighborhood) -> dict[str, Array]:
        """The energy of each atom, by the name of the output."""
        return {"energy": self.evaluate(descriptor, table)}

    @classmethod
    def init(
        cls,
        settings: EnergyFittingSettings,
        *,
        dim_descrpt: int,
        mixed_types: bool,
        type_map: Sequence[str],
        embedding_width: int | None = None,
    ) -> EnergyFitting:
        """A new fitting with random networks."""
        if settings.atom_ener and len(settings.atom_ener) != len(type_map):
            raise ConfigError(
                f"fitting_net/atom_ener has {len(settings.atom_ener)} entries, but the type map has {len(type_map)} "
                "elements. Give one number or null for each."
            )
        fields = init_fitting(settings, width=1, dim_descrpt=dim_descrpt, mixed_types=mixed_types, type_map=type_map)
        return cls(
            **fields,
            atom_ener=tuple(settings.atom_ener),
            vacuum=tuple(e is not None for e in settings.atom_ener),
            use_aparam_as_mask=settings.use_aparam_as_mask,
        )

    def serialize(self) -> dict[str, Any]:
        """The document of the fitting."""
        return self.common_document("ener", "energy", 4) | {"dim_out": 1, "atom_ener": list(self.atom_ener)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> EnergyFitting:
        """The fitting of a document."""
        return cls(**cls.common_fields(check_fitting(data, "ener", 4)))
