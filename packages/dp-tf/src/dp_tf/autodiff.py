"""Gradients of functions of one tensor, nested as deep as a loss needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any


def gradient(function: Callable[[Tensor], tuple[Tensor, Any]], x: Tensor) -> tuple[Any, Tensor]:
    """``(extra, d scalar / d x)`` of ``x -> (scalar, extra)``; it can be differentiated again."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value, extra = function(x)
    return extra, tape.gradient(value, x, unconnected_gradients="zero")
