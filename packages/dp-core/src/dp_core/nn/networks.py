"""Layers and networks, their initial values, and their documents in a model file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dp_core import arrays
from dp_core.arrays import dense, namespace
from dp_core.format.versions import check_version
from dp_core.module import Array, module, replace
from dp_core.nn.activation import activation
from dp_core.nn.activation import jet as activation_jet
from dp_core.nn.precision import canonical

Seed = None | int | Sequence[int]

#: A part of the input of a network: (…, width), or a table (m, width) and an index (…) of its rows.
Part = Array | tuple[Array, Array]


def child_seed(seed: Seed, index: int) -> Seed:
    """The seed of part ``index`` of something that was given ``seed``.

    >>> child_seed([3, 1], 0)
    [0, 3, 1]
    """
    if seed is None:
        return None
    return [index, seed] if isinstance(seed, int) else [index, *seed]


@module
class Layer:
    """``r(x) + idt * f(x @ w + b)``: (…, n_in) -> (…, n_out).

    r is x when n_out = n_in, [x, x] when n_out = 2 n_in, if ``resnet``; otherwise 0.
    """

    w: Array  # (n_in, n_out)
    b: Array | None  # (n_out,)
    idt: Array | None  # (n_out,), step of the activated branch
    activation_function: str
    resnet: bool
    precision: str
    trainable: bool

    @property
    def past(self) -> int:
        """How often the input is added to the output: 1, 2 for [x, x], or 0."""
        n_in, n_out = self.w.shape
        return n_out // n_in if self.resnet and n_out in (n_in, 2 * n_in) else 0

    def __call__(self, x: Array) -> Array:
        """The layer applied to the last axis."""
        return dense(x, self.w, self.b, self.idt, activation(self.activation_function), self.resnet)

    def jet(self, x: np.ndarray, dx: np.ndarray, ddx: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value, slope and curvature along a number on which the input depends so, in float64: (…, n_in) each."""
        w, b, idt = (None if v is None else np.asarray(v, np.float64) for v in (self.w, self.b, self.idt))
        z, dz, ddz = (v @ w for v in (x, dx, ddx))
        f, df, ddf = activation_jet(self.activation_function, z if b is None else z + b)
        out = f, df * dz, ddf * dz * dz + df * ddz
        scaled = out if idt is None else [v * idt for v in out]
        y, dy, ddy = (v + np.tile(u, self.past) if self.past else v for v, u in zip(scaled, (x, dx, ddx), strict=True))
        return y, dy, ddy

    @classmethod
    def init(
        cls,
        n_in: int,
        n_out: int,
        *,
        activation_function: str,
        resnet: bool,
        precision: str,
        seed: Seed,
        bias: bool = True,
        use_timestep: bool = False,
        trainable: bool = True,
    ) -> Layer:
        """Random values: w ~ N(0, 1/(n_in+n_out)), b ~ N(0, 1), idt ~ N(0.1, 0.001), drawn in this order."""
        activation(activation_function)
        random = np.random.default_rng(seed)
        dtype = canonical(precision)
        w: Array = random.normal(scale=1.0 / np.sqrt(n_in + n_out), size=(n_in, n_out))
        b: Array = random.normal(size=n_out) if bias else None
        idt: Array = random.normal(0.1, 0.001, size=n_out) if use_timestep and n_out in (n_in, 2 * n_in) else None
        w, b, idt = (None if v is None else v.astype(dtype) for v in (w, b, idt))
        return cls(w, b, idt, activation_function, resnet, dtype, trainable)

    def serialize(self) -> dict[str, Any]:
        """The document of the layer."""
        return {
            "@class": "Layer",
            "@version": 2,
            "bias": self.b is not None,
            "use_timestep": self.idt is not None,
            "activation_function": self.activation_function,
            "resnet": self.resnet,
            "precision": self.precision,
            "trainable": self.trainable,
            "@variables": {"w": self.w, "b": self.b, "idt": self.idt},
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Layer:
        """The layer of a document."""
        data = check_version(data, "Layer", (1, 2))
        v = data["@variables"]
        b, idt = (None if v[k] is None else np.reshape(v[k], (-1,)) for k in ("b", "idt"))
        precision = canonical(data.get("precision", "default"))
        return cls(
            v["w"], b, idt, data.get("activation_function") or "none", data["resnet"], precision, data["trainable"]
        )


@module
class EmbeddingNet:
    """A stack of residual layers: (…, in_dim) -> (…, neuron[-1])."""

    layers: tuple[Layer, ...]
    in_dim: int
    neuron: tuple[int, ...]
    activation_function: str
    resnet_dt: bool
    bias: bool
    precision: str

    def __call__(self, x: Array) -> Array:
        """The layers applied one after the other."""
        for layer in self.layers:
            x = layer(x)
        return x

    def jet(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value, slope and curvature of a network of one number, in float64: (m,) -> (m, neuron[-1]) each."""
        x = np.asarray(x, np.float64)[:, None]
        jet = x, np.ones_like(x), np.zeros_like(x)
        for layer in self.layers:
            jet = layer.jet(*jet)
        return jet

    def of_parts(self, parts: Sequence[Part]) -> Array:
        """The network of several parts, as if they were joined along the last axis; other axes broadcast.

        Rows of a table go through the first layer once, however often the index names them.
        """
        first = self.layers[0]
        if first.past:
            return self(_joined([arrays.take(*p) if isinstance(p, tuple) else p for p in parts]))
        terms, start = [], 0
        for part in parts:
            x, index = part if isinstance(part, tuple) else (part, None)
            stop = start + arrays.shape(x)[-1]
            y = arrays.linear(x, first.w[start:stop, :], first.b if stop == self.in_dim else None)
            terms.append(y if index is None else arrays.take(y, index))
            start = stop
        return self._onwards(sum(terms[1:], terms[0]))

    def shifted(self, x: Array, shift: Array) -> Array:
        """The network with ``shift``, (…, width of the first layer), before the activation of the first layer.

        That layer must not add its input to its output.
        """
        return self._onwards(arrays.linear(x, self.layers[0].w, self.layers[0].b) + shift)

    def _onwards(self, z: Array) -> Array:
        """The network from what the first layer, which adds no input to it, activates."""
        first, *others = self.layers
        y = activation(first.activation_function)(z)
        y = y if first.idt is None else y * first.idt
        for layer in others:
            y = layer(y)
        return y

    def of_number(self, *tables: Array) -> tuple[EmbeddingNet, Array] | None:
        """The network of the first of its inputs, and the shift that rows of tables make of the others.

        tables: (m, width) each. The shift has a row for every choice of one row of each, those with the same row of
        the first table together: (m₁·m₂·…, width of the first layer). None where the first layer adds its input to
        its output.
        """
        first = self.layers[0]
        if first.past:
            return None
        shift, start = None, 1
        for rows in tables:
            stop = start + arrays.shape(rows)[-1]
            y = arrays.linear(rows, first.w[start:stop, :], None)
            shift = y if shift is None else namespace(y).reshape(shift[:, None, :] + y, (-1, arrays.shape(y)[-1]))
            start = stop
        # the layer shall not take itself for one that adds its only input
        alone = replace(first, w=first.w[:1, :], resnet=False)
        return replace(self, layers=(alone, *self.layers[1:]), in_dim=1), shift

    @classmethod
    def init(
        cls,
        in_dim: int,
        neuron: Sequence[int],
        *,
        activation_function: str = "tanh",
        resnet_dt: bool = False,
        precision: str = "default",
        seed: Seed = None,
        bias: bool = True,
        trainable: bool = True,
    ) -> EmbeddingNet:
        """Random values; layer k takes part k of the seed."""
        widths = [in_dim, *neuron]
        layers = tuple(
            Layer.init(
                widths[k],
                widths[k + 1],
                activation_function=activation_function,
                resnet=True,
                precision=precision,
                seed=child_seed(seed, k),
                bias=bias,
                use_timestep=resnet_dt,
                trainable=trainable,
            )
            for k in range(len(neuron))
        )
        return cls(layers, in_dim, tuple(neuron), activation_function, resnet_dt, bias, canonical(precision))

    def serialize(self) -> dict[str, Any]:
        """The document of the network."""
        return {
            "@class": "EmbeddingNetwork",
            "@version": 2,
            "in_dim": self.in_dim,
            "neuron": list(self.neuron),
            "activation_function": self.activation_function,
            "resnet_dt": self.resnet_dt,
            "bias": self.bias,
            "precision": self.precision,
            "layers": [layer.serialize() for layer in self.layers],
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> EmbeddingNet:
        """The network of a document."""
        data = check_version(data, "EmbeddingNetwork", (1, 2))
        return cls(
            tuple(Layer.deserialize(layer) for layer in data["layers"]),
            data["in_dim"],
            tuple(data["neuron"]),
            data["activation_function"],
            data["resnet_dt"],
            data["bias"],
            canonical(data["precision"]),
        )


@module
class FittingNet:
    """Residual hidden layers and a linear output layer: (…, in_dim) -> (…, out_dim)."""

    layers: tuple[Layer, ...]
    in_dim: int
    out_dim: int
    neuron: tuple[int, ...]
    activation_function: str
    resnet_dt: bool
    bias_out: bool
    precision: str

    def __call__(self, x: Array) -> Array:
        """The network applied to the last axis."""
        return arrays.network(x, self.layers)

    def last_hidden(self, x: Array) -> Array:
        """The values before the output layer: (…, in_dim) -> (…, neuron[-1])."""
        for layer in self.layers[:-1]:
            x = layer(x)
        return x

    @classmethod
    def init(
        cls,
        in_dim: int,
        out_dim: int,
        neuron: Sequence[int],
        *,
        activation_function: str = "tanh",
        resnet_dt: bool = True,
        precision: str = "default",
        seed: Seed = None,
        bias_out: bool = True,
        trainable: Sequence[bool],
    ) -> FittingNet:
        """Random values; layer k takes part k of the seed. ``trainable`` has one entry for each layer."""
        hidden = EmbeddingNet.init(
            in_dim,
            neuron,
            activation_function=activation_function,
            resnet_dt=resnet_dt,
            precision=precision,
            seed=seed,
        )
        last = Layer.init(
            neuron[-1] if neuron else in_dim,
            out_dim,
            activation_function="none",
            resnet=False,
            precision=precision,
            seed=child_seed(seed, len(neuron)),
            bias=bias_out,
        )
        layers = tuple(
            replace(layer, trainable=bool(flag)) for layer, flag in zip((*hidden.layers, last), trainable, strict=True)
        )
        return cls(
            layers, in_dim, out_dim, tuple(neuron), activation_function, resnet_dt, bias_out, canonical(precision)
        )

    def serialize(self) -> dict[str, Any]:
        """The document of the network."""
        return {
            "@class": "FittingNetwork",
            "@version": 1,
            "in_dim": self.in_dim,
            "out_dim": self.out_dim,
            "neuron": list(self.neuron),
            "activation_function": self.activation_function,
            "resnet_dt": self.resnet_dt,
            "bias_out": self.bias_out,
            "precision": self.precision,
            "layers": [layer.serialize() for layer in self.layers],
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> FittingNet:
        """The network of a document."""
        data = check_version(data, "FittingNetwork", (1, 1))
        return cls(
            tuple(Layer.deserialize(layer) for layer in data["layers"]),
            data["in_dim"],
            data["out_dim"],
            tuple(data["neuron"]),
            data["activation_function"],
            data["resnet_dt"],
            data["bias_out"],
            canonical(data["precision"]),
        )


def _joined(parts: Sequence[Array]) -> Array:
    """Arrays joined along the last axis, after they were broadcast along the others."""
    one = sum(part[..., :1] * 0.0 for part in parts)
    return namespace(*parts).concat([part + one for part in parts], axis=-1)


_NETWORKS: dict[str, Any] = {"embedding_network": EmbeddingNet, "fitting_network": FittingNet}


@module
class NetworkCollection:
    """Networks by type (``ndim`` 1), by pair of types (2), or one for all (0).

    In a model file the first key runs fastest: the network of (a, b) is number a + ntypes·b.
    """

    networks: tuple[Any, ...]
    ndim: int
    ntypes: int
    network_type: str

    def __getitem__(self, key: tuple[int, ...]) -> Any:
        return self.networks[self.number(key)]

    def number(self, key: tuple[int, ...]) -> int:
        """Which of the networks belongs to a type, or to a pair of them."""
        return sum(k * self.ntypes**d for d, k in enumerate(key))

    def serialize(self) -> dict[str, Any]:
        """The document of the collection."""
        return {
            "@class": "NetworkCollection",
            "@version": 1,
            "ndim": self.ndim,
            "ntypes": self.ntypes,
            "network_type": self.network_type,
            "networks": [None if network is None else network.serialize() for network in self.networks],
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> NetworkCollection:
        """The collection of a document."""
        data = check_version(data, "NetworkCollection", (1, 1))
        kind = _NETWORKS[data["network_type"]]
        networks = tuple(None if d is None else kind.deserialize(d) for d in data["networks"])
        return cls(networks, data["ndim"], data["ntypes"], data["network_type"])
