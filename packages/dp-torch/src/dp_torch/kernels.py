"""Embedding sums, networks of rows and attention by the kernels of dp-ops, where they are there: on a processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from dp_core.kernels import kernel_library
from dp_core.nn import Layer
from dp_core.nn.attention import GatedAttention
from dp_torch.autodiff import depth, is_last, unknown


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


def _finished(memory: Tensor | None) -> None:
    if memory is not None and len(_SPARE) < _MOST_SPARE:
        _SPARE.append(memory)


@dataclass
class Work:
    """One call: the weights as they are, what was kept, and what was differentiated."""

    layers: Sequence[Any]  # with the weights, of every layer w, b and idt, as ``params`` begins
    params: list[Tensor | None]
    kept: Tensor | None = None
    #: by context of a slope: what its derivative leaves for the gradients of the weights
    directions: dict[Any, tuple[Any, ...]] = field(default_factory=dict)

    kind: ClassVar[str]
    inputs: ClassVar[int] = 1  # arrays by which it can be derived
    again: ClassVar[int] = 1  # those among them, the first ones, that depend on weights
    value: ClassVar[str] = "value"
    tangent: ClassVar[str] = "tangent"

    def __del__(self) -> None:
        _finished(self.kept)

    def shape(self, inputs: Sequence[Tensor]) -> tuple[int, ...]:
        """The shape of the value."""
        raise NotImplementedError

    def problem(self, inputs: Sequence[Tensor], grads: Sequence[Tensor | None]) -> Any:
        """The problem in C, with places for the gradients of the weights."""
        raise NotImplementedError

    def run(self, name: str, inputs: Sequence[Tensor], *others: Tensor | None, grads: Sequence[Any] = ()) -> None:
        """One of its functions."""
        self.problem(inputs, grads or [None] * len(self.params)).run(name, *map(_address, others))

    def described(self, grads: Sequence[Tensor | None], sizes: Callable[[Any], tuple[int, ...]]) -> list[Any]:
        """The layers in C."""
        from dp_ops import training

        return [
            training.Layer(*sizes(layer), *map(_address, (*self.params[k : k + 3], *grads[k : k + 3])))
            for k, layer in zip(range(0, 3 * len(self.layers), 3), self.layers, strict=True)
        ]

    def gradients(self, inputs: Sequence[Tensor], gu: Tensor | None) -> list[Tensor | None]:
        """Gradients of the first inputs and of the weights, summed over the directions."""
        first, *more = list(self.directions.values()) or [(None,) * (self.inputs + 2)]
        self.directions = {}
        total: list[Tensor | None] = []
        for u, (g, *v, tangents) in ((gu, first), *((None, d) for d in more)):
            grads = [None if p is None else torch.empty_like(p) for p in self.params]
            outs = [torch.empty_like(x) for x in inputs[: self.again]]
            last = (tangents, *outs) if self.again else ()
            self.run("gradients", inputs, u, g, *v, self.kept, *last, grads=grads)
            _finished(tangents)
            found = [*outs, *grads]
            total = found if not total else [None if a is None else a + b for a, b in zip(total, found, strict=True)]
        return total


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()


@dataclass
class EmbeddingWork(Work):
    """A = Σ_k R_k ⊗ G(R_k0), (n, K, d) -> (n, d, M); the parameters end with the shift, if there is one."""

    of_slots: Tensor | None = None  # their kinds

    kind, again, value, tangent = "embedding", 0, "sum", "transposed_slope"

    def shape(self, inputs: Sequence[Tensor]) -> tuple[int, ...]:
        """The shape of the sum."""
        rows, _, components = inputs[0].shape
        return rows, components, self.layers[-1].w.shape[1]

    def problem(self, inputs: Sequence[Tensor], grads: Sequence[Tensor | None]) -> Any:
        """The problem in C."""
        from dp_ops import training

        (matrix,), shift = inputs, self.params[-1]
        kinds = (0,) * 4
        if self.of_slots is not None and shift is not None:
            kinds = (len(shift), *map(_address, (self.of_slots, shift, grads[-1])))
        layers = self.described(grads, training.sizes)
        float64 = matrix.dtype == torch.float64
        return training.Embedding(matrix.shape, _address(matrix), layers, float64=float64, kinds=kinds)


class NetworkWork(Work):
    """A network of rows, (n, n_in) -> (n, n_out)."""

    kind = "network"

    def shape(self, inputs: Sequence[Tensor]) -> tuple[int, ...]:
        """The shape of the value."""
        return inputs[0].shape[0], self.layers[-1].w.shape[1]

    def problem(self, inputs: Sequence[Tensor], grads: Sequence[Tensor | None]) -> Any:
        """The problem in C."""
        from dp_ops import training

        (x,), layers = inputs, self.described(grads, training.sizes)
        return training.Network(x.shape[0], _address(x), layers, float64=x.dtype == torch.float64)


@dataclass
class AttentionWork(Work):
    """A layer of attention: (n, K, width), directions (n, K, d) and weights (n, K, 1) -> (n, K, width)."""

    layer: GatedAttention = field(kw_only=True)
    valid: Tensor = field(kw_only=True)
    spare: Tensor = field(kw_only=True)

    kind, inputs = "attention", 3

    def shape(self, inputs: Sequence[Tensor]) -> tuple[int, ...]:
        """The shape of the value."""
        return tuple(inputs[0].shape)

    def problem(self, inputs: Sequence[Tensor], grads: Sequence[Tensor | None]) -> Any:
        """The problem in C."""
        from dp_ops import training

        g, direction, _ = inputs
        sizes = (*g.shape, self.layer.hidden, direction.shape[2])
        arrays = [*map(_address, (*inputs, self.valid, self.spare))]
        layers, settings = self.described(grads, training.part_sizes), training.attention_settings(self.layer)
        return training.Attention(sizes, arrays, layers, settings, float64=g.dtype == torch.float64)


class Value(torch.autograd.Function):
    """What a kernel makes of its inputs, and a token for ``Slope``.

    Differentiable once by the inputs, and then once by the weights and by the inputs that depend on weights, which is
    what forces and their training need.
    """

    @staticmethod
    def forward(ctx: Any, work: Work, *given: Tensor | None) -> tuple[Tensor, Tensor]:
        """The value and the token. given: the inputs, then the weights."""
        inputs = given[: work.inputs]
        out = inputs[0].new_empty(work.shape(inputs))
        if work.again or any(ctx.needs_input_grad[1 + work.inputs :]):
            work.kept = _memory(work.problem(inputs, [None] * len(work.params)).kept(), out)
        work.run(work.value, inputs, out, work.kept)
        ctx.work, token = work, out.new_zeros(())
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(token, *given)
        return out, token

    @staticmethod
    def backward(ctx: Any, gy: Tensor | None, _: Tensor | None) -> tuple[Any, ...]:
        """Gradients of the inputs where these may be differentiated again or nothing else counts, else of all."""
        (token, *given), work = ctx.saved_tensors, ctx.work
        inputs, params = given[: work.inputs], given[work.inputs :]
        if torch.is_grad_enabled() or not (work.directions or any(ctx.needs_input_grad[1 + work.inputs :])):
            return None, *Slope.apply(gy, token, work, *inputs), *unknown(params)
        found = work.gradients([x.detach() for x in inputs], None if gy is None else gy.contiguous())
        return None, *found[: work.again], *unknown(inputs[work.again :]), *found[work.again :]


class Slope(torch.autograd.Function):
    """The gradients of a value by the inputs, from that of the value."""

    @staticmethod
    def forward(ctx: Any, gy: Tensor, token: Tensor, work: Work, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The gradients."""
        ctx.inputs, ctx.gy, ctx.work = [x.detach() for x in inputs], gy.detach().contiguous(), work
        outs = [torch.empty_like(x) for x in ctx.inputs]
        work.run("slope", ctx.inputs, ctx.gy, work.kept, *outs)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *v: Tensor) -> tuple[Any, ...]:
        """The gradient of ``gy``; those of the weights are left to ``Value``, which the token makes run after this."""
        work: Work = ctx.work
        v, of_gy = tuple(x.contiguous() for x in v), torch.empty_like(ctx.gy)
        tangents = _memory(work.kept.numel(), work.kept) if work.again and work.kept is not None else None
        work.run(work.tangent, ctx.inputs, *v, work.kept, of_gy, *([tangents] if work.again else []))
        work.directions[ctx] = (ctx.gy, *v, tangents)
        return of_gy, of_gy.new_zeros(()), None, *[None] * len(v)


def _applied(
    kind: type[Work], inputs: Sequence[Tensor], layers: Sequence[Any], *others: Tensor, **facts: Any
) -> Tensor:
    """The value, with the weights as automatic differentiation knows them; others: parameters of no layer."""
    params = [*(p for layer in layers for p in (layer.w, layer.b, getattr(layer, "idt", None))), *others]
    if is_last():  # no gradients of weights
        params = [None if p is None else p.detach() for p in params]
    work = kind(layers, [None if p is None else p.detach().contiguous() for p in params], **facts)
    out: Tensor = Value.apply(work, *(x.contiguous() for x in inputs), *params)[0]
    return out


def embedding_sum(
    matrix: Tensor, layers: Sequence[Layer], shift: Tensor | None = None, kind: Tensor | None = None
) -> Tensor:
    """Σ_k R_k ⊗ G(R_k0): (n, K, d) -> (n, d, M). shift, kind: see ``arrays.embedding_sum``."""
    if shift is None or kind is None:
        return _applied(EmbeddingWork, [matrix], layers)
    return _applied(EmbeddingWork, [matrix], layers, shift, of_slots=kind.to(torch.int64).contiguous())


def network(x: Tensor, layers: Sequence[Layer]) -> Tensor | None:
    """Layers of rows; None without kernels and for third derivatives."""
    if depth() > 1 or x.ndim != 2 or not available(x, layers):
        return None
    return _applied(NetworkWork, [x], layers)


def attention(
    g: Tensor, direction: Tensor | None, weight: Tensor, valid: Tensor, spare: Tensor, layers: Sequence[GatedAttention]
) -> Tensor | None:
    """``arrays.attention``; None without kernels and for third derivatives."""
    sides = [weight if direction is None else direction, weight]
    constants = {"valid": valid.contiguous(), "spare": spare.contiguous()}
    weights = [w for layer in layers for w in (layer.in_proj.w, layer.out_proj.w, layer.norm.w)]
    if depth() > 1 or not usable(g, [*sides, *constants.values(), *weights]) or not g.numel():
        return None
    for layer in layers:
        parts = layer.in_proj, layer.out_proj, layer.norm
        g = _applied(AttentionWork, [g, *sides], parts, layer=layer, **constants)
    return g
