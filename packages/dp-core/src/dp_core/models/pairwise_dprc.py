"""pairwise_dprc: range corrections for QM/MM, one model for the QM region, another for it with one residue at a time.

E = E_qm(region) + Σ_l E_qmmm(region and residue l), with the residues that the atomic parameter numbers, see
``fragments``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import pydantic

from dp_core import arrays, registry
from dp_core.arrays import namespace
from dp_core.descriptors.protocol import CountSel
from dp_core.errors import ConfigError, FormatError
from dp_core.fragments import Copies
from dp_core.models.base import base_fields, new_fields
from dp_core.models.linear import Combination, check_combination, refuse_of_the_whole
from dp_core.models.protocol import (
    Member,
    below,
    members,
    message_passing,
    new_model,
    settings_with_counted_sel,
)
from dp_core.models.settings import ModelSettings
from dp_core.module import Array, module, replace
from dp_core.neighbors import Neighborhood, NeighborSpec
from dp_core.schema.section import Variant, option
from dp_core.views import kept

_PARTS = ("qm_model", "qmmm_model")


class PairwiseDPRcSettings(ModelSettings):
    """Range corrections of QM/MM."""

    type: Literal["pairwise_dprc"] = option("pairwise_dprc", "kind of model")
    qm_model: Annotated[Any, Variant("model", "standard")] = option(..., "the model section of the QM region alone")
    qmmm_model: Annotated[Any, Variant("model", "standard")] = option(
        ..., "the model section of the QM region with one MM residue"
    )

    @pydantic.model_validator(mode="after")
    def _of_the_whole(self) -> PairwiseDPRcSettings:
        for name in _PARTS:
            refuse_of_the_whole(name, getattr(self, name))
        return self

    def with_counted_sel(self, count: CountSel) -> PairwiseDPRcSettings:
        """The settings with what ``count`` gives for every ``sel``."""
        return self.model_copy(
            update={name: settings_with_counted_sel(getattr(self, name), below(name, count)) for name in _PARTS}
        )


@module
class PairwiseDPRc(Combination):
    """The models of the QM region alone, and with a residue. The bias is that of the atoms of the QM region."""

    Settings = PairwiseDPRcSettings

    @property
    def neighbor_spec(self) -> NeighborSpec:
        """The neighbours in the whole frame; which of them are seen together follows from their fragments."""
        return replace(super().neighbor_spec, shells=(), fragments=True)

    def place(self, k: int) -> str:
        """Where one of the models is in the input file."""
        return f"model/{_PARTS[k]}"

    def view(self, k: int, table: Neighborhood) -> Neighborhood:
        """What a model sees of the table; the first one, neighbours in the QM region."""
        view = super().view(k, table)
        return view if k else kept(view, self._fragments(table).neighbor == 0)

    def map_members(self, change: Callable[[Member], Any]) -> Any:
        """The model with ``change(member)`` in the place of both; the first sees the QM region only."""
        region = {id(member.model) for member in members(self.models[0])}
        return super().map_members(lambda m: change(replace(m, region_only=id(m.model) in region)))

    def contributions(self, table: Neighborhood) -> Array:
        """(n, 1) in eV."""
        fragments = self._fragments(table)
        return sum(self._summed(k, table, c) for k, c in enumerate((fragments.alone, fragments.pairs)))

    def biases(self, table: Neighborhood) -> Array:
        """(n, 1) in eV, of the atoms of the QM region."""
        return super().biases(table) * self._fragments(table).region[:, None]

    def _fragments(self, table: Neighborhood) -> Any:
        if table.fragments is None:
            raise ConfigError("The model needs the fragments of atoms, which this table was made without.")
        return table.fragments

    def _summed(self, k: int, table: Neighborhood, copies: Copies) -> Array:
        """The energies of a model for copies, on their rows: (n, 1)."""
        view, fragments = self.view(k, table), self._fragments(table)
        xp = namespace(view.vectors, copies.weight)
        row = xp.maximum(copies.row, xp.zeros_like(copies.row))
        near = arrays.take(fragments.neighbor, row)
        types = arrays.take(view.types, row)
        seen = Neighborhood(
            vectors=arrays.take(view.vectors, row),
            index=arrays.take(view.index, row),
            types=xp.where(copies.row >= 0, types, xp.full_like(types, -1)),
            neighbor_types=arrays.take(view.neighbor_types, row),
            frame=arrays.take(view.frame, row),
            fparam=view.fparam,
            aparam=None,
            row_counts=(arrays.shape(copies.row)[0],),
            slot_counts=view.slot_counts,
        )
        seen = kept(seen, xp.logical_or(near == 0, near == copies.fragment[:, None]))
        energy = self.models[k](seen)["energy"] * copies.weight[:, None]
        return arrays.segment_sum(energy, copies.row, arrays.shape(table.types)[0])

    @classmethod
    def init(cls, settings: PairwiseDPRcSettings, type_map: Sequence[str]) -> PairwiseDPRc:
        """New models; every ``sel`` must be numbers by now."""
        models: list[Any] = []
        for name in _PARTS:
            section = getattr(settings, name)
            try:
                models.append(new_model(section, section.type_map or type_map))
            except ConfigError as error:
                raise ConfigError(f"model/{name}: {error}") from error
        return _checked(cls(**new_fields(settings, type_map), models=tuple(models)), ConfigError)

    def serialize(self) -> dict[str, Any]:
        """The model document; dp's own, as DeePMD-kit has none."""
        inner = {name: model.serialize() for name, model in zip(_PARTS, self.models, strict=True)}
        return self.base_document("pairwise_dprc", 1) | inner

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PairwiseDPRc:
        """The model of a document."""
        models = tuple(registry.lookup("model", data[name]["type"]).deserialize(data[name]) for name in _PARTS)
        return _checked(cls(**base_fields(data, (1, 1)), models=models), FormatError)


def _checked(model: PairwiseDPRc, error: type[ConfigError] | type[FormatError]) -> PairwiseDPRc:
    """The model. Raises the error if its parts cannot be evaluated for copies of rows."""
    for k, child in enumerate(model.models):
        spec = child.neighbor_spec
        if spec is None or not members(child):
            raise error(f"{model.place(k)} has no network; give a model with a descriptor and a fitting.")
        if message_passing(child) or spec.in_blocks or spec.shells or spec.marks_first:
            raise error(
                f"{model.place(k)} has a descriptor that passes messages, has networks for each type, or looks at "
                "empty slots; pairwise_dprc takes those of mixed types with set_davg_zero true, such as dpa1."
            )
        for member in members(child):
            fitting = member.model.fitting
            if fitting.numb_aparam and not fitting.use_aparam_as_mask:
                raise error(
                    f"{model.place(k)} takes atomic parameters, which tell the fragments here. Set "
                    "fitting_net/use_aparam_as_mask to true."
                )
    check_combination(model, error)
    return model
