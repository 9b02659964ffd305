"""The text file of a pair potential, and the splines through its points."""

from __future__ import annotations

import logging
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dp_core.errors import ConfigError
from dp_core.neighbors import Floats

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairFile:
    """The table of a file, continued to the cutoff."""

    values: Floats  # (points, 1 + pairs): Å, then eV
    rmax: float  # Å, the last distance of the file

    @classmethod
    def read(cls, path: str, ntypes: int, rcut: float) -> PairFile:
        """The table for so many types and a cutoff in Å. Raises ConfigError if the file does not serve."""
        values = _numbers(path)
        pairs = ntypes * (ntypes + 1) // 2
        if values.shape[1] != 1 + pairs:
            raise ConfigError(
                f"{path} has {values.shape[1]} columns; a table for {ntypes} types has {1 + pairs}: the distance and "
                f"the energies of {pairs} pairs of types."
            )
        _check_distances(path, values[:, 0])
        if values[0, 0] >= rcut:
            raise ConfigError(
                f"{path} begins at {values[0, 0]:g} Å, not below the cutoff of {rcut:g} Å, so that no pair has an "
                "energy. Give a table that begins at shorter distances, or a larger rcut."
            )
        return cls(_continued(path, values, rcut), float(values[-1, 0]))

    def fields(self) -> dict[str, Any]:
        """The fields of the model that the table gives."""
        return {
            "values": self.values,
            "coefficients": coefficients(self.values),
            "rmin": float(self.values[0, 0]),
            "rmax": self.rmax,
            "step": float(self.values[1, 0] - self.values[0, 0]),
        }


def _numbers(path: str) -> Floats:
    try:
        lines = Path(path).read_text().splitlines()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file, told below
            values = np.loadtxt(lines, ndmin=2, dtype=np.float64)
    except OSError as error:
        raise ConfigError(f"The pair table {path} cannot be read: {error.strerror}. Check the path.") from None
    except ValueError as error:
        raise ConfigError(f"The pair table {path} is no table of numbers: {error}.") from None
    if len(values) < 3:
        raise ConfigError(f"The pair table {path} has {len(values)} rows; give at least 3.")
    if not np.isfinite(values).all():
        raise ConfigError(f"The pair table {path} has values that are no numbers in row {_row(~np.isfinite(values))}.")
    return values


def _row(wrong: Any) -> int:
    return 1 + int(np.flatnonzero(wrong.any(axis=1))[0])


def _check_distances(path: str, r: Floats) -> None:
    steps = np.diff(r)
    if r[0] < 0 or steps[0] <= 0:
        raise ConfigError(f"The distances of {path} begin with {r[0]:g} and {r[1]:g} Å; they should grow from ≥ 0.")
    wrong = np.abs(r - r[0] - steps[0] * np.arange(len(r))) > 1e-3 * steps[0]
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise ConfigError(
            f"The distances of {path} are not equally spaced: row {k + 1} has {r[k]:g} Å, after steps of "
            f"{steps[0]:g} Å it should be {r[0] + k * steps[0]:g}."
        )


def _continued(path: str, values: Floats, rcut: float) -> Floats:
    """The table with further rows up to the cutoff, as DeePMD-kit makes them.

    Zeros follow zeros. Else one cubic falls to zero, of which the slope at the beginning is the last difference per Å.
    """
    r, last = values[:, 0], values[-1]
    step = r[1] - r[0]
    missing = math.ceil(rcut / step - r[0] / step) - (len(values) - 1)
    ends_in_zero = not last[1:].any()
    if not ends_in_zero:
        told = "is cut off" if rcut <= last[0] else "falls smoothly from its end to zero"
        log.warning(
            "The energies of %s are not zero at its end, %g Å; for the cutoff of %g Å it %s.", path, last[0], rcut, told
        )
    if rcut <= last[0] or missing <= 0:
        return values
    rows = np.zeros((missing, values.shape[1]))
    rows[:, 0] = last[0] + step * np.arange(1, missing + 1)
    if not ends_in_zero:
        rows = rows[: max(1, missing - 1)]
        rows[:, 1:] = _falling(last[1:], last[1:] - values[-2, 1:], rows[:, :1] - last[0])
    return np.concatenate([values, rows])


def _falling(start: Floats, slope: Floats, r: Floats) -> Floats:
    """The cubic from ``start`` with a slope to zero without one at the last of the r: (pairs,), (points, 1) Å."""
    length = r[-1]
    s = r / length
    values: Floats = start * (1 + 2 * s) * (1 - s) ** 2 + slope * length * s * (1 - s) ** 2
    return values


def coefficients(values: Floats) -> Floats:
    """The cubics of all intervals, with slope 0 at both ends: (points, 1 + pairs) -> (ntypes², points − 1, 4)."""
    v = values[:, 1:]
    d = _slopes(v)
    low, high, d0, d1 = v[:-1], v[1:], d[:-1], d[1:]
    cubic = np.stack([2 * low - 2 * high + d0 + d1, 3 * high - 3 * low - 2 * d0 - d1, d0, low], axis=-1)
    ntypes = (math.isqrt(8 * v.shape[1] + 1) - 1) // 2
    pair = np.zeros((ntypes, ntypes), np.int64)
    pair[np.triu_indices(ntypes)] = np.arange(v.shape[1])
    pair = np.maximum(pair, pair.T)
    return np.ascontiguousarray(np.moveaxis(cubic, 1, 0)[pair.reshape(-1)])


def _slopes(v: Floats) -> Floats:
    """The slopes times the step for which the second derivative has no jumps, 0 at the ends: (points, pairs)."""
    d = np.zeros_like(v)
    right = 3.0 * (v[2:] - v[:-2])
    if not len(right):
        return d
    factor = np.zeros(len(right))  # elimination in d[i-1] + 4 d[i] + d[i+1] = right[i]
    factor[0], right[0] = 0.25, right[0] / 4.0
    for i in range(1, len(right)):
        factor[i] = 1.0 / (4.0 - factor[i - 1])
        right[i] = (right[i] - right[i - 1]) * factor[i]
    for i in range(len(right) - 2, -1, -1):
        right[i] -= factor[i] * right[i + 1]
    d[1:-1] = right
    return d
