"""What the tests of all packages share: the installed backends, and stored models with their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core.backend import installed

GOLDEN = Path(__file__).parent / "golden"


#: NumPy has an environment of its own.
TESTED = [name for name in installed() if name != "numpy"] or ["numpy"]


@pytest.fixture(params=TESTED)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend of this environment in turn."""
    return str(request.param)


@dataclass(frozen=True)
class Golden:
    """A stored model and one set of inputs and outputs."""

    path: Path
    data: dict[str, np.ndarray]

    @property
    def inputs(self) -> tuple[Any, ...]:
        """coords, cells, atom_types."""
        return self.data["coord"], self.data.get("box"), self.data["atype"]

    @property
    def parameters(self) -> dict[str, Any]:
        """The keyword arguments of ``eval`` that the case needs."""
        given: dict[str, Any] = {k: self.data[k] for k in ("fparam", "aparam", "charge_spin") if k in self.data}
        return given | {"mixed_type": self.data["atype"].ndim == 2}


def golden_case(name: str) -> Golden:
    """The case of a file ``NAME.npz`` or ``NAME.SYSTEM.npz``; NAME alone is the first."""
    file = GOLDEN / (name if name.endswith(".npz") else f"{name}.npz")
    with np.load(file) as arrays:
        return Golden(GOLDEN / f"{file.name.split('.')[0]}.dp", dict(arrays))


@pytest.fixture
def golden() -> Any:
    """``golden(name)`` gives a stored case."""
    return golden_case
