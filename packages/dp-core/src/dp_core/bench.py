"""A model with random samples of structures, and what it says of them: what the checks of ``check_model`` work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dp_core.frozen import precision
from dp_core.inference import Predictor
from dp_core.long_range import long_range
from dp_core.neighbors import Floats
from dp_core.random_structures import Sample, random_sample


@dataclass(frozen=True)
class Result:
    """What a model says of one sample: of the components of its output, one for an energy, and their derivatives.

    The energy is always the sum over the atoms. Derivatives that the model does not give are zero.
    """

    energy: Floats  # (size,)
    atom_energy: Floats  # (N, size)
    force: Floats  # (N, size, 3)
    virial: Floats  # (size, 3, 3)
    atom_virial: Floats  # (N, size, 3, 3)
    magnetic: Floats | None = None  # (N, 3), of models with spins; None is not compared


@dataclass(frozen=True)
class Bench:
    """A model with its samples, and the sizes that errors are compared with."""

    dp: Predictor
    random: np.random.Generator
    single: bool  # networks in single precision
    bulk: Sample  # periodic, in a cell smaller than the cutoff
    cluster: Sample  # open boundaries
    energy_scale: float  # eV, energy of interaction of an atom
    force_scale: float  # eV/Å

    def __call__(self, *samples: Sample) -> list[Result]:
        """What the model says of samples."""
        return evaluate(self.dp, samples)

    def difference(self, a: Result, b: Result) -> float:
        """Largest relative difference of energies, forces and virials."""
        n = len(a.force)
        return max(
            largest(a.energy - b.energy) / (n * self.energy_scale),
            largest(a.atom_energy - b.atom_energy) / self.energy_scale,
            largest(a.force - b.force) / self.force_scale,
            largest(a.virial - b.virial) / (n * self.force_scale),
            largest(a.atom_virial - b.atom_virial) / self.force_scale,
            0.0 if a.magnetic is None or b.magnetic is None else largest(a.magnetic - b.magnetic) / self.force_scale,
        )


def set_up(dp: Predictor, random: np.random.Generator, natoms: int) -> Bench:
    """A bench with samples of so many atoms."""
    bulk = random_sample(dp.get_model(), random, natoms, periodic=True)
    whole = bool(long_range(dp.get_model()))  # which only periodic frames have
    cluster = random_sample(dp.get_model(), random, natoms, periodic=whole)
    alone = [part_of(cluster, [k]) for k in range(natoms)]
    results = evaluate(dp, [bulk, cluster])
    vacuum = np.array([r.energy for r in evaluate(dp, alone)])
    energies = np.abs(results[1].atom_energy - vacuum).max(initial=0.0)
    forces = max(largest(r.force) for r in results)
    single = precision(dp.get_model()) == "float32"
    floor = 1e-6 * max(1e-3, float(np.abs(results[1].atom_energy).max()))
    return Bench(dp, random, single, bulk, cluster, max(float(energies), floor), max(forces, floor))


def evaluate(dp: Predictor, samples: Sequence[Sample]) -> list[Result]:
    """What a model says of samples."""
    atomic_virial = not long_range(dp.get_model())
    p = dp.predict([s.structure for s in samples], **parameters(samples), atomic_virial=atomic_virial)
    ends = np.cumsum(p.natoms)
    atoms = [slice(end - n, end) for end, n in zip(ends, p.natoms, strict=True)]
    output = dp.get_model().output
    size, total = output.size, len(p.atomic)
    atomic = p.atomic.reshape(total, size)
    summed = np.stack([atomic[a].sum(axis=0) for a in atoms])
    totals = summed if output.intensive else p.total.reshape(len(samples), size)
    if p.derivatives is None:
        force, virial, atom_virial = np.zeros((total, size, 3)), np.zeros((len(samples), size, 3, 3)), None
    else:
        force, virial, atom_virial = p.force, p.virial, p.atom_virial
    force = force.reshape(total, size, 3)
    virial = virial.reshape(len(samples), size, 3, 3)
    of_atoms = np.zeros((total, size, 3, 3)) if atom_virial is None else atom_virial.reshape(total, size, 3, 3)
    magnetic = [None if p.magnetic is None else p.magnetic[a] for a in atoms]
    return [Result(totals[k], atomic[a], force[a], virial[k], of_atoms[a], magnetic[k]) for k, a in enumerate(atoms)]


def parameters(samples: Sequence[Sample]) -> dict[str, Any]:
    """fparam (frames, d), aparam (atoms, d), charge_spin (frames, 2), spin (atoms, 3), those that the model has."""
    given: dict[str, list[Floats]] = {}
    for sample in samples:
        for name in ("fparam", "aparam", "charge_spin", "spin"):
            if getattr(sample, name) is not None:
                given.setdefault(name, []).append(getattr(sample, name))
    return {name: np.concatenate(x) if name in ("aparam", "spin") else np.stack(x) for name, x in given.items()}


def largest(x: Any) -> float:
    """The largest absolute value; 0 of none."""
    return float(np.max(np.abs(x), initial=0.0))


def part_of(sample: Sample, atoms: Sequence[int] | Any) -> Sample:
    """Some atoms of a sample, in the given order."""
    aparam = None if sample.aparam is None else sample.aparam[atoms]
    spin = None if sample.spin is None else sample.spin[atoms]
    return sample._replace(coord=sample.coord[atoms], types=sample.types[atoms], aparam=aparam, spin=spin)
