"""What is given to predictors, in the shapes that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dp_core.errors import DataError
from dp_core.inputs import (
    check_charge_spin,
    default_chg_spin,
    default_fparam,
    dim_chg_spin,
    frame_default,
    numb_aparam,
    numb_fparam,
    uses_aparam,
)
from dp_core.neighbors import Floats, Ints
from dp_core.prediction import Parameters, Structure


def as_structures(
    coords: ArrayLike, cells: ArrayLike | None, atom_types: ArrayLike, mixed_type: bool = False
) -> list[Structure]:
    """Frames of equal size from arrays of any shape, see ``DeepPot.eval``. Raises DataError where sizes do not fit."""
    types = integers("atom_types", atom_types)
    if types.ndim != (2 if mixed_type else 1):
        wanted = "(frames, atoms), because mixed_type is set" if mixed_type else "(atoms,), or set mixed_type"
        raise DataError(f"atom_types have the shape {types.shape}; expected {wanted}.")
    na = types.shape[-1]
    x = numbers("coords", coords)
    nf = len(types) if mixed_type else x.size // (3 * na) if na else 0
    if x.size != nf * na * 3 or (x.size and not nf):
        raise DataError(f"coords have the shape {x.shape}, but there are {na} atom types; expected (frames, {na}, 3).")
    x = x.reshape(nf, na, 3)
    boxes: Any = [None] * nf
    if cells is not None:
        boxes = numbers("cells", cells)
        if boxes.size != nf * 9:
            raise DataError(f"cells have the shape {boxes.shape}, but there are {nf} frames; expected ({nf}, 3, 3).")
        boxes = boxes.reshape(nf, 3, 3)
    return [Structure(x[k], boxes[k], types[k] if mixed_type else types) for k in range(nf)]


def checked_structure(structure: Any, name: str) -> Structure:
    """A structure with arrays of the right shapes. Raises DataError for other shapes."""
    types = integers(f"types of {name}", structure.types)
    coord = numbers(f"coord of {name}", structure.coord)
    if types.ndim != 1 or coord.shape != (len(types), 3):
        raise DataError(
            f"coord of {name} has the shape {coord.shape} and its types have {types.shape}; expected (N, 3) and (N,)."
        )
    if structure.box is None:
        return Structure(coord, None, types)
    box = numbers(f"box of {name}", structure.box)
    if box.shape != (3, 3):
        raise DataError(f"box of {name} has the shape {box.shape}; expected (3, 3), the lattice vectors as rows.")
    return Structure(coord, box, types)


def integers(name: str, given: ArrayLike) -> Ints:
    """Types as an array. Raises DataError for what are no integers."""
    types = np.asarray(given)
    if types.size and not np.issubdtype(types.dtype, np.integer):
        raise DataError(f"{name} are {types.dtype}; give integers, the positions of the elements in the type map.")
    return types.astype(np.int64, copy=False)


def numbers(name: str, given: ArrayLike) -> Floats:
    """Numbers as an array. Raises DataError for anything else."""
    try:
        if np.iscomplexobj(given):
            raise TypeError("complex numbers, expected real ones")
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be read as an array of numbers: {error}.") from error


def repeated(name: str, given: ArrayLike, width: int, sizes: Mapping[str, tuple[int, int]]) -> Floats:
    """Parameters as (rows, width), repeated as often as the size tells. sizes: (rows given, repeats) by meaning."""
    values = numbers(name, given)
    if not width:
        raise DataError(f"{name} was given, but the model has none. Leave it out.")
    for rows, repeats in sizes.values():
        if values.size == rows * width:
            return np.tile(values.reshape(rows, width), (repeats, 1))
    expected = "; ".join(f"{rows}×{width} ({meaning})" for meaning, (rows, _) in sizes.items())
    raise DataError(f"{name} has the shape {values.shape}, {values.size} numbers; expected {expected}.")


def full_parameters(
    model: Any,
    nframes: int,
    total: int,
    natoms: int | None,
    fparam: ArrayLike | None,
    aparam: ArrayLike | None,
    charge_spin: ArrayLike | None,
) -> Parameters:
    """Parameters in full size. total: atoms of all frames; natoms: those of each frame, where all have the same.

    Raises DataError for what the model needs and is not given, does not have, or has in other numbers.
    """
    nfparam, naparam = numb_fparam(model), numb_aparam(model)
    frames = atoms = None
    if fparam is not None:
        sizes = {"one set for each frame": (nframes, 1), "one set for all": (1, nframes)}
        frames = repeated("fparam", fparam, nfparam, sizes)
    elif nfparam and default_fparam(model) is None:
        raise DataError(
            f"The model needs {nfparam} frame parameters and has no default. Give fparam as "
            f"({nframes}, {nfparam}) numbers."
        )
    if aparam is not None:
        sizes = {"one set for each atom of each frame": (total, 1)}
        if natoms is not None:
            sizes["one set for each atom of a frame"] = (natoms, nframes)
        sizes["one set for all"] = (1, total)
        atoms = repeated("aparam", aparam, naparam, sizes)
    elif uses_aparam(model):
        raise DataError(
            f"The model needs {naparam} atomic parameters for each atom. Give aparam as ({total}, {naparam}) numbers."
        )
    return Parameters(_with_charge_spin(model, frames, charge_spin, nframes), atoms)


def _with_charge_spin(model: Any, fparam: Floats | None, charge_spin: ArrayLike | None, nframes: int) -> Floats | None:
    """The frame parameters, followed by charge and multiplicity for models that depend on them."""
    width = dim_chg_spin(model)
    if charge_spin is None:
        if not width or (fparam is None and frame_default(model) is not None):
            return fparam
        charge_spin = default_chg_spin(model)
        if charge_spin is None:
            raise DataError(
                "The model depends on the total charge and multiplicity, and has no default. Give charge_spin as "
                f"({nframes}, 2) numbers."
            )
    sizes = {"one set for each frame": (nframes, 1), "one set for all": (1, nframes)}
    given = repeated("charge_spin", charge_spin, width, sizes)
    check_charge_spin(given, "charge_spin")
    if numb_fparam(model) and fparam is None:
        fparam = np.tile(np.asarray(default_fparam(model), np.float64), (nframes, 1))
    return given if fparam is None else np.concatenate([fparam, given], axis=1)


def spins_of(given: Any, types: Sequence[Ints]) -> list[Floats]:
    """Spins of frames, (N, 3) each, from all numbers in any shape. Raises DataError for too few or too many."""
    values = numbers("spin", given)
    total = sum(len(t) for t in types)
    if values.size != 3 * total:
        raise DataError(
            f"spin has the shape {values.shape}, {values.size} numbers; expected ({total}, 3), a vector in μB for each "
            "atom of each frame, zero for those without spin."
        )
    frames = np.split(values.reshape(-1, 3), np.cumsum([len(t) for t in types])[:-1]) if types else []
    for k, frame in enumerate(frames):
        if not np.isfinite(frame).all():
            atom = int(np.flatnonzero(~np.isfinite(frame).all(axis=1))[0])
            raise DataError(
                f"The spin of atom {atom} of frame {k} is {frame[atom].tolist()}; give finite numbers in μB, zeros for "
                "atoms without spin."
            )
    return frames
