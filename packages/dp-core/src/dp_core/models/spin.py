"""spin_ener: a standard model of the energy that sees the spin of an atom as a virtual atom beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pydantic

from dp_core import registry
from dp_core.errors import ConfigError, FormatError
from dp_core.models.protocol import Member, map_members
from dp_core.models.spin_section import spin_types
from dp_core.models.standard import StandardModel, StandardSettings
from dp_core.module import Array, module, replace
from dp_core.neighbors import COINCIDENT, Neighborhood, NeighborSpec
from dp_core.nn.networks import Seed
from dp_core.outputs import OutputDef
from dp_core.schema.section import option, wrong
from dp_core.virtual_atoms import VirtualAtoms

#: Å, added to distances, because the virtual atom of a spin of length zero is at the place of the atom.
_PROTECTION = 0.01


class SpinSettings(StandardSettings):
    """A standard model with ``spin``, by a name of its own."""

    type: Literal["spin_ener"] = option("spin_ener", "kind of model")  # type: ignore[assignment]

    @pydantic.model_validator(mode="after")
    def _spins(self) -> SpinSettings:
        if self.spin is None:
            raise wrong("spin", "is required: which types have spins")
        return self


@module
class SpinEnergy:
    """Neighborhood of atoms and virtual atoms -> the energy of every atom, and ``mask``.

    The backbone has 2T types: those of the atoms, then those of their virtual atoms, whose energy is zero. Who
    evaluates adds the virtual atoms to a frame, see ``virtual_atoms``.
    """

    backbone: StandardModel
    virtual: VirtualAtoms
    min_nbor_dist: float | None = None  # Å, shortest distance in the training data
    script: dict[str, Any] | None = None  # the model section of the input file
    trainable: bool = True

    Settings = SpinSettings

    def __call__(self, table: Neighborhood) -> dict[str, Array]:
        """The energy of every atom, and the mask of those that are neither virtual nor excluded."""
        return self.backbone(table)

    @property
    def output(self) -> OutputDef:
        """What the model predicts."""
        return self.backbone.output

    @property
    def neighbor_spec(self) -> NeighborSpec:
        """The neighbours that the model sees, among atoms and virtual atoms; these may be where their atoms are."""
        return replace(self.backbone.neighbor_spec, closest=COINCIDENT)

    @property
    def type_map(self) -> tuple[str, ...]:
        """Names of the types of the atoms."""
        return self.backbone.type_map[: self._ntypes]

    @property
    def atom_exclude_types(self) -> tuple[int, ...]:
        """Types whose atoms contribute nothing."""
        return tuple(t for t in self.backbone.atom_exclude_types if t < self._ntypes)

    @property
    def pair_exclude_types(self) -> tuple[tuple[int, int], ...]:
        """Pairs of types of atoms that do not see each other."""
        return tuple(pair for pair in self.backbone.pair_exclude_types if max(pair) < self._ntypes)

    @property
    def out_bias(self) -> Array:
        """(1, T, 1) eV, the bias of the types of the atoms."""
        return self.backbone.out_bias[:, : self._ntypes]

    @property
    def _ntypes(self) -> int:
        return len(self.virtual.use_spin)

    def map_members(self, change: Callable[[Member], Any]) -> SpinEnergy:
        """The model with another backbone, which has other types than the whole."""
        return replace(self, backbone=map_members(self.backbone, change))

    def eval_descriptor(self, table: Neighborhood) -> Array:
        """The descriptor of every atom and virtual atom: (n, dim_out)."""
        return self.backbone.eval_descriptor(table)

    def eval_embedding(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor (n, dim_out), and the values before the output layer of the fitting (n, neuron[-1])."""
        found: tuple[Array, Array] = self.backbone.eval_embedding(table)
        return found

    def change_type_map(self, type_map: Sequence[str], *, seed: Seed = None) -> SpinEnergy:
        """Raises ConfigError: which types have spins, and how long they are, is of the types of the training."""
        raise ConfigError(
            f"The types of a model with spins cannot be changed; they are {' '.join(self.type_map)}. Train a "
            "model with the other type_map."
        )

    @classmethod
    def init(cls, settings: StandardSettings, type_map: Sequence[str]) -> SpinEnergy:
        """A new model with random networks and no statistics."""
        assert settings.spin is not None
        virtual = spin_types(settings.spin.use_spin, settings.spin.virtual_scale, type_map)
        names = [*type_map, *(f"{name}_spin" for name in type_map)]
        backbone = StandardModel.init(_of_backbone(settings, virtual), names)
        if backbone.output.kind != "energy":
            raise ConfigError(
                f"model/spin is given, but the fitting predicts {backbone.output.name!r}; only models of the energy "
                "have spins. Leave the section out."
            )
        return cls(backbone, virtual)

    def serialize(self) -> dict[str, Any]:
        """The model document."""
        spin = {"use_spin": list(self.virtual.use_spin), "virtual_scale": list(self.virtual.virtual_scale)}
        return {"type": "spin_ener", "backbone_model": self.backbone.serialize(), "spin": spin}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SpinEnergy:
        """The model of a document."""
        inner, spin = data["backbone_model"], data["spin"]
        backbone = registry.lookup("model", inner["type"]).deserialize(inner)
        names = backbone.type_map[: len(backbone.type_map) // 2]
        if not isinstance(backbone, StandardModel) or spin.get("virtual_scale") is None:
            raise FormatError("The model has spins that are no virtual atoms, which this version of dp does not read.")
        try:
            virtual = spin_types(spin["use_spin"], spin["virtual_scale"], names)
        except ConfigError as error:
            raise FormatError(f"The document of the spin model is damaged: {error}") from error
        return cls(backbone, virtual)


def _of_backbone(settings: StandardSettings, virtual: VirtualAtoms) -> StandardSettings:
    """The settings of the model of 2T types. Virtual atoms of types without spin are seen by no one."""
    ntypes = len(virtual.use_spin)
    unseen = [t + ntypes for t, flag in enumerate(virtual.use_spin) if not flag]
    pairs = [(t, other) for t in unseen for other in range(2 * ntypes)]
    pairs = sorted({*settings.pair_exclude_types, *pairs})
    preset = settings.preset_out_bias
    if preset is not None:
        preset = {name: [*values, *([0.0] * ntypes)] for name, values in preset.items()}
    atom_ener = settings.fitting_net.atom_ener
    fitting = settings.fitting_net
    if atom_ener:
        fitting = fitting.model_copy(update={"atom_ener": [*atom_ener, *([None] * ntypes)]})
    return settings.model_copy(
        update={
            "spin": None,
            "descriptor": _of_descriptor(settings.descriptor, pairs),
            "fitting_net": fitting,
            "pair_exclude_types": pairs,
            "atom_exclude_types": sorted({*settings.atom_exclude_types, *range(ntypes, 2 * ntypes)}),
            "preset_out_bias": preset,
        }
    )


def _of_descriptor(section: Any, pairs: Sequence[tuple[int, int]]) -> Any:
    """The section of a descriptor for atoms and virtual atoms; those with blocks by type have them for both."""
    fields = type(section).model_fields
    if "list" in fields:
        return section.model_copy(update={"list": [_of_descriptor(child, pairs) for child in section.list]})
    for name in ("exclude_types", "env_protection"):
        if name not in fields:
            raise ConfigError(f"model/spin does not go with the descriptor {section.type}, which has no {name}.")
    if section.exclude_types:
        raise ConfigError(
            f"exclude_types of the descriptor is {[list(pair) for pair in section.exclude_types]}, but models with "
            "spins leave out pairs by model/pair_exclude_types. Give them there."
        )
    changed: dict[str, Any] = {
        "exclude_types": list(pairs),
        "env_protection": section.env_protection or _PROTECTION,
    }
    if registry.lookup("descriptor", section.type).by_type:
        changed["sel"] = [*section.sel, *section.sel]
    return section.model_copy(update=changed)
