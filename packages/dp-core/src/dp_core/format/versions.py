"""Versions of serialized objects.

Every object carries ``@class``, mostly ``type``, and ``@version`` (absent in old files: 1). A change of what is
written raises the version, and a pure function from version n to n + 1 is registered beside the class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dp_core.errors import FormatError

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

_UPGRADES: dict[tuple[str, int], Upgrade] = {}


def object_name(data: Mapping[str, Any]) -> str:
    """How an object is called: its ``@class``, followed by its ``type`` if it has one.

    >>> object_name({"@class": "Descriptor", "type": "se_e2_a", "@version": 2})
    'Descriptor se_e2_a'
    """
    return " ".join(str(data[key]) for key in ("@class", "type") if data.get(key) is not None) or "object"


def version_of(data: Mapping[str, Any]) -> int:
    """The version of an object; 1 where none is written. Raises FormatError if it is not a whole number."""
    version: object = data.get("@version", 1)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise FormatError(f"The {object_name(data)} in the model has the @version {version!r}; it should be 1, 2, …")
    return version


def check_version(data: Mapping[str, Any], cls: str, accepted: tuple[int, int] = (1, 2)) -> dict[str, Any]:
    """The serialized object, upgraded, after a check that it is a ``cls`` of a version within ``accepted`` (both ends).

    ``data`` is not changed. Raises FormatError if the object is of another class or version; the message names the
    object, what it has, what is accepted, and the repair.
    """
    if not isinstance(data, Mapping):
        raise FormatError(f"The model has a {type(data).__name__} where a {cls} is expected; the file is damaged.")
    found = data.get("@class", cls)
    if found != cls:
        raise FormatError(f"The model has a {object_name(data)} where a {cls} is expected; the file is damaged.")
    version = version_of(data)
    low, high = accepted
    if version > high:
        raise FormatError(
            f"The {object_name(data)} in the model has the version {version}; this dp reads {low} to {high}. "
            "The file was written by a newer program: upgrade dp-core."
        )
    if version < low:
        raise FormatError(
            f"The {object_name(data)} in the model has the version {version}; this dp reads {low} to {high}. "
            "Convert the file with the program that wrote it."
        )
    return upgrade(data)


def register_upgrade(name: str, version: int) -> Callable[[Upgrade], Upgrade]:
    """Register a function as the step of ``name`` (see ``object_name``) from ``version`` to the next.

    It gets a dict it may keep and change at the top level, and returns the upgraded one; ``@version`` is set for it.
    """

    def register(step: Upgrade) -> Upgrade:
        if (name, version) in _UPGRADES:
            raise ValueError(f"{name} has two upgrades from version {version}")
        _UPGRADES[name, version] = step
        return step

    return register


def upgrade(data: Mapping[str, Any]) -> dict[str, Any]:
    """A shallow copy of one serialized object, brought to its newest version by the registered steps.

    Objects inside it are left for their own deserializers. An object without registered steps is only copied.
    """
    result = dict(data)
    version = version_of(result)
    while step := _UPGRADES.get((object_name(result), version)):
        version += 1
        result = {**step(result), "@version": version}
    return result


@register_upgrade("Layer", 1)
def _layer_1(data: dict[str, Any]) -> dict[str, Any]:
    return {"trainable": True, **data}


@register_upgrade("EmbeddingNetwork", 1)
def _embedding_1(data: dict[str, Any]) -> dict[str, Any]:
    return {"bias": True, **data}


@register_upgrade("TypeEmbedNet", 1)
def _type_embedding_1(data: dict[str, Any]) -> dict[str, Any]:
    return {"use_tebd_bias": True, **data}
