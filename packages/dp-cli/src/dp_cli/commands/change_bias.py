"""``dp change-bias``: the energy of the elements fitted to other data."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dp_cli.log import start_logging
from dp_cli.options import DataFile, DataSet, Head, LogLevel, LogPath, State, frozen_for, has_known_suffix, refuse_head
from dp_cli.screen import progress
from dp_cli.systems import only_one, open_chosen

if TYPE_CHECKING:
    from dp_core.data import Frame, Label, System
    from dp_core.statistics import BiasChange

log = logging.getLogger("deepmd.entrypoints.change_bias")


def command(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Checkpoint or model file.")],
    system: DataSet = None,
    datafile: DataFile = None,
    bias_value: Annotated[
        list[float] | None,
        typer.Option("-b", "--bias-value", help="The values themselves, one for each type, as in -b -93.6 -187.1."),
    ] = None,
    numb_batch: Annotated[int, typer.Option("-n", "--numb-batch", help="Frames of each system; 0 for all.", min=0)] = 0,
    mode: Annotated[
        Literal["change", "set"],
        typer.Option("-m", "--mode", help="change: fit the errors of the model; set: fit the labels."),
    ] = "change",
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="File to write.", show_default="INPUT with _updated")
    ] = None,
    head: Head = None,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """Fit the bias of a model to other data.

    The bias is the energy that each atom of an element has by itself.
    """
    from math import isfinite

    from dp_cli.files import check_folder
    from dp_core.model_file import MEMBER, load_model
    from dp_core.statistics import assign_bias

    start_logging(log_level, log_path)
    refuse_head(head)
    only_one(system=system, datafile=datafile, bias_value=bias_value or None)
    if not all(map(isfinite, bias_value or ())):
        raise typer.BadParameter(
            f"-b/--bias-value is {' '.join(map(str, bias_value or ()))}; give finite energies in eV"
        )
    state: State = context.obj
    path = Path(state.model_file(source))
    target = _target(path, output)
    check_folder(target, option="file with -o", replaceable=MEMBER)
    if bias_value:
        model, found = assign_bias(load_model(path), bias_value)
    else:
        model, found = _fitted(state, path, system, datafile, numb_batch, mode)
    _tell(found)
    _save(model, path, target)
    log.info(f"Saved model to {target}")


def _target(path: Path, output: str | None) -> Path:
    """The file to write; one without suffix gets that of the source."""
    if output is None:
        return path.with_name(f"{path.stem}_updated{path.suffix}")
    return Path(output if has_known_suffix(output) else output + path.suffix)


def _fitted(
    state: State, path: Path, system: str | None, datafile: str | None, count: int, mode: Literal["change", "set"]
) -> tuple[Any, BiasChange]:
    from dp_core.backend import get_backend
    from dp_core.data.budget import Budget, cache_limit
    from dp_core.data.short_range import short_range_systems
    from dp_core.inputs import input_labels
    from dp_core.model_file import load_model
    from dp_core.statistics import bias_labels, change_bias

    model = load_model(path)
    backend = get_backend(frozen_for(str(path)) or state.backend_for(path))
    chosen = open_chosen(model.type_map, system, datafile)
    systems = short_range_systems(chosen, model, backend, bias_labels(model), Budget(cache_limit()))
    labels = [*bias_labels(model), *input_labels(model)]
    total = sum(min(s.nframes, count or s.nframes) for s in systems)
    with progress("Fitting the bias") as show:
        return change_bias(
            model,
            _frames(systems, labels, count),
            backend.evaluator(model),
            mode,
            total=total,
            progress=show,
            round_rows=backend.round_rows,
            round_slots=backend.round_slots,
        )


def _frames(systems: list[System], labels: list[Label], count: int) -> Iterator[Frame]:
    """The first ``count`` frames of each system, or all, checked."""
    from dp_core.data import validate_frame

    for system in systems:
        for i in range(min(system.nframes, count or system.nframes)):
            frame = system.frame(i, labels)
            validate_frame(frame, system)
            yield frame


def _tell(found: BiasChange) -> None:
    import math

    if not math.isnan(found.after):
        before = "" if math.isnan(found.before) else f" (before: {found.before:.6e})"
        output = found.output
        per_atom = "" if output.intensive else " per atom"
        log.info(
            f"RMSE of {output.name}{per_atom} after linear regression is: {found.after:.6e} {output.unit}{before}."
        )
    log.info(f"Change output bias of {list(found.type_map)} from {found.old.ravel()} to {found.new.ravel()}.")


def _save(model: Any, path: Path, target: Path) -> None:
    """Write the model for the suffix; from checkpoint to checkpoint with the state of the training."""
    from dp_cli.models import written_model
    from dp_core.backend import CHECKPOINTS
    from dp_core.format import dump_bytes, write_bytes
    from dp_core.model_file import read_model_document
    from dp_core.training.checkpoint import load_checkpoint

    if target.suffix.lower() in CHECKPOINTS.values() and "training" in read_model_document(path):
        write_bytes(target, dump_bytes(replace(load_checkpoint(path), model=model).to_document()))
        return
    with written_model(model, target, option="file with -o"):
        pass
