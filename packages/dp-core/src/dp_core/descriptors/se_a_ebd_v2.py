"""se_e2_a with numbers for the types: one network for all of them instead of one for each.

The numbers are those of the section ``model/type_embedding``. In se_e2_a itself, if there is such a section, they go
into the network of distances; in se_a_ebd_v2 they go into a network of their own. Both have them behind the descriptor,
and one fitting network serves all types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors import base
from dp_core.descriptors.dpa1 import DPA1
from dp_core.descriptors.environment import empty_counts, pair_table
from dp_core.descriptors.mixed import Slots, stored_fields
from dp_core.descriptors.se_e2_a import SeE2ASettings
from dp_core.errors import ConfigError
from dp_core.format.versions import check_version
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.nn import EmbeddingNet, NetworkCollection
from dp_core.nn.networks import child_seed
from dp_core.nn.type_embedding import TypeEmbedding, TypeEmbeddingSettings
from dp_core.schema.section import Section, option


class SeAEbdV2Settings(SeE2ASettings):
    """Settings of se_a_ebd_v2 in an input file."""

    type: Literal["se_a_ebd_v2"] = option("se_a_ebd_v2", "name of the descriptor")  # type: ignore[assignment]


@module
class SeAEbdV2(DPA1):
    """The descriptor: Neighborhood with n rows -> (n, neuron[-1]·axis_neuron + numbers of a type).

    Without a network of types of its own it is se_e2_a with a type embedding. Its empty slots then have the type of
    their block; otherwise they have none.
    """

    Settings: type[Section] = SeAEbdV2Settings
    takes_type_embedding = True

    by_type = True
    mixed_types = True
    marks_first = False

    def _empty_slots(self, slots: Slots, table: Neighborhood, types: Array) -> Array:
        """What the empty slots add, (n, 4, width); nothing in blocks that the centre excludes."""
        xp = namespace(slots.matrix, types)
        count = empty_counts(table.neighbor_types >= 0, table, self.sel, self.precision)
        center = xp.minimum(slots.center, xp.full_like(slots.center, self.ntypes - 1))
        if self.exclude_types:
            seen = pair_table(self.ntypes, self.exclude_types)[: self.ntypes, : self.ntypes]
            count = count * arrays.take(arrays.constant(seen, like=count), center)
        ones = self._empty_rows(types)  # by type of the centre and of the slot, the last for none
        if self.embeddings_strip is None:
            ones = ones[:, : self.ntypes, :]
        else:
            ones, count = ones[:, self.ntypes :, :], xp.sum(count, axis=1, keepdims=True)
        added = count[:, None, :] @ arrays.take(ones, center)
        return xp.reshape(added, (arrays.shape(added)[0], 4, self.width))

    def change_type_map(self, type_map: Sequence[str], random: np.random.Generator) -> SeAEbdV2:
        """Raises ConfigError: sel has a number for each type."""
        raise ConfigError(
            "The types of a se_e2_a with a type embedding cannot be changed: sel has a number for each type. Train a "
            "new model."
        )

    @classmethod
    def init(  # type: ignore[override]
        cls, settings: SeE2ASettings, type_map: Sequence[str], type_embedding: TypeEmbeddingSettings | None = None
    ) -> SeAEbdV2:
        """Random networks and trivial statistics. ``sel`` must be numbers by now."""
        typed = type_embedding or TypeEmbeddingSettings(activation_function="linear")  # as DeePMD-kit has it
        block = child_seed(settings.seed, 0)
        fields = base.init_fields(settings, type_map, 4, one_side=True)
        width = typed.neuron[-1] * (1 if settings.type_one_side else 2)
        strip = isinstance(settings, SeAEbdV2Settings)

        def network(in_dim: int, part: int) -> NetworkCollection:
            net = EmbeddingNet.init(
                in_dim, settings.neuron, activation_function=settings.activation_function,
                resnet_dt=settings.resnet_dt, precision=fields["precision"], seed=child_seed(block, part),
                trainable=settings.trainable,
            )  # fmt: skip
            return NetworkCollection((net,), 0, len(type_map), "embedding_network")

        own = {
            "embeddings": network(1 if strip else 1 + width, 0),
            "embeddings_strip": network(width, 1) if strip else None,
            "type_embedding": TypeEmbedding.of_settings(typed, type_map, seed=child_seed(settings.seed, 1)),
            "smooth": False,
            "axis_neuron": settings.axis_neuron,
            "type_one_side": settings.type_one_side,
            "trainable": True,  # every network says it for itself, because the section of the types says it for them
            "zero_mean": settings.set_davg_zero,
        }
        return cls(**fields | own)

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor, which only dp reads."""
        version = 3 if self.compressed else 2
        data = self.document("se_e2_a" if self.embeddings_strip is None else "se_a_ebd_v2", version)
        return data | {"axis_neuron": self.axis_neuron, "type_one_side": self.type_one_side, "spin": None}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SeAEbdV2:
        """The descriptor of a document."""
        data = check_version(data, "Descriptor", (2, 3))
        own = {"smooth": False, "axis_neuron": data["axis_neuron"], "type_one_side": data["type_one_side"]}
        made = cls(**stored_fields(data) | own)
        return made.with_stored_tables(data.get("compress"))  # type: ignore[no-any-return]
