"""The sum of an embedded number over the slots of a row, with its derivatives written out.

For A = Σ_k R_k ⊗ G(R_k0) the force needs G', but no backward pass through the network: G and G' come from one
forward pass. A training step then needs a single backward pass, for the weights. On a CPU, rows are taken in blocks
that fit the cache, those with most neighbours first, so that hardly a slot of a block is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dp_core.module import tree_map
from dp_core.nn import Layer
from dp_torch import kernels
from dp_torch.autodiff import depth, is_last, unknown
from dp_torch.network import Passed, backward, forward, parameters

#: Numbers in the widest layer for the slots that go through a network together on a CPU, for each thread: they fit its
#: cache.
BLOCK = 100_000


@dataclass(frozen=True)
class Cuts:
    """How the rows of a matrix are grouped into blocks."""

    order: Tensor  # (n,) rows by falling number of slots
    inverse: Tensor  # (n,) place of each row in the order
    blocks: list[tuple[slice, int]]  # places, and number of slots, of each block


def cut(matrix: Tensor, width: int) -> Cuts | None:
    """Blocks of the rows of a matrix, (n, K, d), for a network as wide; None where it is best taken as a whole."""
    rows, slots, _ = matrix.shape
    most = max(1, BLOCK * torch.get_num_threads() // width)  # slots of a block
    traced = isinstance(rows, torch.SymInt) or isinstance(slots, torch.SymInt)
    if traced or matrix.device.type != "cpu" or rows * slots <= most:
        return None
    used = matrix.detach().ne(0).any(2)
    lengths, order = (used * torch.arange(1, slots + 1)).amax(1).sort(descending=True, stable=True)
    widths, blocks, start = lengths.tolist(), [], 0
    while start < rows:
        stop = min(rows, start + max(1, most // max(1, widths[start])))
        blocks.append((slice(start, stop), widths[start]))
        start = stop
    return Cuts(order, order.argsort(), blocks)


@dataclass
class Work:
    """One call in blocks, and what every block leaves behind."""

    layers: Sequence[Layer]
    cuts: Cuts | None
    matrix: list[Tensor] = field(default_factory=list)  # R, (rows, K, d)
    passed: list[list[Passed]] = field(default_factory=list)  # where weights are trained
    values: list[Tensor] = field(default_factory=list)  # G, (rows, K, M)
    slopes: list[Tensor] = field(default_factory=list)  # dG/ds, (rows, K, M)
    #: of every slope that was differentiated, by its context: blocks of v (rows, K, d) and of ga (rows, d, M)
    directions: dict[Any, tuple[list[Tensor], list[Tensor]]] = field(default_factory=dict)

    def rows(self, x: Tensor) -> list[Tensor]:
        """The blocks of an array with n rows."""
        if self.cuts is None:
            return [x]
        x = x.index_select(0, self.cuts.order)
        return [x[places] for places, _ in self.cuts.blocks]

    def slots(self, x: Tensor) -> list[Tensor]:
        """The blocks of an array (n, K, …), without the slots that are empty in all rows of a block."""
        if self.cuts is None:
            return [x]
        x = x.index_select(0, self.cuts.order)
        return [x[places, :width] for places, width in self.cuts.blocks]

    def joined_rows(self, blocks: list[Tensor]) -> Tensor:
        """An array with n rows from its blocks."""
        return blocks[0] if self.cuts is None else torch.cat(blocks).index_select(0, self.cuts.inverse)

    def joined_slots(self, blocks: list[Tensor], like: Tensor) -> Tensor:
        """An array (n, K, …) from its blocks, 0 in the slots left out."""
        if self.cuts is None:
            return blocks[0]
        out = torch.zeros_like(like)
        for (places, width), block in zip(self.cuts.blocks, blocks, strict=True):
            out[places, :width] = block
        return out.index_select(0, self.cuts.inverse)


class EmbeddingSum(torch.autograd.Function):
    """A = Σ_k R_k ⊗ G(R_k0), (n, K, d) -> (n, d, M), and a token for ``EmbeddingSlope``.

    Differentiable once by R and then once by the weights, which is what forces and their training need.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, work: Work, *params: Tensor | None) -> tuple[Tensor, Tensor]:
        """The sum and the token."""
        with_slope, train = ctx.needs_input_grad[0], any(ctx.needs_input_grad[2:])
        sums = []
        work.matrix = work.slots(matrix)
        for r in work.matrix:
            keep: list[Passed] = []
            g, dg = forward(work.layers, r[:, :, :1].reshape(-1, 1), with_slope, keep if train else None)
            shape = (r.shape[0], r.shape[1], g.shape[1])
            sums.append(r.transpose(1, 2) @ g.view(shape))
            if train:
                work.passed.append(keep)
            if dg is not None:
                work.values.append(g.view(shape))
                work.slopes.append(dg.view(shape))
        token = matrix.new_zeros(())
        ctx.work = work
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(matrix, token, *params)
        return work.joined_rows(sums), token

    @staticmethod
    def backward(ctx: Any, ga: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
        """Gradients of R where these may be differentiated again or no weights are trained, else of the weights."""
        matrix, token, *params = ctx.saved_tensors
        if torch.is_grad_enabled() or not any(ctx.needs_input_grad[2:]):
            return EmbeddingSlope.apply(matrix, ga, token, ctx.work), None, *unknown(params)
        return *unknown([matrix]), None, *_gradients_of_weights(ctx.work, ga)


class EmbeddingSlope(torch.autograd.Function):
    """The gradient of the sum by R: (n, K, d), (n, d, M) -> (n, K, d)."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, ga: Tensor, token: Tensor, work: Work) -> Tensor:
        """The gradient."""
        out, ctx.work, ctx.ga = [], work, work.rows(ga)
        for r, a, g, dg in zip(work.matrix, ctx.ga, work.values, work.slopes, strict=True):
            slope = g @ a.transpose(1, 2)
            slope[:, :, 0] += (r * (dg @ a.transpose(1, 2))).sum(2)
            out.append(slope)
        return work.joined_slots(out, matrix)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        """The gradient of ``ga``."""
        work: Work = ctx.work
        blocks = work.slots(v)
        of_ga = [
            w.transpose(1, 2) @ g + (w[:, :, :1] * r).transpose(1, 2) @ dg
            for w, r, g, dg in zip(blocks, work.matrix, work.values, work.slopes, strict=True)
        ]
        # The gradients of the weights are left to EmbeddingSum.backward, which the token makes run after this.
        work.directions[ctx] = (blocks, ctx.ga)
        return *unknown([v]), work.joined_rows(of_ga), v.new_zeros(()), None


def _gradients_of_weights(work: Work, ga: Tensor | None) -> list[Tensor | None]:
    """Gradients of the weights from ``ga`` and from the slopes that were differentiated."""
    directions, work.directions = list(work.directions.values()), {}
    values = None if ga is None else work.rows(ga)
    grads: list[Tensor | None] = [None] * (3 * len(work.layers))
    for k, (r, passed) in enumerate(zip(work.matrix, work.passed, strict=True)):
        # dL/dG = Σ left @ right and dL/d(dG/ds) = Σ (left_0 R) @ right, of rank d for each term
        left, right = [v[k] for v, _ in directions], [a[k] for _, a in directions]
        h = torch.cat([v[:, :, :1] * r for v in left], 2) @ torch.cat(right, 1) if left else None
        if values is not None:
            left, right = [r, *left], [values[k], *right]
        g = torch.cat(left, 2) @ torch.cat(right, 1)
        backward(work.layers, passed, g.flatten(0, 1), None if h is None else h.flatten(0, 1), grads)
    return grads


def embedding_sum(matrix: Tensor, net: Any, shift: Tensor | None = None, kind: Tensor | None = None) -> Tensor | None:
    """``arrays.embedding_sum`` for networks that use tanh alone; None for others, and for third derivatives.

    Slots of several kinds are for the kernels of dp-ops alone.
    """
    if depth() > 1 or any(layer.activation_function.lower() != "tanh" for layer in net.layers):
        return None
    if kernels.available(matrix, net.layers, shift):
        return kernels.embedding_sum(matrix, net.layers, shift, kind)
    if shift is not None:
        return None
    layers = net.layers
    if is_last():  # no gradients of weights
        layers = tree_map(torch.Tensor.detach, layers)
    params = [p for layer in layers for p in parameters(layer)]
    width = max(layer.w.shape[1] for layer in layers)
    out: Tensor = EmbeddingSum.apply(matrix, Work(layers, cut(matrix, width)), *params)[0]
    return out
