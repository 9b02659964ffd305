"""The sections of an input file that do not depend on a model: optimizer, training, validating."""

from __future__ import annotations

import re
from typing import Literal

import pydantic

from dp_core.errors import ConfigError
from dp_core.schema.section import Section, option, wrong
from dp_core.schema.unsupported import refuse_type

BATCH_SIZE = re.compile(r"auto(:[1-9]\d*)?|(max|filter|mixed|mix):[1-9]\d*")
BLOCKS = re.compile(r"(\s*\d+\s*:\s*\d+\s*:\s*[0-9.eE+-]+\s*)(;\s*\d+\s*:\s*\d+\s*:\s*[0-9.eE+-]+\s*)*;?\s*")
METRICS = tuple(f"{what}:{how}" for what in ("E", "F", "V", "S", "FR", "FM") for how in ("MAE", "RMSE"))


class Optimizer(Section):
    """How the parameters follow the gradient."""

    type: Literal["Adam", "AdamW"] = option(
        "Adam", "name of the optimizer; AdamW decays weights apart from the gradient"
    )
    adam_beta1: float = option(0.9, "decay of the mean of gradients", ge=0, lt=1)
    adam_beta2: float = option(0.999, "decay of the mean of squared gradients", ge=0, lt=1)
    weight_decay: float = option(0.0, "weight decay; Adam adds it to the gradient", ge=0)

    @pydantic.field_validator("type", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        try:
            refuse_type("optimizer", str(value), ["Adam", "AdamW"])
        except ConfigError as error:
            raise ValueError(error) from None
        return value


class DataSection(Section):
    """Systems on disk and how batches are drawn from them."""

    systems: list[str] | str = option(
        ..., "data: folders, files or folders to search; files that ASE reads are data too"
    )
    rglob_patterns: list[str] | None = option(None, "patterns searched below every entry of systems")
    batch_size: int | list[int] | str = option(
        "auto",
        "frames of a batch, for all or for each system; or atoms of a batch: 'auto:N' at least N, 'max:N' at most N,"
        " 'filter:N' also drops larger systems, 'mixed:N' and 'mix:N' mix systems; 'auto' is 'auto:32'",
    )
    auto_prob: str = option(
        "prob_sys_size",
        "how often systems are drawn: 'prob_uniform', 'prob_sys_size' (by number of batches) or"
        " 'prob_sys_size;begin:end:weight;…' (by blocks of systems)",
        aliases=("auto_prob_style",),
    )
    sys_probs: list[float] | None = option(
        None, "probability of each system; negative ones share the rest by size", aliases=("sys_weights",)
    )

    @pydantic.field_validator("systems")
    @classmethod
    def _some(cls, value: list[str] | str) -> list[str] | str:
        if not value:
            raise ValueError("is empty; name at least one system")
        return value

    @pydantic.field_validator("batch_size")
    @classmethod
    def _rule(cls, value: int | list[int] | str) -> int | list[int] | str:
        sizes = [value] if isinstance(value, int) else value
        good = BATCH_SIZE.fullmatch(sizes) if isinstance(sizes, str) else sizes and min(sizes) >= 1
        if not good:
            raise ValueError(
                f"is {value!r}, expected an integer ≥ 1, a list of them, 'auto', 'auto:N', 'max:N', 'filter:N',"
                " 'mixed:N' or 'mix:N'; default 'auto'"
            )
        return value

    @pydantic.field_validator("auto_prob")
    @classmethod
    def _probabilities(cls, value: str) -> str:
        name, semicolon, blocks = value.partition(";")
        name = name.strip()
        plain = name in ("prob_uniform", "prob_sys_size") and not semicolon
        if not (plain or (name == "prob_sys_size" and BLOCKS.fullmatch(blocks))):
            raise ValueError(
                f"is {value!r}, expected 'prob_uniform', 'prob_sys_size' or 'prob_sys_size;begin:end:weight;…';"
                " default 'prob_sys_size'"
            )
        return value


class TrainingData(DataSection):
    """The data that the model learns from."""

    min_pair_dist: float = option(0.0, "frames with atoms closer than this are left out; 0 keeps all", unit="Å", ge=0)


class ValidationData(DataSection):
    """The data that the training is judged by."""

    numb_btch: int = option(1, "batches of each display", aliases=("numb_batch",), ge=1)


class Training(Section):
    """The run: data, length, files."""

    training_data: TrainingData = option(..., "the data that the model learns from")
    validation_data: ValidationData | None = option(None, "the data that the training is judged by")
    stat_file: str | None = option(None, "file or folder that keeps the statistics of the data", min_length=1)
    stat_file_mode: Literal["read", "update"] = option("update", "use the kept statistics only, or add missing ones")
    numb_steps: int | None = option(
        None, "number of training steps", aliases=("stop_batch", "num_step", "num_steps", "numb_step"), ge=0
    )
    numb_epoch: float | None = option(
        None, "passes through the data, instead of numb_steps", aliases=("num_epochs", "num_epoch", "numb_epochs"), gt=0
    )
    seed: int | None = option(None, "seed of the order of the data", ge=0)
    disp_file: str = option("lcurve.out", "file of the learning curve", min_length=1)
    disp_freq: int = option(1000, "steps between two displays", ge=1)
    save_freq: int = option(1000, "steps between two checkpoints", ge=1)
    save_dir: str | None = option(None, "folder of the numbered checkpoints", min_length=1)
    save_ckpt: str = option("model.ckpt", "beginning of the names of checkpoints", min_length=1)
    max_ckpt_keep: int = option(5, "checkpoints that are kept", ge=1)
    ckpt_keep_ratio: float | None = option(
        None, "checkpoints that are kept, as a fraction of all; instead of max_ckpt_keep", gt=0, lt=1
    )
    enable_ema: bool = option(False, "keep a running average of the parameters, with its own checkpoints")
    ema_decay: float = option(0.999, "decay of the running average", gt=0, lt=1)
    ema_ckpt_keep: int | None = option(None, "averaged checkpoints that are kept; unset: as max_ckpt_keep", ge=1)
    change_bias_after_training: bool = option(False, "fit the bias of the model to the data at the end")
    disp_training: bool = option(True, "print the progress")
    time_training: bool = option(True, "print times")
    disp_avg: bool = option(False, "show errors averaged since the last display, not those of one batch")
    profiling: bool = option(False, "write a trace of the training for the Chrome browser")
    profiling_file: str = option("timeline.json", "file of the trace", min_length=1)
    tensorboard: bool = option(False, "write events for TensorBoard")
    tensorboard_log_dir: str = option("log", "folder of the events", min_length=1)
    tensorboard_freq: int = option(1, "steps between two events", ge=1)
    gradient_max_norm: float | None = option(
        None, "longer gradients are shortened to this norm; 0 or unset: never", ge=0
    )
    acc_freq: int = option(1, "batches whose gradients make one step", ge=1)
    enable_compile: bool = option(False, "compile the training step")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Training:
        if self.numb_steps is None and self.numb_epoch is None:
            raise wrong("numb_steps", "is required: the length of the run in steps; or give numb_epoch")
        if self.numb_steps is not None and self.numb_epoch is not None:
            raise wrong("numb_epoch", "is given, and numb_steps too; the length of the run is one of them")
        if self.stat_file_mode == "read" and self.stat_file is None:
            raise wrong("stat_file_mode", "'read' needs stat_file, the statistics to read")
        return self


class Validating(Section):
    """Validation on all frames of the validation data, and the checkpoints that are best by it."""

    full_validation: bool = option(False, "validate on all frames")
    ema_full_validation: bool = option(False, "validate the averaged parameters too")
    validation_freq: int = option(5000, "steps between two validations", ge=1)
    save_best: bool = option(True, "keep the best checkpoints")
    save_best_dir: str | None = option(None, "folder of the best checkpoints; unset: that of save_ckpt", min_length=1)
    max_best_ckpt: int = option(1, "best checkpoints that are kept", ge=1)
    validation_metric: str = option(
        "E:MAE",
        "what best means: E energy per atom, F force, V virial per atom, S stress, FR force and FM magnetic force of"
        " spin models; with MAE or RMSE",
    )
    full_val_file: str = option("val.log", "file of the validations", min_length=1)
    full_val_start: float = option(0.5, "first step that validates; below 1 a fraction of the run, 1 never", ge=0)

    @pydantic.field_validator("validation_metric")
    @classmethod
    def _metric(cls, value: str) -> str:
        if value.upper() not in METRICS:
            raise ValueError(f"is {value!r}, expected one of {', '.join(METRICS)}; default 'E:MAE'")
        return value.upper()
