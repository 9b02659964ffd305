"""The document: nested dicts, lists and scalars, with numpy arrays below keys named ``@variables``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp_core.errors import FormatError

Document = dict[str, Any]

#: More levels than any model has; deeper text is hostile or a document that contains itself.
MAX_DEPTH = 64
#: Containers and items in the text of one document. Two-body networks of 118 types need about a million.
MAX_ITEMS = 4_000_000

DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Place:
    """Where a leaf stands in the document."""

    path: str = ""  # keys and positions, joined by /
    depth: int = 0
    inside: bool = False  # below @variables
    precision: str = ""  # the nearest enclosing "precision"

    def below(self, key: str | int, precision: str) -> Place:
        """The place of the child ``key``."""
        path = f"{self.path}/{key}" if self.path else str(key)
        return Place(path, self.depth + 1, self.inside or key == "@variables", precision)


def rebuild(node: Any, leaf: Callable[[Any, Place], Any], place: Place | None = None) -> Any:
    """A copy of the document with every leaf (all but dicts, lists and tuples) replaced by ``leaf(value, place)``."""
    place = place or Place()
    if place.depth > MAX_DEPTH:
        raise FormatError(f"it is nested deeper than {MAX_DEPTH} levels (at {place.path[:80]}…)")
    if isinstance(node, Mapping):
        precision = node.get("precision", place.precision)
        precision = precision if isinstance(precision, str) else place.precision
        for key in node:
            if not isinstance(key, str):
                raise FormatError(f"the key {key!r} in {place.path or 'the top level'} is not a text")
        return {key: rebuild(value, leaf, place.below(key, precision)) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [rebuild(value, leaf, place.below(i, place.precision)) for i, value in enumerate(node)]
    return leaf(node, place)


def to_array(value: Any, place: Place) -> NDArray[Any]:
    """The array of a leaf below ``@variables``, in native byte order.

    bfloat16 becomes float32 of the same values, because HDF5 has no such type.
    """
    if isinstance(value, bytes):
        value = np.void(value)
    if not isinstance(value, np.ndarray | np.generic | bool | int | float):
        raise FormatError(
            f"{place.path} is a {type(value).__module__}.{type(value).__qualname__}; only numpy arrays, numbers and "
            "None may stand below '@variables'"
        )
    array = np.asarray(value)
    if array.dtype.name == "bfloat16":
        return array.astype(np.float32)
    if array.dtype.name not in DTYPES and not (
        array.dtype.kind == "V" and array.dtype.fields is None and array.ndim == 0
    ):
        raise FormatError(f"{place.path} has the dtype {array.dtype}; possible are {', '.join(sorted(DTYPES))}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def to_plain(value: Any, place: Place) -> Any:
    """The plain form of a leaf outside ``@variables``."""
    if isinstance(value, np.generic) and value.dtype.name in DTYPES:
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        raise FormatError(f"{place.path} is an array; arrays may stand only below a key '@variables'")
    raise FormatError(f"{place.path} is a {type(value).__qualname__}; only plain data may stand there")
