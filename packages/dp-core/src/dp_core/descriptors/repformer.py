"""The layers of dpa2: messages between atoms and the pairs they form with their neighbours.

Zhang et al., DPA-2: a large atomic model as a multi-task learner, npj Computational Materials 10, 293 (2024). Every
layer updates three streams: atoms g1 (n, g1_dim), pairs g2 (n, K, g2_dim) and directions h2 (n, K, 3) of all slots.
What belongs to an empty slot is a finite number without weight.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.environment import (
    differ_between_slots,
    environment_document,
    environment_matrix,
    normalized,
    seen,
    smooth_switch,
    with_all_slots,
)
from dp_core.descriptors.repformer_attention import (
    Directions,
    DirectionUpdate,
    Geometry,
    LocalAttention,
    PairAttention,
    PairUpdate,
    stored_layers,
)
from dp_core.errors import FormatError
from dp_core.format.versions import check_version
from dp_core.module import Array, buffer, module
from dp_core.neighbors import Neighborhood
from dp_core.nn import activation
from dp_core.nn.attention import LayerNorm, spare_slots
from dp_core.nn.networks import Layer, Seed, child_seed
from dp_core.nn.updates import UpdateStyle, combined, initial_residual, plain_layer, stored_residuals, symmetric
from dp_core.schema.kinds import Activation
from dp_core.schema.section import Section, option


class RepformerSettings(Section):
    """Widths, cutoff and updates of the layers."""

    rcut: float = option(..., "cutoff radius", unit="Å", gt=0)
    rcut_smth: float = option(..., "where the smooth switch to zero begins", unit="Å", ge=0)
    nsel: int | str = option(
        ..., "most neighbours within rcut; 'auto' or 'auto:factor' counts them in the training data"
    )
    nlayers: int = option(3, "number of layers", gt=0)
    g1_dim: int = option(128, "width of the atoms", gt=0)
    g2_dim: int = option(16, "width of the pairs", gt=0)
    axis_neuron: int = option(4, "columns kept in the symmetric products", gt=0)
    direct_dist: bool = option(False, "pairs begin with distances, not with the environment matrix")
    update_g1_has_conv: bool = option(True, "atoms are updated by a convolution over their neighbours")
    update_g1_has_drrd: bool = option(True, "by the symmetric product of the atoms around them")
    update_g1_has_grrg: bool = option(True, "by the symmetric product of their pairs")
    update_g1_has_attn: bool = option(True, "by attention to their neighbours")
    update_g2_has_g1g1: bool = option(True, "pairs are updated by the product of their atoms")
    update_g2_has_attn: bool = option(True, "by attention to the other pairs of the same atom")
    use_sqrt_nnei: bool = option(True, "symmetric products are divided by the number of neighbours, not its square")
    g1_out_conv: bool = option(True, "the convolution is an update of its own, not an input of one")
    g1_out_mlp: bool = option(True, "a layer of the atom alone is an update of its own, not an input of one")
    update_h2: bool = option(False, "directions are updated by attention")
    attn1_hidden: int = option(64, "width of queries and keys of the attention of atoms", gt=0)
    attn1_nhead: int = option(4, "heads of the attention of atoms", gt=0)
    attn2_hidden: int = option(16, "width of queries and keys of the attention of pairs", gt=0)
    attn2_nhead: int = option(4, "heads of the attention of pairs", gt=0)
    attn2_has_gate: bool = option(False, "the logits of the attention of pairs are gated by their angle")
    activation_function: Activation = option("tanh", "activation of the layers")
    update_style: UpdateStyle = option(
        "res_avg", "how updates are added: averaged, with equal weights, or with learned weights"
    )
    update_residual: float = option(0.001, "size of the initial weights of updates")
    update_residual_init: Literal["norm", "const"] = option("norm", "whether these weights are random or all equal")
    set_davg_zero: bool = option(True, "keep the mean of the environment matrix at zero")
    trainable_ln: bool = option(True, "whether training changes the layer norms")
    ln_eps: float | None = option(None, "added to the variance in layer norms; unset for 1e-5", gt=0)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> RepformerSettings:
        if self.rcut_smth >= self.rcut:
            raise ValueError(f"rcut_smth is {self.rcut_smth} and must be smaller than rcut, {self.rcut}")
        if isinstance(self.nsel, int) and self.nsel < 1:
            raise ValueError(f"nsel is {self.nsel}; give the most neighbours within rcut")
        for update, width in (("grrg", "g2_dim"), ("drrd", "g1_dim")):
            if getattr(self, f"update_g1_has_{update}") and self.axis_neuron > getattr(self, width):
                raise ValueError(f"axis_neuron is {self.axis_neuron}, more than {width}, {getattr(self, width)}")
        if not self.joined_width:
            raise ValueError(
                "nothing is left to update atoms with: set update_g1_has_grrg or update_g1_has_drrd to true, "
                "g1_out_mlp to false, or g1_out_conv to false with update_g1_has_conv"
            )
        return self

    @property
    def joined_width(self) -> int:
        """Inputs of the layer that joins several updates of atoms."""
        own = 0 if self.g1_out_mlp else self.g1_dim
        conv = self.g2_dim if self.update_g1_has_conv and not self.g1_out_conv else 0
        products = self.update_g1_has_grrg * self.g2_dim + self.update_g1_has_drrd * self.g1_dim
        return own + conv + self.axis_neuron * products


@module
class RepformerLayer:
    """One update of the three streams. What belongs to an update that the layer does not have is None."""

    linear1: Layer
    linear2: Layer | None
    self_mlp: Layer | None
    conv: Layer | None
    product: Layer | None
    local: LocalAttention | None
    attention: PairAttention | None
    pair_update: PairUpdate | None
    direction_update: DirectionUpdate | None
    g1_residual: tuple[Array, ...]  # (g1_dim,) for every update of g1; res_residual only
    g2_residual: tuple[Array, ...]  # (g2_dim,)
    h2_residual: tuple[Array, ...]  # (1,)
    settings: RepformerSettings

    def __call__(self, g1: Array, g2: Array, d: Directions, g: Geometry) -> tuple[Array, Array, Directions]:
        """The updated streams, each from the others as they were."""
        rows = g1 if g.exchange is None else g.exchange(g1)
        neighbors = arrays.neighbor_rows(rows, g.index)
        atoms = self._atoms(g1, g2, rows, neighbors, d, g)
        if self.linear2 is None:  # the last layer: nobody sees the other streams any more
            return atoms, g2, d
        pairs, directions = [self._f(self.linear2(g2))], []
        if self.product is not None:
            pairs.append(self.product(g1[:, None, :] * neighbors) * g.weight)
        if self.attention is not None:
            weights, factor = self.attention(g2, d, g)
            if self.pair_update is not None:
                pairs.append(self.pair_update((weights @ g2) * factor))
            if self.direction_update is not None:
                directions.append(self.direction_update((weights @ d.h2) * factor))
        style = self.settings.update_style
        if directions:
            d = Directions.of(combined(style, d.h2, directions, self.h2_residual), g)
        return atoms, combined(style, g2, pairs, self.g2_residual), d

    def _atoms(self, g1: Array, g2: Array, rows: Array, neighbors: Array, d: Directions, g: Geometry) -> Array:
        """The updated g1; ``rows`` are those of g1 and of ghosts, ``neighbors`` (n, K, g1_dim) those of the slots."""
        xp = namespace(g1, g2)
        s = self.settings
        updates, joined = [], []
        if self.self_mlp is None:
            joined.append(g1)
        else:
            updates.append(self._f(self.self_mlp(g1)))
        if self.conv is not None and s.g1_out_conv:
            updates.append(g.mean * xp.sum(self.conv(g2) * neighbors * g.weight, axis=1))
        elif self.conv is not None:
            projected = arrays.neighbor_rows(self.conv(rows), g.index)
            joined.append(g.mean * xp.sum(g2 * projected * g.weight, axis=1))
        if s.update_g1_has_grrg:
            joined.append(symmetric(d.directed, g2, s.axis_neuron))
        if s.update_g1_has_drrd:
            joined.append(symmetric(d.directed, neighbors, s.axis_neuron))
        updates.append(self._f(self.linear1(arrays.concat(joined, axis=-1))))
        if self.local is not None:
            updates.append(self.local(g1, neighbors, g))
        return combined(s.update_style, g1, updates, self.g1_residual)

    def _f(self, x: Array) -> Array:
        return activation(self.settings.activation_function)(x)

    @classmethod
    def init(cls, s: RepformerSettings, *, last: bool, precision: str, trainable: bool, seed: Seed) -> RepformerLayer:
        """Random layers, and the initial weights of the updates."""

        def layer(n_in: int, n_out: int, *children: int, bias: bool = False) -> Layer:
            own = seed
            for child in children:
                own = child_seed(own, child)
            return plain_layer(n_in, n_out, precision, trainable, own, bias=bias)

        def residuals(width: int, children: dict[int, bool]) -> tuple[Array, ...]:
            wanted = [child for child, there in children.items() if there and s.update_style == "res_residual"]
            return tuple(initial_residual(s, width, precision, trainable, child_seed(seed, k)) for k in wanted)

        one, two, heads = s.g1_dim, s.g2_dim, s.attn2_nhead
        flags = _flags(s, last=last)
        conv, local = s.update_g1_has_conv, s.update_g1_has_attn
        product, pairs, directions = (flags[name] for name in _INNER)
        updates = _updates(flags)
        pair_update = None
        if pairs:
            norm = LayerNorm.init(two, eps=s.ln_eps or 1e-5, trainable=s.trainable_ln, precision=precision)
            value, join = layer(two, two * heads, 8, 0), layer(two * heads, two, 8, 1, bias=True)
            pair_update = PairUpdate(value, join, norm, heads)
        attention = None
        if pairs or directions:
            attention = PairAttention(layer(two, 2 * s.attn2_hidden * heads, 7), heads, s.attn2_has_gate)
        return cls(
            linear1=layer(s.joined_width, one, 1, bias=True),
            linear2=None if last else layer(two, two, 2, bias=True),
            self_mlp=layer(one, one, 15, bias=True) if s.g1_out_mlp else None,
            conv=layer(*((two, one) if s.g1_out_conv else (one, two)), 4) if conv else None,
            product=layer(one, two, 5) if product else None,
            local=LocalAttention.init(s, layer, 13) if local else None,
            attention=attention,
            pair_update=pair_update,
            direction_update=DirectionUpdate(layer(heads, 1, 11)) if directions else None,
            g1_residual=residuals(one, updates["g1_residual"]),
            g2_residual=residuals(two, updates["g2_residual"]),
            h2_residual=residuals(1, updates["h2_residual"]),
            settings=s,
        )

    def serialize(self, ntypes: int, precision: str, *, smooth: bool) -> dict[str, Any]:
        """The document of the layer."""
        s = self.settings
        data: dict[str, Any] = {"@class": "RepformerLayer", "@version": 2, "sel": [s.nsel], "ntypes": ntypes}
        data |= {name: getattr(s, name) for name in _STORED}
        data |= {
            "ln_eps": s.ln_eps or 1e-5,
            "smooth": smooth,
            "precision": precision,
            "update_chnnl_2": self.linear2 is not None,
            "update_g2_has_g1g1": self.product is not None,
            "update_g2_has_attn": self.pair_update is not None,
            "update_h2": self.direction_update is not None,
        }
        for key, name in _LAYERS.items():
            layer = getattr(self, name)
            data |= {} if layer is None else {key: layer.serialize()}
        if self.local is not None:
            data["loc_attn"] = self.local.serialize(precision, smooth=smooth)
        if self.attention is not None:
            data["attn2g_map"] = self.attention.serialize(precision, smooth=smooth)
        if self.pair_update is not None:
            data["attn2_mh_apply"] = self.pair_update.serialize(precision)
            data["attn2_lm"] = self.pair_update.norm.serialize()
        if self.direction_update is not None:
            data["attn2_ev_apply"] = self.direction_update.serialize(s.g2_dim, precision)
        if s.update_style == "res_residual":
            data["@variables"] = {name: list(getattr(self, name)) for name in _RESIDUALS}
        return data

    @classmethod
    def deserialize(cls, data: dict[str, Any], settings: RepformerSettings, *, last: bool) -> RepformerLayer:
        """The layer of a document; the settings are those of all layers. Raises FormatError if it is another layer."""
        data = check_version(data, "RepformerLayer", (1, 2))
        flags = _flags(settings, last=last)
        wrong = [name for name, flag in flags.items() if data.get(name, flag) != flag]
        wrong += [key for key, there in _optional(flags).items() if bool(data.get(key)) != there]
        if wrong:
            raise FormatError(
                f"A RepformerLayer of the model contradicts its settings in {', '.join(wrong)}; the file is damaged."
            )
        counts = {name: sum(there.values()) for name, there in _updates(flags).items()}
        fields: dict[str, Any] = dict(stored_residuals(data, settings.update_style, counts))
        for key, name in _LAYERS.items():
            fields[name] = Layer.deserialize(data[key]) if data.get(key) else None
        local, attention, pairs, turns = (
            data.get(key) for key in ("loc_attn", "attn2g_map", "attn2_mh_apply", "attn2_ev_apply")
        )
        fields |= {"pair_update": None, "direction_update": None}
        if pairs:
            value, join = stored_layers(pairs, "Atten2MultiHeadApply", "mapv", "head_map")
            fields["pair_update"] = PairUpdate(value, join, LayerNorm.deserialize(data["attn2_lm"]), pairs["head_num"])
        if turns:
            fields["direction_update"] = DirectionUpdate(*stored_layers(turns, "Atten2EquiVarApply", "head_map"))
        return cls(
            **fields,
            local=LocalAttention.deserialize(local) if local else None,
            attention=PairAttention.deserialize(attention) if attention else None,
            settings=settings,
        )


#: Settings that a document of a layer repeats.
_STORED = (
    "rcut", "rcut_smth", "g1_dim", "g2_dim", "axis_neuron", "update_g1_has_conv", "update_g1_has_drrd",
    "update_g1_has_grrg", "update_g1_has_attn", "attn1_hidden", "attn1_nhead", "attn2_hidden", "attn2_nhead",
    "attn2_has_gate", "activation_function", "update_style", "trainable_ln", "use_sqrt_nnei", "g1_out_conv",
    "g1_out_mlp",
)  # fmt: skip
#: Layers by their key in a document.
_LAYERS = {
    "linear1": "linear1",
    "linear2": "linear2",
    "g1_self_mlp": "self_mlp",
    "proj_g1g2": "conv",
    "proj_g1g1g2": "product",
}
_RESIDUALS = ("g1_residual", "g2_residual", "h2_residual")
#: Updates of pairs and directions, which the last layer does not have.
_INNER = ("update_g2_has_g1g1", "update_g2_has_attn", "update_h2")


def _flags(s: RepformerSettings, *, last: bool) -> dict[str, bool]:
    """What a layer updates, by the names in its document."""
    outer = [name for name in _STORED if name.startswith(("update_g1_", "g1_out_"))]
    flags = {name: bool(getattr(s, name)) for name in outer} | {"update_chnnl_2": not last}
    return flags | {name: getattr(s, name) and not last for name in _INNER}


def _optional(flags: dict[str, bool]) -> dict[str, bool]:
    """Which parts a layer has, by their key in its document."""
    product, pairs, directions = (flags[name] for name in _INNER)
    return {
        "linear2": flags["update_chnnl_2"],
        "g1_self_mlp": flags["g1_out_mlp"],
        "proj_g1g2": flags["update_g1_has_conv"],
        "proj_g1g1g2": product,
        "loc_attn": flags["update_g1_has_attn"],
        "attn2g_map": pairs or directions,
        "attn2_mh_apply": pairs,
        "attn2_lm": pairs,
        "attn2_ev_apply": directions,
    }


def _updates(flags: dict[str, bool]) -> dict[str, dict[int, bool]]:
    """Which updates a layer makes, by the child of its seed that their weights come from."""
    product, pairs, directions = (flags[name] for name in _INNER)
    conv = flags["update_g1_has_conv"] and flags["g1_out_conv"]
    return {
        "g1_residual": {0: True, 16: flags["g1_out_mlp"], 17: conv, 14: flags["update_g1_has_attn"]},
        "g2_residual": {3: flags["update_chnnl_2"], 6: product, 10: pairs},
        "h2_residual": {12: directions},
    }


@module
class Repformer:
    """The layers, and what pairs begin with: a part of dpa2 with statistics of its own."""

    pair_embedding: Layer
    layers: tuple[RepformerLayer, ...]
    davg: Array = buffer()  # (ntypes, nsel, 4), mean of the environment matrix by slot
    dstd: Array = buffer()  # (ntypes, nsel, 4), its standard deviation
    settings: RepformerSettings = None  # type: ignore[assignment]
    smooth: bool = True
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # Å
    precision: str = "float64"
    by_slot: bool = False  # davg or dstd differ between slots

    by_type = False

    @property
    def ntypes(self) -> int:
        """Number of types."""
        return int(self.davg.shape[0])

    @property
    def rcut(self) -> float:
        """Cutoff radius, Å."""
        return self.settings.rcut

    @property
    def rcut_smth(self) -> float:
        """Where the switch begins, Å."""
        return self.settings.rcut_smth

    @property
    def sel(self) -> tuple[int, ...]:
        """The most neighbours."""
        return (int(self.settings.nsel),)

    @property
    def set_davg_zero(self) -> bool:
        """Whether the mean of the environment matrix stays at zero."""
        return self.settings.set_davg_zero

    def __call__(self, table: Neighborhood, g1: Array) -> tuple[Array, Array]:
        """The atoms after all layers, (n, g1_dim), and the equivariant part, (n, g2_dim, 3)."""
        f = activation(self.settings.activation_function)
        begin, d, geometry = self._pairs(with_all_slots(table, self.sel) if self.by_slot else table)
        g1, g2 = f(g1), f(self.pair_embedding(begin))
        for layer in self.layers:
            g1, g2, d = layer(g1, g2, d, geometry)
        return g1, namespace(g2).matrix_transpose(d.directed @ g2)

    def _pairs(self, table: Neighborhood) -> tuple[Array, Directions, Geometry]:
        """What pairs and directions begin with, (n, K, 1) and (n, K, 3), and the geometry."""
        xp = namespace(table.vectors, self.davg)
        s = self.settings
        vectors = arrays.cast(table.vectors, self.precision)
        occupied = seen(table, self.ntypes, self.exclude_types)
        valid = arrays.cast(occupied, self.precision)[..., None]
        r = arrays.safe_norm(vectors, occupied)[..., None]
        if s.direct_dist:
            begin, h2 = r * valid / s.rcut, vectors * valid / s.rcut
        else:
            radial, angular = environment_matrix(
                vectors, occupied, rcut=s.rcut, rcut_smth=s.rcut_smth, protection=self.env_protection
            )
            matrix = xp.concat([radial, angular], axis=-1)
            matrix = normalized(matrix, self.davg, self.dstd, table, by_slot=self.by_slot)
            begin, h2 = matrix[..., :1], matrix[..., 1:]
        present = xp.sum(valid, axis=1, keepdims=True)
        nsel = float(self.sel[0])
        if self.smooth:
            mean, scale = 1.0 / nsel, 1.0 / (math.sqrt(nsel) if s.use_sqrt_nnei else nsel)
        else:
            mean = 1.0 / (present[:, 0, :] + 1e-4)
            scale = 1.0 / ((xp.sqrt(present) if s.use_sqrt_nnei else present) + 1e-4)
        geometry = Geometry(
            index=table.index,
            valid=valid,
            weight=smooth_switch(r, s.rcut_smth, s.rcut) * valid if self.smooth else valid,
            spare=spare_slots(valid, self.sel[0], smooth=self.smooth),
            mean=mean,
            scale=scale,
            smooth=self.smooth,
            exchange=table.exchange,
        )
        return begin, Directions.of(h2, geometry), geometry

    @classmethod
    def init(
        cls,
        settings: RepformerSettings,
        ntypes: int,
        *,
        smooth: bool,
        exclude_types: tuple[tuple[int, int], ...],
        env_protection: float,
        precision: str,
        trainable: bool,
        seed: Seed,
    ) -> Repformer:
        """Random layers and trivial statistics; ``nsel`` must be a number by now."""
        shape = (ntypes, int(settings.nsel), 4)
        layers = tuple(
            RepformerLayer.init(
                settings, last=k + 1 == settings.nlayers, precision=precision, trainable=trainable,
                seed=child_seed(child_seed(seed, 1), k),
            )
            for k in range(settings.nlayers)
        )  # fmt: skip
        begin = plain_layer(1, settings.g2_dim, precision, trainable, child_seed(seed, 0))
        return cls(
            begin, layers, np.zeros(shape, precision), np.ones(shape, precision), settings, smooth, exclude_types,
            env_protection, precision,
        )  # fmt: skip

    def serialize(self) -> dict[str, Any]:
        """What a document says beside the settings."""
        layers = [layer.serialize(self.ntypes, self.precision, smooth=self.smooth) for layer in self.layers]
        return {
            "g2_embd": self.pair_embedding.serialize(),
            "repformer_layers": layers,
            "env_mat": environment_document(self.rcut, self.rcut_smth, 0.0),
            "@variables": {"davg": self.davg, "dstd": self.dstd},
        }

    @classmethod
    def deserialize(
        cls,
        data: dict[str, Any],
        settings: RepformerSettings,
        *,
        smooth: bool,
        exclude_types: tuple[tuple[int, int], ...],
        env_protection: float,
        precision: str,
    ) -> Repformer:
        """The layers of a document. Raises FormatError if they are not those of the settings."""
        stored, count = data["repformer_layers"], settings.nlayers
        if len(stored) != count:
            raise FormatError(f"The repformer of the model has {len(stored)} layers, not {count}; the file is damaged.")
        davg, dstd = data["@variables"]["davg"], data["@variables"]["dstd"]
        for name, value in (("davg", davg), ("dstd", dstd)):
            if value.shape[1:] != (settings.nsel, 4):
                raise FormatError(
                    f"{name} of the repformer has the shape {value.shape}, not (types, {settings.nsel}, 4); the file "
                    "is damaged."
                )
        return cls(
            Layer.deserialize(data["g2_embd"]),
            tuple(RepformerLayer.deserialize(x, settings, last=k + 1 == count) for k, x in enumerate(stored)),
            davg, dstd, settings, smooth, exclude_types, env_protection, precision,
            by_slot=differ_between_slots(davg, dstd),
        )  # fmt: skip
