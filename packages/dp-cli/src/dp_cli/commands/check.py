"""``dp check``: the physics and the consistency of a model."""

from __future__ import annotations

from typing import Annotated

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath


def command(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file of any backend, or checkpoint.")],
    seed: Annotated[int, typer.Option(help="Seed of the random structures.", min=0)] = 0,
    natoms: Annotated[int, typer.Option(help="Atoms of the random structures.", min=4)] = 9,
    log_level: LogLevel = "WARNING",
    log_path: LogPath = None,
) -> None:
    """Check the physics of a model.

    Rotations, translations, permutations, finite differences, backends against each other, and more.
    Prints one line a check, with the relative error and the largest one allowed. Exit status 1 if a check fails.
    """
    from dp_cli.screen import print_status
    from dp_core.testing import check_model

    start_logging(log_level, log_path)
    with context.obj.predictor(model) as potential:
        report = check_model(potential, seed=seed, natoms=natoms)
    for one in report.checks:
        verdict, color = ("ok    ", "green") if one.passed else ("FAILED", "red")
        print_status(verdict, color, str(one).removeprefix(verdict).strip())
    for name in report.skipped:
        print_status("skipped", "yellow", name)
    typer.echo(f"{len(report.checks) - len(report.failures)} of {len(report.checks)} checks passed.")
    if not report.passed:
        raise typer.Exit(1)
