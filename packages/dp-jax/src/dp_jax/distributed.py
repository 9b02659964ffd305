"""Processes and devices that train together: every one has its own batches, all of them the same parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dp_core.errors import BackendError

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def join() -> None:
    """Meet the other processes, if the environment names any. Before anything is computed."""
    address, count, number = (os.environ.get(name) for name in _VARIABLES)
    if not count or count == "1" or jax.distributed.is_initialized():
        return
    if not address or not count.isdigit() or not (number or "").isdigit():
        given = ", ".join(f"{name}={os.environ.get(name, '')}" for name in _VARIABLES)
        raise BackendError(
            f"{given}: processes that train together need all three, the address as host:port, the number of processes "
            "and the number of this one, counted from 0."
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, int(count), int(number or 0))


def shared(values: Any) -> Any:
    """The values that the first process has, on all devices of all processes. values: NumPy arrays."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        values = jax.tree.map(np.asarray, multihost_utils.broadcast_one_to_all(values))
    everywhere = NamedSharding(_mesh(), PartitionSpec())
    return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, everywhere, lambda at: np.array(x[at])), values)


def on_device(values: Any, k: int) -> Any:
    """The copies on the k-th device of this process of values that all devices have."""
    return jax.tree.map(lambda x: x.addressable_shards[k].data, values)


def stacked(values: Sequence[Any]) -> Any:
    """One array (devices, …) of all processes from the parts (1, …) on each device of this process."""

    def join_parts(*parts: jax.Array) -> jax.Array:
        shape = (jax.device_count(), *parts[0].shape[1:])
        return jax.make_array_from_single_device_arrays(
            shape, NamedSharding(_mesh(), PartitionSpec("devices")), list(parts)
        )

    return jax.tree.map(join_parts, *values)


def _mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), ("devices",))
