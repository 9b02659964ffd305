"""The bridge from a network to a pair table at short distances (``use_srtab``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.errors import ConfigError, FormatError
from dp_core.models.base import base_fields, new_fields
from dp_core.models.linear import Combination, check_combination, read_models
from dp_core.models.pair_table import PairTable, PairTableSettings
from dp_core.models.standard import StandardModel, StandardSettings
from dp_core.module import Array, module, replace
from dp_core.neighbors import Neighborhood
from dp_core.schema.section import option, wrong


class ZBLSettings(StandardSettings):
    """A standard model with ``use_srtab``, by a name of its own."""

    type: Literal["zbl"] = option("zbl", "kind of model")  # type: ignore[assignment]

    @pydantic.model_validator(mode="after")
    def _table(self) -> ZBLSettings:
        if self.use_srtab is None:
            raise wrong("use_srtab", "is required: the file of the pair table")
        return self


@module
class ZBLBridge(Combination):
    """(1 − w) e_network + w e_table, then the bias of each type.

    w falls from 1 to 0 while σ grows from ``sw_rmin`` to ``sw_rmax``, where σ is a mean of the distances of the
    neighbours, weighted by exp(−r/smin_alpha), so about the smallest. Atoms without neighbours have w = 0.
    """

    sw_rmin: float = 0.0  # Å
    sw_rmax: float = 0.0  # Å
    smin_alpha: float = 0.1  # Å
    weights: str | tuple[float, ...] = "mean"  # in the document, without meaning

    Settings = ZBLSettings

    def contributions(self, table: Neighborhood) -> Array:
        """(n, 1) in eV."""
        network, pairs = (model(self.view(k, table))["energy"] for k, model in enumerate(self.models))
        w = self._weight(table)
        return (1.0 - w) * network + w * pairs

    def _weight(self, table: Neighborhood) -> Array:
        """How much the table counts for each atom: (n, 1)."""
        xp = namespace(table.vectors)
        occupied = table.neighbor_types >= 0
        r = arrays.safe_norm(table.vectors, occupied)
        # σ does not depend on what is subtracted; with the smallest distance, at least one weight is not about 0
        far = xp.where(occupied, r, xp.full_like(r, np.inf))
        beyond = xp.full_like(xp.sum(r, axis=1, keepdims=True), np.inf)  # a row may have no slots
        smallest = arrays.detached(xp.min(xp.concat([far, beyond], axis=1), axis=1, keepdims=True))
        shifted = xp.where(occupied, r - smallest, xp.zeros_like(r))
        near = xp.where(occupied, xp.exp(-shifted / self.smin_alpha), xp.zeros_like(r))
        total = xp.sum(near, axis=1, keepdims=True)
        alone = total == 0.0
        sigma = xp.sum(r * near, axis=1, keepdims=True) / xp.where(alone, xp.ones_like(total), total)
        u = (sigma - self.sw_rmin) / (self.sw_rmax - self.sw_rmin)
        u = xp.minimum(xp.maximum(u, xp.zeros_like(u)), xp.ones_like(u))
        w = 1.0 - u**3 * (10.0 + u * (6.0 * u - 15.0))
        return xp.where(alone, xp.zeros_like(w), w)

    @classmethod
    def init(cls, settings: Any, type_map: Sequence[str]) -> ZBLBridge:
        """A new network and the table of the file. Raises ConfigError for a table that does not serve."""
        network = StandardModel.init(settings, type_map)
        spec = network.neighbor_spec
        table = PairTableSettings(tab_file=settings.use_srtab, rcut=spec.rcut, sel=sum(spec.sel))
        pairs = PairTable.init(table, type_map)
        _check_range(settings, pairs)
        fields = new_fields(settings, type_map)
        inner = replace(network, preset_out_bias=None)
        model = cls(
            **fields | {"rcond": network.rcond},
            models=(inner, pairs),
            sw_rmin=settings.sw_rmin,
            sw_rmax=settings.sw_rmax,
            smin_alpha=settings.smin_alpha or 0.1,
        )
        check_combination(model, ConfigError)
        return model

    def serialize(self) -> dict[str, Any]:
        """The model document."""
        weights = self.weights if isinstance(self.weights, str) else list(self.weights)
        return self.base_document("zbl", 2) | {
            "models": [model.serialize() for model in self.models],
            "weights": weights,
            "sw_rmin": self.sw_rmin,
            "sw_rmax": self.sw_rmax,
            "smin_alpha": self.smin_alpha,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ZBLBridge:
        """The model of a document."""
        weights = data.get("weights", "mean")
        model = cls(
            **base_fields(data, (1, 2)),
            models=read_models(data),
            weights=weights if isinstance(weights, str) else tuple(float(w) for w in np.ravel(weights)),
            sw_rmin=float(data["sw_rmin"]),
            sw_rmax=float(data["sw_rmax"]),
            smin_alpha=float(data["smin_alpha"]),
        )
        if len(model.models) != 2 or not isinstance(model.models[1], PairTable):
            raise FormatError("A model of type zbl has a network and a pair table, in this order; the file is damaged.")
        check_combination(model, FormatError)
        return model


def _check_range(settings: Any, table: PairTable) -> None:
    """Raise ConfigError where the bridge would need energies that the file does not have."""
    name = settings.use_srtab
    if table.rmin > settings.sw_rmin:
        raise ConfigError(
            f"{name} begins at {table.rmin:g} Å, but below sw_rmin, {settings.sw_rmin:g} Å, the table alone counts. "
            "Give a table that begins at shorter distances."
        )
    # a table that has come to zero is complete
    at_end = round((table.rmax - table.rmin) / table.step)
    if table.rmax < settings.sw_rmax and table.values[at_end, 1:].any():
        raise ConfigError(
            f"{name} ends at {table.rmax:g} Å and is not zero there, but it counts up to sw_rmax, "
            f"{settings.sw_rmax:g} Å. Give a longer table or a smaller sw_rmax."
        )
