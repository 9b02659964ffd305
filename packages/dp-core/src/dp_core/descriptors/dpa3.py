"""dpa3: messages between atoms, with edges and the angles between them (repflow, see ``repflow.py``).

Zhang et al., A Graph Neural Network for the Era of Large Atomistic Models (2025).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.descriptors.environment import differ_between_slots, environment_document, seen, smooth_switch
from dp_core.descriptors.mixed import with_types
from dp_core.descriptors.protocol import CountSel
from dp_core.descriptors.repflow import Geometry, RepflowLayer, RepflowSettings
from dp_core.errors import ConfigError, DataError, FormatError
from dp_core.format.versions import check_version
from dp_core.inputs import CHARGES, SPINS, check_charge_spin
from dp_core.module import Array, buffer, module
from dp_core.neighbors import Neighborhood
from dp_core.nn import activation, canonical
from dp_core.nn.networks import EmbeddingNet, Layer, child_seed
from dp_core.nn.type_embedding import TypeEmbedding
from dp_core.nn.updates import plain_layer
from dp_core.schema.kinds import Activation, Precision, SeedSetting, check_types
from dp_core.schema.section import Section, option, stored_section, with_numbers


class DPA3Settings(Section):
    """Settings of dpa3 in an input file."""

    type: Literal["dpa3"] = option("dpa3", "name of the descriptor")
    repflow: RepflowSettings = option(..., "the layers")
    concat_output_tebd: bool = option(False, "append the type embedding to the descriptor")
    add_chg_spin_ebd: bool = option(False, "the descriptor depends on the total charge and multiplicity of the frame")
    default_chg_spin: list[float] | None = option(None, "charge and multiplicity of frames that have none", unit="e, 1")
    activation_function: Activation = option("silu", "activation of the layers")
    precision: Precision = option("default", "precision of the networks")
    exclude_types: list[tuple[int, int]] = option([], "pairs of types that do not see each other")
    env_protection: float = option(0.0, "added to every distance, against division by zero", unit="Å", ge=0)
    trainable: bool = option(True, "whether training changes the networks")
    seed: SeedSetting = option(None, "seed of the initial weights")
    use_econf_tebd: bool = option(False, "the type embedding starts from the electrons of the elements")
    use_tebd_bias: bool = option(False, "the type embedding has a bias")
    use_loc_mapping: bool = option(True, "kept for DeePMD-kit; dp always exchanges the features of ghosts")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> DPA3Settings:
        given = self.default_chg_spin
        if given is not None:
            if not self.add_chg_spin_ebd:
                raise ValueError("default_chg_spin is given, but add_chg_spin_ebd is false")
            if len(given) != 2:
                raise ValueError(f"default_chg_spin has {len(given)} numbers; give two, the charge and multiplicity")
            try:
                check_charge_spin(np.array(given), "default_chg_spin")
            except DataError as error:
                raise ValueError(str(error)) from None
        return self

    @property
    def rcut(self) -> float:
        """Cutoff of the edges, Å."""
        return self.repflow.e_rcut

    def with_counted_sel(self, count: CountSel) -> DPA3Settings:
        """The settings with what ``count`` gives for ``e_sel`` and ``a_sel``."""
        s = self.repflow
        found = {
            f"{kind}_sel": count(f"repflow/{kind}_sel", getattr(s, f"{kind}_sel"), rcut, mixed=True)
            for kind, rcut in (("e", s.e_rcut), ("a", s.a_rcut))
        }
        numbers = {key: sel[0] if isinstance(sel, list) else sel for key, sel in found.items()}
        repflow = with_numbers(s, numbers)  # a given a_sel may be more than e_sel now
        return self.model_copy(update={"repflow": repflow})


@module
class ChargeSpin:
    """An embedding of the total charge and multiplicity: (frames, 2) -> (frames, width)."""

    charge: TypeEmbedding
    spin: TypeEmbedding
    mix: Layer
    activation_function: str

    def __call__(self, charge_spin: Array) -> Array:
        """Fractions are cut off, as by int()."""
        xp = namespace(charge_spin)
        numbers = xp.astype(charge_spin, xp.int64)
        rows = [arrays.take(self.charge(), numbers[:, 0] + CHARGES // 2), arrays.take(self.spin(), numbers[:, 1])]
        mixed = self.mix(arrays.concat(rows, axis=-1))
        return activation(self.activation_function)(mixed)


@module
class DPA3:
    """The descriptor: Neighborhood with n rows -> (n, n_dim), or (n, 2 n_dim) with ``concat_output_tebd``."""

    type_embedding: TypeEmbedding
    edge_embedding: Layer
    angle_embedding: Layer
    layers: tuple[RepflowLayer, ...]
    charge_spin: ChargeSpin | None
    davg: Array = buffer()  # (ntypes, e_sel, 4), mean of the environment matrix by slot
    dstd: Array = buffer()  # (ntypes, e_sel, 4), its standard deviation
    repflow: RepflowSettings = None  # type: ignore[assignment]
    concat_output_tebd: bool = False
    default_chg_spin: tuple[float, ...] | None = None
    activation_function: str = "silu"
    exclude_types: tuple[tuple[int, int], ...] = ()
    env_protection: float = 0.0  # Å
    use_loc_mapping: bool = True
    precision: str = "float64"
    trainable: bool = True
    type_map: tuple[str, ...] | None = None
    by_slot: bool = False  # davg or dstd differ between slots

    Settings = DPA3Settings

    by_type = False
    message_passing = True
    set_davg_zero = True

    @property
    def ntypes(self) -> int:
        """Number of types."""
        return self.type_embedding.ntypes

    @property
    def rcut(self) -> float:
        """Cutoff of the edges, Å."""
        return self.repflow.e_rcut

    @property
    def rcut_smth(self) -> float:
        """Where the switch of the edges begins, Å."""
        return self.repflow.e_rcut_smth

    @property
    def sel(self) -> tuple[int, ...]:
        """The most neighbours, in all."""
        return (int(self.repflow.e_sel),)

    @property
    def shells(self) -> tuple[tuple[float, int], ...]:
        """The neighbours between which there are angles have slots of their own."""
        return ((self.repflow.a_rcut, int(self.repflow.a_sel)),) if self.repflow.update_angle else ()

    @property
    def message_reach(self) -> tuple[int, float]:
        """How many steps messages come, and the radius of each in Å: the first layer tells the types alone."""
        return len(self.layers) - 1, self.rcut

    @property
    def dim_chg_spin(self) -> int:
        """Numbers of a frame that tell its charge and multiplicity."""
        return 0 if self.charge_spin is None else 2

    def map_parts(self, change: Callable[[Any], Any]) -> DPA3:
        """``change(self)``, or the descriptor as it is, where its normalisation is given and not taken from data."""
        changed: DPA3 = self if self.repflow.fix_stat_std else change(self)
        return changed

    @property
    def dim_out(self) -> int:
        """Width of the descriptor."""
        return self.repflow.n_dim * (2 if self.concat_output_tebd else 1)

    @property
    def dim_emb(self) -> int:
        """Rows of the equivariant part."""
        return self.repflow.e_dim

    def __call__(self, table: Neighborhood) -> tuple[Array, Array]:
        """The descriptor (n, dim_out) and the equivariant part (n, dim_emb, 3)."""
        xp = namespace(table.vectors, self.davg)
        begin = self._types(table)
        nodes = activation(self.activation_function)(begin)
        edges, angles, geometry = self._edges(table)
        for k, layer in enumerate(self.layers):
            nodes, edges, angles = layer(nodes, edges, angles, geometry, last=k + 1 == len(self.layers))
        if self.concat_output_tebd:
            nodes = xp.concat([nodes, begin], axis=-1)
        rotation = xp.matrix_transpose(geometry.directed @ edges)
        return arrays.cast(nodes, "float64"), arrays.cast(rotation, "float64")

    def _types(self, table: Neighborhood) -> Array:
        """What the nodes begin with: (n, n_dim)."""
        xp = namespace(table.types)
        types = xp.where(table.types < 0, xp.full_like(table.types, self.ntypes), table.types)
        nodes = arrays.take(self.type_embedding(), types)
        if self.charge_spin is None:
            return nodes
        if table.fparam is not None:
            return nodes + arrays.take(self.charge_spin(table.fparam[:, -2:]), table.frame)
        if self.default_chg_spin is None:
            raise DataError("The model needs the total charge and multiplicity of each frame (charge_spin).")
        return nodes + self.charge_spin(arrays.constant([list(self.default_chg_spin)], like=table.vectors))

    def _edges(self, table: Neighborhood) -> tuple[Array, Array | None, Geometry]:
        """What edges and angles begin with, (n, K, e_dim) and (n, A, A, a_dim), and the geometry."""
        xp = namespace(table.vectors, self.davg)
        s = self.repflow
        vectors = arrays.cast(table.vectors, self.precision)
        occupied = seen(table, self.ntypes, self.exclude_types)
        r = arrays.safe_norm(vectors, occupied)
        occupied = xp.logical_and(occupied, r <= s.e_rcut)  # others may share the table
        switch = xp.where(occupied, self._switch(r, s.e_rcut_smth, s.e_rcut), xp.zeros_like(r))
        inverse = 1.0 / (r + self.env_protection)
        matrix = xp.concat([switch[..., None], vectors * (switch * inverse)[..., None]], axis=-1) * inverse[..., None]
        matrix = self._normalized(matrix, table)
        begin = xp.where(occupied, r, xp.zeros_like(r))[..., None] if s.edge_init_use_dist else matrix[..., :1]
        edges = self.edge_embedding(begin)
        edges = edges if s.edge_init_use_dist else activation(self.activation_function)(edges)
        weight = (switch / s.e_norm)[:, None, :]
        directed = xp.matrix_transpose(matrix[..., 1:] * (switch / math.sqrt(s.e_norm))[..., None])
        angles = angular = inner = None
        if s.update_angle:
            angles, angular, inner = self._angles(vectors, r, occupied, table)
        g = Geometry(table.index, weight, directed, angular, inner, _shells(table), table.exchange)
        return edges, angles, g

    def _angles(self, vectors: Array, r: Array, occupied: Array, table: Neighborhood) -> tuple[Array, Array, Array]:
        """What the angles of the inner shell begin with, their switch, and which slots have some."""
        xp = namespace(vectors, r)
        s = self.repflow
        vectors, r, inner = (arrays.split(x, _shells(table), axis=1)[0] for x in (vectors, r, occupied))
        inner = xp.logical_and(inner, r < s.a_rcut)
        if len(table.slot_counts) == 1:
            place = arrays.positions(table.slot_counts[0], like=table.index)
            inner = xp.logical_and(inner, (place < int(s.a_sel))[None, :])
        switch = xp.where(inner, self._switch(r, s.a_rcut_smth, s.a_rcut), xp.zeros_like(r))
        unit = vectors / (r + 1e-6)[..., None]
        unit = xp.where(inner[..., None], unit, xp.zeros_like(unit))
        cosine = (unit @ xp.matrix_transpose(unit)) * ((1.0 - 1e-6) / math.sqrt(math.pi))
        return self.angle_embedding(cosine[..., None]), switch / s.a_norm**0.25, inner

    def _switch(self, r: Array, rcut_smth: float, rcut: float) -> Array:
        if not self.repflow.use_exp_switch:
            return smooth_switch(r, rcut_smth, rcut)
        xp = namespace(r)
        x = (20.0 / rcut_smth) * (xp.minimum(r, xp.full_like(r, rcut)) - rcut_smth)
        return xp.exp(-xp.exp(xp.minimum(x, xp.full_like(x, 80.0))))

    def _normalized(self, matrix: Array, table: Neighborhood) -> Array:
        """(matrix − davg)/dstd by type of the centre, and by slot where slots differ. Empty slots have some number."""
        xp = namespace(matrix, self.davg)
        types = xp.maximum(table.types, xp.zeros_like(table.types))
        if not self.by_slot:
            scale = arrays.take(1.0 / self.dstd[:, 0, :], types)
            return (matrix - arrays.take(self.davg[:, 0, :], types)[:, None, :]) * scale[:, None, :]
        count = self.sel[0]
        place = xp.minimum(self._places(table), xp.full_like(table.index, count - 1))
        slot = types[:, None] * count + place
        davg, dstd = (xp.reshape(x, (-1, 4)) for x in (self.davg, self.dstd))
        return (matrix - arrays.take(davg, slot)) / arrays.take(dstd, slot)

    def _places(self, table: Neighborhood) -> Array:
        """The place of every slot in the order of distances, which does not know of shells: (n, K)."""
        xp = namespace(table.index)
        counts: list[Array] = []
        blocks: list[Array] = []
        for part in arrays.split(table.index, table.slot_counts, axis=1):
            place = arrays.positions(arrays.shape(part)[1], like=part)[None, :] + xp.zeros_like(part)
            blocks.append(sum((count[:, None] for count in counts), place))
            counts.append(xp.sum(xp.astype(part >= 0, part.dtype), axis=1))
        return arrays.concat(blocks, axis=1)

    def change_type_map(self, type_map: Sequence[str], random: np.random.Generator) -> DPA3:
        """The descriptor for other types: known ones keep what they have, new ones get random vectors.

        Raises ConfigError where that is impossible.
        """
        changed: DPA3 = with_types(self, type_map, random, self.repflow.fix_stat_std or 1.0)
        return changed

    @classmethod
    def init(cls, settings: DPA3Settings, type_map: Sequence[str]) -> DPA3:
        """Random networks and trivial statistics. ``e_sel`` and ``a_sel`` must be numbers by now."""
        s = settings.repflow
        if isinstance(s.e_sel, str) or isinstance(s.a_sel, str):
            raise ConfigError(
                f"e_sel is {s.e_sel!r} and a_sel {s.a_sel!r}; count the neighbours of the training data first."
            )
        if s.skip_stat:
            s = s.model_copy(update={"skip_stat": False, "fix_stat_std": 0.3})
        check_types("model/descriptor/exclude_types", settings.exclude_types, type_map)
        precision, trainable = canonical(settings.precision), settings.trainable
        block = child_seed(settings.seed, 1)
        layers = tuple(
            RepflowLayer.init(
                s, activation_function=settings.activation_function, precision=precision, trainable=trainable,
                seed=child_seed(child_seed(block, 1), k),
            )
            for k in range(s.nlayers)
        )  # fmt: skip
        shape = (len(type_map), s.e_sel, 4)
        default = settings.default_chg_spin
        return cls(
            type_embedding=TypeEmbedding.init(
                type_map, [s.n_dim], use_econf_tebd=settings.use_econf_tebd, use_tebd_bias=settings.use_tebd_bias,
                precision=precision, trainable=trainable, seed=child_seed(settings.seed, 2),
            ),
            edge_embedding=plain_layer(1, s.e_dim, precision, trainable, child_seed(block, 0)),
            angle_embedding=plain_layer(1, s.a_dim, precision, trainable, child_seed(block, 1), bias=False),
            layers=layers,
            charge_spin=_charge_spin(settings, precision) if settings.add_chg_spin_ebd else None,
            davg=np.zeros(shape, precision),
            dstd=np.full(shape, s.fix_stat_std or 1.0, precision),
            repflow=s,
            concat_output_tebd=settings.concat_output_tebd,
            default_chg_spin=None if default is None else tuple(default),
            activation_function=settings.activation_function,
            exclude_types=tuple(settings.exclude_types),
            env_protection=settings.env_protection,
            use_loc_mapping=settings.use_loc_mapping,
            precision=precision,
            trainable=trainable,
            type_map=tuple(type_map),
        )  # fmt: skip

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        default = self.default_chg_spin
        data = {
            "@class": "Descriptor",
            "type": "dpa3",
            "@version": 2,
            "ntypes": self.ntypes,
            "repflow_args": self.repflow.model_dump(exclude={"skip_stat"}),
            "concat_output_tebd": self.concat_output_tebd,
            "activation_function": self.activation_function,
            "precision": self.precision,
            "exclude_types": [list(pair) for pair in self.exclude_types],
            "env_protection": self.env_protection,
            "trainable": self.trainable,
            "use_econf_tebd": self.type_embedding.use_econf_tebd,
            "use_tebd_bias": self.type_embedding.embedding.bias,
            "use_loc_mapping": self.use_loc_mapping,
            "add_chg_spin_ebd": self.charge_spin is not None,
            "default_chg_spin": None if default is None else list(default),
            "type_map": None if self.type_map is None else list(self.type_map),
            "type_embedding": self.type_embedding.serialize(),
            "repflow_variable": {
                "edge_embd": self.edge_embedding.serialize(),
                "angle_embd": self.angle_embedding.serialize(),
                "repflow_layers": [layer.serialize(self.ntypes, self.precision) for layer in self.layers],
                "env_mat": environment_document(self.rcut, self.rcut_smth, self.env_protection),
                "@variables": {"davg": self.davg, "dstd": self.dstd},
            },
        }
        if self.charge_spin is not None:
            data["chg_embedding"] = self.charge_spin.charge.serialize()
            data["spin_embedding"] = self.charge_spin.spin.serialize()
            data["mix_cs_mlp"] = self.charge_spin.mix.serialize()
        return data

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DPA3:
        """The descriptor of a document."""
        data = check_version(data, "Descriptor", (1, 2))
        activation_function = data.get("activation_function", "silu")
        settings = stored_section(RepflowSettings, data, "repflow_args")
        variable, charge_spin = data["repflow_variable"], None
        if data.get("add_chg_spin_ebd"):
            charge, spin = (TypeEmbedding.deserialize(data[key]) for key in ("chg_embedding", "spin_embedding"))
            charge_spin = ChargeSpin(charge, spin, Layer.deserialize(data["mix_cs_mlp"]), activation_function)
        if len(variable["repflow_layers"]) != settings.nlayers:
            raise FormatError(
                f"The descriptor dpa3 of the model has {len(variable['repflow_layers'])} repflow_layers where its "
                f"settings say nlayers = {settings.nlayers}; the file is damaged."
            )
        davg, dstd = variable["@variables"]["davg"], variable["@variables"]["dstd"]
        default = data.get("default_chg_spin")
        return cls(
            type_embedding=TypeEmbedding.deserialize(data["type_embedding"]),
            edge_embedding=Layer.deserialize(variable["edge_embd"]),
            angle_embedding=Layer.deserialize(variable["angle_embd"]),
            layers=tuple(
                RepflowLayer.deserialize(layer, settings, activation_function) for layer in variable["repflow_layers"]
            ),
            charge_spin=charge_spin,
            davg=davg,
            dstd=dstd,
            repflow=settings,
            concat_output_tebd=data.get("concat_output_tebd", False),
            default_chg_spin=None if default is None else tuple(default),
            activation_function=activation_function,
            exclude_types=tuple((a, b) for a, b in data.get("exclude_types", [])),
            env_protection=data.get("env_protection", 0.0),
            use_loc_mapping=data.get("use_loc_mapping", True),
            precision=canonical(data.get("precision", "float64")),
            trainable=data.get("trainable", True),
            type_map=None if data.get("type_map") is None else tuple(data["type_map"]),
            by_slot=differ_between_slots(davg, dstd),
        )


def _shells(table: Neighborhood) -> tuple[Any, ...]:
    """Slots of the inner shell and of the rest; all in the inner one, where the table has no shells."""
    return table.slot_counts if len(table.slot_counts) == 2 else (*table.slot_counts, 0)


def _charge_spin(settings: DPA3Settings, precision: str) -> ChargeSpin:
    """A random embedding of charges and multiplicities."""
    width, trainable = settings.repflow.n_dim, settings.trainable

    def table(count: int, child: int) -> TypeEmbedding:
        net = EmbeddingNet.init(
            count, [width], activation_function="Linear", precision=precision,
            seed=child_seed(settings.seed, child), bias=False,
        )  # fmt: skip
        return TypeEmbedding(net, count, trainable=trainable, precision=precision)

    mix = plain_layer(2 * width, width, precision, trainable, child_seed(settings.seed, 5))
    return ChargeSpin(table(CHARGES, 3), table(SPINS, 4), mix, settings.activation_function)
