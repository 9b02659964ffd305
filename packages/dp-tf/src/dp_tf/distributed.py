"""Data-parallel training of several processes, which find each other by ``TF_CONFIG``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import tensorflow as tf

from dp_core.errors import BackendError

Tensor = Any

_STRATEGY: list[Any] = []  # of this process, once it has met the others


def _task() -> tuple[int, int]:
    """Number of this process, and of all."""
    text = os.environ.get("TF_CONFIG", "").strip() or "{}"
    try:
        config = json.loads(text)
        cluster, task = config.get("cluster", {}), config.get("task", {})
        chiefs, workers = len(cluster.get("chief", [])), len(cluster.get("worker", []))
        index = int(task.get("index", 0)) + (chiefs if task.get("type") == "worker" else 0)
    except (ValueError, AttributeError, TypeError) as error:
        raise BackendError(
            f"The environment variable TF_CONFIG does not describe a cluster: {error}. Unset it, or write for example "
            '{"cluster": {"worker": ["host1:9000", "host2:9000"]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    return index, max(1, chiefs + workers)


def rank() -> int:
    """Number of this process, 0 for the one that writes files."""
    return _task()[0]


def world_size() -> int:
    """Number of processes."""
    return _task()[1]


def join() -> None:
    """Meet the other processes, if there are any. Must come before TensorFlow computes anything."""
    if world_size() == 1 or _STRATEGY:
        return
    try:
        _STRATEGY.append(tf.distribute.MultiWorkerMirroredStrategy())
    except RuntimeError as error:
        raise BackendError(
            f"The processes of TF_CONFIG cannot train together: {error} Start every one as a fresh program."
        ) from error


def average(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The means of the tensors over the processes."""
    return _reduced(tensors, tf.distribute.ReduceOp.MEAN)


def share(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of the first process."""
    mine = 1.0 if rank() == 0 else 0.0
    return _reduced([x * tf.cast(mine, x.dtype) for x in tensors], tf.distribute.ReduceOp.SUM)


def _reduced(tensors: Sequence[Tensor], how: Any) -> list[Tensor]:
    if not _STRATEGY:
        return list(tensors)
    places: dict[Any, list[int]] = {}  # only tensors of one type go together
    for k, x in enumerate(tensors):
        places.setdefault(x.dtype, []).append(k)
    found = {}
    for same in places.values():
        found |= dict(zip(same, _graph(how)([tensors[k] for k in same]), strict=True))
    return [found[k] for k in range(len(tensors))]


@cache
def _graph(how: Any) -> Any:
    def reduce(*values: Tensor) -> Any:
        # copies are on a device of the strategy, which looks for one
        return tf.distribute.get_replica_context().all_reduce(how, [tf.identity(x) for x in values])

    return tf.function(lambda values: _STRATEGY[0].run(reduce, args=tuple(values)), autograph=False)
