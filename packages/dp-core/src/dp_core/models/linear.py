"""linear_ener: the weighted sum of several models of the energy, over one table of neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from dp_core import registry
from dp_core.descriptors.protocol import CountSel, parts_of
from dp_core.errors import ConfigError, FormatError
from dp_core.long_range import SpreadCharges, long_range, short_range
from dp_core.models.base import EnergyModel, base_fields, new_fields
from dp_core.models.ewald import Ewald, EwaldSettings
from dp_core.models.inner_potential import InnerPotential, InnerPotentialSettings
from dp_core.models.protocol import (
    Member,
    below,
    map_members,
    members,
    message_passing,
    new_model,
    settings_with_counted_sel,
)
from dp_core.models.settings import ModelSettings
from dp_core.module import Array, module, replace
from dp_core.neighbors import Neighborhood, NeighborSpec
from dp_core.schema.section import Variant, option, wrong
from dp_core.views import check_blocks, seen, shared_spec
from dp_core.virtual_atoms import virtual_atoms

#: Settings that only the outermost model has.
_OF_THE_WHOLE = ("data_stat_nbatch", "data_stat_protect", "data_bias_nsample", "modifier", "hessian_mode", "info")


def refuse_of_the_whole(place: str, section: Any) -> None:
    """Refuse settings of a model inside another one that only the whole has. place: where the section is."""
    if section.preset_out_bias is not None:
        raise wrong(f"{place}/preset_out_bias", "has no effect: the sum has the bias; give it there")
    for name in _OF_THE_WHOLE:
        if getattr(section, name) != ModelSettings.model_fields[name].default:
            raise wrong(f"{place}/{name}", "has no effect; give it in the section of the sum")
    if getattr(getattr(section, "fitting_net", None), "rcond", None) is not None:
        raise wrong(f"{place}/fitting_net/rcond", "has no effect: the bias of the sum is fitted; leave it out")


class LinearSettings(ModelSettings):
    """A weighted sum of models."""

    type: Literal["linear_ener"] = option("linear_ener", "kind of model")
    models: list[Annotated[Any, Variant("model", "standard")]] = option(..., "the model sections")
    weights: list[float] | Literal["mean", "sum"] = option(..., "a weight for each model, or 'mean' or 'sum'")

    @pydantic.model_validator(mode="after")
    def _one_weight_each(self) -> LinearSettings:
        if not self.models:
            raise wrong("models", "is empty; give at least one model")
        if isinstance(self.weights, list) and len(self.weights) != len(self.models):
            raise wrong("weights", f"has {len(self.weights)} numbers for {len(self.models)} models; give one for each")
        for k, model in enumerate(self.models):
            refuse_of_the_whole(f"models/{k}", model)
        kinds = [isinstance(model, InnerPotentialSettings) for model in self.models]
        if any(kinds) and (kinds != [False, True] or self.weights != "sum"):
            raise wrong("models", "has an inner_potential; give it as the second of two models, with the weights 'sum'")
        return self

    def with_counted_sel(self, count: CountSel) -> LinearSettings:
        """The settings with what ``count`` gives for every ``sel``."""
        counted = [settings_with_counted_sel(m, below(f"models/{k}", count)) for k, m in enumerate(self.models)]
        return self.model_copy(update={"models": counted})


@module
class Combination(EnergyModel):
    """Several models that share one table. Each may have further types, and other numbers for those of the table."""

    models: tuple[Any, ...] = ()

    @property
    def neighbor_spec(self) -> NeighborSpec:
        """The neighbours that one of the models sees."""
        specs = [model.neighbor_spec for model in self.models if model.neighbor_spec is not None]
        shared = shared_spec(specs, len(self.type_map), self.pair_exclude_types)
        # statistics by slot need the order of distances, which shells do not keep
        parts = [part for member in members(self) for part in parts_of(member.model.descriptor)]
        return replace(shared, shells=()) if any(getattr(part, "by_slot", False) for part in parts) else shared

    def view(self, k: int, table: Neighborhood) -> Neighborhood:
        """What a model sees of the table."""
        return seen(table, self.neighbor_spec, self.models[k].neighbor_spec, self.types_of(k))

    def place(self, k: int) -> str:
        """Where one of the models is in the input file."""
        return f"model/models/{k}"

    def types_of(self, k: int) -> tuple[int, ...]:
        """What a model calls each type."""
        return tuple(self.models[k].type_map.index(name) for name in self.type_map)

    def map_members(self, change: Callable[[Member], Any]) -> Any:
        """The model with ``change(member)`` in the place of all members of all models."""

        def inside(k: int) -> Callable[[Member], Any]:
            names = self.types_of(k)
            pairs = {(names[a], names[b]) for a, b in self.pair_exclude_types}
            fixed = not self.models[k].trainable

            def changed(member: Member) -> Any:
                types = tuple(member.types[t] for t in names)
                exclude = member.exclude | {(member.types[a], member.types[b]) for a, b in pairs}
                return change(Member(member.model, types, exclude, fixed or member.fixed))

            return changed

        return replace(self, models=tuple(map_members(model, inside(k)) for k, model in enumerate(self.models)))

    def eval_descriptor(self, table: Neighborhood) -> Array:
        """The descriptor of every atom, of the first model that has one: (n, dim_out)."""
        k = self._with_networks()
        return self.models[k].eval_descriptor(self.view(k, table))

    def eval_embedding(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor (n, dim_out), and the values before the output layer (n, neuron[-1]), of that model."""
        k = self._with_networks()
        found: tuple[Array, Array] = self.models[k].eval_embedding(self.view(k, table))
        return found

    def _with_networks(self) -> int:
        found = [k for k, model in enumerate(self.models) if members(model)]
        if not found:
            raise ConfigError("The model has no networks, so it has no descriptor.")
        return found[0]


@module
class LinearEnergy(Combination):
    """Σ_k w_k e_k, with the biases of the models, then its own."""

    weights: tuple[float, ...] | str = "mean"

    Settings = LinearSettings

    def contributions(self, table: Neighborhood) -> Array:
        """(n, 1) in eV."""
        models = [(k, w, model) for k, (w, model) in enumerate(self._weighted()) if model.neighbor_spec is not None]
        return sum(w * model(self.view(k, table))["energy"] for k, w, model in models)

    def long_range(self) -> list[tuple[float, SpreadCharges]]:
        """What the models have of it, weighted."""
        return [(w * v, term) for w, model in self._weighted() for v, term in long_range(model)]

    def short_range(self) -> LinearEnergy:
        """The sum of the models that see neighbours."""
        kept = [(w, short_range(model)) for w, model in self._weighted() if model.neighbor_spec is not None]
        return replace(self, models=tuple(model for _, model in kept), weights=tuple(w for w, _ in kept))

    def view(self, k: int, table: Neighborhood) -> Neighborhood:
        """What a model sees of the table; beside an inner potential, in the distances that this leaves to it."""
        view = super().view(k, table)
        inner = next((model for model in self.models if isinstance(model, InnerPotential)), None)
        return view if inner is None or self.models[k] is inner else inner.outer(view)

    def _weighted(self) -> list[tuple[float, Any]]:
        weights = self.weights
        if isinstance(weights, str):
            weights = (1.0 if weights == "sum" else 1.0 / len(self.models),) * len(self.models)
        return list(zip(weights, self.models, strict=True))

    @classmethod
    def init(cls, settings: LinearSettings, type_map: Sequence[str]) -> LinearEnergy:
        """New models; every ``sel`` must be numbers by now."""
        models: list[Any] = []
        for k, section in enumerate(settings.models):
            try:
                models.append(_made(section, section.type_map or type_map, models))
            except ConfigError as error:
                raise ConfigError(f"model/models/{k}: {error}") from error
        weights = settings.weights if isinstance(settings.weights, str) else tuple(settings.weights)
        model = cls(**new_fields(settings, type_map), models=tuple(models), weights=weights)
        check_combination(model, ConfigError)
        return model

    def serialize(self) -> dict[str, Any]:
        """The model document."""
        weights = self.weights if isinstance(self.weights, str) else list(self.weights)
        return self.base_document("linear", 3) | {
            "models": [model.serialize() for model in self.models],
            "weights": weights,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> LinearEnergy:
        """The model of a document."""
        weights = data.get("weights", "mean")
        model = cls(
            **base_fields({"@version": 2, **data}, (1, 3)),
            models=read_models(data),
            weights=weights if isinstance(weights, str) else tuple(float(w) for w in np.ravel(weights)),
        )
        check_combination(model, FormatError)
        return model


def _made(section: Any, type_map: Sequence[str], before: list[Any]) -> Any:
    """A new model, after those before it."""
    if isinstance(section, InnerPotentialSettings):
        if any(message_passing(model) for model in before):
            raise ConfigError(
                "The network passes messages, which would tell of distances that it should not see. Use a descriptor "
                "without, such as dpa1."
            )
        return InnerPotential.init(section, type_map, before[0].neighbor_spec)
    if isinstance(section, EwaldSettings):
        return Ewald.init(section, type_map, inside=True)
    return new_model(section, type_map)


def read_models(data: dict[str, Any]) -> tuple[Any, ...]:
    """The models inside the document of another one."""
    return tuple(registry.lookup("model", inner["type"]).deserialize(inner) for inner in data["models"])


def check_combination(model: Combination, error: type[ConfigError] | type[FormatError]) -> None:
    """Raise the error if the models do not go together: types, outputs, parameters."""
    for k, child in enumerate(model.models):
        absent = [name for name in model.type_map if name not in child.type_map]
        if absent:
            raise error(
                f"{model.place(k)} has no type {', '.join(absent)}: its type_map is {' '.join(child.type_map)}, that "
                f"of the whole is {' '.join(model.type_map)}. Every model must know all types of the whole."
            )
        if virtual_atoms(child) is not None:
            raise error(f"{model.place(k)} has spins; a model with spins cannot be a part of another one.")
        if child.neighbor_spec is not None and child.neighbor_spec.fragments:
            raise error(f"{model.place(k)} tells fragments apart; such a model cannot be a part of another one.")
        if child.output.kind != model.output.kind:
            raise error(f"{model.place(k)} predicts {child.output.name!r}; only models of the energy can be combined.")
        if getattr(child, "modifier", None) is not None:
            raise error(f"{model.place(k)} has a modifier; give it to the sum, or the model without it.")
        if child.neighbor_spec is not None:
            check_blocks(child.neighbor_spec, model.types_of(k), model.place(k))
    if all(child.neighbor_spec is None for child in model.models):
        raise error("None of the models sees neighbours. Add one that does, such as a pairtab.")
    for name in ("numb_fparam", "numb_aparam", "default_fparam"):
        _check_equal(model, name, error)


def _check_equal(model: Combination, name: str, error: type[ConfigError] | type[FormatError]) -> None:
    """All models that have such parameters must have the same."""
    found: dict[Any, int] = {}
    for k, child in enumerate(model.models):
        for fitting in (member.model.fitting for member in members(child)):
            if fitting.numb_aparam if name == "numb_aparam" else fitting.numb_fparam:
                found.setdefault(getattr(fitting, name), k)
    if len(found) > 1:
        told = ", ".join(f"{value} in {model.place(k)}" for value, k in found.items())
        raise error(f"The models do not agree in {name}: {told}. Give the same, or 0 where a model has none.")
