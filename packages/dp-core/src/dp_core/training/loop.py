"""The training loop: one step after the other, with what is shown and saved in between."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from dp_core.backend import Backend, LossFunction, Optimizer
from dp_core.errors import DpError, FormatError, NonFiniteError
from dp_core.module import with_leaves
from dp_core.schema import Input
from dp_core.training.batches import BatchSource, Drawn
from dp_core.training.checkpoint import Checkpoint, CheckpointFiles
from dp_core.training.events import Events, gradient_norms
from dp_core.training.interrupt import Interrupt, TrainingInterruptedError
from dp_core.training.lcurve import LearningCurve
from dp_core.training.prefetch import Prefetcher
from dp_core.training.reporter import Display, Reporter
from dp_core.training.timeline import Timeline
from dp_core.training.validation import FullValidation, Mean, full_errors

#: The user is told when a larger share of the time is spent waiting for data, in an interval of so many seconds.
SLOW_DATA, WORTH_TELLING = 0.2, 5.0


@dataclass(frozen=True)
class Job:
    """A training that is ready to start: everything is read, checked and initialised."""

    settings: Input
    directory: Path
    backend: Backend
    loss: LossFunction
    weigh: Callable[[Any, float], Any]
    """A batch with the weights of the loss at a learning rate."""
    optimizer: Optimizer
    schedule: Callable[[int], float]
    num_steps: int
    train: BatchSource
    valid: BatchSource | None
    start: Checkpoint
    """Where it starts: the initial model at step 0, or the checkpoint that it goes on from."""
    restarted: bool
    rank: int
    """Of this process among those that train together; only 0 shows and keeps things."""
    files: CheckpointFiles
    averaged_files: CheckpointFiles | None
    full: FullValidation | None
    averaged_full: FullValidation | None
    change_bias: Callable[[Any], Any]
    """Fits the bias of a model to the training data."""
    timeline: Timeline


@dataclass(frozen=True)
class Outcome:
    """What a training left behind."""

    model: Any
    step: int
    checkpoint: Path | None
    """Its file; None where another process keeps it."""
    seconds: float


@dataclass
class _Clock:
    """Wall time since the last display and in all, and how much of it was waiting for data."""

    before: float  # seconds of the runs that this one continues
    start: float = field(default_factory=perf_counter)
    shown: float = field(default_factory=perf_counter)
    shown_step: int = 0
    waited: float = 0.0
    warm: tuple[float, int] | None = None
    """Time and step of the first lap, which has also compiled and filled caches."""

    def lap(self, step: int, waited: float) -> tuple[float, int, float]:
        """Seconds, steps and share of waiting since the last lap."""
        now = perf_counter()
        seconds, steps = now - self.shown, step - self.shown_step
        share = (waited - self.waited) / seconds if seconds else 0.0
        self.shown, self.shown_step, self.waited = now, step, waited
        self.warm = self.warm or (now, step)
        return seconds, steps, share

    def average(self, step: int) -> str:
        """The mean time of a step after the first lap, in words; "" if there was none."""
        if self.warm is None or step == self.warm[1]:
            return ""
        begin, first = self.warm
        return f"average training time: {(perf_counter() - begin) / (step - first):.4f} s/batch"

    @property
    def total(self) -> float:
        return self.before + perf_counter() - self.start


class Loop:
    """One run of a job. ``run`` is called once."""

    def __init__(self, job: Job, reporter: Reporter):
        self._job, self._reporter = job, reporter
        self._options = job.settings.training
        start, progress = job.start, job.start.progress
        self._step = start.step
        file = job.files.path(start.step)
        self._saved = file if job.restarted and (job.directory / file).is_file() else None
        self._sampler = progress.get("sampler") or job.train.sampler.state()
        self._interval = Mean(progress.get("interval"))
        self._clock = _Clock(progress.get("seconds", 0.0), shown_step=start.step)
        self._told_of_waiting = False
        self._events: Events | None = None
        self._ema = (start.ema or start.state.params) if self._options.enable_ema else None
        self._run = job.backend.training(job.loss, start.state, job.optimizer, compiled=self._options.enable_compile)

    def run(self) -> Outcome:
        """Train to the last step. Raises NonFiniteError, TrainingInterruptedError, DataError, FormatError."""
        job = self._job
        restart_step = job.start.step if job.restarted else None
        with ExitStack() as stack:
            if job.rank == 0:
                self._open(stack, restart_step)
            self._batches = Prefetcher(job.train.draw)
            stack.callback(self._batches.close)
            interrupt = stack.enter_context(Interrupt())
            self._reporter.notice(f"Start to train {job.num_steps} steps.")
            while self._step < job.num_steps:
                self._one_step(self._step + 1)
                if interrupt.received is not None:
                    self._leave(interrupt.received)
            self._batches.close()  # before the last step reads the same files
            return self._finish()

    def _open(self, stack: ExitStack, restart_step: int | None) -> None:
        """Open all logs."""
        job, o = self._job, self._options
        self._curve = LearningCurve(job.directory / o.disp_file, restart_step=restart_step)
        stack.callback(self._curve.close)
        if o.tensorboard:
            folder, clipped = job.directory / o.tensorboard_log_dir, bool(o.gradient_max_norm)
            self._events = Events(folder, o.tensorboard_freq, clipped=clipped, restart_step=restart_step)
            stack.callback(self._events.close)
        for full, key in ((job.full, "best"), (job.averaged_full, "averaged_best")):
            if full:
                full.begin([(m, int(s)) for m, s in job.start.progress.get(key, [])], restart_step)
        stack.callback(job.timeline.write, job.directory / o.profiling_file)

    def _one_step(self, step: int) -> None:
        job, options = self._job, self._options
        with job.timeline.span("wait for data"):
            drawn = [self._batches.take() for _ in range(options.acc_freq)]
        rate = job.schedule(step - 1)
        before = self._run.state() if self._events and self._events.wants_norms(step) else None
        with job.timeline.span("step"):
            metrics = self._run.step([job.weigh(d.batch, rate) for d in drawn], rate)
        loss, norm = metrics.pop("loss"), metrics.pop("grad_norm")
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._stop_non_finite(step, loss, norm, drawn)
        self._step, self._sampler = step, drawn[-1].sampler
        self._follow_average()
        if job.rank == 0:
            if self._events:
                norms = gradient_norms(before, self._run.state(), job.optimizer, norm) if before else {}
                with self._writing(options.tensorboard_log_dir):
                    self._events.step(step, {"lr": rate, "loss": loss, **metrics}, norm, norms)
            self._show_and_keep(metrics, rate)

    def _show_and_keep(self, metrics: dict[str, float], rate: float) -> None:
        """What follows a step, when it is due."""
        job, options, step = self._job, self._options, self._step
        if options.disp_avg and options.disp_training:
            self._interval.add(metrics)
        if options.disp_training and (step == 1 or step % options.disp_freq == 0):
            self._display(metrics, rate)
        for full, state in ((job.full, self._checkpoint), (job.averaged_full, self._averaged)):
            if full and full.due(step):
                self._validate_fully(full, state())
        if step % options.save_freq == 0 and step > 1:
            self._save()

    def _stop_non_finite(self, step: int, loss: float, norm: float, drawn: list[Drawn]) -> None:
        what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradient is {norm}"
        frames = "; ".join(self._job.train.where(d.places) for d in drawn)
        raise NonFiniteError(
            f"At step {step} {what}. The batch has these frames: {frames}. Look at them with 'dp data check', or use a "
            f"smaller learning_rate/start_lr or training/gradient_max_norm. {self._last_good()}"
        )

    def _last_good(self) -> str:
        """Where the training can go on from, in a sentence."""
        if self._saved is None:
            return "No checkpoint was written so far."
        return f"The last checkpoint is {self._saved}; go on from it with --restart {self._saved}."

    @contextmanager
    def _writing(self, log: str) -> Iterator[None]:
        """Name the file in an error of the block."""
        try:
            yield
        except OSError as error:
            raise FormatError(
                f"{error.filename or log} cannot be written at step {self._step}: {error.strerror or error}. "
                f"{self._last_good()}"
            ) from error

    def _follow_average(self) -> None:
        if self._ema is not None:
            d, params = self._options.ema_decay, self._run.params()
            self._ema = {k: d * v + (1.0 - d) * params[k] for k, v in self._ema.items()}

    # -- what is shown

    def _display(self, metrics: Mapping[str, float], rate: float) -> None:
        job, options = self._job, self._options
        shown = self._interval.values() if options.disp_avg else metrics
        self._interval = Mean()
        validation = self._validate(rate)
        seconds, steps, waiting = self._clock.lap(self._step, self._batches.waited)
        remaining = (job.num_steps - self._step) * seconds / steps if self._step > 1 else None
        display = Display(self._step, job.num_steps, shown, validation, rate, seconds, remaining)
        self._reporter.display(display, timing=options.time_training)
        more = {"seconds": self._clock.total, "remaining": remaining, "waiting": waiting}
        with self._writing(options.disp_file):
            self._curve.row(self._step, shown, validation, rate, **more)
        if waiting > SLOW_DATA and seconds > WORTH_TELLING and not self._told_of_waiting:
            self._told_of_waiting = True
            self._reporter.warning(
                f"{waiting:.0%} of the time goes into waiting for data. Put the data on a local disk, merge small "
                "systems, or use larger batches (batch_size)."
            )

    def _validate(self, rate: float) -> dict[str, float] | None:
        """The errors of a few batches of the validation data."""
        job, options = self._job, self._options.validation_data
        if job.valid is None or options is None:
            return None
        mean = Mean()
        with job.timeline.span("validation"):
            for _ in range(options.numb_btch):
                drawn = job.valid.draw()
                metrics = self._run.evaluate(job.weigh(drawn.batch, rate))
                metrics.pop("loss")
                mean.add(metrics, drawn.natoms)
        return mean.values()

    def _validate_fully(self, full: FullValidation, checkpoint: Checkpoint) -> None:
        job = self._job
        assert job.valid is not None
        with job.timeline.span("full validation"):
            errors = full_errors(checkpoint.model, job.backend, job.valid.all_frames())
            with self._writing(full.log):
                sentence = full.record(checkpoint, errors)
        if sentence:
            self._reporter.notice(sentence)

    # -- what is kept

    def _checkpoint(self) -> Checkpoint:
        job, state = self._job, self._run.state()
        _check_finite(state.params, self._step, self._last_good())
        progress = job.start.progress | {
            "sampler": self._sampler,
            "validation_sampler": job.valid.sampler.state() if job.valid else None,
            "interval": self._interval.sums,
            "seconds": self._clock.total,
            "best": job.full.best if job.full else [],
            "averaged_best": job.averaged_full.best if job.averaged_full else [],
        }
        model = with_leaves(job.start.model, state.params)
        return replace(
            job.start, model=model, step=self._step, moments=state.moments, updates=state.updates, ema=self._ema,
            progress=progress,
        )  # fmt: skip

    def _averaged(self) -> Checkpoint:
        return self._checkpoint().averaged()

    def _save(self, checkpoint: Checkpoint | None = None) -> Checkpoint:
        """Write the checkpoint of this step."""
        job = self._job
        checkpoint = checkpoint or self._checkpoint()
        with job.timeline.span("save"):
            try:
                if job.averaged_files and checkpoint.ema is not None:
                    job.averaged_files.save(checkpoint.averaged())
                path = job.files.save(checkpoint)  # last, so that all files of the step are there if this one is
            except (DpError, OSError) as error:
                raise FormatError(f"Step {self._step} cannot be saved: {error} {self._last_good()}") from error
        self._saved = path
        self._reporter.notice(f"Saved model to {path}")
        return checkpoint

    def _leave(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._job.rank == 0 and self._saved != self._job.files.path(self._step):
            self._reporter.notice(f"{name}: saving after step {self._step}.")
            self._save()
        raise TrainingInterruptedError(
            f"Stopped by {name} after step {self._step} of {self._job.num_steps}. "
            f"Go on with --restart {self._options.save_ckpt}.",
            number,
        )

    def _finish(self) -> Outcome:
        """Save, change the bias if asked for, and say what there is."""
        job, options, begun = self._job, self._options, self._job.start
        if job.rank > 0:
            return Outcome(self._checkpoint().model, self._step, None, self._clock.total)
        if self._step == begun.step and job.restarted:
            self._reporter.notice(f"All {job.num_steps} steps are done already.")
            checkpoint = begun
        else:
            checkpoint = self._checkpoint()
        if self._saved != job.files.path(self._step):
            self._save(checkpoint)
        if options.change_bias_after_training and checkpoint.progress.get("bias_changed") != self._step:
            progress = checkpoint.progress | {"bias_changed": self._step}
            changed = replace(checkpoint, model=job.change_bias(checkpoint.model), progress=progress)
            checkpoint = self._save(changed)
        total = self._clock.total - self._clock.before
        average = self._clock.average(self._step)
        if options.time_training and average:
            share = self._batches.waited / total
            self._reporter.notice(f"{average}, {share:.0%} of the time waiting for data")
        self._reporter.notice(f"Trained model has been saved to: {options.save_ckpt}")
        self._reporter.notice("finished training")
        self._reporter.notice(f"wall time: {total:.3f} s")
        return Outcome(checkpoint.model, self._step, job.directory / job.files.path(self._step), total)


def _check_finite(params: Mapping[str, np.ndarray], step: int, last_good: str) -> None:
    """A finite loss may still have led to parameters that are not."""
    bad = [path for path, value in params.items() if not np.isfinite(value).all()]
    if bad:
        raise NonFiniteError(
            f"After step {step} the parameters {', '.join(bad[:3])} are not finite. Use a smaller "
            f"learning_rate/start_lr or training/gradient_max_norm. {last_good}"
        )
