"""Mean and standard deviation of the environment matrix, by which descriptors normalise it.

Every slot counts: empty ones and those of excluded pairs as zeros. The three angular columns share one deviation, and
their mean is taken as zero because no direction is special.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dp_core.descriptors.environment import environment_matrix, pair_table
from dp_core.module import replace
from dp_core.neighbors import FrameNeighbors
from dp_core.statistics.moments import Floats, mean_and_std

#: The smallest standard deviation.
FLOOR = 0.01


def environment_sums(descriptor: Any, neighbors: FrameNeighbors) -> Floats:
    """Sums of a frame by type of the centre: (ntypes, columns, 3), the last axis [number, sum, sum of squares].

    Over all slots, with the columns radial and angular; or whatever the descriptor itself counts (``moments``).
    """
    if hasattr(descriptor, "moments"):
        own: Floats = descriptor.moments(neighbors)
        return own
    ntypes = len(descriptor.davg)
    types = neighbors.types
    center = types[neighbors.center]
    radial, angular = environment_matrix(
        neighbors.vectors[:, None, :], np.ones((len(center), 1), bool),
        rcut=descriptor.rcut, rcut_smth=descriptor.rcut_smth, protection=descriptor.env_protection,
    )  # fmt: skip
    seen = pair_table(ntypes, descriptor.exclude_types)[center, types[neighbors.neighbor]]
    slots = np.bincount(types, minlength=ntypes) * float(sum(descriptor.sel))
    out = np.empty((ntypes, 2, 3))
    for k, (x, columns) in enumerate(((radial, 1), (angular, 3))):
        out[:, k, 0] = slots * columns
        out[:, k, 1] = np.bincount(center, weights=x.sum(axis=(1, 2)) * seen, minlength=ntypes)
        out[:, k, 2] = np.bincount(center, weights=(x * x).sum(axis=(1, 2)) * seen, minlength=ntypes)
    return out


def with_environment(descriptor: Any, sums: Floats) -> Any:
    """The descriptor normalised by the sums of all frames; the mean stays with ``set_davg_zero``."""
    if hasattr(descriptor, "with_moments"):
        return descriptor.with_moments(sums)
    mean, std = mean_and_std(sums, floor=FLOOR)
    davg, dstd = np.zeros_like(descriptor.davg), np.empty_like(descriptor.dstd)
    davg[:, :, 0], dstd[:, :, :1], dstd[:, :, 1:] = mean[:, None, 0], std[:, None, :1], std[:, None, 1:]
    return replace(descriptor, dstd=dstd) if descriptor.set_davg_zero else replace(descriptor, davg=davg, dstd=dstd)


def environment_key(
    descriptor: Any, exclude: Iterable[tuple[int, int]], types: Sequence[int] = (), scale: Sequence[float] = ()
) -> str:
    """The name under which a statistics file keeps the sums; equal for descriptors that see the same neighbours.

    exclude: pairs of types that the model leaves out. types: what the descriptor calls each type of the data, if it has
    other numbers for them. scale: Å/μB by type, how far virtual atoms are from their atoms, of models with spins.
    """
    pairs: dict[str, Any] = {"pair_exclude_types": sorted(exclude), "types": list(types), "spin_scale": list(scale)}
    if hasattr(descriptor, "moments"):
        identity, changes = dict(descriptor.identity), pairs
    else:
        identity = {
            "type": "se_a" if descriptor.davg.shape[-1] == 4 else "se_r",
            "ntypes": len(descriptor.davg),
            "rcut": round(descriptor.rcut, 2),
            "rcut_smth": round(descriptor.rcut_smth, 2),
            "nsel": sum(descriptor.sel),
            "sel": list(descriptor.sel),
            "mixed_types": not descriptor.by_type,
        }
        # DeePMD-kit's name ends here, but these settings change the sums too
        changes = {"exclude_types": sorted(descriptor.exclude_types), **pairs}
        changes["env_protection"] = descriptor.env_protection
    identity |= {key: value for key, value in changes.items() if value}
    return hashlib.sha1(json.dumps(identity).encode(), usedforsecurity=False).hexdigest()


def stored_sums(descriptor: Any, sums: Floats) -> dict[str, Floats]:
    """The sums under the names of a statistics file, below the key."""
    if hasattr(descriptor, "moments"):
        return {f"d_{t}": of_type for t, of_type in enumerate(sums)}
    columns = _columns(descriptor)
    return {f"{c}_{t}": of_type[k] for t, of_type in enumerate(sums) for k, c in enumerate(columns)}


def loaded_sums(descriptor: Any, read: Callable[[str, tuple[int, ...]], Floats | None]) -> Floats | None:
    """The sums of a statistics file, None if it lacks some. read: name and shape -> array or None."""
    ntypes = len(descriptor.davg)
    if hasattr(descriptor, "moments"):
        own = [read(f"d_{t}", (descriptor.davg.shape[-1], 3)) for t in range(ntypes)]
        return None if any(s is None for s in own) else np.array(own)
    columns = _columns(descriptor)
    found = [[read(f"{c}_{t}", (3,)) for c in columns] for t in range(ntypes)]
    if any(s is None for of_type in found for s in of_type):
        return None
    sums = np.zeros((ntypes, 2, 3))
    sums[:, : len(columns)] = np.array(found)
    return sums


def _columns(descriptor: Any) -> str:
    """The names of radial and angular sums; without directions only the first."""
    return "ra" if descriptor.davg.shape[-1] == 4 else "r"
