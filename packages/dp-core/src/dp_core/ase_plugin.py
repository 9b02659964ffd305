"""What ASE finds through the entry-point group ``ase.plugins``."""

from __future__ import annotations

from typing import Any

__ase_plugins__: set[Any] = set()

try:
    from ase._4.plugins.plugin import CalculatorPlugin
except ImportError:  # the group is read by every ASE that has it, but the place of the class is not yet settled
    pass
else:
    __ase_plugins__.add(
        CalculatorPlugin(
            name="dp",
            citation="Zhang et al., Advances in Neural Information Processing Systems 31 (2018)",
            implementation="dp_core.ase.DP",
        )
    )
