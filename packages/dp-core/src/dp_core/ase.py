"""The calculator for ASE, the Atomic Simulation Environment.

>>> from dp_core.ase import DP                                           # doctest: +SKIP
>>> atoms.calc = DP("water.pth")                                         # doctest: +SKIP
>>> atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress() # doctest: +SKIP
>>> atoms.calc = DP(["water.pth", "dipole.pth"])                         # doctest: +SKIP
>>> atoms.get_dipole_moment()                                            # doctest: +SKIP
"""

# mypy: allow-untyped-calls, disable-error-code=misc
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes, equal
from ase.outputs import Properties, all_outputs
from ase.stress import full_3x3_to_voigt_6_stress

from dp_core.errors import ConfigError, DataError, nearest
from dp_core.inference import Predictor
from dp_core.neighbors import Floats, Ints, MovingPairs
from dp_core.prediction import Prediction, Structure
from dp_core.predictors import DeepEval
from dp_core.virtual_atoms import virtual_atoms

#: What the calculator reads from ``atoms.info``.
_INFO = ("fparam", "aparam", "charge_spin")
_ENERGY = ("energy", "free_energy", "energies", "forces", "virial", "stress")
#: By the kind of the model: what it gives for the structure, and for each atom.
_TENSORS = {"dipole": ("dipole", "atomic_dipoles"), "polar": ("polarizability", "atomic_polarizabilities")}
_POPULATION = ("magmom", "magmoms", "populations")


class PropertyError(ConfigError, PropertyNotImplementedError):
    """A property that the models of a calculator do not give."""


class DP(Calculator):
    """Energies (eV), forces (eV/Å), stress (eV/Å³) and energies of the atoms, or what else a model of dp predicts.

    model: path of a model file, a model tree, an open ``DeepPot``, ``DeepDipole`` …, or several of these, none of which
    gives what another one does. backend: see ``Predictor``.
    type_dict: type of each element by its symbol; None takes the type map of each model.
    skin: Å; neighbours are searched again only when atoms have moved by half of it. Results do not depend on it.

    Models of dipoles give ``dipole`` and ``atomic_dipoles``, those of polarizabilities ``polarizability`` and
    ``atomic_polarizabilities``, in the units of their labels; those of populations the electrons with spin up and down
    ``populations`` (N, 2), and their difference as ``magmoms`` and ``magmom`` in μB. Other models give their output by
    its name, and ``atomic_`` with its name.

    Frame and atomic parameters are read from ``atoms.info["fparam"]`` and ``atoms.info["aparam"]``, the total charge
    and multiplicity from ``atoms.info["charge_spin"]``, by the models that have them; one that is set and that no model
    has is a DataError. The spins (μB) of models with spins are the initial magnetic moments of the atoms, vectors or
    numbers along z; ``magnetic_forces`` are −∂E/∂spin in eV/μB. The stress is that of periodic structures
    only. Structures must be periodic in all directions or in none.

    A property that the models do not give is a PropertyError, which ASE takes as its PropertyNotImplementedError.
    """

    implemented_properties: ClassVar[list[str]] = [*_ENERGY, "magnetic_forces"]
    default_parameters: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        model: Any,
        label: str = "DP",
        type_dict: Mapping[str, int] | None = None,
        *,
        backend: str | None = None,
        skin: float = 0.5,
        **kwargs: Any,
    ):
        super().__init__(label=label, **kwargs)
        models = model if isinstance(model, list | tuple) else [model]
        if not models:
            raise ConfigError("The calculator has no model. Give the path of a model file, or several in a list.")
        opened = [m if isinstance(m, Predictor) else DeepEval(m, backend) for m in models]
        self._parts = [_Part(m, type_dict, skin) for m in opened]
        self.dp = opened[0]
        self.implemented_properties: list[str] = []  # type: ignore[misc]
        for k, part in enumerate(self._parts):
            for name in part.names():
                if name in self.implemented_properties:
                    raise ConfigError(
                        f"Model {k} gives {name!r}, and so does a model before it. Leave one of them out."
                    )
                self.implemented_properties.append(name)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation, parameters included."""
        changes: list[str] = super().check_state(atoms, tol)
        before = self.atoms.info if self.atoms is not None else {}
        return changes + [key for key in _INFO if not equal(before.get(key), atoms.info.get(key))]

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """One of the results. Raises PropertyError if the models do not give it, or not for such a structure."""
        if name not in self.implemented_properties:
            raise PropertyError(f"The models of the calculator give no {name!r}. {_remedy(name, self._parts)}")
        structure = self.atoms if atoms is None else atoms
        if name == "stress" and structure is not None and not structure.pbc.any():
            raise PropertyError("There is no stress without a cell. Set atoms.cell and atoms.pbc = True.")
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Calculate everything at once; ASE calls this when something has changed.

        Raises DataError for an element that a model does not know or a structure that is periodic in some directions.
        """
        super().calculate(atoms, properties, system_changes)
        if self.atoms is None:
            raise DataError("The calculator has no structure. Give atoms, or use atoms.calc = DP(...).")
        box = _cell(self.atoms)
        parameters = self._parameters(self.atoms)
        self.results: dict[str, Any] = {}
        for part in self._parts:
            own = {key: value for key, value in parameters.items() if key in part.parameters}
            self.results |= part.results(part.prediction(self.atoms, box, own), box)

    def export_properties(self) -> Properties:
        """The results that ASE has a name for; all are in ``results``."""
        return Properties({name: value for name, value in self.results.items() if name in all_outputs})

    def _parameters(self, atoms: Atoms) -> dict[str, Any]:
        """Those of the structure. Raises DataError for one that no model takes."""
        found = {key: atoms.info[key] for key in _INFO if atoms.info.get(key) is not None}
        known = {key for part in self._parts for key in part.parameters}
        for key in sorted(found.keys() - known):
            raise DataError(
                f"atoms.info[{key!r}] is set, but no model of the calculator has it. Remove it: "
                f"del atoms.info[{key!r}]. The models have: {', '.join(sorted(known)) or 'no parameters'}."
            )
        return found


class _Part:
    """One of the models of a calculator, with its types and the pairs that it found last."""

    def __init__(self, model: Predictor, type_dict: Mapping[str, int] | None, skin: float):
        self.model, self.output = model, model.get_model().output
        self.type_dict = dict(type_dict or {name: t for t, name in enumerate(model.get_type_map())})
        self.pairs = MovingPairs(model.neighbor_spec, skin)
        counts = (model.get_dim_fparam(), model.get_dim_aparam(), model.has_chg_spin_ebd())
        self.parameters = [key for key, count in zip(_INFO, counts, strict=True) if count]

    def names(self) -> tuple[str, ...]:
        """The properties that the model gives."""
        if self.output.kind == "energy":
            return (*_ENERGY, "magnetic_forces") if self.model.has_spin else _ENERGY
        if self.output.kind == "population":
            return _POPULATION
        return _TENSORS.get(self.output.kind, (self.output.name, f"atomic_{self.output.name}"))

    def prediction(self, atoms: Atoms, box: Floats | None, parameters: Mapping[str, Any]) -> Prediction:
        """What the model predicts."""
        structure = seen = Structure(np.array(atoms.positions, np.float64), box, self._types(atoms))
        virtual, spin = virtual_atoms(self.model.get_model()), None
        if virtual is not None:
            spin = _spins(atoms)
            seen = virtual.structure(structure, spin)
        return self.model.predict([structure], **parameters, spin=spin, pairs=[self.pairs(seen.coord, box, seen.types)])

    def results(self, found: Prediction, box: Floats | None) -> dict[str, Any]:
        """The properties by their names."""
        if self.output.kind == "energy":
            return _energies(found, box)
        if self.output.kind == "population":
            moments = found.atomic[:, 0] - found.atomic[:, 1]
            return {"magmom": float(moments.sum()), "magmoms": moments, "populations": found.atomic}
        return dict(zip(self.names(), (found.total[0], found.atomic), strict=True))

    def _types(self, atoms: Atoms) -> Ints:
        symbols = atoms.get_chemical_symbols()
        for symbol in sorted(set(symbols) - set(self.type_dict)):
            raise DataError(f"The model does not know the element {symbol!r}{nearest(symbol, self.type_dict)}")
        return np.array([self.type_dict[symbol] for symbol in symbols], np.int64)


def _energies(found: Prediction, box: Floats | None) -> dict[str, Any]:
    """The properties of a model of the energy."""
    energy, virial = float(found.energy[0]), found.virial[0]
    results: dict[str, Any] = {
        "energy": energy,
        "free_energy": energy,
        "energies": found.atom_energy,
        "forces": found.force,
        "virial": virial,
    }
    if found.magnetic is not None:
        results["magnetic_forces"] = found.magnetic
    if box is not None:
        volume = abs(float(np.linalg.det(box)))
        results["stress"] = full_3x3_to_voigt_6_stress(-0.5 * (virial + virial.T) / volume)
    return results


def _remedy(name: str, parts: Sequence[_Part]) -> str:
    """What to do about a property that the models do not give."""
    kinds = [part.output.kind for part in parts]
    if name == "charges" and "population" in kinds:
        return "Populations are the electrons of the labels, without those of closed shells, and no charges."
    if name == "magnetic_forces" and "energy" in kinds:
        return "They belong to models with spins."
    if name in ("magmom", "magmoms") and any(part.model.has_spin for part in parts):
        return "The spins of the model are what it is given, the initial magnetic moments of the atoms."
    wanted = "energy" if name in _ENERGY else "population" if name in _POPULATION else None
    wanted = next((kind for kind, names in _TENSORS.items() if name in names), wanted)
    known = ", ".join(n for part in parts for n in part.names())
    if wanted is None:
        return f"They give: {known}."
    return f"They give: {known}. Open a model of kind {wanted} beside, DP([{', '.join(kinds)}, {wanted}])."


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
