"""se_e2_a: the two-body embedding descriptor with radial and angular information (DeepPot-SE).

Zhang et al., Advances in Neural Information Processing Systems 31 (2018). With R the normalised environment matrix
of an atom and G the embedding of its first column, A = Gᵀ R / N and the descriptor is A Aᵀ, cut to ``axis_neuron``
columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from dp_core import arrays, registry
from dp_core.arrays import namespace
from dp_core.descriptors.base import EnvironmentSettings, TwoBody, init_fields, stored_fields
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.schema.section import Section, option


class SeE2ASettings(EnvironmentSettings):
    """Settings of se_e2_a in an input file."""

    type: Literal["se_e2_a"] = option("se_e2_a", "name of the descriptor")
    axis_neuron: int = option(4, "columns kept in the descriptor product", aliases=("n_axis_neuron",), gt=0)
    type_one_side: bool = option(False, "networks by neighbour type only, not by pair of types")


@module
class SeE2A(TwoBody):
    """The descriptor: Neighborhood with n rows -> (n, neuron[-1]·axis_neuron)."""

    axis_neuron: int = 4

    Settings = SeE2ASettings
    takes_type_embedding = True

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return self.width * self.axis_neuron

    @property
    def dim_emb(self) -> int:
        """Rows of the equivariant part."""
        return self.width

    def __call__(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor (n, dim_out) and the equivariant part (n, dim_emb, 3)."""
        matrix, table = self.environment(table, 4)
        total = self.embedded_sum(matrix, table, -self.davg[:, 0, :] / self.dstd[:, 0, :])
        xp = namespace(total)
        a = total / float(sum(self.sel))  # (n, 4, dim_emb)
        product = xp.matrix_transpose(a) @ a[:, :, : self.axis_neuron]
        flat = xp.reshape(product, (arrays.shape(product)[0], self.dim_out))
        rotation = xp.matrix_transpose(a[:, 1:, :])
        return arrays.cast(flat, "float64"), arrays.cast(rotation, "float64")

    @classmethod
    def init(cls, settings: SeE2ASettings, type_map: Sequence[str], type_embedding: Section | None = None) -> Any:
        """Random networks and trivial statistics. ``sel`` must be numbers by now.

        With the settings of a type embedding it is another descriptor, see ``se_a_ebd_v2.py``.
        """
        if type_embedding is not None:
            return registry.lookup("descriptor", "se_a_ebd_v2").init(settings, type_map, type_embedding)
        return cls(
            **init_fields(settings, type_map, 4, one_side=settings.type_one_side),
            axis_neuron=settings.axis_neuron,
            type_one_side=settings.type_one_side,
        )

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        own = {"axis_neuron": self.axis_neuron, "type_one_side": self.type_one_side, "spin": None}
        return self.document("se_e2_a") | own

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Any:
        """The descriptor of a document."""
        if "type_embedding" in data:
            return registry.lookup("descriptor", "se_a_ebd_v2").deserialize(data)
        return cls(
            **stored_fields(data),
            axis_neuron=data.get("axis_neuron", 8),
            type_one_side=data.get("type_one_side", True),
        )
