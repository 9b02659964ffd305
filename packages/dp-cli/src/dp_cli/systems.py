"""The data sets that a command works on: ``-s``, ``-f``, ``--train-data`` and ``--valid-data``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from dp_core.data import System


def open_chosen(
    type_map: Sequence[str] | None,
    system: str | None = None,
    datafile: str | None = None,
    train_data: str | None = None,
    valid_data: str | None = None,
) -> list[System]:
    """The systems that one of the options names; without any, those in the working directory.

    Raises DataError or ConfigError if there are none.
    """
    from dp_core.data import open_systems

    if datafile is not None:
        return open_systems(_lines(datafile), type_map)
    if train_data is not None or valid_data is not None:
        return _of_input(train_data or valid_data or "", "training" if train_data else "validation", type_map)
    return open_systems(system if system is not None else ".", type_map)


def only_one(**options: object) -> None:
    """Raise BadParameter if several of the options are given; names as in Python."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"{' and '.join(given)} exclude each other; give one of them")


def _lines(datafile: str) -> list[str]:
    from dp_core.errors import DataError

    try:
        lines = Path(datafile).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise DataError(
            f"The list of systems {datafile} cannot be read: {reason}. -f names a text file with one path a line; "
            "a data set itself is given with -s."
        ) from error
    paths = {k: line.strip() for k, line in enumerate(lines, start=1) if line.strip() and line.lstrip()[0] != "#"}
    if not paths:
        raise DataError(f"The list of systems {datafile} is empty. Write one path on each line.")
    for number, path in paths.items():
        if not os.path.exists(path.split("#")[0]):
            shown = path if len(path) < 80 else f"{path[:76]} …"
            raise DataError(
                f"{datafile}, line {number}: there is no data set {shown} (current folder: {Path.cwd()}). "
                "-f names a text file with one path a line; a data set itself is given with -s."
            )
    return list(paths.values())


def _of_input(path: str, kind: str, type_map: Sequence[str] | None) -> list[System]:
    """The systems of a section of an input file; relative paths start at that file."""
    from dp_core.data import open_systems
    from dp_core.errors import ConfigError
    from dp_core.schema import load_input

    training = load_input(path).training
    section = training.training_data if kind == "training" else training.validation_data
    if section is None:
        raise ConfigError(f"{path} has no training/validation_data. Use --train-data, or give systems with -s.")
    return open_systems(section.systems, type_map, patterns=section.rglob_patterns, base=Path(path).parent)
