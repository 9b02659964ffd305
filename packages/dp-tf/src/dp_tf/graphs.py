"""Functions of a table, or of a batch with a table, as TensorFlow graphs with open sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from dp_core.backend import checked
from dp_core.module import leaves, map_with_path, replace, with_leaves
from dp_core.neighbors import Neighborhood

Tensor = Any


def to_tensor(x: np.ndarray) -> Tensor:
    """The array as a tensor. Raises BackendError for types that models do not use."""
    return tf.convert_to_tensor(checked(x, "tensorflow"))


def spec_of(path: str, x: Any) -> tf.TensorSpec:
    """Type and shape of a leaf; the numbers of rows, frames and slots are left open."""
    name = path.rsplit(".", 1)[-1]
    rank = len(x.shape)
    opened = 2 if name in ("vectors", "index", "neighbor_types") else 1
    return tf.TensorSpec([None] * min(opened, rank) + list(x.shape[opened:]), x.dtype, name=path.replace(".", "_"))


def _table(batch: Any) -> Neighborhood | None:
    return batch if isinstance(batch, Neighborhood) else getattr(batch, "table", None)


def _sizes(batch: Any) -> list[int]:
    """Sizes that a batch keeps as integers: of the blocks of its table, and its number of frames."""
    table = _table(batch)
    counts = [] if table is None else [*table.row_counts, *table.slot_counts]
    return [*counts, batch.nframes] if hasattr(batch, "nframes") else counts


def _with_sizes(batch: Any, sizes: list[Any]) -> Any:
    """The batch with other sizes."""
    table = _table(batch)
    if table is None:
        return batch
    rows, slots = len(table.row_counts), len(table.slot_counts)
    table = replace(table, row_counts=tuple(sizes[:rows]), slot_counts=tuple(sizes[rows : rows + slots]))
    if isinstance(batch, Neighborhood):
        return table
    batch = replace(batch, table=table)
    return replace(batch, nframes=sizes[-1]) if hasattr(batch, "nframes") else batch


class Graph:
    """``function(batch)`` as a graph, made at the first batch of each kind; sizes may change from call to call.

    jit: compile it with XLA, anew for all sizes.
    """

    def __init__(self, function: Callable[[Any], Any], *, jit: bool = False):
        self._function, self._jit = function, jit
        self._made: dict[str, Callable[..., Any]] = {}

    def __call__(self, batch: Any) -> Any:
        """The outputs for a batch of NumPy arrays."""
        sizes = _sizes(batch)
        template = _with_sizes(map_with_path(spec_of, batch), [None] * len(sizes))
        kind = str(template)
        if kind not in self._made:
            self._made[kind] = self._make(template, len(sizes))
        # the sizes are lengths, which XLA takes as constants
        lengths = [tf.zeros(size, tf.int8) for size in sizes]
        return self._made[kind](*map(to_tensor, leaves(batch).values()), *lengths)

    def _make(self, template: Any, sizes: int) -> Callable[..., Any]:
        given = leaves(template)
        specs = [*given.values()]
        specs += [tf.TensorSpec([None], tf.int8, name=f"size_{k}") for k in range(sizes)]

        def run(*inputs: Tensor) -> Any:
            values = dict(zip(given, inputs, strict=False))
            lengths = [tf.shape(x)[0] for x in inputs[len(given) :]]
            return self._function(_with_sizes(with_leaves(template, values), lengths))

        made = tf.function(run, input_signature=specs, autograph=False, jit_compile=self._jit or None)
        return made.get_concrete_function()  # type: ignore[no-any-return]
