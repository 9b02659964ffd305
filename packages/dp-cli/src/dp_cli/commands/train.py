"""``dp train``: train a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath, State, refuse
from dp_cli.systems import only_one

if TYPE_CHECKING:
    from dp_core.data import SystemRow
    from dp_core.training import Summary


def command(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="Input file, JSON or YAML.")],
    init_model: Annotated[
        str | None, typer.Option("-i", "--init-model", help="Start from the weights of a checkpoint, at step 0.")
    ] = None,
    restart: Annotated[str | None, typer.Option("-r", "--restart", help="Go on from a checkpoint.")] = None,
    init_frz_model: Annotated[
        str | None, typer.Option("-f", "--init-frz-model", help="Start from the weights of any model file, at step 0.")
    ] = None,
    finetune: Annotated[str | None, typer.Option("-t", "--finetune", hidden=True)] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="Where the input with all defaults goes.")] = "out.json",
    skip_neighbor_stat: Annotated[
        bool, typer.Option("--skip-neighbor-stat", help="Do not look for neighbours in the data first.")
    ] = False,
    force_load: Annotated[
        bool, typer.Option("--force-load", help="Parameters that do not fit those of the file begin anew.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do all up to the first step, say what would be trained, write nothing.")
    ] = False,
    use_pretrain_script: Annotated[bool, typer.Option("--use-pretrain-script", hidden=True)] = False,
    model_branch: Annotated[str, typer.Option("--model-branch", hidden=True)] = "",
    mpi_log: Annotated[str, typer.Option("-m", "--mpi-log", hidden=True)] = "master",
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """Train a model.

    Names of checkpoints may be given without suffix. A signal (Ctrl-C, or that of a queue) saves a checkpoint before
    the training ends; go on from it with --restart model.ckpt.
    """
    from dp_core.training import train as run

    start_logging(log_level, log_path)
    only_one(init_model=init_model, restart=restart, init_frz_model=init_frz_model)
    reason = "fine-tuning is not part of this version; --init-frz-model starts from the weights of a model"
    refuse("-t/--finetune", finetune, reason)
    refuse("--use-pretrain-script", use_pretrain_script, reason)
    refuse("--model-branch", model_branch, reason)
    refuse("-m/--mpi-log", mpi_log != "master", f"{mpi_log!r} is not known; the first process logs")
    state: State = context.obj
    if init_frz_model is not None:
        init_frz_model = state.model_file(init_frz_model)
    with _reporter() as reporter:
        result = run(
            source,
            backend=_backend(state, restart or init_model),
            init_model=init_model,
            restart=restart,
            init_frz_model=init_frz_model,
            output=output,
            skip_neighbor_stat=skip_neighbor_stat,
            force_load=force_load,
            dry_run=dry_run,
            reporter=reporter,
        )
    if result.summary is not None:
        _print_summary(result.summary)


def _backend(state: State, checkpoint: str | None) -> str:
    """The backend to train on. Without a choice of the user, a checkpoint to begin from tells it."""
    from dp_core.training.checkpoint import find_checkpoint

    if checkpoint is None or state.explicit:
        return state.backend
    return state.backend_for(find_checkpoint(checkpoint, state.backend))


def _reporter() -> Any:
    """Where the messages of the training go: to the log, on a terminal with a bar for what takes long."""
    from contextlib import nullcontext

    from dp_core.training import LogReporter

    if not sys.stderr.isatty():
        return nullcontext(LogReporter())
    from dp_cli.training_screen import Screen

    return Screen()


def _print_summary(summary: Summary) -> None:
    """What a dry run found."""
    from dp_cli.screen import duration, print_table

    first, last = summary.learning_rates
    sel = f"{list(summary.sel)} neighbours"
    nearest = "not counted" if summary.min_nbor_dist is None else f"{summary.min_nbor_dist:.3f} Å"
    memory = "unknown" if summary.memory is None else f"{summary.memory / 2**20:.0f} MiB"
    facts: Mapping[str, str] = {
        "backend": summary.backend,
        "elements": " ".join(summary.type_map),
        "parameters": f"{summary.parameters:,}, of which {summary.trained:,} are trained",
        "neighbours": f"within {summary.rcut:g} Å, at most {sel}; shortest distance {nearest}",
        "steps": f"{summary.first_step} to {summary.num_steps}",
        "a pass over the data": f"{summary.batches_per_epoch:.0f} batches",
        "learning rate": f"{first:.2e} to {last:.2e}",
        "time": f"{summary.seconds_per_step:.3g} s a step, {duration(summary.seconds)} in all",
        "memory": memory,
    }
    print_table("What would be trained", ("", ""), facts.items())
    head = ("system", "atoms", "frames a batch", "batches", "probability", "cell")
    for title, rows in (("Training data", summary.training), ("Validation data", summary.validation)):
        if rows:
            print_table(title, head, map(_cells, rows), numbers=(1, 2, 3, 4))
    typer.echo("Nothing was written.")


def _cells(row: SystemRow) -> tuple[str, ...]:
    cell = "periodic" if row.periodic else "open"
    return row.name, str(row.natoms), str(row.batch_size), str(row.batches), f"{row.probability:.3f}", cell
