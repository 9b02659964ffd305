"""The reference backend: NumPy, with gradients by the ``autograd`` library over the same model code."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import array_api_compat.numpy as compat_numpy
import autograd.numpy as agnp
import numpy as np
from autograd.core import VJPNode, backward_pass
from autograd.extend import defvjp, primitive, vspace
from autograd.tracer import isbox, new_box, trace_stack

from dp_core import arrays
from dp_core.backend import Derived, DerivedEvaluator, Evaluator, LossFunction, Optimizer, TrainState
from dp_core.batching import no_rounding
from dp_core.errors import BackendError
from dp_core.kernels import one_more_gradient
from dp_core.module import Array, tree_map
from dp_core.numpy_kernels import attention, embedding_sum, table_sum
from dp_core.outputs import evaluate_atoms


def _numpy_segment_sum(x: np.ndarray, segments: np.ndarray, count: int) -> np.ndarray:
    """Sum by sorting: exact order of addition, no Python loop over rows."""
    out = np.zeros((count, *x.shape[1:]), x.dtype)
    order = np.argsort(segments, kind="stable")
    sorted_segments = segments[order]
    first = np.searchsorted(sorted_segments, 0)
    order, sorted_segments = order[first:], sorted_segments[first:]
    if len(order) == 0:
        return out
    starts = np.flatnonzero(np.diff(sorted_segments, prepend=-1))
    out[sorted_segments[starts]] = np.add.reduceat(x[order], starts, axis=0)
    return out


_segment_sum = primitive(_numpy_segment_sum)


def _segment_sum_vjp(ans: Any, x: Any, segments: np.ndarray, count: int) -> Callable[[Any], Any]:
    def pull(g: Any) -> Any:
        keep = (segments >= 0).reshape((-1,) + (1,) * (x.ndim - 1))
        return g[np.maximum(segments, 0)] * keep

    return pull


defvjp(_segment_sum, _segment_sum_vjp, None, None)


#: autograd's own derivative, 1/cosh², is inf/inf in the second derivative of large arguments.
_tanh = primitive(np.tanh)
defvjp(_tanh, lambda ans, x: lambda g: g * (1.0 - ans * ans))


def _agnp_namespace() -> types.ModuleType:
    """``autograd.numpy`` with the names of the array-API standard that it lacks or spells differently."""
    xp = types.ModuleType("dp_core.autograd_namespace")
    xp.__dict__.update({k: v for k, v in vars(agnp).items() if not k.startswith("_")})
    xp.__dict__.update(
        astype=lambda x, dtype: x.astype(dtype),
        concat=lambda blocks, axis=0: agnp.concatenate(blocks, axis=axis),
        matrix_transpose=lambda x: agnp.swapaxes(x, -1, -2),
        tanh=_tanh,
        take=lambda x, index, axis=0: x[(slice(None),) * (axis % x.ndim) + (index,)],
    )
    return xp


_AUTOGRAD = _agnp_namespace()
arrays.register_namespace(isbox, _AUTOGRAD)
arrays.provide(
    compat_numpy.__name__,
    segment_sum=_numpy_segment_sum,
    embedding_sum=embedding_sum,
    table_sum=table_sum,
    attention=attention,
)
arrays.provide(
    _AUTOGRAD.__name__,
    segment_sum=_segment_sum,
    constant=lambda values, like: np.asarray(values, dtype=like.dtype),
    positions=lambda count, like: np.arange(count),
    embedding_sum=embedding_sum,
    table_sum=table_sum,
    attention=attention,
)


def gradient(function: Callable[[Any], tuple[Any, Any]], x: Any) -> tuple[Any, Any]:
    """``(extra, d scalar / d x)`` of ``x -> (scalar, extra)``; nests, so that a loss may contain forces."""
    with one_more_gradient(), trace_stack.new_trace() as trace:
        start = VJPNode.new_root()
        box = new_box(x, trace, start)
        value, extra = function(box)
        inner = tree_map(lambda leaf: leaf._value if isbox(leaf) and leaf._trace == trace else leaf, extra)
        if not (isbox(value) and value._trace == trace):
            return inner, vspace(x).zeros()
        return inner, backward_pass(vspace(value._value).ones(), value._node)


class NumpyBackend:
    """Evaluates and trains with NumPy alone. Slow, and the reference for the others."""

    name = "numpy"
    suffixes = (".dp", ".yaml", ".yml")
    chunk_rows = 256
    rank, world_size = 0, 1
    round_rows = staticmethod(no_rounding)
    round_slots = staticmethod(no_rounding)

    def array(self, x: np.ndarray) -> Array:
        """The array itself."""
        return x

    def evaluator(self, model: Any, function: Derived = evaluate_atoms) -> DerivedEvaluator:
        """A function of tables that evaluates the model with its derivative, or another function of the two."""
        return lambda table: function(model, table, gradient)

    def apply(self, function: Callable[[Any, Any], Array], model: Any, table: Any) -> np.ndarray:
        """``function(model, table)`` without derivatives."""
        return np.asarray(function(model, table))

    def training(
        self, loss: LossFunction, state: TrainState, optimizer: Optimizer, *, compiled: bool = False
    ) -> NumpyTraining:
        """Begin or continue a training; there is nothing to compile."""
        if compiled:
            raise BackendError(
                "training/enable_compile is true, but the numpy backend cannot compile. Use another backend."
            )
        return NumpyTraining(loss, state, optimizer)

    def freeze(self, model: Any, document: bytes, path: Path) -> None:
        """Write the document: ``.dp`` and ``.yaml`` files are frozen models of this backend."""
        from dp_core.format import load_bytes, write_document

        write_document(load_bytes(document), path)

    def load(self, path: Path) -> Evaluator:
        """The evaluator of a ``.dp`` or ``.yaml`` file."""
        from dp_core.model_file import load_model

        return self.evaluator(load_model(path))


class NumpyTraining:
    """Adam and AdamW on NumPy arrays."""

    def __init__(self, loss: LossFunction, state: TrainState, optimizer: Optimizer):
        self._loss = loss
        self._optimizer = optimizer
        self._params = {k: v.copy() for k, v in state.params.items()}
        zeros = {k: np.zeros_like(v) for k, v in state.params.items()}
        first, second = state.moments.get("first", zeros), state.moments.get("second", zeros)
        self._first = {k: v.copy() for k, v in first.items()}
        self._second = {k: v.copy() for k, v in second.items()}
        self._updates = state.updates

    def _gradient(self, batch: Any) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        def total(params: Mapping[str, Any]) -> tuple[Any, Any]:
            value, metrics = self._loss(params, batch, gradient)
            return value, metrics | {"loss": value}

        return gradient(total, self._params)

    def step(self, batches: Sequence[Any], learning_rate: float) -> dict[str, float]:
        """One update with the mean gradient of the batches."""
        metrics, grads = self._gradient(batches[0])
        for batch in batches[1:]:
            _, more = self._gradient(batch)
            grads = {k: g + more[k] for k, g in grads.items()}
        grads = {k: g / len(batches) for k, g in grads.items()}
        norm = float(np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in grads.values())))
        o = self._optimizer
        if o.max_norm and norm > o.max_norm:
            grads = {k: g * (o.max_norm / norm) for k, g in grads.items()}
        updates = self._updates + 1
        correct1, correct2 = 1 - o.beta1**updates, 1 - o.beta2**updates
        params, first, second = {}, {}, {}
        for k, g in grads.items():
            theta = self._params[k]
            if o.weight_decay and o.type == "AdamW":
                theta = theta * (1 - learning_rate * o.weight_decay)
            elif o.weight_decay:
                g = g + o.weight_decay * theta
            first[k] = o.beta1 * self._first[k] + (1 - o.beta1) * g
            second[k] = o.beta2 * self._second[k] + (1 - o.beta2) * g * g
            denominator = np.sqrt(second[k] / correct2) + o.epsilon
            params[k] = theta - learning_rate / correct1 * first[k] / denominator
        self._params, self._first, self._second, self._updates = params, first, second, updates
        return {k: float(v) for k, v in metrics.items()} | {"grad_norm": norm}

    def evaluate(self, batch: Any) -> dict[str, float]:
        """The metrics of a batch."""
        value, metrics = self._loss(self._params, batch, gradient)
        return {k: float(v) for k, v in metrics.items()} | {"loss": float(value)}

    def params(self) -> dict[str, np.ndarray]:
        """The parameters as they are now."""
        return dict(self._params)

    def state(self) -> TrainState:
        """A copy of parameters and moments."""
        copy = {name: {k: v.copy() for k, v in d.items()} for name, d in
                (("params", self._params), ("first", self._first), ("second", self._second))}  # fmt: skip
        return TrainState(copy["params"], {"first": copy["first"], "second": copy["second"]}, self._updates)
