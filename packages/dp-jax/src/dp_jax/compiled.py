"""Functions of trees, compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import jax

from dp_core.module import leaves, tree_map, with_leaves

log = logging.getLogger(__name__)


def outline(tree: Any) -> Any:
    """The tree with the shapes of its leaves in their place; its text tells all that a compiled program depends on."""
    return tree_map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


class Compiled:
    """``function(tree, *arguments)``, compiled once for every shape and static content of the tree.

    The tree is a module, as everywhere in dp; the arguments are arrays, or dictionaries and tuples of them that JAX
    knows. Those whose numbers are in ``donate``, counted from 0, are given away: their memory is used again.
    """

    def __init__(self, name: str, function: Callable[..., Any], donate: Sequence[int] = ()):
        self.name, self._function, self._donate = name, function, donate
        self._programs: dict[str, Callable[..., Any]] = {}

    @property
    def count(self) -> int:
        """Number of programs compiled so far."""
        return len(self._programs)

    def __call__(self, tree: Any, *arguments: Any) -> Any:
        """The value of the function."""
        template, found = outline(tree), leaves(tree)
        key = repr(template)
        program = self._programs.get(key)
        if program is not None:
            return program(list(found.values()), *arguments)
        paths = list(found)

        def call(values: list[Any], *arguments: Any) -> Any:
            return self._function(with_leaves(template, dict(zip(paths, values, strict=True))), *arguments)

        begin = perf_counter()
        program = self._programs[key] = jax.jit(call, donate_argnums=tuple(1 + k for k in self._donate))
        out = jax.block_until_ready(program(list(found.values()), *arguments))
        table = getattr(tree, "table", tree)
        sizes = [f"{name}s {getattr(table, f'{name}_counts', ())}" for name in ("row", "slot")]
        log.info(
            "compiled the %s for %s in %.1f s; %d so far",
            self.name,
            ", ".join(sizes),
            perf_counter() - begin,
            self.count,
        )
        return out
