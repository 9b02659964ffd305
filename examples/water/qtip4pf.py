"""The flexible water model q-TIP4P/F as an ASE calculator, used to draw configurations of liquid water.

S. Habershon, T. E. Markland, D. E. Manolopoulos, J. Chem. Phys. 131, 024501 (2009). Electrostatics are damped and
force-shifted instead of Ewald-summed (C. J. Fennell, J. D. Gezelter, J. Chem. Phys. 124, 234104 (2006)), and the
Lennard-Jones term is force-shifted too: energy and force are both continuous, and zero, at the cutoff.
"""

from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from scipy.special import erfc
from vesin import NeighborList

KCAL = units.kcal / units.mol
WELL, STEEPNESS, BOND = 116.09 * KCAL, 2.287, 0.9419  # quartic O-H stretch: eV, 1/Å, Å
BEND, ANGLE = 87.85 * KCAL, np.deg2rad(107.4)  # harmonic bend: eV/rad², rad
EPSILON, SIGMA = 0.1852 * KCAL, 3.1589  # Lennard-Jones between oxygens: eV, Å
CHARGE = 1.1128  # e: minus this on M, half of it on each H
GAMMA = 0.73612  # M = GAMMA O + (1 - GAMMA)(H1 + H2)/2
COULOMB = units.Hartree * units.Bohr  # eV Å/e²

CUTOFF = 9.0  # Å
DAMPING = 0.2  # 1/Å, of the electrostatics

# sites (M, H1, H2) from atoms (O, H1, H2); forces go back by the transpose
SITES = np.array([[GAMMA, (1 - GAMMA) / 2, (1 - GAMMA) / 2], [0, 1, 0], [0, 0, 1]])


class QTip4pF(Calculator):
    """Energy (eV) and forces (eV/Å) of periodic water; atoms ordered O, H, H, each molecule whole (not wrapped)."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Fill ``self.results`` for ``atoms``."""
        super().calculate(atoms, properties, system_changes)
        molecules = self.atoms.positions.reshape(-1, 3, 3)
        cell = self.atoms.cell.array

        energy, forces = intramolecular(molecules)
        sites = np.einsum("sa,mad->msd", SITES, molecules)
        charge = np.tile([-CHARGE, CHARGE / 2, CHARGE / 2], len(molecules))
        e_coulomb, f_sites = coulomb(sites.reshape(-1, 3), cell, charge)
        e_lj, f_oxygen = lennard_jones(molecules[:, 0], cell)

        forces = forces + np.einsum("sa,msd->mad", SITES, f_sites.reshape(-1, 3, 3))
        forces[:, 0] += f_oxygen
        self.results = {"energy": energy + e_coulomb + e_lj, "forces": forces.reshape(-1, 3)}


def intramolecular(molecules: np.ndarray) -> tuple[float, np.ndarray]:
    """Stretch and bend; molecules (n, 3, 3) as O, H, H. Returns eV and (n, 3, 3) eV/Å."""
    bonds = molecules[:, 1:] - molecules[:, :1]  # (n, 2, 3)
    r = np.linalg.norm(bonds, axis=-1)
    unit = bonds / r[..., None]
    x = STEEPNESS * (r - BOND)
    cos = np.sum(unit[:, 0] * unit[:, 1], axis=-1)
    bend = np.arccos(cos) - ANGLE
    energy = np.sum(WELL * (x**2 - x**3 + 7 / 12 * x**4)) + np.sum(0.5 * BEND * bend**2)

    stretch_slope = WELL * STEEPNESS * (2 * x - 3 * x**2 + 7 / 3 * x**3)
    angle_gradient = (cos[:, None, None] * unit - unit[:, ::-1]) / (r * np.sqrt(1 - cos**2)[:, None])[..., None]
    on_hydrogen = -stretch_slope[..., None] * unit - (BEND * bend)[:, None, None] * angle_gradient
    return float(energy), np.concatenate([-on_hydrogen.sum(axis=1, keepdims=True), on_hydrogen], axis=1)


def coulomb(sites: np.ndarray, cell: np.ndarray, charge: np.ndarray) -> tuple[float, np.ndarray]:
    """Damped force-shifted electrostatics between sites (n, 3) of different molecules, three sites a molecule."""
    i, j, shift, r, vector = pairs(sites, cell)
    other = (i // 3 != j // 3) | np.any(shift != 0, axis=1)
    i, j, r, vector = i[other], j[other], r[other], vector[other]

    def damped(r):  # erfc(a r)/r and minus its derivative
        value = erfc(DAMPING * r) / r
        return value, value / r + 2 * DAMPING / np.sqrt(np.pi) * np.exp(-((DAMPING * r) ** 2)) / r

    return force_shifted(len(sites), i, j, r, vector, COULOMB * charge[i] * charge[j], damped)


def lennard_jones(oxygens: np.ndarray, cell: np.ndarray) -> tuple[float, np.ndarray]:
    """Force-shifted Lennard-Jones between oxygens (n, 3)."""
    i, j, _, r, vector = pairs(oxygens, cell)

    def lj(r):
        s6 = (SIGMA / r) ** 6
        return s6**2 - s6, (12 * s6**2 - 6 * s6) / r

    return force_shifted(len(oxygens), i, j, r, vector, np.full(len(i), 4 * EPSILON), lj)


def force_shifted(n, i, j, r, vector, strength, potential) -> tuple[float, np.ndarray]:
    """Pair sum of strength·(v(r) − v(c) + (r − c) f(c)), c the cutoff; ``potential`` gives v and f = −dv/dr."""
    value, slope = potential(r)
    value_end, slope_end = potential(CUTOFF)
    energy = np.sum(strength * (value - value_end + (r - CUTOFF) * slope_end))
    on_j = (strength * (slope - slope_end) / r)[:, None] * vector
    forces = [np.bincount(j, on_j[:, d], n) - np.bincount(i, on_j[:, d], n) for d in range(3)]
    return float(energy), np.stack(forces, axis=1)


def pairs(points: np.ndarray, cell: np.ndarray) -> list[np.ndarray]:
    """Each pair (periodic images too) within the cutoff once: i, j, cell shift, distance, vector from i to j."""
    return NeighborList(cutoff=CUTOFF, full_list=False).compute(points, cell, True, "ijSdD")
