"""Sums of tabulated embeddings by the kernels of dp-ops, for energies and forces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dp_core.nn.table import Table
from dp_torch.autodiff import is_last
from dp_torch.kernels import usable


class TableSum(torch.autograd.Function):
    """Σ_k R_k ⊗ G_k, (n, K, d) -> (n, d, width), differentiable once by R and by the switch."""

    @staticmethod
    def forward(
        ctx: Any, matrix: Tensor, switch: Tensor | None, table: Table, types: Tensor | None, index: Tensor | None
    ) -> Tensor:
        """The sum."""
        from dp_ops.training import Table as Problem
        from dp_ops.training import grid_numbers

        rows = None if index is None else index.to(torch.int64)
        given = [table.coefficients, table.starts, types, rows, switch]
        # they must stay where they are until the slope is known
        r, *ctx.kept = [None if x is None else x.detach().contiguous() for x in (matrix, *given)]
        places = [0 if x is None else x.data_ptr() for x in ctx.kept]
        ctx.matrix, ctx.switch = r, switch
        ctx.problem = Problem(
            r.shape, r.data_ptr(), len(table.starts), table.width, places[:2], grid_numbers(table.grid), places[2:],
            float64=r.dtype == torch.float64,
        )  # fmt: skip
        out = r.new_empty((r.shape[0], r.shape[2], table.width))
        ctx.problem.run("sum", out.data_ptr())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_out: Tensor) -> tuple[Any, ...]:
        """Gradients of R and of the switch."""
        by_out, of_matrix = by_out.contiguous(), torch.empty_like(ctx.matrix)
        of_switch = torch.empty_like(ctx.switch) if ctx.needs_input_grad[1] else None
        address = 0 if of_switch is None else of_switch.data_ptr()
        ctx.problem.run("slope", by_out.data_ptr(), of_matrix.data_ptr(), address)
        return of_matrix, of_switch, None, None, None


def table_sum(
    matrix: Tensor, table: Table, types: Tensor | None, index: Tensor | None, switch: Tensor | None
) -> Tensor | None:
    """``arrays.table_sum`` where nothing but forces is asked for; None otherwise, and without kernels."""
    if torch.is_grad_enabled() and not is_last():
        return None
    numbers = [x for x in (table.coefficients, table.starts, types, switch) if x is not None]
    if not usable(matrix, numbers) or matrix.ndim != 3:
        return None
    out: Tensor = TableSum.apply(matrix, switch, table, types, index)
    return out
