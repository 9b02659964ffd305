"""From settings to a training that can start: data, neighbours, model, statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dp_core.backend import CHECKPOINTS, Backend, Optimizer
from dp_core.data import Label, Sampler, System, open_systems
from dp_core.data.budget import Budget
from dp_core.data.short_range import short_range_systems
from dp_core.errors import ConfigError, DataError
from dp_core.inputs import input_labels
from dp_core.losses import Loss
from dp_core.models.protocol import message_passing, new_model, settings_with_counted_sel
from dp_core.models.spin_section import SpinSection, spin_types
from dp_core.module import replace, tree_map
from dp_core.schema import Input, Section
from dp_core.schema.sections import DataSection, TrainingData
from dp_core.statistics import (
    NeighborStatistics,
    Sample,
    StatFile,
    bias_labels,
    change_bias,
    compute_statistics,
    counted_sel,
    neighbor_statistics,
    sample_frames,
    whole,
)
from dp_core.statistics.sample import MOST_ATOMS
from dp_core.training.batch import loss_function, make_batch, with_prefactors
from dp_core.training.batches import BatchSource
from dp_core.training.checkpoint import CheckpointFiles, averaged_prefix, number_kept
from dp_core.training.frames import FrameStore, Item
from dp_core.training.reporter import Reporter
from dp_core.training.timeline import Timeline
from dp_core.training.validation import FullValidation
from dp_core.virtual_atoms import virtual_atoms

#: Å; the shortest bond, of hydrogen, is 0.74.
_SHORTEST = 0.4


@dataclass(frozen=True)
class Data:
    """The systems of a run, with types numbered by ``type_map``."""

    training: list[System]
    validation: list[System] | None
    type_map: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """What tells one data set from another: numbers of systems, frames and atoms."""
        return {"training": _counts(self.training), "validation": self.validation and _counts(self.validation)}


def _counts(systems: Sequence[System]) -> dict[str, int]:
    return {
        "systems": len(systems),
        "frames": sum(s.nframes for s in systems),
        "atoms": sum(s.nframes * s.natoms for s in systems),
    }


def open_data(settings: Input, directory: Path, type_map: Sequence[str] | None) -> Data:
    """Open all systems. type_map: None takes that of the input, else that of the training data."""
    options = settings.training
    names = type_map or getattr(settings.model, "type_map", None)
    base = None if directory == Path() else directory

    def opened(section: DataSection, known: Sequence[str] | None) -> list[System]:
        return open_systems(section.systems, known, patterns=section.rglob_patterns, base=base)

    training = opened(options.training_data, names)
    found = training[0].type_map
    validation = opened(options.validation_data, found) if options.validation_data else None
    return Data(training, validation, found)


def short_range(data: Data, model: Any, backend: Backend, labels: Sequence[Label], budget: Budget) -> Data:
    """The data without the long-range part of a model in their labels; the data themselves where it has none.

    What it is for ``labels`` is kept as far as the budget allows.
    """
    parts = [x and short_range_systems(x, model, backend, labels, budget) for x in (data.training, data.validation)]
    return Data(parts[0] or [], parts[1], data.type_map)


def sampler_of(systems: list[System], section: DataSection, seed: int) -> Sampler:
    """The sampler that a data section describes."""
    return Sampler(
        systems,
        section.batch_size,
        auto_prob=section.auto_prob,
        sys_probs=section.sys_probs,
        seed=seed,
        min_pair_dist=section.min_pair_dist if isinstance(section, TrainingData) else 0.0,
    )


def init_model(settings: Section, type_map: Sequence[str], folder: Path) -> Any:
    """A model with random parameters and no statistics. folder: that of relative paths in the settings."""
    model = new_model(settings, type_map, folder)
    if tuple(model.type_map) != tuple(type_map):
        raise ConfigError(
            f"The model is of {' '.join(model.type_map)}, the training of {' '.join(type_map)}. Give model/type_map as "
            "the model has it."
        )
    return replace(model, script=settings.to_document())


def count_neighbors(settings: Section, neighbors: Neighbors | None) -> Section:
    """The model's settings with ``sel`` as numbers. neighbors: those of the training data; None if skipped."""

    def count(place: str, sel: Any, rcut: float, *, mixed: bool) -> Any:
        if neighbors:
            return neighbors.sel(f"model/{place}", sel, rcut, mixed)
        if isinstance(sel, str):
            raise ConfigError(
                f"model/{place} is {sel!r}: the neighbours in the data are to be counted, which "
                "--skip-neighbor-stat forbids. Give numbers for sel, or leave the option out."
            )
        return sel

    counted: Section = settings_with_counted_sel(settings, count)
    return counted


class Neighbors:
    """The neighbours in the training data, counted once for each cutoff; with the virtual atoms of spins, if any."""

    def __init__(self, data: Data, reporter: Reporter, spin: SpinSection | None = None):
        self._data, self._reporter = data, reporter
        self._virtual = None if spin is None else spin_types(spin.use_spin, spin.virtual_scale, data.type_map)
        self._found: dict[tuple[float, bool], NeighborStatistics] = {}

    def sel(self, place: str, sel: Any, rcut: float, mixed: bool) -> Any:
        """The ``sel`` of an input file as numbers."""
        counted = counted_sel(sel, self._within(rcut, mixed), place)
        if counted is not sel:
            self._reporter.notice(f"{place} {sel!r} is {counted}")
        return counted

    def shortest(self, rcut: float) -> float:
        """The shortest distance, Å; rcut is where to look if nothing has been counted yet."""
        if not self._found:
            self._within(rcut, False)
        return min(found.min_distance for found in self._found.values())

    def _within(self, rcut: float, mixed: bool) -> NeighborStatistics:
        if (rcut, mixed) not in self._found:
            self._found[rcut, mixed] = self._count(rcut, mixed)
        return self._found[rcut, mixed]

    def _count(self, rcut: float, mixed: bool) -> NeighborStatistics:
        def progress(done: int, total: int) -> None:
            self._reporter.progress("Neighbor statistics", done, total)

        sample = even_sample(self._data.training, MOST_ATOMS)
        found = neighbor_statistics(sample, rcut, len(self._data.type_map), mixed=mixed, progress=progress)
        if self._virtual is not None:
            found = replace(found, most=self._with_virtual_atoms(sample, rcut, mixed))
        total = sum(s.nframes for s in self._data.training)
        part = f" (in {len(sample)} of {total} frames)" if len(sample) < total else ""
        told = "Neighbor statistics: training data with"
        self._reporter.notice(f"{told} minimal neighbor distance: {found.min_distance:f}{part}")
        sizes = " ".join(map(str, found.most))
        self._reporter.notice(f"{told} maximum neighbor size: [{sizes}] (cutoff radius: {found.rcut:f})")
        if found.min_distance < _SHORTEST and not self._found:
            self._reporter.warning(
                f"The closest atoms of the training data are {found.min_distance:.3g} Å apart, closer than any bond. "
                "Are the coordinates in nm? Lengths are in Å. Look at the data with: dp data check"
            )
        return found

    def _with_virtual_atoms(self, sample: Sample, rcut: float, mixed: bool) -> tuple[int, ...]:
        """The most neighbours, virtual atoms included; by type the larger number of atoms or of virtual atoms."""
        sample, ntypes = replace(sample, virtual=self._virtual), len(self._data.type_map)
        most = neighbor_statistics(sample, rcut, 2 * ntypes, mixed=mixed).most
        return most if mixed else tuple(map(max, most[:ntypes], most[ntypes:]))


def even_sample(systems: Sequence[System], most_atoms: int) -> Sample:
    """Frames spread evenly over all systems, with about so many atoms in all; all frames if they have fewer."""
    everything = whole(systems)
    atoms = sum(s.nframes * s.natoms for s in systems)
    if atoms <= most_atoms:
        return everything
    count = max(1, int(len(everything) * most_atoms / atoms))
    chosen = ((np.arange(count) + 0.5) * len(everything) / count).astype(np.int64)
    return Sample(systems, everything.system[chosen], everything.index[chosen])


def check_labels(data: Data, model: Any, loss: Loss, reporter: Reporter) -> None:
    """Look at all data as training will, so that bad files and numbers are met before anything is written.

    Of every file the shape, of a sample the numbers. Raises DataError also if there is no label to train on, or none of
    a kind that only a loss which asks for it reads; warns about other parts of the loss that have none.
    """
    wanted, inputs, virtual = loss.labels(model), input_labels(model), virtual_atoms(model)
    for name, systems in (("training", data.training), ("validation", data.validation or [])):
        for system in systems:
            system.check_labels([*wanted, *inputs])
        sample, found = even_sample(systems, MOST_ATOMS), set[str]()
        for done, frame in enumerate(sample.frames([*wanted, *inputs]), 1):
            found |= frame.found
            if virtual is not None and (told := virtual.unseen(frame.types, frame.labels["spin"], model.type_map)):
                where = f"{systems[frame.system].name}, frame {frame.index}"
                reporter.warning(f"{where}: {told}")
                virtual = None  # once is enough
            reporter.progress("Data", done, len(sample))
        seen = frozenset[str]().union(*(system.available() for system in systems))
        # a default that counts is nothing to train on by itself
        needed = [label for label in wanted if not label.counts_when_absent]
        absent = [label for label in needed if label.key not in found | seen]
        if not systems or not absent:
            continue
        told = f"No frame of the {name} data has {' or '.join(label.key for label in absent)}"
        have = f"They have: {', '.join(sorted(seen)) or 'no labels'}."
        if name == "training" and len(absent) == len(needed):
            raise DataError(f"{told}, so there is nothing to train on. {have} Add labels, or other terms to the loss.")
        asked = [label for label in absent if label.asked_by]
        if name == "training" and asked:
            raise DataError(
                f"No frame of the training data has {' or '.join(label.key for label in asked)}, for which the loss "
                f"section has a weight ({', '.join(label.asked_by for label in asked)}). {have} Add the labels, or "
                "take the weight away."
            )
        reporter.warning(f"{told}; what the loss compares with it counts nothing.")


def measured(
    model: Any, loss: Loss, settings: Input, data: Data, directory: Path, *, write: bool, reporter: Reporter
) -> Any:
    """The model with the statistics of the training data. The bias is fitted to the labels that the loss reads."""
    options = settings.training
    file = StatFile(directory / options.stat_file, data.type_map) if options.stat_file else None
    if not write and options.stat_file_mode == "update":
        file = None

    def progress(done: int, total: int) -> None:
        reporter.progress("Statistics", done, total)

    nbatch: int = settings.model.data_stat_nbatch
    model, rmse = compute_statistics(
        model,
        sample_frames(data.training, options.training_data.batch_size, nbatch),
        protection=settings.model.data_stat_protect,
        labels=[label.key for label in loss.labels(model)],
        stat_file=file,
        mode=options.stat_file_mode,
        progress=progress,
    )
    if rmse is not None and np.isfinite(rmse):
        per_atom = "" if model.output.intensive else " per atom"
        reporter.notice(f"RMSE of {model.output.name}{per_atom} after linear regression is: {rmse} {model.output.unit}")
    return model


def changed_bias(model: Any, settings: Input, data: Data, backend: Backend, reporter: Reporter) -> Any:
    """The model with its bias fitted to what it gets wrong in the training data."""
    sample = sample_frames(data.training, settings.training.training_data.batch_size, settings.model.data_bias_nsample)
    labels = [*bias_labels(model), *input_labels(model)]
    model, change = change_bias(
        model,
        sample.frames(labels),
        backend.evaluator(model),
        total=len(sample),
        round_rows=backend.round_rows,
        round_slots=backend.round_slots,
    )
    reporter.notice(f"Change output bias of {list(change.type_map)} from {change.old.ravel()} to {change.new.ravel()}.")
    unit = change.output.unit if change.output.intensive else f"{change.output.unit} per atom"
    reporter.notice(f"RMSE: {change.before:g} before, {change.after:g} {unit} after.")
    return model


def source_for(
    systems: list[System],
    sampler: Sampler,
    model: Any,
    loss: Loss,
    backend: Backend,
    *,
    budget: Budget,
    timeline: Timeline,
    warn: Callable[[str], None],
    part: tuple[int, int] = (0, 1),
) -> BatchSource:
    """Batches of a data set, with all labels that the loss and the model want."""
    labels = loss.labels(model)
    spec = model.neighbor_spec
    virtual = virtual_atoms(model)
    centers = None if virtual is None or message_passing(model) else len(model.type_map)
    store = FrameStore(systems, [*labels, *input_labels(model)], spec, budget, warn, virtual, centers)

    def make(items: Sequence[Item]) -> Any:
        frames, neighbors = [f for f, _ in items], [n for _, n in items]
        return make_batch(frames, neighbors, spec, labels, backend.round_rows, backend.round_slots)

    return BatchSource(systems, sampler, store, make, timeline, part)


def length_of(settings: Input, sampler: Sampler, processes: int) -> int:
    """The number of steps: given, or from a number of epochs. Processes that train together share each epoch."""
    options = settings.training
    if options.numb_steps is not None:
        return options.numb_steps
    assert options.numb_epoch is not None
    return math.ceil(options.numb_epoch * math.ceil(sampler.batches_per_epoch) / (options.acc_freq * processes))


def optimizer_of(settings: Input) -> Optimizer:
    """The optimizer of the input."""
    o = settings.optimizer
    return Optimizer(
        o.type, o.adam_beta1, o.adam_beta2, o.weight_decay, max_norm=settings.training.gradient_max_norm or 0.0
    )


def files_of(settings: Input, directory: Path, backend: str, num_steps: int) -> dict[str, Any]:
    """The fields of a job that say where things are kept."""
    o, v = settings.training, settings.validating
    suffix = CHECKPOINTS.get(backend, ".dp")
    keep = number_kept(o.max_ckpt_keep, o.ckpt_keep_ratio, num_steps, o.save_freq)
    averaged = None
    if o.enable_ema:
        averaged = CheckpointFiles(
            directory, averaged_prefix(o.save_ckpt), suffix, o.ema_ckpt_keep or keep, o.save_dir, pointer=False
        )
    spin = getattr(settings.model, "spin", None) is not None
    best = Path(v.save_best_dir) if v.save_best_dir else Path(o.save_ckpt).parent

    def full(on: bool, log: str, prefix: str) -> FullValidation | None:
        return FullValidation(v, directory, log, str(best / prefix), suffix, num_steps, spin) if on else None

    log = Path(v.full_val_file)
    return {
        "files": CheckpointFiles(directory, o.save_ckpt, suffix, keep, o.save_dir),
        "averaged_files": averaged,
        "full": full(v.full_validation, v.full_val_file, "best.ckpt"),
        "averaged_full": full(
            v.ema_full_validation, str(log.with_name(f"{log.stem}_ema{log.suffix}")), "best_ema.ckpt"
        ),
    }


def functions_of(model: Any, loss: Loss, backend: Backend) -> dict[str, Any]:
    """The fields of a job that say what is made small."""
    return {
        "loss": loss_function(tree_map(backend.array, model), loss),
        "weigh": lambda batch, rate: with_prefactors(batch, loss.prefactors(rate)),
    }


def restored(source: BatchSource, state: dict[str, Any] | None) -> None:
    """Let a source go on where it was. The caller has made sure that the data are the same."""
    if state is not None:
        source.sampler.restore(state | {"data": source.sampler.state()["data"]})
