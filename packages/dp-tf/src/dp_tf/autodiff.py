"""Gradients of functions of one tensor, nested as deep as a loss needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from dp_core.kernels import one_more_gradient

Tensor = Any

_PULLS: ContextVar[bool] = ContextVar("pulls", default=False)
_TRAINS: ContextVar[bool] = ContextVar("trains", default=False)


def pulls() -> bool:
    """Whether backward passes being made are those of ``gradient``, whose result may be differentiated again."""
    return _PULLS.get()


def trains() -> bool:
    """Whether gradients of weights are being taken."""
    return _TRAINS.get()


@contextmanager
def of_weights() -> Iterator[None]:
    """Inside, gradients of weights are being taken."""
    token = _TRAINS.set(True)
    try:
        yield
    finally:
        _TRAINS.reset(token)


def gradient(function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor) -> tuple[Any, Tensor]:
    """``(extra, d scalar / d x)`` of ``x -> (scalar, extra)``; it can be differentiated again."""
    with one_more_gradient(), tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value, extra = function(x)
    token = _PULLS.set(True)
    try:
        return extra, tape.gradient(value, x, unconnected_gradients="zero")
    finally:
        _PULLS.reset(token)
