"""Predictors of what is no energy: dipoles, polarizabilities, densities of states, properties, populations.

>>> from dp_core import DeepEval                                         # doctest: +SKIP
>>> dipole = DeepEval("dipole.pth")                                      # doctest: +SKIP
>>> dipole.eval(coords, cells, atom_types, atomic=False)                 # doctest: +SKIP

Inputs are those of ``DeepPot.eval``, and so are the errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dp_core.errors import ConfigError
from dp_core.inference import DeepPot, Predictor
from dp_core.model_file import load_model
from dp_core.neighbors import Floats
from dp_core.outputs import evaluate_components


class DeepTensor(Predictor):
    """A model of a tensor of the atoms and of the frame, with ``size`` components; see Predictor for the arguments."""

    def eval(
        self,
        coords: ArrayLike,
        cells: ArrayLike | None,
        atom_types: ArrayLike,
        atomic: bool = True,
        fparam: ArrayLike | None = None,
        aparam: ArrayLike | None = None,
        mixed_type: bool = False,
        charge_spin: ArrayLike | None = None,
    ) -> Floats:
        """The tensor of every atom, (frames, atoms, size), 0 for types without one; or of the frames, (frames, size).

        Units are those of the labels that the model was trained on.
        """
        structures, na, parameters = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, charge_spin)
        result = self._predicted(structures, [na] * len(structures), parameters)
        return result.atomic.reshape(len(structures), na, -1) if atomic else result.total.reshape(len(structures), -1)

    def eval_full(
        self,
        coords: ArrayLike,
        cells: ArrayLike | None,
        atom_types: ArrayLike,
        atomic: bool = False,
        fparam: ArrayLike | None = None,
        aparam: ArrayLike | None = None,
        mixed_type: bool = False,
        charge_spin: ArrayLike | None = None,
    ) -> tuple[Floats, ...]:
        """The tensor T of the frames, (frames, size), with its derivatives.

        These are −∂T/∂x (frames, size, atoms, 3), and −∂T/∂ε (frames, size, 9) for a strain ε. With ``atomic`` also the
        tensor (frames, atoms, size) and the virial (frames, size, atoms, 9) of every atom. Those of polarizabilities
        are no part of frozen files; the backend computes them from the document that every file holds.
        """
        structures, na, parameters = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, charge_spin)
        nf, size = len(structures), self._model.output.size
        evaluate = None if self._model.output.differentiable else self._derivative(evaluate_components)
        result = self._predicted(structures, [na] * nf, parameters, atomic_virial=atomic, evaluate=evaluate)
        force = result.force.reshape(nf, na, size, 3).transpose(0, 2, 1, 3)
        out = [result.total.reshape(nf, size), force, result.virial.reshape(nf, size, 9)]
        if result.atom_virial is not None:
            of_atoms = result.atom_virial.reshape(nf, na, size, 9).transpose(0, 2, 1, 3)
            out += [result.atomic.reshape(nf, na, size), of_atoms]
        return tuple(out)


class DeepDipole(DeepTensor):
    """A model of dipoles."""

    kind = "dipole"


class DeepPolar(DeepTensor):
    """A model of polarizabilities, in the order xx, xy, xz, yx, …."""

    kind = "polar"


class _DeepNumbers(Predictor):
    """A model of some numbers of each atom that make those of the frame."""

    def eval(
        self,
        coords: ArrayLike,
        cells: ArrayLike | None,
        atom_types: ArrayLike,
        atomic: bool = False,
        fparam: ArrayLike | None = None,
        aparam: ArrayLike | None = None,
        mixed_type: bool = False,
        charge_spin: ArrayLike | None = None,
    ) -> tuple[Floats, ...]:
        """The numbers of the frames, (frames, size), and with ``atomic`` those of the atoms, (frames, atoms, size)."""
        structures, na, parameters = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, charge_spin)
        nf, size = len(structures), self._model.output.size
        result = self._predicted(structures, [na] * nf, parameters)
        return (result.total, result.atomic.reshape(nf, na, size)) if atomic else (result.total,)


class DeepDOS(_DeepNumbers):
    """A model of densities of states."""

    kind = "dos"

    def get_numb_dos(self) -> int:
        """Number of energies."""
        return int(self._model.output.size)

    @property
    def numb_dos(self) -> int:
        """Number of energies."""
        return self.get_numb_dos()


class DeepProperty(_DeepNumbers):
    """A model of any other property."""

    kind = "property"

    def get_task_dim(self) -> int:
        """Numbers of the property."""
        return int(self._model.output.size)

    @property
    def task_dim(self) -> int:
        """Numbers of the property."""
        return self.get_task_dim()

    def get_var_name(self) -> str:
        """Name of the property, and of its label in data."""
        return str(self._model.output.name)

    def get_intensive(self) -> bool:
        """Whether the property of a frame is the mean of its atoms, not the sum."""
        return bool(self._model.output.intensive)


class DeepPopulation(Predictor):
    """A model of the electrons of each atom with spin up and down."""

    kind = "population"

    def eval(
        self,
        coords: ArrayLike,
        cells: ArrayLike | None,
        atom_types: ArrayLike,
        atomic: bool = True,
        fparam: ArrayLike | None = None,
        aparam: ArrayLike | None = None,
        mixed_type: bool = False,
        charge_spin: ArrayLike | None = None,
    ) -> tuple[Floats]:
        """The populations α and β of every atom, (frames, atoms, 2); there are no others, whatever ``atomic`` is."""
        structures, na, parameters = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, charge_spin)
        result = self._predicted(structures, [na] * len(structures), parameters)
        return (np.reshape(result.atomic, (len(structures), na, 2)),)


#: By the kind of the output.
PREDICTORS: dict[str, type[Predictor]] = {
    p.kind: p for p in (DeepPot, DeepDipole, DeepPolar, DeepDOS, DeepProperty, DeepPopulation) if p.kind
}


def DeepEval(  # noqa: N802  (named like the classes that it makes)
    model: str | Path | Any, backend: str | None = None, auto_batch_size: bool | int = True
) -> Any:
    """The predictor that fits a model: a ``DeepPot``, ``DeepDipole``, …. The arguments are those of Predictor.

    Raises ConfigError for a model of a plugin that has none.
    """
    tree = load_model(model) if isinstance(model, str | Path) else model
    output = getattr(tree, "output", None)
    if output is not None and output.kind not in PREDICTORS:
        raise ConfigError(f"The model predicts {output.name!r}, for which dp has no predictor. Use Predictor.predict.")
    made = DeepPot if output is None else PREDICTORS[output.kind]
    return made(model, backend, auto_batch_size)
