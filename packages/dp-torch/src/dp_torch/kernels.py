"""The embedding sum and the fitting networks by the kernels of dp-ops, where they are there: on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dp_core.kernels import kernel_library
from dp_core.nn import Layer
from dp_torch.autodiff import is_last, unknown
from dp_torch.network import parameters


def usable(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether the kernels may work on x with these weights. Nothing of them is in traced graphs."""
    if type(x) is not Tensor or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return False
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or any(type(w.data) is not Tensor for w in weights):
        return False
    return all(w.dtype == x.dtype for w in weights) and kernel_library("dp_kernels") is not None


def available(x: Tensor, layers: Sequence[Layer], shift: Tensor | None = None) -> bool:
    """Whether the kernels may compute a network of these layers for x."""
    if not usable(x, [layer.w for layer in layers] + ([] if shift is None else [shift])):
        return False
    from dp_ops import training

    return training.serves(layers)


#: Memory of finished calls, of which fresh pages would take as long as the work in them.
_SPARE: list[Tensor] = []
_MOST_SPARE = 8


def _memory(count: int, like: Tensor) -> Tensor:
    """At least so many numbers, not initialised."""
    for k, spare in enumerate(_SPARE):
        if spare.dtype == like.dtype and count <= spare.numel() <= 2 * count:
            return _SPARE.pop(k)
    return like.new_empty(count)


@dataclass
class Work:
    """One call: the weights as they are, what was kept, and what was differentiated."""

    layers: Sequence[Layer]
    params: list[Tensor | None]  # of every layer w, b and idt; then the shift, if there is one
    kind: Tensor | None = None  # of slots
    kept: Tensor | None = None
    #: by context of a slope: what its derivative leaves for the gradients of the weights
    directions: dict[Any, tuple[Tensor, ...]] = field(default_factory=dict)

    def __del__(self) -> None:
        if self.kept is not None and len(_SPARE) < _MOST_SPARE:
            _SPARE.append(self.kept)

    def problem(self, kind: str, x: Tensor, grads: Sequence[Tensor | None] | None = None) -> Any:
        """The problem of a kind, embedding or network, in C."""
        from dp_ops import training

        grads = grads or [None] * len(self.params)
        end = 3 * len(self.layers)
        described = [
            training.Layer(*training.sizes(layer), *map(_address, (*self.params[k : k + 3], *grads[k : k + 3])))
            for k, layer in zip(range(0, end, 3), self.layers, strict=True)
        ]  # fmt: skip
        float64 = x.dtype == torch.float64
        if kind == "embedding":
            shift = self.params[-1] if self.kind is not None else None
            kinds = (0,) * 4 if shift is None else (len(shift), *map(_address, (self.kind, shift, grads[-1])))
            return training.Embedding(x.shape, _address(x), described, float64=float64, kinds=kinds)
        return training.Network(x.shape[0], _address(x), described, float64=float64)

    def gradients(self, kind: str, x: Tensor, gu: Tensor | None, *others: Tensor) -> list[Tensor | None]:
        """Gradients of the weights, summed over the directions; ``others`` end the call of the kernel."""
        first, *more = list(self.directions.values()) or [(None,) * 3]
        self.directions = {}
        total: list[Tensor | None] = []
        for u, (g, v, tangents) in ((gu, first), *((None, d) for d in more)):
            grads = [None if p is None else torch.empty_like(p) for p in self.params]
            outs = [torch.empty_like(o) for o in others]
            tail = (self.kept,) if kind == "embedding" else (self.kept, tangents, *outs)
            self.problem(kind, x, grads).run("gradients", *map(_address, (u, g, v, *tail)))
            found = [*outs, *grads]
            total = found if not total else [None if a is None else a + b for a, b in zip(total, found, strict=True)]
        return total


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


def _work(layers: Sequence[Layer], shift: Tensor | None = None, kind: Tensor | None = None) -> tuple[Any, ...]:
    """The call, and its weights as automatic differentiation knows them."""
    params = [p for layer in layers for p in parameters(layer)] + ([] if shift is None else [shift])
    if is_last():  # no gradients of weights
        params = [None if p is None else p.detach() for p in params]
    values = [None if p is None else p.detach().contiguous() for p in params]
    return Work(layers, values, None if kind is None else kind.to(torch.int64).contiguous()), *params


class EmbeddingSum(torch.autograd.Function):
    """A = Σ_k R_k ⊗ G(R_k0), (n, K, d) -> (n, d, M), and a token for ``EmbeddingSlope``.

    Differentiable once by R and then once by the weights, which is what forces and their training need.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, work: Work, *params: Tensor | None) -> tuple[Tensor, Tensor]:
        """The sum and the token."""
        problem = work.problem("embedding", matrix)
        out = matrix.new_empty((matrix.shape[0], matrix.shape[2], work.layers[-1].w.shape[1]))
        work.kept = _memory(problem.kept(), matrix) if any(ctx.needs_input_grad[2:]) else None
        problem.run("sum", _address(out), _address(work.kept))
        ctx.work, token = work, matrix.new_zeros(())
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(matrix, token, *params)
        return out, token

    @staticmethod
    def backward(ctx: Any, ga: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
        """Gradients of R where these may be differentiated again or no weights are trained, else of the weights."""
        matrix, token, *params = ctx.saved_tensors
        if torch.is_grad_enabled() or not any(ctx.needs_input_grad[2:]):
            return EmbeddingSlope.apply(matrix, ga, token, ctx.work), None, *unknown(params)
        ga = None if ga is None else ga.contiguous()
        return *unknown([matrix]), None, *ctx.work.gradients("embedding", matrix, ga)


class EmbeddingSlope(torch.autograd.Function):
    """The gradient of the sum by R: (n, K, d), (n, d, M) -> (n, K, d)."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, ga: Tensor, token: Tensor, work: Work) -> Tensor:
        """The gradient."""
        ctx.matrix, ctx.ga, ctx.work = matrix.detach(), ga.detach().contiguous(), work
        out = torch.empty_like(ctx.matrix)
        work.problem("embedding", ctx.matrix).run("slope", *map(_address, (ctx.ga, work.kept, out)))
        return out

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        """The gradient of ``ga``; those of the weights are left to ``EmbeddingSum``, which runs after this."""
        v, of_ga = v.contiguous(), torch.empty_like(ctx.ga)
        ctx.work.problem("embedding", ctx.matrix).run("transposed_slope", *map(_address, (v, ctx.work.kept, of_ga)))
        ctx.work.directions[ctx] = (ctx.ga, v, None)
        return *unknown([v]), of_ga, v.new_zeros(()), None


class NetworkValue(torch.autograd.Function):
    """A network of rows, (n, n_in) -> (n, n_out), and a token for ``NetworkSlope``.

    Differentiable once by x, and then once by x and the weights.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, work: Work, *params: Tensor | None) -> tuple[Tensor, Tensor]:
        """The value and the token."""
        problem = work.problem("network", x)
        out, work.kept = x.new_empty((x.shape[0], work.layers[-1].w.shape[1])), _memory(problem.kept(), x)
        problem.run("value", _address(out), _address(work.kept))
        ctx.work, token = work, x.new_zeros(())
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, token, *params)
        return out, token

    @staticmethod
    def backward(ctx: Any, gy: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
        """Gradients of x where these may be differentiated again or nothing else counts, else of x and the weights."""
        x, token, *params = ctx.saved_tensors
        gy = None if gy is None else gy.contiguous()
        if torch.is_grad_enabled() or not (ctx.work.directions or any(ctx.needs_input_grad[2:])):
            return NetworkSlope.apply(x, gy, token, ctx.work), None, *unknown(params)
        of_x, *of_params = ctx.work.gradients("network", x.detach(), gy, x)
        return of_x, None, *of_params


class NetworkSlope(torch.autograd.Function):
    """The gradient of the value by x: (n, n_in), (n, n_out) -> (n, n_in)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gy: Tensor, token: Tensor, work: Work) -> Tensor:
        """The gradient."""
        ctx.x, ctx.gy, ctx.work = x.detach(), gy.detach().contiguous(), work
        out = torch.empty_like(ctx.x)
        work.problem("network", ctx.x).run("slope", *map(_address, (ctx.gy, work.kept, out)))
        return out

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Any, ...]:
        """The gradient of ``gy``; those of x and the weights are left to ``NetworkValue``, which runs after this."""
        v, of_gy, tangents = v.contiguous(), torch.empty_like(ctx.gy), torch.empty_like(ctx.work.kept)
        run = ctx.work.problem("network", ctx.x).run
        run("tangent", *map(_address, (v, ctx.work.kept, of_gy, tangents)))
        ctx.work.directions[ctx] = (ctx.gy, v, tangents)
        return None, of_gy, v.new_zeros(()), None


def embedding_sum(
    matrix: Tensor, layers: Sequence[Layer], shift: Tensor | None = None, kind: Tensor | None = None
) -> Tensor:
    """Σ_k R_k ⊗ G(R_k0): (n, K, d) -> (n, d, M). shift, kind: see ``arrays.embedding_sum``."""
    out: Tensor = EmbeddingSum.apply(matrix.contiguous(), *_work(layers, shift, kind))[0]
    return out


def network(x: Tensor, layers: Sequence[Layer]) -> Tensor:
    """The layers applied to rows: (n, n_in) -> (n, n_out)."""
    out: Tensor = NetworkValue.apply(x.contiguous(), *_work(layers))[0]
    return out
