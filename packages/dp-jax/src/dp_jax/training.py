"""Training with Adam and AdamW."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dp_core.backend import LossFunction, Optimizer, TrainState
from dp_jax import distributed, kernels
from dp_jax.compiled import Compiled
from dp_jax.namespace import gradient

Arrays = dict[str, jax.Array]
_MOMENTS = {"first": "mu", "second": "nu"}  # names in checkpoints, and those of optax


def transformation(o: Optimizer) -> optax.GradientTransformation:
    """What becomes of gradients, but for clipping and the learning rate."""
    decay = [optax.add_decayed_weights(o.weight_decay)] if o.weight_decay else []
    adam = optax.scale_by_adam(o.beta1, o.beta2, o.epsilon)
    return optax.chain(adam, *decay) if o.type == "AdamW" else optax.chain(*decay, adam)


class JaxTraining:
    """A model in training: parameters and the state of the optimizer, copied to all devices."""

    def __init__(self, loss: LossFunction, state: TrainState, optimizer: Optimizer):
        self._loss, self._transformation, self._max_norm = loss, transformation(optimizer), optimizer.max_norm
        self._devices = jax.local_devices()
        params = {k: np.array(v) for k, v in state.params.items()}
        moments = {
            theirs: {k: np.array(v) for k, v in state.moments[ours].items()}
            for ours, theirs in _MOMENTS.items()
            if ours in state.moments
        }
        fresh = jax.tree.map(np.asarray, self._transformation.init(params))
        start = optax.tree.set(fresh, **moments, count=np.asarray(state.updates, np.int32))
        self._params, self._state = distributed.shared((params, start))
        self._whole_step = Compiled("training step", self._stepped, level=logging.INFO)
        self._gradients = Compiled("gradients", self._differentiated, level=logging.INFO)
        self._metrics = Compiled("validation", self._evaluated, level=logging.INFO)
        self._update = jax.jit(self._updated)
        self._add = jax.jit(lambda a, b: jax.tree.map(jnp.add, a, b), donate_argnums=0)

    # -- functions that are compiled

    def _evaluated(self, batch: Any, params: Arrays) -> tuple[Arrays]:
        with kernels.in_use(trains=False):
            value, metrics = self._loss(params, batch, gradient)
        return (metrics | {"loss": value},)

    def _differentiated(self, batch: Any, params: Arrays) -> tuple[Arrays, Arrays]:
        def total(params: Arrays) -> tuple[jax.Array, list[jax.Array]]:
            value, metrics = self._loss(params, batch, gradient)
            names[:] = [*metrics, "loss"]
            return value, [*metrics.values(), value]

        names = list[str]()
        with kernels.in_use(trains=True):
            grads, metrics = jax.grad(total, has_aux=True)(params)
        return dict(zip(names, metrics, strict=True)), {k: g[None] for k, g in grads.items()}

    def _updated(
        self, params: Arrays, state: Any, parts: Arrays, share: jax.Array, learning_rate: jax.Array
    ) -> tuple[Arrays, Any, jax.Array]:
        """parts: sums of gradients by device; share: one over the number of batches."""
        grads = {k: jnp.sum(g, axis=0) * share.astype(g.dtype) for k, g in parts.items()}
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(g.astype(np.float64))) for g in grads.values()))
        if self._max_norm:
            scale = jnp.where(norm > self._max_norm, self._max_norm / norm, 1.0)
            grads = {k: g * scale.astype(g.dtype) for k, g in grads.items()}
        changes, state = self._transformation.update(grads, state, params)
        params = {k: p - learning_rate.astype(p.dtype) * changes[k] for k, p in params.items()}
        return params, state, norm

    def _stepped(self, batch: Any, params: Arrays, state: Any, learning_rate: jax.Array) -> tuple[Arrays, Arrays, Any]:
        metrics, parts = self._differentiated(batch, params)
        params, state, norm = self._updated(params, state, parts, jnp.ones(()), learning_rate)
        return metrics | {"grad_norm": norm}, params, state

    # -- the interface of a training

    def step(self, batches: Sequence[Any], learning_rate: float) -> dict[str, float]:
        """One update with the mean gradient of the batches, and of all processes. The devices share the batches."""
        rate = np.float64(learning_rate)
        if jax.device_count() == 1 and len(batches) == 1:
            metrics, params, state = self._whole_step(batches[0], self._params, self._state, rate)
            return self._taken(metrics, params, state)
        first: Arrays = {}
        sums: list[Arrays] = []
        for k, device in enumerate(self._devices):
            params = distributed.on_device(self._params, k)
            total: Arrays | None = None
            for batch in batches[k :: len(self._devices)]:
                metrics, grads = self._gradients(batch, params)
                first, total = first or metrics, grads if total is None else self._add(total, grads)
            if total is None:  # fewer batches than devices
                total = jax.device_put({n: np.zeros((1, *p.shape), p.dtype) for n, p in params.items()}, device)
            sums.append(total)
        share = np.float64(1.0 / (len(batches) * jax.process_count()))
        parts = distributed.stacked(sums)
        params, state, norm = self._update(self._params, self._state, parts, share, rate)
        return self._taken(first | {"grad_norm": norm}, params, state)

    def _taken(self, metrics: Arrays, params: Arrays, state: Any) -> dict[str, float]:
        """Take over what a step has made, once it has ended well."""
        shown = _numbers(metrics)
        self._params, self._state = params, state
        return shown

    def evaluate(self, batch: Any) -> dict[str, float]:
        """The metrics of a batch."""
        return _numbers(self._metrics(batch, distributed.on_device(self._params, 0))[0])

    def params(self) -> dict[str, np.ndarray]:
        """A copy of the parameters."""
        return _copies(self._params)

    def state(self) -> TrainState:
        """A copy of parameters and moments."""
        moments = {ours: _copies(optax.tree.get(self._state, theirs)) for ours, theirs in _MOMENTS.items()}
        return TrainState(self.params(), moments, int(optax.tree.get(self._state, "count")))


def _numbers(metrics: Arrays) -> dict[str, float]:
    return {k: float(v) for k, v in jax.device_get(metrics).items()}


def _copies(values: Arrays) -> dict[str, np.ndarray]:
    return {k: np.array(v.addressable_data(0)) for k, v in values.items()}
