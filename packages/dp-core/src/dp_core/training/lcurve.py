"""The learning curve: a text table, and the same as JSON lines."""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from dp_core.errors import ConfigError
from dp_core.format import write_bytes

log = logging.getLogger("dp_core.training")

#: The JSON lines beside the table.
LOG = "train_log.jsonl"

NOTE = "# If there is no available reference data, rmse_*_{val,trn} will print nan\n"


class LearningCurve:
    """Appends one row a display to ``lcurve.out`` and one object to ``train_log.jsonl`` beside it; both flushed.

    The table has, in alphabetical order, two columns a metric (validation, training), or one without validation data.

    restart_step: rows of later steps are dropped and new ones appended; None begins new files.
    """

    def __init__(self, path: Path, *, restart_step: int | None):
        self.path = path
        self.json_path = path.with_name(LOG)
        self._head = ""
        if restart_step is not None:
            self._head = _cut(self.path, restart_step, _table_step)
            _cut(self.json_path, restart_step, _json_step)
        mode = "w" if restart_step is None else "a"
        self._table, self._json = _open(self.path, mode), _open(self.json_path, mode)

    def row(
        self,
        step: int,
        training: Mapping[str, float],
        validation: Mapping[str, float] | None,
        learning_rate: float,
        **more: float | None,
    ) -> None:
        """Add a step. ``more``: numbers for the JSON lines only (seconds, remaining, …)."""
        head = header(training, validation is not None)
        if self._head and self._head != head.splitlines()[0]:
            self._put_aside(step)
        if not self._head:
            self._table.write(head)
            self._head = head.splitlines()[0]
        line = f"{step:7d}"
        for name in columns(training):
            if validation is not None:
                line += f"   {validation[name]:11.2e}"
            line += f" {training[name]:11.2e}" if validation is not None else f"   {training[name]:11.2e}"
        self._table.write(f"{line}   {learning_rate:8.1e}\n")
        self._table.flush()
        record = {
            "step": step,
            "lr": learning_rate,
            "training": _plain(training),
            "validation": None if validation is None else _plain(validation),
            **_plain(more),
            "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        self._json.write(json.dumps(record) + "\n")
        self._json.flush()

    def _put_aside(self, step: int) -> None:
        """Begin a new table, because the columns are others than before the restart; the old one gets another name."""
        self._table.close()
        aside = self.path.with_name(f"{self.path.name}.before-{step}")
        self.path.replace(aside)
        log.info("%s has other columns from step %d on; the rows before are in %s.", self.path.name, step, aside.name)
        self._table, self._head = _open(self.path, "w"), ""

    def close(self) -> None:
        """Close both files. What a full disk did not take was told when it was written."""
        for file in (self._table, self._json):
            with contextlib.suppress(OSError):
                file.close()


def columns(metrics: Mapping[str, float]) -> list[str]:
    """The metrics that are columns, in their order."""
    return sorted(name for name in metrics if not name.startswith("l2_"))


def header(metrics: Mapping[str, float], with_validation: bool) -> str:
    """The two lines above the rows."""
    line = f"# {'step':5s}"
    for name in columns(metrics):
        line += f"   {name + '_val':>11s} {name + '_trn':>11s}" if with_validation else f"   {name + '_trn':>11s}"
    return f"{line}   {'lr':8s}\n{NOTE}"


def _plain(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """JSON knows no NaN."""
    return {k: None if v is None or not math.isfinite(v) else v for k, v in values.items()}


def _open(path: Path, mode: str) -> IO[str]:
    try:
        return open(path, mode, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}. Choose another training/disp_file, or repair the folder."
        ) from error


def _table_step(line: str) -> int | None:
    return None if line.startswith("#") else int(line.split()[0])


def _json_step(line: str) -> int | None:
    record: Any = json.loads(line)
    return int(record["step"])


def _cut(path: Path, last: int, step_of: Any) -> str:
    """Drop the rows after step ``last``, and a row that was cut off; the first line of what is left."""
    if not path.is_file():
        return ""
    kept = []
    text = path.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines(keepends=True):
        try:
            step = step_of(line)
        except (ValueError, IndexError, KeyError, TypeError):
            continue
        if line.endswith("\n") and (step is None or step <= last):
            kept.append(line)
    if "".join(kept) != text:
        write_bytes(path, "".join(kept).encode())
    return kept[0].rstrip("\n") if kept else ""
