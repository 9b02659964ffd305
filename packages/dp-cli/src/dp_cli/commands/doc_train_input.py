"""``dp doc-train-input``: all settings of an input file."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath, refuse


def command(
    out_type: Annotated[
        Literal["rst", "json", "json_schema"],
        typer.Option(help="rst for reading, json for programs, json_schema for editors."),
    ] = "rst",
    multi_task: Annotated[bool, typer.Option("--multi-task", hidden=True)] = False,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """All settings of an input file, on stdout."""
    import json

    from dp_core.schema import documentation, json_schema

    start_logging(log_level, log_path)
    refuse("--multi-task", multi_task, "models here are trained on one task only")
    if out_type == "json_schema":
        typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    else:
        typer.echo(documentation(out_type), nl=out_type == "json")
