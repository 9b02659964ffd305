"""What dp asks of a descriptor beside its values, answered for those that do not say it themselves.

A plain descriptor sees the neighbours within one ``rcut`` and normalises one environment matrix by ``davg`` and
``dstd``. One that has parts, or counts neighbours otherwise, has methods of the same names as the functions here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dp_core import registry
from dp_core.neighbors import NeighborSpec
from dp_core.schema.section import Section


class CountSel(Protocol):
    """Numbers for a ``sel`` of an input file: those given if there are some, else counted in the training data."""

    def __call__(self, place: str, sel: Any, rcut: float, *, mixed: bool) -> Any:
        """place: the key below the section of the descriptor, for messages; mixed: one number for all types."""


def neighbor_spec(descriptor: Any, ntypes: int, exclude: frozenset[tuple[int, int]]) -> NeighborSpec:
    """The neighbours that a descriptor, or a part of it, sees. exclude: pairs of types left out."""
    return NeighborSpec(
        descriptor.rcut,
        tuple(descriptor.sel),
        descriptor.by_type,
        ntypes,
        exclude,
        shells=getattr(descriptor, "shells", ()),
        split=getattr(descriptor, "split", False),
        types_alone=getattr(descriptor, "types_alone", False),
        marks_first=getattr(descriptor, "marks_first", False),
    )


def equivariant_rows(descriptor: Any) -> int | None:
    """Rows of the equivariant part, None without one."""
    return getattr(descriptor, "dim_emb", None)


def mixed_types(descriptor: Any) -> bool:
    """Whether the descriptor tells the types apart by numbers, so that one fitting network serves all of them."""
    return bool(getattr(descriptor, "mixed_types", not descriptor.by_type))


def compressed(descriptor: Any) -> bool:
    """Whether tables take the place of networks of the descriptor."""
    return bool(getattr(descriptor, "compressed", False))


def obstacle(descriptor: Any) -> str | None:
    """Why tables cannot take the place of networks; None if they can.

    A descriptor with the method ``obstacle`` has ``tabulated(resolution)`` and ``uncompressed()``, too.
    """
    if not hasattr(descriptor, "obstacle"):
        return "it has no network of one number."
    reason: str | None = descriptor.obstacle()
    return reason


def joined_reach(passing: Sequence[Any]) -> tuple[int, float] | None:
    """How far messages of several descriptors come: steps and the radius of each in Å; None where that is not known."""
    found = [getattr(descriptor, "message_reach", None) for descriptor in passing]
    known = [reach for reach in found if reach is not None]
    if not known or len(known) < len(found):
        return None
    return max(steps for steps, _ in known), float(max(radius for _, radius in known))


def map_parts(descriptor: Any, change: Callable[[Any], Any]) -> Any:
    """The descriptor with ``change(part)`` for every part that has statistics of the training data.

    A plain descriptor is its only part.
    """
    return descriptor.map_parts(change) if hasattr(descriptor, "map_parts") else change(descriptor)


def parts_of(descriptor: Any) -> list[Any]:
    """All parts that have statistics of the training data."""
    found = []

    def collect(part: Any) -> Any:
        found.append(part)
        return part

    map_parts(descriptor, collect)
    return found


def with_counted_sel(settings: Any, count: CountSel) -> Section:
    """The settings with what ``count`` gives for every ``sel``."""
    if hasattr(settings, "with_counted_sel"):
        counted: Section = settings.with_counted_sel(count)
        return counted
    by_type = registry.lookup("descriptor", settings.type).by_type
    sel = count("sel", settings.sel, settings.rcut, mixed=not by_type)
    changed: Section = settings if sel is settings.sel else settings.model_copy(update={"sel": sel})
    return changed
