"""se_e2_a: the two-body embedding descriptor with radial and angular information (DeepPot-SE).

Zhang et al., Advances in Neural Information Processing Systems 31 (2018). With R the normalised environment matrix
of an atom and G the embedding of its first column, A = Gᵀ R / N and the descriptor is A Aᵀ, cut to ``axis_neuron``
columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.environment import environment_matrix, pair_table
from dp_core.errors import ConfigError, FormatError
from dp_core.format.versions import check_version
from dp_core.module import Array, buffer, module, replace
from dp_core.neighbors import Neighborhood
from dp_core.nn import EmbeddingNet, NetworkCollection, canonical
from dp_core.nn.networks import Seed, child_seed
from dp_core.schema.kinds import Activation, Precision, SeedSetting, check_types
from dp_core.schema.section import Section, option


class SeE2ASettings(Section):
    """Settings of se_e2_a in an input file."""

    type: Literal["se_e2_a"] = option("se_e2_a", "name of the descriptor")
    sel: list[int] | str = option(
        "auto", "most neighbours of each type within rcut; 'auto' or 'auto:factor' counts them in the training data"
    )
    rcut: float = option(6.0, "cutoff radius", unit="Å", gt=0)
    rcut_smth: float = option(0.5, "where the smooth switch to zero begins", unit="Å", ge=0)
    neuron: list[int] = option([10, 20, 40], "widths of the embedding network")
    axis_neuron: int = option(4, "columns kept in the descriptor product", aliases=("n_axis_neuron",), gt=0)
    activation_function: Activation = option("tanh", "activation of the embedding network")
    resnet_dt: bool = option(False, "learn a step for every residual connection")
    type_one_side: bool = option(False, "networks by neighbour type only, not by pair of types")
    precision: Precision = option("default", "precision of the networks")
    trainable: bool = option(True, "whether training changes the networks")
    seed: SeedSetting = option(None, "seed of the initial weights")
    exclude_types: list[tuple[int, int]] = option([], "pairs of types that do not see each other")
    env_protection: float = option(0.0, "added to every distance, against division by zero", unit="Å", ge=0)
    set_davg_zero: bool = option(False, "keep the mean of the environment matrix at zero")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> SeE2ASettings:
        if isinstance(self.sel, list) and (min(self.sel, default=0) < 0 or not any(self.sel)):
            raise ValueError(f"sel is {self.sel}; give the most neighbours of each type, none negative, not all 0")
        if self.rcut_smth >= self.rcut:
            raise ValueError(f"rcut_smth is {self.rcut_smth} and must be smaller than rcut, {self.rcut}")
        if not self.neuron or min(self.neuron) < 1:
            raise ValueError(f"neuron is {self.neuron}; give at least one width, all positive")
        if self.axis_neuron > self.neuron[-1]:
            raise ValueError(
                f"axis_neuron is {self.axis_neuron}, more than the last width of neuron, {self.neuron[-1]}"
            )
        return self


@module
class SeE2A:
    """The descriptor: Neighborhood with n rows -> (n, neuron[-1]·axis_neuron)."""

    embeddings: NetworkCollection
    davg: Array = buffer()  # (ntypes, sum(sel), 4), mean of the environment matrix by slot
    dstd: Array = buffer()  # (ntypes, sum(sel), 4), its standard deviation
    rcut: float = 6.0  # Å
    rcut_smth: float = 0.5  # Å
    sel: tuple[int, ...] = ()
    axis_neuron: int = 4
    type_one_side: bool = False
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # Å
    set_davg_zero: bool = False
    precision: str = "float64"
    trainable: bool = True
    type_map: tuple[str, ...] | None = None
    by_slot: bool = False  # davg or dstd differ between slots: every slot is evaluated, empty ones too

    Settings = SeE2ASettings
    by_type = True  # slots come in blocks by neighbour type
    message_passing = False

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return self.dim_emb * self.axis_neuron

    @property
    def dim_emb(self) -> int:
        """Width of the embedding."""
        width: int = self.embeddings.networks[0].neuron[-1]
        return width

    def __call__(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor (n, dim_out) and the equivariant part (n, dim_emb, 3)."""
        if self.by_slot:
            table = _with_all_slots(table, self.sel)
        vectors = arrays.cast(table.vectors, self.precision)
        xp = namespace(vectors, self.davg)
        occupied = table.neighbor_types >= 0
        radial, angular = environment_matrix(
            vectors, occupied, rcut=self.rcut, rcut_smth=self.rcut_smth, protection=self.env_protection
        )
        matrix = xp.concat([radial, angular], axis=-1)
        matrix = self._masked(self._normalized(matrix, table, occupied), table)

        blocks = arrays.split(matrix, table.slot_counts, axis=1)
        total = sum(self._block(j, block, table) for j, block in enumerate(blocks))
        if not self.by_slot:
            total = total + self._empty_slots(table, occupied)
        a = total / float(sum(self.sel))  # (n, 4, dim_emb)
        product = xp.matrix_transpose(a) @ a[:, :, : self.axis_neuron]
        flat = xp.reshape(product, (arrays.shape(product)[0], self.dim_out))
        rotation = xp.matrix_transpose(a[:, 1:, :])
        return arrays.cast(flat, "float64"), arrays.cast(rotation, "float64")

    def _normalized(self, matrix: Array, table: Neighborhood, occupied: Array) -> Array:
        """(matrix − davg)/dstd by central type; 0 in empty slots, unless every slot is evaluated."""
        xp = namespace(matrix, self.davg)
        types = xp.maximum(table.types, xp.zeros_like(table.types))
        if self.by_slot:
            return (matrix - arrays.take(self.davg, types)) / arrays.take(self.dstd, types)
        scale = 1.0 / self.dstd[:, 0, :]
        shift = arrays.take(self.davg[:, 0, :] * scale, types)[:, None, :]
        scaled = matrix * arrays.take(scale, types)[:, None, :] - shift
        return xp.where(occupied[..., None], scaled, xp.zeros_like(scaled))

    def _masked(self, matrix: Array, table: Neighborhood) -> Array:
        """Zero where the pair of types is excluded; empty slots are never excluded."""
        if not self.exclude_types:
            return matrix
        xp = namespace(matrix)
        ntypes = len(self.sel)
        mask = arrays.constant(pair_table(ntypes, self.exclude_types), like=matrix)
        center, neighbor = (xp.where(t < 0, xp.full_like(t, ntypes), t) for t in (table.types, table.neighbor_types))
        pair = center[:, None] * (ntypes + 1) + neighbor
        return matrix * arrays.take(xp.reshape(mask, (-1,)), pair)[..., None]

    def _block(self, j: int, block: Array, table: Neighborhood) -> Array:
        """Σ_k R_k ⊗ G_k over the slots of neighbour type j: (n, K_j, 4) -> (n, 4, dim_emb)."""
        if self.type_one_side:
            return arrays.embedding_sum(block, self.embeddings[(j,)])
        sums = [partial(arrays.embedding_sum, net=self.embeddings[(i, j)]) for i in range(len(self.sel))]
        return arrays.by_block(sums, block, table.row_counts)

    def _empty_slots(self, table: Neighborhood, occupied: Array) -> Array:
        """What the empty slots add: each carries −davg/dstd, so their number times a constant. (n, 4, dim_emb)."""
        xp = namespace(occupied, self.davg)
        ntypes = len(self.sel)
        empty = -self.davg[:, 0, :] / self.dstd[:, 0, :]  # (ntypes, 4)
        blocks = arrays.split(occupied, table.slot_counts, axis=1)
        missing = [
            want - xp.sum(arrays.cast(block, self.precision), axis=1)[:, None]
            for want, block in zip(self.sel, blocks, strict=True)
        ]
        g = arrays.concat([self._embedded(j, empty[:, :1])[:, None, :] for j in range(ntypes)], axis=1)
        xp = namespace(g, occupied)
        one = xp.reshape(empty[:, None, :, None] * g[:, :, None, :], (ntypes, ntypes, 4 * self.dim_emb))
        rows = arrays.split(arrays.concat(missing, axis=1), table.row_counts)
        added = arrays.concat([part @ one[i, ...] for i, part in enumerate(rows)])
        return xp.reshape(added, (arrays.shape(added)[0], 4, self.dim_emb))

    def _embedded(self, j: int, x: Array) -> Array:
        """A number of each central type through the networks of neighbour type j: (ntypes, 1) -> (ntypes, dim_emb)."""
        if self.type_one_side:
            return self.embeddings[(j,)](x)
        return arrays.concat([self.embeddings[(i, j)](x[i : i + 1, :]) for i in range(len(self.sel))])

    @classmethod
    def init(cls, settings: SeE2ASettings, type_map: Sequence[str]) -> SeE2A:
        """Random networks and trivial statistics. ``sel`` must be numbers by now."""
        ntypes = len(type_map)
        if isinstance(settings.sel, str):
            raise ConfigError(f"sel is {settings.sel!r}; count the neighbours of the training data first.")
        if len(settings.sel) != ntypes:
            raise ConfigError(
                f"descriptor/sel has {len(settings.sel)} entries, but the type map has {ntypes} elements "
                f'({", ".join(type_map)}). Give one number for each, or "auto".'
            )
        check_types("model/descriptor/exclude_types", settings.exclude_types, type_map)
        precision = canonical(settings.precision)
        seeds: list[Seed]
        if settings.type_one_side:
            seeds = [child_seed(settings.seed, j) for j in range(ntypes)]
        else:  # stored with the centre running fastest, seeded with the neighbour running fastest
            seeds = [child_seed(settings.seed, i * ntypes + j) for j in range(ntypes) for i in range(ntypes)]
        nets = tuple(
            EmbeddingNet.init(
                1, settings.neuron, activation_function=settings.activation_function, resnet_dt=settings.resnet_dt,
                precision=precision, seed=seed,
            )
            for seed in seeds
        )  # fmt: skip
        shape = (ntypes, sum(settings.sel), 4)
        return cls(
            embeddings=NetworkCollection(nets, 1 if settings.type_one_side else 2, ntypes, "embedding_network"),
            davg=np.zeros(shape, precision),
            dstd=np.ones(shape, precision),
            rcut=settings.rcut,
            rcut_smth=settings.rcut_smth,
            sel=tuple(settings.sel),
            axis_neuron=settings.axis_neuron,
            type_one_side=settings.type_one_side,
            exclude_types=tuple(settings.exclude_types),
            env_protection=settings.env_protection,
            set_davg_zero=settings.set_davg_zero,
            precision=precision,
            trainable=settings.trainable,
            type_map=tuple(type_map),
        )

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        net = self.embeddings.networks[0]
        return {
            "@class": "Descriptor",
            "type": "se_e2_a",
            "@version": 2,
            "rcut": self.rcut,
            "rcut_smth": self.rcut_smth,
            "sel": list(self.sel),
            "neuron": list(net.neuron),
            "axis_neuron": self.axis_neuron,
            "resnet_dt": net.resnet_dt,
            "set_davg_zero": self.set_davg_zero,
            "activation_function": net.activation_function,
            "precision": self.precision,
            "spin": None,
            "embeddings": self.embeddings.serialize(),
            "env_mat": {
                "rcut": self.rcut,
                "rcut_smth": self.rcut_smth,
                "protection": self.env_protection,
                "use_exp_switch": False,
            },
            "exclude_types": [list(pair) for pair in self.exclude_types],
            "env_protection": self.env_protection,
            "@variables": {"davg": self.davg, "dstd": self.dstd},
            "type_map": None if self.type_map is None else list(self.type_map),
            "trainable": self.trainable,
            "type_one_side": self.type_one_side,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SeE2A:
        """The descriptor of a document."""
        data = check_version(data, "Descriptor", (1, 3))
        if data.get("compress") is not None:
            raise FormatError(
                "The model is compressed, which this version of dp does not read. Use the uncompressed file."
            )
        if data.get("spin") is not None:
            raise FormatError(
                "The descriptor was made with the old form of spin, which has no meaning here; retrain the model."
            )
        davg, dstd = data["@variables"]["davg"], data["@variables"]["dstd"]
        return cls(
            embeddings=NetworkCollection.deserialize(data["embeddings"]),
            davg=davg,
            dstd=dstd,
            rcut=data["rcut"],
            rcut_smth=data["rcut_smth"],
            sel=tuple(data["sel"]),
            axis_neuron=data.get("axis_neuron", 8),
            type_one_side=data.get("type_one_side", True),
            exclude_types=tuple((a, b) for a, b in data.get("exclude_types", [])),
            env_protection=data.get("env_protection", 0.0),
            set_davg_zero=data.get("set_davg_zero", False),
            precision=canonical(data.get("precision", "float64")),
            trainable=data.get("trainable", True),
            type_map=None if data.get("type_map") is None else tuple(data["type_map"]),
            by_slot=bool(np.any(davg != davg[:, :1]) or np.any(dstd != dstd[:, :1])),
        )


def _with_all_slots(table: Neighborhood, sel: Sequence[int]) -> Neighborhood:
    """The table with every slot block widened to its ``sel``."""

    def widen(x: Array, fill: float) -> Array:
        xp = namespace(x)
        blocks = []
        for block, count in zip(arrays.split(x, table.slot_counts, axis=1), sel, strict=True):
            rest = (arrays.shape(x)[0], count, *arrays.shape(x)[2:])
            empty = xp.broadcast_to(arrays.constant(fill, like=x), rest)
            blocks.append(xp.concat([block, empty], axis=1)[:, :count])
        return arrays.concat(blocks, axis=1)

    return replace(
        table,
        vectors=widen(table.vectors, 0.0),
        index=widen(table.index, -1),
        neighbor_types=widen(table.neighbor_types, -1),
        slot_counts=tuple(sel),
    )
