"""All statistics of a new model, from one pass over a sample of its training data or from a statistics file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from dp_core.data import Frame, Label, System
from dp_core.data.elements import COVALENT_RADII
from dp_core.descriptors.protocol import map_parts, neighbor_spec, parts_of
from dp_core.errors import ConfigError, DataError
from dp_core.fragments import in_region
from dp_core.inputs import input_labels
from dp_core.long_range import long_range
from dp_core.models.protocol import Member, map_members, members
from dp_core.module import replace
from dp_core.neighbors import COINCIDENT, named_neighbors
from dp_core.statistics import bias, parameters
from dp_core.statistics.environment import (
    environment_key,
    environment_sums,
    loaded_sums,
    stored_sums,
    with_environment,
)
from dp_core.statistics.least_squares import BiasFit
from dp_core.statistics.moments import Floats
from dp_core.statistics.sample import Progress, Sample, silent
from dp_core.statistics.stat_file import StatFile
from dp_core.virtual_atoms import virtual_atoms


@dataclass
class Statistics:
    """What is known of the data; parts that are not known are absent or None."""

    environment: dict[str, Floats] = field(default_factory=dict)  # by key, see environment_sums
    bias: BiasFit | None = None
    parameters: dict[str, Floats] = field(default_factory=dict)  # fparam, aparam: (numb, 3)
    observed: tuple[str, ...] | None = None
    scale: tuple[float, ...] = ()  # of the virtual atoms, if there are some

    def apply(self, model: Any, protection: float) -> Any:
        """The model with these statistics."""

        def measured(member: Member) -> Any:
            if member.fixed:
                return member.model

            def normalized(part: Any) -> Any:
                return with_environment(part, self.environment[_key(member, part, self.scale)])

            fitting = member.model.fitting
            for name, sums in self.parameters.items():
                if parameters.width(fitting, name):
                    fitting = parameters.with_parameters(fitting, name, sums, protection)
            descriptor = map_parts(member.model.descriptor, normalized)
            return replace(member.model, descriptor=descriptor, fitting=fitting)

        model = map_members(model, measured)
        if self.bias is not None:
            model = bias.with_bias(model, self.bias.bias, self.bias.std)
        return model if self.observed is None else with_observed_types(model, self.observed)


def statistics_labels(model: Any, chosen: Sequence[str] | None = None) -> list[Label]:
    """The labels and inputs that the statistics of a model are taken of.

    Of the labels those chosen, unless none of them is; by default all.
    """
    labels = bias.bias_labels(model)
    some = [label for label in labels if chosen and label.key in chosen]
    return [*(some or labels), *input_labels(model)]


def compute_statistics(
    model: Any,
    sample: Sample,
    *,
    protection: float = 0.01,
    labels: Sequence[str] | None = None,
    stat_file: StatFile | None = None,
    mode: Literal["update", "read"] = "update",
    progress: Progress = silent,
) -> tuple[Any, float | None]:
    """The model with statistics, and the error per atom that the fitted bias leaves (None if it was not fitted).

    sample: frames of the training data, all of them read only if ``stat_file`` lacks something. protection: the
    smallest deviation of parameters. labels: see ``statistics_labels``. mode: "update" adds to the file what it lacks,
    "read" refuses to.

    Raises ConfigError for an incomplete file in mode "read", DataError for missing inputs or an empty sample.
    """
    virtual = virtual_atoms(model)
    if virtual is not None:  # the statistics of a model with spins are those of the model of atoms and virtual atoms
        inner, rmse = compute_statistics(
            replace(model.backbone, script=model.script), replace(sample, virtual=virtual), protection=protection,
            labels=labels, stat_file=stat_file, mode=mode, progress=progress,
        )  # fmt: skip
        return replace(model, backbone=replace(inner, script=None), script=inner.script), rmse
    wanted = statistics_labels(model, labels)
    scale = _scale(sample)
    known = _load(model, stat_file, wanted, scale) if stat_file else Statistics(scale=scale)
    missing = _missing(model, known)
    rmse = None
    if missing:
        if stat_file and mode == "read":
            raise ConfigError(
                f"stat_file {stat_file.path} lacks {', '.join(missing)} for the types {stat_file.group!r}, and "
                'stat_file_mode is "read". Run once with "update".'
            )
        found = _gather(model, sample, missing, wanted, progress)
        if stat_file:
            stat_file.write(_entries(model, found, wanted))
        rmse = found.bias.rmse if found.bias else None
        known = _joined(known, found)
    return known.apply(model, protection), rmse


def _open_members(model: Any) -> list[Member]:
    """The members that follow the data."""
    return [member for member in members(model) if not member.fixed]


def _parameter_names(model: Any) -> dict[str, int]:
    """The kinds of parameters that need statistics, and how many numbers each has."""
    fittings = [member.model.fitting for member in _open_members(model)]
    widths = {name: max((parameters.width(f, name) for f in fittings), default=0) for name in parameters.NAMES}
    return {name: width for name, width in widths.items() if width}


def _scale(sample: Sample) -> tuple[float, ...]:
    """How far virtual atoms are from their atoms, Å/μB by type; empty without spins."""
    return () if sample.virtual is None else tuple(sample.virtual.scale.tolist())


def _key(member: Member, part: Any, scale: Sequence[float]) -> str:
    """Where the statistics of a part of the member's descriptor are kept. scale: see ``environment_key``."""
    place = "qm_" if member.region_only else ""
    renamed = member.types != tuple(range(len(member.model.type_map)))
    return place + environment_key(part, member.exclude, member.types if renamed else (), scale)


@dataclass(frozen=True)
class _Part:
    """A part of a descriptor that has statistics, and the types it knows."""

    descriptor: Any
    member: Member

    def sums(self, frame: Frame, where: str, closest: float) -> Floats:
        """Those of a frame. closest: see ``NeighborSpec``."""
        types = np.array([*self.member.types, -1])[np.maximum(frame.types, -1)]
        if self.member.region_only:
            types = np.where(in_region(frame.labels["aparam"]), types, -1)
        spec = neighbor_spec(self.descriptor, len(self.member.model.type_map), self.member.exclude)
        spec = replace(spec, closest=closest)
        return environment_sums(self.descriptor, named_neighbors(frame.coord, frame.box, types, spec, where))


def _parts(model: Any, scale: Sequence[float]) -> dict[str, _Part]:
    """The parts of descriptors that have statistics, by key; those of one key have the same."""
    return {
        _key(member, part, scale): _Part(part, member)
        for member in _open_members(model)
        for part in parts_of(member.model.descriptor)
    }


def _missing(model: Any, known: Statistics) -> list[str]:
    """The parts that are not known, by the names of a statistics file."""
    missing = [key for key in _parts(model, known.scale) if key not in known.environment]
    missing += [] if known.bias else [f"bias_atom_{model.output.name}"]
    missing += [name for name in _parameter_names(model) if name not in known.parameters]
    return missing + ([] if known.observed is not None else ["observed_type"])


def _joined(known: Statistics, found: Statistics) -> Statistics:
    return Statistics(
        found.environment | known.environment,
        known.bias or found.bias,
        found.parameters | known.parameters,
        found.observed if known.observed is None else known.observed,
        known.scale,
    )


def _gather(
    model: Any, sample: Sample, missing: Sequence[str], labels: Sequence[Label], progress: Progress
) -> Statistics:
    """The missing parts, from the data."""
    if not len(sample):
        raise DataError("There is no frame to take statistics of: every training system is empty.")
    scale = _scale(sample)
    observed = observed_types(sample.systems) if "observed_type" in missing else None
    found = Statistics(observed=observed, scale=scale)
    names = [name for name in _parameter_names(model) if name in missing]
    parts = {key: part for key, part in _parts(model, scale).items() if key in missing}
    closest = 0.0 if sample.virtual is None else COINCIDENT
    biased = bias.new_sums(model) if f"bias_atom_{model.output.name}" in missing else None
    if not (parts or biased or names):
        return found
    for done, frame in enumerate(sample.frames(labels), start=1):
        where = sample.systems[frame.system].where(frame.index)
        for key, part in parts.items():
            sums = part.sums(frame, where, closest)
            found.environment[key] = sums + found.environment.get(key, np.zeros_like(sums))
        if biased:
            bias.add_labels(biased, model, frame)
        for name in names:
            more = parameters.parameter_sums(frame, name)
            found.parameters[name] = more + found.parameters.get(name, np.zeros_like(more))
        progress(done, len(sample))
    found.bias = bias.fitted(biased, model) if biased else None
    return found


# -- the statistics file


def _load(model: Any, file: StatFile, labels: Sequence[Label], scale: tuple[float, ...]) -> Statistics:
    """What the file has. A bias that was fitted to other labels does not count."""
    name = model.output.name
    ntypes, size = len(model.type_map), model.out_bias.shape[-1]
    known = Statistics(scale=scale)
    for key, part in _parts(model, scale).items():
        sums = loaded_sums(part.descriptor, partial(_read_below, file, key))
        known.environment |= {} if sums is None else {key: sums}
    for kind, width in _parameter_names(model).items():
        values = _read(file, kind, (width, 3))
        if values is not None:
            known.parameters[kind] = values
    observed = file.read("observed_type")
    known.observed = None if observed is None else tuple(name.decode() for name in observed.astype("S").tolist())
    if not file.interrupted:
        fit = [_read(file, f"{kind}_atom_{name}", (ntypes, size)) for kind in ("bias", "std")]
        if fit[0] is not None and fit[1] is not None:
            stored = file.read(_settings_key(model))
            if stored is None:
                same = _may_have(model, fit[0], known.observed or ())
            else:
                same = bool(np.all(stored.astype("S") == _bias_settings(model, labels)))
            known.bias = BiasFit(fit[0], fit[1], np.nan) if same else None
    return known


def _settings_key(model: Any) -> str:
    return f"bias_atom_{model.output.name}_settings"


def _bias_settings(model: Any, labels: Sequence[Label]) -> np.ndarray:
    """What the bias depends on beside the data, as one string of bytes."""
    keys = {label.key for label in labels}
    fitted_to = [label.key for label in bias.bias_labels(model) if label.key in keys]
    preset = {t: value.tolist() for t, value in bias.preset(model).items()}
    settings = {
        "exclude": sorted(model.atom_exclude_types),
        "preset": preset,
        "rcond": model.rcond,
        "labels": fitted_to,
    }
    if long := long_range(model):  # which the labels lack
        settings["long_range"] = [[weight, term.fingerprint()] for weight, term in long]
    return np.array([json.dumps(settings).encode()])


def _may_have(model: Any, stored: Floats, observed: Sequence[str]) -> bool:
    """Whether this model may have a bias of which the settings are not stored, as in files of DeePMD-kit.

    Fixed ones must be as given, those of excluded types zero, and those of others that occur not.
    """
    fixed = {t: np.zeros(stored.shape[1]) for t in model.atom_exclude_types} | bias.preset(model)
    free = [t for t, name in enumerate(model.type_map) if name in observed and t not in fixed]
    as_given = all(np.allclose(stored[t], value, rtol=1e-6, atol=1e-9) for t, value in fixed.items())
    return as_given and all(np.abs(stored[t]).max() > 1e-9 for t in free)


def _read(file: StatFile, name: str, shape: tuple[int, ...]) -> Floats | None:
    value = file.read(name)
    if value is None:
        return None
    if value.shape[:1] != shape[:1] or value.size != math.prod(shape) or value.dtype.kind != "f":
        raise DataError(
            f"stat_file {file.path}: {file.group}/{name} is an array of {value.dtype}{list(value.shape)}, expected "
            f"numbers of the shape {list(shape)}. It belongs to another model: delete it, or name another stat_file."
        )
    return value.astype(np.float64).reshape(shape)  # (ntypes, 3, 3) are (ntypes, 9)


def _read_below(file: StatFile, key: str, name: str, shape: tuple[int, ...]) -> Floats | None:
    return _read(file, f"{key}/{name}", shape)


def _entries(model: Any, found: Statistics, labels: Sequence[Label]) -> dict[str, np.ndarray]:
    """The arrays of the file for the parts that are known."""
    entries: dict[str, np.ndarray] = {}
    for key, part in _parts(model, found.scale).items():
        if key in found.environment:
            entries |= {
                f"{key}/{name}": sums for name, sums in stored_sums(part.descriptor, found.environment[key]).items()
            }
    if found.bias:
        name, shape = model.output.name, (-1, *(model.output.shape or (1,)))
        fit = {"bias": found.bias.bias, "std": found.bias.std}
        entries |= {f"{kind}_atom_{name}": values.reshape(shape) for kind, values in fit.items()}
        entries[_settings_key(model)] = _bias_settings(model, labels)
    if found.observed is not None:
        entries["observed_type"] = np.array([name.encode() for name in found.observed])
    return entries | found.parameters


# -- which elements the model has seen


def observed_types(systems: Iterable[System]) -> tuple[str, ...]:
    """Names of the types that occur, elements by atomic number, then other names by alphabet."""
    order = {element: z for z, element in enumerate(COVALENT_RADII)}
    names = {(s.own_names or s.type_map)[t] for s in systems for t in s.used_types()}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


def with_observed_types(model: Any, names: Sequence[str]) -> Any:
    """The model with these names in its ``info``, unless the user gave some."""
    script = model.script or {}
    info = script.get("info") or {}
    return replace(model, script=script | {"info": {"observed_type": list(names)} | info})
