"""The sum of an embedded number over the slots of a row, with its derivatives written out.

For A = Σ_k R_k ⊗ G(R_k0) the force needs G', but no backward pass through the network: G and G' come from one
forward pass. A training step then needs a single backward pass, for the weights. On a CPU, rows are taken in blocks
that fit the cache, those with most neighbours first, so that hardly a slot of a block is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dp_core.module import tree_map
from dp_core.nn import Layer
from dp_torch import kernels
from dp_torch.autodiff import depth, is_last
from dp_torch.derivatives import Direction, Work, applied
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


class EmbeddingBlocks(Work):
    """A = Σ_k R_k ⊗ G(R_k0), (n, K, d) -> (n, d, M), in blocks, and what every block leaves behind."""

    again = 0

    def __init__(self, layers: Sequence[Layer], cuts: Cuts | None):
        super().__init__()
        self.layers, self.cuts = layers, cuts
        self.matrix: list[Tensor] = []  # R, (rows, K, d)
        self.passed: list[list[Passed]] = []  # where weights are trained
        self.values: list[Tensor] = []  # G, (rows, K, M)
        self.slopes: list[Tensor] = []  # dG/ds, (rows, K, M)

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

    def value(self, inputs: Sequence[Tensor], *, derived: bool, trains: bool) -> Tensor:
        """The sum."""
        sums = []
        self.matrix = self.slots(inputs[0])
        for r in self.matrix:
            keep: list[Passed] = []
            g, dg = forward(self.layers, r[:, :, :1].reshape(-1, 1), derived, keep if trains else None)
            shape = (r.shape[0], r.shape[1], g.shape[1])
            sums.append(r.transpose(1, 2) @ g.view(shape))
            if trains:
                self.passed.append(keep)
            if dg is not None:
                self.values.append(g.view(shape))
                self.slopes.append(dg.view(shape))
        return self.joined_rows(sums)

    def slope(self, inputs: Sequence[Tensor], gy: Tensor) -> Sequence[Tensor]:
        """The gradient of the sum by R."""
        out = []
        for r, a, g, dg in zip(self.matrix, self.rows(gy), self.values, self.slopes, strict=True):
            slope = g @ a.transpose(1, 2)
            slope[:, :, 0] += (r * (dg @ a.transpose(1, 2))).sum(2)
            out.append(slope)
        return [self.joined_slots(out, inputs[0])]

    def tangent(self, inputs: Sequence[Tensor], gy: Tensor, v: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
        """The gradient of ``gy``, and the blocks of v and gy."""
        blocks = self.slots(v[0])
        of_gy = [
            w.transpose(1, 2) @ g + (w[:, :, :1] * r).transpose(1, 2) @ dg
            for w, r, g, dg in zip(blocks, self.matrix, self.values, self.slopes, strict=True)
        ]
        return self.joined_rows(of_gy), (blocks, self.rows(gy))

    def gradients(
        self, inputs: Sequence[Tensor], gu: Tensor | None, directions: Sequence[Direction]
    ) -> list[Tensor | None]:
        """Gradients of the weights."""
        values = None if gu is None else self.rows(gu)
        grads: list[Tensor | None] = [None] * (3 * len(self.layers))
        for k, (r, passed) in enumerate(zip(self.matrix, self.passed, strict=True)):
            # dL/dG = Σ left @ right and dL/d(dG/ds) = Σ (left_0 R) @ right, of rank d for each term
            left, right = [d.left[0][k] for d in directions], [d.left[1][k] for d in directions]
            h = torch.cat([v[:, :, :1] * r for v in left], 2) @ torch.cat(right, 1) if left else None
            if values is not None:
                left, right = [r, *left], [values[k], *right]
            g = torch.cat(left, 2) @ torch.cat(right, 1)
            backward(self.layers, passed, g.flatten(0, 1), None if h is None else h.flatten(0, 1), grads)
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
    # no gradients by weights will be asked for where this is the last one
    layers = tree_map(torch.Tensor.detach, net.layers) if is_last() else net.layers
    params = [p for layer in layers for p in parameters(layer)]
    width = max(layer.w.shape[1] for layer in layers)
    return applied(EmbeddingBlocks(layers, cut(matrix, width)), [matrix], params)
