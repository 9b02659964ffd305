"""Embedding sums, networks of rows and attention by the kernels of dp-ops, where they are there: on a processor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dp_core.kernels import kernel_library
from dp_core.nn import Layer
from dp_core.nn.attention import GatedAttention
from dp_torch.autodiff import depth
from dp_torch.derivatives import Direction, Work, applied, trained


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


#: Memory of the last finished calls, of which fresh pages would take as long as the work in them. It comes here at any
#: time, from finalisers too, so that nothing may be locked.
_SPARE: deque[Tensor] = deque(maxlen=8)


def _memory(count: int, like: Tensor) -> Tensor:
    """At least so many numbers, not initialised."""
    for _ in range(len(_SPARE)):
        try:
            spare = _SPARE.popleft()
        except IndexError:  # another thread took it
            break
        if spare.dtype == like.dtype and count <= spare.numel() <= 2 * count:
            return spare
        _SPARE.append(spare)
    return like.new_empty(count)


#: inputs, layers in C, and places for gradients of the weights -> the problem in C
Problem = Callable[[Sequence[Tensor], list[Any], Sequence[Tensor | None]], Any]


class KernelWork(Work):
    """One call of a kernel: the weights as they are, and what was kept."""

    names = "value", "tangent"  # of its functions

    def __init__(self, problem: Problem, shape: Sequence[int], sizes: list[tuple[int, ...]], params: Sequence[Any]):
        super().__init__()
        self.shape, self.sizes, self._problem = tuple(shape), sizes, problem  # of the value; of the layers
        self.params = [None if p is None else p.detach().contiguous() for p in params]  # w, b, idt of layers; others
        self.kept: Tensor | None = None

    def __del__(self) -> None:
        if self.kept is not None:
            _SPARE.append(self.kept)

    def problem(self, inputs: Sequence[Tensor], grads: Sequence[Tensor | None] = ()) -> Any:
        """The problem in C, with places for the gradients of the weights."""
        from dp_ops import training

        grads = grads or [None] * len(self.params)
        layers = [
            training.Layer(*sizes, *map(_address, (*self.params[3 * k : 3 * k + 3], *grads[3 * k : 3 * k + 3])))
            for k, sizes in enumerate(self.sizes)
        ]
        return self._problem(inputs, layers, grads)

    def value(self, inputs: Sequence[Tensor], *, derived: bool, trains: bool) -> Tensor:
        """The value; what is kept saves time where weights are trained, and may be needed for any derivative."""
        out, problem = inputs[0].new_empty(self.shape), self.problem(inputs)
        if self.again or trains:
            self.kept = _memory(problem.kept(), out)
        problem.run(self.names[0], *map(_address, (out, self.kept)))
        return out

    def slope(self, inputs: Sequence[Tensor], gy: Tensor) -> Sequence[Tensor]:
        """The gradients by the inputs."""
        outs = [torch.empty_like(x) for x in inputs]
        self.problem(inputs).run("slope", *map(_address, (gy, self.kept, *outs)))
        return outs

    def tangent(self, inputs: Sequence[Tensor], gy: Tensor, v: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
        """The gradient of ``gy``, and the tangents of what was kept, if inputs depend on weights."""
        of_gy = torch.empty_like(gy)
        left = [_memory(self.kept.numel(), self.kept)] if self.again and self.kept is not None else []
        self.problem(inputs).run(self.names[1], *map(_address, (*v, self.kept, of_gy, *left)))
        return of_gy, left

    def gradients(
        self, inputs: Sequence[Tensor], gu: Tensor | None, directions: Sequence[Direction]
    ) -> list[Tensor | None]:
        """Gradients of the first inputs and of the weights, summed over the directions."""
        total: list[Tensor | None] = []
        for u, d in zip([gu, *[None] * (len(directions) - 1)], directions or [None], strict=True):
            grads = [None if p is None else torch.empty_like(p) for p in self.params]
            outs = [torch.empty_like(x) for x in inputs[: self.again]]
            gy, v, left = (None, [None] * self.inputs, [None] * self.again) if d is None else (d.gy, d.v, d.left)
            self.problem(inputs, grads).run("gradients", *map(_address, (u, gy, *v, self.kept, *left, *outs)))
            if d is not None:
                _SPARE.extend(left)
            found = [*outs, *grads]
            total = found if not total else [None if a is None else a + b for a, b in zip(total, found, strict=True)]
        return total


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


class EmbeddingWork(KernelWork):
    """A = Σ_k R_k ⊗ G(R_k0): (n, K, d) -> (n, d, M)."""

    names, again = ("sum", "transposed_slope"), 0


class AttentionWork(KernelWork):
    """A layer of attention: (n, K, width), directions (n, K, d) and weights (n, K, 1) -> (n, K, width)."""

    inputs = 3


def embedding_sum(
    matrix: Tensor, layers: Sequence[Layer], shift: Tensor | None = None, kind: Tensor | None = None
) -> Tensor:
    """Σ_k R_k ⊗ G(R_k0): (n, K, d) -> (n, d, M). shift, kind: see ``arrays.embedding_sum``."""
    from dp_ops import training

    of_slots = None if kind is None else kind.to(torch.int64).contiguous()
    rows = None if shift is None else shift.detach().contiguous()

    def problem(inputs: Sequence[Tensor], in_c: list[Any], grads: Sequence[Tensor | None]) -> Any:
        (r,), kinds = inputs, (0,) * 4 if rows is None else (len(rows), *map(_address, (of_slots, rows, grads[-1])))
        return training.Embedding(r.shape, _address(r), in_c, float64=_double(r), kinds=kinds)

    params = trained([*training.weights(layers), *([] if shift is None else [shift])])
    shape = matrix.shape[0], matrix.shape[2], layers[-1].w.shape[1]
    return applied(EmbeddingWork(problem, shape, [*map(training.sizes, layers)], params), [matrix.contiguous()], params)


def network(x: Tensor, layers: Sequence[Layer]) -> Tensor | None:
    """Layers of rows; None without kernels and for third derivatives."""
    if depth() > 1 or x.ndim != 2 or not available(x, layers):
        return None
    from dp_ops import training

    def problem(inputs: Sequence[Tensor], in_c: list[Any], _: Any) -> Any:
        (rows,) = inputs
        return training.Network(len(rows), _address(rows), in_c, float64=_double(rows))

    params, shape = trained(training.weights(layers)), (x.shape[0], layers[-1].w.shape[1])
    return applied(KernelWork(problem, shape, [*map(training.sizes, layers)], params), [x.contiguous()], params)


def attention(
    g: Tensor, direction: Tensor, weight: Tensor, valid: Tensor, spare: Tensor, layers: Sequence[GatedAttention]
) -> Tensor | None:
    """``arrays.attention``; None without kernels and for third derivatives."""
    weights = [w for layer in layers for w in (layer.in_proj.w, layer.out_proj.w, layer.norm.w)]
    if depth() > 1 or not usable(g, [direction, weight, valid, spare, *weights]) or not g.numel():
        return None
    direction, weight, valid, spare = (x.contiguous() for x in (direction, weight, valid, spare))
    for layer in layers:
        g = _attention_layer(g.contiguous(), direction, weight, valid, spare, layer)
    return g


def _attention_layer(
    g: Tensor, direction: Tensor, weight: Tensor, valid: Tensor, spare: Tensor, layer: GatedAttention
) -> Tensor:
    from dp_ops import training

    sizes, settings = (*g.shape, layer.hidden, direction.shape[2]), training.attention_settings(layer)

    def problem(inputs: Sequence[Tensor], in_c: list[Any], _: Any) -> Any:
        arrays = [*map(_address, (*inputs, valid, spare))]
        return training.Attention(sizes, arrays, in_c, settings, float64=_double(valid))

    parts = training.attention_parts(layer)
    params = trained(training.weights(parts))
    work = AttentionWork(problem, g.shape, [*map(training.part_sizes, parts)], params)
    return applied(work, [g, direction, weight], params)


def _double(x: Tensor) -> bool:
    return x.dtype == torch.float64
