"""The electrostatic energy of charges that are spread as Gaussians, in a periodic cell.

E = C/(2πV) Σ_{m≠0} exp(−π²g²/β²)/g² |S(m)|², S(m) = Σ_j q_j exp(2πi g·r_j), with g = Σ_d m_d b_d and the b_d that are
reciprocal to the lattice vectors (without 2π). It contains the energy of every charge with itself. The sum goes over a
grid that the cell alone decides, so it is a smooth function of the positions. A total charge is made up for by
a uniform one of the opposite sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.backend import Backend
from dp_core.module import Array, module
from dp_core.neighbors import Floats

COULOMB = 14.39964535475696995031
"""e²/4πε₀ in eV·Å."""

CONVERGED = 1e-4
"""What exp(−π²g²/β²) may be for terms that a grid leaves out."""

#: Numbers in the largest array of a sum.
_AT_ONCE = 1 << 21


@module
class Modes:
    """Terms of the sum: one of each pair m, −m, counted twice."""

    g: Array  # (modes, 3), 1/Å
    weight: Array  # (modes,), eV/e²; 0 for padding
    strain: Array  # (modes,), how the weight follows a strain, Å²


@module
class _Charges:
    """Charges with the terms that are summed. A charge of 0 is padding."""

    position: Array  # (n, 3), Å
    charge: Array  # (n,), e
    terms: Modes


@dataclass(frozen=True)
class Electrostatics:
    """What the charges of one frame give."""

    energy: Floats  # (n,), eV; the share of each charge
    force: Floats  # (n, 3), eV/Å
    virial: Floats  # (3, 3), eV, −dE/dε where charges move with the cell


def left_out(beta: float, spacing: float) -> float:
    """The first factor exp(−π²g²/β²) beyond a grid, at g = 1/(2 spacing). beta in 1/Å, spacing in Å."""
    return math.exp(-((math.pi / (2.0 * beta * spacing)) ** 2))


def coarse(beta: float, spacing: float) -> str | None:
    """What is wrong with a spacing that leaves out terms which count, in words; None for one that is fine enough."""
    if left_out(beta, spacing) <= CONVERGED:
        return None
    largest = math.pi / (2.0 * beta * math.sqrt(-math.log(CONVERGED)))
    digits = 10.0 ** (math.floor(math.log10(largest)) - 1)
    return (
        f"is {spacing:g} Å, too coarse for an ewald_beta of {beta:g} 1/Å: terms are left out whose exponential is up "
        f"to {left_out(beta, spacing):.1g}, so energies and forces are wrong; give "
        f"{math.floor(largest / digits) * digits:.2g} or less"
    )


def grid(cell: Floats, spacing: float) -> tuple[int, int, int]:
    """Points of the grid along each lattice vector: even numbers, no farther apart than ``spacing`` Å."""
    sizes = [math.ceil(length / spacing) for length in np.linalg.norm(cell, axis=1)]
    a, b, c = (size + size % 2 for size in sizes)
    return a, b, c


def modes(cell: Floats, beta: float, spacing: float) -> Modes:
    """The terms of a cell (3, 3), rows are the lattice vectors. beta in 1/Å, spacing in Å."""
    half = [np.arange(-(k // 2), k // 2 + 1) for k in grid(cell, spacing)]
    m = np.stack(np.meshgrid(*half, indexing="ij"), axis=-1).reshape(-1, 3)
    m = m[len(m) // 2 + 1 :]  # the order is symmetric about (0, 0, 0)
    g = m @ np.linalg.inv(cell).T
    squares = np.sum(g * g, axis=1)
    weight = np.exp(-((np.pi / beta) ** 2) * squares) / squares
    weight *= 2.0 * COULOMB / (2.0 * np.pi * abs(np.linalg.det(cell)))
    return Modes(g, weight, 2.0 * (1.0 / squares + (np.pi / beta) ** 2))


def _partial_sum(_: Any, charges: _Charges) -> Array:
    """Energies (n), forces (3n) and virial (9) of some terms, one after the other in an array."""
    terms, q = charges.terms, charges.charge
    g = terms.g
    xp = namespace(g, q)
    (n,) = arrays.shape(q)
    angle = (2.0 * math.pi) * (charges.position @ xp.matrix_transpose(g))
    cos, sin = xp.cos(angle), xp.sin(angle)
    real, imaginary = q[None, :] @ cos, q[None, :] @ sin  # (1, modes)
    a, b = real[0, :] * terms.weight, imaginary[0, :] * terms.weight
    energy = q * (cos @ a[:, None] + sin @ b[:, None])[:, 0]
    force = (4.0 * math.pi) * q[:, None] * (sin @ (a[:, None] * g) - cos @ (b[:, None] * g))
    squares = a * real[0, :] + b * imaginary[0, :]
    pressure = xp.sum(squares) * arrays.constant(np.eye(3).tolist(), like=g)
    virial = pressure - xp.matrix_transpose(g) @ ((squares * terms.strain)[:, None] * g)
    return xp.concat([energy, xp.reshape(force, (3 * n,)), xp.reshape(virial, (9,))], axis=0)


def ewald(
    position: Floats, charge: Floats, cell: Floats, *, beta: float, spacing: float, backend: Backend
) -> Electrostatics:
    """Energy, forces and virial of charges (n,) at positions (n, 3) in a cell (3, 3), computed by a backend.

    The cost grows as the number of charges times the volume.
    """
    n, terms = len(charge), modes(cell, beta, spacing)
    count = len(terms.weight)
    padded = backend.round_rows(n)
    positions, charges = _padded(position, padded), _padded(charge, padded)
    pieces = -(-count * padded // _AT_ONCE) or 1
    size = backend.round_rows(-(-count // pieces))
    total = np.zeros(4 * padded + 9)
    for start in range(0, count, size):
        part = slice(start, start + size)
        piece = Modes(*(_padded(x[part], size) for x in (terms.g, terms.weight, terms.strain)))
        total += backend.apply(_partial_sum, (), _Charges(positions, charges, piece))
    return Electrostatics(
        total[:n], total[padded : 4 * padded].reshape(padded, 3)[:n], total[4 * padded :].reshape(3, 3)
    )


def _padded(x: Floats, size: int) -> Floats:
    return np.pad(np.asarray(x, np.float64), [(0, size - len(x)), *[(0, 0)] * (x.ndim - 1)])
