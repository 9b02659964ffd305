"""Training with Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

from dp_core.backend import LossFunction, Optimizer, TrainState
from dp_core.module import tree_map
from dp_torch import distributed
from dp_torch.autodiff import gradient

#: (parameters, batch) -> (loss, metrics, gradients of the parameters in their order)
Step = Callable[[dict[str, Tensor], Any], tuple[Tensor, dict[str, Tensor], list[Tensor]]]


def eager_step(loss: LossFunction) -> Step:
    """Loss and gradients, operation by operation."""

    def step(params: dict[str, Tensor], batch: Any) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        value, metrics = loss(params, batch, gradient)
        grads = torch.autograd.grad(value, list(params.values()), materialize_grads=True)
        return value.detach(), {k: v.detach() for k, v in metrics.items()}, list(grads)

    return step


class TorchTraining:
    """A model in training: parameters and moments as tensors on the device."""

    def __init__(
        self,
        loss: LossFunction,
        state: TrainState,
        optimizer: Optimizer,
        to_tensor: Callable[[np.ndarray], Tensor],
        compiled: bool,
    ):
        self._loss, self._optimizer, self._to_tensor = loss, optimizer, to_tensor
        self._params = {k: to_tensor(v).clone().requires_grad_() for k, v in state.params.items()}
        self._moments = [
            {k: to_tensor(state.moments[name][k]).clone() for k in self._params}
            if name in state.moments
            else {k: torch.zeros_like(p, requires_grad=False) for k, p in self._params.items()}
            for name in ("first", "second")
        ]
        # the fused update wants the number of updates as a tensor for each parameter
        self._updates = [torch.tensor(float(state.updates), device=p.device) for p in self._params.values()]
        if compiled:
            from dp_torch.compiled import CompiledStep

            self._step = CompiledStep(loss)
        else:
            self._step = eager_step(loss)
        distributed.join(next(iter(self._params.values())).device)
        distributed.share([*self._params.values(), *(m for moments in self._moments for m in moments.values())])

    def step(self, batches: Sequence[Any], learning_rate: float) -> dict[str, float]:
        """One update with the mean gradient of the batches, and of all processes."""
        loss, metrics, grads = self._step(self._params, self._tensors(batches[0]))
        for batch in batches[1:]:
            torch._foreach_add_(grads, self._step(self._params, self._tensors(batch))[2])
        if len(batches) > 1:
            torch._foreach_div_(grads, len(batches))
        distributed.average(grads)
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads, 2, torch.float64))))
        if self._optimizer.max_norm and norm > self._optimizer.max_norm:
            torch._foreach_mul_(grads, self._optimizer.max_norm / norm)
        self._update(grads, learning_rate)
        return {k: float(v) for k, v in metrics.items()} | {"loss": float(loss), "grad_norm": norm}

    def _update(self, grads: list[Tensor], learning_rate: float) -> None:
        o = self._optimizer
        with torch.no_grad():
            adam(
                list(self._params.values()), grads, *(list(m.values()) for m in self._moments), [], self._updates,
                fused=True, decoupled_weight_decay=o.type == "AdamW", amsgrad=False, maximize=False, lr=learning_rate,
                beta1=o.beta1, beta2=o.beta2, weight_decay=o.weight_decay, eps=o.epsilon,
            )  # fmt: skip

    def evaluate(self, batch: Any) -> dict[str, float]:
        """The metrics of a batch."""
        with torch.no_grad():
            loss, metrics = self._loss({k: p.detach() for k, p in self._params.items()}, self._tensors(batch), gradient)
        return {k: float(v) for k, v in metrics.items()} | {"loss": float(loss)}

    def params(self) -> dict[str, np.ndarray]:
        """The parameters as they are now; on a CPU, views that the next step changes."""
        return {k: v.detach().cpu().numpy() for k, v in self._params.items()}

    def state(self) -> TrainState:
        """A copy of parameters and moments."""
        first, second = ({k: _copy(v) for k, v in moments.items()} for moments in self._moments)
        params = {k: _copy(v) for k, v in self._params.items()}
        return TrainState(params, {"first": first, "second": second}, int(self._updates[0]))

    def _tensors(self, batch: Any) -> Any:
        return tree_map(self._to_tensor, batch)


def _copy(x: Tensor) -> np.ndarray:
    values: np.ndarray = x.detach().cpu().numpy().copy()
    return values
