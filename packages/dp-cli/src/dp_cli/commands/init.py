"""``dp init``: an input file for a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath


def command(
    paths: Annotated[list[str], typer.Argument(metavar="DATA", help="Data sets, or folders to search.")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Input file to write: .json, or .yaml with comments.")
    ] = "input.json",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    log_level: LogLevel = "WARNING",
    log_path: LogPath = None,
) -> None:
    """Write an input file for a data set.

    It is short, with a comment at every choice.
    Elements, labels and the length of the run are those of the data; sel is counted when the training starts.
    """
    from dp_cli.files import check_folder
    from dp_cli.first_input import as_json, as_yaml, first_input
    from dp_core.errors import ConfigError
    from dp_core.format import write_bytes
    from dp_core.schema import parse_input

    start_logging(log_level, log_path)
    path = Path(output)
    writers = {".json": as_json, ".yaml": as_yaml, ".yml": as_yaml}
    if path.suffix.lower() not in writers:
        raise ConfigError(f"{output} has the suffix {path.suffix!r}; give a name that ends in .json or .yaml with -o.")
    if path.exists() and not force:
        raise ConfigError(f"{output} exists. Choose another name with -o, or replace it with --force.")
    check_folder(path, option="name with -o")
    made = first_input(paths)
    parse_input(made.document)
    write_bytes(path, writers[path.suffix.lower()](made.document).encode())
    for line in made.summary:
        typer.echo(line)
    typer.echo(f"Wrote {output}. Next:")
    typer.echo(f"  dp data check {' '.join(paths)}")
    typer.echo(f"  dp train --dry-run {output}")
    typer.echo(f"  dp train {output}")
