"""Make the water data: molecular dynamics with a classical model, labels from GFN1-xTB.

    OMP_NUM_THREADS=1 python make_data.py --jobs 2     writes data/, provenance.json (CPU: half an hour)
    OMP_NUM_THREADS=1 python make_data.py --check      compares the labels in data/ with finite differences

Needs ase, scipy, vesin and tblite.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.langevin import Langevin
from ase.optimize import FIRE
from qtip4pf import QTip4pF
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from labels import check_systems, label, write_provenance, write_system  # noqa: E402

SEED = 20240
METHOD = {"method": "GFN1-xTB", "accuracy": 0.01, "electronic_temperature": 300.0}
VOLUME = 29.95  # Å³ a molecule, 1 g/cm³ within 0.3 %
STRAIN = 0.01  # standard deviation of the strain given to every frame
CHECK_STRAIN = 5e-4  # step of the virial check, wide enough to average over the cutoff steps in the labeler's energy
TIMESTEP = 0.5  # fs
SETTLING, SAMPLING = 0.02, 0.005  # friction, 1/fs
MELT, SETTLE, INTERVAL = 2000, 10000, 200  # steps: at 600 K, at the target temperature, between frames


@dataclass(frozen=True)
class Trajectory:
    """One system of the data set."""

    name: str
    molecules: int  # 32 or 64
    kelvin: float
    density: float  # relative to VOLUME
    frames: int


TRAJECTORIES = [
    Trajectory("train/300K", 32, 300, 1.00, 110),
    Trajectory("train/350K", 32, 350, 1.06, 110),
    Trajectory("train/450K", 32, 450, 0.94, 110),
    Trajectory("train/600K", 32, 600, 1.00, 90),
    Trajectory("train/330K_large", 64, 330, 1.00, 40),
    Trajectory("validation/330K", 32, 330, 1.00, 40),
    Trajectory("validation/400K_large", 64, 400, 1.00, 10),
]


def xtb() -> TBLite:
    """A fresh labeler."""
    return TBLite(**METHOD, verbosity=0)


def start(trajectory: Trajectory, rng: np.random.Generator) -> Atoms:
    """Randomly turned molecules on a lattice, relaxed a little."""
    structure, repeat = {32: ("fcc", 2), 64: ("sc", 4)}[trajectory.molecules]
    edge = (trajectory.molecules * VOLUME / trajectory.density) ** (1 / 3)
    lattice = bulk("O", structure, a=edge / repeat, cubic=True) * (repeat, repeat, repeat)
    water = molecule("H2O")
    turns = Rotation.random(trajectory.molecules, rng=rng)
    offsets = [turn.apply(water.positions - water.positions[0]) for turn in turns]
    positions = lattice.positions[:, None] + np.array(offsets)
    atoms = Atoms("OH2" * len(lattice), positions=positions.reshape(-1, 3), cell=lattice.cell, pbc=True)
    atoms.calc = QTip4pF()
    FIRE(atoms, logfile=None).run(fmax=1.0, steps=300)
    return atoms


def strained(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """A copy with cell and positions under a small random symmetric strain."""
    random = rng.normal(0, STRAIN, (3, 3))
    copy = atoms.copy()
    copy.set_cell(atoms.cell.array @ (np.eye(3) + (random + random.T) / 2), scale_atoms=True)
    return copy


def make(index: int) -> str:
    """Run and label one trajectory, write its system, return a line of report."""
    trajectory = TRAJECTORIES[index]
    rng = np.random.default_rng([SEED, index])
    atoms = start(trajectory, rng)
    dynamics = Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=600, friction=SETTLING / units.fs, rng=rng, fixcm=False
    )
    dynamics.run(MELT)
    dynamics.set_temperature(temperature_K=trajectory.kelvin)
    dynamics.run(SETTLE)
    dynamics.set_friction(SAMPLING / units.fs)
    frames = []
    for _ in range(trajectory.frames):
        dynamics.run(INTERVAL)
        frames.append(label(strained(atoms, rng), xtb))
    write_system(HERE / "data" / trajectory.name, frames, ["O", "H"])
    force = np.concatenate([frame.get_forces() for frame in frames])
    return f"{trajectory.name}: {len(frames)} frames, rms force {force.std():.2f}, largest {abs(force).max():.1f} eV/Å"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only check the labels that are there")
    parser.add_argument("--jobs", type=int, default=1, help="processes (the result does not depend on it)")
    arguments = parser.parse_args()
    if arguments.check:
        check_systems(HERE / "data", xtb, SEED, CHECK_STRAIN)
        return
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for line in pool.map(make, range(len(TRAJECTORIES))):
            print(line, flush=True)
    write_provenance(
        HERE / "provenance.json",
        ["numpy", "scipy", "ase", "vesin", "tblite"],
        labeler=METHOD,
        sampler={
            "model": "q-TIP4P/F, damped force-shifted electrostatics",
            "thermostat": "Langevin",
            "timestep_fs": TIMESTEP,
            "friction_per_fs": {"settling": SETTLING, "sampling": SAMPLING},
            "steps": {"at_600_K": MELT, "at_temperature": SETTLE, "between_frames": INTERVAL},
            "volume_per_molecule": VOLUME,
            "frame_strain": STRAIN,
        },
        seed=SEED,
        systems={trajectory.name: asdict(trajectory) for trajectory in TRAJECTORIES},
        label_errors=check_systems(HERE / "data", xtb, SEED, CHECK_STRAIN),
    )


if __name__ == "__main__":
    main()
