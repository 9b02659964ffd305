"""A batch for training: the table of neighbourhoods with the labels in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dp_core.backend import LossFunction
from dp_core.batching import Batch, build_batch, no_rounding
from dp_core.data.frame import Frame, Label
from dp_core.inputs import input_arrays
from dp_core.losses import Loss
from dp_core.module import Array, module, replace, with_leaves
from dp_core.neighbors import FrameNeighbors, Neighborhood, NeighborSpec
from dp_core.outputs import Gradient


@module
class VirtualRows:
    """Where the virtual atoms of models with spins belong; −1 stands for nowhere.

    Virtual atoms have rows of their own only where messages pass.
    """

    atom: Array  # (n,), row of the atom that a row is, or that its virtual atom belongs to
    atom_of_neighbor: Array  # (n, K), the same of the neighbours
    virtual: Array  # (n,), the same for virtual atoms only
    virtual_neighbor: Array  # (n, K), the same of the neighbours
    offset: Array  # (n, 3), from an atom to its virtual atom, Å; 0 in other rows


@module
class TrainingBatch:
    """Frames with their labels; n rows, ``nframes`` frames.

    Labels of frames are (nframes, size), those of atoms (n, size) with 0 in padding rows. A Hessian is (n, P, 3, 3) in
    the layout of ``outputs.hessian``, P = ``widest``.
    """

    table: Neighborhood
    labels: dict[str, Array]
    found: dict[str, Array]  # (nframes,), 1.0 where the frame has the label, else 0.0
    prefactors: dict[str, Array]  # (), weights of the terms of the loss at this step
    place: Array | None  # (n,), position of the atom in its frame, −1 for padding; None without Hessians
    nframes: int
    widest: int  # atoms of the largest frame; 0 without Hessians
    virtual: VirtualRows | None = None


def make_batch(
    frames: Sequence[Frame],
    neighbors: Sequence[FrameNeighbors],
    spec: NeighborSpec,
    labels: Sequence[Label],
    round_rows: Callable[[int], int] = no_rounding,
    round_slots: Callable[[int], int] = no_rounding,
) -> TrainingBatch:
    """A batch with NumPy leaves, without prefactors.

    The frames must have been read with the labels and with ``input_labels``; of models with spins they have virtual
    atoms. neighbors: those of each frame, complete.
    """
    batch = build_batch(neighbors, spec, **input_arrays(frames), round_rows=round_rows, round_slots=round_slots)
    with_hessian = any(label.key == "hessian" for label in labels)
    return TrainingBatch(
        table=batch.table,
        labels={label.key: _values(label, frames, batch) for label in labels},
        found={label.key: np.array([float(label.key in f.found) for f in frames]) for label in labels},
        prefactors={},
        place=_places(batch) if with_hessian else None,
        nframes=len(frames),
        widest=int(batch.natoms.max()) if with_hessian else 0,
        virtual=_virtual_rows(frames, batch) if "spin" in frames[0].labels else None,
    )


def _virtual_rows(frames: Sequence[Frame], batch: Batch) -> VirtualRows:
    """The virtual atoms of frames of which they are the second half."""
    owner, n = batch.owner, len(batch.rows)
    row_of = np.full(int(batch.natoms.sum()), -1)
    row_of[owner[:n][batch.rows >= 0]] = np.flatnonzero(batch.rows >= 0)
    first = np.cumsum(batch.natoms) - batch.natoms
    halves = [np.arange(count // 2) + start for count, start in zip(batch.natoms.tolist(), first.tolist(), strict=True)]
    atoms = np.concatenate([np.tile(half, 2) for half in halves])
    virtual = np.concatenate([np.repeat([False, True], len(half)) for half in halves])
    partners = np.concatenate([np.concatenate([half + len(half), half + len(half)]) for half in halves])
    coord = np.concatenate([frame.coord for frame in frames])
    of_all = np.append(np.where(owner >= 0, row_of[atoms[owner]], -1), -1)  # the last one for empty slots
    of_virtual = np.append(np.where((owner >= 0) & virtual[owner], of_all[:-1], -1), -1)
    index = batch.table.index
    offset = np.where(virtual[:, None], 0.0, coord[partners] - coord)
    return VirtualRows(of_all[:n], of_all[index], of_virtual[:n], of_virtual[index], batch.to_rows(offset))


def _values(label: Label, frames: Sequence[Frame], batch: Batch) -> np.ndarray:
    values = [f.labels[label.key] for f in frames]
    if label.key == "hessian":
        values = [_hessian_blocks(v, int(batch.natoms.max())) for v in values]
    elif not label.atomic:
        return np.stack(values)
    return batch.to_rows(np.concatenate(values))


def _hessian_blocks(flat: np.ndarray, widest: int) -> np.ndarray:
    """(9·N²,) -> (N, widest, 3, 3) with [j, p, a, b] = ∂²E/∂x_pa ∂x_jb, zero beyond N."""
    n = round((len(flat) // 9) ** 0.5)
    blocks = np.zeros((n, widest, 3, 3))
    blocks[:, :n] = flat.reshape(n, 3, n, 3).transpose(2, 0, 1, 3)
    return blocks


def _places(batch: Batch) -> np.ndarray:
    """The position of each row's atom in its frame, −1 for padding: (n,)."""
    first = np.cumsum(batch.natoms) - batch.natoms
    return np.where(batch.rows >= 0, batch.rows - first[batch.table.frame], -1)


def with_prefactors(batch: TrainingBatch, prefactors: Mapping[str, float]) -> TrainingBatch:
    """The batch at a step, with ``loss.prefactors(learning_rate)``."""
    return replace(batch, prefactors={k: np.asarray(v) for k, v in prefactors.items()})


def loss_function(template: Any, loss: Loss) -> LossFunction:
    """The function that a backend trains with: (trained leaves, batch, gradient) -> (loss, metrics).

    template: the model with all leaves as arrays of the backend; the trained ones are replaced.
    """

    def evaluate(params: Mapping[str, Array], batch: Any, gradient: Gradient) -> tuple[Array, dict[str, Array]]:
        model = with_leaves(template, params)
        return loss(loss.predict(model, batch, gradient), batch)

    return evaluate
