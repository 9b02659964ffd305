"""loc_frame: coordinates of neighbours in a frame of axes that two neighbours define (Deep Potential).

Zhang et al., Physical Review Letters 120, 143001 (2018). There is no network, and no switch: the descriptor jumps where
neighbours enter the cutoff, change places in the order of distances, or define other axes. Mirror images differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.batching import build_batch
from dp_core.descriptors.environment import with_all_slots
from dp_core.descriptors.protocol import CountSel, neighbor_spec
from dp_core.errors import ConfigError
from dp_core.format.versions import check_version
from dp_core.module import Array, buffer, module, replace
from dp_core.neighbors import Floats, FrameNeighbors, Neighborhood
from dp_core.schema.section import Section, option
from dp_core.statistics.moments import mean_and_std

#: A second axis is replaced when 1 plus its cosine with the first is smaller.
_OPPOSITE = 1e-4

#: The nearest of other types is looked for among so many of each.
_CANDIDATES = 3

#: The smallest standard deviation.
_FLOOR = 0.01


class LocalFrameSettings(Section):
    """Settings of loc_frame in an input file."""

    type: Literal["loc_frame"] = option("loc_frame", "name of the descriptor")
    sel_a: list[int] = option(..., "nearest neighbours of each type that count with distance and direction")
    sel_r: list[int] = option(..., "further neighbours of each type that count with their distance")
    rcut: float = option(6.0, "cutoff radius", unit="Å", gt=0)
    axis_rule: list[int] = option(
        ...,
        "six numbers for each type of centre, three for each axis: 0 for neighbours of sel_a, 1 for those of sel_r;"
        " their type, or -(type + 1) for any other type; which of them, from 0. Empty: the first two neighbours",
    )

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> LocalFrameSettings:
        if len(self.sel_a) != len(self.sel_r):
            raise ValueError(f"sel_a is {self.sel_a} and sel_r is {self.sel_r}; give one number for each type in both")
        if min([*self.sel_a, *self.sel_r], default=0) < 0 or sum(self.sel_a) + sum(self.sel_r) < 2:
            raise ValueError(f"sel_a is {self.sel_a} and sel_r is {self.sel_r}; give numbers ≥ 0, at least 2 in all")
        if len(self.axis_rule) not in (0, 6 * len(self.sel_a)):
            raise ValueError(
                f"axis_rule has {len(self.axis_rule)} numbers; give 6 for each of the {len(self.sel_a)} types of sel_a,"
                " or none"
            )
        return self

    def with_counted_sel(self, count: CountSel) -> LocalFrameSettings:
        """The settings as they are: neighbours left out are meant."""
        return self


@dataclass(frozen=True)
class Axis:
    """The neighbour that an axis points to."""

    columns: tuple[int, ...]  # candidates, among the slots of sel_a and then of sel_r
    rank: int  # 0 for the nearest of them

    def __call__(self, x: Array) -> Array:
        """Its vector, and 1, or 0 if there is none: (rows, slots, 4) -> (rows, 4)."""
        if len(self.columns) == 1:
            return x[:, self.columns[0], :]
        xp = namespace(x)
        found = arrays.concat([x[:, c : c + 1, :] for c in self.columns], axis=1)
        there = found[:, :, 3] > 0
        squares = xp.sum(found[:, :, :3] * found[:, :, :3], axis=-1)
        squares = xp.where(there, squares, xp.full_like(squares, float("inf")))
        mine, other = squares[:, :, None], squares[:, None, :]
        earlier = arrays.constant(np.tri(len(self.columns), k=-1), like=x)[None, :, :] > 0  # settles ties
        nearer = xp.logical_or(other < mine, xp.logical_and(other == mine, earlier))
        rank = xp.sum(xp.astype(nearer, x.dtype), axis=-1)
        return xp.sum(found * xp.astype(rank == self.rank, x.dtype)[..., None], axis=1)


@module
class LocalFrame:
    """The descriptor: Neighborhood with n rows -> (n, 4·sum(sel_a) + sum(sel_r))."""

    davg: Array = buffer()  # (ntypes, dim_out), mean by type of the centre
    dstd: Array = buffer()  # (ntypes, dim_out), standard deviation
    rcut: float = 6.0  # Å
    sel_a: tuple[int, ...] = ()
    sel_r: tuple[int, ...] = ()
    axis_rule: tuple[int, ...] = ()
    type_map: tuple[str, ...] | None = None

    Settings = LocalFrameSettings
    by_type = True
    types_alone = True
    message_passing = False
    dim_emb = 3

    @property
    def sel(self) -> tuple[int, ...]:
        """The most neighbours of each type."""
        return tuple(a + r for a, r in zip(self.sel_a, self.sel_r, strict=True))

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return 4 * sum(self.sel_a) + sum(self.sel_r)

    def __call__(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor (n, dim_out) and the axes (n, 3, 3), one in each row, 0 where there is no neighbour for it."""
        values, axes = self.coordinates(table)
        xp = namespace(values, self.davg)
        types = xp.maximum(table.types, xp.zeros_like(table.types))
        return (values - arrays.take(self.davg, types)) / arrays.take(self.dstd, types), axes

    def coordinates(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor before normalisation, and the axes."""
        table = with_all_slots(table, self.sel)
        xp = namespace(table.vectors)
        there = xp.astype(table.neighbor_types >= 0, table.vectors.dtype)
        x = arrays.concat([table.vectors, there[..., None]], axis=-1)
        counts = [count for pair in zip(self.sel_a, self.sel_r, strict=True) for count in pair]
        lists = arrays.split(x, counts, axis=1)
        x = arrays.concat([*lists[::2], *lists[1::2]], axis=1)
        axes = arrays.by_block([partial(_axes, self._axis(t)) for t in range(len(self.sel))], x, table.row_counts)

        inverse = xp.where(
            x[:, :, 3] > 0, 1.0 / arrays.safe_norm(x[:, :, :3], x[:, :, 3] > 0), xp.zeros_like(x[:, :, 3])
        )
        full = sum(self.sel_a)
        near = x[:, :full, :3] @ xp.matrix_transpose(axes) * (inverse * inverse)[:, :full, None]
        polar = arrays.concat([inverse[:, :full, None], near[:, :, 2:], near[:, :, :2]], axis=-1)  # 1/r, z, x, y
        polar = xp.reshape(polar, (arrays.shape(polar)[0], 4 * full))
        return arrays.concat([polar, inverse[:, full:]], axis=1), axes

    def _axis(self, t: int) -> tuple[Axis, Axis, Axis | None]:
        """Of a centre of type t the two axes, and what replaces the second if it is opposite to the first."""
        if not self.axis_rule:
            first = 0 if sum(self.sel_a) > 1 else sum(self.sel_a)
            end = sum(self.sel_a) if first == 0 else sum(self.sel)
            third = Axis((first + 2,), 0) if first + 2 < end else None
            return Axis((first,), 0), Axis((first + 1,), 0), third
        rule = self.axis_rule[6 * t : 6 * t + 6]
        one, two = self._chosen(*rule[:3]), self._chosen(*rule[3:])
        if one is None or two is None:
            raise ConfigError(
                f"axis_rule has {list(rule)} for type {t}, which names no neighbour: the numbers of each axis are 0 "
                f"(of sel_a, {list(self.sel_a)}) or 1 (of sel_r, {list(self.sel_r)}), a type, and a place below that "
                "number."
            )
        return one, two, self._chosen(rule[3], rule[4], rule[5] + 1)

    def _chosen(self, kind: int, neighbor_type: int, place: int) -> Axis | None:
        """The axis of three numbers of the rule, None if there is no such neighbour."""
        if kind not in (0, 1) or place < 0 or neighbor_type >= len(self.sel):
            return None
        sel, start = ((self.sel_a, 0), (self.sel_r, sum(self.sel_a)))[kind]
        begin = [start, *accumulate(sel, initial=start)][1:]
        if neighbor_type >= 0:
            column = begin[neighbor_type] + place
            return Axis((column,), 0) if column < start + sum(sel) else None
        left_out = -neighbor_type if kind else -(neighbor_type + 1)  # the format counts the two differently
        columns = [begin[t] + k for t, most in enumerate(sel) if t != left_out for k in range(min(_CANDIDATES, most))]
        return Axis(tuple(columns), place) if place < len(columns) else None

    # the statistics of the training data

    @property
    def identity(self) -> dict[str, Any]:
        """What the statistics depend on."""
        rule = {"sel_a": list(self.sel_a), "sel_r": list(self.sel_r), "axis_rule": list(self.axis_rule)}
        return {"type": "loc_frame", "ntypes": len(self.sel), "rcut": round(self.rcut, 2), **rule}

    def moments(self, neighbors: FrameNeighbors) -> Floats:
        """Number, sum and sum of squares of each column, by type of the centre: (ntypes, dim_out, 3)."""
        spec = neighbor_spec(self, len(self.sel), frozenset())
        table = build_batch([neighbors], spec).table
        values, _ = self.coordinates(table)
        hot = (table.types == np.arange(len(self.sel))[:, None]).astype(np.float64)
        count = np.broadcast_to(hot.sum(axis=1)[:, None], (len(self.sel), self.dim_out))
        return np.stack([count, hot @ values, hot @ (values * values)], axis=-1)

    def with_moments(self, sums: Floats) -> LocalFrame:
        """The descriptor normalised by the moments of all frames."""
        mean, std = mean_and_std(sums, floor=_FLOOR)
        return replace(self, davg=mean, dstd=std)

    # how it begins and is stored

    @classmethod
    def init(cls, settings: LocalFrameSettings, type_map: Sequence[str]) -> LocalFrame:
        """Trivial statistics. Raises ConfigError for rules that name no neighbour."""
        if len(settings.sel_a) != len(type_map):
            raise ConfigError(
                f"descriptor/sel_a has {len(settings.sel_a)} entries, but the type map has {len(type_map)} elements "
                f"({', '.join(type_map)}). Give one number for each."
            )
        width = 4 * sum(settings.sel_a) + sum(settings.sel_r)
        made = cls(
            davg=np.zeros((len(type_map), width)),
            dstd=np.ones((len(type_map), width)),
            rcut=settings.rcut,
            sel_a=tuple(settings.sel_a),
            sel_r=tuple(settings.sel_r),
            axis_rule=tuple(settings.axis_rule),
            type_map=tuple(type_map),
        )
        for t in range(len(type_map)):
            made._axis(t)
        return made

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor, which only dp reads."""
        return {
            "@class": "Descriptor",
            "type": "loc_frame",
            "@version": 1,
            "rcut": self.rcut,
            "sel_a": list(self.sel_a),
            "sel_r": list(self.sel_r),
            "axis_rule": list(self.axis_rule),
            "@variables": {"davg": self.davg, "dstd": self.dstd},
            "type_map": None if self.type_map is None else list(self.type_map),
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> LocalFrame:
        """The descriptor of a document."""
        data = check_version(data, "Descriptor", (1, 1))
        numbers = {key: tuple(data[key]) for key in ("sel_a", "sel_r", "axis_rule")}
        type_map = None if data["type_map"] is None else tuple(data["type_map"])
        return cls(**data["@variables"], **numbers, rcut=data["rcut"], type_map=type_map)


def _axes(axes: tuple[Axis, Axis, Axis | None], x: Array) -> Array:
    """The frames of centres of one type: (rows, slots, 4) -> (rows, 3, 3)."""
    xp = namespace(x)
    first, second, third = axes
    a, u = _unit(first(x)[:, :3]), second(x)[:, :3]
    if third is not None:
        opposite = xp.abs(xp.sum(a * _unit(u), axis=-1) + 1.0) < _OPPOSITE
        u = xp.where(opposite[:, None], third(x)[:, :3], u)
    b = _unit(u - xp.sum(u * a, axis=-1)[:, None] * a)
    c = _cross(a, b)
    return arrays.concat([a[:, None, :], b[:, None, :], c[:, None, :]], axis=1)


def _unit(x: Array) -> Array:
    """Vectors of length 1, or 0 where there are none: (rows, 3)."""
    xp = namespace(x)
    there = xp.sum(x * x, axis=-1) > 0
    return xp.where(there[:, None], x / arrays.safe_norm(x, there)[:, None], xp.zeros_like(x))  # no gradient of nothing


def _cross(a: Array, b: Array) -> Array:
    """The vector product: (rows, 3), (rows, 3) -> (rows, 3)."""
    ax, ay, az = (a[:, k : k + 1] for k in range(3))
    bx, by, bz = (b[:, k : k + 1] for k in range(3))
    return arrays.concat([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)
