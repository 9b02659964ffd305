"""Kinds of settings that descriptors, fittings and models share, checked where they are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import pydantic

from dp_core.errors import ConfigError
from dp_core.nn import activation, canonical


def _computed(name: str) -> str:
    try:
        canonical(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name


def _known(name: str) -> str:
    try:
        activation(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name


def _seed(value: int | list[int] | None) -> int | list[int] | None:
    numbers = [value] if isinstance(value, int) else value
    if numbers is not None and (not numbers or min(numbers) < 0):
        raise ValueError(f"is {value}, expected an integer ≥ 0, a list of them, or null")
    return value


#: The name of a precision that dp computes in.
Precision = Annotated[str, pydantic.AfterValidator(_computed)]

#: The name of an activation function.
Activation = Annotated[str, pydantic.AfterValidator(_known)]

#: What random numbers begin with.
SeedSetting = Annotated[int | list[int] | None, pydantic.AfterValidator(_seed)]


def check_types(place: str, types: Iterable[Any], type_map: Sequence[str]) -> None:
    """Raise ConfigError if a number of a list of types, or of pairs of them, is no type of the model.

    place: the key of the list, for the message.
    """
    for entry in types:
        numbers = entry if isinstance(entry, list | tuple) else [entry]
        if not all(0 <= t < len(type_map) for t in numbers):
            shown = list(entry) if isinstance(entry, tuple) else entry
            raise ConfigError(
                f"{place} names {shown}; types go from 0 to {len(type_map) - 1} ({', '.join(type_map)}, in this order)."
            )
