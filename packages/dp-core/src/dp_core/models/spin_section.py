"""The section of an input file that gives a model spins, and what it means for the types of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pydantic

from dp_core.errors import ConfigError, nearest
from dp_core.schema.section import Section, option, wrong
from dp_core.virtual_atoms import VirtualAtoms


class SpinSection(Section):
    """The spins of a model."""

    scheme: Literal["deepspin"] = option("deepspin", "how spins enter: by virtual atoms")
    use_spin: list[bool] | list[int] | list[str] = option(
        ..., "which types have a spin: a flag for each type, or the numbers or names of those that have one"
    )
    virtual_scale: float | list[float] = option(
        ..., "distance of the virtual atom of a spin: one number, or one for each type, or for each with a spin",
        unit="Å/μB",
    )  # fmt: skip

    @pydantic.model_validator(mode="after")
    def _positive(self) -> SpinSection:
        if isinstance(self.virtual_scale, float) and self.virtual_scale <= 0:
            raise wrong("virtual_scale", f"is {self.virtual_scale:g} and must be positive")
        return self


def spin_types(use_spin: Sequence[Any], virtual_scale: Any, type_map: Sequence[str]) -> VirtualAtoms:
    """The virtual atoms of a section or document in any of its forms. Raises ConfigError where they do not fit."""
    flags = _flags(list(use_spin), type_map)
    given = np.atleast_1d(np.asarray(virtual_scale, np.float64))
    ntypes, magnetic = len(flags), [t for t, flag in enumerate(flags) if flag]
    scale = np.zeros(ntypes)
    if np.ndim(virtual_scale) == 0:
        scale[:] = given[0]
    elif len(given) == ntypes:
        scale[:] = given
    elif len(given) == len(magnetic):
        scale[magnetic] = given
    else:
        raise ConfigError(
            f"model/spin/virtual_scale has {len(given)} numbers; give one, or {ntypes}, one for each type "
            f"({', '.join(type_map)}), or {len(magnetic)}, one for each type with a spin."
        )
    for t in magnetic:
        if not scale[t] > 0:
            raise ConfigError(f"model/spin/virtual_scale is {scale[t]:g} for {type_map[t]}; it must be positive.")
    return VirtualAtoms(tuple(flags), tuple(float(x) for x in scale))


def _flags(use_spin: list[Any], type_map: Sequence[str]) -> list[bool]:
    ntypes = len(type_map)
    if all(isinstance(x, bool | np.bool_) for x in use_spin):
        if len(use_spin) != ntypes:
            raise ConfigError(
                f"model/spin/use_spin has {len(use_spin)} flags for {ntypes} types ({', '.join(type_map)}). Give one "
                "for each, or the names of those with a spin."
            )
        flags = [bool(x) for x in use_spin]
    else:
        chosen = set()
        for x in use_spin:
            if isinstance(x, str) and x not in type_map:
                raise ConfigError(f"model/spin/use_spin names {x!r}, which is no type{nearest(x, list(type_map))}")
            if not isinstance(x, str) and not 0 <= x < ntypes:
                raise ConfigError(f"model/spin/use_spin has the type {x}; the types are 0 to {ntypes - 1}.")
            chosen.add(type_map.index(x) if isinstance(x, str) else int(x))
        flags = [t in chosen for t in range(ntypes)]
    if not any(flags):
        raise ConfigError(
            "model/spin/use_spin names no type, so there are no spins. Name one, or leave out model/spin."
        )
    return flags
