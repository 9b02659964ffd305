"""What layers of message passing share: affine maps, weighted sums of updates, a product that rotations leave alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.errors import FormatError
from dp_core.format.versions import object_name
from dp_core.module import Array
from dp_core.nn.networks import Layer, Seed

#: How updates are added: averaged, with equal weights, or with learned weights.
UpdateStyle = Literal["res_avg", "res_incr", "res_residual"]


class ResidualSettings(Protocol):
    """Settings of the learned weights."""

    @property
    def update_residual(self) -> float:
        """Their size at the beginning."""

    @property
    def update_residual_init(self) -> Literal["norm", "const"]:
        """Whether they are random or all equal then."""


def plain_layer(n_in: int, n_out: int, precision: str, trainable: bool, seed: Seed, *, bias: bool = True) -> Layer:
    """An affine map, whose activation is that of the descriptor."""
    return Layer.init(
        n_in, n_out, activation_function="none", resnet=False, precision=precision, seed=seed, bias=bias,
        trainable=trainable,
    )  # fmt: skip


def initial_residual(s: ResidualSettings, width: int, precision: str, trainable: bool, seed: Seed) -> Array:
    """The initial weights of one update; zero where they will not be trained."""
    size = s.update_residual if trainable else 0.0
    if s.update_residual_init == "norm":
        return np.random.default_rng(seed).normal(scale=size, size=width).astype(precision)
    return np.full(width, size, precision)


def stored_residuals(data: dict[str, Any], style: UpdateStyle, counts: dict[str, int]) -> dict[str, tuple[Array, ...]]:
    """The weights of updates in the document of a layer, by their key; ``counts`` says how many updates there are.

    Raises FormatError if ``res_residual`` needs more of them.
    """
    stored = data.get("@variables", data)  # version 1 has them directly in the layer
    found: dict[str, tuple[Array, ...]] = {name: tuple(stored.get(name) or ()) for name in counts}
    for name, count in counts.items():
        if style == "res_residual" and len(found[name]) < count:
            raise FormatError(
                f"A {object_name(data)} of the model has {len(found[name])} weights of updates in {name}, and needs "
                f"{count}; the file is damaged."
            )
    return found


def combined(style: UpdateStyle, x: Array, updates: Sequence[Array], weights: Sequence[Array]) -> Array:
    """x with its updates; ``weights`` count for ``res_residual`` only, and may be more than updates."""
    if style == "res_residual":
        return sum((w * u for w, u in zip(weights, updates, strict=False)), x)
    if not updates:
        return x
    total = sum(updates[1:], updates[0])
    if style == "res_avg":
        return (x + total) / float(np.sqrt(len(updates) + 1))
    return x + total / float(np.sqrt(len(updates)))


def symmetric(directed: Array, x: Array, axis: int) -> Array:
    """HᵀH/3 of H = directed @ x, cut to ``axis`` rows: (n, 3, K), (n, K, width) -> (n, axis·width)."""
    xp = namespace(x, directed)
    h = directed @ x
    product = xp.matrix_transpose(h[:, :, :axis]) @ h / 3.0
    n, _, width = arrays.shape(product)
    return xp.reshape(product, (n, axis * width))
