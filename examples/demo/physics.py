"""Properties of copper from any ASE calculator, for comparing a potential with the labeler that it learned from."""

from dataclasses import dataclass
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState
from ase.geometry.rdf import get_rdf
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE
from ase.phonons import Phonons

A0 = 3.59  # Å, near the lattice constant
EV_PER_A2_TO_J_PER_M2 = 16.0218
NVE_KELVIN, NVE_TIMESTEP = 600, 2.0  # K, fs
LIQUID_KELVIN, LIQUID_SCALE, LIQUID_TIMESTEP = 1800, 1.04, 3.0  # K; in length against A0; fs


@dataclass(frozen=True)
class Equilibrium:
    """Face-centred cubic copper at rest."""

    edges: np.ndarray  # (n,) edges of the cubic cell, Å
    energies: np.ndarray  # (n,) eV/atom
    lattice: float  # Å
    cohesion: float  # eV/atom
    modulus: float  # GPa


def equilibrium(calculator: Calculator) -> Equilibrium:
    """Lattice constant and bulk modulus by a Birch-Murnaghan fit to the energies within 2 % in length."""
    edges = A0 * np.linspace(0.94, 1.06, 25)
    energies = np.array([_energy(bulk("Cu", a=edge, cubic=True), calculator) / 4 for edge in edges])
    near = np.abs(edges / A0 - 1) < 0.0205
    fit = EquationOfState(edges[near] ** 3 / 4, energies[near], eos="birchmurnaghan")
    volume, energy, modulus = fit.fit()
    return Equilibrium(edges, energies, float((4 * volume) ** (1 / 3)), float(energy), float(modulus / units.GPa))


def elastic_constants(calculator: Calculator, lattice: float, strain: float = 0.004) -> tuple[float, float, float]:
    """C11, C12 and C44 in GPa, from the stress of strained cells."""

    def stress(tensor: np.ndarray) -> np.ndarray:
        atoms = bulk("Cu", a=lattice, cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + tensor), scale_atoms=True)
        atoms.calc = calculator
        return atoms.get_stress() / units.GPa

    stretch, shear = np.diag([strain, 0, 0]), np.array([[0, 0, 0], [0, 0, strain / 2], [0, strain / 2, 0]])
    along = (stress(stretch) - stress(-stretch)) / (2 * strain)
    across = (stress(shear) - stress(-shear)) / (2 * strain)
    return float(along[0]), float((along[1] + along[2]) / 2), float(across[3])


def vacancy_energy(calculator: Calculator, lattice: float, cohesion: float) -> float:
    """Energy of making a vacancy in a cell of 108 sites, relaxed, in eV."""
    atoms = bulk("Cu", a=lattice, cubic=True) * (3, 3, 3)
    del atoms[0]
    return _relaxed_energy(atoms, calculator) - len(atoms) * cohesion


def surface_energy(calculator: Calculator, lattice: float, cohesion: float) -> float:
    """Energy of the relaxed (111) surface in J/m²."""
    atoms = fcc111("Cu", (1, 1, 9), a=lattice, vacuum=7.0, periodic=True)
    excess = _relaxed_energy(atoms, calculator) - len(atoms) * cohesion
    return excess / (2 * atoms.cell.areas()[2]) * EV_PER_A2_TO_J_PER_M2


@dataclass(frozen=True)
class Bands:
    """Phonon frequencies along a path."""

    distance: np.ndarray  # (n,) along the path
    frequencies: np.ndarray  # (n, 3) THz
    ticks: np.ndarray
    labels: list[str]


def phonons(calculator: Calculator, lattice: float) -> Bands:
    """Phonon bands from small displacements in a cell of 125 atoms."""
    primitive = bulk("Cu", a=lattice)
    with TemporaryDirectory() as folder:
        method = Phonons(primitive, calculator, supercell=(5, 5, 5), delta=0.01, name=f"{folder}/phonon")
        method.run()
        method.read(acoustic=True)
    path = primitive.cell.bandpath("GXWKGL", npoints=160)
    x, ticks, labels = path.get_linear_kpoint_axis()
    thz = method.get_band_structure(path, verbose=False).energies[0] / (units._hplanck / units._e * 1e12)
    return Bands(x, thz, ticks, ["Γ" if label == "G" else label for label in labels])


@dataclass(frozen=True)
class Conservation:
    """Energies along dynamics at constant energy."""

    time: np.ndarray  # (n,) ps
    total: np.ndarray  # (n,) meV/atom, from its mean
    potential: np.ndarray  # (n,) meV/atom, from its mean
    kelvin: float  # mean temperature
    drift: float  # slope of the total energy, meV/atom/ps


def constant_energy(calculator: Calculator, lattice: float, steps: int) -> Conservation:
    """Dynamics of 108 atoms without thermostat."""
    atoms = bulk("Cu", a=lattice * 1.01, cubic=True) * (3, 3, 3)
    atoms.calc = calculator
    _heat(atoms, 2 * NVE_KELVIN, seed=7)
    dynamics = VelocityVerlet(atoms, NVE_TIMESTEP * units.fs)
    dynamics.run(steps // 5)
    record: list[tuple[float, float, float]] = []
    dynamics.attach(
        lambda: record.append((atoms.get_total_energy(), atoms.get_potential_energy(), atoms.get_temperature()))
    )
    dynamics.run(steps)
    total, potential, kelvin = np.array(record).T
    time = np.arange(len(total)) * NVE_TIMESTEP / 1000
    per_atom = 1000 / len(atoms)
    total, potential = (total - total.mean()) * per_atom, (potential - potential.mean()) * per_atom
    slope = float(np.polyfit(time, total, 1)[0])
    return Conservation(time, total, potential, float(kelvin.mean()), slope)


@dataclass(frozen=True)
class Liquid:
    """Structure of the liquid."""

    distance: np.ndarray  # (n,) Å
    rdf: np.ndarray  # (n,)
    diffusion: float  # Å²/ps
    kelvin: float  # mean temperature


def liquid(calculator: Calculator, steps: int) -> Liquid:
    """Radial distribution and diffusion of 108 atoms: molten at 4000 K, cooled, sampled."""
    atoms = bulk("Cu", a=A0 * LIQUID_SCALE, cubic=True) * (3, 3, 3)
    atoms.calc = calculator
    _heat(atoms, 4000, seed=11)
    rng = np.random.default_rng(5)
    _thermostat(atoms, 4000, rng).run(steps // 8)
    _thermostat(atoms, LIQUID_KELVIN, rng).run(steps // 4)
    dynamics = _thermostat(atoms, LIQUID_KELVIN, rng)
    frames: list[Atoms] = []
    kelvin: list[float] = []

    def sample() -> None:
        frames.append(Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True))
        kelvin.append(atoms.get_temperature())

    dynamics.attach(sample, interval=10)
    dynamics.run(steps)
    curves = [get_rdf(frame, 5.5, 110) for frame in frames]
    return Liquid(curves[0][1], np.mean([g for g, _ in curves], axis=0), _diffusion(frames), float(np.mean(kelvin)))


def _thermostat(atoms: Atoms, kelvin: float, rng: np.random.Generator) -> Bussi:
    """Dynamics with a thermostat that does not disturb the motion of single atoms."""
    return Bussi(atoms, LIQUID_TIMESTEP * units.fs, temperature_K=kelvin, taut=50 * units.fs, rng=rng)


def _diffusion(frames: list[Atoms]) -> float:
    """From the mean squared displacement between a tenth and a third of the run, in Å²/ps."""
    paths = np.array([frame.positions for frame in frames])
    spacing = 10 * LIQUID_TIMESTEP / 1000
    lags = np.arange(1 + len(paths) // 10, len(paths) // 3)
    squares = [np.mean(np.sum((paths[lag:] - paths[:-lag]) ** 2, axis=-1)) for lag in lags]
    return float(np.polyfit(lags * spacing, squares, 1)[0] / 6)


@dataclass(frozen=True)
class Properties:
    """All of them."""

    rest: Equilibrium
    elastic: tuple[float, float, float]  # C11, C12, C44, GPa
    vacancy: float  # eV
    surface: float  # J/m²
    bands: Bands
    motion: Conservation
    melt: Liquid


def properties(calculator: Calculator, nve_steps: int, liquid_steps: int) -> Properties:
    """Everything that the report compares."""
    rest = equilibrium(calculator)
    return Properties(
        rest,
        elastic_constants(calculator, rest.lattice),
        vacancy_energy(calculator, rest.lattice, rest.cohesion),
        surface_energy(calculator, rest.lattice, rest.cohesion),
        phonons(calculator, rest.lattice),
        constant_energy(calculator, rest.lattice, nve_steps),
        liquid(calculator, liquid_steps),
    )


def _energy(atoms: Atoms, calculator: Calculator) -> float:
    atoms.calc = calculator
    return float(atoms.get_potential_energy())


def _relaxed_energy(atoms: Atoms, calculator: Calculator) -> float:
    atoms.calc = calculator
    FIRE(atoms, logfile=None).run(fmax=0.005, steps=200)
    return float(atoms.get_potential_energy())


def _heat(atoms: Atoms, kelvin: float, seed: int) -> None:
    MaxwellBoltzmannDistribution(atoms, temperature_K=kelvin, rng=np.random.default_rng(seed))
    Stationary(atoms)
