"""Matrix products with trained weights: the gradient of the weights in one product, also when forces are trained.

Through a gradient that is differentiated again, weights act twice. Automatic differentiation would make one large
matrix for each and add them; here the rows of both are put together first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dp_torch.autodiff import depth, is_last
from dp_torch.derivatives import Direction, Work, applied

#: Rows from which on products of their own are quicker than one of rows put together.
_MANY = 1 << 13


class LinearWork(Work):
    """``x @ w + b``, (rows, n_in) -> (rows, n_out)."""

    def __init__(self, w: Tensor, b: Tensor | None):
        super().__init__()
        self.w, self.b = w.detach(), None if b is None else b.detach()

    def value(self, inputs: Sequence[Tensor], *, derived: bool, trains: bool) -> Tensor:
        """The product."""
        return inputs[0] @ self.w if self.b is None else torch.addmm(self.b, inputs[0], self.w)

    def slope(self, inputs: Sequence[Tensor], gy: Tensor) -> Sequence[Tensor]:
        """The gradient by x."""
        return [gy @ self.w.t()]

    def tangent(self, inputs: Sequence[Tensor], gy: Tensor, v: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
        """The gradient of ``gy``."""
        return v[0] @ self.w, None

    def gradients(
        self, inputs: Sequence[Tensor], gu: Tensor | None, directions: Sequence[Direction]
    ) -> list[Tensor | None]:
        """Gradients of x, w and b."""
        left, right = [d.v[0] for d in directions], [d.gy for d in directions]
        if gu is None:
            return [None, _product(left, right), None]
        of_w = _product([inputs[0], *left], [gu, *right])
        return [gu @ self.w.t(), of_w, None if self.b is None else gu.sum(0)]


def _product(left: list[Tensor], right: list[Tensor]) -> Tensor:
    """Σ leftᵀ right; in one product, unless putting the rows together is more work than that saves."""
    rows = sum(x.shape[0] for x in left)
    if isinstance(rows, torch.SymInt) or rows < _MANY:  # a graph that is traced must hold for any number
        return torch.cat(left).t() @ torch.cat(right)
    total = left[0].t() @ right[0]
    for x, y in zip(left[1:], right[1:], strict=True):
        total.addmm_(x.t(), y)
    return total


def linear(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor | None:
    """``arrays.linear`` for weights in training; None where there is nothing to gain, and for third derivatives."""
    if not w.requires_grad or not torch.is_grad_enabled() or is_last() or depth() > 1:
        return None
    y = applied(LinearWork(w, b), [x.reshape(-1, w.shape[0])], [w, b])
    return y.reshape(*x.shape[:-1], w.shape[1])
