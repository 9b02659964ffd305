"""hybrid: several descriptors one after the other, which share one table of neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from dp_core import arrays, registry
from dp_core.arrays import namespace
from dp_core.descriptors.protocol import (
    CountSel,
    compressed,
    equivariant_rows,
    joined_reach,
    map_parts,
    obstacle,
    with_counted_sel,
)
from dp_core.descriptors.tabulation import Resolution
from dp_core.errors import ConfigError
from dp_core.format.versions import check_version
from dp_core.module import Array, module, replace
from dp_core.neighbors import Neighborhood
from dp_core.schema.section import Section, Variant, option, wrong
from dp_core.views import kept, merged, nearest

#: The field is called list in input files, which hides the type in the class.
Sections = list[Annotated[Any, Variant("descriptor")]]


class HybridSettings(Section):
    """Settings of hybrid in an input file."""

    type: Literal["hybrid"] = option("hybrid", "name of the descriptor")
    list: Sections = option(..., "the descriptors, in their order; any but hybrid")

    @pydantic.model_validator(mode="after")
    def _children(self) -> HybridSettings:
        if not self.list:
            raise wrong("list", "is empty; give at least one descriptor")
        if any(child.type == "hybrid" for child in self.list):
            raise wrong("list", "has a hybrid in it; write the descriptors of that one into this list instead")
        return self

    @property
    def rcut(self) -> float:
        """The largest cutoff, Å."""
        return float(max(child.rcut for child in self.list))

    def with_counted_sel(self, count: CountSel) -> HybridSettings:
        """The settings with what ``count`` gives for the ``sel`` of every descriptor."""

        def counted(k: int, child: Section) -> Section:
            def inside(place: str, sel: Any, rcut: float, *, mixed: bool) -> Any:
                return count(f"list/{k}/{place}", sel, rcut, mixed=mixed)

            return with_counted_sel(child, inside)

        return self.model_copy(update={"list": [counted(k, child) for k, child in enumerate(self.list)]})


@module
class Hybrid:
    """The descriptor: Neighborhood with n rows -> (n, sum of the widths).

    The table has the largest cutoff and the largest ``sel`` of all. Where some descriptors want blocks by type and some
    do not, the table has blocks, and ``sel`` limits all types together.
    """

    list: tuple[Any, ...]

    Settings = HybridSettings

    @property
    def by_type(self) -> bool:
        """Whether ``sel`` has a number for each type."""
        return all(child.by_type for child in self.list)

    @property
    def split(self) -> bool:
        """Whether there are blocks by type all the same."""
        return not self.by_type and any(child.by_type for child in self.list)

    @property
    def types_alone(self) -> bool:
        """Whether a descriptor limits the neighbours of each type alone."""
        return any(getattr(child, "types_alone", False) for child in self.list)

    @property
    def marks_first(self) -> bool:
        """Whether a descriptor asks for the type of the first atom."""
        return any(getattr(child, "marks_first", False) for child in self.list)

    @property
    def rcut(self) -> float:
        """The largest cutoff, Å."""
        return float(max(child.rcut for child in self.list))

    @property
    def sel(self) -> tuple[int, ...]:
        """The largest numbers of neighbours, by type or in all."""
        if self.by_type:
            return tuple(max(numbers) for numbers in zip(*(child.sel for child in self.list), strict=True))
        return (max(sum(child.sel) for child in self.list),)

    @property
    def message_passing(self) -> bool:
        """Whether a descriptor passes messages."""
        return any(child.message_passing for child in self.list)

    @property
    def message_reach(self) -> tuple[int, float] | None:
        """How many steps messages come, and the radius of each in Å; None where that is not known."""
        return joined_reach([child for child in self.list if child.message_passing])

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return sum(child.dim_out for child in self.list)

    @property
    def dim_emb(self) -> int | None:
        """Rows of the equivariant part; None without."""
        widths = [rows for child in self.list if (rows := equivariant_rows(child)) is not None]
        return sum(widths) if widths else None

    @property
    def dim_chg_spin(self) -> int:
        """2 if a descriptor depends on the total charge and multiplicity, else 0."""
        return max(getattr(child, "dim_chg_spin", 0) for child in self.list)

    @property
    def default_chg_spin(self) -> tuple[float, ...] | None:
        """Charge and multiplicity where none are given; None without a default."""
        defaults = [child.default_chg_spin for child in self.list if getattr(child, "dim_chg_spin", 0)]
        return defaults[0] if defaults else None

    def __call__(self, table: Neighborhood) -> tuple[Array, Array | None]:
        """The descriptor (n, dim_out) and the equivariant part (n, dim_emb, 3), None if no descriptor has one."""
        together = merged(table) if self.split else table
        found = [child(self._seen(child, table if child.by_type else together)) for child in self.list]
        rotations = [rotation for _, rotation in found if rotation is not None]
        values = arrays.concat([value for value, _ in found], axis=-1)
        return values, arrays.concat(rotations, axis=1) if rotations else None

    def _seen(self, child: Any, table: Neighborhood) -> Neighborhood:
        """The neighbours that a descriptor sees: as many as its own ``sel`` has, the nearest.

        Those beyond its own cutoff stay, with weight 0, where an excluded one is something else than an empty slot.
        """
        if child.by_type:
            limits = tuple(child.sel)
            full = limits == self.sel
        else:
            limits = (sum(child.sel),)
            full = limits == self.sel and not self.types_alone
        keep = None if full else nearest(table, limits)
        if child.by_type and child.rcut < self.rcut and not getattr(child, "exclude_types", ()):
            xp = namespace(table.vectors)
            near = xp.sum(table.vectors * table.vectors, axis=-1) <= child.rcut**2
            keep = near if keep is None else xp.logical_and(near, keep)
        return table if keep is None else kept(table, keep)

    @property
    def compressed(self) -> bool:
        """Whether tables take the place of networks."""
        return any(compressed(child) for child in self.list)

    def obstacle(self) -> str | None:
        """Why there can be no tables; None if there can."""
        for k, child in enumerate(self.list):
            reason = obstacle(child)
            if reason is not None:
                return f"of descriptor {k} of the hybrid, {child.serialize()['type']}: {reason}"
        return None

    def tabulated(self, resolution: Resolution) -> Hybrid:
        """The descriptor with tables in the place of networks of all descriptors."""
        return replace(self, list=tuple(child.tabulated(resolution) for child in self.list))

    def uncompressed(self) -> Hybrid:
        """The descriptor without tables."""
        return replace(self, list=tuple(child.uncompressed() if compressed(child) else child for child in self.list))

    def map_parts(self, change: Callable[[Any], Any]) -> Hybrid:
        """The descriptor with ``change(part)`` for all parts of all descriptors that have statistics."""
        return replace(self, list=tuple(map_parts(child, change) for child in self.list))

    def change_type_map(self, type_map: Sequence[str], random: np.random.Generator) -> Hybrid:
        """The descriptor for other types, which every descriptor must be able to become.

        Raises ConfigError where that is impossible.
        """
        for k, child in enumerate(self.list):
            if not hasattr(child, "change_type_map"):
                raise ConfigError(
                    f"Descriptor {k} of the hybrid, {child.serialize()['type']}, has networks of certain types, which "
                    "cannot be changed. Train a new model."
                )
        return replace(self, list=tuple(child.change_type_map(type_map, random) for child in self.list))

    @classmethod
    def init(cls, settings: HybridSettings, type_map: Sequence[str]) -> Hybrid:
        """New descriptors; every ``sel`` must be numbers by now."""
        children = []
        for k, child in enumerate(settings.list):
            try:
                children.append(registry.lookup("descriptor", child.type).init(child, type_map))
            except ConfigError as error:
                raise ConfigError(f"model/descriptor/list/{k}: {error}") from error
        return cls(tuple(children))

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        children = [child.serialize() for child in self.list]
        return {"@class": "Descriptor", "type": "hybrid", "@version": 1, "list": children}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Hybrid:
        """The descriptor of a document."""
        data = check_version(data, "Descriptor", (1, 1))
        return cls(tuple(registry.lookup("descriptor", child["type"]).deserialize(child) for child in data["list"]))
