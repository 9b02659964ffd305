"""The calculator for ASE, the Atomic Simulation Environment.

>>> from dp_core.ase import DP                                           # doctest: +SKIP
>>> atoms.calc = DP("water.pth")                                         # doctest: +SKIP
>>> atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress() # doctest: +SKIP
"""

# mypy: allow-untyped-calls, disable-error-code=misc
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes, equal
from ase.stress import full_3x3_to_voigt_6_stress

from dp_core.errors import DataError, nearest
from dp_core.inference import DeepPot
from dp_core.neighbors import Floats, Ints, MovingPairs
from dp_core.prediction import Structure
from dp_core.virtual_atoms import virtual_atoms

#: What the calculator reads from ``atoms.info``.
_INFO = ("fparam", "aparam", "charge_spin")


class DP(Calculator):
    """Energies (eV), forces (eV/Å), stress (eV/Å³) and energies of the atoms from a model of dp.

    model: path of a model file, a model tree, or an open ``DeepPot``; backend: see ``DeepPot``.
    type_dict: type of each element by its symbol; None takes the type map of the model.
    skin: Å; neighbours are searched again only when atoms have moved by half of it. Results do not depend on it.

    Frame and atomic parameters are read from ``atoms.info["fparam"]`` and ``atoms.info["aparam"]``, the total charge
    and multiplicity from ``atoms.info["charge_spin"]``. The spins (μB) of models that have them are the initial
    magnetic moments of the atoms, vectors or numbers along z; ``magnetic_forces`` are −∂E/∂spin in eV/μB. The stress is
    that of periodic structures only. Structures must be periodic in all directions or in none.
    """

    implemented_properties: ClassVar[list[str]] = [
        "energy", "free_energy", "energies", "forces", "virial", "stress", "magnetic_forces",
    ]  # fmt: skip
    default_parameters: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        model: DeepPot | str | Path | Any,
        label: str = "DP",
        type_dict: Mapping[str, int] | None = None,
        *,
        backend: str | None = None,
        skin: float = 0.5,
        **kwargs: Any,
    ):
        super().__init__(label=label, **kwargs)
        self.dp = model if isinstance(model, DeepPot) else DeepPot(model, backend)
        self.type_dict = dict(type_dict or {name: t for t, name in enumerate(self.dp.get_type_map())})
        self._pairs = MovingPairs(self.dp.neighbor_spec, skin)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation, parameters included."""
        changes: list[str] = super().check_state(atoms, tol)
        before = self.atoms.info if self.atoms is not None else {}
        return changes + [key for key in _INFO if not equal(before.get(key), atoms.info.get(key))]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Calculate everything at once; ASE calls this when something has changed.

        Raises DataError for an element that the model does not know or a structure that is periodic in some directions.
        """
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        if atoms is None:
            raise DataError("The calculator has no structure. Give atoms, or use atoms.calc = DP(...).")
        coord, box, types = np.array(atoms.positions, np.float64), _cell(atoms), self._types(atoms)
        structure, spin = Structure(coord, box, types), None
        virtual = virtual_atoms(self.dp.get_model())
        seen = structure
        if virtual is not None:
            spin = _spins(atoms)
            seen = virtual.structure(structure, spin)
        result = self.dp.predict(
            [structure],
            **{key: atoms.info.get(key) for key in _INFO},
            spin=spin,
            pairs=[self._pairs(seen.coord, box, seen.types)],
        )
        energy, virial = float(result.energy[0]), result.virial[0]
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": result.atom_energy,
            "forces": result.force,
            "virial": virial,
        }
        if result.magnetic is not None:
            self.results["magnetic_forces"] = result.magnetic
        if box is not None:
            volume = abs(float(np.linalg.det(box)))
            self.results["stress"] = full_3x3_to_voigt_6_stress(-0.5 * (virial + virial.T) / volume)

    def _types(self, atoms: Atoms) -> Ints:
        symbols = atoms.get_chemical_symbols()
        for symbol in sorted(set(symbols) - set(self.type_dict)):
            raise DataError(f"The model does not know the element {symbol!r}{nearest(symbol, self.type_dict)}")
        return np.array([self.type_dict[symbol] for symbol in symbols], np.int64)


def _spins(atoms: Atoms) -> Floats:
    """The initial magnetic moments as vectors, (N, 3) in μB. Raises DataError if there are none."""
    if not atoms.has("initial_magmoms"):
        raise DataError(
            "The model has spins, but the structure has no initial magnetic moments. Set a vector in μB for each atom, "
            "atoms.set_initial_magnetic_moments(spins), with zeros for atoms without spin."
        )
    moments = np.array(atoms.get_initial_magnetic_moments(), np.float64)
    return moments if moments.ndim == 2 else moments[:, None] * np.array([0.0, 0.0, 1.0])


def _cell(atoms: Atoms) -> Floats | None:
    """The lattice vectors as rows, (3, 3) in Å; None for open boundaries."""
    if not atoms.pbc.any():
        return None
    if not atoms.pbc.all():
        raise DataError(
            f"The structure is periodic along some axes only (pbc = {atoms.pbc.tolist()}), which no model of dp knows. "
            "Set pbc = True and leave enough vacuum in the cell, or pbc = False."
        )
    return np.array(atoms.cell[:], np.float64)
