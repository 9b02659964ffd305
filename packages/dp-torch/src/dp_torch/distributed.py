"""Data-parallel training under torchrun: every process has its own batches, all of them the same parameters."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable

import torch
from torch import Tensor


def world_size() -> int:
    """Number of processes, as torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process, 0 for the one that writes files."""
    return int(os.environ.get("RANK", "0"))


def join(device: torch.device) -> None:
    """Meet the other processes, if there are any."""
    import torch.distributed as dist

    if world_size() > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        # Its threads must have ended when the interpreter does, or the process may abort after all its work is done.
        atexit.register(dist.destroy_process_group)


def average(tensors: Iterable[Tensor]) -> None:
    """Replace the values of the tensors by their means over the processes."""
    if world_size() == 1:
        return
    import torch.distributed as dist

    for same in _by_dtype(tensors):
        flat = torch.cat([t.reshape(-1) for t in same])
        dist.all_reduce(flat)
        _copy_back(flat / world_size(), same)


def share(tensors: Iterable[Tensor]) -> None:
    """Replace the values of the tensors by those of the first process."""
    if world_size() == 1:
        return
    import torch.distributed as dist

    for same in _by_dtype(tensors):
        flat = torch.cat([t.detach().reshape(-1) for t in same])
        dist.broadcast(flat, 0)
        _copy_back(flat, same)


def _by_dtype(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    groups: dict[torch.dtype, list[Tensor]] = {}
    for t in tensors:
        groups.setdefault(t.dtype, []).append(t)
    return list(groups.values())


def _copy_back(flat: Tensor, tensors: list[Tensor]) -> None:
    with torch.no_grad():
        for t, values in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(values.view(t.shape))
