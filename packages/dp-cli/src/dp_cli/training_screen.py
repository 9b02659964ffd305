"""A training on a terminal: the lines of the log, and below them a bar for what takes long."""

from __future__ import annotations

from typing import Any

from dp_cli.screen import bar, duration
from dp_core.training import Display, LogReporter


class Screen(LogReporter):
    """A reporter to be entered: log lines as elsewhere, and one bar, for the current stage or for the steps."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = bar()
        self._task: Any = None
        self._shown = ""

    def __enter__(self) -> Screen:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage."""
        self._update(stage, stage, done, total)

    def display(self, shown: Display, *, timing: bool) -> None:
        """The lines of a step, and the bar with the time that is left."""
        super().display(shown, timing=timing)
        if shown.remaining is not None:
            self._update("Training", f"Training, about {duration(shown.remaining)} left", shown.step, shown.num_steps)

    def _update(self, stage: str, text: str, done: int, total: int) -> None:
        if stage != self._shown:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._shown = self._bar.add_task(text, total=total), stage
        self._bar.update(self._task, description=text, completed=done, total=total)
