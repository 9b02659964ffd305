"""What ASE finds through the entry-point group ``ase.plugins``: ``__ase_plugins__``, a set with the calculator.

The set is made when it is asked for, because ASE reads the group while it is being imported.
"""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _plugins() -> frozenset[Any]:
    try:
        from ase._4.plugins.plugin import CalculatorPlugin
    except ImportError:  # every ASE with plugins reads the group, but the place of the class is not yet settled
        return frozenset()
    citation = "Zhang et al., Advances in Neural Information Processing Systems 31 (2018)"
    return frozenset({CalculatorPlugin(name="dp", citation=citation, implementation="dp_core.ase.DP")})


def __getattr__(name: str) -> Any:
    if name == "__ase_plugins__":
        return _plugins()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
