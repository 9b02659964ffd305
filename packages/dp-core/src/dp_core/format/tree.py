"""The tree of the objects in a model document, drawn as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dp_core.format.versions import object_name

_Node = tuple[str, list[str], int]  # title, lines below it, number of stored values


def describe(document: Mapping[str, Any]) -> str:
    """The objects of the model in ``document`` (or of a model or smaller object itself), one a line.

    Each line gives the key, ``@class`` and ``type``, and how many numbers are stored there. Neighbours that look the
    same share a line.
    """
    title, lines, _ = _node(document.get("model", document))
    return "\n".join([title, *lines])


def _node(value: Mapping[str, Any] | list[Any]) -> _Node:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    children: list[tuple[list[str], _Node]] = []
    size = 0
    for key, child in items:
        if key == "@variables":
            size += _count(child)
        elif isinstance(child, Mapping) or (isinstance(child, list) and _is_drawn(child, isinstance(value, list))):
            node = _node(child)
            size += node[2]
            if children and children[-1][1] == node:
                children[-1][0].append(str(key))
            else:
                children.append(([str(key)], node))
    lines: list[str] = []
    for i, (keys, (title, below, _)) in enumerate(children):
        last = i == len(children) - 1
        lines.append(f"{'└' if last else '├'}──{_join(keys)} -> {title}")
        lines += [("   " if last else "│  ") + line for line in below]
    if isinstance(value, list):
        name = "ListNode"
    else:
        name = object_name(value) if "@class" in value else "Node"
    return f"{name} (size={_short(size)})", lines, size


def _is_drawn(items: list[Any], in_list: bool) -> bool:
    """Lists of plain values are settings, not structure, except inside a list."""
    return in_list or any(isinstance(item, Mapping | list) for item in items)


def _count(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_count, value.values()))
    if isinstance(value, list):
        return sum(map(_count, value))
    return 0 if value is None else int(np.size(value))


def _join(keys: list[str]) -> str:
    return ", ".join(keys) if len(keys) < 3 else f"[{keys[0]}...{keys[-1]}]"


def _short(number: int) -> str:
    for power, unit in ((3, "G"), (2, "M"), (1, "K")):
        if number >= 1000**power:
            return f"{number / 1000**power:.1f}{unit}"
    return str(number)
