"""Learning-rate schedules: the step length at every step of a run.

A schedule is a frozen dataclass with plain floats; ``schedule(step)`` is the rate of update number ``step`` + 1. All
begin with the same linear warm-up.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, Self

import pydantic

from dp_core import registry
from dp_core.errors import ConfigError
from dp_core.schema.section import Section, option

#: The final rate where none is given.
STOP_LR = 5e-8


class ScheduleSettings(Section):
    """What all schedules share."""

    start_lr: float = option(0.001, "rate at the start, after the warm-up", gt=0)
    stop_lr: float | None = option(None, f"rate at the end; {STOP_LR:g} without stop_lr_ratio", ge=0)
    stop_lr_ratio: float | None = option(None, "rate at the end as a fraction of start_lr", ge=0)
    warmup_steps: int = option(0, "steps of the linear warm-up", ge=0)
    warmup_ratio: float | None = option(None, "length of the warm-up as a fraction of the run", ge=0, lt=1)
    warmup_start_factor: float = option(0.0, "rate at the first step as a fraction of start_lr", ge=0)
    scale_by_worker: Literal["linear", "sqrt", "none"] = option(
        "none", "with n processes that train together, multiply start_lr by n, by √n or not at all"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _with_stop_lr(cls, data: Any) -> Any:
        """The final rate belongs to the settings that are written down."""
        if isinstance(data, dict) and data.get("stop_lr") is None and data.get("stop_lr_ratio") is None:
            return data | {"stop_lr": STOP_LR}
        return data

    @pydantic.model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.stop_lr is not None and self.stop_lr_ratio is not None:
            raise ValueError(
                f"stop_lr {self.stop_lr:g} and stop_lr_ratio {self.stop_lr_ratio:g} are both given; keep one"
            )
        if self.warmup_steps and self.warmup_ratio is not None:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} and warmup_ratio {self.warmup_ratio:g} are both given; keep one"
            )
        return self


@dataclass(frozen=True)
class Schedule(ABC):
    """A warm-up to ``start_lr``, then what a subclass says.

    num_steps: steps of the run, warm-up included.
    """

    start_lr: float
    stop_lr: float
    num_steps: int
    warmup_steps: int = 0
    warmup_start_factor: float = 0.0

    @property
    def decay_length(self) -> int:
        """Steps after the warm-up, at least 1."""
        return max(self.num_steps - self.warmup_steps, 1)

    def __call__(self, step: int) -> float:
        """The rate of update ``step`` + 1; steps count from 0."""
        if step < self.warmup_steps:
            w0 = self.warmup_start_factor
            return self.start_lr * (w0 + (1.0 - w0) * step / self.warmup_steps)
        return self.after_warmup(step - self.warmup_steps)

    @abstractmethod
    def after_warmup(self, step: int) -> float:
        """The rate ``step`` steps after the warm-up."""

    @staticmethod
    def common(settings: ScheduleSettings, num_steps: int, workers: int) -> dict[str, Any]:
        """The fields that all schedules have. Raises ConfigError if the warm-up is not shorter than the run."""
        scale = {"linear": float(workers), "sqrt": math.sqrt(workers), "none": 1.0}[settings.scale_by_worker]
        start = settings.start_lr * scale
        ratio, stop, warmup = settings.stop_lr_ratio, settings.stop_lr, settings.warmup_steps
        if settings.warmup_ratio is not None:
            warmup = int(settings.warmup_ratio * num_steps)
        if warmup and warmup >= num_steps:
            raise ConfigError(
                f"learning_rate: the warm-up takes {warmup} steps, and the whole run {num_steps}; make"
                " warmup_steps smaller or the run longer."
            )
        return {
            "start_lr": start,
            "stop_lr": start * ratio if ratio is not None else STOP_LR if stop is None else stop,
            "num_steps": num_steps,
            "warmup_steps": warmup,
            "warmup_start_factor": settings.warmup_start_factor,
        }


class ExponentialSettings(ScheduleSettings):
    """The rate falls by a constant factor every ``decay_steps`` steps."""

    type: Literal["exp"] = option("exp", "name of the schedule")
    decay_steps: int = option(5000, "steps between two falls", ge=1)
    decay_rate: float | None = option(None, "factor of a fall; unset: the one that ends at stop_lr", gt=0, le=1)
    smooth: bool = option(False, "fall a little at every step")


@dataclass(frozen=True)
class Exponential(Schedule):
    """start_lr · decay_rate^⌊t/decay_steps⌋ (not rounded if smooth), never below stop_lr."""

    decay_steps: int = 5000
    decay_rate: float = 1.0
    smooth: bool = False

    Settings = ExponentialSettings

    @classmethod
    def from_settings(cls, settings: ExponentialSettings, num_steps: int, workers: int = 1) -> Exponential:
        """The schedule of a run of ``num_steps`` steps."""
        common = cls.common(settings, num_steps, workers)
        length, every = max(num_steps - common["warmup_steps"], 1), settings.decay_steps
        rate = settings.decay_rate
        if rate is None:
            if every >= length:  # a run shorter than one fall would not decay at all
                every = 100 if length // 10 > 100 else length // 100 + 1
            rate = (max(common["stop_lr"], 1e-10) / common["start_lr"]) ** (every / length)
        return cls(**common, decay_steps=every, decay_rate=rate, smooth=settings.smooth)

    def after_warmup(self, step: int) -> float:
        """The rate ``step`` steps after the warm-up."""
        falls = step / self.decay_steps if self.smooth else step // self.decay_steps
        return max(self.start_lr * self.decay_rate**falls, self.stop_lr)


class CosineSettings(ScheduleSettings):
    """The rate follows half a cosine from start_lr to stop_lr."""

    type: Literal["cosine"] = option("cosine", "name of the schedule")


@dataclass(frozen=True)
class Cosine(Schedule):
    """stop_lr + (start_lr − stop_lr)·(1 + cos(πt/T))/2 over the T steps after the warm-up."""

    Settings = CosineSettings

    @classmethod
    def from_settings(cls, settings: CosineSettings, num_steps: int, workers: int = 1) -> Cosine:
        """The schedule of a run of ``num_steps`` steps."""
        return cls(**cls.common(settings, num_steps, workers))

    def after_warmup(self, step: int) -> float:
        """The rate ``step`` steps after the warm-up."""
        return _cosine(self.start_lr, self.stop_lr, step / self.decay_length)


class WarmupStableDecaySettings(ScheduleSettings):
    """The rate stays at start_lr and falls to stop_lr in the last part of the run."""

    type: Literal["wsd"] = option("wsd", "name of the schedule")
    decay_phase_ratio: float = option(0.1, "length of the fall as a fraction of the run", gt=0, le=1)
    decay_type: Literal["inverse_linear", "cosine", "linear"] = option("inverse_linear", "shape of the fall")

    @pydantic.model_validator(mode="after")
    def _not_to_zero(self) -> Self:
        if self.decay_type == "inverse_linear" and (self.stop_lr == 0 or self.stop_lr_ratio == 0):
            raise ValueError("decay_type 'inverse_linear' cannot reach a final rate of 0; use 'linear' or 'cosine'")
        return self


@dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    """start_lr, and in the last ``decay_phase`` steps a fall to stop_lr."""

    decay_phase: int = 1
    decay_type: str = "inverse_linear"

    Settings = WarmupStableDecaySettings

    @classmethod
    def from_settings(cls, settings: WarmupStableDecaySettings, num_steps: int, workers: int = 1) -> WarmupStableDecay:
        """The schedule of a run of ``num_steps`` steps."""
        common = cls.common(settings, num_steps, workers)
        length = max(num_steps - common["warmup_steps"], 1)
        phase = min(max(int(settings.decay_phase_ratio * num_steps), 1), length)
        return cls(**common, decay_phase=phase, decay_type=settings.decay_type)

    def after_warmup(self, step: int) -> float:
        """The rate ``step`` steps after the warm-up."""
        start, stop = self.start_lr, self.stop_lr
        x = min(max((step - (self.decay_length - self.decay_phase)) / self.decay_phase, 0.0), 1.0)
        if self.decay_type == "inverse_linear":
            return 1.0 / ((1.0 - x) / start + x / stop)
        return _cosine(start, stop, x) if self.decay_type == "cosine" else (1.0 - x) * start + x * stop


def _cosine(start: float, stop: float, x: float) -> float:
    """start at x = 0, stop from x = 1 on."""
    return stop + (start - stop) * 0.5 * (1.0 + math.cos(math.pi * min(x, 1.0)))


def build_schedule(settings: Section, num_steps: int, workers: int = 1) -> Schedule:
    """The schedule that a ``learning_rate`` section describes, for a run of ``num_steps`` steps.

    workers: processes that train together; their number scales start_lr as the settings say. Raises ConfigError if the
    warm-up is not shorter than the run.
    """
    name = settings.to_document()["type"]
    schedule: Schedule = registry.lookup("schedule", name).from_settings(settings, num_steps, workers)
    return schedule
