"""Primitives of dp-core in PyTorch's own functions."""

from __future__ import annotations

from collections.abc import Sequence

import array_api_compat.torch as compat
import torch
from torch import Tensor

from dp_core import arrays
from dp_core.nn import Layer
from dp_torch import kernels
from dp_torch.activation import silu
from dp_torch.autodiff import depth
from dp_torch.embedding import embedding_sum
from dp_torch.linear import linear
from dp_torch.rows import scaled_rows
from dp_torch.table import table_sum


def segment_sum(x: Tensor, segments: Tensor, count: int) -> Tensor:
    """Sum the rows of x that share a segment; those of segment −1 go to a row that is cut off."""
    out = x.new_zeros((count + 1, *x.shape[1:]))
    return out.index_add(0, torch.where(segments < 0, count, segments), x)[:count]


def network(x: Tensor, layers: Sequence[Layer]) -> Tensor | None:
    """Layers of rows by the kernels of dp-ops; None without them and for third derivatives."""
    if depth() > 1 or x.ndim != 2 or not kernels.available(x, layers):
        return None
    return kernels.network(x, layers)


arrays.provide(
    compat.__name__,
    segment_sum=segment_sum,
    split=lambda x, counts, axis: torch.split(x, list(counts), axis),
    linear=linear,
    softplus=torch.nn.functional.softplus,
    silu=silu,
    detached=Tensor.detach,
    embedding_sum=embedding_sum,
    network=network,
    scaled_rows=scaled_rows,
    table_sum=table_sum,
)
