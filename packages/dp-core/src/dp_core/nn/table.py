"""A network of one number as a table: piecewise polynomials of fifth order on a fine and a coarse grid.

Within the fine grid and the coarse one beyond it the table has value, slope and curvature of the network at every node;
outside it goes on as a straight line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.errors import FormatError
from dp_core.module import Array, buffer, module

#: Coefficients of a polynomial.
_ORDERS = 6


@dataclass(frozen=True)
class Grid:
    """Where the intervals of a table are.

    A table of distances begins at ``lower``; one of angles is coarse from −``end`` to ``lower`` too.
    """

    lower: float
    upper: float  # end of the fine intervals
    end: float  # end of the coarse intervals
    fine: float  # width of the intervals between lower and upper
    coarse: float  # width of the others
    frequency: float  # kept for DeePMD-kit, which does not use it either
    angular: bool = False

    @property
    def segments(self) -> list[tuple[float, float, int]]:
        """Begin, width and number of the intervals of each kind, in their order."""
        fine = (self.lower, self.fine, _count(self.upper - self.lower, self.fine))
        after = (self.upper, self.coarse, _count(self.end - self.upper, self.coarse))
        before = (-self.end, self.coarse, _count(self.lower + self.end, self.coarse))
        return [segment for segment in ([before] if self.angular else []) + [fine, after] if segment[2]]

    @property
    def intervals(self) -> int:
        """How many there are of all kinds."""
        return sum(count for _, _, count in self.segments)

    @property
    def nodes(self) -> np.ndarray:
        """The begins of all intervals, and the end of the last one: (rows + 1,)."""
        begins = [start + width * np.arange(count) for start, width, count in self.segments]
        return np.concatenate([*begins, [self.end]])


def _count(length: float, width: float) -> int:
    """How many intervals there are; whole numbers that rounding made smaller are whole."""
    return int(length / width * (1.0 + 1e-7) + 1e-6)


@module
class Table:
    """A tabulated network: (…, 1) -> (…, width)."""

    coefficients: Array = buffer()  # (rows + 2, 6, width), of 1, δ, … δ⁵; the last two for what is below and beyond
    starts: Array = buffer()  # (rows + 2,), δ is counted from here
    grid: Grid = None  # type: ignore[assignment]

    @property
    def width(self) -> int:
        """Numbers that the table gives."""
        return int(self.coefficients.shape[2])

    @property
    def nbytes(self) -> int:
        """Bytes of the table in a file."""
        return int(np.prod(self.coefficients.shape)) * int(np.dtype(str(self.starts.dtype)).itemsize)

    def __call__(self, x: Array) -> Array:
        """The network's values, interpolated."""
        powers, coefficients = self.polynomials(x)
        return (powers[..., None, :] @ coefficients)[..., 0, :]

    def polynomials(self, x: Array) -> tuple[Array, Array]:
        """Powers of δ, and coefficients: (…, 1) -> (…, 6), (…, 6, width)."""
        xp = namespace(x, self.starts)
        row = self.rows(x)[..., 0]
        d = x - arrays.take(self.starts, row)[..., None]
        square = d * d
        powers = xp.concat([xp.ones_like(d), d, square, square * d, square * square, square * square * d], axis=-1)
        return powers, arrays.take(self.coefficients, row)

    def rows(self, x: Array) -> Array:
        """The row that belongs to each number: (…) -> (…) int64."""
        xp = namespace(x, self.starts)
        x = arrays.detached(x)
        below, beyond = (float(self.starts.shape[0] - k) for k in (2, 1))
        row, first = xp.zeros_like(x) + below, 0
        for start, width, count in self.grid.segments:
            step = xp.floor((x - start) / width)
            row = xp.where(x >= start, first + xp.minimum(step, xp.full_like(step, count - 1.0)), row)
            first += count
        return xp.astype(xp.where(x >= self.grid.end, xp.zeros_like(x) + beyond, row), xp.int64)

    @classmethod
    def of_rows(cls, coefficients: np.ndarray, grid: Grid) -> Table:
        """The table of (rows, width, 6) coefficients."""
        nodes, dtype = grid.nodes, coefficients.dtype
        if len(nodes) != len(coefficients) + 1:
            raise FormatError(
                f"A table of the model has {len(coefficients)} rows, its grid {len(nodes) - 1}; the file is damaged. "
                "Compress the model again."
            )
        length = (grid.end - nodes[-2]) ** np.arange(_ORDERS)
        slope = np.arange(1, _ORDERS) * length[:-1]
        outside = np.zeros((2, *coefficients.shape[1:]), dtype)
        outside[0, :, :2] = coefficients[0, :, :2]
        outside[1, :, :2] = np.stack([coefficients[-1] @ length, coefficients[-1, :, 1:] @ slope], axis=-1)
        starts = np.concatenate([nodes[:-1], [nodes[0], grid.end]]).astype(dtype)
        ordered = np.ascontiguousarray(np.concatenate([coefficients, outside]).swapaxes(1, 2))
        return cls(ordered, starts, grid)

    @classmethod
    def of_network(cls, net: Any, grid: Grid, dtype: str) -> Table:
        """The table of a network with the value, slope and curvature that ``net.jet`` gives, computed in float64."""
        nodes = grid.nodes
        t = np.diff(nodes)[:, None]
        value, slope, curvature = net.jet(nodes)
        v0, v1, s0, s1, c0, c1 = (x for y in (value, slope, curvature) for x in (y[:-1], y[1:]))
        h = v1 - v0
        orders = [
            v0,
            s0,
            c0 / 2,
            (20 * h - (8 * s1 + 12 * s0) * t - (3 * c0 - c1) * t**2) / (2 * t**3),
            (-30 * h + (14 * s1 + 16 * s0) * t + (3 * c0 - 2 * c1) * t**2) / (2 * t**4),
            (12 * h - 6 * (s1 + s0) * t + (c1 - c0) * t**2) / (2 * t**5),
        ]
        return cls.of_rows(np.stack(orders, axis=-1).astype(dtype), grid)

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """What a document holds of the table: (rows, 6·width), with the orders together, and six numbers."""
        rows = np.asarray(self.coefficients)[:-2].swapaxes(1, 2)
        return rows.reshape(len(rows), -1), np.array(astuple(self.grid)[:6], rows.dtype)

    @classmethod
    def of_stored(cls, data: np.ndarray, info: Sequence[float], *, angular: bool) -> Table:
        """The table of a document. Raises FormatError if it does not fit together."""
        numbers = [float(str(x)) for x in np.reshape(info, (-1,))]  # the shortest one: 0.01, not that of float32
        if len(numbers) != _ORDERS or not (numbers[0] < numbers[1] <= numbers[2] and min(numbers[3:5]) > 0):
            raise FormatError(f"A table of the model has the grid {numbers}; the file is damaged. Compress it again.")
        if data.ndim != 2 or data.shape[1] % _ORDERS:
            raise FormatError(
                f"A table of the model has the shape {data.shape}; the file is damaged. Compress it again."
            )
        rows = data.reshape(len(data), -1, _ORDERS)
        lower, upper, end, fine, coarse, frequency = numbers
        return cls.of_rows(rows, Grid(lower, upper, end, fine, coarse, frequency, angular))
