"""What all fittings share: their input, their networks by type, and the atoms they leave out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.errors import ConfigError, DataError
from dp_core.format.versions import check_version
from dp_core.module import Array, buffer, module, replace
from dp_core.neighbors import Neighborhood
from dp_core.nn import FittingNet, NetworkCollection, canonical
from dp_core.nn.networks import child_seed
from dp_core.schema.kinds import Activation, Precision, SeedSetting
from dp_core.schema.section import Section, option
from dp_core.type_map import renumbered, rows_of_types


class FittingSettings(Section):
    """Settings that every fitting has."""

    neuron: list[int] = option([120, 120, 120], "widths of the hidden layers", aliases=("n_neuron",))
    activation_function: Activation = option("tanh", "activation of the hidden layers")
    precision: Precision = option("default", "precision of the networks")
    resnet_dt: bool = option(True, "learn a step for every residual connection")
    numb_fparam: int = option(0, "number of frame parameters", ge=0)
    numb_aparam: int = option(0, "number of atomic parameters", ge=0)
    default_fparam: list[float] | None = option(None, "frame parameters of frames that have none")
    dim_case_embd: int = option(0, "width of the one-hot vector that tells the branches of a multi-task model", ge=0)
    trainable: bool | list[bool] = option(True, "whether training changes the networks, for all or for each layer")
    rcond: float | None = option(
        None, "cutoff ratio of the least squares that fit the bias; not inside linear_ener", ge=0
    )
    seed: SeedSetting = option(None, "seed of the initial weights")

    @pydantic.model_validator(mode="after")
    def _lengths(self) -> FittingSettings:
        layers = len(self.neuron) + 1
        if isinstance(self.trainable, list) and len(self.trainable) != layers:
            raise ValueError(f"trainable has {len(self.trainable)} entries; give one for each of the {layers} layers")
        if self.default_fparam is not None and len(self.default_fparam) != self.numb_fparam:
            raise ValueError(
                f"default_fparam has {len(self.default_fparam)} numbers, but numb_fparam is {self.numb_fparam}"
            )
        if self.neuron and min(self.neuron) < 1:
            raise ValueError(f"neuron is {self.neuron}; all widths must be positive")
        return self


@module
class Fitting:
    """Networks from the descriptor (n, dim_descrpt) and parameters to (n, width) numbers per atom."""

    nets: NetworkCollection
    bias_atom_e: Array = buffer()  # (ntypes, width), added to the networks' output
    fparam_avg: Array | None = buffer(default=None)  # (numb_fparam,)
    fparam_inv_std: Array | None = buffer(default=None)
    aparam_avg: Array | None = buffer(default=None)  # (numb_aparam,)
    aparam_inv_std: Array | None = buffer(default=None)
    case_embd: Array | None = buffer(default=None)  # (dim_case_embd,)
    ntypes: int = 0
    dim_descrpt: int = 0
    numb_fparam: int = 0
    numb_aparam: int = 0
    default_fparam: tuple[float, ...] | None = None
    use_aparam_as_mask: bool = False
    vacuum: tuple[bool, ...] = ()  # by type: subtract the network's value for an atom without neighbours; () for never
    atom_ener: tuple[float | None, ...] = ()
    exclude_types: tuple[int, ...] = ()
    mixed_types: bool = False
    rcond: float | None = None
    precision: str = "float64"
    type_map: tuple[str, ...] | None = None
    foreign: tuple[tuple[str, Any], ...] = ()  # keys of the document that mean nothing here, kept for writing

    def features(self, descriptor: Array, table: Neighborhood) -> Array:
        """The input of the networks: descriptor, normalised parameters, case vector. (n, in_dim)."""
        xp = namespace(descriptor, self.bias_atom_e)
        parts = [arrays.cast(descriptor, self.precision), *self._parameters(descriptor, table)]
        return xp.concat(parts, axis=-1) if len(parts) > 1 else parts[0]

    def _parameters(self, descriptor: Array, table: Neighborhood) -> list[Array]:
        xp = namespace(descriptor, self.bias_atom_e)
        n = arrays.shape(table.types)[0]
        parts = []
        if self.numb_fparam:
            fparam = arrays.take(self._fparam(table), table.frame)
            parts.append((arrays.cast(fparam, self.precision) - self.fparam_avg) * self.fparam_inv_std)
        if self.numb_aparam and not self.use_aparam_as_mask:
            if table.aparam is None:
                raise DataError(
                    f"The model needs {self.numb_aparam} atomic parameters (aparam) per atom; none were given."
                )
            parts.append((arrays.cast(table.aparam, self.precision) - self.aparam_avg) * self.aparam_inv_std)
        if self.case_embd is not None:
            parts.append(xp.broadcast_to(self.case_embd[None, :], (n, self.case_embd.shape[0])))
        return parts

    def _fparam(self, table: Neighborhood) -> Array:
        if table.fparam is not None:
            return table.fparam[:, : self.numb_fparam]  # charge and spin may follow
        if self.default_fparam is None:
            raise DataError(
                f"The model needs {self.numb_fparam} frame parameters (fparam) and has no default; none were given."
            )
        one = arrays.constant([list(self.default_fparam)], like=table.vectors)
        return arrays.take(one, table.frame * 0)

    def _by_type(self, x: Array, table: Neighborhood, evaluate: Any) -> Array:
        """``evaluate(net, rows)`` with the network of each block of rows."""
        if self.mixed_types:
            return evaluate(self.nets[()], x)
        networks = [partial(evaluate, self.nets[(t,)]) for t in range(self.ntypes)]
        return arrays.by_block(networks, x, table.row_counts)

    def evaluate(self, descriptor: Array, table: Neighborhood) -> Array:
        """The networks with vacuum subtraction, bias and exclusion: (n, dim_descrpt) -> (n, width), float64."""
        x = self.features(descriptor, table)
        y = self._by_type(x, table, lambda net, part: net(part))
        if any(self.vacuum):
            y = y - self._vacuum_values(x, y, table)
        xp = namespace(y, self.bias_atom_e)
        types = xp.maximum(table.types, xp.zeros_like(table.types))
        y = arrays.cast(y, "float64") + arrays.take(arrays.cast(self.bias_atom_e, "float64"), types)
        if self.exclude_types:
            keep = [0.0 if t in self.exclude_types else 1.0 for t in range(self.ntypes)]
            y = y * arrays.take(arrays.constant(keep, like=y), types)[:, None]
        return y

    def with_statistics(self, values: Array, bias: Array, std: Array, types: Array) -> Array:
        """Outputs (n, size) of atoms of ``types`` (n,) with the bias and deviation, (ntypes, size), of each type.

        This default adds the bias.
        """
        return values + arrays.take(bias, types)

    def last_hidden(self, descriptor: Array, table: Neighborhood) -> Array:
        """The values before the output layer: (n, dim_descrpt) -> (n, neuron[-1]), float64."""
        hidden = self._by_type(self.features(descriptor, table), table, lambda net, part: net.last_hidden(part))
        return arrays.cast(hidden, "float64")

    def change_type_map(self, type_map: Sequence[str], old: Sequence[str]) -> Self:
        """The fitting for other types than the ``old`` ones, of which the model keeps the names; new ones: no bias.

        Only for fittings with one network for all types.
        """

        atom_ener = vacuum_energies(self.atom_ener, old, type_map)
        return replace(
            self,
            bias_atom_e=rows_of_types(self.bias_atom_e, old, type_map, 0.0),
            ntypes=len(type_map),
            vacuum=tuple(e is not None for e in atom_ener),
            atom_ener=atom_ener,
            exclude_types=renumbered(self.exclude_types, old, type_map),
            type_map=tuple(type_map),
        )

    def _vacuum_values(self, x: Array, y: Array, table: Neighborhood) -> Array:
        """The networks on a zero descriptor with the same parameters, zero for types that keep their value."""
        xp = namespace(x)
        zero = xp.concat([xp.zeros_like(x[:, : self.dim_descrpt]), x[:, self.dim_descrpt :]], axis=-1)
        value = self._by_type(zero, table, lambda net, part: net(part))
        if self.mixed_types:
            return value
        subtract = [1.0 if t >= len(self.vacuum) or self.vacuum[t] else 0.0 for t in range(self.ntypes)]
        types = xp.maximum(table.types, xp.zeros_like(table.types))
        return value * arrays.take(arrays.constant(subtract, like=y), types)[:, None]

    def common_document(self, kind: str, var_name: str, version: int) -> dict[str, Any]:
        """The part of the document that every fitting has."""
        net = next(n for n in self.nets.networks if n is not None)
        data = {
            "@class": "Fitting",
            "type": kind,
            "@version": version,
            "var_name": var_name,
            "ntypes": self.ntypes,
            "dim_descrpt": self.dim_descrpt,
            "neuron": list(net.neuron),
            "resnet_dt": net.resnet_dt,
            "numb_fparam": self.numb_fparam,
            "numb_aparam": self.numb_aparam,
            "dim_case_embd": 0 if self.case_embd is None else int(self.case_embd.shape[0]),
            "default_fparam": None if self.default_fparam is None else list(self.default_fparam),
            "rcond": self.rcond,
            "activation_function": net.activation_function,
            "precision": self.precision,
            "mixed_types": self.mixed_types,
            "exclude_types": list(self.exclude_types),
            "nets": self.nets.serialize(),
            "@variables": {
                "bias_atom_e": self.bias_atom_e,
                "case_embd": self.case_embd,
                "fparam_avg": self.fparam_avg,
                "fparam_inv_std": self.fparam_inv_std,
                "aparam_avg": self.aparam_avg,
                "aparam_inv_std": self.aparam_inv_std,
            },
            "type_map": None if self.type_map is None else list(self.type_map),
            "tot_ener_zero": False,
            "trainable": [bool(layer.trainable) for layer in net.layers],
            "layer_name": None,
            "use_aparam_as_mask": self.use_aparam_as_mask,
            "spin": None,
        }
        return data | dict(self.foreign)

    @classmethod
    def common_fields(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The fields that every fitting has, from its document."""
        v = data["@variables"]
        atom_ener = tuple(data.get("atom_ener") or ())
        default_fparam = data.get("default_fparam")
        flat = {k: None if v.get(k) is None else np.reshape(v[k], (-1,)) for k in v if k != "bias_atom_e"}
        return {
            "nets": NetworkCollection.deserialize(data["nets"]),
            "bias_atom_e": v["bias_atom_e"],
            "fparam_avg": flat.get("fparam_avg"),
            "fparam_inv_std": flat.get("fparam_inv_std"),
            "aparam_avg": flat.get("aparam_avg"),
            "aparam_inv_std": flat.get("aparam_inv_std"),
            "case_embd": flat.get("case_embd"),
            "ntypes": data["ntypes"],
            "dim_descrpt": data["dim_descrpt"],
            "numb_fparam": data.get("numb_fparam", 0),
            "numb_aparam": data.get("numb_aparam", 0),
            "default_fparam": None if default_fparam is None else tuple(default_fparam),
            "use_aparam_as_mask": bool(data.get("use_aparam_as_mask", False)),
            "vacuum": tuple(e is not None for e in atom_ener),
            "atom_ener": atom_ener,
            "exclude_types": tuple(data.get("exclude_types", [])),
            "mixed_types": data["mixed_types"],
            "rcond": data.get("rcond"),
            "precision": canonical(data.get("precision", "default")),
            "type_map": None if data.get("type_map") is None else tuple(data["type_map"]),
            "foreign": tuple((k, data[k]) for k in ("tot_ener_zero", "layer_name", "spin") if data.get(k)),
        }


def vacuum_energies(
    atom_ener: Sequence[float | None], old: Sequence[str], new: Sequence[str]
) -> tuple[float | None, ...]:
    """``atom_ener`` of a fitting with one network, for other types; new ones have none.

    One given energy has the value of an atom without neighbours subtracted for atoms of all types. So that this goes on
    where the types with an energy are dropped, the first type gets one then; the number itself is not used.
    """
    known = dict(zip(old, atom_ener, strict=False))
    found = [known.get(t) for t in new] if atom_ener else []
    if any(e is not None for e in atom_ener) and all(e is None for e in found):
        found[0] = 0.0
    return tuple(found)


def init_fitting(
    settings: FittingSettings, *, width: int, dim_descrpt: int, mixed_types: bool, type_map: Sequence[str]
) -> dict[str, Any]:
    """Fields of a new fitting with random networks; one network per type unless ``mixed_types``."""
    ntypes = len(type_map)
    precision = canonical(settings.precision)
    used_aparam = 0 if getattr(settings, "use_aparam_as_mask", False) else settings.numb_aparam
    in_dim = dim_descrpt + settings.numb_fparam + used_aparam + settings.dim_case_embd
    layers = len(settings.neuron) + 1
    flags = settings.trainable if isinstance(settings.trainable, list) else [settings.trainable] * layers
    nets = tuple(
        FittingNet.init(
            in_dim, width, settings.neuron, activation_function=settings.activation_function,
            resnet_dt=settings.resnet_dt, precision=precision, seed=child_seed(settings.seed, t), trainable=flags,
        )
        for t in range(1 if mixed_types else ntypes)
    )  # fmt: skip

    def vector(count: int, value: float) -> np.ndarray | None:
        return np.full(count, value, precision) if count else None

    return {
        "nets": NetworkCollection(nets, 0 if mixed_types else 1, ntypes, "fitting_network"),
        "bias_atom_e": np.zeros((ntypes, width)),
        "fparam_avg": vector(settings.numb_fparam, 0.0),
        "fparam_inv_std": vector(settings.numb_fparam, 1.0),
        "aparam_avg": vector(settings.numb_aparam, 0.0),
        "aparam_inv_std": vector(settings.numb_aparam, 1.0),
        "case_embd": vector(settings.dim_case_embd, 0.0),
        "ntypes": ntypes,
        "dim_descrpt": dim_descrpt,
        "numb_fparam": settings.numb_fparam,
        "numb_aparam": settings.numb_aparam,
        "default_fparam": None if settings.default_fparam is None else tuple(settings.default_fparam),
        "mixed_types": mixed_types,
        "rcond": settings.rcond,
        "precision": precision,
        "type_map": tuple(type_map),
    }


def check_fitting(data: dict[str, Any], kind: str, newest: int) -> dict[str, Any]:
    """The document of a fitting of that type, with its version checked."""
    data = check_version(data, "Fitting", (1, newest))
    if data.get("type", kind) != kind:
        raise ConfigError(f"A fitting of type {data['type']!r} was given where {kind!r} was expected.")
    return data
