"""se_e2_r: the two-body embedding descriptor with radial information alone.

Zhang et al., Advances in Neural Information Processing Systems 31 (2018). The descriptor is the sum of the embedded
s(r) of all neighbours, divided by five times the number of slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.base import EnvironmentSettings, TwoBody, init_fields, stored_fields
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.schema.section import option

#: The format divides the mean over the slots by this.
_SCALE = 5.0


class SeE2RSettings(EnvironmentSettings):
    """Settings of se_e2_r in an input file."""

    type: Literal["se_e2_r"] = option("se_e2_r", "name of the descriptor")
    type_one_side: bool = option(False, "networks by neighbour type only, not by pair of types")


@module
class SeE2R(TwoBody):
    """The descriptor: Neighborhood with n rows -> (n, neuron[-1])."""

    Settings = SeE2RSettings

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return self.width

    def __call__(self, table: Neighborhood) -> tuple[Array, None]:
        """The descriptor (n, dim_out), and no equivariant part."""
        radial, table = self.environment(table, 1)
        xp = namespace(radial, self.davg)
        # beside s(r) a column of ones where there is a neighbour, so that Σ R ⊗ G has Σ G in it; excluded ones count
        there = arrays.cast(table.neighbor_types >= 0, self.precision)[..., None]
        matrix = arrays.concat([radial, xp.ones_like(there) if self.by_slot else there], axis=-1)
        empty = -self.davg[:, 0, :] / self.dstd[:, 0, :]
        total = self.embedded_sum(matrix, table, arrays.concat([empty, xp.ones_like(empty)], axis=-1))
        return arrays.cast(total[:, 1, :] / (_SCALE * sum(self.sel)), "float64"), None

    @classmethod
    def init(cls, settings: SeE2RSettings, type_map: Sequence[str]) -> SeE2R:
        """Random networks and trivial statistics. ``sel`` must be numbers by now."""
        return cls(
            **init_fields(settings, type_map, 1, one_side=settings.type_one_side), type_one_side=settings.type_one_side
        )

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        return self.document("se_r") | {"type_one_side": self.type_one_side, "spin": None}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SeE2R:
        """The descriptor of a document."""
        return cls(**stored_fields(data), type_one_side=data.get("type_one_side", True))
