"""Whether a training may go on from a checkpoint with the settings and data of today."""

from __future__ import annotations

from typing import Any

from dp_core.errors import ConfigError
from dp_core.schema import Input
from dp_core.training.checkpoint import Checkpoint, differences

#: What must be the same: the state in a checkpoint has no meaning otherwise. Seeds only matter at the start.
FIXED = ("model/", "optimizer/type", "training/training_data/")
_MAY_CHANGE = ("seed", "info", "systems", "rglob_patterns")
#: What changes the course of the training, and is told.
_TOLD = (
    "loss/",
    "learning_rate/",
    "optimizer/",
    "training/gradient_max_norm",
    "training/acc_freq",
    "training/enable_ema",
)


def check_restart(
    checkpoint: Checkpoint, name: str, settings: Input, data: dict[str, Any], num_steps: int
) -> list[str]:
    """What is different from when the checkpoint was written, in sentences, if the training can go on.

    data: as from ``Data.summary``. Raises ConfigError naming each difference that is not allowed.
    """
    changed = differences(checkpoint.settings, settings.to_document())
    forbidden = [
        f"{place} is {_short(new)}; in the checkpoint it is {_short(old)}"
        for place, old, new in changed
        if place.startswith(FIXED) and place.split("/")[-1] not in _MAY_CHANGE
    ]
    then, now = checkpoint.progress["data"]["training"], data["training"]
    if then != now:
        forbidden.append(f"training/training_data/systems: {_in_words(now)} now, {_in_words(then)} in the checkpoint")
    if forbidden:
        listed = "\n  ".join(forbidden)
        raise ConfigError(
            f"The training cannot go on from {name} with these settings:\n  {listed}\n"
            "Give the settings of then, or begin a new training from these weights with --init-model."
        )
    if checkpoint.step > num_steps:
        raise ConfigError(
            f"{name} is of step {checkpoint.step}, but training/numb_steps is {num_steps}. Give a larger numb_steps."
        )
    told = [
        f"{place} is {_short(new)}; it was {_short(old)} when the checkpoint was written."
        for place, old, new in changed
        if place.startswith(_TOLD) or place == "training/training_data/systems"
    ]
    return [*told, *_seeds(changed)]


def _seeds(changed: list[tuple[str, Any, Any]]) -> list[str]:
    seeds = [place for place, _, _ in changed if place.split("/")[-1] == "seed"]
    return [f"{', '.join(seeds)} differs from the checkpoint, which goes on with its own."] if seeds else []


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) < 80 else text[:76] + " …"


def _in_words(counts: dict[str, int]) -> str:
    return f"{counts['systems']} systems with {counts['frames']} frames and {counts['atoms']} atoms"
