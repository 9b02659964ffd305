"""What is given to predictors, in the shapes that they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dp_core.errors import DataError
from dp_core.neighbors import Floats, Ints
from dp_core.prediction import Structure


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
