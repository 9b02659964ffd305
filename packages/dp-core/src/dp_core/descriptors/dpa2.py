"""dpa2: two-body and three-body embeddings of a wide neighbourhood, then messages among the nearer atoms.

Zhang et al., DPA-2: a large atomic model as a multi-task learner, npj Computational Materials 10, 293 (2024). The first
part, repinit, is a dpa1 without attention, with a se_e3_tebd beside it if wanted; the second one is the repformer, see
``repformer.py``. Each part has its own cutoff, most neighbours and statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.dpa1 import DPA1
from dp_core.descriptors.environment import environment_document
from dp_core.descriptors.mixed import (
    Mixed,
    MixedSettings,
    embedding_names,
    init_fields,
    of_types,
    stored_fields,
    warn_of_first,
)
from dp_core.descriptors.protocol import CountSel
from dp_core.descriptors.repformer import Repformer, RepformerSettings
from dp_core.descriptors.se_e3_tebd import SeE3Tebd
from dp_core.descriptors.tabulation import Resolution
from dp_core.errors import ConfigError, FormatError
from dp_core.format.versions import check_version, register_upgrade
from dp_core.module import Array, module, replace
from dp_core.neighbors import Neighborhood
from dp_core.nn import canonical
from dp_core.nn.networks import Layer, Seed, child_seed
from dp_core.nn.type_embedding import TypeEmbedding
from dp_core.nn.updates import plain_layer
from dp_core.schema.kinds import Activation, Precision, SeedSetting, check_types
from dp_core.schema.section import Section, option, stored_section, with_numbers
from dp_core.views import first_blocks, kept, nearest


class RepinitSettings(Section):
    """Widths and cutoffs of the first part."""

    rcut: float = option(..., "cutoff radius of the descriptor", unit="Å", gt=0)
    rcut_smth: float = option(..., "where the smooth switch to zero begins", unit="Å", ge=0)
    nsel: int | str = option(
        ..., "most neighbours within rcut; 'auto' or 'auto:factor' counts them in the training data"
    )
    neuron: list[int] = option([25, 50, 100], "widths of the embedding network")
    axis_neuron: int = option(16, "columns kept in the descriptor product", gt=0)
    tebd_dim: int = option(8, "numbers that stand for a type", gt=0)
    tebd_input_mode: Literal["concat", "strip"] = option(
        "concat", "types go into the network of distances ('concat') or into one of their own ('strip')"
    )
    set_davg_zero: bool = option(True, "keep the mean of the environment matrix at zero")
    activation_function: Activation = option("tanh", "activation of the embedding network")
    resnet_dt: bool = option(False, "learn a step for every residual connection")
    type_one_side: bool = option(False, "the network takes the type of the neighbour only, not of both atoms")
    use_three_body: bool = option(False, "there is an embedding of angles too")
    three_body_neuron: list[int] = option([2, 4, 8], "widths of the network of angles")
    three_body_sel: int | str = option(40, "most neighbours within three_body_rcut, as nsel")
    three_body_rcut: float = option(4.0, "cutoff radius of angles", unit="Å", gt=0)
    three_body_rcut_smth: float = option(0.5, "where the switch of angles begins", unit="Å", ge=0)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> RepinitSettings:
        for prefix, sel in (("", "nsel"), ("three_body_", "three_body_sel")):
            if prefix and not self.use_three_body:
                continue
            rcut, smth, neuron = (getattr(self, prefix + name) for name in ("rcut", "rcut_smth", "neuron"))
            if smth >= rcut:
                raise ValueError(f"{prefix}rcut_smth is {smth} and must be smaller than {prefix}rcut, {rcut}")
            if not neuron or min(neuron) < 1:
                raise ValueError(f"{prefix}neuron is {neuron}; give at least one width, all positive")
            number = getattr(self, sel)
            if isinstance(number, int) and number < 1:
                raise ValueError(f"{sel} is {number}; give the most neighbours within {prefix}rcut")
        if self.axis_neuron > self.neuron[-1]:
            raise ValueError(
                f"axis_neuron is {self.axis_neuron}, more than the last width of neuron, {self.neuron[-1]}"
            )
        return self


class DPA2Settings(Section):
    """Settings of dpa2 in an input file."""

    type: Literal["dpa2"] = option("dpa2", "name of the descriptor")
    repinit: RepinitSettings = option(..., "the embeddings of the wide neighbourhood")
    repformer: RepformerSettings = option(..., "the layers of messages")
    concat_output_tebd: bool = option(True, "append the numbers of the atom's own type to the descriptor")
    precision: Precision = option("default", "precision of the networks")
    smooth: bool = option(True, "attention, sums and stripped types go to zero at the cutoffs")
    exclude_types: list[tuple[int, int]] = option([], "pairs of types that do not see each other")
    env_protection: float = option(0.0, "added to every distance, against division by zero", unit="Å", ge=0)
    trainable: bool = option(True, "whether training changes the networks")
    seed: SeedSetting = option(None, "seed of the initial weights")
    add_tebd_to_repinit_out: bool = option(
        False, "the atoms begin with their type too", aliases=("repformer_add_type_ebd_to_seq",)
    )
    use_econf_tebd: bool = option(False, "types start from the electrons of their element, not from their number")
    use_tebd_bias: bool = option(False, "bias in the type embedding")

    @pydantic.model_validator(mode="after")
    def _nested(self) -> DPA2Settings:
        outer, inner = self.repinit, self.repformer
        if inner.rcut >= outer.rcut:
            raise ValueError(
                f"repformer/rcut is {inner.rcut} and must be smaller than repinit/rcut, {outer.rcut}: the repformer "
                "looks at the nearer of the same neighbours"
            )
        if outer.use_three_body and outer.three_body_rcut > outer.rcut:
            raise ValueError(
                f"repinit/three_body_rcut is {outer.three_body_rcut} and must not be larger than repinit/rcut, "
                f"{outer.rcut}"
            )
        if isinstance(outer.nsel, int) and isinstance(inner.nsel, int) and inner.nsel >= outer.nsel:
            raise ValueError(
                f"repformer/nsel is {inner.nsel} and must be smaller than repinit/nsel, {outer.nsel}, which counts the "
                "neighbours within a larger cutoff"
            )
        known = sorted((rcut, sel) for rcut, sel in self.parts.values() if isinstance(sel, int))
        for (nearer, few), (farther, many) in pairwise(known):
            if few > many:
                raise ValueError(
                    f"the part with the cutoff {nearer} has {few} neighbours at most, that with {farther} only {many}; "
                    "nsel and three_body_sel must grow with the cutoffs"
                )
        return self

    @property
    def parts(self) -> dict[str, tuple[float, int | str]]:
        """Cutoff, Å, and most neighbours of each part, by the name of the latter."""
        outer, inner = self.repinit, self.repformer
        parts = {"repinit/nsel": (outer.rcut, outer.nsel), "repformer/nsel": (inner.rcut, inner.nsel)}
        if outer.use_three_body:
            parts["repinit/three_body_sel"] = (outer.three_body_rcut, outer.three_body_sel)
        return parts

    @property
    def rcut(self) -> float:
        """The cutoff radius, Å."""
        return self.repinit.rcut

    def with_counted_sel(self, count: CountSel) -> DPA2Settings:
        """The settings with what ``count`` gives for every ``nsel`` and ``three_body_sel``."""
        changed: dict[str, dict[str, Any]] = {"repinit": {}, "repformer": {}}
        least = 0
        for place, (rcut, sel) in sorted(self.parts.items(), key=lambda part: part[1][0]):
            section, key = place.split("/")
            found = count(place, sel, rcut, mixed=True)
            number = found[0] if isinstance(found, list) else found
            # equal counts, or a given number above a count, must not make what is counted contradictory
            number = max(number, least + 4 * (place == "repinit/nsel")) if isinstance(sel, str) else number
            changed[section][key] = number
            least = max(least, number)
        counted = {name: getattr(self, name).model_copy(update=values) for name, values in changed.items()}
        return with_numbers(self, counted)


@module
class DPA2:
    """The descriptor: Neighborhood with n rows -> (n, g1_dim + tebd_dim)."""

    type_embedding: TypeEmbedding
    repinit: DPA1  # its types are those of the descriptor, as those of the next
    three_body: SeE3Tebd | None
    repformer: Repformer
    shape: Layer | None  # from the embeddings to g1_dim; None where they have that width
    types: Layer | None  # from the type to g1_dim, where atoms begin with it too
    settings: RepinitSettings = None  # type: ignore[assignment]
    concat_output_tebd: bool = True
    precision: str = "float64"
    trainable: bool = True
    type_map: tuple[str, ...] | None = None

    Settings = DPA2Settings

    by_type = False
    message_passing = True

    @property
    def ntypes(self) -> int:
        """Number of types."""
        return self.type_embedding.ntypes

    @property
    def rcut(self) -> float:
        """The cutoff radius, Å."""
        return self.settings.rcut

    @property
    def sel(self) -> tuple[int, ...]:
        """The most neighbours, in all."""
        return (int(self.settings.nsel),)

    @property
    def shells(self) -> tuple[tuple[float, int], ...]:
        """The neighbours that the inner parts see have slots of their own, unless their place counts."""
        parts = [self.repinit, *self._inner]
        if any(part.by_slot for part in parts):
            return ()
        return tuple(sorted({self._limits(part) for part in self._inner} - {self._limits(self.repinit)}))

    @property
    def _inner(self) -> list[Any]:
        return [self.repformer] if self.three_body is None else [self.repformer, self.three_body]

    def _limits(self, part: Any) -> tuple[float, int]:
        """Cutoff and most neighbours of a part, of those that the descriptor has."""
        return min(part.rcut, self.rcut), min(sum(part.sel), self.sel[0])

    @property
    def message_reach(self) -> tuple[int, float]:
        """How many steps messages come, and the radius of each in Å."""
        return len(self.repformer.layers), self._limits(self.repformer)[0]

    @property
    def marks_first(self) -> bool:
        """Whether empty slots must tell the type of the first atom of the frame."""
        return self.repinit.marks_first or (self.three_body is not None and self.three_body.marks_first)

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return self.dim_atoms + self.concat_output_tebd * self.type_embedding.width

    @property
    def dim_atoms(self) -> int:
        """Width of the atoms in the layers."""
        return self.repformer.settings.g1_dim

    @property
    def dim_emb(self) -> int:
        """Rows of the equivariant part."""
        return self.repformer.settings.g2_dim

    def map_parts(self, change: Callable[[Any], Any]) -> DPA2:
        """The descriptor with ``change(part)`` for each part, all of which have statistics."""
        names = ("repinit", "three_body", "repformer")
        parts = {name: getattr(self, name) for name in names}
        return replace(self, **{name: change(part) for name, part in parts.items() if part is not None})

    @property
    def compressed(self) -> bool:
        """Whether tables take the place of networks."""
        return self.repinit.compressed

    def obstacle(self) -> str | None:
        """Why there can be no tables; None if there can."""
        reason = self.repinit.obstacle()
        return None if reason is None else f"of repinit: {reason}"

    def tabulated(self, resolution: Resolution) -> DPA2:
        """The descriptor with tables in the place of the networks of repinit."""
        made = replace(self.repinit, type_embedding=self.type_embedding).tabulated(resolution)
        return replace(self, repinit=replace(made, type_embedding=None))

    def uncompressed(self) -> DPA2:
        """The descriptor without tables."""
        return replace(self, repinit=self.repinit.uncompressed())

    def __call__(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor (n, dim_out) and the equivariant part (n, dim_emb, 3)."""
        xp = namespace(table.vectors, table.types)
        types = xp.where(table.types < 0, xp.full_like(table.types, self.ntypes), table.types)
        own = arrays.cast(arrays.take(self.type_embedding(), types), self.precision)
        embeddings = [part for part in (self.repinit, self.three_body) if part is not None]
        found = [replace(part, type_embedding=self.type_embedding)(self._nearer(table, part))[0] for part in embeddings]
        atoms = arrays.cast(arrays.concat(found, axis=-1), self.precision)
        atoms = atoms if self.shape is None else self.shape(atoms)
        atoms = atoms if self.types is None else atoms + self.types(own)
        atoms, rotation = self.repformer(self._nearer(table, self.repformer), atoms)
        if self.concat_output_tebd:
            atoms = arrays.concat([atoms, own], axis=-1)
        return arrays.cast(atoms, "float64"), arrays.cast(rotation, "float64")

    def _nearer(self, table: Neighborhood, part: Any) -> Neighborhood:
        """The neighbours that a part sees; others may share the table, which has no shells then."""
        limits = self._limits(part)
        xp = namespace(table.vectors)
        if len(table.slot_counts) > 1:
            blocks = self.shells.index(limits) + 1 if limits in self.shells else len(table.slot_counts)
            table = first_blocks(table, blocks)
            keep = None
        else:
            keep = nearest(table, limits[1:])
        near = xp.sum(table.vectors * table.vectors, axis=-1) <= limits[0] ** 2
        return kept(table, near if keep is None else xp.logical_and(near, keep))

    def change_type_map(self, type_map: Sequence[str], random: np.random.Generator) -> DPA2:
        """The descriptor for other types: known ones keep what they have, new ones get random vectors.

        Raises ConfigError where that is impossible.
        """
        embedding, old = self.type_embedding.change_type_map(type_map, random), embedding_names(self)
        changed = self.map_parts(lambda part: of_types(part, old, type_map))
        return replace(changed, type_embedding=embedding, type_map=tuple(type_map))

    @classmethod
    def init(cls, settings: DPA2Settings, type_map: Sequence[str]) -> DPA2:
        """Random networks and trivial statistics. Every ``nsel`` must be a number by now."""
        s, inner = settings.repinit, settings.repformer
        unknown = [f"{place} is {sel!r}" for place, (_, sel) in settings.parts.items() if isinstance(sel, str)]
        if unknown:
            raise ConfigError(f"{', '.join(unknown)}; count the neighbours of the training data first.")
        exclude = tuple(settings.exclude_types)
        check_types("model/descriptor/exclude_types", exclude, type_map)
        precision, trainable, seed = canonical(settings.precision), settings.trainable, settings.seed
        repinit = DPA1(
            **_embedding_fields(settings, type_map, "", types=1 if s.type_one_side else 2, seed=child_seed(seed, 0)),
            axis_neuron=s.axis_neuron,
            type_one_side=s.type_one_side,
        )
        warn_of_first(repinit, "descriptor/repinit/set_davg_zero")
        three_body = None
        if s.use_three_body:
            fields = _embedding_fields(settings, type_map, "three_body_", types=2, seed=child_seed(seed, 5))
            three_body = SeE3Tebd(**fields)
        width = s.neuron[-1] * s.axis_neuron + (s.three_body_neuron[-1] if s.use_three_body else 0)

        def layer(n_in: int, child: int) -> Layer:
            return plain_layer(n_in, inner.g1_dim, precision, trainable, child_seed(seed, child), bias=False)

        return cls(
            type_embedding=TypeEmbedding.init(
                type_map, [s.tebd_dim], use_econf_tebd=settings.use_econf_tebd, use_tebd_bias=settings.use_tebd_bias,
                precision=precision, trainable=trainable, seed=child_seed(seed, 2),
            ),
            repinit=repinit,
            three_body=three_body,
            repformer=Repformer.init(
                inner, len(type_map), smooth=settings.smooth, exclude_types=exclude,
                env_protection=settings.env_protection, precision=precision, trainable=trainable,
                seed=child_seed(seed, 1),
            ),
            shape=None if width == inner.g1_dim else layer(width, 3),
            types=layer(s.tebd_dim, 4) if settings.add_tebd_to_repinit_out else None,
            settings=s,
            concat_output_tebd=settings.concat_output_tebd,
            precision=precision,
            trainable=trainable,
            type_map=tuple(type_map),
        )  # fmt: skip

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        part = self.repformer
        inner = part.settings.model_dump() | {"ln_eps": part.settings.ln_eps or 1e-5}
        data = {
            "@class": "Descriptor",
            "type": "dpa2",
            "@version": 4 if self.compressed else 3,
            "ntypes": self.ntypes,
            "repinit_args": self.settings.model_dump(),
            "repformer_args": inner,
            "concat_output_tebd": self.concat_output_tebd,
            "precision": self.precision,
            "smooth": part.smooth,
            "exclude_types": [list(pair) for pair in part.exclude_types],
            "env_protection": part.env_protection,
            "trainable": self.trainable,
            "add_tebd_to_repinit_out": self.types is not None,
            "use_econf_tebd": self.type_embedding.use_econf_tebd,
            "use_tebd_bias": self.type_embedding.embedding.bias,
            "type_map": None if self.type_map is None else list(self.type_map),
            "type_embedding": self.type_embedding.serialize(),
            "g1_shape_tranform": {"@class": "Identity", "@version": 1}
            if self.shape is None
            else self.shape.serialize(),
            "repinit_variable": _embedding_document(self.repinit),
            "repformers_variable": part.serialize(),
        }
        if self.types is not None:
            data["tebd_transform"] = self.types.serialize()
        if self.three_body is not None:
            data["repinit_three_body_variable"] = _embedding_document(self.three_body)
        return data

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DPA2:
        """The descriptor of a document. Raises FormatError if parts of it are missing."""
        data = check_version(data, "Descriptor", (1, 4))
        s = stored_section(RepinitSettings, data, "repinit_args")
        inner = stored_section(RepformerSettings, data, "repformer_args")
        flags = {
            "tebd_transform": data.get("add_tebd_to_repinit_out", False),
            "repinit_three_body_variable": s.use_three_body,
        }
        for key, there in flags.items():
            if bool(data.get(key)) != there:
                raise FormatError(
                    f"The dpa2 of the model has {'no' if there else 'a'} {key}, against its settings; the file is "
                    "damaged."
                )
        common = {
            "smooth": data.get("smooth", True),
            "exclude_types": tuple((a, b) for a, b in data.get("exclude_types", [])),
            "env_protection": data.get("env_protection", 0.0),
            "precision": canonical(data.get("precision", "float64")),
        }

        def fields(prefix: str, key: str) -> dict[str, Any]:
            sel = s.three_body_sel if prefix else s.nsel
            own = {name: getattr(s, prefix + name) for name in ("rcut", "rcut_smth")}
            own |= {"sel": sel, "set_davg_zero": s.set_davg_zero, "concat_output_tebd": False}
            stored = stored_fields(data[key] | common | own | {"type_embedding": data["type_embedding"]})
            return stored | {"smooth": common["smooth"], "type_embedding": None}

        shape, types = data["g1_shape_tranform"], data.get("tebd_transform")
        three_body = None
        if s.use_three_body:
            three_body = SeE3Tebd.of_stored(fields("three_body_", "repinit_three_body_variable"))
        repinit = DPA1(**fields("", "repinit_variable"), axis_neuron=s.axis_neuron, type_one_side=s.type_one_side)
        return cls(
            type_embedding=TypeEmbedding.deserialize(data["type_embedding"]),
            repinit=repinit.with_stored_tables(data["repinit_variable"].get("compress")),
            three_body=three_body,
            repformer=Repformer.deserialize(data["repformers_variable"], inner, **common),
            shape=None if shape["@class"] == "Identity" else Layer.deserialize(shape),
            types=Layer.deserialize(types) if types else None,
            settings=s,
            concat_output_tebd=data.get("concat_output_tebd", True),
            precision=common["precision"],
            trainable=data.get("trainable", True),
            type_map=None if data.get("type_map") is None else tuple(data["type_map"]),
        )


def _embedding_fields(
    settings: DPA2Settings, type_map: Sequence[str], prefix: str, *, types: int, seed: Seed
) -> dict[str, Any]:
    """Fields of a new embedding, whose settings have a prefix. types: how many the network takes."""
    s = settings.repinit
    block = MixedSettings(
        sel=s.three_body_sel if prefix else s.nsel,
        **{name: getattr(s, prefix + name) for name in ("rcut", "rcut_smth", "neuron")},
        **{name: getattr(s, name) for name in ("activation_function", "resnet_dt", "set_davg_zero", "tebd_dim")},
        **{name: getattr(settings, name) for name in ("precision", "trainable", "exclude_types", "env_protection")},
        concat_output_tebd=False,
    )
    typed, strip = types * s.tebd_dim, s.tebd_input_mode == "strip"
    fields = init_fields(
        block, type_map, in_dim=1 if strip else 1 + typed, strip_dim=typed if strip else None, block=seed
    )
    return fields | {"smooth": settings.smooth, "type_embedding": None}


def _embedding_document(part: Mixed) -> dict[str, Any]:
    """What a document says of an embedding beside its settings."""
    strip = {} if part.embeddings_strip is None else {"embeddings_strip": part.embeddings_strip.serialize()}
    return (
        {
            "embeddings": part.embeddings.serialize(),
            "env_mat": environment_document(part.rcut, part.rcut_smth, 0.0),
            "@variables": {"davg": part.davg, "dstd": part.dstd},
        }
        | strip
        | part.compress_document()
    )


@register_upgrade("Descriptor dpa2", 1)
def _bias_1(data: dict[str, Any]) -> dict[str, Any]:
    return {"use_tebd_bias": True, **data}


@register_upgrade("Descriptor dpa2", 2)
def _plain_2(data: dict[str, Any]) -> dict[str, Any]:
    old = {"use_sqrt_nnei": False, "g1_out_conv": False, "g1_out_mlp": False}
    return data | {"repformer_args": data["repformer_args"] | old}
