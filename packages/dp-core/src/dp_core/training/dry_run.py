"""What a training would be, measured but not begun."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from dp_core.data import SystemRow
from dp_core.module import leaves, trained_leaves
from dp_core.training.loop import Job

_WARM_UP, _TIMED = 2, 2


@dataclass(frozen=True)
class Summary:
    """What would be trained on what, and how long it would take."""

    backend: str
    type_map: tuple[str, ...]
    parameters: int
    trained: int
    """Parameters that change."""
    rcut: float
    """Å."""
    sel: tuple[int, ...]
    min_nbor_dist: float | None
    """Å; None if not looked for."""
    training: list[SystemRow]
    validation: list[SystemRow]
    first_step: int
    num_steps: int
    batches_per_epoch: float
    learning_rates: tuple[float, float]
    """Of the first and the last step."""
    seconds_per_step: float
    """Measured; without display, validation and checkpoints."""
    memory: int | None
    """Bytes that this process has needed at most; None where the system does not tell."""

    @property
    def seconds(self) -> float:
        """The expected length of the whole run."""
        return self.seconds_per_step * (self.num_steps - self.first_step)


def summarize(job: Job, backend: str) -> Summary:
    """Do a few steps on a copy and describe the job. Nothing is written."""
    model, spec = job.start.model, job.start.model.neighbor_spec
    last = max(job.num_steps - 1, 0)
    return Summary(
        backend=backend,
        type_map=tuple(model.type_map),
        parameters=sum(v.size for v in leaves(model).values()),
        trained=sum(v.size for v in trained_leaves(model).values()),
        rcut=spec.rcut,
        sel=tuple(spec.sel),
        min_nbor_dist=model.min_nbor_dist,
        training=job.train.sampler.table(),
        validation=job.valid.sampler.table() if job.valid else [],
        first_step=job.start.step,
        num_steps=job.num_steps,
        batches_per_epoch=job.train.sampler.batches_per_epoch,
        learning_rates=(job.schedule(min(job.start.step, last)), job.schedule(last)),
        seconds_per_step=_seconds_per_step(job),
        memory=_memory(),
    )


def _seconds_per_step(job: Job) -> float:
    """The mean time of a step, after steps that also compile and fill caches."""
    options = job.settings.training
    run = job.backend.training(job.loss, job.start.state, job.optimizer, compiled=options.enable_compile)
    begin = 0.0
    for k in range(_WARM_UP + _TIMED):
        if k == _WARM_UP:
            begin = perf_counter()
        rate = job.schedule(min(job.start.step + k, max(job.num_steps - 1, 0)))
        run.step([job.weigh(job.train.draw().batch, rate) for _ in range(options.acc_freq)], rate)
    return (perf_counter() - begin) / _TIMED


def _memory() -> int | None:
    try:
        import resource
        import sys
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
