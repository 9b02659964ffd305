"""Energies, forces and virials of any number of atoms, in tables of bounded size.

Small frames share a table; a big one is cut into parts, unless the model passes messages between rows. So the memory
needed beside the results is that of one table and of the pairs of one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from dp_core import outputs
from dp_core.backend import Backend, Evaluator
from dp_core.errors import NonFiniteError
from dp_core.neighbors import (
    Batch,
    Floats,
    FrameNeighbors,
    Ints,
    NeighborSpec,
    PairList,
    build_batch,
    frame_neighbors,
    frame_pairs,
    part_of,
    refuse_close,
    row_neighbors,
)


class Structure(NamedTuple):
    """One frame."""

    coord: Floats  # (N, 3) Å, anywhere
    box: Floats | None  # (3, 3) Å, rows are the lattice vectors; None for open boundaries
    types: Ints  # (N,), −1 for virtual atoms


@dataclass(frozen=True)
class Parameters:
    """What a model may need beside the structures."""

    fparam: Floats | None = None  # (frames, d)
    aparam: Floats | None = None  # (all atoms, d)

    def of_frame(self, k: int, natoms: int) -> Parameters:
        """Those of one of several frames with so many atoms each."""
        return Parameters(
            None if self.fparam is None else self.fparam[k : k + 1],
            None if self.aparam is None else self.aparam[k * natoms : (k + 1) * natoms],
        )


@dataclass(frozen=True)
class Prediction:
    """Results of some frames; the atoms of all frames are concatenated in the order given. Virtual atoms have zeros."""

    energy: Floats  # (frames,) eV
    atom_energy: Floats  # (atoms,) eV
    force: Floats  # (atoms, 3) eV/Å
    virial: Floats  # (frames, 3, 3) eV, −dE/dε
    atom_virial: Floats | None  # (atoms, 3, 3) eV, if asked for
    natoms: Ints  # (frames,)


@dataclass(frozen=True)
class Part:
    """One table, and which of the frames and atoms it belongs to. A frame may have several parts."""

    batch: Batch
    frames: slice
    atoms: slice
    wanted: Ints  # (blocks + 1,) most neighbours found, see FrameNeighbors


def tables(
    structures: Sequence[Structure],
    spec: NeighborSpec,
    backend: Backend,
    *,
    rows: int,
    whole: bool = False,
    parameters: Parameters,
    pairs: Sequence[PairList] | None = None,
) -> Iterator[Part]:
    """Tables of about ``rows`` rows in the order of the frames; with ``whole``, no frame is cut.

    ``pairs`` are the pairs of the frames where they are known already. Raises DataError for impossible structures.
    """

    def cuts() -> Iterator[_Cut]:
        for k, s in enumerate(structures):
            known = frame_pairs(s.coord, s.box, s.types, spec) if pairs is None else pairs[k]
            yield len(known.atoms), partial(row_neighbors, known, s.coord, s.box, spec)

    natoms = [len(s.types) for s in structures]
    yield from _tables(cuts(), natoms, spec, backend, rows, whole, parameters)


def known_tables(
    found: FrameNeighbors, spec: NeighborSpec, backend: Backend, *, rows: int, whole: bool, parameters: Parameters
) -> Iterator[Part]:
    """The tables of one frame whose neighbours are known."""
    cuts = [(len(found.atoms), partial(part_of, found))]
    yield from _tables(cuts, [found.natoms], spec, backend, rows, whole, parameters)


#: A frame: how many rows it has, and what finds the neighbours of the rows from … to ….
_Cut = tuple[int, Callable[[int, int], FrameNeighbors]]


def _tables(
    cuts: Iterable[_Cut],
    natoms: Sequence[int],
    spec: NeighborSpec,
    backend: Backend,
    rows: int,
    whole: bool,
    parameters: Parameters,
) -> Iterator[Part]:
    offsets = np.cumsum([0, *natoms])

    def part(first: int, found: list[FrameNeighbors]) -> Part:
        frames = slice(first, first + len(found))
        atoms = slice(int(offsets[frames.start]), int(offsets[frames.stop]))
        batch = build_batch(
            found,
            spec,
            fparam=None if parameters.fparam is None else parameters.fparam[frames],
            aparam=None if parameters.aparam is None else parameters.aparam[atoms],
            round_rows=backend.round_rows,
            round_slots=backend.round_slots,
        )
        return Part(batch, frames, atoms, np.max([f.wanted for f in found], axis=0))

    waiting: list[FrameNeighbors] = []
    count = 0
    for k, (n, neighbors_of) in enumerate(cuts):
        if waiting and (count + n > rows):
            yield part(k - len(waiting), waiting)
            waiting, count = [], 0
        for start, stop in [(0, n)] if whole or n <= rows else _equal_parts(n, rows):
            found = neighbors_of(start, stop)
            refuse_close(found, spec, f"frame {k}")
            if stop - start == n:
                waiting, count = [*waiting, found], count + n
            else:
                yield part(k, [found])
    if waiting:
        yield part(len(natoms) - len(waiting), waiting)


def _equal_parts(n: int, rows: int) -> list[tuple[int, int]]:
    """Cut n rows into the fewest parts of at most ``rows``, of about equal size."""
    cuts = np.linspace(0, n, -(-n // rows) + 1).astype(int)
    return [(int(a), int(b)) for a, b in pairwise(cuts)]


def predict(
    evaluate: Evaluator, parts: Iterator[Part], natoms: Sequence[int], *, atomic_virial: bool = False
) -> tuple[Prediction, Ints]:
    """Evaluate all parts of frames with ``natoms`` atoms each. Also returns the most neighbours found by slot block.

    Raises NonFiniteError if an energy is no number.
    """
    nframes, total = len(natoms), int(sum(natoms))
    atom_energy = np.zeros(total)
    force = np.zeros((total, 3))
    virial = np.zeros((nframes, 3, 3))
    atom_virial = np.zeros((total, 3, 3)) if atomic_virial else None
    wanted = np.zeros(1, np.int64)
    for p in parts:
        table, owner = p.batch.table, p.batch.owner
        out = evaluate(table)
        g = out["gradient"]
        n, real = len(table.types), owner >= 0
        atom_energy[p.atoms][owner[:n][real[:n]]] = out["energy"][real[:n], 0]
        virial[p.frames] += outputs.virials(g, table.vectors, table.frame, len(virial[p.frames]))
        on_rows = -_on_neighbors(g, table.index, len(owner))
        on_rows[:n] += g.sum(axis=1)
        # every atom has one row or ghost row at most, so that no sum is lost
        force[p.atoms][owner[real]] += on_rows[real]
        if atom_virial is not None:
            products = g[..., :, None] * table.vectors[..., None, :]
            atom_virial[p.atoms][owner[real]] -= _on_neighbors(products, table.index, len(owner))[real]
        wanted = np.maximum(wanted, p.wanted)
    frame = np.repeat(np.arange(nframes), natoms)
    if not (np.isfinite(atom_energy).all() and np.isfinite(force).all()):
        atom = int(np.flatnonzero(~(np.isfinite(atom_energy) & np.isfinite(force).all(axis=1)))[0])
        raise NonFiniteError(
            f"The model gives no finite energy or force for atom {atom - sum(natoms[: frame[atom]])} of frame "
            f"{frame[atom]}. Look at the distances of this frame, and at the parameters of the model with: dp show"
        )
    energy = _sums(frame, atom_energy, nframes)
    return Prediction(energy, atom_energy, force, virial, atom_virial, np.asarray(natoms, np.int64)), wanted


def hessian(model: Any, structure: Structure, parameters: Parameters) -> Floats:
    """Second derivatives of the energy of one frame: (3N, 3N) in eV/Å², by NumPy whatever the backend is.

    model: with NumPy leaves. parameters: of this frame alone. Takes 3N times as long as the forces.
    """
    from dp_core.numpy_backend import gradient

    spec = model.neighbor_spec
    found = frame_neighbors(structure.coord, structure.box, structure.types, spec)
    batch = build_batch([found], spec, fparam=parameters.fparam, aparam=parameters.aparam)
    blocks = outputs.hessian(model, batch.table, gradient, batch.rows, len(structure.types))
    return np.asarray(outputs.hessian_matrix(batch.to_atoms(blocks)))


def _on_neighbors(values: Floats, index: Ints, count: int) -> Floats:
    """Sum values of slots on their neighbours, ghosts included: (n, K, …), (n, K) -> (count, …)."""
    occupied = index >= 0
    where = index[occupied]
    columns = values[occupied].reshape(len(where), int(np.prod(values.shape[2:]))).T
    sums = [_sums(where, column, count) for column in columns]
    return np.stack(sums, axis=1).reshape(count, *values.shape[2:])


def _sums(index: Ints, values: Floats, count: int) -> Floats:
    """Sum the values that share an index: (m,), (m,) -> (count,)."""
    # without any values, bincount forgets that they are floats
    return np.bincount(index, weights=values, minlength=count).astype(np.float64, copy=False)
