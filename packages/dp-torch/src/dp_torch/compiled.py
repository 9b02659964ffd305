"""The whole training step as one compiled graph: loss, its metrics and the gradients of the parameters.

PyTorch cannot compile a function that differentiates twice. So the step is first traced to a graph of plain operators,
derivatives included, with open sizes; that graph is compiled. Numbers of rows and slots are given by arrays of these
lengths, as in frozen files, because they change from batch to batch.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dp_core.backend import LossFunction
from dp_core.errors import BackendError
from dp_core.module import leaves, replace, tree_map, with_leaves
from dp_torch.autodiff import gradient

Outputs = tuple[Tensor, ...]


def require_compiler(reason: str) -> None:
    """Raise BackendError, with the reason why one is needed, where there is no C++ compiler."""
    if not shutil.which(os.environ.get("CXX", "g++")):
        raise BackendError(
            f"{reason}, but there is no C++ compiler here. Install g++ (Debian: apt-get install g++), or name another "
            "one in the environment variable CXX."
        )


def _without_sizes(batch: Any) -> Any:
    return replace(batch, table=replace(batch.table, row_counts=(), slot_counts=()))


def _kind(batch: Any) -> str:
    """What a graph depends on beside the values and the sizes: the tree, types, and which sizes are 0 or 1."""
    describe = tree_map(lambda x: f"{x.dtype}{[min(size, 2) for size in x.shape]}", _without_sizes(batch))
    counts = (*batch.table.row_counts, 0, *batch.table.slot_counts)
    return f"{describe} {[min(count, 2) for count in counts]}"


class Compiled(NamedTuple):
    """A graph for batches of one kind."""

    holds: Callable[[list[Tensor]], bool]  # whether it was made for such sizes
    run: Callable[..., Outputs]  # -> loss, metrics, gradients
    names: list[str]  # of the metrics


class CompiledStep:
    """Loss, metrics and gradients of a batch; compiles at the first batch of each kind."""

    def __init__(self, loss: LossFunction):
        require_compiler("training/enable_compile is true, which compiles the training step")
        self._loss = loss
        self._graphs: dict[str, list[Compiled]] = {}

    def __call__(self, params: dict[str, Tensor], batch: Any) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        """Loss, metrics, and the gradients in the order of the parameters."""
        counts = [*batch.table.row_counts, *batch.table.slot_counts]
        sizes = [torch.empty(count, dtype=torch.int8) for count in counts]  # on the CPU: never read
        inputs = [*(p.detach() for p in params.values()), *leaves(batch).values(), *sizes]
        known = self._graphs.setdefault(_kind(batch), [])
        found = next((graph for graph in known if graph.holds(inputs)), None)
        if found is None:
            found = self._compile(list(params), batch, inputs)
            known.append(found)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value, *rest = found.run(*inputs)
        count = len(found.names)
        return value, dict(zip(found.names, rest[:count], strict=True)), rest[count:]

    def _compile(self, params: list[str], batch: Any, inputs: list[Tensor]) -> Compiled:
        from torch.fx.experimental import _config as shapes
        from torch.fx.experimental.proxy_tensor import make_fx

        paths, rows = list(leaves(batch)), len(batch.table.row_counts)
        names: list[str] = []

        def step(*args: Tensor) -> Outputs:
            given = {k: p.detach().requires_grad_() for k, p in zip(params, args, strict=False)}
            values = dict(zip(paths, args[len(params) :], strict=False))
            counts = tuple(x.shape[0] for x in args[len(params) + len(paths) :])
            table = replace(batch.table, row_counts=counts[:rows], slot_counts=counts[rows:])
            value, metrics = self._loss(given, with_leaves(replace(batch, table=table), values), gradient)
            grads = torch.autograd.grad(value, list(given.values()), materialize_grads=True)
            names[:] = list(metrics)
            return tuple(x.detach() for x in (value, *metrics.values(), *grads))

        with warnings.catch_warnings(), shapes.patch(use_duck_shape=False):
            warnings.simplefilter("ignore")
            graph = make_fx(step, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs)
            compiled = torch.compile(graph, dynamic=True, fullgraph=True)
        placeholders = [n.meta["val"] for n in graph.graph.nodes if n.op == "placeholder"]
        environment = graph.shape_env

        def holds(args: list[Tensor]) -> bool:
            return bool(environment.evaluate_guards_for_args(placeholders, args))

        return Compiled(holds, compiled, names)
