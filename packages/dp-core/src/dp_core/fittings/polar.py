"""The polarizability fitting: descriptor -> polarizability of each atom, a symmetric tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.errors import ConfigError
from dp_core.fittings.base import check_fitting
from dp_core.fittings.tensor import TensorFitting, TensorFittingSettings, equivariant_width, init_tensor
from dp_core.module import Array, buffer, module, replace
from dp_core.neighbors import Neighborhood
from dp_core.outputs import OutputDef
from dp_core.schema.section import option
from dp_core.type_map import rows_of_types


class PolarFittingSettings(TensorFittingSettings):
    """Settings of the polarizability fitting in an input file."""

    type: Literal["polar"] = option("polar", "name of the fitting")
    fit_diag: bool = option(True, "the networks give a diagonal matrix, not a full one, in the frame of the descriptor")
    scale: float | list[float] = option(1.0, "factor of the networks' output, one or one for each type with an output")
    shift_diag: bool = option(True, "the diagonal begins at the mean of the training data")
    sel_type: int | list[int] | None = option(
        None, "types whose atoms have a polarizability; all, if not given", aliases=("pol_type",)
    )

    @pydantic.field_validator("scale")
    @classmethod
    def _given(cls, value: float | list[float]) -> float | list[float]:
        if value == []:
            raise ValueError("is empty, expected a number, or one for each type")
        return value


@module
class PolarFitting(TensorFitting):
    """Polarizability of each atom, Gᵀ·M·G with the matrix M of the networks: (n, dim_descrpt) -> (n, 9), symmetric."""

    scale: Array = buffer(default=None)  # (ntypes, 1)
    constant_matrix: Array = buffer(default=None)  # (ntypes,), on the diagonal if shift_diag, in units of scale
    fit_diag: bool = True
    shift_diag: bool = True

    Settings = PolarFittingSettings
    output = OutputDef(
        "polarizability", (3, 3), kind="polar", reducible=True, differentiable=False, unit="unit of the labels"
    )

    def __call__(self, descriptor: Array, rotation: Array | None, table: Neighborhood) -> dict[str, Array]:
        """The polarizability of each atom, by the name of the output. rotation: (n, embedding_width, 3)."""
        p = self.evaluate(descriptor, table)
        xp = namespace(p, rotation)
        types = xp.maximum(table.types, xp.zeros_like(table.types))
        p = p * arrays.take(self.scale, types)
        m = self.embedding_width
        if self.fit_diag:
            turned = p[:, :, None] * rotation
        else:
            matrix = xp.reshape(p, (-1, m, m))
            turned = 0.5 * (matrix + xp.matrix_transpose(matrix)) @ rotation
        alpha = xp.reshape(xp.matrix_transpose(rotation) @ turned, (-1, 9))
        if self.shift_diag:
            alpha = alpha + self._diagonal(arrays.take(self.constant_matrix, types)[:, None], types)
        return {"polarizability": alpha}

    def with_statistics(self, values: Array, bias: Array, std: Array, types: Array) -> Array:
        """With the mean of the diagonal of the bias on the diagonal, if ``shift_diag``."""
        if not self.shift_diag:
            return values
        trace = bias[:, 0:1] + bias[:, 4:5] + bias[:, 8:9]
        return values + self._diagonal(arrays.take(trace / 3.0, types), types)

    def change_type_map(self, type_map: Sequence[str], old: Sequence[str]) -> Self:
        """The fitting for other types; new ones have the scale 1 and no diagonal."""
        return replace(
            super().change_type_map(type_map, old),
            scale=rows_of_types(self.scale, old, type_map, 1.0),
            constant_matrix=rows_of_types(self.constant_matrix, old, type_map, 0.0),
        )

    def _diagonal(self, x: Array, types: Array) -> Array:
        """A number of each atom, in units of ``scale``, on the diagonal: (n, 1) -> (n, 9)."""
        one = arrays.constant(np.eye(3).reshape(1, 9).tolist(), like=x)
        return x * arrays.take(self.scale, types) * one

    @classmethod
    def init(
        cls,
        settings: PolarFittingSettings,
        *,
        dim_descrpt: int,
        mixed_types: bool,
        type_map: Sequence[str],
        embedding_width: int | None = None,
    ) -> PolarFitting:
        """A new fitting with random networks."""
        m = equivariant_width("polar", embedding_width)
        fields = init_tensor(
            settings, width=m if settings.fit_diag else m * m, embedding_width=m, dim_descrpt=dim_descrpt,
            mixed_types=mixed_types, type_map=type_map,
        )  # fmt: skip
        return cls(
            **fields,
            scale=_scale(settings, type_map),
            constant_matrix=np.zeros(len(type_map)),
            fit_diag=settings.fit_diag,
            shift_diag=settings.shift_diag,
        )

    def serialize(self) -> dict[str, Any]:
        """The document of the fitting."""
        data = self.common_document("polar", "polar", 5)
        data["@variables"] |= {"scale": self.scale, "constant_matrix": self.constant_matrix}
        return data | {
            "embedding_width": self.embedding_width,
            "fit_diag": self.fit_diag,
            "shift_diag": self.shift_diag,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PolarFitting:
        """The fitting of a document."""
        data = check_fitting(data, "polar", 5)
        v, ntypes = data["@variables"], int(data["ntypes"])
        scale, constant = v.get("scale"), v.get("constant_matrix")
        return cls(
            **cls.common_fields(data),
            scale=np.ones((ntypes, 1)) if scale is None else np.reshape(scale, (ntypes, 1)),
            constant_matrix=np.zeros(ntypes) if constant is None else np.reshape(constant, (ntypes,)),
            embedding_width=int(data["embedding_width"]),
            fit_diag=bool(data.get("fit_diag", True)),
            shift_diag=bool(data.get("shift_diag", True)),
        )


def _scale(settings: PolarFittingSettings, type_map: Sequence[str]) -> np.ndarray:
    """The factor of each type, (ntypes, 1); 1 for types without an output where only the others are given."""
    selected, given = settings.selected(type_map), settings.scale
    scale = np.ones((len(type_map), 1))
    if isinstance(given, list) and len(given) not in (len(type_map), len(selected)):
        raise ConfigError(
            f"model/fitting_net/scale has {len(given)} numbers; give one for each of the {len(selected)} types with a "
            f"polarizability ({', '.join(type_map[t] for t in selected)})."
        )
    if isinstance(given, list) and len(given) == len(type_map):
        scale[:, 0] = given
    else:
        scale[selected, 0] = given
    return scale
