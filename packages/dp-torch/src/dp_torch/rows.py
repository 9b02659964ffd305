"""Rows of a fixed length by the kernels of dp-ops, with their derivatives written out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dp_torch.autodiff import depth, unknown
from dp_torch.kernels import usable


class ScaledRows(torch.autograd.Function):
    """x / √max(scale |x|² + shift, least) over the last axis; where g is given, the gradient by x of g times that."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor | None, numbers: tuple[float, ...]) -> Tensor:
        """The rows, or their slope; x and g are contiguous."""
        ctx.numbers = numbers
        ctx.save_for_backward(x, g)
        return _run("value", x, numbers)[0] if g is None else _run("slope", x, numbers, g)[0]

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        """Gradients of x and g; not to be differentiated again where g is given."""
        x, g = ctx.saved_tensors
        if g is None:
            return ScaledRows.apply(x, v.contiguous(), ctx.numbers), None, None
        found = unknown([x, g]) if torch.is_grad_enabled() else _run("second", x, ctx.numbers, g, v, outs=2)
        return *found, None


def _run(name: str, x: Tensor, numbers: tuple[float, ...], *given: Tensor, outs: int = 1) -> list[Tensor]:
    """What a kernel makes of x and of others like it."""
    from dp_ops.training import Rows

    given, out = tuple(g.contiguous() for g in given), [torch.empty_like(x) for _ in range(outs)]
    problem = Rows(x.numel() // x.shape[-1], x.shape[-1], x.data_ptr(), numbers, float64=x.dtype == torch.float64)
    problem.run(name, *(a.data_ptr() for a in (*given, *out)))
    return out


def scaled_rows(x: Tensor, scale: float, shift: float, least: float) -> Tensor | None:
    """``arrays.scaled_rows``; None without kernels and for third derivatives."""
    if depth() > 1 or not usable(x, []) or not x.numel():
        return None
    out: Tensor = ScaledRows.apply(x.contiguous(), None, (scale, shift, least))
    return out
