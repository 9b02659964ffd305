"""pairtab: a pair potential given as a table of energies at equal distances, continued by cubic splines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.protocol import CountSel
from dp_core.errors import ConfigError
from dp_core.format.versions import check_version
from dp_core.models.base import EnergyModel, base_fields, new_fields
from dp_core.models.pair_file import PairFile
from dp_core.models.settings import ModelSettings
from dp_core.module import Array, buffer, module
from dp_core.neighbors import Neighborhood, NeighborSpec
from dp_core.schema.section import option


class PairTableSettings(ModelSettings):
    """A pair potential from a file."""

    paths: ClassVar[tuple[str, ...]] = ("tab_file",)

    type: Literal["pairtab"] = option("pairtab", "kind of model")
    tab_file: str = option(
        ..., "text file: distances in Å, equally spaced, then energies in eV for the pairs 0-0, 0-1, …, 1-1, …"
    )
    rcut: float = option(..., "cutoff radius", unit="Å", gt=0)
    sel: int | list[int] | str = option(..., "most neighbours within rcut, by type or in all, or 'auto'")

    def with_counted_sel(self, count: CountSel) -> PairTableSettings:
        """The settings with a number for ``sel``."""
        sel = count("sel", self.sel, self.rcut, mixed=True)
        return self if sel is self.sel else self.model_copy(update={"sel": sel})


@module
class PairTable(EnergyModel):
    """Half of Σ_j u(r_ij) for each atom; u is a cubic in every interval, 0 from ``rcut`` or the end of the table on.

    Below the first distance u stays what it is there. Trajectories should not come there: ``neighbor_spec.closest``.
    """

    values: Array = buffer(default=None)  # (points, 1 + pairs of types): Å, then eV
    coefficients: Array = buffer(default=None)  # (ntypes², intervals, 4), eV; of the cubes first
    rmin: float = 0.0  # Å, the first distance
    rmax: float = 0.0  # Å, the last one of the file
    step: float = 0.0  # Å
    rcut: float = 0.0  # Å
    sel: tuple[int, ...] = ()

    Settings = PairTableSettings

    def contributions(self, table: Neighborhood) -> Array:
        """(n, 1) in eV."""
        xp = namespace(table.vectors, self.coefficients)
        occupied = table.neighbor_types >= 0
        r = arrays.safe_norm(table.vectors, occupied)
        pairs, count, _ = self.coefficients.shape
        inside = xp.logical_and(occupied, r < min(self.rcut, self.rmin + count * self.step))
        x = xp.maximum((r - self.rmin) / self.step, xp.zeros_like(r))
        low = xp.minimum(xp.floor(x), xp.full_like(x, float(count - 1)))
        t = x - low
        first, second = (xp.maximum(k, xp.zeros_like(k)) for k in (table.types, table.neighbor_types))
        place = (first[:, None] * len(self.type_map) + second) * count + xp.astype(low, second.dtype)
        a = arrays.take(xp.reshape(self.coefficients, (pairs * count, 4)), place)
        u = ((a[..., 0] * t + a[..., 1]) * t + a[..., 2]) * t + a[..., 3]
        return 0.5 * xp.sum(xp.where(inside, u, xp.zeros_like(u)), axis=1)[:, None]

    @property
    def neighbor_spec(self) -> NeighborSpec:
        """The neighbours that the model sees."""
        exclude = frozenset(self.pair_exclude_types)
        return NeighborSpec(self.rcut, self.sel, False, len(self.type_map), exclude, closest=self.rmin)

    def map_members(self, change: Any) -> PairTable:
        """The model itself: it has no networks."""
        return self

    @classmethod
    def init(cls, settings: PairTableSettings, type_map: Sequence[str]) -> PairTable:
        """The model of a file. Raises ConfigError for a table that makes no sense or is of other types."""
        if isinstance(settings.sel, str):
            raise ConfigError(f"sel is {settings.sel!r}; count the neighbours of the training data first.")
        sel = settings.sel if isinstance(settings.sel, int) else sum(settings.sel)
        file = PairFile.read(settings.tab_file, len(type_map), settings.rcut)
        return cls(**new_fields(settings, type_map), **file.fields(), rcut=settings.rcut, sel=(sel,))

    def serialize(self) -> dict[str, Any]:
        """The model document."""
        ntypes, count = len(self.type_map), self.coefficients.shape[1]
        info = arrays.constant([self.rmin, self.step, float(count), float(ntypes)], like=self.coefficients)
        tab = {
            "@class": "PairTab",
            "@version": 1,
            "rmin": self.rmin,
            "rmax": self.rmax,
            "hh": self.step,
            "ntypes": ntypes,
            "rcut": self.rcut,
            "nspline": count,
            "@variables": {"vdata": self.values, "tab_info": info, "tab_data": self.coefficients.reshape(-1)},
        }
        return self.base_document("pairtab", 2) | {"tab": tab, "rcut": self.rcut, "sel": self.sel[0]}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PairTable:
        """The model of a document."""
        fields = base_fields(data, (1, 2))
        tab = check_version(data["tab"], "PairTab", (1, 1))
        v, sel = tab["@variables"], data["sel"]
        return cls(
            **fields,
            values=v["vdata"],
            coefficients=v["tab_data"].reshape(len(fields["type_map"]) ** 2, int(tab["nspline"]), 4),
            rmin=float(tab["rmin"]),
            rmax=float(tab["rmax"]),
            step=float(tab["hh"]),
            rcut=float(data["rcut"]),
            sel=(int(sel if isinstance(sel, int) else sum(sel)),),
        )
