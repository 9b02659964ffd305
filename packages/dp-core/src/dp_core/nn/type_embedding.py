"""Type embedding: a vector of learned numbers for each type, from its place in the type map or its electrons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.errors import ConfigError
from dp_core.format.versions import check_version
from dp_core.module import Array, module, replace
from dp_core.nn.electrons import WIDTH, electron_configurations
from dp_core.nn.networks import EmbeddingNet, Seed
from dp_core.nn.precision import canonical
from dp_core.schema.kinds import Activation, Precision, SeedSetting
from dp_core.schema.section import Section, option


class TypeEmbeddingSettings(Section):
    """The section model/type_embedding of an input file."""

    neuron: list[int] = option([8], "widths of the network; the last is how many numbers stand for a type")
    activation_function: Activation = option("tanh", "activation of the network")
    resnet_dt: bool = option(False, "learn a step for every residual connection")
    precision: Precision = option("default", "precision of the network")
    trainable: bool = option(True, "whether training changes the network")
    seed: SeedSetting = option(None, "seed of the initial weights")
    use_econf_tebd: bool = option(False, "types start from the electrons of their element, not from their number")
    use_tebd_bias: bool = option(False, "bias in the network")

    @pydantic.model_validator(mode="after")
    def _widths(self) -> TypeEmbeddingSettings:
        if not self.neuron or min(self.neuron) < 1:
            raise ValueError(f"neuron is {self.neuron}; give at least one width, all positive")
        return self


@module
class TypeEmbedding:
    """``()`` -> (ntypes + 1, neuron[-1]); the last row, of padding and virtual atoms, is zero.

    Without ``padding`` there is no last row.
    """

    embedding: EmbeddingNet  # from ntypes numbers (one of them 1), or from 118 for the electrons
    ntypes: int
    use_econf_tebd: bool = False
    padding: bool = True
    trainable: bool = True
    precision: str = "float64"
    type_map: tuple[str, ...] | None = None

    @property
    def width(self) -> int:
        """Numbers of a type."""
        return self.embedding.neuron[-1]

    def __call__(self) -> Array:
        """The vectors of all types, one a row."""
        like = self.embedding.layers[0].w
        rows = electron_configurations(self.type_map) if self.use_econf_tebd else np.eye(self.ntypes)
        vectors = self.embedding(arrays.constant(rows, like=like))
        if not self.padding:
            return vectors
        return arrays.concat([vectors, arrays.constant(np.zeros((1, self.width)), like=like)])

    @classmethod
    def init(
        cls,
        type_map: Sequence[str],
        neuron: Sequence[int],
        *,
        activation_function: str = "Linear",
        resnet_dt: bool = False,
        use_econf_tebd: bool = False,
        use_tebd_bias: bool = False,
        padding: bool = True,
        trainable: bool = True,
        precision: str = "default",
        seed: Seed = None,
    ) -> TypeEmbedding:
        """Random values. Raises ConfigError if electrons are asked for and a type is no element."""
        if use_econf_tebd:
            electron_configurations(type_map)
        net = EmbeddingNet.init(
            WIDTH if use_econf_tebd else len(type_map), neuron, activation_function=activation_function,
            resnet_dt=resnet_dt, precision=precision, seed=seed, bias=use_tebd_bias,
        )  # fmt: skip
        return cls(net, len(type_map), use_econf_tebd, padding, trainable, canonical(precision), tuple(type_map))

    @classmethod
    def of_settings(cls, s: TypeEmbeddingSettings, type_map: Sequence[str], *, seed: Seed) -> TypeEmbedding:
        """Random values, from the section of an input file. seed: where the section has none."""
        return cls.init(
            type_map, s.neuron, activation_function=s.activation_function, resnet_dt=s.resnet_dt,
            use_econf_tebd=s.use_econf_tebd, use_tebd_bias=s.use_tebd_bias, trainable=s.trainable,
            precision=s.precision, seed=seed if s.seed is None else s.seed,
        )  # fmt: skip

    def change_type_map(self, type_map: Sequence[str], random: np.random.Generator) -> TypeEmbedding:
        """The embedding for other types: known ones keep their vectors, new ones get random weights.

        Raises ConfigError where the vectors of known types cannot be kept.
        """
        if self.type_map is None:
            raise ConfigError("The type embedding has no type_map, so its types cannot be changed.")
        changed = replace(self, ntypes=len(type_map), type_map=tuple(type_map))
        if self.use_econf_tebd:
            electron_configurations(type_map)
            return changed
        first = self.embedding.layers[0]
        old, new = (_skipped(n, first) for n in (self.ntypes, len(type_map)))
        if (old.any() or new.any()) and first.activation_function != "Linear":
            raise ConfigError(
                f"The type embedding has a skip connection for {self.ntypes} or {len(type_map)} types, and its "
                f"activation is {first.activation_function!r}, so that its types cannot be changed."
            )
        if first.idt is not None:  # the weights are scaled, the skip connection is not
            old, new = old / first.idt, new / first.idt
        rows = first.w + old
        chosen = random.uniform(size=(len(type_map), rows.shape[1]))
        for k, name in enumerate(type_map):
            if name in self.type_map:
                chosen[k] = rows[self.type_map.index(name)]
        layer = replace(first, w=(chosen - new).astype(first.w.dtype))
        net = replace(self.embedding, layers=(layer, *self.embedding.layers[1:]), in_dim=len(type_map))
        return replace(changed, embedding=net)

    def serialize(self) -> dict[str, Any]:
        """The document of the type embedding."""
        net = self.embedding
        return {
            "@class": "TypeEmbedNet",
            "@version": 2,
            "ntypes": self.ntypes,
            "neuron": list(net.neuron),
            "resnet_dt": net.resnet_dt,
            "precision": self.precision,
            "activation_function": net.activation_function,
            "trainable": self.trainable,
            "padding": self.padding,
            "use_econf_tebd": self.use_econf_tebd,
            "use_tebd_bias": net.bias,
            "type_map": None if self.type_map is None else list(self.type_map),
            "embedding": net.serialize(),
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> TypeEmbedding:
        """The type embedding of a document."""
        data = check_version(data, "TypeEmbedNet", (1, 2))
        net = EmbeddingNet.deserialize(data["embedding"])
        made = cls(
            embedding=replace(net, in_dim=net.layers[0].w.shape[0]),  # old after a change of types
            ntypes=data["ntypes"],
            use_econf_tebd=data.get("use_econf_tebd", False),
            padding=data.get("padding", False),
            trainable=data.get("trainable", True),
            precision=canonical(data.get("precision", "default")),
            type_map=None if data.get("type_map") is None else tuple(data["type_map"]),
        )
        if made.use_econf_tebd:
            electron_configurations(made.type_map)
        return made


def _skipped(ntypes: int, layer: Any) -> np.ndarray:
    """What the skip connection of the first layer adds to the weights, which see one 1 and zeros: (ntypes, n_out)."""
    width = layer.w.shape[1]
    times = {ntypes: 1, 2 * ntypes: 2}.get(width, 0) if layer.resnet else 0
    return np.tile(np.eye(ntypes), (1, times)) if times else np.zeros((ntypes, width))
