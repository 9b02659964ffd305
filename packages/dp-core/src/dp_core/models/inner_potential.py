"""inner_potential: the screened repulsion of nuclei (Ziegler, Biersack, Littmark) beside a network.

The network sees distances that stop at ``r_inner``, so that it is constant where the repulsion alone should act.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.data.elements import COVALENT_RADII
from dp_core.errors import ConfigError
from dp_core.models.base import EnergyModel, base_fields, new_fields
from dp_core.models.settings import ModelSettings
from dp_core.module import Array, module, replace
from dp_core.neighbors import Neighborhood, NeighborSpec
from dp_core.schema.section import option, wrong

_COULOMB = 14.3996  # eV·Å, e²/4πε₀
_SCREENING = 0.88534 * 0.5291772109  # Å
_TERMS = ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.028171, 0.20162))


class InnerPotentialSettings(ModelSettings):
    """The repulsion of nuclei, second of the two models of a sum."""

    type: Literal["inner_potential"] = option("inner_potential", "kind of model")
    mode: Literal["zbl"] = option("zbl", "kind of repulsion")
    r_inner: float = option(0.5, "the network sees no shorter distances", unit="Å", gt=0)
    r_outer: float = option(0.8, "the network sees longer distances as they are", unit="Å", gt=0)

    @pydantic.model_validator(mode="after")
    def _order(self) -> InnerPotentialSettings:
        if self.r_inner >= self.r_outer:
            raise wrong("r_inner", f"is {self.r_inner:g} and must be smaller than r_outer, {self.r_outer:g}")
        return self

    def with_counted_sel(self, count: Any) -> InnerPotentialSettings:
        """The settings themselves: the neighbours are those of the network."""
        return self


@module
class InnerPotential(EnergyModel):
    """Half of Σ_j V(r_ij) for each atom, over all neighbours within the cutoff of the network."""

    numbers: tuple[int, ...] = ()  # atomic numbers of the types
    r_inner: float = 0.5  # Å
    r_outer: float = 0.8  # Å
    rcut: float = 0.0  # Å
    sel: tuple[int, ...] = ()

    Settings = InnerPotentialSettings

    def contributions(self, table: Neighborhood) -> Array:
        """(n, 1) in eV."""
        xp = namespace(table.vectors)
        occupied = table.neighbor_types >= 0
        r = arrays.safe_norm(table.vectors, occupied)
        r = xp.maximum(r, xp.full_like(r, 1e-10))
        first, second = (xp.maximum(t, xp.zeros_like(t)) for t in (table.types, table.neighbor_types))
        charge, power = (
            arrays.constant([float(z) ** p for z in self.numbers], like=table.vectors) for p in (1.0, 0.23)
        )
        x = r * (arrays.take(power, first)[:, None] + arrays.take(power, second)) / _SCREENING
        screening = sum(a * xp.exp(-b * x) for a, b in _TERMS)
        v = _COULOMB * arrays.take(charge, first)[:, None] * arrays.take(charge, second) * screening / r
        return 0.5 * xp.sum(xp.where(occupied, v, xp.zeros_like(v)), axis=1)[:, None]

    def outer(self, table: Neighborhood) -> Neighborhood:
        """The table with the distances that the network sees: none below r_inner, smooth up to r_outer."""
        xp = namespace(table.vectors)
        occupied = table.neighbor_types >= 0
        r = arrays.safe_norm(table.vectors, occupied)
        width = self.r_outer - self.r_inner
        s = (r - self.r_inner) / width
        s = xp.minimum(xp.maximum(s, xp.zeros_like(s)), xp.ones_like(s))
        seen = self.r_inner + width * s**4 * (20.0 + s * (-45.0 + s * (36.0 - 10.0 * s)))
        factor = xp.where(r < self.r_outer, seen / xp.maximum(r, xp.full_like(r, 1e-10)), xp.ones_like(r))
        return replace(table, vectors=table.vectors * factor[..., None])

    @property
    def neighbor_spec(self) -> NeighborSpec:
        """The neighbours that the model sees."""
        exclude = frozenset(self.pair_exclude_types)
        return NeighborSpec(self.rcut, self.sel, False, len(self.type_map), exclude)

    def map_members(self, change: Any) -> InnerPotential:
        """The model itself: it has no networks."""
        return self

    @classmethod
    def init(
        cls, settings: InnerPotentialSettings, type_map: Sequence[str], beside: NeighborSpec | None = None
    ) -> InnerPotential:
        """The repulsion beside a model that sees these neighbours. Raises ConfigError for types that are no element."""
        if beside is None:
            raise ConfigError(
                "An inner_potential is no model by itself. Give it as the second of two models of a linear_ener, after "
                "a network, with the weights 'sum'."
            )
        return cls(
            **new_fields(settings, type_map),
            numbers=atomic_numbers(type_map),
            r_inner=settings.r_inner,
            r_outer=settings.r_outer,
            rcut=beside.rcut,
            sel=(sum(beside.sel),),
        )

    def serialize(self) -> dict[str, Any]:
        """The model document."""
        own = {"mode": "zbl", "r_inner": self.r_inner, "r_outer": self.r_outer, "rcut": self.rcut, "sel": self.sel[0]}
        return self.base_document("inner_potential", 1) | own

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> InnerPotential:
        """The model of a document."""
        fields = base_fields(data, (1, 1))
        lengths: dict[str, Any] = {name: float(data[name]) for name in ("r_inner", "r_outer", "rcut")}
        return cls(**fields, **lengths, numbers=atomic_numbers(fields["type_map"]), sel=(int(data["sel"]),))


def atomic_numbers(type_map: Sequence[str]) -> tuple[int, ...]:
    """Of the types. Raises ConfigError for one that is no element."""
    known = {name: z for z, name in enumerate(COVALENT_RADII, start=1)}
    strange = [name for name in type_map if name not in known]
    if strange:
        raise ConfigError(f"{', '.join(strange)} in the type_map is no element, so its nuclear charge is not known.")
    return tuple(known[name] for name in type_map)
