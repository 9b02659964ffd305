"""Signs of wrong units and signs in a data set, from physics that any right data obey.

Each function looks at the frames of one system and returns a sentence, or None if nothing is suspicious or nothing can
be said. They are heuristics: each says in its docstring what it compares, and where it may be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dp_core.data.elements import COVALENT_RADII, NOBLE_GASES
from dp_core.data.frame import Floats, Frame

HARTREE, BOHR, KCAL, KJ = 27.211386, 0.52917721, 0.04336410, 0.01036427

#: Ratio of the energy change to the work of the forces → what mistake gives it.
_MISTAKES = {
    -1.0: "the forces have the wrong sign (the gradient instead of the force)",
    1 / HARTREE: "the energies look like Hartree while the forces are in eV/Å",
    2 / HARTREE: "the energies look like Rydberg while the forces are in eV/Å",
    1 / KCAL: "the energies look like kcal/mol while the forces are in eV/Å",
    1 / KJ: "the energies look like kJ/mol while the forces are in eV/Å",
    1000.0: "the energies look like meV while the forces are in eV/Å",
    HARTREE / BOHR: "the forces look like Hartree/Bohr while the energies are in eV",
    HARTREE / BOHR / 2: "the forces look like Rydberg/Bohr while the energies are in eV",
    1 / BOHR: "the forces look like Hartree/Bohr with energies in Hartree, or like eV/Bohr",
    KCAL: "the forces look like kcal/mol/Å while the energies are in eV",
    KJ: "the forces look like kJ/mol/Å while the energies are in eV",
    KJ / 10: "the forces look like kJ/mol/nm while the energies are in eV",
    BOHR: "the coordinates look like Bohr while the forces are per Å",
    10.0: "the coordinates look like nm while the forces are per Å",
}


@dataclass(frozen=True)
class Work:
    """Energy differences of pairs of similar frames, and the work of the forces and of the virial between them (eV)."""

    energy: Floats
    force: Floats
    virial: Floats | None


def work_between(frames: Sequence[Frame]) -> Work | None:
    """Pair each frame with the most similar other one, and integrate the labels between them by the trapezoid rule.

    The work of the forces is −½ Σ (F + F')·Δr at fixed cell, that of the virial −½ (W + W'):ε with the strain ε between
    the cells. Needs energies and forces, and the same atoms in every frame.
    """
    frames = [f for f in frames if {"energy", "force"} <= f.found and np.array_equal(f.types, frames[0].types)]
    if len(frames) < 4 or len({f.box is None for f in frames}) > 1:
        return None
    pairs, energy, force, virial = set(), [], [], []
    for a in range(len(frames)):
        moves = [_move(frames[a], other) for other in frames]
        lengths = [_length(frames[a], *move) if b != a else np.inf for b, move in enumerate(moves)]
        b = int(np.argmin(lengths))
        if (b, a) in pairs or lengths[b] == 0:
            continue
        pairs.add((a, b))
        dr, strain = moves[b]
        first, second = frames[a].labels, frames[b].labels
        energy.append(float(second["energy"][0] - first["energy"][0]))
        force.append(-0.5 * float(np.sum((first["force"] + second["force"]) * dr)))
        if "virial" in frames[a].found & frames[b].found:
            mean = 0.5 * (first["virial"] + second["virial"]).reshape(3, 3)
            virial.append(-float(np.sum(mean * strain)))
    with_virial = len(virial) == len(energy)
    return Work(np.array(energy), np.array(force), np.array(virial) if with_virial else None)


def _move(a: Frame, b: Frame) -> tuple[Floats, Floats]:
    """Displacements (N, 3) from frame a to b at fixed cell, nearest images, and the strain (3, 3) between the cells."""
    if a.box is None or b.box is None:
        return b.coord - a.coord, np.zeros((3, 3))
    change = b.coord @ np.linalg.inv(b.box) - a.coord @ np.linalg.inv(a.box)
    mean = 0.5 * (a.box + b.box)
    return (change - np.round(change)) @ mean, np.linalg.inv(mean) @ (b.box - a.box)


def _length(frame: Frame, moved: Floats, strain: Floats) -> float:
    """How different two frames are, Å²: a strain counts as much as if each atom moved by it times its own size."""
    strained = 0.0
    if frame.box is not None:
        volume = abs(float(np.linalg.det(frame.box))) / max(frame.natoms, 1)
        strained = frame.natoms * float(np.sum(strain * strain)) * volume ** (2.0 / 3.0)
    return float(np.sum(moved * moved)) + strained


def energy_against_force(work: Work, natoms: int) -> str | None:
    """Compare energy differences with the work of the forces, between similar frames.

    In right data the ratio is 1; a mix-up of units gives a known other number, and a wrong sign −1. Says something
    only where the two are clearly proportional: a fit over at least 6 pairs explains 90 % of the energy changes, most
    of it by the forces. Snapshots too far apart tell nothing.
    """
    fit = _fit(work)
    if fit is None or fit.share[0] < 0.5 or abs(fit.ratio[0] - 1) < max(0.25, 5 * fit.error[0]):
        return None
    ratio = fit.ratio[0]
    known = _MISTAKES | {1 / natoms: "the energies look like energies per atom; a frame has the total"}
    causes = [text for value, text in known.items() if abs(ratio / value - 1) < 0.15]
    return (
        f"energies and forces do not fit together: between similar frames the energy changes by {ratio:.3g} times "
        f"the work of the forces, expected 1; {', or '.join(causes) or 'check the units of both'}. "
        "Energies are in eV, forces in eV/Å."
    )


def virial_against_energy(work: Work) -> str | None:
    """Compare energy differences with the work of the virial, between similar frames with different cells.

    What the forces do not explain of the energy changes must be −W:ε. Says something only where a fit explains 90 %
    of the energy changes, most of it by the strain.
    """
    fit = _fit(work)
    if fit is None or len(fit.ratio) < 2 or fit.share[1] < 0.5 or abs(fit.ratio[1] - 1) < max(0.25, 5 * fit.error[1]):
        return None
    cause = (
        "the virial seems to have the wrong sign" if fit.ratio[1] < 0 else "energies and virials do not fit together"
    )
    return (
        f"{cause}: with the strain of the cell the energy changes by {fit.ratio[1]:.3g} times the work of the virial, "
        "expected 1. The virial is −dE/d(strain) in eV, not divided by the volume; the stress of ASE is −virial/volume."
    )


@dataclass(frozen=True)
class _Fit:
    """Energy changes as a sum of the works of forces and (if the cell changes) virial, each times a ratio."""

    ratio: Floats
    error: Floats  # standard errors
    share: Floats  # of the energy changes, as a sum of squares, that each explains


def _fit(work: Work) -> _Fit | None:
    """Least squares; None if it explains less than 90 %."""
    columns = [work.force]
    if work.virial is not None and np.abs(work.virial).max(initial=0.0) > 1e-6:
        columns.append(work.virial)
    matrix = np.stack(columns, axis=1)
    count, unknowns = matrix.shape
    scale = np.abs(matrix).max(axis=0, initial=0.0)
    total = float(np.sum(work.energy**2))
    if count < 6 or total == 0 or not (scale > 0).all():
        return None
    scaled = matrix / scale
    coefficients, _, rank, _ = np.linalg.lstsq(scaled, work.energy, rcond=None)
    rest = float(np.sum((work.energy - scaled @ coefficients) ** 2))
    if rank < unknowns or rest > 0.1 * total:
        return None
    errors = np.sqrt(np.diag(np.linalg.inv(scaled.T @ scaled)) * rest / max(count - unknowns, 1))
    share = np.sum((scaled * coefficients) ** 2, axis=0) / total
    return _Fit(coefficients / scale, errors / scale, share)


def energy_spread_against_force(energy: Floats, force_rms: float, natoms: int) -> str | None:
    """Compare the spread of the energy with the size of the forces, for frames of the same atoms and volume.

    spread(E) / (√N · rms F) is a length: how far an atom moves against its forces. In thermal data it is 0.01 to 0.5 Å.
    Outside 0.0005 to 5 Å it hints at a wrong unit (Hartree energies make it 27 times too small). Weak: relaxations and
    very different structures may lie outside too.
    """
    if len(energy) < 8 or force_rms < 1e-3:
        return None
    spread = 1.4826 * float(np.median(np.abs(energy - np.median(energy))))  # outliers are judged elsewhere
    length = spread / (np.sqrt(natoms) * force_rms)
    if 5e-4 < length < 5:
        return None
    return (
        f"the energy varies by {spread:.2g} eV while the forces are {force_rms:.2g} eV/Å (rms): "
        f"{'little' if length < 1 else 'much'} for {natoms} atoms. Check the units of both (eV, eV/Å)."
    )


def virial_against_positions(frames: Sequence[Frame]) -> str | None:
    """Compare the trace of the virial with Σ F·r in frames with open boundaries, where the two are equal.

    (Exact, if the forces are all there are and add up to zero.)
    """
    given, expected = [], []
    for frame in frames:
        if frame.box is None and {"force", "virial"} <= frame.found:
            given.append(float(frame.labels["virial"][[0, 4, 8]].sum()))
            expected.append(float(np.sum(frame.labels["force"] * frame.coord)))
    a, b = np.array(given), np.array(expected)
    if len(a) < 3 or not a.any() or not b.any():
        return None
    if float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b)) > -0.9:
        return None
    return "the virial has the opposite sign of Σ F⊗r, which it must equal for open boundaries; it is −dE/d(strain)."


def pressure_against_volume(volume: Floats, trace: Floats) -> str | None:
    """Correlate the pressure tr W / 3V with the volume, for frames of the same atoms whose volume varies by over 1 %.

    Compressed matter pushes back, so the correlation is negative; above +0.7 the virial probably has the wrong sign.
    Weak where the temperature or the structure varies along with the volume.
    """
    known = np.isfinite(volume) & np.isfinite(trace)
    volume, trace = volume[known], trace[known]
    if len(volume) < 5 or np.ptp(volume) < 0.01 * volume.mean():
        return None
    pressure = trace / (3 * volume)
    if np.std(pressure) == 0 or np.corrcoef(pressure, volume)[0, 1] < 0.7:
        return None
    return (
        "the pressure (trace of the virial / 3V) grows with the volume, so the virial seems to have the wrong sign; "
        "it is −dE/d(strain), positive for compressed matter."
    )


def bond_too_long(names: tuple[str, str], distance: float) -> str | None:
    """Compare the closest distance of all frames with the sum of the covalent radii.

    Over 1.6 times (Bohr read as Å would be 1.9) nothing is bonded anywhere; rightly so in noble gases.
    """
    if not set(names) <= COVALENT_RADII.keys() or set(names) & NOBLE_GASES:
        return None
    usual = COVALENT_RADII[names[0]] + COVALENT_RADII[names[1]]
    if distance < 1.6 * usual:
        return None
    return (
        f"the closest atoms of all frames, {names[0]} and {names[1]}, are {distance:.2f} Å apart, "
        f"{distance / usual:.1f} times a usual bond. Are the coordinates in Bohr? Lengths are in Å."
    )


def cell_too_large(frames: Sequence[Frame]) -> str | None:
    """Look whether the atoms fill about 0.529 of the cell along all three vectors, as with the cell in Bohr.

    Atoms of a crystal fill up to one interatomic distance less. An isolated cluster may be just like that, rightly.
    """
    judged = 0
    for frame in frames:
        if frame.box is None or frame.natoms < 8:
            continue
        place = np.sort(frame.coord[frame.types >= 0] @ np.linalg.inv(frame.box) % 1.0, axis=0)
        filled = 1 - np.diff(np.concatenate([place, place[:1] + 1]), axis=0).max(axis=0)
        spacing = BOHR / frame.natoms ** (1 / 3)
        if (filled > BOHR + 0.05).any() or (filled < BOHR - spacing - 0.02).any():
            return None
        judged += 1
    if not judged:
        return None
    return "the atoms fill about 0.53 of the cell along all three vectors. Is the cell in Bohr? Lengths are in Å."
