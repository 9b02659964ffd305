"""Files written bit by bit that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO, Any

from dp_core.errors import ConfigError
from dp_core.format import replaced


def check_folder(path: str | Path, *, option: str, replaceable: str | None = None) -> None:
    """Raise ConfigError if a file of this name could not be written. option: how the user chooses another place.

    replaceable: a folder of this name with this file in it is no obstacle.
    """
    path = Path(path)
    folder = path.parent
    if path.is_dir() and not (replaceable and (path / replaceable).is_file()):
        raise ConfigError(f"{path} is a folder, so it cannot be written as a file. Choose another {option}.")
    if not folder.is_dir():
        raise ConfigError(f"{path} cannot be written: no folder {folder}. Make it, or choose another {option}.")
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{path} cannot be written: no permission in {folder}. Choose another {option}.")


class Pending:
    """Several text files written side by side; they take their names together when the block ends without error."""

    def __init__(self) -> None:
        self._open: dict[Path, IO[Any]] = {}
        self._stack = contextlib.ExitStack()

    def file(self, path: str | Path) -> IO[Any]:
        """The open file that will be ``path``; always the same one for the same path."""
        path = Path(path)
        if path not in self._open:
            temporary = self._stack.enter_context(replaced(path))
            self._open[path] = temporary.open("w", encoding="utf-8")
        return self._open[path]

    def write(self, path: str | Path, text: str) -> None:
        """A whole file, which is not kept open."""
        self._stack.enter_context(replaced(Path(path))).write_text(text, encoding="utf-8")

    def __enter__(self) -> Pending:
        self._stack.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        try:
            for file in self._open.values():
                file.close()
        except OSError as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        return self._stack.__exit__(*error)
