"""What a training tells its user, and the plain log that tells it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Protocol

from dp_core.data import SystemRow

#: Seconds between two lines about a long preparation.
_PATIENCE = 5.0

log = logging.getLogger("dp_core.training")


@dataclass(frozen=True)
class Display:
    """What is shown of one step. Errors of quantities without a label are NaN."""

    step: int
    num_steps: int
    """The last step."""
    training: Mapping[str, float]
    validation: Mapping[str, float] | None
    learning_rate: float
    seconds: float
    """Wall time since the last display."""
    remaining: float | None
    """Expected seconds to the end; None as long as nobody knows."""


class Reporter(Protocol):
    """Where the messages of a training go."""

    def notice(self, text: str) -> None:
        """A line of information."""

    def warning(self, text: str) -> None:
        """Something that the user should look at."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """How far a long preparation is; called often."""

    def table(self, title: str, rows: Sequence[SystemRow]) -> None:
        """The systems of a data set."""

    def display(self, shown: Display, *, timing: bool) -> None:
        """The errors at one step."""


class SilentReporter:
    """Says nothing: for processes that only help another one."""

    def notice(self, text: str) -> None:
        """Nothing."""

    def warning(self, text: str) -> None:
        """Nothing."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Nothing."""

    def table(self, title: str, rows: Sequence[SystemRow]) -> None:
        """Nothing."""

    def display(self, shown: Display, *, timing: bool) -> None:
        """Nothing."""


class LogReporter:
    """Lines on the logger ``dp_core.training``, in the wording that scripts look for."""

    def __init__(self) -> None:
        self._stage, self._said = "", 0.0

    def notice(self, text: str) -> None:
        """A line at level INFO."""
        log.info(text)

    def warning(self, text: str) -> None:
        """A line at level WARNING."""
        log.warning(text)

    def progress(self, stage: str, done: int, total: int) -> None:
        """A line every few seconds."""
        now = monotonic()
        if stage != self._stage:
            self._stage, self._said = stage, now
        elif now - self._said > _PATIENCE:
            self._said = now
            log.info("%s: %d of %d", stage, done, total)

    def table(self, title: str, rows: Sequence[SystemRow]) -> None:
        """The table, one line a system."""
        for line in table_lines(title, rows):
            log.info(line)

    def display(self, shown: Display, *, timing: bool) -> None:
        """Up to three lines."""
        for line in display_lines(shown, timing=timing):
            log.info(line)


def display_lines(shown: Display, *, timing: bool) -> list[str]:
    """The lines ``Batch       1: trn: rmse = 2.59e+01, …, lr = 1.00e-03`` of one step."""
    head = f"Batch {shown.step:7d}: "
    lines = [f"{head}trn: {_errors(shown.training)}, lr = {shown.learning_rate:8.2e}"]
    if shown.validation is not None:
        lines.append(f"{head}val: {_errors(shown.validation)}")
    if timing:
        line = f"{head}total wall time = {shown.seconds:.2f} s"
        if shown.remaining is not None:
            end = datetime.now().astimezone() + timedelta(seconds=shown.remaining)
            line += f", eta = {timedelta(seconds=round(shown.remaining))} at {end:%Y-%m-%d %H:%M}"
        lines.append(line)
    return lines


def _errors(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {metrics[name]:8.2e}" for name in sorted(metrics))


def table_lines(title: str, rows: Sequence[SystemRow], *, longest: int = 100) -> list[str]:
    """The systems of a data set as text; of more than ``longest``, the first ones."""
    head = f"---Summary of DataSystem: {title:13s}".ljust(86, "-")
    lines = [head, f"Found {len(rows)} System(s):", _row("system", "natoms", "bch_sz", "n_bch", "prob", "pbc")]
    for row in rows[:longest]:
        name = row.name if len(row.name) <= 42 else "-- " + row.name[-39:]
        lines.append(
            _row(name, str(row.natoms), str(row.batch_size), str(row.batches), f"{row.probability:.3e}",
                 "T" if row.periodic else "F")
        )  # fmt: skip
    if len(rows) > longest:
        lines.append(f"… and {len(rows) - longest} more")
    return [*lines, "-" * 86]


def _row(system: str, natoms: str, size: str, batches: str, probability: str, periodic: str) -> str:
    return f"{system:>42s}  {natoms:>6s}  {size:>6s}  {batches:>6s}  {probability:>9s}  {periodic:>3s}"
