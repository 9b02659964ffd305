"""Matrix products with trained weights: the gradient of the weights in one product, also when forces are trained.

Through a gradient that is differentiated again, weights act twice. Automatic differentiation would make one large
matrix for each and add them; here the rows of both are put together first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dp_torch.autodiff import depth, is_last, unknown

#: Rows from which on products of their own are quicker than one of rows put together.
_MANY = 1 << 13


@dataclass
class Link:
    """What the second derivative leaves for the first: by context, (rows, n_in) and (rows, n_out)."""

    directions: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Linear(torch.autograd.Function):
    """``x @ w + b``, (rows, n_in) -> (rows, n_out), and a token for ``LinearSlope``.

    Differentiable once by x and then once by the weights.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor | None, link: Link) -> tuple[Tensor, Tensor]:
        """The product and the token."""
        token = x.new_zeros(())
        ctx.link = link
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, w, b, token)
        return x @ w if b is None else torch.addmm(b, x, w), token

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
        """The gradient of x; and of the weights, unless that of x may be differentiated again."""
        x, w, b, token = ctx.saved_tensors
        if torch.is_grad_enabled():
            return LinearSlope.apply(g, w.detach(), token, ctx.link), *unknown([w, b]), None
        directions, ctx.link.directions = list(ctx.link.directions.values()), {}
        left, right = [v for v, _ in directions], [a for _, a in directions]
        if g is not None:
            left, right = [x, *left], [g, *right]
        of_w = _product(left, right)
        of_x = None if g is None else g @ w.t()
        return of_x, of_w, None if b is None or g is None else g.sum(0), None


def _product(left: list[Tensor], right: list[Tensor]) -> Tensor:
    """Σ leftᵀ right; in one product, unless putting the rows together is more work than that saves."""
    rows = sum(x.shape[0] for x in left)
    if isinstance(rows, torch.SymInt) or rows < _MANY:  # a graph that is traced must hold for any number
        return torch.cat(left).t() @ torch.cat(right)
    total = left[0].t() @ right[0]
    for x, y in zip(left[1:], right[1:], strict=True):
        total.addmm_(x.t(), y)
    return total


class LinearSlope(torch.autograd.Function):
    """The gradient of the product by x: ``g @ w.T``."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, w: Tensor, token: Tensor, link: Link) -> Tensor:
        """The gradient."""
        ctx.link = link
        ctx.save_for_backward(g, w)
        return g @ w.t()

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        """The gradient of ``g``; that of the weights is left to Linear.backward, which the token makes run later."""
        g, w = ctx.saved_tensors
        ctx.link.directions[ctx] = (v, g)
        return v @ w, None, v.new_zeros(()), None


def linear(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor | None:
    """``arrays.linear`` for weights in training; None where there is nothing to gain, and for third derivatives."""
    if not w.requires_grad or not torch.is_grad_enabled() or is_last() or depth() > 1:
        return None
    y: Tensor = Linear.apply(x.reshape(-1, w.shape[0]), w, b, Link())[0]
    return y.reshape(*x.shape[:-1], w.shape[1])
