"""Compression: tables in the place of the networks that embed one number, for a quicker evaluation.

>>> from dp_core.compression import compress                             # doctest: +SKIP
>>> small = compress(load_model("water.dp"))                             # doctest: +SKIP

A compressed model keeps its networks, so that the tables can be made anew with other settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dp_core.descriptors import protocol
from dp_core.descriptors.tabulation import Resolution
from dp_core.errors import ConfigError
from dp_core.models.protocol import map_members, members
from dp_core.module import replace
from dp_core.nn.table import Table
from dp_core.virtual_atoms import virtual_atoms

__all__ = ["Resolution", "Tables", "compress", "is_compressed", "obstacle", "tables_of", "uncompressed"]


@dataclass(frozen=True)
class Tables:
    """What the tables of a model are."""

    grids: tuple[tuple[float, float, float, float, float], ...]
    """Of each table: begin and end of the fine part, end of the coarse part, and the widths of their intervals."""
    type_tables: int
    """Tables of the network of types."""
    nbytes: int

    def __str__(self) -> str:
        kinds = []
        if self.grids:
            lower, upper, end = (pick(column) for pick, column in zip((min, max, max), zip(*self.grids)))
            steps = " and ".join(f"{x:g}" for x in sorted({step for grid in self.grids for step in grid[3:]}))
            tables = _number(len(self.grids), "table")
            kinds.append(f"{tables} from {lower + 0.0:g} to {upper:g}, coarse up to {end:g}, in steps of {steps}")
        if self.type_tables:
            kinds.append(f"{_number(self.type_tables, 'table')} of types")
        return f"{'; '.join(kinds)}; {self.nbytes / 2**20:.2f} MiB"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def is_compressed(model: Any) -> bool:
    """Whether a model, or one that it is made of, is compressed."""
    return any(protocol.compressed(member.model.descriptor) for member in members(model))


def obstacle(model: Any) -> str | None:
    """Why a model cannot be compressed, a sentence; None if it can."""
    found = [member.model.descriptor for member in members(model)]
    if not found:
        return "it has no networks."
    if virtual_atoms(model) is not None:
        return (
            "it has spins. An atom and its virtual atom may be at any distance down to 0, which no table of a sensible "
            "size reaches."
        )
    if is_compressed(model):
        return "it is compressed already. Compress the model that it was made from, with other settings."
    for descriptor in found:
        reason = protocol.obstacle(descriptor)
        if reason is not None:
            return f"its descriptor is {descriptor.serialize()['type']}; {reason}"
    return None


def compress(
    model: Any, *, min_nbor_dist: float | None = None, step: float = 0.01, extrapolate: float = 5.0, frequency: int = -1
) -> Any:
    """The model with tables in the place of the networks that embed one number. model: NumPy leaves.

    min_nbor_dist: Å, the smallest distance between atoms that the fine part of the tables reaches; None for that of the
    training data, which the model knows. step: width of the intervals of the fine part; those of the coarse part are
    ten times as wide, and those of products of two neighbours ten times as wide as those. extrapolate: the coarse
    part reaches to so many times the end of the fine part; beyond it the tables go on as straight lines. frequency: a
    number that DeePMD-kit keeps in the tables. The model of dipoles of a modifier is compressed too, if it can be.

    Raises ConfigError if the model cannot be compressed, or if no distance is known.
    """
    reason = obstacle(model)
    if reason is not None:
        raise ConfigError(f"The model cannot be compressed: {reason}")
    shortest = model.min_nbor_dist if min_nbor_dist is None else min_nbor_dist
    if shortest is None:
        raise ConfigError(
            "The model does not tell the smallest distance between atoms in its training data, min_nbor_dist, which "
            "the tables must reach. Give the input file of the training: dp compress -t input.json."
        )
    resolution = Resolution(float(shortest), step, extrapolate, float(frequency))

    def changed(member: Any) -> Any:
        return replace(member.model, descriptor=member.model.descriptor.tabulated(resolution))

    made = replace(map_members(model, changed), min_nbor_dist=float(shortest))
    dipole = _dipole_model(model)
    if dipole is None or obstacle(dipole) is not None:
        return made
    small = compress(dipole, min_nbor_dist=shortest, step=step, extrapolate=extrapolate, frequency=frequency)
    return _with_dipole_model(made, small)


def uncompressed(model: Any) -> Any:
    """The model with its networks, as it was before ``compress``."""

    def changed(member: Any) -> Any:
        descriptor = member.model.descriptor
        if not protocol.compressed(descriptor):
            return member.model
        return replace(member.model, descriptor=descriptor.uncompressed())

    made, dipole = map_members(model, changed), _dipole_model(model)
    return made if dipole is None else _with_dipole_model(made, uncompressed(dipole))


def _dipole_model(model: Any) -> Any:
    """The model of dipoles of the modifier, None where there is none."""
    return getattr(getattr(model, "modifier", None), "dipole", None)


def _with_dipole_model(model: Any, dipole: Any) -> Any:
    return replace(model, modifier=dataclasses.replace(model.modifier, dipole=dipole))


def tables_of(model: Any) -> Tables:
    """What the tables of a model are; none in one that is not compressed."""
    grids, types, nbytes = [], 0, 0
    for part in _parts(model):
        for table in getattr(part, "tables", None) or ():
            if isinstance(table, Table):
                grid = table.grid
                grids.append((grid.lower, grid.upper, grid.end, grid.fine, grid.coarse))
                nbytes += table.nbytes
        rows = getattr(part, "type_table", None)
        if rows is not None:
            types, nbytes = types + 1, nbytes + int(np.asarray(rows).nbytes)
    return Tables(tuple(grids), types, nbytes)


def _parts(model: Any) -> Iterator[Any]:
    for member in members(model):
        yield from protocol.parts_of(member.model.descriptor)
