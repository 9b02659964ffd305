"""Tables in the place of embedding networks: how wide they are for a descriptor, and how documents hold them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dp_core.descriptors.environment import smooth_switch
from dp_core.errors import ConfigError, FormatError
from dp_core.nn.table import Grid, Table

#: Products of two neighbours have intervals so many times as wide as single ones.
_ANGULAR = 10.0

#: Bytes of the tables of a descriptor that no sensible settings ask for.
_LARGEST = 2 << 30


@dataclass(frozen=True)
class Resolution:
    """How fine tables are, and how far they reach.

    shortest: Å, the smallest distance within the fine part. step: width of its intervals; those of the coarse part are
    ten times as wide. extrapolate: the coarse part ends at so many times the end of the fine one.
    """

    shortest: float
    step: float = 0.01
    extrapolate: float = 5.0
    frequency: float = -1.0  # kept in the file for DeePMD-kit

    def __post_init__(self) -> None:
        if not (math.isfinite(self.shortest) and self.shortest > 0):
            raise ConfigError(
                f"The smallest distance between atoms, min_nbor_dist, is {self.shortest:g} Å; it must be positive. "
                "Check the training data for atoms in the same place."
            )
        if not 0 < self.step <= 1:
            raise ConfigError(f"The step of the table is {self.step:g}; give a number above 0 and up to 1, like 0.01.")
        if not (math.isfinite(self.extrapolate) and self.extrapolate >= 1):
            raise ConfigError(f"The range of the table is {self.extrapolate:g}; give a factor of at least 1, like 5.")

    def radial(self, part: Any, types: Sequence[int]) -> Grid:
        """The grid of a network of distances around atoms of the types."""
        mean, std = (np.asarray(x, np.float64)[list(types), 0, 0] for x in (part.davg, part.dstd))
        lower = float(np.floor(-mean / std).min())
        upper = float(np.ceil((_switch(self.shortest, part) / self.shortest - mean) / std).max())
        return self._grid(lower, upper, 1.0, angular=False)

    def angular(self, part: Any) -> Grid:
        """The grid of a network of products of two neighbours."""
        std = np.asarray(part.dstd, np.float64)[:, 0, 1:].min()
        largest = (_switch(self.shortest, part) / (self.shortest * std)) ** 2
        return self._grid(-math.ceil(largest), math.ceil(largest), _ANGULAR, angular=True)

    def _grid(self, lower: float, upper: float, times: float, *, angular: bool) -> Grid:
        """The grid; its parts are lengthened to whole intervals where the step does not divide them."""
        fine, coarse = self.step * times, 10.0 * self.step * times
        if angular:
            upper = _whole(max(upper, fine), fine)
            lower = -upper
        else:
            upper = lower + _whole(max(upper - lower, fine), fine)
        end = upper + _whole(max(self.extrapolate * upper - upper, 0.0), coarse)
        return Grid(float(lower), float(upper), float(end), fine, coarse, float(self.frequency), angular)


def _whole(length: float, width: float) -> float:
    """The length, enlarged to a multiple of the width."""
    count = math.ceil(length / width - 1e-6)
    return length if abs(count * width - length) < 1e-6 * width else count * width


def _switch(r: float, part: Any) -> float:
    """The smooth switch of a descriptor at a distance."""
    return float(smooth_switch(np.array([r]), part.rcut_smth, part.rcut)[0])


def tabulated(nets: Sequence[Any], grids: Sequence[Grid | None], part: Any) -> tuple[Table | None, ...]:
    """Tables of networks; None for those without a grid. Raises ConfigError if they would be far too large."""
    dtype = np.asarray(part.davg).dtype
    size = sum(6 * grid.intervals * net.neuron[-1] * dtype.itemsize for net, grid in zip(nets, grids) if grid)
    if size > _LARGEST:
        raise ConfigError(
            f"The tables would have {size / 2**30:.1f} GiB. Use a larger step (--step), or check the smallest distance "
            "of the training data: the tables reach down to it."
        )
    return tuple(
        None if grid is None else Table.of_network(net, grid, dtype.name) for net, grid in zip(nets, grids, strict=True)
    )


def tables_document(tables: Sequence[Table | None], *, angular: bool = False) -> dict[str, Any]:
    """The variables of a document that hold tables. A missing one has no data."""
    none = np.zeros(0), np.zeros(6 if angular else 0)
    stored = [none if table is None else table.stored() for table in tables]
    return {"compress_data": [data for data, _ in stored], "compress_info": [info for _, info in stored]}


def stored_tables(variables: dict[str, Any], nets: Sequence[Any], *, angular: bool = False) -> tuple[Table | None, ...]:
    """The tables of a document in the place of the networks, see ``tables_document``.

    Raises FormatError if they are damaged, or others than the networks need.
    """
    rows, grids = variables["compress_data"], variables["compress_info"]
    if not len(rows) == len(grids) == len(nets):
        raise FormatError(
            f"The descriptor has {len(rows)} tables and {len(grids)} grids for {len(nets)} networks; the file is "
            "damaged. Compress the model again."
        )
    tables = tuple(
        Table.of_stored(data, info, angular=angular) if np.size(data) else None for data, info in zip(rows, grids)
    )
    for k, (table, net) in enumerate(zip(tables, nets)):
        if table is not None and table.width != net.neuron[-1]:
            raise FormatError(
                f"Table {k} of the descriptor gives {table.width} numbers, its network {net.neuron[-1]}; the file is "
                "damaged. Compress the model again."
            )
    return tables
