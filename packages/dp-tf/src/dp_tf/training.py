"""Training with Adam and AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import tensorflow as tf

from dp_core.backend import LossFunction, Optimizer, TrainState
from dp_tf import distributed
from dp_tf.autodiff import gradient, of_weights
from dp_tf.graphs import Graph
from dp_tf.kernels import portable

Tensor = Any


class TensorflowTraining:
    """A model in training: parameters and moments as variables, steps as graphs."""

    def __init__(self, loss: LossFunction, state: TrainState, optimizer: Optimizer, compiled: bool):
        self._loss, self._optimizer, self._updates = loss, optimizer, state.updates
        self._compiled = compiled
        zeros = {k: np.zeros_like(v) for k, v in state.params.items()}
        self._params, self._first, self._second = (
            {k: tf.Variable(np.array(v)) for k, v in values.items()}
            for values in (state.params, state.moments.get("first", zeros), state.moments.get("second", zeros))
        )
        self._differentiate = Graph(self._gradients, jit=compiled)
        self._metrics = Graph(lambda batch: self._loss(self._values(), batch, gradient))
        self._update = tf.function(self._apply, autograph=False)
        variables = [v for d in (self._params, self._first, self._second) for v in d.values()]
        for variable, value in zip(variables, distributed.share([v.read_value() for v in variables]), strict=True):
            variable.assign(value)

    def _values(self) -> dict[str, Tensor]:
        return {k: v.read_value() for k, v in self._params.items()}

    def _gradients(self, batch: Any) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        """Loss, metrics, and the gradients in the order of the parameters."""
        params = self._values()
        plain = portable() if self._compiled else nullcontext()  # XLA knows nothing but TensorFlow's own operations
        with plain, of_weights(), tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(params.values()))
            value, metrics = self._loss(params, batch, gradient)
        return value, metrics, tape.gradient(value, list(params.values()), unconnected_gradients="zero")

    def _apply(self, grads: list[Tensor], rate: Tensor, updates: Tensor) -> Tensor:
        """Change parameters and moments; the norm of the gradient."""
        o = self._optimizer
        norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(tf.cast(g, tf.float64))) for g in grads]))
        scale = tf.where(norm > o.max_norm, o.max_norm / norm, 1.0) if o.max_norm else None
        correct1, correct2 = 1.0 - o.beta1**updates, 1.0 - o.beta2**updates
        for g, variable, first, second in zip(
            grads, self._params.values(), self._first.values(), self._second.values(), strict=True
        ):
            dtype = variable.dtype
            g = g if scale is None else g * tf.cast(scale, dtype)
            if o.weight_decay and o.type == "AdamW":
                variable.assign(variable * tf.cast(1.0 - rate * o.weight_decay, dtype))
            elif o.weight_decay:
                g = g + o.weight_decay * variable
            # this operation adds epsilon before it corrects the second moment
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle, m=first.handle, v=second.handle, grad=g,
                beta1_power=tf.cast(1.0 - correct1, dtype), beta2_power=tf.cast(1.0 - correct2, dtype),
                beta1=tf.constant(o.beta1, dtype), beta2=tf.constant(o.beta2, dtype), lr=tf.cast(rate, dtype),
                epsilon=tf.cast(o.epsilon * tf.sqrt(correct2), dtype),
            )  # fmt: skip
        return norm

    def step(self, batches: Sequence[Any], learning_rate: float) -> dict[str, float]:
        """One update with the mean gradient of the batches, and of all processes."""
        loss, metrics, grads = self._differentiate(batches[0])
        for batch in batches[1:]:
            grads = [a + b for a, b in zip(grads, self._differentiate(batch)[2], strict=True)]
        if len(batches) > 1:
            grads = [g / len(batches) for g in grads]
        grads = distributed.average(grads)
        rate, updates = (tf.constant(x, tf.float64) for x in (learning_rate, self._updates + 1))
        norm = self._update(list(grads), rate, updates)
        self._updates += 1
        return {k: float(v) for k, v in metrics.items()} | {"loss": float(loss), "grad_norm": float(norm)}

    def evaluate(self, batch: Any) -> dict[str, float]:
        """The metrics of a batch."""
        loss, metrics = self._metrics(batch)
        return {k: float(v) for k, v in metrics.items()} | {"loss": float(loss)}

    def params(self) -> dict[str, np.ndarray]:
        """The parameters as they are now."""
        return {k: v.numpy() for k, v in self._params.items()}

    def state(self) -> TrainState:
        """A copy of parameters and moments."""
        first, second = ({k: v.numpy() for k, v in d.items()} for d in (self._first, self._second))
        return TrainState(self.params(), {"first": first, "second": second}, self._updates)
