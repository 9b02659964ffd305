"""The terms of the energy loss: each gives its part of the loss, without prefactor, and the error to display.

Predictions and labels have the shapes of ``EnergyLoss.__call__``. s holds the settings of the loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.losses.reductions import huber, known, length, mean, pair_mean
from dp_core.module import Array

if TYPE_CHECKING:
    from dp_core.losses.energy import EnergySettings
    from dp_core.losses.energy_spin import SpinLossSettings
    from dp_core.training.batch import TrainingBatch

    Settings: TypeAlias = EnergySettings | SpinLossSettings

Arrays = dict[str, Array]
Term = tuple[Array, Arrays]


def energy(s: Settings, p: Arrays, b: TrainingBatch) -> Term:
    """The energy of each frame, or the sum of atomic energies times ``atom_ener_coeff``."""
    found, predicted = b.found["energy"], p["energy"]
    if s.enable_atom_ener_coeff:
        weighted = p["atom_energy"] * b.labels["atom_ener_coeff"]
        predicted = arrays.segment_sum(weighted, b.table.frame, b.nframes)
    return _of_frames("e", b.labels["energy"] - predicted, found, s, p, b)


def virial(s: Settings, p: Arrays, b: TrainingBatch) -> Term:
    """The virial of each frame."""
    error = b.labels["virial"] - namespace(p["virial"]).reshape(p["virial"], (b.nframes, 9))
    return _of_frames("v", error, b.found["virial"], s, p, b)


def force(s: Settings, p: Arrays, b: TrainingBatch) -> Term:
    """The force on each atom."""
    return _of_atoms("f", _force_error(s, p, b), b.found["force"], s, p, b)


def atomic_energy(s: Settings, p: Arrays, b: TrainingBatch) -> Term:
    """The energy of each atom."""
    error = b.labels["atom_ener"] - p["atom_energy"]
    return _of_atoms("ae", error, b.found["atom_ener"], s, p, b)


def weighted_force(s: Settings, p: Arrays, b: TrainingBatch) -> Term:
    """The force on each atom, its errors weighted by ``atom_pref``."""
    error, weight = _force_error(s, p, b), b.labels["atom_pref"]
    found = b.found["force"] * b.found["atom_pref"]
    atoms = _weights(found, p, b)
    if s.loss_func == "mae":
        absolute = mean(weight * namespace(error).abs(error), atoms)
        return absolute, {"mae_pf": known(absolute, found)}
    squares = mean(weight * error * error, atoms)
    return squares, {"rmse_pf": known(_root(squares), found)}


def generalized_force(s: Settings, p: Arrays, b: TrainingBatch) -> Term:
    """The forces along generalised coordinates, Σ ∂r/∂q · F; always squared."""
    error = b.labels["force"] - p["force"]
    xp = namespace(error)
    along = xp.reshape(b.labels["drdq"], (-1, 3, s.numb_generalized_coord))
    projected = arrays.segment_sum(xp.sum(along * error[..., None], axis=1), b.table.frame, b.nframes)
    found = b.found["force"] * b.found["drdq"]
    squares = mean(projected * projected, found)
    return squares, {"rmse_gf": known(_root(squares), found)}


def hessian(s: Settings, p: Arrays, b: TrainingBatch) -> Term:
    """The second derivatives of the energy of each frame; the displayed error is always a root mean square."""
    error, found = b.labels["hessian"] - p["hessian"], b.found["hessian"]
    xp = namespace(error)
    mask, natoms = p["mask"], _natoms(p, b)
    place: Array = b.place
    key = xp.where(place >= 0, b.table.frame * b.widest + place, place)
    by_place = xp.reshape(arrays.segment_sum(mask, key, b.nframes * b.widest), (b.nframes, b.widest))
    pairs = mask[:, None] * arrays.take(by_place, b.table.frame)
    squares = pair_mean(error * error, pairs, b.table.frame, natoms, found)
    absolute = s.loss_func == "mae"
    value = pair_mean(xp.abs(error), pairs, b.table.frame, natoms, found) if absolute else squares
    return value, {"rmse_h": known(_root(squares), found)}


#: By name, in the order of the formulas.
TERMS = {
    "e": energy,
    "f": force,
    "v": virial,
    "ae": atomic_energy,
    "pf": weighted_force,
    "gf": generalized_force,
    "h": hessian,
}


def _of_frames(name: str, error: Array, found: Array, s: Settings, p: Arrays, b: TrainingBatch) -> Term:
    """A quantity of frames, (frames, c): errors are divided by the number of atoms, squared ones only once."""
    once, twice = _per_atom(_natoms(p, b))
    xp = namespace(error, once)
    if s.loss_func == "mae":
        absolute = mean(xp.abs(error) * once, found)
        return absolute, {f"mae_{name}": known(absolute, found)}
    squares = mean(error * error * twice, found)
    if s.use_huber:
        value = mean(huber(error * once, _delta(s, name)), found)
    else:
        value = squares if s.intensive_ener_virial else mean(error * error * once, found)
    return value, {f"rmse_{name}": known(_root(squares), found)}


def _per_atom(natoms: Array) -> tuple[Array, Array]:
    """1/N and 1/N² as columns, 1 for no atoms.

    Both are rounded to single precision, because the losses of DeePMD-kit are; a weight may be off by 1e-7 of itself.
    """
    xp = namespace(natoms)
    some = arrays.cast(xp.where(natoms > 0, natoms, xp.ones_like(natoms)), "float32")
    once = (xp.ones_like(some) / some)[:, None]
    return arrays.cast(once, "float64"), arrays.cast(once * once, "float64")


def _of_atoms(name: str, error: Array, found: Array, s: Settings, p: Arrays, b: TrainingBatch) -> Term:
    """A quantity of atoms, (n, c)."""
    weights = _weights(found, p, b)
    squares = mean(error * error, weights)
    if s.f_use_norm and name == "f":
        error = length(error)
    if s.loss_func == "mae":
        absolute = mean(namespace(error).abs(error), weights)
        return absolute, {f"mae_{name}": known(absolute, found)}
    value = mean(huber(error, _delta(s, name)), weights) if s.use_huber else squares
    return value, {f"rmse_{name}": known(_root(squares), found)}


def _force_error(s: Settings, p: Arrays, b: TrainingBatch) -> Array:
    """Label − prediction, (n, 3); with ``relative_f`` in units of the labelled force."""
    error = b.labels["force"] - p["force"]
    return error if s.relative_f is None else error / (length(b.labels["force"]) + s.relative_f)


def _natoms(p: Arrays, b: TrainingBatch) -> Array:
    """Atoms of each frame that count, (frames,)."""
    return arrays.segment_sum(p["mask"], b.table.frame, b.nframes)


def _weights(found: Array, p: Arrays, b: TrainingBatch) -> Array:
    """1 for atoms that count and have the label, (n,)."""
    return p["mask"] * arrays.take(found, b.table.frame)


def _delta(s: Settings, name: str) -> float:
    deltas = s.huber_delta if isinstance(s.huber_delta, list) else [s.huber_delta] * 3
    return deltas[{"e": 0, "ae": 0, "f": 1, "v": 2}[name]]


def _root(x: Array) -> Array:
    return namespace(x).sqrt(x)
