"""The fitting of any other property: descriptor -> numbers that add up, or average, to those of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pydantic

from dp_core import arrays
from dp_core.fittings.base import Fitting, FittingSettings, check_fitting, init_fitting
from dp_core.module import Array, module
from dp_core.neighbors import Neighborhood
from dp_core.outputs import OutputDef
from dp_core.schema.section import option

#: Names of other things in data, tables and outputs; those of atoms begin with ``atom_`` or ``atomic_``.
_RESERVED = frozenset({
    "energy", "force", "virial", "hessian", "spin", "force_mag", "drdq", "coord", "box", "real_atom_types", "fparam",
    "aparam", "charge_spin", "mask", "gradient",
})  # fmt: skip


class PropertyFittingSettings(FittingSettings):
    """Settings of the property fitting in an input file."""

    type: Literal["property"] = option("property", "name of the fitting")
    property_name: str = option(..., "name of the property, of its label in the data and of the output", min_length=1)
    task_dim: int = option(1, "numbers of the property", gt=0)
    intensive: bool = option(False, "the value of a frame is the mean of its atoms, not the sum")
    distinguish_types: bool = option(True, "each type has a bias and deviation of its own")

    @pydantic.field_validator("property_name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in _RESERVED or name.startswith(("atom_", "atomic_")):
            raise ValueError(f"is {name!r}, which is the name of something else in the data; choose another")
        return name


@module
class PropertyFitting(Fitting):
    """The property of each atom: (n, dim_descrpt) -> (n, task_dim), in units of its deviation in the training data."""

    property_name: str = ""
    task_dim: int = 1
    intensive: bool = False
    distinguish_types: bool = True

    Settings = PropertyFittingSettings

    @property
    def output(self) -> OutputDef:
        """What is predicted."""
        return OutputDef(
            self.property_name, (self.task_dim,), kind="property", reducible=True, differentiable=False,
            unit="unit of the labels",
            intensive=self.intensive, bias_by_type=self.distinguish_types,
        )  # fmt: skip

    def __call__(self, descriptor: Array, rotation: Array | None, table: Neighborhood) -> dict[str, Array]:
        """The property of each atom, by its name."""
        return {self.property_name: self.evaluate(descriptor, table)}

    def with_statistics(self, values: Array, bias: Array, std: Array, types: Array) -> Array:
        """Multiplied by the deviation, plus the bias; without ``distinguish_types`` those of the first type."""
        rows = types if self.distinguish_types else types * 0
        return values * arrays.take(std, rows) + arrays.take(bias, rows)

    @classmethod
    def init(
        cls,
        settings: PropertyFittingSettings,
        *,
        dim_descrpt: int,
        mixed_types: bool,
        type_map: Sequence[str],
        embedding_width: int | None = None,
    ) -> PropertyFitting:
        """A new fitting with random networks."""
        width = settings.task_dim
        fields = init_fitting(
            settings, width=width, dim_descrpt=dim_descrpt, mixed_types=mixed_types, type_map=type_map
        )
        return cls(
            **fields,
            property_name=settings.property_name,
            task_dim=width,
            intensive=settings.intensive,
            distinguish_types=settings.distinguish_types,
        )

    def serialize(self) -> dict[str, Any]:
        """The document of the fitting."""
        return self.common_document("property", self.property_name, 6) | {
            "dim_out": self.task_dim,
            "atom_ener": None,
            "task_dim": self.task_dim,
            "intensive": self.intensive,
            "distinguish_types": self.distinguish_types,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PropertyFitting:
        """The fitting of a document."""
        data = check_fitting(data, "property", 6)
        return cls(
            **cls.common_fields(data),
            property_name=data.get("var_name", "property"),
            task_dim=int(data.get("task_dim", data.get("dim_out", 1))),
            intensive=bool(data.get("intensive", False)),
            distinguish_types=bool(data.get("distinguish_types", False)),
        )
