"""Flexible water with point charges, Ewald-summed, and its exact division into a long-range and a short-range part.

The molecule, its charges and the Lennard-Jones term are those of q-TIP4P/F (../water/qtip4pf.py). Minus a charge sits
on a site M beside the oxygen, at the distance MU = (1 − GAMMA)/2 · (h1 + h2) from it, h1 and h2 being the bonds: a
centroid, as electrons have one. The long-range part is the energy of these charges spread as Gaussians; what is left is
screened by erfc, so that only neighbours count.
"""

import sys
from dataclasses import dataclass
from math import pi, sqrt
from pathlib import Path

import numpy as np
from scipy.special import erf, erfc
from vesin import NeighborList

from dp_core.backend import get_backend
from dp_core.ewald import COULOMB, ewald

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "water"))
from qtip4pf import CHARGE, CUTOFF, EPSILON, SIGMA, SITES, intramolecular

BETA = 0.5  # 1/Å, of the Gaussians
SPACING = 0.5  # Å, of the grid; fine, so that the sum is exact

CHARGES = np.array([-CHARGE, CHARGE / 2, CHARGE / 2])  # of M, H, H


@dataclass(frozen=True)
class Part:
    """One part of the energy."""

    energy: float  # eV
    force: np.ndarray  # on sites M, H, H or on atoms O, H, H: (molecules, 3, 3), eV/Å
    virial: np.ndarray  # (3, 3), eV, −dE/d(strain)


def whole_molecules(positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """(molecules, 3, 3) of O, H, H from positions (N, 3), the hydrogens beside their oxygen."""
    atoms = positions.reshape(-1, 3, 3)
    bonds = atoms - atoms[:, :1]
    return atoms[:, :1] + bonds - np.round(bonds @ np.linalg.inv(cell)) @ cell


def centroids(molecules: np.ndarray) -> np.ndarray:
    """The displacement of M from the oxygen, (molecules, 3) in Å."""
    return np.einsum("a,mad->md", SITES[0], molecules) - molecules[:, 0]


def long_range(molecules: np.ndarray, cell: np.ndarray, spacing: float = SPACING) -> Part:
    """The energy of the spread charges, all of them with all, and forces on atoms."""
    sites = np.einsum("sa,mad->msd", SITES, molecules).reshape(-1, 3)
    charge = np.tile(CHARGES, len(molecules))
    found = ewald(sites, charge, cell, beta=BETA, spacing=spacing, backend=get_backend("numpy"))
    return Part(float(found.energy.sum()), on_atoms(found.force.reshape(-1, 3, 3)), found.virial)


def short_range(molecules: np.ndarray, cell: np.ndarray) -> Part:
    """Everything else: bonds and angles, Lennard-Jones, and what Gaussians leave of point charges."""
    parts = [bonded(molecules), lennard_jones(molecules, cell), screened(molecules, cell), inside(molecules)]
    return Part(*(sum(getattr(part, name) for part in parts) for name in ("energy", "force", "virial")))


def on_atoms(of_sites: np.ndarray) -> np.ndarray:
    """Forces on atoms from those on sites."""
    return np.einsum("sa,msd->mad", SITES, of_sites)


def bonded(molecules: np.ndarray) -> Part:
    """Stretch and bend."""
    energy, force = intramolecular(molecules)
    return Part(energy, force, np.einsum("mai,maj->ij", force, molecules))


def lennard_jones(molecules: np.ndarray, cell: np.ndarray) -> Part:
    """Between oxygens; energy and force are zero from CUTOFF on."""

    def lj(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s6 = (SIGMA / r) ** 6
        return 4 * EPSILON * (s6**2 - s6), 4 * EPSILON * (12 * s6**2 - 6 * s6) / r

    def shifted(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (value, slope), (value_end, slope_end) = lj(r), lj(np.array(CUTOFF))
        return value - value_end + (r - CUTOFF) * slope_end, slope - slope_end

    i, j, _, r, vector = pairs(molecules[:, 0], cell)
    energy, force, virial = pair_sum(len(molecules), i, j, r, vector, 1.0, shifted)
    on_oxygen = np.zeros_like(molecules)
    on_oxygen[:, 0] = force
    return Part(energy, on_oxygen, virial)


def screened(molecules: np.ndarray, cell: np.ndarray) -> Part:
    """erfc(βr)/r between charges of different molecules; 2e-10 of 1/r is left at the cutoff."""

    def left(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = erfc(BETA * r) / r
        return value, value / r + 2 * BETA / sqrt(pi) * np.exp(-((BETA * r) ** 2)) / r

    sites = np.einsum("sa,mad->msd", SITES, molecules).reshape(-1, 3)
    i, j, shift, r, vector = pairs(sites, cell)
    other = (i // 3 != j // 3) | np.any(shift != 0, axis=1)
    i, j, r, vector = i[other], j[other], r[other], vector[other]
    charge = np.tile(CHARGES, len(molecules))
    energy, force, virial = pair_sum(len(sites), i, j, r, vector, COULOMB * charge[i] * charge[j], left)
    return Part(energy, on_atoms(force.reshape(-1, 3, 3)), virial)


def inside(molecules: np.ndarray) -> Part:
    """Minus what Gaussians have within a molecule and each with itself, where point charges have nothing."""

    def gaussian(r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value = erf(BETA * r) / r
        return value, value / r - 2 * BETA / sqrt(pi) * np.exp(-((BETA * r) ** 2)) / r

    sites = np.einsum("sa,mad->msd", SITES, molecules).reshape(-1, 3)
    first = 3 * np.arange(len(molecules))
    i, j = np.concatenate([first, first, first + 1]), np.concatenate([first + 1, first + 2, first + 2])
    charge = np.tile(CHARGES, len(molecules))
    vector = sites[j] - sites[i]
    r = np.linalg.norm(vector, axis=1)
    energy, force, virial = pair_sum(len(sites), i, j, r, vector, -COULOMB * charge[i] * charge[j], gaussian)
    own = COULOMB * BETA / sqrt(pi) * float(np.sum(charge**2))
    return Part(energy - own, on_atoms(force.reshape(-1, 3, 3)), virial)


def pair_sum(n, i, j, r, vector, strength, potential) -> tuple[float, np.ndarray, np.ndarray]:
    """Σ strength·v(r), forces (n, 3) and virial (3, 3); ``potential`` gives v and −dv/dr, vectors go from i to j."""
    value, slope = potential(r)
    on_j = (strength * slope / r)[:, None] * vector
    force = [np.bincount(j, on_j[:, d], n) - np.bincount(i, on_j[:, d], n) for d in range(3)]
    return float(np.sum(strength * value)), np.stack(force, axis=1), on_j.T @ vector


def pairs(points: np.ndarray, cell: np.ndarray) -> list[np.ndarray]:
    """Each pair (periodic images too) within the cutoff once: i, j, cell shift, distance, vector from i to j."""
    return NeighborList(cutoff=CUTOFF, full_list=False).compute(points, cell, True, "ijSdD")
