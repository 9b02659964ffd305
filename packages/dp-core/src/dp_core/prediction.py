"""Energies, forces and virials of any number of atoms, or other outputs, in tables of bounded size.

Small frames share a table; a big one is cut into parts, unless the model passes messages between rows. So the memory
needed beside the results is that of one table and of the pairs of one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dp_core import outputs
from dp_core.backend import Backend, DerivedEvaluator, Evaluator
from dp_core.batching import Batch, build_batch
from dp_core.errors import ConfigError, NonFiniteError
from dp_core.neighbors import (
    Floats,
    FrameNeighbors,
    Ints,
    NeighborSpec,
    PairList,
    frame_pairs,
    part_of,
    refuse_close,
    row_neighbors,
)
from dp_core.outputs import ENERGY, OutputDef


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

    def repeated(self, times: int) -> Parameters:
        """Those of so many copies of the frames."""
        return Parameters(*(None if x is None else np.tile(x, (times, 1)) for x in (self.fparam, self.aparam)))


@dataclass(frozen=True)
class Prediction:
    """Results of some frames; the atoms of all frames are concatenated in the order given. Virtual atoms have zeros.

    S stands for the shape of the output: nothing for an energy, 3 for a dipole, 3, 3 for a polarizability. Where the
    output is no energy, forces and virials are minus its derivatives; they are None if the output has none.
    """

    total: Floats  # (frames, S); energies in eV
    atomic: Floats  # (atoms, S)
    natoms: Ints  # (frames,)
    derivatives: Derivatives | None
    magnetic: Floats | None = None  # (atoms, 3) eV/μB, −∂E/∂spin; None without spins

    @property
    def energy(self) -> Floats:
        """The output of each frame, (frames,) in eV for an energy."""
        return self.total

    @property
    def atom_energy(self) -> Floats:
        """The output of each atom, (atoms,) in eV for an energy."""
        return self.atomic

    @property
    def force(self) -> Floats:
        """−dE/dx, (atoms, S, 3) in eV/Å for an energy."""
        return self._derivatives.force

    @property
    def virial(self) -> Floats:
        """−dE/dε, (frames, S, 3, 3) in eV for an energy."""
        return self._derivatives.virial

    @property
    def atom_virial(self) -> Floats | None:
        """The part of each atom, (atoms, S, 3, 3), if asked for."""
        return self._derivatives.atom_virial

    @property
    def _derivatives(self) -> Derivatives:
        if self.derivatives is None:
            raise ConfigError(
                "The model predicts something without derivatives, so there are no forces and no virials."
            )
        return self.derivatives


@dataclass(frozen=True)
class Derivatives:
    """Minus the derivatives of an output, see ``Prediction``."""

    force: Floats
    virial: Floats
    atom_virial: Floats | None


@dataclass(frozen=True)
class Part:
    """One table, and which of the frames and atoms it belongs to. A frame may have several parts."""

    batch: Batch
    frames: slice
    atoms: slice
    wanted: Ints  # most neighbours found, see FrameNeighbors


def tables(
    structures: Sequence[Structure],
    spec: NeighborSpec,
    backend: Backend,
    *,
    rows: int,
    whole: bool = False,
    parameters: Parameters,
    pairs: Sequence[PairList] | None = None,
    centers: int | None = None,
) -> Iterator[Part]:
    """Tables of about ``rows`` rows in the order of the frames; with ``whole``, no frame is cut.

    centers: only atoms of types below this have rows, which come first; None for all.

    ``pairs`` are the pairs of the frames where they are known already. Raises DataError for impossible structures.
    """

    def cuts() -> Iterator[_Cut]:
        for k, s in enumerate(structures):
            known = frame_pairs(s.coord, s.box, s.types, spec) if pairs is None else pairs[k]
            n = len(known.atoms) if centers is None else int(np.searchsorted(known.types, centers))
            yield n, partial(row_neighbors, known, s.coord, s.box, spec)

    natoms = [len(s.types) for s in structures]
    yield from _tables(cuts(), natoms, spec, backend, rows, whole, parameters)


def known_tables(
    found: FrameNeighbors, spec: NeighborSpec, backend: Backend, *, rows: int, whole: bool, parameters: Parameters
) -> Iterator[Part]:
    """The tables of one frame whose neighbours are known, for its first rows or all."""
    cuts = [(found.stop, partial(part_of, found))]
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
    evaluate: Evaluator,
    parts: Iterator[Part],
    natoms: Sequence[int],
    output: OutputDef = ENERGY,
    *,
    atomic_virial: bool = False,
) -> tuple[Prediction, Ints]:
    """Evaluate all parts of frames with ``natoms`` atoms each. Also returns the most neighbours found, ``wanted``.

    Derivatives are there if the evaluator gives them. Raises NonFiniteError if an output or a derivative is no number.
    """
    nframes, total = len(natoms), int(sum(natoms))
    atomic = np.zeros((total, output.size))
    counted = np.zeros(total)
    derivatives = None
    wanted = np.zeros(1, np.int64)
    for p in parts:
        table, owner = p.batch.table, p.batch.owner
        out = evaluate(table)
        n = len(table.types)
        rows = owner[:n] >= 0
        atomic[p.atoms][owner[:n][rows]] = out[output.name][rows]
        counted[p.atoms][owner[:n][rows]] = out["mask"][rows] if output.intensive else 1.0
        if "gradient" in out:
            derivatives = derivatives or _Sums(total, nframes, out["gradient"].shape[2:-1], atomic_virial)
            derivatives.add(p, out["gradient"])
        wanted = np.maximum(wanted, p.wanted)
    frame = np.repeat(np.arange(nframes), natoms)
    _check_finite(atomic, derivatives, frame, natoms)
    totals = np.stack([_sums(frame, column, nframes) for column in atomic.T], axis=1)
    if output.intensive:
        totals = totals / np.maximum(_sums(frame, counted, nframes), 1.0)[:, None]
    shape = output.shape
    result = Prediction(
        totals.reshape(nframes, *shape), atomic.reshape(total, *shape), np.asarray(natoms, np.int64),
        derivatives.shaped(shape) if derivatives else _no_derivatives(output, total, nframes, atomic_virial),
    )  # fmt: skip
    return result, wanted


def _check_finite(atomic: Floats, derivatives: _Sums | None, frame: Ints, natoms: Sequence[int]) -> None:
    finite = np.asarray(np.isfinite(atomic).all(axis=1))
    if derivatives:
        finite &= np.isfinite(derivatives.force.reshape(len(finite), -1)).all(axis=1)
    if not finite.all():
        atom = int(np.flatnonzero(~finite)[0])
        raise NonFiniteError(
            f"The model gives no finite energy or force for atom {atom - sum(natoms[: frame[atom]])} of frame "
            f"{frame[atom]}. Look at the distances of this frame, and at the parameters of the model with: dp show"
        )


class _Sums:
    """Forces and virials added up over the parts. shape: () or (components,)."""

    def __init__(self, total: int, nframes: int, shape: tuple[int, ...], atomic_virial: bool):
        self.force = np.zeros((total, *shape, 3))
        self.virial = np.zeros((nframes, *shape, 3, 3))
        self.atom_virial = np.zeros((total, *shape, 3, 3)) if atomic_virial else None

    def add(self, p: Part, g: Floats) -> None:
        """Add a part with the gradient of its table, (n, K, *shape, 3)."""
        table, owner = p.batch.table, p.batch.owner
        n, real = len(table.types), owner >= 0
        of_frames = self.virial[p.frames]
        together = g.reshape(*g.shape[:2], int(np.prod(g.shape[2:])))
        of_frames += outputs.virials(together, table.vectors, table.frame, len(of_frames)).reshape(of_frames.shape)
        on_rows = -_on_neighbors(g, table.index, len(owner))
        on_rows[:n] += g.sum(axis=1)
        # every atom has one row or ghost row at most, so that no sum is lost
        self.force[p.atoms][owner[real]] += on_rows[real]
        if self.atom_virial is not None:
            vectors = table.vectors if g.ndim == 3 else table.vectors[:, :, None]
            products = g[..., :, None] * vectors[..., None, :]
            self.atom_virial[p.atoms][owner[real]] -= _on_neighbors(products, table.index, len(owner))[real]

    def shaped(self, shape: tuple[int, ...]) -> Derivatives:
        """The sums, with the components in the shape of the output."""

        def split(x: Floats, behind: int) -> Floats:
            return x.reshape(len(x), *shape, *x.shape[x.ndim - behind :])

        atomic = None if self.atom_virial is None else split(self.atom_virial, 2)
        return Derivatives(split(self.force, 1), split(self.virial, 2), atomic)


def _no_derivatives(output: OutputDef, total: int, nframes: int, atomic_virial: bool) -> Derivatives | None:
    """Those of frames without atoms, where nothing was evaluated."""
    if not output.differentiable:
        return None
    return _Sums(total, nframes, output.shape, atomic_virial).shaped(output.shape)


def hessian(evaluate: DerivedEvaluator, parts: Sequence[Part], natoms: int, copies: int) -> Floats:
    """Second derivatives of the energy of one frame: (3N, 3N) in eV/Å².

    evaluate: of a backend for ``outputs.evaluate_along``. parts: the tables of so many copies of the frame; each of
    them serves one displaced coordinate at a time, so that no table is larger than those of an energy.

    Raises NonFiniteError if a derivative is no number.
    """
    size = 3 * natoms
    result = np.zeros((size, size))
    for start in range(0, size, copies):
        chosen = np.arange(start, min(start + copies, size))
        moved = np.zeros((copies, size))
        moved[np.arange(len(chosen)), chosen] = 1.0
        moved = moved.reshape(copies * natoms, 3)
        sums = _Sums(copies * natoms, copies, (), False)
        for p in parts:
            change = _changes(p.batch, moved[p.atoms])
            sums.add(p, evaluate(outputs.Displaced(p.batch.table, change))["gradient"])
        result[chosen] = -sums.force.reshape(copies, size)[: len(chosen)]
    if not np.isfinite(result).all():
        atom = int(np.flatnonzero(~np.isfinite(result).all(axis=1))[0]) // 3
        raise NonFiniteError(f"The energy has no finite second derivative by the position of atom {atom}.")
    return result


def _changes(batch: Batch, moved: Floats) -> Floats:
    """How the vectors of a table change, (n, K, 3), when its atoms are displaced by ``moved``, (atoms, 3)."""
    places = np.where(batch.owner[:, None] >= 0, moved[np.maximum(batch.owner, 0)], 0.0)
    index = batch.table.index
    change: Floats = np.where(index[..., None] >= 0, places[index] - places[: len(index), None], 0.0)
    return change


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
