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
        given: dict[str, Any] = {k: self.data[k] for k in ("fparam", "aparam", "charge_spin", "spin") if k in self.data}
        return given | {"mixed_type": self.data["atype"].ndim == 2}

    def evaluated_by(self, predictor: Any) -> dict[str, np.ndarray]:
        """What a model says of the case, by the names of the stored numbers; the output of the model first."""
        output, inputs, parameters = predictor.get_model().output, self.inputs, self.parameters
        shape = self.data["coord"].shape
        if output.kind == "dipole":
            total, force, virial, atomic, atom_virial = predictor.eval_full(*inputs, atomic=True, **parameters)
            return {
                "global_dipole": total,
                "atom_dipole": atomic,
                "dipole_force": force.swapaxes(1, 2),
                "dipole_virial": virial,
                "dipole_atom_virial": atom_virial.swapaxes(1, 2),
            }
        if output.kind == "polar":
            total, atomic = (predictor.eval(*inputs, atomic=atomic, **parameters) for atomic in (False, True))
            return {"global_polar": total.reshape(-1, 3, 3), "atom_polar": atomic.reshape(*shape, 3)}
        found = predictor.eval(*inputs, atomic=True, **parameters)
        names = ("energy", "force", "virial", "atom_energy", "atom_virial")
        if output.kind != "energy":
            names = (output.name, f"atom_{output.name}")
        if predictor.has_spin:
            names += ("force_mag", "mask_mag")
        return dict(zip(names, found, strict=True))


def golden_case(name: str) -> Golden:
    """The case of a file ``NAME.npz`` or ``NAME.SYSTEM.npz``; NAME alone is the first."""
    file = GOLDEN / (name if name.endswith(".npz") else f"{name}.npz")
    with np.load(file) as arrays:
        return Golden(GOLDEN / f"{file.name.split('.')[0]}.dp", dict(arrays))


@pytest.fixture
def golden() -> Any:
    """``golden(name)`` gives a stored case."""
    return golden_case
