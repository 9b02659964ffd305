"""Fitting the bias of a model to labels, and changing that of a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dp_core.backend import Evaluator
from dp_core.batching import build_batch, no_rounding
from dp_core.data.frame import Frame, Label
from dp_core.errors import ConfigError, DataError
from dp_core.fragments import in_region
from dp_core.inputs import atomic_label, input_arrays, input_labels, takes_fragments, total_label
from dp_core.module import replace
from dp_core.neighbors import frame_neighbors
from dp_core.outputs import OutputDef
from dp_core.statistics.least_squares import BiasFit, BiasSums
from dp_core.statistics.moments import Floats
from dp_core.statistics.sample import Progress, silent
from dp_core.virtual_atoms import virtual_atoms

#: Atoms that are evaluated together.
_TOGETHER = 1024


@dataclass(frozen=True)
class BiasChange:
    """What a change of bias did: old and new (ntypes, size), and the error of the totals before and after.

    That of extensive outputs is per atom. The errors are NaN where only atomic labels were used; ``before`` also where
    predictions play no part.
    """

    type_map: tuple[str, ...]
    old: Floats
    new: Floats
    before: float
    after: float
    output: OutputDef


def bias_labels(model: Any) -> list[Label]:
    """The labels that the bias is fitted to: the output of the model for frames, and for atoms."""
    return [total_label(model), atomic_label(model)]


def new_sums(model: Any) -> BiasSums:
    """Empty sums for the bias of a model."""
    _, ntypes, size = model.out_bias.shape
    output: OutputDef = model.output
    return BiasSums(ntypes, size, model.atom_exclude_types, output.intensive, shared=not output.bias_by_type)


def add_labels(sums: BiasSums, model: Any, frame: Frame, predicted: Floats | None = None) -> None:
    """Add the labels of a frame, less the predictions for its atoms (N, size) if there are any."""
    total, atomic = (frame.labels[label.key] if label.key in frame.found else None for label in bias_labels(model))
    if predicted is not None:
        whole = predicted.sum(axis=0)
        if sums.intensive:
            whole = whole / max(1, np.count_nonzero((frame.types >= 0) & ~np.isin(frame.types, sums.exclude)))
        total = None if total is None else total - whole
        atomic = None if atomic is None else atomic - predicted
    types = frame.types
    if takes_fragments(model):  # the bias is that of the QM region
        types = np.where(in_region(frame.labels["aparam"]), types, -1)
    sums.add(types, total, atomic)


def preset(model: Any) -> dict[int, Floats]:
    """The types whose bias the user fixed."""
    values = (model.preset_out_bias or {}).get(model.output.name, [])
    size = model.out_bias.shape[-1]
    return {t: _of_size(v, size, model.type_map[t]) for t, v in enumerate(values) if v is not None}


def _of_size(value: Any, size: int, name: str) -> Floats:
    array = np.atleast_1d(np.asarray(value, dtype=np.float64))
    if array.shape != (size,):
        raise ConfigError(f"preset_out_bias has {array.size} numbers for {name}, expected {size}.")
    return array


def with_bias(model: Any, bias: Floats, std: Floats) -> Any:
    """The model with another bias and deviation, (ntypes, size)."""
    return replace(model, out_bias=bias[None], out_std=std[None])


def change_bias(
    model: Any,
    frames: Iterable[Frame],
    evaluator: Evaluator,
    mode: Literal["change", "set"] = "change",
    *,
    total: int = 0,
    progress: Progress = silent,
    round_rows: Callable[[int], int] = no_rounding,
    round_slots: Callable[[int], int] = no_rounding,
) -> tuple[Any, BiasChange]:
    """The model with its bias fitted anew, and what that changed.

    frames: read with ``bias_labels`` and ``input_labels``, ``total`` of them. mode: "change" adds the constants that
    explain the errors of ``evaluator``, "set" takes those that explain the labels. Types with a preset bias keep
    theirs ("change") or get it ("set"). Raises DataError without any label.
    """
    virtual = virtual_atoms(model)
    if virtual is not None:
        labels, count = [*bias_labels(model), *input_labels(model)], len(model.type_map)
        inner, change = change_bias(
            model.backbone, (virtual.frame(frame, labels) for frame in frames), evaluator, mode,
            total=total, progress=progress, round_rows=round_rows, round_slots=round_slots,
        )  # fmt: skip
        of_atoms = replace(change, type_map=model.type_map, old=change.old[:count], new=change.new[:count])
        return replace(model, backbone=inner), of_atoms
    fixed, sums = preset(model), new_sums(model)
    if mode == "change":
        fixed = {t: np.zeros(model.out_bias.shape[-1]) for t in fixed}
        pairs: Iterable[tuple[Frame, Floats | None]] = predictions(model, frames, evaluator, round_rows, round_slots)
    else:
        pairs = ((frame, None) for frame in frames)
    for done, (frame, predicted) in enumerate(pairs, start=1):
        add_labels(sums, model, frame, predicted)
        progress(done, total)
    fit = sums.fit(rcond=model.rcond, fixed=fixed)
    if fit is None:
        raise DataError(f"No frame has the label {model.output.name}, so there is nothing to fit the bias to.")
    old = np.asarray(model.out_bias[0])
    new = old + fit.bias if mode == "change" else fit.bias
    before = sums.rmse() if mode == "change" else np.nan
    return with_bias(model, new, fit.std), BiasChange(model.type_map, old, new, before, fit.rmse, model.output)


def predictions(
    model: Any,
    frames: Iterable[Frame],
    evaluator: Evaluator,
    round_rows: Callable[[int], int],
    round_slots: Callable[[int], int],
) -> Iterator[tuple[Frame, Floats]]:
    """Each frame with the output of the model for its atoms, (N, size)."""
    spec = model.neighbor_spec
    for group in _groups(frames):
        neighbors = [frame_neighbors(f.coord, f.box, f.types, spec) for f in group]
        batch = build_batch(neighbors, spec, **input_arrays(group), round_rows=round_rows, round_slots=round_slots)
        values = batch.to_atoms(evaluator(batch.table)[model.output.name])
        ends = np.cumsum([len(f.types) for f in group])[:-1]
        yield from zip(group, np.split(values, ends))


def _groups(frames: Iterable[Frame]) -> Iterator[list[Frame]]:
    """Consecutive frames, as many as have about ``_TOGETHER`` atoms."""
    group: list[Frame] = []
    for frame in frames:
        if group and sum(len(f.types) for f in group) + len(frame.types) > _TOGETHER:
            yield group
            group = []
        group.append(frame)
    if group:
        yield group


def assign_bias(model: Any, values: Sequence[float]) -> tuple[Any, BiasChange]:
    """The model with one given bias for each type. Raises ConfigError if the model or their number does not fit."""
    _, ntypes, size = model.out_bias.shape
    if size != 1 or model.output.name != "energy":
        raise ConfigError(f"A bias can be given for energy models only; this one predicts {model.output.name}.")
    if len(values) != ntypes:
        raise ConfigError(
            f"{len(values)} bias values are given, but the model has {ntypes} types ({', '.join(model.type_map)}). "
            "Give one for each, in this order."
        )
    old, new = np.asarray(model.out_bias[0]), np.asarray(values, dtype=np.float64)[:, None]
    if virtual_atoms(model) is None:
        changed = replace(model, out_bias=new[None])
    else:
        whole = np.concatenate([new, np.zeros_like(new)])[None]
        changed = replace(model, backbone=replace(model.backbone, out_bias=whole))
    return changed, BiasChange(model.type_map, old, new, np.nan, np.nan, model.output)


def fitted(sums: BiasSums, model: Any) -> BiasFit | None:
    """The fit for a new model, None without labels."""
    return sums.fit(rcond=model.rcond, fixed=preset(model))
