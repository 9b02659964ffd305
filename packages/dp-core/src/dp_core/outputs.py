"""From per-atom outputs to what a user asks for: totals, forces, virials.

Everything follows from one derivative, g = ∂E/∂vectors; of a vector such as the dipole, that of each component. With
d = r_j − r_i of a slot, the force on i gains +g and that on j gains −g; the virial −dE/dε is −Σ g ⊗ d (row: force
component, column: coordinate), attributed to the neighbour. The Hessian is the same once more: with
h = ∂(−F_ia)/∂vectors, its row (i, a) is minus the forces of h.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.module import Array, module, replace
from dp_core.neighbors import Neighborhood

#: (function of an array returning (scalar, extra), array) -> (extra, gradient of the scalar)
Gradient = Callable[[Callable[[Array], tuple[Array, Any]], Array], tuple[Any, Array]]


@dataclass(frozen=True)
class OutputDef:
    """One output of a model: its name, shape per atom, and what may be derived from it.

    The values are computed as (n, size) numbers, whatever the shape.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    """What it is: energy, dipole, polar, dos, property, …; decides which losses and predictors fit."""
    reducible: bool
    """Whether a frame has a value of its own, the sum over its atoms."""
    differentiable: bool
    """Whether its derivative by the coordinates is computed with it."""
    unit: str
    intensive: bool = False
    """Whether the value of a frame is the mean instead of the sum."""
    bias_by_type: bool = True
    """Whether each type has a bias of its own."""

    @property
    def size(self) -> int:
        """Numbers per atom."""
        return math.prod(self.shape)


ENERGY = OutputDef("energy", (), kind="energy", reducible=True, differentiable=True, unit="eV")


def evaluate_atoms(model: Any, table: Neighborhood, gradient: Gradient) -> dict[str, Array]:
    """Per-atom outputs of a model and, if its output is differentiable, ``gradient`` = ∂(Σ output)/∂vectors.

    It is (n, K, 3), in eV/Å for energies, and (n, K, size, 3) for an output of several components. Where the table has
    weights, the sum that is differentiated is that of weight · output: with 1 and 0, that of some of the rows.
    """
    output: OutputDef = model.output
    return evaluate_components(model, table, gradient) if output.differentiable else model(table)


def evaluate_components(model: Any, table: Neighborhood, gradient: Gradient) -> dict[str, Array]:
    """As ``evaluate_atoms``, with the gradient in any case; the model is evaluated once for each component."""
    output: OutputDef = model.output

    def of_component(c: int) -> tuple[dict[str, Array], Array]:
        def total(vectors: Array) -> tuple[Array, dict[str, Array]]:
            out = model(replace(table, vectors=vectors))
            values = out[output.name] if output.size == 1 else out[output.name][:, c : c + 1]
            if table.weight is not None:
                values = values * table.weight[:, None]
            return namespace(values).sum(values), out

        out, g = gradient(total, table.vectors)
        return out, g

    found = [of_component(c) for c in range(output.size)]
    g = namespace(found[0][1]).stack([g for _, g in found], axis=2) if output.shape else found[0][1]
    result: dict[str, Array] = found[0][0] | {"gradient": g}
    return result


def forces(g: Array, index: Array, nrows: Any) -> Array:
    """Forces on all rows, eV/Å. g: (n, K, 3); index: (n, K), −1 in empty slots; returns (nrows, 3)."""
    return namespace(g, index).sum(g, axis=1) - sum_on_neighbors(g, index, nrows)


def sum_on_neighbors(g: Array, rows: Array, nrows: Any) -> Array:
    """The gradients of slots summed over the rows that their neighbours belong to: (n, K, 3), (n, K) -> (nrows, 3)."""
    xp = namespace(g, rows)
    n, k = arrays.shape(rows)
    return arrays.segment_sum(xp.reshape(g, (n * k, 3)), xp.reshape(rows, (n * k,)), nrows)


def virials(g: Array, vectors: Array, frame: Array, nframes: Any) -> Array:
    """Virial of each frame, eV: (nframes, 3, 3).

    Gradients of c components side by side, (n, K, 3c), give (nframes, 3c, 3).
    """
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


def reduce_output(out: dict[str, Array], output: OutputDef, table: Neighborhood, nframes: Any) -> dict[str, Array]:
    """The output of any model by plain names: ``atomic`` (n, size), ``total`` (nframes, size), and ``mask`` (n,)."""
    total = arrays.segment_sum(out[output.name], table.frame, nframes)
    if output.intensive:
        count = arrays.segment_sum(out["mask"], table.frame, nframes)
        total = total / namespace(count).maximum(count, namespace(count).ones_like(count))[:, None]
    return {"atomic": out[output.name], "total": total, "mask": out["mask"]}


@module
class Displaced:
    """A table and how its vectors change when the atoms are displaced."""

    table: Neighborhood
    change: Array  # (n, K, 3) without unit


def evaluate_along(model: Any, displaced: Displaced, gradient: Gradient) -> dict[str, Array]:
    """``gradient``: the derivative of ∂E/∂vectors along the displacement, (n, K, 3) in eV/Å².

    Its forces, as ``forces`` takes them from a gradient, are minus the product of the Hessian with the displacement.
    """

    def slope(vectors: Array) -> tuple[Array, None]:
        g = evaluate_atoms(model, replace(displaced.table, vectors=vectors), gradient)["gradient"]
        return namespace(g, displaced.change).sum(g * displaced.change), None

    return {"gradient": gradient(slope, displaced.table.vectors)[1]}


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
