"""How much several models disagree on the same structures: the measure by which active learning chooses new data.

With ⟨⟩ the mean over the models, the deviation of the force on an atom is sqrt(⟨|f − ⟨f⟩|²⟩), that of a component of
the virial or of the energy the standard deviation per atom. The *real error* takes labels in place of the means.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dp_core.call_inputs import as_structures
from dp_core.errors import ConfigError, DataError
from dp_core.neighbors import Floats
from dp_core.predictors import DeepPot

COLUMNS = ("max_devi_v", "min_devi_v", "avg_devi_v", "max_devi_f", "min_devi_f", "avg_devi_f", "devi_e")


def calc_model_devi(
    coord: ArrayLike,
    box: ArrayLike | None,
    atype: ArrayLike,
    models: Sequence[DeepPot | str | Path],
    fname: str | os.PathLike[str] | None = None,
    frequency: int = 1,
    mixed_type: bool = False,
    fparam: ArrayLike | None = None,
    aparam: ArrayLike | None = None,
    real_data: Mapping[str, ArrayLike] | None = None,
    atomic: bool = False,
    relative: float | None = None,
    relative_v: float | None = None,
    charge_spin: ArrayLike | None = None,
    spin: ArrayLike | None = None,
) -> Floats:
    """Model deviation of frames: (frames, 8), with ``atomic`` (frames, 8 + atoms).

    The columns are the step (frame · frequency), then largest, smallest and mean deviation of the virial per atom (eV)
    and of the force (eV/Å), then that of the energy per atom (eV), then the force deviation of every atom. Virtual
    atoms do not count.

    coord, box, atype, mixed_type, fparam, aparam, charge_spin, spin: as in ``DeepPot.eval``; box None for open
    boundaries. Magnetic forces are not compared.
    models: two or more (one is enough with ``real_data``), of the same type map.
    fname: also write the table to this file, see ``write_model_devi``.
    real_data: the labels ``energy`` and ``virial`` (eV, of whole frames) and ``force`` (eV/Å); the result is then the
    error of the models.
    relative, relative_v: divide the deviation of the force of each atom by |f| + relative, that of the virial by
    the norm of its nine components per atom + relative_v, of the mean or of the label.

    Raises ConfigError if the models do not fit together, DataError if the arrays do not.
    """
    opened = [m if isinstance(m, DeepPot) else DeepPot(m) for m in models]
    _check_models(opened, needed=1 if real_data else 2)
    structures = as_structures(coord, box, atype, mixed_type)
    shape = len(structures), np.shape(atype)[-1]
    # of predict, because eval computes the second derivatives too where a model is marked for them
    found = [m.predict(structures, fparam=fparam, aparam=aparam, charge_spin=charge_spin, spin=spin) for m in opened]
    energy = np.stack([result.energy for result in found])
    force = np.stack([result.force.reshape(*shape, 3) for result in found])
    virial = np.stack([result.virial.reshape(shape[0], 9) for result in found])
    labels = None if real_data is None else _labels(real_data, force.shape[1:])
    devi = model_devi(
        energy,
        force,
        virial,
        np.reshape([s.types >= 0 for s in structures], shape),
        labels=labels,
        atomic=atomic,
        relative=relative,
        relative_v=relative_v,
    )
    steps = np.arange(len(devi))[:, None] * frequency
    devi = np.concatenate([steps, devi], axis=1)
    if fname is not None:
        write_model_devi(fname, devi)
    return devi


def model_devi(
    energy: Floats,
    force: Floats,
    virial: Floats,
    real: NDArray[np.bool_],
    *,
    labels: tuple[Floats, Floats, Floats] | None = None,
    atomic: bool = False,
    relative: float | None = None,
    relative_v: float | None = None,
) -> Floats:
    """The columns of ``calc_model_devi`` after the step, from the results of the models.

    energy: (models, frames) eV; force: (models, frames, atoms, 3) eV/Å; virial: (models, frames, 9) eV; real:
    (frames, atoms), False for virtual atoms; labels: the same three without the models.
    """
    natoms = real.sum(axis=1)
    if not natoms.all():
        raise DataError(f"Frame {int(np.argmin(natoms))} has no real atoms, so that it has no deviation.")
    per_atom_virial = virial / natoms[:, None]
    energies = energy / natoms
    if labels is None:
        centers = energies.mean(axis=0), force.mean(axis=0), per_atom_virial.mean(axis=0)
    else:
        centers = labels[0] / natoms, labels[1], labels[2] / natoms[:, None]

    devi_e = np.sqrt(np.mean((energies - centers[0]) ** 2, axis=0))
    devi_f = np.sqrt(np.mean(np.sum((force - centers[1]) ** 2, axis=-1), axis=0))
    devi_v = np.sqrt(np.mean((per_atom_virial - centers[2]) ** 2, axis=0))
    if relative is not None:
        devi_f = devi_f / (np.linalg.norm(centers[1], axis=-1) + relative)
    if relative_v is not None:
        devi_v = devi_v / (np.linalg.norm(centers[2], axis=-1, keepdims=True) + relative_v)
    columns = [
        devi_v.max(axis=1),
        devi_v.min(axis=1),
        np.sqrt(np.mean(devi_v**2, axis=1)),
        np.where(real, devi_f, -np.inf).max(axis=1),
        np.where(real, devi_f, np.inf).min(axis=1),
        np.where(real, devi_f, 0.0).sum(axis=1) / natoms,
        devi_e,
    ]
    table = np.stack(columns, axis=1)
    return np.concatenate([table, np.where(real, devi_f, 0.0)], axis=1) if atomic else table


def write_model_devi(path: str | os.PathLike[str], devi: Floats, *, system: str = "", append: bool = False) -> None:
    """Write the result of ``calc_model_devi`` as text: two lines that start with ``#``, one row a frame.

    ``system`` is named in the first line. With ``append`` the rows follow what the file has, for several systems of
    one run; otherwise the file is written anew.
    """
    names = list(COLUMNS) if devi.shape[1] == 8 else [*COLUMNS, "atm_devi_f(N)"]
    lines = [f"# {system}", f"{'# step':<12}" + "".join(f"{name:<19}" for name in names)]
    lines += [f"{int(row[0]):>12d}" + "".join(f"{x:>19.6e}" for x in row[1:]) for row in devi]
    with open(path, "a" if append else "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _check_models(models: Sequence[DeepPot], needed: int) -> None:
    if len(models) < needed:
        raise ConfigError(f"{len(models)} models were given; a model deviation needs at least {needed}.")
    first = models[0].get_type_map()
    for k, other in enumerate(models[1:], start=1):
        if other.get_type_map() != first:
            raise ConfigError(
                f"Model {k} has the type map {other.get_type_map()}, but model 0 has {first}. "
                "Give models that were trained with the same type map."
            )


def _labels(real_data: Mapping[str, ArrayLike], shape: tuple[int, ...]) -> tuple[Floats, Floats, Floats]:
    """Energy (frames,), force (frames, atoms, 3) and virial (frames, 9) labels."""
    shapes = {"energy": shape[:1], "force": shape, "virial": (shape[0], 9)}
    found = []
    for name, wanted in shapes.items():
        if name not in real_data:
            raise DataError(f"real_data has no {name}; the real error needs energy, force and virial.")
        values = np.asarray(real_data[name], dtype=np.float64)
        if values.size != np.prod(wanted):
            raise DataError(f"The label {name} has the shape {values.shape}; expected {wanted}.")
        found.append(values.reshape(wanted))
    return found[0], found[1], found[2]
