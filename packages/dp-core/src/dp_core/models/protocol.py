"""What dp asks of a model beside its values, answered for those that do not say it themselves.

A model may be made of others. Those with a descriptor and a fitting, its *members*, have statistics and parameters; a
model that is not made of others is its own only member. A model that is has a method ``map_members``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp_core import registry
from dp_core.descriptors.protocol import CountSel, joined_reach, with_counted_sel
from dp_core.errors import ConfigError
from dp_core.schema.section import Section


@dataclass(frozen=True)
class Member:
    """A model with a descriptor and a fitting, inside another one or alone."""

    model: Any
    types: tuple[int, ...]  # what the member calls each type of the whole
    exclude: frozenset[tuple[int, int]]  # pairs of the member's types that do not see each other
    fixed: bool = False  # comes from a file as it is: nothing in it follows the data
    region_only: bool = False  # sees the QM region of a frame only, see ``fragments``


def map_members(model: Any, change: Callable[[Member], Any]) -> Any:
    """The model with ``change(member)`` in the place of the model of every member."""
    if hasattr(model, "map_members"):
        return model.map_members(change)
    return change(Member(model, tuple(range(len(model.type_map))), frozenset(model.pair_exclude_types)))


def members(model: Any) -> list[Member]:
    """All members; none in a model without networks."""
    found: list[Member] = []

    def collect(member: Member) -> Any:
        found.append(member)
        return member.model

    map_members(model, collect)
    return found


def message_passing(model: Any) -> bool:
    """Whether rows of a table depend on each other."""
    return any(member.model.descriptor.message_passing for member in members(model))


def message_reach(model: Any) -> tuple[int, float] | None:
    """How far messages come: (steps, radius of each in Å); None for no messages, and for any number of steps.

    What an atom has depends on the neighbours of those rows that are so many steps away, and on no others.
    """
    passing = [member.model.descriptor for member in members(model) if member.model.descriptor.message_passing]
    return joined_reach(passing)


def type_embeddings(model: Any) -> tuple[Any, ...]:
    """The type embeddings of the first member, one for each part of a hybrid that has one."""
    found = members(model)
    descriptor = found[0].model.descriptor if found else None
    parts = [getattr(part, "type_embedding", None) for part in getattr(descriptor, "list", (descriptor,))]
    return tuple(part for part in parts if part is not None)


def new_model(settings: Section, type_map: Sequence[str], folder: Path = Path()) -> Any:
    """A model with random parameters and no statistics. folder: that of relative paths in the settings."""
    kind = getattr(settings, "kind", None) or settings.to_document()["type"]
    placed = settings.in_folder(folder)  # type: ignore[attr-defined]
    model = registry.lookup("model", kind).init(placed, type_map)
    if getattr(placed, "modifier", None) is not None:
        from dp_core.models.modifier import modified  # reads a model file

        model = modified(model, placed.modifier)
    if getattr(placed, "hessian_mode", False) and (why := no_second_derivatives(model)):
        raise ConfigError(f"{why} Leave out model/hessian_mode, and start_pref_h and limit_pref_h in the loss.")
    return model


def no_second_derivatives(model: Any) -> str:
    """Why there are no second derivatives of a model by the positions; nothing if there are."""
    from dp_core.long_range import long_range  # knows models
    from dp_core.virtual_atoms import virtual_atoms

    if model.output.kind != "energy":
        return f"The model predicts {model.output.name!r}; second derivatives are those of energies."
    if virtual_atoms(model) is not None:
        return "The model has spins, and second derivatives are not computed of such models."
    if long_range(model):
        return "The model has a long-range part, which has no second derivatives."
    return ""


def settings_with_counted_sel(settings: Any, count: CountSel) -> Any:
    """The settings of a model with what ``count`` gives for every ``sel``. Places are below the model section."""
    if hasattr(settings, "with_counted_sel"):
        return settings.with_counted_sel(count)
    descriptor = with_counted_sel(settings.descriptor, below("descriptor", count))
    return settings.model_copy(update={"descriptor": descriptor})


def below(section: str, count: CountSel) -> CountSel:
    """``count`` for the places inside a section."""

    def inside(place: str, sel: Any, rcut: float, *, mixed: bool) -> Any:
        return count(f"{section}/{place}", sel, rcut, mixed=mixed)

    return inside
