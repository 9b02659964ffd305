"""``dp convert-backend``: a model file for another backend."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath, frozen_for, refuse

if TYPE_CHECKING:
    from dp_core.inference import Predictor

log = logging.getLogger("deepmd.entrypoints.convert_backend")


def command(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Model file or checkpoint.")],
    target: Annotated[str, typer.Argument(metavar="OUTPUT", help="File to write; its suffix tells the backend.")],
    atomic_virial: Annotated[bool, typer.Option("--atomic-virial", hidden=True)] = False,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """Write a model file for another backend.

    The two are compared on sample structures.
    The framework of INPUT need not be installed. Every file can give virials of atoms.
    """
    from dp_cli.models import check_same, written_model
    from dp_core.backend import backend_of

    start_logging(log_level, log_path)
    refuse("--atomic-virial", atomic_virial and not target.lower().endswith(".pt2"), "it is for .pt2 files only")
    path = context.obj.model_file(source)
    backend_of(target)
    with _opened(path) as potential, written_model(potential.get_model(), target, option="OUTPUT") as written:
        check_same(potential, written, target)
    log.info(f"Saved {target}")


def _opened(path: str) -> Predictor:
    """The model on its own backend if that is installed, else on NumPy."""
    from dp_core.backend import installed
    from dp_core.inference import Predictor

    own = frozen_for(path)
    if own is not None and own not in installed():
        log.info(f"{own} is not installed; {path} is read and evaluated without it.")
        own = "numpy"
    return Predictor(path, own or "numpy")
