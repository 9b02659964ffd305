"""Functions of trees, compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar
from weakref import WeakSet

import jax

from dp_core.module import leaves, tree_map, with_leaves

log = logging.getLogger(__name__)


def outline(tree: Any) -> Any:
    """The tree with the shapes of its leaves in their place; its text tells all that a compiled program depends on."""
    return tree_map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def crowded() -> bool:
    """Whether half of the memory maps that Linux allows a process are in use.

    A program of XLA takes hundreds of them; where none is left, the next compilation ends in a segmentation fault.
    """
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        with open("/proc/self/maps", "rb") as maps:
            return sum(1 for _ in maps) > most // 2
    except (OSError, ValueError):  # not Linux
        return False


class Compiled:
    """``function(tree, *arguments)``, compiled once for every shape and static content of the tree.

    The tree is a module, as everywhere in dp; the arguments are arrays, or dictionaries and tuples of them that JAX
    knows. The function returns a dictionary of arrays, whose order is kept, and whatever else. Every compilation is
    reported at the logging level ``level``. Where there are too many programs, those not used for longest are given up.
    """

    _all: ClassVar[WeakSet[Compiled]] = WeakSet()

    def __init__(self, name: str, function: Callable[..., tuple[Any, ...]], level: int = logging.DEBUG):
        self.name, self._function, self._level = name, function, level
        self._programs: dict[str, tuple[Callable[..., Any], list[str]]] = {}  # by the time of their last use
        self.count = 0  # programs compiled so far
        self._all.add(self)

    def __call__(self, tree: Any, *arguments: Any) -> tuple[Any, ...]:
        """The value of the function."""
        template, found = outline(tree), leaves(tree)
        key = repr(template)
        begin, known = perf_counter(), key in self._programs
        if not known and crowded():
            self._give_up()
        program, names = self._programs[key] = self._programs.pop(key) if known else self._program(template)
        named, *rest = program(list(found.values()), *arguments)
        if not known:
            jax.block_until_ready(named)
            self.count += 1
            self._tell(getattr(tree, "table", tree), perf_counter() - begin)
        return dict(zip(names, named, strict=True)), *rest

    @classmethod
    def _give_up(cls) -> None:
        """Forget the half of all programs that was not used for longest."""
        for compiled in list(cls._all):
            for key in list(compiled._programs)[: (len(compiled._programs) + 1) // 2]:
                del compiled._programs[key]

    def _program(self, template: Any) -> tuple[Callable[..., Any], list[str]]:
        """The function for trees of one outline, and the names of its first result, which are known once it has run."""
        paths, names = list(leaves(template)), list[str]()

        def call(values: list[Any], *arguments: Any) -> tuple[Any, ...]:
            tree = with_leaves(template, dict(zip(paths, values, strict=True)))
            named, *rest = self._function(tree, *arguments)
            names[:] = named  # JAX would sort them
            return list(named.values()), *rest

        return jax.jit(call), names

    def _tell(self, table: Any, seconds: float) -> None:
        rows, slots = (getattr(table, f"{name}_counts", ()) for name in ("row", "slot"))
        message = "compiled the %s for rows %s, slots %s in %.1f s; %d so far"
        log.log(self._level, message, self.name, rows, slots, seconds, self.count)
