"""What energy models that are no plain descriptor and fitting share: the bias of each type, masks, documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.fittings.energy import EnergyFitting
from dp_core.format.versions import check_version
from dp_core.models.settings import ModelSettings
from dp_core.models.standard import check_preset
from dp_core.module import Array, buffer, module
from dp_core.neighbors import Neighborhood
from dp_core.outputs import OutputDef
from dp_core.schema.kinds import check_types

ENERGY = EnergyFitting.output


@module
class EnergyModel:
    """Neighborhood with n rows -> ``energy`` (n, 1) in eV and ``mask`` (n,), real and not excluded atoms.

    Subclasses say in ``contributions`` what atoms have before the bias of their type.
    """

    out_bias: Array = buffer(default=None)  # (1, ntypes, 1), eV
    out_std: Array = buffer(default=None)  # (1, ntypes, 1), without use here
    type_map: tuple[str, ...] = ()
    atom_exclude_types: tuple[int, ...] = ()
    pair_exclude_types: tuple[tuple[int, int], ...] = ()
    rcond: float | None = None
    preset_out_bias: Any = None
    min_nbor_dist: float | None = None  # Å, shortest distance in the training data
    script: dict[str, Any] | None = None  # the model section of the input file
    modifier: Any = None  # what predictors add, see ``long_range``
    trainable: bool = True

    output: ClassVar[OutputDef] = ENERGY

    def contributions(self, table: Neighborhood) -> Array:
        """(n, 1) in eV."""
        raise NotImplementedError

    def __call__(self, table: Neighborhood) -> dict[str, Array]:
        """The energy of every atom, and the mask."""
        energy = self.contributions(table)
        xp = namespace(energy, self.out_bias)
        types = xp.maximum(table.types, xp.zeros_like(table.types))
        keep = [0.0 if t in self.atom_exclude_types else 1.0 for t in range(len(self.type_map))]
        mask = arrays.take(arrays.constant(keep, like=self.out_bias), types)
        mask = xp.where(table.types >= 0, mask, xp.zeros_like(mask))
        return {"energy": (energy + self.biases(table)) * mask[:, None], "mask": mask}

    def biases(self, table: Neighborhood) -> Array:
        """(n, 1) in eV, the bias of the type of each row."""
        xp = namespace(table.types, self.out_bias)
        return arrays.take(self.out_bias[0, ...], xp.maximum(table.types, xp.zeros_like(table.types)))

    def base_document(self, kind: str, version: int) -> dict[str, Any]:
        """The part of the document that every model has."""
        return {
            "@class": "Model",
            "type": kind,
            "@version": version,
            "type_map": list(self.type_map),
            "atom_exclude_types": list(self.atom_exclude_types),
            "pair_exclude_types": [list(pair) for pair in self.pair_exclude_types],
            "rcond": self.rcond,
            "preset_out_bias": self.preset_out_bias,
            "@variables": {"out_bias": self.out_bias, "out_std": self.out_std},
        }


def base_fields(data: dict[str, Any], versions: tuple[int, int]) -> dict[str, Any]:
    """The fields that every model has, from its document. Raises FormatError for another version."""
    data = check_version(data, "Model", versions)
    names = tuple(data["type_map"])
    v = data.get("@variables") or {}
    return {
        "out_bias": np.zeros((1, len(names), 1)) if v.get("out_bias") is None else v["out_bias"],
        "out_std": np.ones((1, len(names), 1)) if v.get("out_std") is None else v["out_std"],
        "type_map": names,
        "atom_exclude_types": tuple(data.get("atom_exclude_types") or ()),
        "pair_exclude_types": tuple((a, b) for a, b in data.get("pair_exclude_types") or ()),
        "rcond": data.get("rcond"),
        "preset_out_bias": data.get("preset_out_bias"),
    }


def new_fields(settings: ModelSettings, type_map: Sequence[str]) -> dict[str, Any]:
    """The fields that every model has, of a new one. Raises ConfigError for types that there are not."""
    check_types("model/atom_exclude_types", settings.atom_exclude_types, type_map)
    check_types("model/pair_exclude_types", settings.pair_exclude_types, type_map)
    check_preset(settings.preset_out_bias, ENERGY.name, type_map)
    return {
        "out_bias": np.zeros((1, len(type_map), 1)),
        "out_std": np.ones((1, len(type_map), 1)),
        "type_map": tuple(type_map),
        "atom_exclude_types": tuple(settings.atom_exclude_types),
        "pair_exclude_types": tuple(settings.pair_exclude_types),
        "preset_out_bias": settings.preset_out_bias,
    }
