"""se_e3: the three-body embedding descriptor, of the angles between neighbours.

With v the angular part of the normalised environment matrix, the descriptor is the sum of e·G(e) with e = v_j·v_k over
all pairs of neighbours of two types, divided by the number of pairs of slots (Wang et al., Nuclear Fusion 62, 126013,
2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.base import ByType, EnvironmentSettings, init_fields, stored_fields
from dp_core.descriptors.environment import TINY
from dp_core.descriptors.tabulation import Resolution
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.nn.table import Grid
from dp_core.schema.section import option


class SeE3Settings(EnvironmentSettings):
    """Settings of se_e3 in an input file."""

    type: Literal["se_e3"] = option("se_e3", "name of the descriptor")


@module
class SeE3(ByType):
    """The descriptor: Neighborhood with n rows -> (n, neuron[-1]).

    Networks belong to pairs (a, b) of neighbour types with a ≤ b; those with a > b are kept, but not used.
    """

    Settings = SeE3Settings

    angular = True

    def grids(self, resolution: Resolution) -> Sequence[Grid | None]:
        """The grid of the networks that are used."""
        grid = resolution.angular(self)
        return [grid if a <= b else None for b in range(self.ntypes) for a in range(self.ntypes)]

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return self.width

    def __call__(self, table: Neighborhood) -> tuple[Array, None]:
        """The descriptor (n, dim_out), and no equivariant part."""
        matrix, table = self.environment(table, 4)
        blocks = arrays.split(matrix[:, :, 1:], table.slot_counts, axis=1)
        real = arrays.split(arrays.cast(table.neighbor_types >= 0, self.precision), table.slot_counts, axis=1)
        used = [t for t in range(self.ntypes) if self.sel[t]]
        total = sum(
            self._pairs((blocks[a], real[a]), (blocks[b], real[b]), self.network((a, b)), same=a == b)
            / float(self.sel[a] * self.sel[b])
            for b in used
            for a in used
            if a <= b
        )
        return arrays.cast(total, "float64"), None

    def _pairs(self, first: tuple[Array, Array], second: tuple[Array, Array], net: Any, *, same: bool) -> Array:
        """The sum of e·G(e) over the pairs of slots of two types, each (n, K, 3) and which are real, (n, K)."""
        (x, of_x), (y, of_y) = first, second
        xp = namespace(x, y)
        # pairs at a right angle have e = 0 like empty ones, but a slope, which the sum may leave out for empty ones
        e = x @ xp.matrix_transpose(y) + (TINY * of_x)[:, :, None] * of_y[:, None, :]
        if same:
            return arrays.embedding_sum(_half(e), net)[:, 1, :]
        flat = xp.reshape(e, (arrays.shape(e)[0], arrays.shape(e)[1] * arrays.shape(e)[2], 1))
        return arrays.embedding_sum(flat, net)[:, 0, :]

    @classmethod
    def init(cls, settings: SeE3Settings, type_map: Sequence[str]) -> SeE3:
        """Random networks and trivial statistics. ``sel`` must be numbers by now."""
        return cls(**init_fields(settings, type_map, 4, one_side=False))

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        return self.document("se_e3")

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SeE3:
        """The descriptor of a document."""
        fields = stored_fields(data, angular=True)
        # a mean direction, which no statistics give, would make pairs with empty slots count
        directed = bool(np.any(fields["davg"][..., 1:]))
        return cls(**fields | {"by_slot": fields["by_slot"] or directed})


def _half(e: Array) -> Array:
    """Each pair of a symmetric matrix (n, K, K) once: e, and e times how often it is there, (n, ~K²/2, 2).

    They are the pairs (k, k + s) for s up to K/2, counted round the end: a table of regular shape, unlike a triangle.
    """
    xp = namespace(e)
    n, count, _ = arrays.shape(e)
    k = arrays.positions(count, like=e)
    slots = xp.sum(xp.ones_like(k))  # count as an array, which goes together with other arrays
    k, s = k[:, None], arrays.positions(count // 2 + 1, like=e)[None, :]
    once = xp.logical_or(s == 0, 2 * s == slots)
    times = xp.where(once, arrays.constant(1.0, like=e), arrays.constant(2.0, like=e))
    place = xp.reshape(k * slots + (k + s) % slots, (-1,))
    flat = xp.take(xp.reshape(e, (n, count * count)), place, axis=1)
    weights = xp.reshape(xp.broadcast_to(times, (count, count // 2 + 1)), (-1,))
    return xp.concat([flat[..., None], (flat * weights)[..., None]], axis=-1)
