"""Make the copper data: configurations and labels from the effective medium theory of ASE.

    OMP_NUM_THREADS=1 python make_data.py              writes data/, copper.xyz and provenance.json (two minutes)
    OMP_NUM_THREADS=1 python make_data.py --check      compares the labels in data/ with finite differences

Needs ase.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atom, Atoms, units
from ase.build import bulk, fcc100, fcc110, fcc111
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from ase.io import write
from ase.md.langevin import Langevin

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from labels import check_systems, label, read_system, write_provenance, write_system  # noqa: E402

SEED = 20241
A0 = 3.59  # Å, about the lattice constant of the labeler
STRAIN = 0.01  # standard deviation of the strain given to every frame of a trajectory
TIMESTEP, FRICTION = 3.0, 0.01  # fs, 1/fs
MELT, SETTLE, INTERVAL = 400, 300, 40  # steps: at 3000 K (liquids), at the target temperature, between frames
XYZ_FRAMES = 8  # of every training system but the liquid


@dataclass(frozen=True)
class Run:
    """One trajectory: a structure stretched by ``scale`` in length, at constant volume."""

    structure: str
    kelvin: float
    scale: float
    frames: int


@dataclass(frozen=True)
class Cells:
    """Small cells without dynamics: random volume, strain and displacements."""

    repeat: tuple[int, int, int]
    frames: int


SYSTEMS: dict[str, list[Run] | Cells] = {
    "train/bulk": [Run("bulk", t, s, 8) for t in (300, 600, 900, 1200, 1500) for s in (0.98, 1.005, 1.03)],
    "train/cells4": Cells((1, 1, 1), 60),
    "train/cells8": Cells((2, 1, 1), 40),
    "train/vacancy": [Run("vacancy", t, 1.01, 10) for t in (400, 800, 1200)],
    "train/interstitial": [Run("interstitial", t, 1.015, 10) for t in (400, 800, 1200)],
    "train/surface": [Run(s, t, 1.0, 6) for s in ("fcc111", "fcc100", "fcc110") for t in (300, 700, 1100)],
    "train/liquid": [Run("liquid", t, s, 10) for t, s in ((1500, 1.03), (2000, 1.05))],
    "validation/bulk": [Run("bulk", t, s, 5) for t, s in ((450, 1.0), (750, 0.99), (1050, 1.02), (1350, 1.02))],
    "validation/cells4": Cells((1, 1, 1), 10),
    "validation/vacancy": [Run("vacancy", 600, 1.01, 5)],
    "validation/interstitial": [Run("interstitial", 600, 1.015, 5)],
    "validation/surface": [Run(s, 500, 1.0, 4) for s in ("fcc111", "fcc100", "fcc110")],
    "validation/liquid": [Run("liquid", 1800, 1.04, 4)],
}


def build(structure: str) -> Atoms:
    """The ideal structure at the lattice constant A0, periodic in all directions."""
    slabs = {"fcc111": (fcc111, (3, 3, 4)), "fcc100": (fcc100, (3, 3, 4)), "fcc110": (fcc110, (3, 2, 6))}
    if structure in slabs:
        make, size = slabs[structure]
        return make("Cu", size, a=A0, vacuum=6.0, periodic=True)
    repeat = 3 if structure == "liquid" else 2
    atoms = bulk("Cu", a=A0, cubic=True) * (repeat, repeat, repeat)
    if structure == "vacancy":
        del atoms[0]
    if structure == "interstitial":
        atoms.append(Atom("Cu", (A0 / 2, A0 / 2, A0 / 2)))
    return atoms


def strained(atoms: Atoms, deviation: float, rng: np.random.Generator) -> Atoms:
    """A copy with cell and positions under a random symmetric strain."""
    random = rng.normal(0, deviation, (3, 3))
    copy = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)
    copy.set_cell(atoms.cell.array @ (np.eye(3) + (random + random.T) / 2), scale_atoms=True)
    return copy


def trajectory(run: Run, rng: np.random.Generator) -> Iterator[Atoms]:
    """Frames along Langevin dynamics with the labeler itself."""
    atoms = build(run.structure)
    atoms.set_cell(atoms.cell.array * run.scale, scale_atoms=True)
    atoms.calc = EMT()
    dynamics = Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=3000, friction=FRICTION / units.fs, rng=rng, fixcm=False
    )
    if run.structure == "liquid":
        dynamics.run(MELT)
    dynamics.set_temperature(temperature_K=run.kelvin)
    dynamics.run(SETTLE)
    for _ in range(run.frames):
        dynamics.run(INTERVAL)
        yield strained(atoms, STRAIN, rng)


def cells(kind: Cells, rng: np.random.Generator) -> Iterator[Atoms]:
    """Face-centred cubic cells with random volume (±8 % in length), strain and displacements; the first ones ideal."""
    scales = np.linspace(0.92, 1.08, kind.frames)
    for index, scale in enumerate(rng.permutation(scales)):
        atoms = bulk("Cu", a=A0 * scale, cubic=True) * kind.repeat
        if index >= kind.frames // 4:
            atoms = strained(atoms, 0.03, rng)
            atoms.positions += rng.normal(0, rng.uniform(0, 0.12), atoms.positions.shape)
        yield atoms


def make(name: str, rng: np.random.Generator) -> None:
    """Label and write one system."""
    plan = SYSTEMS[name]
    sources = [cells(plan, rng)] if isinstance(plan, Cells) else [trajectory(run, rng) for run in plan]
    frames = [label(atoms, EMT) for source in sources for atoms in source]
    write_system(HERE / "data" / name, frames, ["Cu"])
    force = np.concatenate([frame.get_forces() for frame in frames])
    size = f"{len(frames)} frames of {len(frames[0])} atoms"
    print(f"{name}: {size}, rms force {force.std():.2f}, largest {abs(force).max():.1f} eV/Å", flush=True)


def bulk_reference() -> dict[str, float]:
    """Lattice constant and bulk modulus of the labeler, from a Birch-Murnaghan fit within 2 % in length."""
    volumes, energies = [], []
    for scale in np.linspace(0.98, 1.02, 11):
        atoms = bulk("Cu", a=A0 * scale, cubic=True)
        atoms.calc = EMT()
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    volume, energy, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    return {
        "lattice_constant_angstrom": round(volume ** (1 / 3), 4),
        "energy_per_atom_eV": round(energy / 4, 5),
        "bulk_modulus_GPa": round(modulus / units.GPa, 1),
    }


def write_xyz() -> None:
    """A sample of the training systems, of several sizes, as one extended XYZ file."""
    names = [name for name in SYSTEMS if name.startswith("train/") and name != "train/liquid"]
    frames = []
    for name in names:
        everything = read_system(HERE / "data" / name)
        frames += everything[:: len(everything) // XYZ_FRAMES][:XYZ_FRAMES]
    write(HERE / "copper.xyz", frames, format="extxyz")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only check the labels that are there")
    arguments = parser.parse_args()
    if arguments.check:
        check_systems(HERE / "data", EMT, SEED)
        print(bulk_reference())
        return
    for index, name in enumerate(SYSTEMS):
        make(name, np.random.default_rng([SEED, index]))
    write_xyz()
    write_provenance(
        HERE / "provenance.json",
        ["numpy", "scipy", "ase"],
        labeler={"method": "effective medium theory, ase.calculators.emt.EMT, default parameters"},
        sampler={
            "model": "the labeler",
            "thermostat": "Langevin",
            "timestep_fs": TIMESTEP,
            "friction_per_fs": FRICTION,
            "steps": {"at_3000_K": MELT, "at_temperature": SETTLE, "between_frames": INTERVAL},
            "frame_strain": STRAIN,
        },
        seed=SEED,
        systems={
            name: [asdict(run) for run in plan] if isinstance(plan, list) else asdict(plan)
            for name, plan in SYSTEMS.items()
        },
        bulk=bulk_reference(),
        label_errors=check_systems(HERE / "data", EMT, SEED),
    )


if __name__ == "__main__":
    main()
