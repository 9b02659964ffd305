"""What the descriptors with one network for each type of neighbour share: settings, fields, documents."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.environment import (
    differ_between_slots,
    empty_counts,
    environment_document,
    environment_matrix,
    masked,
    normalized,
    with_all_slots,
)
from dp_core.descriptors.tabulation import Resolution, stored_tables, tables_document, tabulated
from dp_core.errors import ConfigError, FormatError
from dp_core.format.versions import check_version
from dp_core.module import Array, buffer, module, replace
from dp_core.neighbors import Neighborhood
from dp_core.nn import EmbeddingNet, NetworkCollection, canonical
from dp_core.nn.networks import Seed, child_seed
from dp_core.nn.table import Grid, Table
from dp_core.schema.kinds import Activation, Precision, SeedSetting, check_types
from dp_core.schema.section import Section, option


class EnvironmentSettings(Section):
    """Settings of every descriptor that embeds the environment matrix."""

    sel: list[int] | str = option(
        "auto", "most neighbours of each type within rcut; 'auto' or 'auto:factor' counts them in the training data"
    )
    rcut: float = option(6.0, "cutoff radius", unit="Å", gt=0)
    rcut_smth: float = option(0.5, "where the smooth switch to zero begins", unit="Å", ge=0)
    neuron: list[int] = option([10, 20, 40], "widths of the embedding network")
    activation_function: Activation = option("tanh", "activation of the embedding network")
    resnet_dt: bool = option(False, "learn a step for every residual connection")
    precision: Precision = option("default", "precision of the networks")
    trainable: bool = option(True, "whether training changes the networks")
    seed: SeedSetting = option(None, "seed of the initial weights")
    exclude_types: list[tuple[int, int]] = option([], "pairs of types that do not see each other")
    env_protection: float = option(0.0, "added to every distance, against division by zero", unit="Å", ge=0)
    set_davg_zero: bool = option(False, "keep the mean of the environment matrix at zero")

    @pydantic.model_validator(mode="after")
    def _environment(self) -> EnvironmentSettings:
        numbers = [self.sel] if isinstance(self.sel, int) else self.sel
        if isinstance(numbers, list) and (min(numbers, default=0) < 0 or not any(numbers)):
            raise ValueError(f"sel is {self.sel}; give the most neighbours, none negative, not all 0")
        if self.rcut_smth >= self.rcut:
            raise ValueError(f"rcut_smth is {self.rcut_smth} and must be smaller than rcut, {self.rcut}")
        if not self.neuron or min(self.neuron) < 1:
            raise ValueError(f"neuron is {self.neuron}; give at least one width, all positive")
        axes = getattr(self, "axis_neuron", 1)
        if axes > self.neuron[-1]:
            raise ValueError(f"axis_neuron is {axes}, more than the last width of neuron, {self.neuron[-1]}")
        return self


@module
class ByType:
    """A descriptor whose networks belong to types of neighbours."""

    embeddings: NetworkCollection
    davg: Array = buffer()  # (ntypes, sum(sel), columns), mean of the environment matrix by slot
    dstd: Array = buffer()  # (ntypes, sum(sel), columns), its standard deviation
    rcut: float = 6.0  # Å
    rcut_smth: float = 0.5  # Å
    sel: tuple[int, ...] = ()
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # Å
    set_davg_zero: bool = False
    precision: str = "float64"
    trainable: bool = True
    type_map: tuple[str, ...] | None = None
    by_slot: bool = False  # every slot is evaluated, empty ones too, because davg or dstd differ between slots
    tables: tuple[Table | None, ...] | None = buffer(default=None)  # in the place of the networks, if compressed

    by_type = True  # slots come in blocks by neighbour type
    angular = False  # the networks take products of two neighbours
    message_passing = False

    @property
    def ntypes(self) -> int:
        """Number of types."""
        return len(self.sel)

    @property
    def width(self) -> int:
        """Width of the embedding."""
        width: int = self.embeddings.networks[0].neuron[-1]
        return width

    @property
    def compressed(self) -> bool:
        """Whether tables take the place of networks."""
        return self.tables is not None

    def network(self, key: tuple[int, ...]) -> Any:
        """The network of a type or of a pair of types, or the table in its place."""
        k = self.embeddings.number(key)
        table = None if self.tables is None else self.tables[k]
        return self.embeddings.networks[k] if table is None else table

    def obstacle(self) -> str | None:
        """Why there can be no tables; None if there can."""
        return None

    def tabulated(self, resolution: Resolution) -> Any:
        """The descriptor with tables in the place of its networks."""
        return replace(self, tables=tabulated(self.embeddings.networks, self.grids(resolution), self))

    def uncompressed(self) -> Any:
        """The descriptor without tables."""
        return replace(self, tables=None)

    def grids(self, resolution: Resolution) -> Sequence[Grid | None]:
        """The grid of each network; None for one that is not used."""
        raise NotImplementedError

    def environment(self, table: Neighborhood, columns: int) -> tuple[Array, Neighborhood]:
        """The normalised environment matrix (n, K, columns), and the table of the slots that it has.

        columns: 4, or 1 for the radial one alone. Excluded pairs are 0, and so are empty slots unless ``by_slot``.
        """
        if self.by_slot:
            table = with_all_slots(table, self.sel)
        vectors = arrays.cast(table.vectors, self.precision)
        radial, angular = environment_matrix(
            vectors,
            table.neighbor_types >= 0,
            rcut=self.rcut,
            rcut_smth=self.rcut_smth,
            protection=self.env_protection,
        )
        matrix = radial if columns == 1 else arrays.concat([radial, angular], axis=-1)
        matrix = normalized(matrix, self.davg, self.dstd, table, by_slot=self.by_slot)
        return masked(matrix, table, self.ntypes, self.exclude_types), table

    def document(self, kind: str) -> dict[str, Any]:
        """The part of the document that all have."""
        net = self.embeddings.networks[0]
        compress = {}
        if self.tables is not None:
            variables = tables_document(self.tables, angular=self.angular)
            compress = {"@version": 3, "compress": {"@variables": variables}}
        return {
            "@class": "Descriptor",
            "type": kind,
            "@version": 2,
            "rcut": self.rcut,
            "rcut_smth": self.rcut_smth,
            "sel": list(self.sel),
            "neuron": list(net.neuron),
            "resnet_dt": net.resnet_dt,
            "set_davg_zero": self.set_davg_zero,
            "activation_function": net.activation_function,
            "precision": self.precision,
            "embeddings": self.embeddings.serialize(),
            "env_mat": environment_document(self.rcut, self.rcut_smth, self.env_protection),
            "exclude_types": [list(pair) for pair in self.exclude_types],
            "env_protection": self.env_protection,
            "@variables": {"davg": self.davg, "dstd": self.dstd},
            "type_map": None if self.type_map is None else list(self.type_map),
            "trainable": self.trainable,
        } | compress


@module
class TwoBody(ByType):
    """A descriptor of sums over single neighbours."""

    type_one_side: bool = False  # networks by type of the neighbour; else by type of the centre and of the neighbour

    def grids(self, resolution: Resolution) -> Sequence[Grid | None]:
        """The grid of each network, as wide as its centres need."""
        types = range(self.ntypes)
        if self.type_one_side:
            return [resolution.radial(self, types)] * self.ntypes
        return [resolution.radial(self, [i]) for i in types] * self.ntypes  # the type of the centre runs fastest

    def embedded_sum(self, matrix: Array, table: Neighborhood, empty: Array) -> Array:
        """Σ_k R_k ⊗ G(R_k0) over all slots, those counted that the table does not have: (n, K, d) -> (n, d, width).

        empty: (ntypes, d), the row of an empty slot by type of the centre.
        """
        blocks = arrays.split(matrix, table.slot_counts, axis=1)
        total = sum(self._block(j, block, table) for j, block in enumerate(blocks))
        return total if self.by_slot else total + self._empty_slots(table, empty)

    def _block(self, j: int, block: Array, table: Neighborhood) -> Array:
        """The sum over the slots of neighbour type j: (n, K_j, d) -> (n, d, width)."""
        if self.type_one_side:
            return arrays.embedding_sum(block, self.network((j,)))
        sums = [partial(arrays.embedding_sum, net=self.network((i, j))) for i in range(self.ntypes)]
        return arrays.by_block(sums, block, table.row_counts)

    def _empty_slots(self, table: Neighborhood, empty: Array) -> Array:
        """What the empty slots add: they are all alike, so their number times a constant. (n, d, width)."""
        missing = empty_counts(table.neighbor_types >= 0, table, self.sel, self.precision)
        g = arrays.concat([self._embedded(j, empty[:, :1])[:, None, :] for j in range(self.ntypes)], axis=1)
        xp = namespace(g, missing)
        columns = empty.shape[-1]
        one = xp.reshape(empty[:, None, :, None] * g[:, :, None, :], (self.ntypes, self.ntypes, columns * self.width))
        rows = arrays.split(missing, table.row_counts)
        added = arrays.concat([part @ one[i, ...] for i, part in enumerate(rows)])
        return xp.reshape(added, (arrays.shape(added)[0], columns, self.width))

    def _embedded(self, j: int, x: Array) -> Array:
        """A number of each central type through the networks of neighbour type j: (ntypes, 1) -> (ntypes, width)."""
        if self.type_one_side:
            return self.network((j,))(x)
        return arrays.concat([self.network((i, j))(x[i : i + 1, :]) for i in range(self.ntypes)])


def init_fields(
    settings: EnvironmentSettings, type_map: Sequence[str], columns: int, *, one_side: bool
) -> dict[str, Any]:
    """Fields of a new descriptor: random networks and trivial statistics.

    columns: of the environment matrix; one_side: networks by one type, not by two.
    """
    ntypes = len(type_map)
    sel = check_sel(settings.sel, type_map)
    check_types("model/descriptor/exclude_types", settings.exclude_types, type_map)
    precision = canonical(settings.precision)
    seeds: list[Seed]
    if one_side:
        seeds = [child_seed(settings.seed, j) for j in range(ntypes)]
    else:  # stored with the first type running fastest, seeded with the second running fastest
        seeds = [child_seed(settings.seed, i * ntypes + j) for j in range(ntypes) for i in range(ntypes)]
    nets = tuple(
        EmbeddingNet.init(
            1, settings.neuron, activation_function=settings.activation_function, resnet_dt=settings.resnet_dt,
            precision=precision, seed=seed, trainable=settings.trainable,
        )
        for seed in seeds
    )  # fmt: skip
    return {
        "embeddings": NetworkCollection(nets, 1 if one_side else 2, ntypes, "embedding_network"),
        "davg": np.zeros((ntypes, sum(sel), columns), precision),
        "dstd": np.ones((ntypes, sum(sel), columns), precision),
        "rcut": settings.rcut,
        "rcut_smth": settings.rcut_smth,
        "sel": tuple(sel),
        "exclude_types": tuple(settings.exclude_types),
        "env_protection": settings.env_protection,
        "set_davg_zero": settings.set_davg_zero,
        "precision": precision,
        "trainable": settings.trainable,
        "type_map": tuple(type_map),
    }


def check_sel(sel: list[int] | str, type_map: Sequence[str], place: str = "descriptor/sel") -> list[int]:
    """``sel`` as one number for each type. Raises ConfigError for other lengths, or if it is not counted yet."""
    if isinstance(sel, str):
        raise ConfigError(f"sel is {sel!r}; count the neighbours of the training data first.")
    if len(sel) != len(type_map):
        raise ConfigError(
            f"{place} has {len(sel)} entries, but the type map has {len(type_map)} elements "
            f'({", ".join(type_map)}). Give one number for each, or "auto".'
        )
    return sel


def stored_environment(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of every descriptor that embeds the environment matrix, from a document.

    Raises FormatError for what dp does not read.
    """
    if data.get("spin") is not None:
        raise FormatError(
            "The descriptor was made with the old form of spin, which has no meaning here; retrain the model."
        )
    davg, dstd = data["@variables"]["davg"], data["@variables"]["dstd"]
    return {
        "embeddings": NetworkCollection.deserialize(data["embeddings"]),
        "davg": davg,
        "dstd": dstd,
        "rcut": data["rcut"],
        "rcut_smth": data["rcut_smth"],
        "sel": tuple(np.atleast_1d(data["sel"]).tolist()),
        "exclude_types": tuple((a, b) for a, b in data.get("exclude_types", [])),
        "env_protection": data.get("env_protection", 0.0),
        "set_davg_zero": data.get("set_davg_zero", False),
        "precision": canonical(data.get("precision", "float64")),
        "trainable": data.get("trainable", True),
        "type_map": None if data.get("type_map") is None else tuple(data["type_map"]),
        "by_slot": differ_between_slots(davg, dstd),
    }


def stored_fields(data: dict[str, Any], *, angular: bool = False) -> dict[str, Any]:
    """The fields that all have, from a document. Raises FormatError for what dp does not read.

    angular: the networks take products of two neighbours.
    """
    data = check_version(data, "Descriptor", (1, 3))
    fields = stored_environment(data)
    if data.get("compress") is None:
        return fields | {"tables": None}
    networks = fields["embeddings"].networks
    return fields | {"tables": stored_tables(data["compress"]["@variables"], networks, angular=angular)}
