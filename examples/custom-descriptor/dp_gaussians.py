"""A descriptor for dp in one file: how many neighbours there are around each distance, and on which side they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.environment import smooth_switch
from dp_core.format import check_version
from dp_core.module import Array, buffer, module
from dp_core.neighbors import Neighborhood
from dp_core.schema import Section, option


class GaussiansSettings(Section):
    """Settings of gaussians in an input file."""

    type: Literal["gaussians"] = option("gaussians", "name of the descriptor")
    sel: list[int] | str = option("auto", "most neighbours of each type within rcut")
    rcut: float = option(6.0, "cutoff radius", unit="Å", gt=0)
    rcut_smth: float = option(0.5, "where the switch to zero begins", unit="Å", ge=0)
    count: int = option(8, "number of Gaussians", gt=1)


@module
class Gaussians:
    """Neighborhood with n rows -> (n, ntypes·2·count).

    For each type of neighbour and each Gaussian g, the sum of w(r)/r·g(r) over the neighbours, and the squared length
    of the sum of w(r)/r·g(r) times the direction to the neighbour. w is smooth and zero at the cutoff.
    """

    centers: Array  # (count,) Å, learned
    sharpness: Array  # (count,) 1/Å, learned
    davg: Array = buffer()  # (ntypes, 1, 1), mean of w/r in the training data by type of the centre
    dstd: Array = buffer()  # (ntypes, 1, 1), its standard deviation
    rcut: float = 6.0  # Å
    rcut_smth: float = 0.5  # Å
    sel: tuple[int, ...] = ()
    # what the statistics of the training data ask for
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0
    set_davg_zero: bool = True

    Settings = GaussiansSettings
    by_type = True  # slots come in blocks by the type of the neighbour
    message_passing = False

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        count: int = self.centers.shape[0]
        return len(self.sel) * 2 * count

    def __call__(self, table: Neighborhood) -> tuple[Array, None]:
        """The descriptor, and no equivariant part."""
        xp = namespace(table.vectors, self.centers)
        occupied = table.neighbor_types >= 0
        r = arrays.safe_norm(table.vectors, occupied)
        weight = xp.where(occupied, smooth_switch(r, self.rcut_smth, self.rcut) / r, xp.zeros_like(r))
        types = xp.maximum(table.types, xp.zeros_like(table.types))  # -1 in padding rows
        x = (r[..., None] - self.centers) * self.sharpness
        features = (weight / arrays.take(self.dstd[:, 0, :], types))[..., None] * xp.exp(-x * x)
        directions = table.vectors / r[..., None]
        columns = []
        for f, d in zip(
            arrays.split(features, table.slot_counts, axis=1),
            arrays.split(directions, table.slot_counts, axis=1),
            strict=True,
        ):
            vectors = xp.matrix_transpose(f) @ d  # (n, count, 3)
            columns += [xp.sum(f, axis=1), xp.sum(vectors * vectors, axis=-1)]
        return arrays.concat(columns, axis=-1), None

    @classmethod
    def init(cls, settings: GaussiansSettings, type_map: Sequence[str]) -> Gaussians:
        """Gaussians at equal distances; dp has made numbers of ``sel`` by now."""
        count, shape = settings.count, (len(type_map), 1, 1)
        centers, sharpness = np.linspace(0.5, settings.rcut, count), np.full(count, count / settings.rcut)
        sel = tuple(map(int, settings.sel))
        return cls(centers, sharpness, np.zeros(shape), np.ones(shape), settings.rcut, settings.rcut_smth, sel)

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor, for model files."""
        leaves = {name: getattr(self, name) for name in ("centers", "sharpness", "davg", "dstd")}
        numbers = {"rcut": self.rcut, "rcut_smth": self.rcut_smth, "sel": list(self.sel)}
        return {"@class": "Descriptor", "type": "gaussians", "@version": 1, **numbers, "@variables": leaves}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Gaussians:
        """The descriptor of a document."""
        data = check_version(data, "Descriptor", (1, 1))
        return cls(**data["@variables"], rcut=data["rcut"], rcut_smth=data["rcut_smth"], sel=tuple(data["sel"]))
