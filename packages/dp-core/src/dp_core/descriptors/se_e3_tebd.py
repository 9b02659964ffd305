"""se_e3_tebd: three-body embedding of the angles between two neighbours and their types.

The sum runs over all ordered pairs of neighbours, with e_jk the product of their normalised angular rows:
Σ e_jk G(e_jk, types of j and k) / N². An empty slot has e = 0 unless the mean of angular rows differs from 0, which no
statistics give; then every slot is evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.environment import TINY
from dp_core.descriptors.mixed import Mixed, Slots, TypedSettings, init_fields, stored_fields
from dp_core.format.versions import check_version
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.nn.networks import child_seed
from dp_core.schema.section import option


class SeE3TebdSettings(TypedSettings):
    """Settings of se_e3_tebd in an input file."""

    type: Literal["se_e3_tebd"] = option("se_e3_tebd", "name of the descriptor")
    smooth: bool = option(True, "stripped types go to zero at the cutoff")
    use_tebd_bias: bool = option(True, "bias in the type embedding")


@module
class SeE3Tebd(Mixed):
    """The descriptor: Neighborhood with n rows -> (n, neuron[-1] + tebd_dim)."""

    Settings = SeE3TebdSettings

    angular = True

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return self.width + self.concat_output_tebd * self.type_embedding.width

    @property
    def marks_first(self) -> bool:
        """Whether empty slots must tell the type of the first atom of the frame."""
        return self.by_slot and (self.embeddings_strip is None or not self.smooth)

    def __call__(self, table: Neighborhood) -> tuple[Array, None]:
        """The descriptor (n, dim_out); there is no equivariant part."""
        slots, types = self.slots(table), self.types()
        xp = namespace(slots.matrix, types)
        rows = slots.matrix[..., 1:]
        # pairs at a right angle have e = 0 like empty ones, but a slope, which a sum by a table may leave out
        real = TINY * slots.valid
        products = rows @ xp.matrix_transpose(rows) + real @ xp.matrix_transpose(slots.valid)  # (n, K, K)
        total = self._sum(products, slots, types)
        return self.with_types(total / float(self.nnei) ** 2, slots, types), None

    def _sum(self, products: Array, slots: Slots, types: Array) -> Array:
        """Σ e G(e) over all pairs of slots: (n, K, K) -> (n, width)."""
        xp = namespace(products, types)
        n, k = arrays.shape(slots.neighbor)
        if self.tables is not None:
            flat = (n, k * k, 1)
            switch = xp.reshape(slots.switch @ xp.matrix_transpose(slots.switch), flat) if self.smooth else None
            pairs = xp.reshape(self._row_of_types(slots), flat[:2])
            e = xp.reshape(products, flat)
            return arrays.table_sum(e, self.network, self.type_rows(types), pairs, switch)[:, 0, :]
        g = self._embedded(products[..., None], slots, types)
        total = xp.reshape(products, (n, 1, k * k)) @ xp.reshape(g, (n, k * k, self.width))
        return total[:, 0, :]

    def _row_of_types(self, slots: Slots) -> Array:
        """The row of ``type_rows`` that belongs to pairs of slots: (n, K, K)."""
        return slots.neighbor[:, :, None] * (int(self.davg.shape[0]) + 1) + slots.neighbor[:, None, :]

    def _embedded(self, e: Array, slots: Slots, types: Array) -> Array:
        """The embedding of pairs of slots: (n, K, K, 1) -> (n, K, K, width)."""
        net = self.embeddings[()]
        if self.embeddings_strip is None:
            return net.of_parts([e, (types, slots.neighbor[:, :, None]), (types, slots.neighbor[:, None, :])])
        xp = namespace(e, types)
        gate = arrays.take(self.type_rows(types), self._row_of_types(slots))
        if self.smooth:
            gate = gate * (slots.switch @ xp.matrix_transpose(slots.switch))[..., None]
        return net(e) * (1.0 + gate)

    @classmethod
    def init(cls, settings: SeE3TebdSettings, type_map: Sequence[str]) -> SeE3Tebd:
        """Random networks and trivial statistics. ``sel`` must be numbers by now."""
        strip = settings.tebd_input_mode == "strip"
        typed = 2 * settings.tebd_dim
        fields = init_fields(
            settings, type_map, in_dim=1 if strip else 1 + typed, strip_dim=typed if strip else None,
            block=child_seed(settings.seed, 0),
        )  # fmt: skip
        return cls(**fields, smooth=settings.smooth)

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        return self.document("se_e3_tebd", 2 if self.compressed else 1) | {"smooth": self.smooth}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SeE3Tebd:
        """The descriptor of a document."""
        data = check_version(data, "Descriptor", (1, 2))
        made = cls.of_stored(stored_fields(data) | {"smooth": data.get("smooth", True)})
        return made.with_stored_tables(data.get("compress"))  # type: ignore[no-any-return]

    @classmethod
    def of_stored(cls, fields: dict[str, Any]) -> SeE3Tebd:
        """The descriptor with fields from a document: where there is a mean direction, empty slots count."""
        angular = bool(np.any(fields["davg"][..., 1:]))
        return cls(**fields | {"by_slot": fields["by_slot"] or angular})
