"""Attention among the neighbours of an atom, gated by directions (DPA-1; Zhang et al., npj Comput. Mater. 10, 94).

Where it is smooth, the logit of two neighbours is (c q·k + 20) S_j S_k − 20 with the switch S, and every empty slot of
the format has the logit −20. All logits are kept 20 higher here, which changes nothing: an empty slot adds exp(0) = 1
to the denominator, so that their number is all one needs to know of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.errors import FormatError
from dp_core.format.versions import check_version
from dp_core.module import Array, module
from dp_core.nn.networks import Layer, Seed, child_seed
from dp_core.nn.precision import canonical

#: How far the logits of a smooth attention are above that of an empty slot.
RAISED = 20.0

#: Logits up to this need no guard against overflow, in single precision neither.
_SAFE = 30.0

#: The logit of slots that do not take part where the largest one matters.
_NEVER = -1e30


@module
class LayerNorm:
    """``w (x − mean)/√(variance + eps) + b`` over the last axis: (…, width) -> (…, width)."""

    w: Array  # (width,)
    b: Array  # (width,)
    eps: float
    trainable: bool
    precision: str

    def __call__(self, x: Array) -> Array:
        """The layer applied to the last axis."""
        xp = namespace(x, self.w)
        centered = x - xp.mean(x, axis=-1, keepdims=True)
        variance = xp.mean(centered * centered, axis=-1, keepdims=True)
        # a product with few inverses has cheaper derivatives than a quotient
        return centered * (1.0 / xp.sqrt(variance + self.eps)) * self.w + self.b

    @classmethod
    def init(cls, width: int, *, eps: float, trainable: bool, precision: str) -> LayerNorm:
        """The layer that only normalises."""
        dtype = canonical(precision)
        return cls(np.ones(width, dtype), np.zeros(width, dtype), eps, trainable, dtype)

    def serialize(self) -> dict[str, Any]:
        """The document of the layer."""
        return {
            "@class": "LayerNorm",
            "@version": 1,
            "eps": self.eps,
            "trainable": self.trainable,
            "precision": self.precision,
            "@variables": {"w": self.w, "b": self.b},
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> LayerNorm:
        """The layer of a document."""
        data = check_version(data, "LayerNorm", (1, 1))
        v = data["@variables"]
        w, b = (np.reshape(v[k], (-1,)) for k in ("w", "b"))
        return cls(w, b, data["eps"], data["trainable"], canonical(data["precision"]))


@module
class GatedAttention:
    """One layer: features of slots (n, K, width) -> (n, K, width)."""

    in_proj: Layer  # width -> query, key and value
    out_proj: Layer  # value -> width
    norm: LayerNorm
    scale: float  # of the logits
    normalize: bool
    smooth: bool

    @property
    def hidden(self) -> int:
        """Width of query, key and value."""
        width: int = self.out_proj.w.shape[0]
        return width

    def __call__(self, g: Array, weight: Array, valid: Array, spare: Array, gate: Array | None) -> Array:
        """The features after one layer.

        weight: (n, K, 1), the switch where the attention is smooth, else 1, 0 in slots that do not take part; valid:
        (n, K, 1), 1 for slots that do; spare: (n, 1, 1), what is added to every denominator; gate: (n, K, K) with both
        weights in it, None for no angles.
        """
        xp = namespace(g, self.in_proj.w)
        # one product for each: slices of the small weights have cheaper derivatives than those of what they give
        query, key, value = (self._projected(g, part) for part in range(3))
        if self.normalize:
            query, key, value = (_unit(x, f) for x, f in ((query, self.scale), (key, 1.0), (value, 1.0)))
        else:
            query = query * self.scale
        if self.smooth:
            query = xp.concat([query * weight, RAISED * weight], axis=-1)
            key = xp.concat([key * weight, weight], axis=-1)
        value = value if gate is not None else value * weight
        logits = query @ xp.matrix_transpose(key)
        p, total = self._weights(logits, valid, spare)
        if gate is None:
            summed = (p @ value) * (weight / total)
        else:
            summed = ((p * gate) @ value) * (1.0 / total)
        return self.norm(g + self.out_proj(summed))

    def _projected(self, g: Array, part: int) -> Array:
        """Query, key or value: (n, K, width) -> (n, K, hidden)."""
        columns = slice(part * self.hidden, (part + 1) * self.hidden)
        b = self.in_proj.b
        return arrays.linear(g, self.in_proj.w[:, columns], None if b is None else b[columns])

    def _weights(self, logits: Array, valid: Array, spare: Array) -> tuple[Array, Array]:
        """Numerators (n, K, K) and denominators (n, K, 1) of the softmax; those of invalid slots mean nothing."""
        if self.normalize and abs(self.scale) <= _SAFE:
            p = namespace(logits).exp(logits)
            return p, p @ valid + spare
        return softmax_parts(logits, valid, spare, smooth=self.smooth)

    def of_empty(self, g: Array) -> Array:
        """What becomes of the features of an empty slot, which attends to nothing: (…, width) -> (…, width)."""
        return self.norm(g if self.out_proj.b is None else g + self.out_proj.b)


def softmax_parts(logits: Array, valid: Array, spare: Array, *, smooth: bool) -> tuple[Array, Array]:
    """Numerators (n, m, K) and denominators (n, m, 1) of a softmax over slots; numerators of empty ones mean nothing.

    logits: (n, m, K), raised and 0 in empty slots where ``smooth``; valid: (n, K, 1), 1 for slots that take part, else
    0; spare: see ``spare_slots``.
    """
    xp = namespace(logits, valid)
    rows, many, _ = arrays.shape(logits)
    logits = logits + _NEVER * (1.0 - xp.matrix_transpose(valid))
    empty = xp.full_like(spare, _NEVER)
    if smooth:  # the logit of empty slots, if there are any
        empty = xp.where(spare == 0.0, empty, xp.zeros_like(spare))
    empty = xp.broadcast_to(empty, (rows, many, 1))
    top = arrays.detached(xp.max(xp.concat([logits, empty], axis=-1), axis=-1, keepdims=True))
    p = xp.exp(logits - top)
    return p, p @ valid + (spare * xp.exp(-xp.maximum(top, xp.zeros_like(top))) if smooth else spare)


def spare_slots(valid: Array, nnei: int, *, smooth: bool) -> Array:
    """What slots that do not take part add to every denominator: (n, K, 1) -> (n, 1, 1).

    nnei: slots of the format. Without any neighbour the numerators are 0, and so must be the quotients.
    """
    xp = namespace(valid)
    present = xp.sum(valid, axis=1, keepdims=True)
    return nnei - present if smooth else xp.where(present > 0, 0.0 * present, 1.0 + present)


def _unit(x: Array, length: float = 1.0) -> Array:
    """x of the given length along its last axis, or 1e12 · length · x where that is shorter."""
    xp = namespace(x)
    squares = xp.sum(x * x, axis=-1, keepdims=True)
    return x * (length / xp.sqrt(xp.maximum(squares, 1e-24 * xp.ones_like(squares))))


@module
class NeighborAttention:
    """Layers of attention among the slots of every row."""

    layers: tuple[GatedAttention, ...]
    nnei: int  # slots of the format, empty ones included
    width: int
    hidden: int
    dotr: bool  # gate by the cosine of the angle between two neighbours
    scaling_factor: float
    normalize: bool
    temperature: float | None
    smooth: bool
    trainable_ln: bool
    ln_eps: float
    precision: str

    def __call__(self, g: Array, vectors: Array, switch: Array, valid: Array) -> Array:
        """The features after all layers: (n, K, width) -> (n, K, width).

        vectors: (n, K, 3), whose directions gate; switch: (n, K, 1), from 1 to 0 at the cutoff; valid: (n, K, 1), 1 for
        the slots that take part, else 0.
        """
        if not self.layers:
            return g
        weight = switch * valid if self.smooth else valid
        spare = spare_slots(valid, self.nnei, smooth=self.smooth)
        return arrays.attention(g, _unit(vectors) * weight if self.dotr else None, weight, valid, spare, self.layers)

    def of_empty(self, g: Array) -> Array:
        """The features of empty slots after all layers: (…, width) -> (…, width)."""
        for layer in self.layers:
            g = layer.of_empty(g)
        return g

    @classmethod
    def init(
        cls,
        layers: int,
        nnei: int,
        width: int,
        hidden: int,
        *,
        dotr: bool,
        scaling_factor: float,
        normalize: bool,
        temperature: float | None,
        smooth: bool,
        trainable_ln: bool,
        ln_eps: float,
        precision: str,
        seed: Seed,
        trainable: bool = True,
    ) -> NeighborAttention:
        """Random projections."""

        def layer(k: int) -> GatedAttention:
            gated = child_seed(child_seed(seed, k), 0)

            def projection(n_in: int, n_out: int, part: int) -> Layer:
                return Layer.init(
                    n_in, n_out, activation_function="none", resnet=False, precision=precision,
                    seed=child_seed(gated, part), trainable=trainable,
                )  # fmt: skip

            norm = LayerNorm.init(width, eps=ln_eps, trainable=trainable_ln, precision=precision)
            ends = projection(width, 3 * hidden, 0), projection(hidden, width, 1)
            return GatedAttention(*ends, norm, _scale(temperature, hidden, scaling_factor), normalize, smooth)

        return cls(
            tuple(layer(k) for k in range(layers)), nnei, width, hidden, dotr, scaling_factor, normalize, temperature,
            smooth, trainable_ln, ln_eps, canonical(precision),
        )  # fmt: skip

    def serialize(self) -> dict[str, Any]:
        """The document of the attention; its settings are repeated at every level."""
        shared = {
            "nnei": self.nnei,
            "embed_dim": self.width,
            "hidden_dim": self.hidden,
            "dotr": self.dotr,
            "do_mask": False,
        }
        logits = {
            "scaling_factor": self.scaling_factor,
            "normalize": self.normalize,
            "temperature": self.temperature,
        }
        norms = {"trainable_ln": self.trainable_ln, "ln_eps": self.ln_eps, "precision": self.precision}
        return {
            "@class": "NeighborGatedAttention",
            "@version": 1,
            "layer_num": len(self.layers),
            **shared,
            **logits,
            **norms,
            "attention_layers": [
                {
                    **shared,
                    **logits,
                    **norms,
                    "attention_layer": {
                        **shared,
                        "num_heads": 1,
                        **logits,
                        "bias": True,
                        "smooth": self.smooth,
                        "precision": self.precision,
                        "in_proj": layer.in_proj.serialize(),
                        "out_proj": layer.out_proj.serialize(),
                    },
                    "attn_layer_norm": layer.norm.serialize(),
                }
                for layer in self.layers
            ],
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any], *, smooth: bool) -> NeighborAttention:
        """The attention of a document; ``smooth`` where it has no layers."""
        data = check_version(data, "NeighborGatedAttention", (1, 1))
        inner = [layer["attention_layer"] for layer in data["attention_layers"]]
        if any(layer.get("do_mask") or layer.get("num_heads", 1) != 1 for layer in [data, *inner]):
            raise FormatError(
                "The attention of the model leaves out the diagonal, or has several heads, which dp does not. "
                "Train with attn_mask: false."
            )
        smooths = {layer.get("smooth", True) for layer in inner} or {smooth}
        scaling_factor, temperature = data.get("scaling_factor", 1.0), data.get("temperature")
        normalize = data.get("normalize", True)
        scale = _scale(temperature, data["hidden_dim"], scaling_factor)
        (smooth,) = smooths
        layers = tuple(
            GatedAttention(
                _projection(layer["attention_layer"]["in_proj"]),
                _projection(layer["attention_layer"]["out_proj"]),
                LayerNorm.deserialize(layer["attn_layer_norm"]),
                scale,
                normalize,
                smooth,
            )
            for layer in data["attention_layers"]
        )
        return cls(
            layers, data["nnei"], data["embed_dim"], data["hidden_dim"], data.get("dotr", True), scaling_factor,
            normalize, temperature, smooth, data.get("trainable_ln", True), data.get("ln_eps", 1e-5),
            canonical(data.get("precision", "default")),
        )  # fmt: skip


def _projection(data: dict[str, Any]) -> Layer:
    """The linear layer of a document."""
    layer = Layer.deserialize(data)
    if layer.activation_function.lower() not in ("none", "linear") or layer.past or layer.idt is not None:
        raise FormatError(
            "The attention of the model has projections with an activation "
            f"({layer.activation_function}), a step or a residual, which those of dp do not have: they are linear."
        )
    return layer


def _scale(temperature: float | None, hidden: int, scaling_factor: float) -> float:
    """The factor of q·k."""
    return 1.0 / math.sqrt(hidden * scaling_factor) if temperature is None else float(temperature)
