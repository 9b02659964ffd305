"""What is shown while work goes on, and tables of results: with colours and bars on a terminal, plain elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

log = logging.getLogger("dp_cli")

#: Seconds between two plain lines.
PATIENCE = 10.0


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A function to call with (parts done, parts in all): a bar with the time left, or a line now and then."""
    if not sys.stderr.isatty():
        yield _Lines(title)
        return
    with bar() as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def bar() -> Any:
    """A progress bar of rich on stderr, for a terminal; log lines appear above it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(
        TextColumn("{task.description}"), *columns, console=Console(stderr=True, soft_wrap=True), transient=True
    )


class _Lines:
    """A log line when the last one is long ago, and nothing for short work."""

    def __init__(self, title: str):
        self._title, self._start = title, monotonic()
        self._last = self._start

    def __call__(self, done: int, total: int) -> None:
        now = monotonic()
        if done and now - self._last > PATIENCE and done < total:
            left = (now - self._start) / done * (total - done)
            log.info("%s: %d of %d, about %s left", self._title, done, total, duration(left))
            self._last = now


def duration(seconds: float) -> str:
    """A length of time in words.

    >>> duration(12.3), duration(7300)
    ('12 s', '2 h 2 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> None:
    """Print a table on stdout. numbers: the columns that are aligned to the right."""
    cells = [list(row) for row in rows]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=escape(title), title_justify="left", show_header=any(head))
        for k, name in enumerate(head):
            table.add_column(escape(name), justify="right" if k in numbers else "left", overflow="fold")
        for row in cells:
            table.add_row(*map(escape, row))
        Console().print(table)
        return
    widths = [max(len(row[k]) for row in [list(head), *cells]) for k in range(len(head))]

    def line(row: Sequence[str]) -> str:
        parts = (c.rjust(w) if k in numbers else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        return "  ".join(parts).rstrip()

    print(title)
    for row in [list(head), *cells] if any(head) else cells:
        print(line(row))


def print_status(word: str, color: str, text: str) -> None:
    """Print a line on stdout that begins with a word in colour."""
    import typer

    typer.secho(word, fg=color, bold=True, nl=False)
    typer.echo(f" {text}")
