"""``dp freeze``: from a checkpoint to a model file for use."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer

from dp_cli.log import start_logging
from dp_cli.options import Head, LogLevel, LogPath, State, refuse, refuse_head

log = logging.getLogger("deepmd.entrypoints.freeze")


def command(
    context: typer.Context,
    checkpoint: Annotated[
        str,
        typer.Option(
            "-c", "--checkpoint-folder", "--checkpoint", help="Checkpoint, its name without suffix, or its folder."
        ),
    ] = ".",
    output: Annotated[
        str, typer.Option("-o", "--output", help="File to write; without suffix, that of the backend is added.")
    ] = "frozen_model",
    node_names: Annotated[str | None, typer.Option("-n", "--node-names", hidden=True)] = None,
    nvnmd_weight: Annotated[str | None, typer.Option("-w", "--nvnmd-weight", hidden=True)] = None,
    head: Head = None,
    hessian: Annotated[
        bool,
        typer.Option(
            "--hessian",
            help="DeepPot.eval gives second derivatives, as after a training with them: for N atoms, every call takes "
            "3N derivatives of the force more.",
        ),
    ] = False,
    lower_kind: Annotated[str, typer.Option("--lower-kind", hidden=True)] = "nlist",
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """Make a model file from a checkpoint.

    Its suffix tells its kind: .dp, .pth, .pt2 and so on.
    Without options, the newest checkpoint of the training in this folder becomes frozen_model. The result is compared
    with the checkpoint on sample structures.
    """
    from dp_cli.models import check_same, written_model
    from dp_core.inference import Predictor
    from dp_core.training.checkpoint import find_checkpoint

    start_logging(log_level, log_path)
    refuse_head(head)
    refuse("-n/--node-names", node_names, "frozen models here have no nodes to choose from; all outputs are there")
    refuse("-w/--nvnmd-weight", nvnmd_weight, "dp does not make models for NVNMD hardware")
    refuse(
        "--lower-kind", lower_kind != "nlist", f"{lower_kind!r} is not known; files have one kind of interface, nlist"
    )
    state: State = context.obj
    source = find_checkpoint(checkpoint, state.backend)
    target = state.output_file(output, source)
    with (
        Predictor(source, "numpy") as potential,
        written_model(_chosen(potential.get_model(), hessian), target, option="file with -o") as written,
    ):
        check_same(potential, written, target)
    log.info(f"Saved frozen model to {target}")


def _chosen(model: Any, hessian: bool) -> Any:
    """The model, marked as one that was trained with second derivatives if they are wanted."""
    from dp_core.errors import ConfigError
    from dp_core.models.protocol import no_second_derivatives
    from dp_core.module import replace

    if not hessian:
        return model
    if why := no_second_derivatives(model):
        raise ConfigError(f"--hessian: {why} Freeze it without the option.")
    return replace(model, script=(model.script or {}) | {"hessian_mode": True})
