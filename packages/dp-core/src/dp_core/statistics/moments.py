"""Sums from which means and standard deviations follow; they add up over frames, systems and runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def sums(x: Floats) -> Floats:
    """Count, sum and sum of squares of each column: (m, d) -> (d, 3)."""
    return np.stack([np.full(x.shape[1], float(len(x))), x.sum(axis=0), (x * x).sum(axis=0)], axis=1)


def mean_and_std(sums: Floats, *, floor: float) -> tuple[Floats, Floats]:
    """Mean and population standard deviation from [count, sum, sum of squares]: (…, 3) -> (…), (…).

    A deviation below ``floor`` becomes ``floor``; without data they are 0 and 0.1.
    """
    count, total, squares = np.moveaxis(sums, -1, 0)
    safe = np.where(count > 0, count, 1.0)
    mean = total / safe
    std = np.maximum(np.sqrt(np.maximum(squares / safe - mean * mean, 0.0)), floor)
    return mean, np.where(count > 0, std, 0.1)
