"""From per-atom outputs to what a user asks for: totals, forces, virials.

Everything follows from one derivative, g = ∂E/∂vectors. With d = r_j − r_i of a slot, the force on i gains +g and that
on j gains −g; the virial −dE/dε is −Σ g ⊗ d (row: force component, column: coordinate), attributed to the neighbour.
The Hessian is the same once more: with h = ∂(−F_ia)/∂vectors, its row (i, a) is minus the forces of h.
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
    result: dict[str, Array] = out | {"gradient": g}
    return result


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


def hessian(
    model: Callable[[Neighborhood], dict[str, Array]],
    table: Neighborhood,
    gradient: Gradient,
    place: Array,
    natoms: int,
) -> Array:
    """Second derivatives of the energy of each frame, eV/Å²: (n, natoms, 3, 3), [j, p, a, b] = ∂²E/∂x_pa ∂x_jb.

    place: (n,), position p of each row's atom in its frame, −1 for padding; natoms: positions of the largest frame. All
    frames are differentiated together, once for each position and direction. Every neighbour must have a row.
    """
    xp = namespace(table.vectors)
    n = arrays.shape(table.types)[0]

    def of_component(p: int, a: int) -> Array:
        def total(vectors: Array) -> tuple[Array, None]:
            g = evaluate_atoms(model, replace(table, vectors=vectors), gradient)["gradient"]
            component = forces(g, table.index, n)[:, a]
            chosen = arrays.cast(place == p, "float64")
            return -namespace(component, chosen).sum(component * chosen), None

        _, h = gradient(total, table.vectors)
        return -forces(h, table.index, n)

    rows = [[of_component(p, a) for a in range(3)] for p in range(natoms)]
    return xp.stack([xp.stack(directions, axis=1) for directions in rows], axis=1)


def hessian_matrix(blocks: Array) -> Array:
    """The Hessian of one frame, (N, N, 3, 3) as ``hessian`` gives it, as a matrix (3N, 3N)."""
    xp = namespace(blocks)
    n = arrays.shape(blocks)[0]
    return xp.reshape(xp.permute_dims(blocks, (1, 2, 0, 3)), (3 * n, 3 * n))
