"""From per-atom outputs to what a user asks for: totals, forces, virials.

Everything follows from one derivative, g = ∂E/∂vectors. With d = r_j − r_i of a slot, the force on i gains +g and that
on j gains −g; the virial −dE/dε is −Σ g ⊗ d (row: force component, column: coordinate), attributed to the neighbour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.module import Array, replace
from dp_core.neighbors import Neighborhood

#: (function of an array returning (scalar, extra), array) -> (extra, gradient of the scalar)
Gradient = Callable[[Callable[[Array], tuple[Array, Any]], Array], tuple[Any, Array]]


@dataclass(frozen=True)
class OutputDef:
    """One output of a model: its name, shape per atom, and what may be derived from it."""

    name: str
    shape: tuple[int, ...]
    reducible: bool
    differentiable: bool
    unit: str


def evaluate_atoms(
    model: Callable[[Neighborhood], dict[str, Array]], table: Neighborhood, gradient: Gradient
) -> dict[str, Array]:
    """Per-atom outputs of a model and ``gradient`` = ∂(Σ energy)/∂vectors, (n, K, 3) in eV/Å."""

    def total(vectors: Array) -> tuple[Array, dict[str, Array]]:
        out = model(replace(table, vectors=vectors))
        return namespace(out["energy"]).sum(out["energy"]), out

    out, g = gradient(total, table.vectors)
    return out | {"gradient": g}


def forces(g: Array, index: Array, nrows: Any) -> Array:
    """Forces on all rows, eV/Å. g: (n, K, 3); index: (n, K), −1 in empty slots; returns (nrows, 3)."""
    xp = namespace(g, index)
    n, k = arrays.shape(index)
    on_neighbors = arrays.segment_sum(xp.reshape(g, (n * k, 3)), xp.reshape(index, (n * k,)), nrows)
    return xp.sum(g, axis=1) - on_neighbors


def virials(g: Array, vectors: Array, frame: Array, nframes: Any) -> Array:
    """Virial of each frame, eV: (nframes, 3, 3)."""
    xp = namespace(g, vectors)
    per_row = xp.matrix_transpose(g) @ vectors
    return -arrays.segment_sum(per_row, frame, nframes)


def atomic_virials(g: Array, vectors: Array, index: Array, nrows: Any) -> Array:
    """Virial attributed to each atom as a neighbour, eV: (nrows, 3, 3)."""
    xp = namespace(g, vectors)
    n, k = arrays.shape(index)
    pairs = xp.reshape(g[..., :, None] * vectors[..., None, :], (n * k, 3, 3))
    return -arrays.segment_sum(pairs, xp.reshape(index, (n * k,)), nrows)


def reduce_energy(
    out: dict[str, Array], table: Neighborhood, nframes: Any, *, atomic_virial: bool = False
) -> dict[str, Array]:
    """Energy (nframes, 1), force (n, 3), virial (nframes, 3, 3) from the outputs of ``evaluate_atoms``."""
    g = out["gradient"]
    nrows = arrays.shape(table.types)[0]
    result = {
        "atom_energy": out["energy"],
        "energy": arrays.segment_sum(out["energy"], table.frame, nframes),
        "force": forces(g, table.index, nrows),
        "virial": virials(g, table.vectors, table.frame, nframes),
        "mask": out["mask"],
    }
    if atomic_virial:
        result["atom_virial"] = atomic_virials(g, table.vectors, table.index, nrows)
    return result
