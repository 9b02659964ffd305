"""``train``: from an input file to a trained model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dp_core import registry
from dp_core.backend import get_backend
from dp_core.compression import is_compressed, uncompressed
from dp_core.data import Sampler
from dp_core.data.budget import Budget, cache_limit
from dp_core.data.short_range import check_labels
from dp_core.descriptors.protocol import compressed
from dp_core.errors import ConfigError
from dp_core.format import write_bytes
from dp_core.losses import Loss
from dp_core.losses.energy import EnergySettings
from dp_core.model_file import MEMBER, load_model
from dp_core.models.protocol import members
from dp_core.module import leaves, trained_leaves
from dp_core.module import replace as replace_fields
from dp_core.schedules import build_schedule
from dp_core.schema import Input, Section, load_input, parse_input, parse_model
from dp_core.training import setup
from dp_core.training.batches import BatchSource
from dp_core.training.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from dp_core.training.dry_run import Summary, summarize
from dp_core.training.initial import draw_seed, take_weights, with_seeds
from dp_core.training.lcurve import LOG
from dp_core.training.loop import Job, Loop
from dp_core.training.places import check_writable
from dp_core.training.reporter import LogReporter, Reporter, SilentReporter
from dp_core.training.restart import check_restart
from dp_core.training.timeline import Timeline

#: An input of an older form in the form of today, without defaults.
COMPATIBLE = "input_v2_compat.json"


@dataclass(frozen=True)
class TrainResult:
    """What ``train`` did. After a dry run only ``summary`` is there."""

    model: Any = None
    """The trained model, NumPy leaves."""
    step: int = 0
    checkpoint: Path | None = None
    """Its file; None in processes that leave it to another one."""
    seconds: float = 0.0
    summary: Summary | None = None


@dataclass(frozen=True)
class _Begin:
    """Where a training begins, and what was asked for."""

    restart: str | Path | None
    weights: str | Path | None
    force_load: bool
    skip_neighbor_stat: bool
    write: bool
    output: Path


class _Start:
    """Everything before the first step."""

    def __init__(self, settings: Input, begin: _Begin, backend: str, folder: Path, reporter: Reporter):
        self.settings, self.begin, self.folder = _with_hessian_mode(settings), begin, folder
        self.name, self.backend = backend, get_backend(backend)
        # a backend that knows no other processes is alone
        self.rank: int = self.backend.rank
        self.processes: int = self.backend.world_size
        self.write = begin.write and self.rank == 0
        self.reporter = reporter if self.rank == 0 else SilentReporter()
        self.budget = Budget(cache_limit())
        self.before, self.source = self._checkpoint()
        self.seed: int = self.before.progress["seed"] if self.before else self._first_seed()

    def _first_seed(self) -> int:
        seed = self.settings.training.seed
        if seed is None and self.processes > 1:
            raise ConfigError("Give training/seed: processes that train together must start from the same numbers.")
        return draw_seed() if seed is None else seed

    def _checkpoint(self) -> tuple[Checkpoint | None, str]:
        if self.begin.restart is None:
            return None, ""
        path = find_checkpoint(self.folder / self.begin.restart, self.name)
        return load_checkpoint(path), str(path)

    def prepare(self) -> tuple[Job, Input]:
        """The job, and the settings with seeds and ``sel`` as numbers."""
        settings, options = self.settings, self.settings.training
        data = setup.open_data(settings, self.folder, self.before.model.type_map if self.before else None)
        sampler = setup.sampler_of(data.training, options.training_data, self.seed)
        num_steps = setup.length_of(settings, sampler, self.processes)
        schedule = build_schedule(settings.learning_rate, num_steps, self.processes)
        if schedule.start_lr != settings.learning_rate.start_lr:
            self.reporter.notice(
                f"start_lr is {schedule.start_lr:g}, scaled for {self.processes} processes (scale_by_worker)."
            )
        fields = setup.files_of(settings, self.folder, self.name, num_steps)
        check_writable(self._files(fields), make=self.write)
        if self.before:
            data = self._short_range(data, self.before.model, schedule.start_lr)
            for sentence in check_restart(self.before, self.source, settings, data.summary(), num_steps):
                self.reporter.notice(sentence)
            start, model_settings = self.before, parse_model(self.before.model.script)
        else:
            model, model_settings, data = self._fresh(data, schedule.start_lr)
            progress = {"seed": self.seed, "data": data.summary()}
            start = Checkpoint(model, 0, progress=progress, settings=settings.to_document())
        start = replace(start, settings=settings.to_document())
        _refuse_tables(start.model, self.source)
        if not members(start.model):
            raise ConfigError(
                "The model has no network, and so nothing to train. Make it part of a linear_ener with a model that "
                "has one."
            )
        if not trained_leaves(start.model):
            raise ConfigError(
                "No parameter is left to train: trainable is false in the descriptor and in the fitting. "
                "Set one of them to true."
            )
        loss = self._loss(start.model, schedule.start_lr)
        timeline = Timeline(options.profiling)
        setup.check_labels(data, start.model, loss, self.reporter)
        sources = self._sources(data, sampler, start, loss, timeline)
        self._tell(start.model, sources)
        job = Job(
            settings=settings, directory=self.folder, backend=self.backend, optimizer=setup.optimizer_of(settings),
            schedule=schedule, num_steps=num_steps, train=sources[0], valid=sources[1], start=start,
            restarted=self.before is not None, rank=self.rank, timeline=timeline, **fields,
            **setup.functions_of(start.model, loss, self.backend),
            change_bias=lambda model: setup.changed_bias(model, settings, data, self.backend, self.reporter),
        )  # fmt: skip
        return job, self._resolved(model_settings)

    def _loss(self, model: Any, start_lr: float) -> Loss:
        """The loss, which must be one for what the model predicts."""
        section, validating = self.settings.loss, self.settings.validating
        loss: Loss = registry.lookup("loss", section.type).from_settings(section, start_lr, model.output)
        if model.output.kind != "energy" and (validating.full_validation or validating.ema_full_validation):
            raise ConfigError(
                f"validating/full_validation is for energy models; this one predicts {model.output.name!r}. "
                "Leave it out."
            )
        check_labels(model, loss.labels(model))  # the loss raises for spins that it does not know
        return loss

    def _short_range(self, data: setup.Data, model: Any, start_lr: float) -> setup.Data:
        """The data as the networks are to learn them."""
        labels = self._loss(model, start_lr).labels(model)
        return setup.short_range(data, model, self.backend, labels, self.budget)

    def _fresh(self, data: setup.Data, start_lr: float) -> tuple[Any, Section, setup.Data]:
        """A model at step 0, random, or with the weights of a file; its settings; the data as it is to learn them."""
        settings = with_seeds(self.settings.model, self.seed, "model")
        neighbors = (
            None
            if self.begin.skip_neighbor_stat
            else setup.Neighbors(data, self.reporter, getattr(settings, "spin", None))
        )
        settings = setup.count_neighbors(settings, neighbors)
        model = setup.init_model(settings, data.type_map, self.folder)
        data = self._short_range(data, model, start_lr)
        loss = self._loss(model, start_lr)  # before statistics, which may take long
        if neighbors:
            model = replace_fields(model, min_nbor_dist=neighbors.shortest(model.neighbor_spec.rcut))
        measured = partial(
            setup.measured, loss=loss, settings=self.settings, data=data, directory=self.folder, write=self.write,
            reporter=self.reporter,
        )  # fmt: skip
        if self.begin.weights is None:
            return measured(model), settings, data
        path = self._weights_file(self.begin.weights)
        source = load_model(path)
        if is_compressed(source):
            source = uncompressed(source)
            self.reporter.notice(f"{path} is compressed; the training begins with its networks, without the tables.")
        model, left = take_weights(model, source, str(path), fresh=measured if self.begin.force_load else None)
        for problem in left:
            self.reporter.warning(problem)
        self.reporter.notice(f"Parameters and statistics are those of {path}")
        if model.min_nbor_dist is None:
            model = replace_fields(model, min_nbor_dist=source.min_nbor_dist)
        return model, settings, data

    def _weights_file(self, name: str | Path) -> Path:
        path = self.folder / name
        return path if path.is_file() or (path / MEMBER).is_file() else find_checkpoint(path, self.name)

    def _files(self, fields: dict[str, Any]) -> list[Path]:
        """What the training will write."""
        o = self.settings.training
        curve = Path(o.disp_file)
        names: list[Path | str] = [self.begin.output, curve, curve.with_name(LOG)]
        names += [COMPATIBLE] if self.settings.notices else []
        for series in (fields["files"], fields["averaged_files"]):
            names += [series.link, series.path(0)] if series else []
        for full in (fields["full"], fields["averaged_full"]):
            names += [full.log, full.prefix + "-0"] if full else []
        if o.stat_file and o.stat_file_mode == "update":
            names.append(Path(o.stat_file).parent / ".stat")
        if o.profiling:
            names.append(o.profiling_file)
        if o.tensorboard:
            names.append(Path(o.tensorboard_log_dir) / "events")
        return [self.folder / name for name in names]

    def _sources(
        self, data: setup.Data, sampler: Sampler, start: Checkpoint, loss: Loss, timeline: Timeline
    ) -> tuple[BatchSource, BatchSource | None]:
        """The batches of both data sets, going on where the checkpoint was."""
        common: dict[str, Any] = {
            "budget": self.budget, "timeline": timeline, "warn": self.reporter.warning,
        }  # fmt: skip
        part = (self.rank, self.processes)
        train = setup.source_for(data.training, sampler, start.model, loss, self.backend, part=part, **common)
        setup.restored(train, start.progress.get("sampler"))
        section = self.settings.training.validation_data
        if section is None or data.validation is None:
            return train, None
        other = setup.sampler_of(data.validation, section, self.seed)
        valid = setup.source_for(data.validation, other, start.model, loss, self.backend, **common)
        if start.progress["data"]["validation"] == data.summary()["validation"]:
            setup.restored(valid, start.progress.get("validation_sampler"))
        return train, valid

    def _tell(self, model: Any, sources: tuple[BatchSource, BatchSource | None]) -> None:
        for title, source in zip(("Training", "Validation"), sources):
            if source is not None:
                self.reporter.table(title, source.sampler.table())
        every, trained = (sum(v.size for v in found(model).values()) for found in (leaves, trained_leaves))
        self.reporter.notice(f"Model Params:  {every / 1e6:.3f} M   (Trainable: {trained / 1e6:.3f} M)")

    def _resolved(self, model: Section) -> Input:
        training = self.settings.training.model_copy(update={"seed": self.seed})
        return self.settings.model_copy(update={"model": model, "training": training})


def _refuse_tables(model: Any, source: str) -> None:
    """Raise ConfigError if a part that is trained has tables, which would not follow its networks."""
    if any(compressed(member.model.descriptor) for member in members(model) if not member.fixed):
        raise ConfigError(
            f"The model{' of ' * bool(source)}{source} is compressed, and tables are not trained. Begin a new training "
            "with its networks (--init-frz-model), and compress the result."
        )


def _with_hessian_mode(settings: Input) -> Input:
    """A model that is trained with Hessians gives them to its users."""
    if not (isinstance(settings.loss, EnergySettings) and settings.loss.is_active("h")):
        return settings
    return settings.model_copy(update={"model": settings.model.model_copy(update={"hessian_mode": True})})


def train(
    source: str | Path | Mapping[str, Any],
    *,
    backend: str,
    restart: str | Path | None = None,
    init_model: str | Path | None = None,
    init_frz_model: str | Path | None = None,
    output: str | Path = "out.json",
    skip_neighbor_stat: bool = False,
    force_load: bool = False,
    dry_run: bool = False,
    reporter: Reporter | None = None,
    directory: str | Path | None = None,
) -> TrainResult:
    """Train a model.

    source: an input file (JSON or YAML), or its document.
    backend: name of the backend that computes.
    restart: a checkpoint to go on from, as a file, a prefix (``model.ckpt``) or a folder; whatever backend wrote it.
    init_model, init_frz_model: a checkpoint, or any model file, whose parameters and statistics are the start.
    output: where the input with all defaults goes.
    skip_neighbor_stat: do not look for the neighbours in the data; the model then cannot be compressed.
    force_load: parameters that do not fit those of the file stay as they are initialised, statistics that do not fit
        are taken of the training data.
    dry_run: do all up to the first step, write nothing, and return what would be trained.
    reporter: where messages go; None for lines on the logger ``dp_core.training``.
    directory: the folder of all relative paths in the input and of all files; None for the working directory.

    Raises ConfigError, DataError, FormatError or BackendError before any file is touched; NonFiniteError, and
    TrainingInterruptedError after a signal, with a checkpoint to go on from.
    """
    if sum(given is not None for given in (restart, init_model, init_frz_model)) > 1:
        raise ConfigError("restart, init_model and init_frz_model exclude each other; give one of them.")
    reporter = reporter or LogReporter()
    folder = Path() if directory is None else Path(directory)
    settings = load_input(source) if isinstance(source, str | Path) else parse_input(dict(source))
    for notice in settings.notices:
        reporter.notice(notice)
    weights = init_model if init_model is not None else init_frz_model
    begin = _Begin(restart, weights, force_load, skip_neighbor_stat, not dry_run, Path(output))
    start = _Start(settings, begin, backend, folder, reporter)
    job, resolved = start.prepare()
    if dry_run:
        return TrainResult(summary=summarize(job, backend))
    if job.rank == 0:
        _write_json(folder / output, resolved.to_document())
        if settings.notices:
            _write_json(folder / COMPATIBLE, settings.upgraded)
    outcome = Loop(job, start.reporter).run()
    return TrainResult(outcome.model, outcome.step, outcome.checkpoint, outcome.seconds)


def _write_json(path: Path, document: dict[str, Any]) -> None:
    write_bytes(path, (json.dumps(document, indent=4, ensure_ascii=False) + "\n").encode())
