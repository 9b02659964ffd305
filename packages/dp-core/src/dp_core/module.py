"""Models as values: a module is a frozen dataclass whose array fields are the leaves of a tree.

Leaves are named by their path (``descriptor.networks.0.layers.1.w``). Everything that is not an array is static.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, dataclass_transform

import numpy as np

Array = Any
M = TypeVar("M")

__all__ = ["Array", "buffer", "leaves", "module", "replace", "trained_leaves", "tree_map", "with_leaves"]


def buffer(**kwargs: Any) -> Any:
    """A field whose leaves are never trained: statistics, biases fitted by least squares."""
    return field(metadata={"trained": False}, **kwargs)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field, buffer))
def module(cls: type[M]) -> type[M]:
    """Make a class a module: a frozen dataclass compared by identity.

    A field named ``trainable`` that is False takes all leaves below the module out of training.
    """
    made = dataclass(frozen=True, eq=False)(cls)
    made.__dp_module__ = True  # type: ignore[attr-defined]
    return made


def is_array(value: Any) -> bool:
    """Whether a value is a leaf: an array of any library (NumPy scalars are not)."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, np.generic)


def _children(tree: Any) -> Iterator[tuple[str, Any, bool]]:
    """Name, value and "may be trained" of everything directly below a node."""
    if getattr(tree, "__dp_module__", False):
        trainable = getattr(tree, "trainable", True) is not False
        for f in fields(tree):
            yield f.name, getattr(tree, f.name), trainable and f.metadata.get("trained", True)
    elif isinstance(tree, tuple | list):
        for k, value in enumerate(tree):
            yield str(k), value, True
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield str(key), value, True


def _walk(tree: Any, path: str, trained: bool) -> Iterator[tuple[str, Array, bool]]:
    if is_array(tree):
        yield path, tree, trained
        return
    for name, value, child_trained in _children(tree):
        yield from _walk(value, f"{path}.{name}" if path else name, trained and child_trained)


def leaves(tree: Any) -> dict[str, Array]:
    """All arrays of a tree by path, in the order of the fields.

    >>> list(leaves({"a": (np.zeros(2), 1.0), "b": np.ones(3)}))
    ['a.0', 'b']
    """
    return {path: value for path, value, _ in _walk(tree, "", True)}


def trained_leaves(tree: Any) -> dict[str, Array]:
    """The arrays that training changes: no buffers, nothing below a module with ``trainable=False``."""
    return {path: value for path, value, trained in _walk(tree, "", True) if trained}


def map_with_path(function: Callable[[str, Array], Array], tree: Any, path: str = "") -> Any:
    """The same tree with every leaf replaced by ``function(path, leaf)``."""
    if is_array(tree):
        return function(path, tree)
    children = {n: map_with_path(function, v, f"{path}.{n}" if path else n) for n, v, _ in _children(tree)}
    if getattr(tree, "__dp_module__", False):
        changed = {n: v for n, v in children.items() if v is not getattr(tree, n)}
        return replace(tree, **changed) if changed else tree
    if isinstance(tree, tuple | list):
        return type(tree)(children.values())
    if isinstance(tree, Mapping):
        return dict(zip(tree, children.values(), strict=True))
    return tree


def tree_map(function: Callable[[Array], Array], tree: M) -> M:
    """The same tree with every leaf replaced by ``function(leaf)``."""
    mapped: M = map_with_path(lambda _, leaf: function(leaf), tree)
    return mapped


def with_leaves(tree: M, values: Mapping[str, Array]) -> M:
    """The same tree with the leaves at the given paths replaced; other leaves stay."""
    replaced: M = map_with_path(lambda path, leaf: values.get(path, leaf), tree)
    return replaced
