"""The dipole fitting: descriptor -> dipole of each atom, or any other vector that turns with the structure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from dp_core.arrays import namespace
from dp_core.fittings.base import check_fitting
from dp_core.fittings.tensor import TensorFitting, TensorFittingSettings, equivariant_width, init_tensor
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.outputs import OutputDef
from dp_core.schema.section import option


class DipoleFittingSettings(TensorFittingSettings):
    """Settings of the dipole fitting in an input file."""

    type: Literal["dipole"] = option("dipole", "name of the fitting")
    sel_type: int | list[int] | None = option(
        None, "types whose atoms have a dipole; all, if not given", aliases=("dipole_type",)
    )


@module
class DipoleFitting(TensorFitting):
    """Dipole of each atom, Σ_k p_k·G_k with p of the networks and G of the descriptor: (n, dim_descrpt) -> (n, 3)."""

    Settings = DipoleFittingSettings
    output = OutputDef("dipole", (3,), kind="dipole", reducible=True, differentiable=True, unit="unit of the labels")

    def __call__(self, descriptor: Array, rotation: Array | None, table: Neighborhood) -> dict[str, Array]:
        """The dipole of each atom, by the name of the output. rotation: (n, embedding_width, 3)."""
        p = self.evaluate(descriptor, table)
        return {"dipole": namespace(p, rotation).sum(p[:, :, None] * rotation, axis=1)}

    def with_statistics(self, values: Array, bias: Array, std: Array, types: Array) -> Array:
        """The values themselves: a constant vector would not turn with the structure."""
        return values

    @classmethod
    def init(
        cls,
        settings: DipoleFittingSettings,
        *,
        dim_descrpt: int,
        mixed_types: bool,
        type_map: Sequence[str],
        embedding_width: int | None = None,
    ) -> DipoleFitting:
        """A new fitting with random networks."""
        width = equivariant_width("dipole", embedding_width)
        fields = init_tensor(
            settings, width=width, embedding_width=width, dim_descrpt=dim_descrpt, mixed_types=mixed_types,
            type_map=type_map,
        )  # fmt: skip
        return cls(**fields)

    def serialize(self) -> dict[str, Any]:
        """The document of the fitting."""
        return self.common_document("dipole", "dipole", 4) | {
            "embedding_width": self.embedding_width,
            "r_differentiable": True,
            "c_differentiable": True,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DipoleFitting:
        """The fitting of a document."""
        data = check_fitting(data, "dipole", 4)
        return cls(**cls.common_fields(data), embedding_width=int(data["embedding_width"]))
