"""Rows of a fixed length by the kernels of dp-ops, with their derivatives written out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dp_torch.autodiff import depth
from dp_torch.kernels import usable


def _run(name: str, x: Tensor, numbers: tuple[float, ...], *given: Tensor, outs: int = 1) -> list[Tensor]:
    """What a kernel makes of x and of others like it."""
    from dp_ops.training import Rows

    width = x.shape[-1]
    given = tuple(g.contiguous() for g in given)
    out = [torch.empty_like(x) for _ in range(outs)]
    problem = Rows(x.numel() // width, width, x.data_ptr(), numbers, float64=x.dtype == torch.float64)
    problem.run(name, *(a.data_ptr() for a in (*given, *out)))
    return out


class ScaledRows(torch.autograd.Function):
    """x / √max(scale |x|² + shift, least) over the last axis, differentiable twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, numbers: tuple[float, ...]) -> Tensor:
        """The rows."""
        x = x.contiguous()
        ctx.numbers = numbers
        ctx.save_for_backward(x)
        return _run("value", x.detach(), numbers)[0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """The gradient of x."""
        return _Slope.apply(*ctx.saved_tensors, g, ctx.numbers), None


class _Slope(torch.autograd.Function):
    """The gradient of the rows by x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, numbers: tuple[float, ...]) -> Tensor:
        ctx.numbers = numbers
        ctx.save_for_backward(x, g)
        return _run("slope", x.detach(), numbers, g.detach())[0]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        x, g = ctx.saved_tensors
        return *_run("second", x, ctx.numbers, g, v, outs=2), None


def scaled_rows(x: Tensor, scale: float, shift: float, least: float) -> Tensor | None:
    """``arrays.scaled_rows``; None without kernels and for third derivatives."""
    if depth() > 1 or not usable(x, []) or not x.numel():
        return None
    out: Tensor = ScaledRows.apply(x, (scale, shift, least))
    return out
