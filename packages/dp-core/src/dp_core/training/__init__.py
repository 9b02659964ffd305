"""Training: ``train`` takes an input file and leaves a trained model. Nothing here knows a framework.

The names are imported when they are first used, because losses need ``training.batch`` and nothing else from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dp_core.training.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
    from dp_core.training.dry_run import Summary
    from dp_core.training.interrupt import TrainingInterruptedError
    from dp_core.training.reporter import Display, LogReporter, Reporter, display_lines, table_lines
    from dp_core.training.start import TrainResult, train

_PLACES = {
    "Checkpoint": "checkpoint",
    "Display": "reporter",
    "LogReporter": "reporter",
    "Reporter": "reporter",
    "Summary": "dry_run",
    "TrainResult": "start",
    "TrainingInterruptedError": "interrupt",
    "display_lines": "reporter",
    "find_checkpoint": "checkpoint",
    "load_checkpoint": "checkpoint",
    "table_lines": "reporter",
    "train": "start",
}

__all__ = [
    "Checkpoint",
    "Display",
    "LogReporter",
    "Reporter",
    "Summary",
    "TrainResult",
    "TrainingInterruptedError",
    "display_lines",
    "find_checkpoint",
    "load_checkpoint",
    "table_lines",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
