"""What the data scripts of the examples share: labelling frames, the folder layout on disk, and checks of the labels.

A frame is an ``ase.Atoms`` that carries its energy (eV), forces (eV/Å) and stress (eV/Å³). The virial stored in the
folders is −dE/d(strain) = −stress·volume, nine numbers row by row, in eV.
"""

import json
import os
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

NewCalculator = Callable[[], Calculator]


def label(atoms: Atoms, new_calculator: NewCalculator) -> Atoms:
    """A wrapped copy of ``atoms`` with energy, forces and stress computed from scratch."""
    work = atoms.copy()
    work.wrap()
    frame = work.copy()
    work.calc = new_calculator()
    frame.calc = SinglePointCalculator(
        frame, energy=work.get_potential_energy(), forces=work.get_forces(), stress=work.get_stress()
    )
    return frame


def virial(frame: Atoms) -> np.ndarray:
    """(3, 3) in eV: −stress·volume."""
    return -frame.get_stress(voigt=False) * frame.get_volume()


def write_system(folder: Path, frames: list[Atoms], type_map: list[str]) -> None:
    """Write frames of one and the same composition and atom order as deepmd/npy, all in float64."""
    symbols = frames[0].get_chemical_symbols()
    if any(frame.get_chemical_symbols() != symbols for frame in frames):
        raise ValueError(f"{folder}: the frames differ in composition or atom order")
    arrays = folder / "set.000"
    arrays.mkdir(parents=True, exist_ok=True)
    (folder / "type.raw").write_text("".join(f"{type_map.index(s)}\n" for s in symbols))
    (folder / "type_map.raw").write_text("".join(f"{name}\n" for name in type_map))
    count = len(frames)
    np.save(arrays / "coord.npy", np.stack([f.positions for f in frames]).reshape(count, -1))
    np.save(arrays / "box.npy", np.stack([f.cell.array for f in frames]).reshape(count, 9))
    np.save(arrays / "energy.npy", np.array([f.get_potential_energy() for f in frames]))
    np.save(arrays / "force.npy", np.stack([f.get_forces() for f in frames]).reshape(count, -1))
    np.save(arrays / "virial.npy", np.stack([virial(f) for f in frames]).reshape(count, 9))


def read_system(folder: Path) -> list[Atoms]:
    """The labelled frames of a folder written by ``write_system``."""
    names = (folder / "type_map.raw").read_text().split()
    symbols = [names[int(t)] for t in (folder / "type.raw").read_text().split()]
    keys = ("coord", "box", "energy", "force", "virial")
    frames = []
    for coord, box, energy, force, w in zip(*(np.load(folder / "set.000" / f"{key}.npy") for key in keys)):
        frame = Atoms(symbols, positions=coord.reshape(-1, 3), cell=box.reshape(3, 3), pbc=True)
        stress = full_3x3_to_voigt_6_stress(-w.reshape(3, 3) / frame.get_volume())
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=force.reshape(-1, 3), stress=stress)
        frames.append(frame)
    return frames


COMPONENTS, DISPLACEMENT = 4, 1e-4  # forces checked by finite differences in a frame; the step, Å


def check(frame: Atoms, new_calculator: NewCalculator, seed: int, strain_step: float = 1e-4) -> dict[str, float]:
    """Largest absolute errors of the stored labels of one frame.

    energy, force, virial: against the same calculation repeated. force_fd: some random components against central
    differences of the energy. virial_fd: likewise for the six symmetric strains, with step ``strain_step``.
    """

    def energy(positions: np.ndarray, cell: np.ndarray) -> float:
        moved = frame.copy()
        moved.set_cell(cell)
        moved.positions = positions
        moved.calc = new_calculator()
        return moved.get_potential_energy()

    force, w, cell = frame.get_forces(), virial(frame), frame.cell.array
    again = label(frame, new_calculator)
    rng = np.random.default_rng(seed)
    force_fd, virial_fd = [], []
    for atom, axis in zip(rng.integers(len(frame), size=COMPONENTS), rng.integers(3, size=COMPONENTS)):
        step = np.zeros_like(force)
        step[atom, axis] = DISPLACEMENT
        rise = energy(frame.positions + step, cell) - energy(frame.positions - step, cell)
        force_fd.append(abs(force[atom, axis] + rise / (2 * DISPLACEMENT)))
    for a, b in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]:
        strain = np.zeros((3, 3))
        strain[a, b] += strain_step / 2
        strain[b, a] += strain_step / 2
        plus, minus = np.eye(3) + strain, np.eye(3) - strain
        rise = energy(frame.positions @ plus, cell @ plus) - energy(frame.positions @ minus, cell @ minus)
        virial_fd.append(abs(w[a, b] + rise / (2 * strain_step)))
    return {
        "energy": float(abs(again.get_potential_energy() - frame.get_potential_energy())),
        "force": float(np.abs(again.get_forces() - force).max()),
        "virial": float(np.abs(virial(again) - w).max()),
        "force_fd": float(max(force_fd)),
        "virial_fd": float(max(virial_fd)),
    }


def check_systems(root: Path, new_calculator: NewCalculator, seed: int, strain_step: float = 1e-4) -> dict[str, float]:
    """Check the middle frame of every system under ``root``, print a table, return the largest errors."""
    rows = []
    print(
        f"{'largest error of':<24}"
        + "".join(f"{k:>11}" for k in ("energy", "force", "virial", "force_fd", "virial_fd"))
    )
    for folder in systems(root):
        frames = read_system(folder)
        rows.append(check(frames[len(frames) // 2], new_calculator, seed, strain_step))
        name = folder.relative_to(root).as_posix()
        print(f"{name:<24}" + "".join(f"{value:11.1e}" for value in rows[-1].values()), flush=True)
    return {key: max(row[key] for row in rows) for key in rows[0]}


def systems(root: Path) -> list[Path]:
    """The system folders under ``root``, sorted."""
    return sorted(path.parent for path in root.rglob("type.raw"))


def write_provenance(path: Path, packages: Iterable[str], **facts: object) -> None:
    """Record versions of Python and ``packages``, the machine and ``facts`` as JSON."""
    record = {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "machine": f"{platform.system()} {platform.machine()}, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}",
        **facts,
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
