"""Gradients of functions of one array, nested as deep as a loss needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from dp_core.module import is_array, tree_map

#: for each gradient being taken, from the outside in: whether its result will be differentiated
_OPEN: ContextVar[tuple[bool, ...]] = ContextVar("open", default=())


def depth() -> int:
    """How many gradients are being taken, one inside the other."""
    return len(_OPEN.get())


def is_last() -> bool:
    """Whether nothing but the gradient being taken will be asked of what is computed now."""
    return _OPEN.get()[-1:] == (False,)


def gradient(function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor) -> tuple[Any, Tensor]:
    """``(extra, d scalar / d x)`` of ``x -> (scalar, extra)``.

    The result can be differentiated again where gradients are enabled outside, otherwise no graph is kept.
    """
    again = torch.is_grad_enabled()
    token = _OPEN.set((*_OPEN.get(), again))
    try:
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            value, extra = function(x)
            if value.requires_grad:
                (slope,) = torch.autograd.grad(value, x, create_graph=again, allow_unused=True)
            else:
                slope = None
    finally:
        _OPEN.reset(token)
    if not again:
        extra = tree_map(lambda leaf: leaf.detach() if is_array(leaf) else leaf, extra)
    return extra, torch.zeros_like(x) if slope is None else slope


def unknown(params: Iterable[Tensor | None]) -> list[Tensor | None]:
    """NaN in the place of gradients that are not available, so that nobody takes them for zero."""
    return [None if p is None else p.new_full((), float("nan")).expand(p.shape) for p in params]
