"""What the descriptors that know types by their embedding share: settings, slots of all types together, documents.

The format evaluates empty slots too. They carry −davg/dstd, which is 0 for most models, and where the network takes the
type of the neighbour, they have that of the first atom of the frame. So the energy of such a model depends on the
order of the atoms; the table says the type of the first atom where the descriptor asks for it (``marks_first``).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.base import EnvironmentSettings, stored_environment
from dp_core.descriptors.environment import (
    environment_document,
    environment_matrix,
    masked,
    normalized,
    smooth_switch,
    with_all_slots,
)
from dp_core.descriptors.tabulation import Resolution, stored_tables, tables_document, tabulated
from dp_core.errors import ConfigError, FormatError
from dp_core.module import Array, buffer, module, replace
from dp_core.neighbors import Neighborhood
from dp_core.nn import EmbeddingNet, NetworkCollection, canonical
from dp_core.nn.networks import Seed, child_seed
from dp_core.nn.table import Table
from dp_core.nn.type_embedding import TypeEmbedding
from dp_core.schema.kinds import check_types
from dp_core.schema.section import option
from dp_core.type_map import renumbered_pairs, rows_of_types

log = logging.getLogger("dp_core.descriptors")


class MixedSettings(EnvironmentSettings):
    """Settings of every descriptor with a type embedding."""

    sel: int | list[int] | str = option(  # type: ignore[assignment]
        "auto", "most neighbours within rcut, by type or of all types; 'auto' or 'auto:factor' counts them in the data"
    )
    set_davg_zero: bool = option(True, "keep the mean of the environment matrix at zero")
    tebd_dim: int = option(8, "numbers that stand for a type", gt=0)
    use_econf_tebd: bool = option(False, "types start from the electrons of their element, not from their number")
    use_tebd_bias: bool = option(False, "bias in the type embedding")
    concat_output_tebd: bool = option(True, "append the numbers of the atom's own type to the descriptor")


class TypedSettings(MixedSettings):
    """Settings of those that can keep the types out of the network of distances."""

    tebd_input_mode: Literal["concat", "strip"] = option(
        "concat", "types go into the network of distances ('concat') or into one of their own ('strip')"
    )


class Slots(NamedTuple):
    """The slots of a table as a descriptor sees them."""

    matrix: Array  # (n, K, 4), normalised environment matrix; 0 for excluded pairs
    vectors: Array  # (n, K, 3) Å
    valid: Array  # (n, K, 1), 1 for neighbours that are not excluded, else 0
    switch: Array  # (n, K, 1), from 1 to 0 at the cutoff; 0 where not valid
    neighbor: Array  # (n, K), row of the type embedding
    center: Array  # (n,), row of the type embedding
    first: Array | None  # (n,), row of the type embedding that empty slots have, if that counts
    missing: Array  # (n, 1), how many empty slots the format has beyond those here


@module
class Mixed:
    """A descriptor of the neighbours of all types together."""

    embeddings: NetworkCollection  # one network
    type_embedding: TypeEmbedding
    embeddings_strip: NetworkCollection | None = None  # one network, of types alone
    davg: Array = buffer(default=None)  # (ntypes, sum(sel), 4), mean of the environment matrix by slot
    dstd: Array = buffer(default=None)  # (ntypes, sum(sel), 4), its standard deviation
    rcut: float = 6.0  # Å
    rcut_smth: float = 0.5  # Å
    sel: tuple[int, ...] = ()
    smooth: bool = True
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # Å
    set_davg_zero: bool = True
    concat_output_tebd: bool = True
    precision: str = "float64"
    trainable: bool = True
    type_map: tuple[str, ...] | None = None
    by_slot: bool = False  # every slot is evaluated, empty ones too
    zero_mean: bool = True  # davg is 0, so that empty slots add nothing
    #: If compressed: the table in the place of the network of distances or angles, if there is one, and what the
    #: network of types gives, (m, width), in the order of ``type_rows``.
    tables: tuple[Table | None, ...] | None = buffer(default=None)
    type_table: Array | None = buffer(default=None)

    by_type = False
    angular = False  # the network takes products of two neighbours
    by_neighbor = False  # the network of types takes that of the neighbour alone
    message_passing = False

    @property
    def ntypes(self) -> int:
        """Number of types."""
        return self.type_embedding.ntypes

    @property
    def nnei(self) -> int:
        """Slots of the format."""
        return sum(self.sel)

    @property
    def width(self) -> int:
        """Width of the embedding."""
        width: int = self.embeddings[()].neuron[-1]
        return width

    @property
    def marks_first(self) -> bool:
        """Whether empty slots must tell the type of the first atom of the frame."""
        return not self.zero_mean and (self.embeddings_strip is None or not self.smooth)

    def slots(self, table: Neighborhood) -> Slots:
        """The slots of a table; all of the format if ``by_slot``, else those of the table."""
        xp = namespace(table.vectors, self.davg)
        first = _first_type(table.neighbor_types, self.ntypes) if self.marks_first else None
        if self.by_slot:
            table = with_all_slots(table, self._one_block(table))
        vectors = arrays.cast(table.vectors, self.precision)
        occupied = table.neighbor_types >= 0
        radial, angular = environment_matrix(
            vectors, occupied, rcut=self.rcut, rcut_smth=self.rcut_smth, protection=self.env_protection
        )
        matrix = xp.concat([radial, angular], axis=-1)
        matrix = normalized(matrix, self.davg, self.dstd, table, by_slot=self.by_slot)
        real = arrays.cast(occupied, self.precision)[..., None]
        valid = masked(real, table, self.ntypes, self.exclude_types)
        switch = smooth_switch(arrays.safe_norm(vectors, occupied), self.rcut_smth, self.rcut)[..., None] * valid
        none = xp.full_like(table.types, self.ntypes)
        center = xp.where(table.types < 0, none, table.types)
        empty = (none if first is None else first)[:, None] + xp.zeros_like(table.neighbor_types)
        return Slots(
            matrix=masked(matrix, table, self.ntypes, self.exclude_types),
            vectors=vectors,
            valid=valid,
            switch=switch,
            neighbor=xp.where(occupied, table.neighbor_types, empty),
            center=center,
            first=first,
            missing=self.nnei - xp.sum(real, axis=1),
        )

    def _one_block(self, table: Neighborhood) -> tuple[int, ...]:
        if len(table.slot_counts) != 1:
            raise FormatError(
                "The statistics of the descriptor differ between slots, and it stands beside descriptors by type; dp "
                "cannot evaluate that. Train the model anew."
            )
        return (self.nnei,)

    def with_types(self, descriptor: Array, slots: Slots, types: Array) -> Array:
        """The descriptor with the vector of the atom's own type behind it, if it is wanted; float64."""
        if self.concat_output_tebd:
            descriptor = arrays.concat([descriptor, arrays.take(types, slots.center)], axis=-1)
        return arrays.cast(descriptor, "float64")

    @property
    def compressed(self) -> bool:
        """Whether tables take the place of networks."""
        return self.type_table is not None

    @property
    def network(self) -> Any:
        """The network of distances or angles, or the table in its place."""
        table = None if self.tables is None else self.tables[0]
        return self.embeddings[()] if table is None else table

    def obstacle(self) -> str | None:
        """Why there can be no tables; None if there can."""
        if self.embeddings_strip is not None:
            return None
        return (
            "types go into the network of distances or angles (tebd_input_mode 'concat'), which then is no function of "
            "one number. Train with tebd_input_mode 'strip'."
        )

    def tabulated(self, resolution: Resolution) -> Any:
        """The descriptor with tables in the place of its networks."""
        grid = resolution.angular(self) if self.angular else resolution.radial(self, range(self.ntypes))
        tables = tabulated(self.embeddings.networks, [grid], self)
        return replace(self, tables=tables, type_table=self.type_rows(self.types()))

    def uncompressed(self) -> Any:
        """The descriptor without tables."""
        return replace(self, tables=None, type_table=None)

    def type_rows(self, types: Array) -> Array:
        """What the network of types gives for all types, or for all pairs of them: (m, width)."""
        if self.type_table is not None:
            return self.type_table
        assert self.embeddings_strip is not None
        return self.embeddings_strip[()](types) if self.by_neighbor else self.pairs_of_types(types)

    def types(self) -> Array:
        """The vectors of all types: (ntypes + 1, tebd_dim)."""
        return arrays.cast(self.type_embedding(), self.precision)

    def pairs_of_types(self, types: Array) -> Array:
        """The network of types for all pairs, those with the same first type together: ((ntypes + 1)², width)."""
        assert self.embeddings_strip is not None
        xp = namespace(types)
        width, count = self.type_embedding.width, self.ntypes + 1
        grid = (count, count, width)
        both = xp.concat([xp.broadcast_to(x, grid) for x in (types[:, None, :], types[None, :, :])], axis=-1)
        return self.embeddings_strip[()](xp.reshape(both, (count * count, 2 * width)))

    def change_type_map(self, type_map: Sequence[str], random: np.random.Generator) -> Any:
        """The descriptor for other types: known ones keep what they have, new ones get random vectors.

        Raises ConfigError where that is impossible.
        """
        return with_types(self, type_map, random)

    def compress_document(self) -> dict[str, Any]:
        """The part of the document that holds tables; empty without."""
        if self.type_table is None:
            return {}
        tables = {} if self.tables is None else tables_document(self.tables)
        document: dict[str, Any] = {"@variables": {"type_embd_data": self.stored_type_table(self.type_table)} | tables}
        return {"compress": document if self.angular else document | {"geo_compress": bool(tables)}}

    def stored_type_table(self, rows: Array) -> Array:
        """The table of types in the order of the format, and back again."""
        return rows

    def with_stored_tables(self, document: dict[str, Any] | None) -> Any:
        """The descriptor with the tables of ``compress_document``, if there are some. Raises FormatError."""
        if document is None:
            return self
        variables = document["@variables"]
        tables = None
        if "compress_data" in variables:
            tables = stored_tables(variables, self.embeddings.networks, angular=self.angular)
        count = (int(self.davg.shape[0]) + 1) ** (1 if self.by_neighbor else 2)
        rows = variables["type_embd_data"]
        if rows.shape != (count, self.width):
            raise FormatError(
                f"The table of types in the model has the shape {rows.shape}, expected is {(count, self.width)}; the "
                "file is damaged. Compress the model again."
            )
        return replace(self, tables=tables, type_table=self.stored_type_table(rows))

    def document(self, kind: str, version: int) -> dict[str, Any]:
        """The part of the document that all have."""
        net = self.embeddings[()]
        strip = {} if self.embeddings_strip is None else {"embeddings_strip": self.embeddings_strip.serialize()}
        return (
            {
                "@class": "Descriptor",
                "type": kind,
                "@version": version,
                "rcut": self.rcut,
                "rcut_smth": self.rcut_smth,
                "sel": list(self.sel),
                "ntypes": self.ntypes,
                "neuron": list(net.neuron),
                "tebd_dim": self.type_embedding.width,
                "tebd_input_mode": "concat" if self.embeddings_strip is None else "strip",
                "set_davg_zero": self.set_davg_zero,
                "activation_function": net.activation_function,
                "resnet_dt": net.resnet_dt,
                "concat_output_tebd": self.concat_output_tebd,
                "use_econf_tebd": self.type_embedding.use_econf_tebd,
                "type_map": None if self.type_map is None else list(self.type_map),
                "precision": self.precision,
                "embeddings": self.embeddings.serialize(),
                "env_mat": environment_document(self.rcut, self.rcut_smth, self.env_protection),
                "type_embedding": self.type_embedding.serialize(),
                "exclude_types": [list(pair) for pair in self.exclude_types],
                "env_protection": self.env_protection,
                "@variables": {"davg": self.davg, "dstd": self.dstd},
                "trainable": self.trainable,
            }
            | strip
            | self.compress_document()
        )


def with_types(descriptor: Any, type_map: Sequence[str], random: np.random.Generator, std: float = 1.0) -> Any:
    """A descriptor with a type embedding for other types; see ``Mixed.change_type_map``. std: dstd of new types."""
    changed = replace(
        descriptor,
        type_embedding=descriptor.type_embedding.change_type_map(type_map, random),
        type_map=tuple(type_map),
    )
    return of_types(changed, embedding_names(descriptor), type_map, std)


def of_types(part: Any, old: Sequence[str], new: Sequence[str], std: float = 1.0) -> Any:
    """Statistics and excluded pairs of a part for the types ``new`` in place of ``old``. std: dstd of new types."""
    return replace(
        part,
        davg=rows_of_types(part.davg, old, new, 0.0),
        dstd=rows_of_types(part.dstd, old, new, std),
        exclude_types=renumbered_pairs(part.exclude_types, old, new),
    )


def embedding_names(descriptor: Any) -> list[str]:
    """The names of the types. Raises ConfigError if there are none."""
    if descriptor.type_map is None:
        raise ConfigError("The descriptor has no type_map, so its types cannot be changed.")
    return list(descriptor.type_map)


def _first_type(neighbor_types: Array, ntypes: int) -> Array:
    """What the empty slots of a marked table tell: (n, K) -> (n,), ntypes for no type."""
    xp = namespace(neighbor_types)
    lowest = xp.min(neighbor_types, axis=1)
    return xp.where(lowest < -1, -2 - lowest, xp.full_like(lowest, ntypes))


def warn_of_first(made: Mixed, key: str) -> None:
    """Tell the user of a new descriptor that ``key`` makes energies depend on the order of the atoms."""
    if made.marks_first:
        log.warning(
            "%s is false: empty slots then have the type of the first atom of a frame, as in DeePMD-kit, and energies "
            "depend on the order of the atoms. Leave it out, or set it to true.",
            key,
        )


def init_fields(
    settings: MixedSettings, type_map: Sequence[str], *, in_dim: int, strip_dim: int | None, block: Seed
) -> dict[str, Any]:
    """Fields of a new descriptor: random networks and trivial statistics. ``sel`` must be numbers by now.

    in_dim, strip_dim: inputs of the network of distances and of that of types, None for no such; block: the seed of
    both. Raises ConfigError for impossible types.
    """
    if isinstance(settings.sel, str):
        raise ConfigError(f"sel is {settings.sel!r}; count the neighbours of the training data first.")
    sel = (settings.sel,) if isinstance(settings.sel, int) else tuple(settings.sel)
    check_types("model/descriptor/exclude_types", settings.exclude_types, type_map)
    precision, ntypes = canonical(settings.precision), len(type_map)

    def network(width: int, part: int) -> NetworkCollection:
        net = EmbeddingNet.init(
            width, settings.neuron, activation_function=settings.activation_function, resnet_dt=settings.resnet_dt,
            precision=precision, seed=child_seed(block, part), trainable=settings.trainable,
        )  # fmt: skip
        return NetworkCollection((net,), 0, ntypes, "embedding_network")

    return {
        "embeddings": network(in_dim, 0),
        "embeddings_strip": None if strip_dim is None else network(strip_dim, 1),
        "type_embedding": TypeEmbedding.init(
            type_map, [settings.tebd_dim], use_econf_tebd=settings.use_econf_tebd,
            use_tebd_bias=settings.use_tebd_bias, precision=precision, trainable=settings.trainable,
            seed=child_seed(settings.seed, 1),
        ),
        "davg": np.zeros((ntypes, sum(sel), 4), precision),
        "dstd": np.ones((ntypes, sum(sel), 4), precision),
        "rcut": settings.rcut,
        "rcut_smth": settings.rcut_smth,
        "sel": sel,
        "exclude_types": tuple(settings.exclude_types),
        "env_protection": settings.env_protection,
        "set_davg_zero": settings.set_davg_zero,
        "concat_output_tebd": settings.concat_output_tebd,
        "precision": precision,
        "trainable": settings.trainable,
        "type_map": tuple(type_map),
        "zero_mean": settings.set_davg_zero,
    }  # fmt: skip


def stored_fields(data: dict[str, Any]) -> dict[str, Any]:
    """The fields that all have, from a document. Raises FormatError for what dp does not read."""
    strip = data.get("embeddings_strip")
    fields = stored_environment(data)
    return fields | {
        "embeddings_strip": None if strip is None else NetworkCollection.deserialize(strip),
        "type_embedding": TypeEmbedding.deserialize(data["type_embedding"]),
        "concat_output_tebd": data.get("concat_output_tebd", True),
        "zero_mean": bool(data["set_davg_zero"] and not np.any(fields["davg"])),
    }
