"""Programs kept and given up."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dp_jax import compiled
from dp_jax.compiled import Compiled


def lengths(function, *sizes):
    return [float(function({"x": jnp.ones(n)})[0]["sum"]) for n in sizes]


def test_programs_not_used_for_longest_are_given_up(monkeypatch):
    """XLA ends in a segmentation fault when the memory maps of a process are used up."""
    function, other = (Compiled("sum", lambda tree: ({"sum": tree["x"].sum()},)) for _ in range(2))
    assert lengths(function, 1, 2, 3, 4, 1) == [1, 2, 3, 4, 1]
    lengths(other, 1)
    assert (function.count, len(function._programs)) == (4, 4)
    monkeypatch.setattr(compiled, "crowded", lambda: True)
    assert lengths(function, 5) == [5]
    assert (function.count, len(function._programs), len(other._programs)) == (5, 3, 0)
    assert lengths(function, 1, 4) == [1, 4]  # those used last are still there
    assert function.count == 5


def test_memory_maps_are_counted(monkeypatch):
    pytest.importorskip("resource")  # Linux and its like
    monkeypatch.setattr(compiled.Path, "read_text", lambda self: "100")
    assert compiled.crowded()
    monkeypatch.setattr(compiled.Path, "read_text", lambda self: str(np.iinfo(np.int64).max))
    assert not compiled.crowded()
