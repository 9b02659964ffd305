"""The constant of each type that explains the labels best, by least squares.

The total of a frame is the sum of the constants of its atoms, or their mean if it is intensive. Where the compositions
leave them undetermined, the smallest ones are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dp_core.statistics.moments import Floats

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class BiasFit:
    """bias, std: (ntypes, size); rmse: the error of the totals that is left; NaN without totals.

    Errors of extensive totals are per atom.
    """

    bias: Floats
    std: Floats
    rmse: float


def least_squares(counts: Counts, totals: Floats, *, rcond: float | None, fixed: Mapping[int, Floats]) -> Floats:
    """The constants b with the least Σ |counts·b − totals|²: (F, ntypes), (F, size) -> (ntypes, size).

    rcond: singular values below this fraction of the largest count as zero; None for the rounding error. fixed: types
    whose constants are known.
    """
    bias = np.zeros((counts.shape[1], totals.shape[1]))
    for t, value in fixed.items():
        bias[t] = value
    free = counts.copy()
    free[:, list(fixed)] = 0.0
    fitted = np.asarray(np.linalg.lstsq(free, totals - counts @ bias, rcond=rcond)[0], dtype=np.float64)
    fitted[list(fixed)] = bias[list(fixed)]
    return fitted


@dataclass
class BiasSums:
    """Labels of many frames in the form that the fit needs: one row of counts a frame, moments of atomic labels."""

    ntypes: int
    size: int
    exclude: tuple[int, ...] = ()  # types that contribute nothing
    intensive: bool = False
    shared: bool = False  # one constant for all types: the mean of the totals, per atom if they are extensive
    _counts: list[Counts] = field(default_factory=list)
    _natoms: list[int] = field(default_factory=list)
    _totals: list[Floats] = field(default_factory=list)
    _atomic: Floats = field(init=False)  # (ntypes, size, 3): count, mean, sum of squared deviations

    def __post_init__(self) -> None:
        self._atomic = np.zeros((self.ntypes, self.size, 3))

    def add(self, types: NDArray[np.int64], total: Floats | None, atomic: Floats | None) -> None:
        """Add a frame. types: (N,), −1 for padding; total: (size,) or None; atomic: (N, size) or None."""
        types = np.where(np.isin(types, self.exclude), -1, types)
        if total is not None:
            real = types[types >= 0]
            self._counts.append(np.bincount(real, minlength=self.ntypes).astype(np.float64))
            self._natoms.append(len(real))
            self._totals.append(total)
        if atomic is not None:
            for t in np.unique(types[types >= 0]):
                self._merge(t, atomic[types == t])

    def _merge(self, t: int, x: Floats) -> None:
        """Join the mean and deviation of more atoms of a type; stable also where the mean is large."""
        count, mean, squares = self._atomic[t].T
        n = len(x)
        shift = x.mean(axis=0) - mean
        merged = mean + shift * n / (count + n)
        squares = squares + ((x - x.mean(axis=0)) ** 2).sum(axis=0) + shift**2 * count * n / (count + n)
        self._atomic[t] = np.stack([count + n, merged, squares], axis=1)

    def fit(self, *, rcond: float | None = None, fixed: Mapping[int, Floats] | None = None) -> BiasFit | None:
        """The fit; None without any label.

        Types that are not fixed take the mean of their atomic labels, and without such what fits the totals.
        """
        seen = self._atomic[:, 0, 0] > 0
        if not self._totals and not seen.any():
            return None
        fixed = fixed or {}
        seen[list(fixed)] = False
        bias, std, rmse = np.zeros((self.ntypes, self.size)), np.ones((self.ntypes, self.size)), np.nan
        for t, value in fixed.items():
            bias[t] = value
        if self._totals:
            counts, totals = np.stack(self._counts), np.stack(self._totals)
            natoms = np.maximum(np.array(self._natoms), 1)[:, None]
            if self.intensive:
                counts = counts / natoms
            if self.shared:
                each = totals if self.intensive else totals / natoms
                bias[:], std[:] = each.mean(axis=0), each.std(axis=0)
                return BiasFit(bias, std, self._rmse(totals - counts @ bias))
            bias = least_squares(counts, totals, rcond=rcond, fixed=fixed)
            residual = totals - counts @ bias
            std[:] = residual.std(axis=0)
            rmse = self._rmse(residual)
        count, mean, squares = np.moveaxis(self._atomic[seen], -1, 0)
        bias[seen], std[seen] = mean, np.sqrt(squares / count)
        return BiasFit(bias, std, rmse)

    def rmse(self) -> float:
        """Root mean square of the totals, of extensive ones per atom; NaN without any."""
        return self._rmse(np.stack(self._totals)) if self._totals else np.nan

    def _rmse(self, totals: Floats) -> float:
        natoms = 1.0 if self.intensive else np.maximum(np.array(self._natoms), 1)[:, None]
        return float(np.sqrt(np.mean((totals / natoms) ** 2)))
