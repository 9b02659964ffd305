"""Predictors of every kind of model: the Python interface of dp.

>>> from dp_core import DeepPot                                          # doctest: +SKIP
>>> pot = DeepPot("water.pth")                                           # doctest: +SKIP
>>> energy, force, virial = pot.eval(coords, cells, atom_types)          # doctest: +SKIP

Those of dipoles, polarizabilities, densities of states, properties and populations take the inputs of ``DeepPot.eval``,
and raise its errors. ``DeepEval`` opens any model:

>>> from dp_core import DeepEval                                         # doctest: +SKIP
>>> dipole = DeepEval("dipole.pth")                                      # doctest: +SKIP
>>> dipole.eval(coords, cells, atom_types, atomic=False)                 # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dp_core.errors import ConfigError
from dp_core.inference import Predictor
from dp_core.model_file import load_model
from dp_core.neighbors import Floats
from dp_core.outputs import evaluate_components
from dp_core.virtual_atoms import virtual_atoms


class DeepPot(Predictor):
    """A potential: energies, forces and virials of structures. The arguments are those of Predictor."""

    kind = "energy"

    # as a function of its own, because dpdata looks for its arguments
    def __init__(self, model: str | Path | Any, backend: str | None = None, auto_batch_size: bool | int = True) -> None:
        super().__init__(model, backend, auto_batch_size)

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
        spin: ArrayLike | None = None,
    ) -> tuple[Floats, ...]:
        """Energy (frames, 1) in eV, force (frames, atoms, 3) in eV/Å and virial (frames, 9) in eV.

        With ``atomic`` also the energy (frames, atoms, 1) and virial (frames, atoms, 9) of every atom. Last, if
        ``has_hessian``, the second derivatives of the energy (frames, 3·atoms, 3·atoms) in eV/Å²; if
        ``has_spin``, the magnetic force −∂E/∂spin (frames, atoms, 3) in eV/μB and whether each atom has a spin (frames,
        atoms, 1).

        coords: (frames, atoms, 3) in Å, or the same numbers in any shape; cells: (frames, 3, 3) in Å with the lattice
        vectors as rows, in any shape, None for open boundaries; atom_types: (atoms,), or (frames, atoms) with
        ``mixed_type``, −1 for virtual atoms, whose results are 0; fparam: (frames, d), or (d,) for all frames;
        aparam: (frames, atoms, d), (atoms, d) or (d,); charge_spin: (frames, 2), or (2,) for all frames, the total
        charge in e and the multiplicity 2S + 1, for models that depend on them; spin: (frames, atoms, 3) in μB, of
        models with spins.

        Raises DataError for inputs that do not fit together or the model, NonFiniteError for an infinite result.
        """
        structures, na, parameters = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, charge_spin)
        nf = len(structures)
        spins = self._spins(structures, spin)
        result = self._predicted(structures, [na] * nf, parameters, spins, atomic_virial=atomic)
        out = [result.energy.reshape(nf, 1), result.force.reshape(nf, na, 3), result.virial.reshape(nf, 9)]
        if result.atom_virial is not None:
            out += [result.atom_energy.reshape(nf, na, 1), result.atom_virial.reshape(nf, na, 9)]
        if self.has_hessian:
            each = [self._hessian(s, parameters.of_frame(k, na)) for k, s in enumerate(structures)]
            out.append(np.array(each).reshape(nf, 3 * na, 3 * na))
        virtual = virtual_atoms(self._model)
        if virtual is not None and result.magnetic is not None:
            magnetic = np.array([virtual.magnetic(s.types) for s in structures], bool)
            out += [result.magnetic.reshape(nf, na, 3), magnetic.reshape(nf, na, 1)]
        return tuple(out)


class DeepSpin(DeepPot):
    """A potential whose atoms have spins; as DeepPot, which opens it too."""

    def __init__(self, model: str | Path | Any, backend: str | None = None, auto_batch_size: bool | int = True) -> None:
        super().__init__(model, backend, auto_batch_size)
        if not self.has_spin:
            raise ConfigError("The model has no spins, so it is nothing for DeepSpin. DeepPot opens it.")


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
