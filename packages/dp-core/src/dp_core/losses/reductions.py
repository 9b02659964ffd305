"""Means that losses share: over frames, atoms or pairs, of those only that have the label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.module import Array

if TYPE_CHECKING:
    from dp_core.training.batch import TrainingBatch


def quotient(total: Array, count: Array) -> Array:
    """total / count, and 0 where the count is 0."""
    xp = namespace(total, count)
    some = count > 0
    return xp.where(some, total, xp.zeros_like(total)) / xp.where(some, count, xp.ones_like(count))


def mean(x: Array, weight: Array) -> Array:
    """Mean of the columns, then of the rows by weight: (m, c), (m,) -> (); 0 without weight."""
    xp = namespace(x, weight)
    return quotient(xp.sum(xp.mean(x, axis=1) * weight), xp.sum(weight))


def pair_mean(x: Array, weight: Array, frame: Array, natoms: Array, found: Array) -> Array:
    """Mean over the frames of Σ x / (3N)², for a Hessian.

    x: (n, P, 3, 3) by row and position of the other atom; weight: (n, P); natoms: (frames,) N; found: (frames,).
    """
    xp = namespace(x, weight)
    of_row = xp.sum(xp.sum(x, axis=(2, 3)) * weight, axis=1)
    of_frame = arrays.segment_sum(of_row, frame, arrays.shape(natoms)[0])
    return mean(quotient(of_frame, 9.0 * natoms * natoms)[:, None], found)


def known(value: Array, found: Array) -> Array:
    """The value, or NaN if nothing was found."""
    xp = namespace(value, found)
    return xp.where(xp.sum(found) > 0, value, xp.zeros_like(value) + math.nan)


def huber(error: Array, delta: float) -> Array:
    """Quadratic up to |error| = delta, linear beyond (Huber, Ann. Math. Stat. 35, 73, 1964)."""
    size = namespace(error).abs(error)
    return namespace(error).where(size <= delta, 0.5 * error * error, delta * (size - 0.5 * delta))


def length(x: Array) -> Array:
    """Length of the last axis, kept; its gradient is 0 at length 0."""
    xp = namespace(x)
    nonzero = xp.sum(x * x, axis=-1) > 0
    norm = arrays.safe_norm(x, nonzero)
    return xp.where(nonzero, norm, xp.zeros_like(norm))[..., None]


def smooth_absolute(error: Array, beta: float) -> Array:
    """|error|, quadratic below beta: Huber's loss in units of beta."""
    return huber(error, beta) / beta


def mean_natoms(mask: Array, batch: TrainingBatch, found: Array) -> Array:
    """The mean number of atoms that count, over the frames that have a label: (n,), (frames,) -> ()."""
    count = arrays.segment_sum(mask, batch.table.frame, batch.nframes)
    xp = namespace(count, found)
    return quotient(xp.sum(count * found), xp.sum(found))


def total_of(terms: Sequence[Array]) -> Array:
    """The sum of one or more terms."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
