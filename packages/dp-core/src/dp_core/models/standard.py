"""The standard model: a descriptor, a fitting, and a constant for each type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pydantic

from dp_core import arrays, registry
from dp_core.arrays import namespace
from dp_core.descriptors.protocol import compressed, equivariant_rows, mixed_types, neighbor_spec
from dp_core.errors import ConfigError, nearest
from dp_core.fittings.base import vacuum_energies
from dp_core.format.versions import check_version
from dp_core.models.settings import ModelSettings
from dp_core.models.spin_section import SpinSection
from dp_core.module import Array, buffer, module, replace
from dp_core.neighbors import Neighborhood, NeighborSpec
from dp_core.nn.networks import Seed
from dp_core.nn.type_embedding import TypeEmbeddingSettings
from dp_core.outputs import OutputDef
from dp_core.schema.kinds import check_types
from dp_core.schema.section import Variant, option, wrong
from dp_core.type_map import renumbered, renumbered_pairs, rows_of_types


class StandardSettings(ModelSettings):
    """The model section of an input file."""

    paths: ClassVar[tuple[str, ...]] = ("use_srtab",)

    type: Literal["standard"] = option("standard", "kind of model")
    descriptor: Annotated[Any, Variant("descriptor")] = option(..., "the descriptor section")
    fitting_net: Annotated[Any, Variant("fitting", "ener")] = option(..., "the fitting section")
    type_embedding: TypeEmbeddingSettings | None = option(
        None, "numbers that stand for a type, with which se_e2_a has one network instead of one for each type"
    )
    use_srtab: str | None = option(
        None, "pair table that replaces the network at short distances: distances in Å, energies in eV", min_length=1
    )
    sw_rmin: float | None = option(None, "distance below which the table alone counts", unit="Å", ge=0)
    sw_rmax: float | None = option(None, "distance above which the network alone counts", unit="Å", gt=0)
    spin: SpinSection | None = option(None, "the spins of the atoms, for models of magnets")
    smin_alpha: float | None = option(None, "how sharply the nearest neighbour decides; unset: 0.1", unit="Å", gt=0)

    @pydantic.model_validator(mode="after")
    def _bridge(self) -> Self:
        if self.smin_alpha is not None and self.use_srtab is None:
            raise wrong("smin_alpha", "has an effect only with use_srtab")
        given = {"sw_rmin": self.sw_rmin, "sw_rmax": self.sw_rmax}
        for name, value in given.items():
            if (value is None) != (self.use_srtab is None):
                need = "is required with use_srtab" if value is None else "has an effect only with use_srtab"
                raise wrong(name, need)
        if self.sw_rmin is not None and self.sw_rmax is not None and self.sw_rmin >= self.sw_rmax:
            raise wrong("sw_rmin", f"is {self.sw_rmin:g} and must be smaller than sw_rmax, {self.sw_rmax:g}")
        return self

    @pydantic.model_validator(mode="after")
    def _alone(self) -> Self:
        for name in ("use_srtab", "hessian_mode", "modifier"):
            if self.spin is not None and getattr(self, name):
                raise wrong("spin", f"does not go with {name}; leave one of them out")
        return self

    @property
    def kind(self) -> str:
        """The registered model that these settings are of."""
        if self.spin is not None:
            return "spin_ener"
        return "standard" if self.use_srtab is None else "zbl"

    @pydantic.model_validator(mode="after")
    def _typed(self) -> StandardSettings:
        kind = self.descriptor.type
        if self.type_embedding is not None and not _takes_type_embedding(kind):
            own = "tebd_dim" in type(self.descriptor).model_fields
            told = "; it has its own, of tebd_dim numbers" if own else ""
            raise wrong("type_embedding", f"does not go with the descriptor {kind}{told}; leave the section out")
        return self


def _takes_type_embedding(descriptor: str) -> bool:
    return getattr(registry.lookup("descriptor", descriptor), "takes_type_embedding", False)


def check_preset(preset: dict[str, list[Any]] | None, output: str, type_map: Sequence[str]) -> None:
    """Raise ConfigError where a bias is given that would belong to nothing."""
    for name, values in (preset or {}).items():
        if name != output:
            raise ConfigError(f"model/preset_out_bias gives a bias for {name!r}{nearest(name, [output])}")
        if len(values) != len(type_map):
            raise ConfigError(
                f"model/preset_out_bias/{name} has {len(values)} entries, but the type map has {len(type_map)} "
                f"elements ({', '.join(type_map)}). Give one for each; null is fitted."
            )


def _preset_of_types(preset: dict[str, list[Any]] | None, old: Sequence[str], new: Sequence[str]) -> Any:
    """Fixed biases for other types; those of new types are fitted."""
    if not preset:
        return preset
    return {name: [values[old.index(t)] if t in old else None for t in new] for name, values in preset.items()}


def _script_of_types(script: dict[str, Any], old: Sequence[str], new: Sequence[str]) -> dict[str, Any]:
    """The model section of an input file for other types."""

    def of_descriptor(section: dict[str, Any]) -> dict[str, Any]:
        changed = dict(section)
        if "exclude_types" in section:
            changed["exclude_types"] = [list(pair) for pair in renumbered_pairs(section["exclude_types"], old, new)]
        if isinstance(section.get("list"), list):
            changed["list"] = [of_descriptor(child) for child in section["list"]]
        return changed

    made = script | {"type_map": list(new), "descriptor": of_descriptor(script.get("descriptor", {}))}
    if "atom_exclude_types" in script:
        made["atom_exclude_types"] = list(renumbered(script["atom_exclude_types"], old, new))
    if "pair_exclude_types" in script:
        made["pair_exclude_types"] = [list(p) for p in renumbered_pairs(script["pair_exclude_types"], old, new)]
    if "preset_out_bias" in script:
        made["preset_out_bias"] = _preset_of_types(script["preset_out_bias"], old, new)
    made["fitting_net"] = _fitting_section_of_types(script.get("fitting_net", {}), old, new)
    return made


def _fitting_section_of_types(section: dict[str, Any], old: Sequence[str], new: Sequence[str]) -> dict[str, Any]:
    """The section of a fitting, whatever its kind, for other types."""
    made = dict(section)
    if energies := section.get("atom_ener"):
        made["atom_ener"] = list(vacuum_energies(energies, old, new))
    selected, scale = section.get("sel_type"), section.get("scale")
    chosen = list(range(len(old))) if selected is None else [selected] if isinstance(selected, int) else selected
    if selected is not None:
        made["sel_type"] = [*renumbered(chosen, old, new), *(k for k, t in enumerate(new) if t not in old)]
    if isinstance(scale, list):
        factors = dict(zip(old if len(scale) == len(old) else [old[t] for t in chosen], scale, strict=True))
        made["scale"] = [factors.get(t, 1.0) for t in new]
    return made


@module
class StandardModel:
    """Neighborhood with n rows -> outputs of every atom, by name; ``mask`` (n,) tells real, not excluded atoms."""

    descriptor: Any
    fitting: Any
    out_bias: Array = buffer()  # (1, ntypes, size), added to the output of each type
    out_std: Array = buffer()  # (1, ntypes, size), used by property models only
    type_map: tuple[str, ...] = ()
    atom_exclude_types: tuple[int, ...] = ()
    pair_exclude_types: tuple[tuple[int, int], ...] = ()
    rcond: float | None = None
    preset_out_bias: Any = None
    min_nbor_dist: float | None = None  # Å, shortest distance in the training data
    script: dict[str, Any] | None = None  # the model section of the input file
    modifier: Any = None  # what predictors add, see ``long_range``
    trainable: bool = True

    Settings = StandardSettings

    def __call__(self, table: Neighborhood) -> dict[str, Array]:
        """The outputs of every atom, and the mask."""
        descriptor, rotation = self.descriptor(table)
        out: dict[str, Array] = self.fitting(descriptor, rotation, table)
        xp = namespace(descriptor, self.out_bias)
        types = xp.maximum(table.types, xp.zeros_like(table.types))
        keep = [0.0 if t in self.atom_exclude_types else 1.0 for t in range(len(self.type_map))]
        mask = arrays.take(arrays.constant(keep, like=self.out_bias), types)
        mask = xp.where(table.types >= 0, mask, xp.zeros_like(mask))
        name = self.output.name
        biased = self.fitting.with_statistics(out[name], self.out_bias[0, ...], self.out_std[0, ...], types)
        return out | {name: biased * mask[:, None], "mask": mask}

    @property
    def output(self) -> OutputDef:
        """What the model predicts."""
        definition: OutputDef = self.fitting.output
        return definition

    @property
    def neighbor_spec(self) -> NeighborSpec:
        """The neighbours that the model sees."""
        return neighbor_spec(self.descriptor, len(self.type_map), frozenset(self.pair_exclude_types))

    def eval_descriptor(self, table: Neighborhood) -> Array:
        """The descriptor of every atom: (n, dim_out)."""
        return self.descriptor(table)[0]

    def eval_embedding(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor (n, dim_out), and the values before the output layer of the fitting (n, neuron[-1])."""
        descriptor = self.descriptor(table)[0]
        return descriptor, self.fitting.last_hidden(descriptor, table)

    def change_type_map(self, type_map: Sequence[str], *, seed: Seed = None) -> StandardModel:
        """The model for other types, by name: known ones keep all they have, in whatever order they come.

        New types get random numbers in the type embedding, no bias, and a trivial normalisation; types that are not
        named are dropped. Raises ConfigError where the model has networks of certain types.
        """
        names = list(type_map)
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"The new type map is {names}; name each element once.")
        if not (hasattr(self.descriptor, "change_type_map") and self.fitting.mixed_types):
            raise ConfigError(
                f"The model, with the descriptor {self.descriptor.serialize()['type']}, has networks of certain types, "
                f"{', '.join(self.type_map)} in this order, which cannot be changed. Train a new model."
            )
        if compressed(self.descriptor):
            raise ConfigError(
                "The model is compressed, and its tables belong to its types. Change those of the model that it was "
                "made from (or of dp_core.compression.uncompressed(model)), then compress it."
            )
        old = self.type_map
        if self.modifier is not None:
            self.modifier.of_types(names)  # raises for a type without a charge
        fitting = self.fitting.change_type_map(names, old)
        if len(set(fitting.exclude_types)) == len(names):
            raise ConfigError(
                f"The model excludes all of {', '.join(names)}, so no atom would have an output. Keep one of its other "
                f"types, or name a new one; the model has {', '.join(old)}."
            )
        return replace(
            self,
            descriptor=self.descriptor.change_type_map(names, np.random.default_rng(seed)),
            fitting=fitting,
            out_bias=rows_of_types(self.out_bias, old, names, 0.0, axis=1),
            out_std=rows_of_types(self.out_std, old, names, 1.0, axis=1),
            type_map=tuple(names),
            atom_exclude_types=renumbered(self.atom_exclude_types, old, names),
            pair_exclude_types=renumbered_pairs(self.pair_exclude_types, old, names),
            preset_out_bias=_preset_of_types(self.preset_out_bias, old, names),
            script=None if self.script is None else self._script_of_types(names),
        )

    def _script_of_types(self, names: Sequence[str]) -> dict[str, Any]:
        script = self.script or {}
        if script.get("modifier") and self.modifier is not None:
            charges = {"sys_charge_map": self.modifier.of_types(names).tolist()}
            script = script | {"modifier": script["modifier"] | charges}
        return _script_of_types(script, self.type_map, names)

    @classmethod
    def init(cls, settings: StandardSettings, type_map: Sequence[str]) -> StandardModel:
        """A new model with random networks and no statistics."""
        typed = () if settings.type_embedding is None else (settings.type_embedding,)
        descriptor = registry.lookup("descriptor", settings.descriptor.type).init(settings.descriptor, type_map, *typed)
        fitting = registry.lookup("fitting", settings.fitting_net.type).init(
            settings.fitting_net,
            dim_descrpt=descriptor.dim_out,
            mixed_types=mixed_types(descriptor),
            type_map=type_map,
            embedding_width=equivariant_rows(descriptor),
        )
        exclude = tuple(sorted({*settings.atom_exclude_types, *fitting.exclude_types}))
        check_types("model/atom_exclude_types", exclude, type_map)
        check_types("model/pair_exclude_types", settings.pair_exclude_types, type_map)
        check_preset(settings.preset_out_bias, fitting.output.name, type_map)
        size = fitting.output.size
        return cls(
            descriptor=descriptor,
            fitting=replace(fitting, exclude_types=exclude),
            out_bias=np.zeros((1, len(type_map), size)),
            out_std=np.ones((1, len(type_map), size)),
            type_map=tuple(type_map),
            atom_exclude_types=exclude,
            pair_exclude_types=tuple(settings.pair_exclude_types),
            rcond=settings.fitting_net.rcond,
            preset_out_bias=settings.preset_out_bias,
        )

    def serialize(self) -> dict[str, Any]:
        """The model document."""
        return {
            "@class": "Model",
            "type": "standard",
            "@version": 2,
            "type_map": list(self.type_map),
            "atom_exclude_types": list(self.atom_exclude_types),
            "pair_exclude_types": [list(pair) for pair in self.pair_exclude_types],
            "rcond": self.rcond,
            "preset_out_bias": self.preset_out_bias,
            "@variables": {"out_bias": self.out_bias, "out_std": self.out_std},
            "descriptor": self.descriptor.serialize(),
            "fitting": self.fitting.serialize(),
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> StandardModel:
        """The model of a document."""
        data = check_version(data, "Model", (1, 2))
        v = data["@variables"]
        return cls(
            descriptor=registry.lookup("descriptor", data["descriptor"]["type"]).deserialize(data["descriptor"]),
            fitting=registry.lookup("fitting", data["fitting"].get("type", "ener")).deserialize(data["fitting"]),
            out_bias=v["out_bias"],
            out_std=v["out_std"],
            type_map=tuple(data["type_map"]),
            atom_exclude_types=tuple(data.get("atom_exclude_types", [])),
            pair_exclude_types=tuple((a, b) for a, b in data.get("pair_exclude_types", [])),
            rcond=data.get("rcond"),
            preset_out_bias=data.get("preset_out_bias"),
        )
