"""dpa1 (se_atten): two-body embedding of distances and types, with attention among the neighbours.

Zhang et al., npj Computational Materials 10, 94 (2024). As in se_e2_a, with R the normalised environment matrix of an
atom and G an embedding of each neighbour, A = Gᵀ R / N and the descriptor is A Aᵀ, cut to ``axis_neuron`` columns. One
network serves all types, which are numbers that it takes; layers of attention then let the neighbours see each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.harmonics import harmonics
from dp_core.descriptors.mixed import (
    Mixed,
    MixedSettings,
    Slots,
    TypedSettings,
    init_fields,
    stored_fields,
    warn_of_first,
)
from dp_core.descriptors.tabulation import Resolution
from dp_core.format.versions import check_version, register_upgrade
from dp_core.module import Array, module, replace
from dp_core.neighbors import Neighborhood
from dp_core.nn.attention import NeighborAttention
from dp_core.nn.networks import child_seed
from dp_core.schema.section import Section, option


class AttentionSettings(MixedSettings):
    """Settings of dpa1 and se_atten_v2."""

    axis_neuron: int = option(4, "columns kept in the descriptor product", aliases=("n_axis_neuron",), gt=0)
    lmax: int | None = option(None, "highest degree of the angular functions; unset for 1", ge=1, le=4)
    type_one_side: bool = option(False, "the network takes the type of the neighbour only, not of both atoms")
    attn: int = option(128, "width of queries, keys and values", gt=0)
    attn_layer: int = option(2, "layers of attention", ge=0)
    attn_dotr: bool = option(True, "gate the attention by the angle between two neighbours")
    attn_mask: bool = option(False, "whether a neighbour does not attend to itself; only false is supported")
    trainable_ln: bool = option(True, "whether training changes the layer norms")
    ln_eps: float | None = option(None, "added to the variance in layer norms; unset for 1e-5", gt=0)
    scaling_factor: float = option(1.0, "the logits are divided by √(attn · scaling_factor)", gt=0)
    normalize: bool = option(True, "queries, keys and values have the length 1")
    temperature: float | None = option(None, "factor of the logits, in place of scaling_factor")

    @pydantic.model_validator(mode="after")
    def _attention(self) -> AttentionSettings:
        if self.attn_mask:
            raise ValueError("attn_mask is true, which dp does not support; leave it out")
        if self.temperature is not None and self.scaling_factor != 1.0:
            raise ValueError(
                f"temperature is {self.temperature} and scaling_factor is {self.scaling_factor}, but temperature "
                "takes the place of scaling_factor; give one of them"
            )
        return self


class DPA1Settings(AttentionSettings, TypedSettings):
    """Settings of dpa1 in an input file."""

    type: Literal["dpa1"] = option("dpa1", "name of the descriptor")
    smooth_type_embedding: bool = option(
        False, "attention and stripped types go to zero at the cutoff", aliases=("smooth_type_embdding",)
    )
    stripped_type_embedding: bool | None = option(None, "old form of tebd_input_mode: true for 'strip'")

    @pydantic.model_validator(mode="after")
    def _stripped(self) -> DPA1Settings:
        if self.stripped_type_embedding is False and self.tebd_input_mode == "strip":
            raise ValueError(
                "stripped_type_embedding is false, but tebd_input_mode is 'strip'; leave out the first, an old form"
            )
        return self

    @property
    def strip(self) -> bool:
        """Whether types have a network of their own."""
        return self.tebd_input_mode == "strip" or bool(self.stripped_type_embedding)


@module
class DPA1(Mixed):
    """The descriptor: Neighborhood with n rows -> (n, neuron[-1]·axis_neuron + tebd_dim)."""

    attention: NeighborAttention | None = None
    degree_gain_raw: Array | None = None  # (lmax − 1,), weights of the degrees from 2 on
    axis_neuron: int = 4
    type_one_side: bool = False

    Settings: type[Section] = DPA1Settings

    @property
    def by_neighbor(self) -> bool:  # type: ignore[override]
        """Whether the network of types takes that of the neighbour alone."""
        return self.type_one_side

    def tabulated(self, resolution: Resolution) -> Any:
        """The descriptor with tables in the place of its networks; with attention, which keeps the network of
        distances, of the types alone."""
        if self._attends:
            return replace(self, type_table=self.type_rows(self.types()))
        return super().tabulated(resolution)

    def stored_type_table(self, rows: Array) -> Array:
        """The table of types in the order of the format, with the type of the centre outside, and back again."""
        if self.type_one_side:
            return rows
        count = int(self.davg.shape[0]) + 1
        return np.ascontiguousarray(np.reshape(rows, (count, count, -1)).swapaxes(0, 1)).reshape(count * count, -1)

    @property
    def _attends(self) -> bool:
        return self.attention is not None and bool(self.attention.layers)

    @property
    def lmax(self) -> int:
        """Highest degree of the angular functions."""
        return 1 if self.degree_gain_raw is None else 1 + int(self.degree_gain_raw.shape[0])

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return self.width * self.axis_neuron + self.concat_output_tebd * self.type_embedding.width

    @property
    def dim_emb(self) -> int:
        """Width of the embedding."""
        return self.width

    def __call__(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor (n, dim_out) and the equivariant part (n, dim_emb, 3)."""
        slots, types = self.slots(table), self.types()
        xp = namespace(slots.matrix, types)
        basis, gain = self._basis(slots, table)
        total = self._sum(basis, slots, types)  # (n, columns, width)
        if not (self.zero_mean or self.by_slot):
            empty = self._empty_slots(slots, table, types)
            total = total + empty if gain is None else xp.concat([total[:, :4, :] + empty, total[:, 4:, :]], axis=1)
        a = total / float(self.nnei)
        product = xp.matrix_transpose(a if gain is None else a * gain) @ a[:, :, : self.axis_neuron]
        flat = xp.reshape(product, (arrays.shape(product)[0], self.width * self.axis_neuron))
        rotation = xp.matrix_transpose(a[:, 1:4, :])
        return self.with_types(flat, slots, types), arrays.cast(rotation, "float64")

    def _sum(self, basis: Array, slots: Slots, types: Array) -> Array:
        """The functions of directions times the embedding, summed over the slots: (n, columns, width)."""
        center = slots.center[:, None]
        if self.tables is not None:
            switch = slots.switch if self.smooth else None
            pairs = self._row_of_types(slots.neighbor, center)
            return arrays.table_sum(basis, self.network, self.type_rows(types), pairs, switch)
        if self.embeddings_strip is None and not self._attends:
            found = self.network.of_number(*([types] if self.type_one_side else [types, types]))
            if found is not None:
                net, shift = found
                return arrays.embedding_sum(basis, net, shift, self._row_of_types(slots.neighbor, center))
        g = self._embedded(slots.matrix[..., :1], slots.neighbor, center, slots.switch, types)
        if self._attends:
            assert self.attention is not None
            g = self.attention(g, slots.matrix[..., 1:], slots.switch, slots.valid)
        return namespace(basis, g).matrix_transpose(basis) @ g

    def _row_of_types(self, neighbor: Array, center: Array) -> Array:
        """The row of ``type_rows`` that belongs to slots."""
        return neighbor if self.type_one_side else neighbor * (int(self.davg.shape[0]) + 1) + center

    def _embedded(self, s: Array, neighbor: Array, center: Array, switch: Array, types: Array) -> Array:
        """The embedding of slots: (n, K, 1), (n, K), (n, 1), (n, K, 1) -> (n, K, width)."""
        net = self.network
        if self.embeddings_strip is None:
            parts = [s, (types, neighbor)] if self.type_one_side else [s, (types, neighbor), (types, center)]
            return net.of_parts(parts)
        gate = arrays.take(self.type_rows(types), self._row_of_types(neighbor, center))
        return net(s) * (1.0 + (gate * switch if self.smooth else gate))

    def _basis(self, slots: Slots, table: Neighborhood) -> tuple[Array, Array | None]:
        """The functions of directions (n, K, columns), and the weight of each column where they differ."""
        if self.degree_gain_raw is None:
            return slots.matrix, None
        xp = namespace(slots.matrix, self.degree_gain_raw)
        r = arrays.safe_norm(slots.vectors, slots.valid[..., 0] > 0)[..., None] + self.env_protection
        center = xp.maximum(table.types, xp.zeros_like(table.types))
        deviation = arrays.take(self.dstd[:, :, 0] if self.by_slot else self.dstd[:, :1, 0], center)[..., None]
        radial = slots.switch / (r * deviation)
        higher = [radial * y for y in harmonics(slots.vectors / r, self.lmax)]
        squares = self.degree_gain_raw * self.degree_gain_raw
        columns = [4, *(2 * l + 1 for l in range(2, self.lmax + 1))]
        spread = np.repeat(np.eye(len(columns)), columns, axis=1)  # from degrees to columns
        gain = arrays.constant(spread[0], like=squares) + squares @ arrays.constant(spread[1:], like=squares)
        return arrays.concat([slots.matrix, *higher], axis=-1), gain[:, None]

    def _empty_slots(self, slots: Slots, table: Neighborhood, types: Array) -> Array:
        """What the empty slots add: all of a row are alike, so their number times a constant. (n, 4, width)."""
        xp = namespace(slots.matrix, types)
        one = xp.reshape(self._empty_rows(types), (self.ntypes * (self.ntypes + 1), 4 * self.width))
        center = xp.minimum(slots.center, xp.full_like(slots.center, self.ntypes - 1))
        kind = xp.full_like(center, self.ntypes) if slots.first is None else slots.first
        added = arrays.take(one, center * (self.ntypes + 1) + kind) * slots.missing
        return xp.reshape(added, (arrays.shape(added)[0], 4, self.width))

    def _empty_rows(self, types: Array) -> Array:
        """What one empty slot adds, which carries −davg/dstd, by type of the centre and by its own, or none.

        (ntypes, ntypes + 1, 4·width).
        """
        xp = namespace(self.davg, types)
        rows = -self.davg[:, :1, :] / self.dstd[:, :1, :]  # (ntypes, 1, 4)
        like = arrays.positions(1, like=types)
        neighbor = arrays.constant(np.arange(self.ntypes + 1)[None, :], like=like)
        center = arrays.constant(np.arange(self.ntypes)[:, None], like=like)
        g = self._embedded(rows[..., :1], neighbor, center, 0.0 * rows[..., :1], types)
        if self.attention is not None:
            g = self.attention.of_empty(g)
        products = rows[..., None] * g[:, :, None, :]
        return xp.reshape(products, (self.ntypes, self.ntypes + 1, 4 * self.width))

    @classmethod
    def init(cls, settings: DPA1Settings, type_map: Sequence[str]) -> DPA1:
        """Random networks and trivial statistics. ``sel`` must be numbers by now."""
        made = cls(**attention_fields(settings, type_map, strip=settings.strip, smooth=settings.smooth_type_embedding))
        warn_of_first(made, "descriptor/set_davg_zero")
        return made

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        return self.attention_document("dpa1") | {"smooth_type_embedding": self.smooth}

    def attention_document(self, kind: str) -> dict[str, Any]:
        """The part of the document that se_atten_v2 has too."""
        attention = self.attention
        assert attention is not None
        version = 3 if self.compressed else 2
        data = self.document(kind, version if self.degree_gain_raw is None else 4)
        if self.degree_gain_raw is not None:
            data["lmax"] = self.lmax
            data["@variables"]["degree_gain_raw"] = self.degree_gain_raw
        return data | {
            "axis_neuron": self.axis_neuron,
            "attn": attention.hidden,
            "attn_layer": len(attention.layers),
            "attn_dotr": attention.dotr,
            "attn_mask": False,
            "scaling_factor": attention.scaling_factor,
            "normalize": attention.normalize,
            "temperature": attention.temperature,
            "trainable_ln": attention.trainable_ln,
            "ln_eps": attention.ln_eps,
            "type_one_side": self.type_one_side,
            "use_tebd_bias": self.type_embedding.embedding.bias,
            "attention_layers": attention.serialize(),
            "spin": None,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DPA1:
        """The descriptor of a document."""
        data = check_version(data, "Descriptor", (1, 4))
        smooth = data.get("smooth_type_embedding", True)  # always true in se_atten_v2, which does not write it
        made = cls(
            **stored_fields(data),
            smooth=smooth,
            attention=NeighborAttention.deserialize(data["attention_layers"], smooth=smooth),
            degree_gain_raw=data["@variables"].get("degree_gain_raw"),
            axis_neuron=data["axis_neuron"],
            type_one_side=data.get("type_one_side", False),
        )
        return made.with_stored_tables(data.get("compress"))  # type: ignore[no-any-return]


def attention_fields(
    settings: AttentionSettings, type_map: Sequence[str], *, strip: bool, smooth: bool
) -> dict[str, Any]:
    """Fields of a new dpa1 or se_atten_v2."""
    block = child_seed(settings.seed, 0)
    typed = settings.tebd_dim * (1 if settings.type_one_side else 2)
    fields = init_fields(
        settings, type_map, in_dim=1 if strip else 1 + typed, strip_dim=typed if strip else None, block=block
    )
    lmax = settings.lmax or 1
    gains = np.random.default_rng(child_seed(block, 3)).normal(0.0, 0.1, lmax - 1).astype(fields["precision"])
    attention = NeighborAttention.init(
        settings.attn_layer, sum(fields["sel"]), settings.neuron[-1], settings.attn, dotr=settings.attn_dotr,
        scaling_factor=settings.scaling_factor, normalize=settings.normalize, temperature=settings.temperature,
        smooth=smooth, trainable_ln=settings.trainable_ln, ln_eps=settings.ln_eps or 1e-5,
        precision=fields["precision"], seed=child_seed(block, 2), trainable=settings.trainable,
    )  # fmt: skip
    return fields | {
        "smooth": smooth,
        "attention": attention,
        "degree_gain_raw": gains if lmax > 1 else None,
        "axis_neuron": settings.axis_neuron,
        "type_one_side": settings.type_one_side,
    }


def _bias_1(data: dict[str, Any]) -> dict[str, Any]:
    return {"use_tebd_bias": True, **data}


for _kind in ("dpa1", "se_atten_v2"):
    register_upgrade(f"Descriptor {_kind}", 1)(_bias_1)
