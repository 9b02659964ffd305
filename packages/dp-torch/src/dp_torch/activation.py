"""silu with its derivatives written out: no array is kept but the argument, and few passes go over large ones."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dp_torch.autodiff import depth

#: Elements from which on it is worth it.
_LARGE = 1 << 14
#: Elements of a pass of several operations that stays in the cache.
_BLOCK = 1 << 16


class Tail:
    """What silu is above a threshold t: tanh(s (x − t)) + c with the value c and slope s that silu has there."""

    def __init__(self, threshold: float):
        sigmoid = 1.0 / (1.0 + math.exp(-threshold))
        self.threshold, self.value = threshold, threshold * sigmoid
        self.slope = sigmoid + threshold * sigmoid * (1.0 - sigmoid)

    def tanh(self, x: Tensor) -> Tensor:
        """tanh(s (x − t))."""
        return torch.tanh(self.slope * (x - self.threshold))


class Silu(torch.autograd.Function):
    """The function; differentiable twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tail: Tail | None) -> Tensor:
        """x: contiguous."""
        y, above = torch.nn.functional.silu(x), None
        if tail:
            above = (x.view(-1) > tail.threshold).nonzero()[:, 0]
            y.view(-1)[above] = tail.tanh(x.view(-1)[above]) + tail.value
        ctx.tail = tail
        ctx.save_for_backward(x, above)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """The derivative, which may be differentiated again."""
        x, above = ctx.saved_tensors
        return SiluSlope.apply(x, g.contiguous(), above, ctx.tail), None


class SiluSlope(torch.autograd.Function):
    """``g · f'(x)``; differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, above: Tensor | None, tail: Tail | None) -> Tensor:
        """above: places where the tail counts."""
        ctx.tail = tail
        ctx.save_for_backward(x, g, above)
        return _slope(x, g, above, tail)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        """By x and by g."""
        x, g, above = ctx.saved_tensors
        v = v.contiguous()
        of_x = _bend(x, g, v, above, ctx.tail) if ctx.needs_input_grad[0] else None
        of_g = _slope(x, v, above, ctx.tail) if ctx.needs_input_grad[1] else None
        return of_x, of_g, None, None


def _slope(x: Tensor, g: Tensor, above: Tensor | None, tail: Tail | None) -> Tensor:
    """g f'(x)."""
    out: Tensor = torch.ops.aten.silu_backward(g, x)
    if tail:
        t = tail.tanh(x.view(-1)[above])
        out.view(-1)[above] = g.view(-1)[above] * tail.slope * (1.0 - t * t)
    return out


def _bend(x: Tensor, g: Tensor, v: Tensor, above: Tensor | None, tail: Tail | None) -> Tensor:
    """g v f''(x), with f'' = σ (1 − σ) (2 + x (1 − 2σ))."""
    out = torch.empty_like(x)
    blocks = [t.view(-1).split(_BLOCK) for t in (x, g, v, out)]
    sigmoid = torch.empty_like(blocks[0][0])
    for xs, gs, vs, outs in zip(*blocks, strict=True):
        s = torch.sigmoid(xs, out=sigmoid[: len(xs)])
        torch.mul(s, -2.0, out=outs).add_(1.0).mul_(xs).add_(2.0).mul_(gs).mul_(vs)
        outs.mul_(s.addcmul_(s, s, value=-1.0))
    if tail:
        t = tail.tanh(x.view(-1)[above])
        second = -2.0 * tail.slope**2 * t * (1.0 - t * t)
        out.view(-1)[above] = g.view(-1)[above] * v.view(-1)[above] * second
    return out


def silu(x: Tensor, threshold: float) -> Tensor | None:
    """``arrays.silu`` of large arrays on a CPU; None for others, while a graph is traced, and for third derivatives."""
    count = x.numel()
    if isinstance(count, torch.SymInt) or count < _LARGE or x.device.type != "cpu" or depth() > 1:
        return None
    out: Tensor = Silu.apply(x.contiguous(), None if threshold == math.inf else Tail(threshold))
    return out
