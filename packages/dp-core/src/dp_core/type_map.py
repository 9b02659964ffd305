"""What belongs to types, brought to other types: known names keep what they have, wherever they are now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dp_core.module import Array

Names = Sequence[str]


def rows_of_types(values: Array, old: Names, new: Names, fill: float, *, axis: int = 0) -> Array:
    """An array with one entry along the axis for each old type as one for each new type; unknown ones get ``fill``.

    >>> rows_of_types(np.array([1.0, 2.0]), ["O", "H"], ["H", "C"], 0.0)
    array([2., 0.])
    """
    shape = list(values.shape)
    shape[axis] = 1
    padded = np.concatenate([values, np.full(shape, fill, values.dtype)], axis=axis)
    return np.take(padded, [old.index(name) if name in old else len(old) for name in new], axis=axis)


def renumbered(types: Iterable[int], old: Names, new: Names) -> tuple[int, ...]:
    """Numbers of types as they are now, without those that are gone.

    >>> renumbered([0, 1], ["O", "H"], ["H", "C"])
    (0,)
    """
    return tuple(new.index(old[t]) for t in types if old[t] in new)


def renumbered_pairs(pairs: Iterable[Sequence[int]], old: Names, new: Names) -> tuple[tuple[int, int], ...]:
    """Pairs of types as they are now, without those of which one is gone."""
    known = [renumbered(pair, old, new) for pair in pairs]
    return tuple((pair[0], pair[1]) for pair in known if len(pair) == 2)
