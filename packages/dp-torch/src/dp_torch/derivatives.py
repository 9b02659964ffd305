"""Functions whose gradients, and the derivatives of these, are written out: what forces and their training need.

They are differentiated once by their inputs, and then once by their weights and by inputs that depend on weights.
Automatic differentiation would go through all operations of the gradient; written out, one backward pass does for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dp_torch.autodiff import is_last, unknown

#: Number of the backward pass that runs now; there is no public name for it.
_current_pass = torch._C._current_graph_task_id


class Direction:
    """A gradient that was differentiated: of the value, ``gy``, in the directions v, one for each input."""

    def __init__(self, gy: Tensor, v: tuple[Tensor, ...], left: Any):
        self.gy, self.v, self.left = gy, v, left  # left: what the derivative leaves for the gradients of the weights


class Work(ABC):
    """One call of a function of some inputs and weights, and what it leaves for its derivatives."""

    inputs = 1  # arrays by which it can be derived
    again = 1  # those among them, the first ones, that depend on weights; later, gradients of the others are unknown
    trains = False  # whether gradients by weights may be wanted

    def __init__(self) -> None:
        self.directions: dict[int, list[Direction]] = {}  # by number of the backward pass

    @abstractmethod
    def value(self, inputs: Sequence[Tensor], *, derived: bool, trains: bool) -> Tensor:
        """The value, of which gradients by inputs (``derived``) and by weights (``trains``) may be wanted."""

    @abstractmethod
    def slope(self, inputs: Sequence[Tensor], gy: Tensor) -> Sequence[Tensor]:
        """The gradients by the inputs of Σ gy · value."""

    @abstractmethod
    def tangent(self, inputs: Sequence[Tensor], gy: Tensor, v: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
        """The gradient by gy of Σ v · slope, and what it leaves for ``gradients``."""

    @abstractmethod
    def gradients(
        self, inputs: Sequence[Tensor], gu: Tensor | None, directions: Sequence[Direction]
    ) -> list[Tensor | None]:
        """Gradients by the first inputs and by the weights of Σ gu · value + Σ v · slope(gy)."""


class _Value(torch.autograd.Function):
    """The value, and a token for ``_Slope``."""

    @staticmethod
    def forward(ctx: Any, work: Work, *given: Tensor | None) -> tuple[Tensor, Tensor]:
        """The value and the token. given: the inputs, then the weights."""
        needed = ctx.needs_input_grad[1:]
        derived, trains = any(needed[: work.inputs]), any(needed[work.inputs :])
        out = work.value(given[: work.inputs], derived=derived, trains=trains)
        work.trains = trains
        ctx.work, token = work, out.new_zeros(())
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(token, *given)
        return out, token

    @staticmethod
    def backward(ctx: Any, gy: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
        """Gradients of the inputs where these may be differentiated again or nothing else counts; else of the weights
        and of the inputs that depend on weights.
        """
        (token, *given), work = ctx.saved_tensors, ctx.work
        inputs, params = given[: work.inputs], given[work.inputs :]
        directions = work.directions.pop(_current_pass(), [])  # those of other passes are not of this one
        if gy is None and not directions:
            return None, *(None for _ in given)
        if torch.is_grad_enabled():
            derived = any(ctx.needs_input_grad[1 : 1 + work.inputs])
            if directions or not derived:  # third derivatives, or second ones by weights
                return None, *unknown(given)
        if torch.is_grad_enabled() or not (directions or work.trains):
            return None, *_Slope.apply(gy, token, work, *inputs), *unknown(params)
        found = work.gradients([x.detach() for x in inputs], None if gy is None else gy.contiguous(), directions)
        return None, *found[: work.again], *unknown(inputs[work.again :]), *found[work.again :]


class _Slope(torch.autograd.Function):
    """The gradients of a value by the inputs, from that of the value."""

    @staticmethod
    def forward(ctx: Any, gy: Tensor, token: Tensor, work: Work, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The gradients."""
        ctx.inputs, ctx.gy, ctx.work = [x.detach() for x in inputs], gy.detach().contiguous(), work
        return tuple(work.slope(ctx.inputs, ctx.gy))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *v: Tensor) -> tuple[Any, ...]:
        """The gradient of ``gy``; those of the weights are left to ``_Value``, which the token makes run after this."""
        work, v = ctx.work, tuple(x.detach().contiguous() for x in v)
        of_gy, left = work.tangent(ctx.inputs, ctx.gy, v)
        if work.again or work.trains:
            work.directions.setdefault(_current_pass(), []).append(Direction(ctx.gy, v, left))
        return of_gy, of_gy.new_zeros(()), None, *[None] * len(v)


def trained(params: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The weights as ``applied`` takes them: detached where no gradients by them will be asked for."""
    return [None if p is None else p.detach() for p in params] if is_last() else list(params)


def applied(work: Work, inputs: Sequence[Tensor], params: Sequence[Tensor | None]) -> Tensor:
    """The value of a call with these weights."""
    out: Tensor = _Value.apply(work, *inputs, *params)[0]
    return out
