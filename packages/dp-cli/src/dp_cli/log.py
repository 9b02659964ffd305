"""The log: lines on stderr, and the same with the names of the loggers in a file."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TextIO

import typer

LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO", "WARNING": "WARNING", "ERROR": "ERROR"}
LEVELS |= {"3": "DEBUG", "2": "INFO", "1": "WARNING", "0": "ERROR"}

_OURS = ("dp_core", "dp_torch", "dp_jax", "dp_tf", "dp_gnn", "dp_cli", "deepmd")
_handlers: list[logging.Handler] = []


class _Screen(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at the moment, which a progress bar replaces."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _File(logging.FileHandler):
    """A log file. If it cannot be written any more, that is said once, and the work goes on without it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (a name of the library)
        """Called in place of an exception."""
        error = sys.exc_info()[1]
        logging.getLogger().removeHandler(self)
        if self in _handlers:
            _handlers.remove(self)
        with contextlib.suppress(OSError):
            self.close()
        reason = error.strerror if isinstance(error, OSError) else error
        logging.getLogger("dp_cli").warning(f"The log file {self.baseFilename} ends here: {reason}.")


def start_logging(level: str, path: str | None = None) -> None:
    """Send the log to stderr and, if a path is given, to a file.

    A line is ``[time] DEEPMD LEVEL   message``, what scripts look for; in files the name of the logger is before the
    message. Warnings of libraries are shown at level DEBUG only. Raises ConfigError if the file cannot be written.
    """
    if level.upper() not in LEVELS:
        raise typer.BadParameter(f"-v/--log-level is {level!r}; use DEBUG, INFO, WARNING or ERROR")
    stop_logging()
    _handlers.append(_Screen())
    if path:
        _handlers.append(_file_handler(path))
    for handler in _handlers:
        name = "%(name)-45s " if isinstance(handler, logging.FileHandler) else ""
        handler.setFormatter(logging.Formatter(f"[%(asctime)s] DEEPMD %(levelname)-7s {name}%(message)s"))
        logging.getLogger().addHandler(handler)
    wanted = LEVELS[level.upper()]
    for name in _OURS:
        logging.getLogger(name).setLevel(wanted)
    logging.getLogger("py.warnings").setLevel("WARNING" if wanted == "DEBUG" else "ERROR")
    logging.captureWarnings(True)


def stop_logging() -> None:
    """Undo ``start_logging``."""
    logging.captureWarnings(False)
    for name in (*_OURS, "py.warnings"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    while _handlers:
        handler = _handlers.pop()
        logging.getLogger().removeHandler(handler)
        if isinstance(handler, logging.FileHandler):
            handler.close()


def note_in_file(text: str) -> None:
    """Write a line at level ERROR to the log file only; the screen has the message already."""
    record = logging.LogRecord("dp_cli", logging.ERROR, __file__, 0, text, None, None)
    for handler in _handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def _file_handler(path: str) -> logging.Handler:
    from dp_core.errors import ConfigError

    try:
        return _File(path)
    except OSError as error:
        raise ConfigError(
            f"The log file {path} cannot be written: {error.strerror}. Choose another path with -l."
        ) from error
