"""Primitives of dp-core in PyTorch's own functions."""

from __future__ import annotations

import array_api_compat.torch as compat
import torch
from torch import Tensor

from dp_core import arrays
from dp_torch import kernels
from dp_torch.activation import silu
from dp_torch.embedding import embedding_sum
from dp_torch.linear import linear
from dp_torch.table import table_sum


def segment_sum(x: Tensor, segments: Tensor, count: int) -> Tensor:
    """Sum the rows of x that share a segment; those of segment −1 go to a row that is cut off."""
    out = x.new_zeros((count + 1, *x.shape[1:]))
    return out.index_add(0, torch.where(segments < 0, count, segments), x)[:count]


arrays.provide(
    compat.__name__,
    segment_sum=segment_sum,
    split=lambda x, counts, axis: torch.split(x, list(counts), axis),
    linear=linear,
    softplus=torch.nn.functional.softplus,
    silu=silu,
    detached=Tensor.detach,
    embedding_sum=embedding_sum,
    network=kernels.network,
    attention=kernels.attention,
    table_sum=table_sum,
)
