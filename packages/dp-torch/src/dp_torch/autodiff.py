"""Gradients of functions of one array, nested as deep as a loss needs."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from dp_core.module import is_array, tree_map

_DEPTH: ContextVar[int] = ContextVar("depth", default=0)


def depth() -> int:
    """How many gradients are being taken, one inside the other."""
    return _DEPTH.get()


def gradient(function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor) -> tuple[Any, Tensor]:
    """``(extra, d scalar / d x)`` of ``x -> (scalar, extra)``.

    The result can be differentiated again where gradients are enabled outside, otherwise no graph is kept.
    """
    again = torch.is_grad_enabled()
    token = _DEPTH.set(depth() + 1)
    try:
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            value, extra = function(x)
            if value.requires_grad:
                (slope,) = torch.autograd.grad(value, x, create_graph=again, allow_unused=True)
            else:
                slope = None
    finally:
        _DEPTH.reset(token)
    if not again:
        extra = tree_map(lambda leaf: leaf.detach() if is_array(leaf) else leaf, extra)
    return extra, torch.zeros_like(x) if slope is None else slope
