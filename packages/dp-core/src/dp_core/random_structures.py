"""Random structures with realistic distances, for tests of models."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dp_core.data.elements import COVALENT_RADII
from dp_core.inputs import dim_chg_spin, takes_fragments
from dp_core.models.protocol import members
from dp_core.neighbors import Floats, Ints, frame_neighbors
from dp_core.prediction import Structure
from dp_core.virtual_atoms import virtual_atoms


class Sample(NamedTuple):
    """A structure with the parameters that the model needs."""

    coord: Floats  # (N, 3) Å
    box: Floats | None  # (3, 3) Å
    types: Ints  # (N,)
    fparam: Floats | None  # (d,)
    aparam: Floats | None  # (N, d)
    charge_spin: Floats | None = None  # (2,)
    spin: Floats | None = None  # (N, 3) μB

    @property
    def structure(self) -> Structure:
        """The structure alone."""
        return Structure(self.coord, self.box, self.types)


#: Most atoms per Å³; about that of water.
_DENSITY = 0.1


def random_sample(
    model: Any, random: np.random.Generator, natoms: int, *, periodic: bool, shortest: float = 0.0
) -> Sample:
    """A structure of ``natoms`` atoms of the types of a model, in which no atom has more neighbours than ``sel``.

    Atoms keep 0.75 of the sum of their covalent radii apart, and ``shortest`` Å. The periodic cell is triclinic.
    """
    spec = model.neighbor_spec
    virtual = virtual_atoms(model)
    types = _random_types(spec, random, natoms, len(model.type_map))
    spin = None if virtual is None else random.normal(size=(natoms, 3))
    radii = np.array([COVALENT_RADII.get(name, 0.7) for name in model.type_map])[types]
    reach = np.maximum(0.75 * (radii[:, None] + radii), shortest)
    room = 4.0 / 3.0 * np.pi * spec.rcut**3
    density = min(_DENSITY, (0.7 if spin is None else 0.35) * sum(spec.sel) / room)
    while True:
        box = np.eye(3) + random.uniform(-0.15, 0.15, (3, 3))
        box *= np.cbrt(natoms / density / np.linalg.det(box))
        coord = _place(random, box, reach, periodic)
        if coord is not None:
            coord = coord + random.normal(size=3)  # not only inside the cell
            seen = Structure(coord, box if periodic else None, types)
            if virtual is not None and spin is not None:
                seen = virtual.structure(seen, spin)
            wanted = frame_neighbors(*seen, spec).wanted
            if not spec.crowded(wanted):
                break
        density *= 0.9
    fparam, aparam = _random_parameters(model, random, natoms)
    charge_spin = np.array([random.integers(-1, 2), random.integers(1, 4)], float) if dim_chg_spin(model) else None
    return Sample(coord, box if periodic else None, types, fparam, aparam, charge_spin, spin)


def cell_larger_than(length: float) -> Floats:
    """A triclinic cell (3, 3) whose planes are more than ``length`` Å apart."""
    return 1.3 * length * np.array([[1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [-0.1, 0.3, 1.0]])


def _random_types(spec: Any, random: np.random.Generator, natoms: int, ntypes: int) -> Ints:
    """Types in proportion to ``sel``, every type at least once if there are not too many."""
    possible = [t for t in range(ntypes) if not spec.by_type or spec.sel[t] > 0][:natoms]
    weights = np.array([spec.sel[t] if spec.by_type else 1.0 for t in possible], float)
    rest = random.choice(possible, natoms - len(possible), p=weights / weights.sum())
    return random.permutation(np.concatenate([possible, rest]).astype(np.int64))


def _place(random: np.random.Generator, box: Floats, reach: Floats, periodic: bool) -> Floats | None:
    """Random positions that keep their distances; None if no place is found."""
    images = (
        np.array([[a, b, c] for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)])
        if periodic
        else np.zeros((1, 3))
    )
    shifts = images @ box
    placed = np.zeros((0, 3))
    for k in range(len(reach)):
        for _ in range(200):
            point = random.uniform(size=3) @ box
            apart = np.linalg.norm(placed[:, None, :] + shifts - point, axis=-1).min(axis=1, initial=np.inf)
            if (apart > reach[k, :k]).all():
                placed = np.concatenate([placed, point[None]])
                break
        else:
            return None
    return placed


def _random_parameters(model: Any, random: np.random.Generator, natoms: int) -> tuple[Floats | None, Floats | None]:
    """Frame and atomic parameters as the model has seen them in training."""
    fparam = aparam = None
    for fitting in (member.model.fitting for member in members(model)):
        if fitting.numb_fparam:
            fparam = fitting.fparam_avg + random.normal(size=fitting.numb_fparam) / fitting.fparam_inv_std
        if fitting.numb_aparam and not fitting.use_aparam_as_mask:
            aparam = fitting.aparam_avg + random.normal(size=(natoms, fitting.numb_aparam)) / fitting.aparam_inv_std
    if takes_fragments(model):
        aparam = random.integers(0, 3, (natoms, 1)).astype(np.float64)
    return fparam, aparam
