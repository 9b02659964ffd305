"""The attention in the layers of dpa2, and what it needs to know of neighbours and their directions.

Queries and keys of an attention appear only in their product, as do values and the map that joins the heads. So these
pairs of weights are multiplied first, and the attention acts on the features themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.format.versions import check_version
from dp_core.module import Array, module
from dp_core.nn.attention import RAISED, LayerNorm, softmax_parts
from dp_core.nn.networks import Layer

if TYPE_CHECKING:
    from dp_core.descriptors.repformer import RepformerSettings


class Geometry(NamedTuple):
    """What the layers need to know of the neighbourhoods, in the precision of the descriptor."""

    index: Array  # (n, K)
    valid: Array  # (n, K, 1), 1 for neighbours, else 0
    weight: Array  # (n, K, 1), the switch if the descriptor is smooth, else as ``valid``
    spare: Array  # (n, 1, 1), what the empty slots add to the denominators of attention
    mean: Any  # (n, 1) or a number, 1 over the number of neighbours
    scale: Any  # (n, 1, 1) or a number, that of the symmetric products
    smooth: bool
    exchange: Callable[[Array], Array] | None


class Directions(NamedTuple):
    """The stream h2, and what follows from it."""

    h2: Array  # (n, K, 3)
    directed: Array  # (n, 3, K), with the weights of the slots, scaled
    gate: Array  # (n, K, 1, K), product of the directions of two neighbours, with both weights
    both: Array  # (n, K, 1, K), both weights
    raised: Array  # (n, K, 1, K), what both weights add to the logits where they are smooth

    @classmethod
    def of(cls, h2: Array, g: Geometry) -> Directions:
        """Those of a stream."""
        xp = namespace(h2, g.weight)
        weighted = h2 * g.weight
        gate = weighted @ xp.matrix_transpose(weighted)
        both = (g.weight @ xp.matrix_transpose(g.weight))[:, :, None, :]
        return cls(h2, xp.matrix_transpose(weighted * g.scale), gate[:, :, None, :], both, RAISED * both)


@module
class LocalAttention:
    """Attention of atoms to their neighbours: (n, g1_dim), (n, K, g1_dim) -> (n, g1_dim)."""

    q: Layer
    kv: Layer
    join: Layer
    heads: int

    @property
    def hidden(self) -> int:
        """Width of queries and keys."""
        return int(self.q.w.shape[1]) // self.heads

    def __call__(self, g1: Array, neighbors: Array, g: Geometry) -> Array:
        """What the atoms learn from their neighbours."""
        xp = namespace(g1, neighbors, self.kv.w)
        n, width = arrays.shape(g1)
        key_value = _by_head(self.kv.w, self.heads)
        query = arrays.linear(g1, _of_logits(_by_head(self.q.w, self.heads), key_value[:, :, : self.hidden]), None)
        logits = xp.reshape(query, (n, self.heads, width)) @ xp.matrix_transpose(neighbors)
        weight = xp.matrix_transpose(g.weight)
        logits = (logits + RAISED) * weight if g.smooth else logits
        p, total = softmax_parts(logits, g.valid, g.spare, smooth=g.smooth)
        found = ((p * weight) @ neighbors) * (1.0 / total)
        join = xp.reshape(self.join.w, (self.heads, width, width))
        values = xp.reshape(key_value[:, :, self.hidden :] @ join, (self.heads * width, width))
        return arrays.linear(xp.reshape(found, (n, self.heads * width)), values, self.join.b)

    @classmethod
    def init(cls, s: RepformerSettings, layer: NewLayer, child: int) -> LocalAttention:
        """Random weights; ``layer`` makes one of a width from the seed that children of the layer's seed lead to."""
        width, heads = s.g1_dim, s.attn1_nhead
        return cls(
            layer(width, s.attn1_hidden * heads, child, 0),
            layer(width, (s.attn1_hidden + width) * heads, child, 1),
            layer(width * heads, width, child, 2, bias=True),
            heads,
        )

    def serialize(self, precision: str, *, smooth: bool) -> dict[str, Any]:
        """The document."""
        layers = {"mapq": self.q, "mapkv": self.kv, "head_map": self.join}
        about = {"hidden_dim": self.hidden, "smooth": smooth, "attnw_shift": RAISED}
        return _document("LocalAtten", int(self.q.w.shape[0]), self.heads, precision, layers, about)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> LocalAttention:
        """The attention of a document."""
        q, kv, join = stored_layers(data, "LocalAtten", "mapq", "mapkv", "head_map")
        return cls(q, kv, join, data["head_num"])


@module
class PairAttention:
    """Attention among the pairs of an atom, as weights for what is theirs."""

    qk: Layer
    heads: int
    gated: bool  # the logits are

    @property
    def hidden(self) -> int:
        """Width of queries and keys."""
        return int(self.qk.w.shape[1]) // (2 * self.heads)

    def __call__(self, g2: Array, d: Directions, g: Geometry) -> tuple[Array, Array]:
        """The weights, (n, K·heads, K), and a factor for what they give, (n, K·heads, 1)."""
        xp = namespace(g2, self.qk.w)
        n, k, width = arrays.shape(g2)
        both = _by_head(self.qk.w, 2 * self.heads)
        query = arrays.linear(g2, _of_logits(both[: self.heads, :, :], both[self.heads :, :, :]), None)
        logits = xp.reshape(query, (n, k * self.heads, width)) @ xp.matrix_transpose(g2)
        apart, flat = (n, k, self.heads, k), (n, k * self.heads, k)
        logits = xp.reshape(logits, apart)
        if g.smooth:
            logits = logits * (d.gate if self.gated else d.both) + d.raised
        elif self.gated:
            logits = logits * d.gate
        p, total = softmax_parts(xp.reshape(logits, flat), g.valid, g.spare, smooth=g.smooth)
        return xp.reshape(xp.reshape(p, apart) * d.gate, flat), (1.0 / math.sqrt(3.0)) / total

    def serialize(self, precision: str, *, smooth: bool) -> dict[str, Any]:
        """The document."""
        about = {"hidden_dim": self.hidden, "has_gate": self.gated, "smooth": smooth, "attnw_shift": RAISED}
        return _document("Atten2Map", int(self.qk.w.shape[0]), self.heads, precision, {"mapqk": self.qk}, about)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PairAttention:
        """The attention of a document."""
        (qk,) = stored_layers(data, "Atten2Map", "mapqk")
        return cls(qk, data["head_num"], data["has_gate"])


@module
class PairUpdate:
    """The update of pairs from what the heads found."""

    value: Layer
    join: Layer
    norm: LayerNorm
    heads: int

    def __call__(self, found: Array) -> Array:
        """(n, K·heads, g2_dim) -> (n, K, g2_dim)."""
        xp = namespace(found, self.join.w)
        n, rows, width = arrays.shape(found)
        join = xp.permute_dims(xp.reshape(self.join.w, (width, self.heads, width)), (1, 0, 2))
        values = xp.reshape(_by_head(self.value.w, self.heads) @ join, (self.heads * width, width))
        found = xp.reshape(found, (n, rows // self.heads, self.heads * width))
        return self.norm(arrays.linear(found, values, self.join.b))

    def serialize(self, precision: str) -> dict[str, Any]:
        """The document, without the norm."""
        layers = {"mapv": self.value, "head_map": self.join}
        return _document("Atten2MultiHeadApply", int(self.value.w.shape[0]), self.heads, precision, layers)


@module
class DirectionUpdate:
    """The update of directions from what the heads found."""

    join: Layer

    def __call__(self, found: Array) -> Array:
        """(n, K·heads, 3) -> (n, K, 3)."""
        xp = namespace(found, self.join.w)
        heads = int(self.join.w.shape[0])
        n, rows, _ = arrays.shape(found)
        return xp.sum(xp.reshape(found, (n, rows // heads, heads, 3)) * self.join.w, axis=2)

    def serialize(self, width: int, precision: str) -> dict[str, Any]:
        """The document."""
        heads = int(self.join.w.shape[0])
        return _document("Atten2EquiVarApply", width, heads, precision, {"head_map": self.join})


class NewLayer(Protocol):
    """Makes a layer of a width, with the seed that children of the seed of a RepformerLayer lead to."""

    def __call__(self, n_in: int, n_out: int, *children: int, bias: bool = False) -> Layer:
        """The layer, without bias unless it is wanted."""


def _by_head(w: Array, heads: int) -> Array:
    """Weights whose outputs have the head as fastest index: (n_in, width·heads) -> (heads, n_in, width)."""
    xp = namespace(w)
    n_in, n_out = w.shape
    return xp.permute_dims(xp.reshape(w, (n_in, n_out // heads, heads)), (2, 0, 1))


def _of_logits(query: Array, key: Array) -> Array:
    """What the features are multiplied by before they meet those of others: (heads, m, d) twice -> (m, heads·m)."""
    xp = namespace(query, key)
    heads, width, hidden = query.shape
    product = (query @ xp.matrix_transpose(key)) / math.sqrt(hidden)
    return xp.reshape(xp.permute_dims(product, (1, 0, 2)), (width, heads * width))


def _document(
    kind: str, width: int, heads: int, precision: str, layers: dict[str, Layer], about: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The document of a part of an attention."""
    data = {"@class": kind, "@version": 1, "input_dim": width, "head_num": heads, "precision": precision}
    return data | (about or {}) | {key: layer.serialize() for key, layer in layers.items()}


def stored_layers(data: dict[str, Any], kind: str, *keys: str) -> list[Layer]:
    """The layers in the document of a part of an attention."""
    data = check_version(data, kind, (1, 1))
    return [Layer.deserialize(data[key]) for key in keys]
