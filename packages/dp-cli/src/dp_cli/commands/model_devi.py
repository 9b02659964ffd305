"""``dp model-devi``: how much several models disagree on data."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath, SetPrefix
from dp_cli.screen import progress
from dp_cli.systems import open_chosen

if TYPE_CHECKING:
    from dp_core import DeepPot
    from dp_core.data import Frame, Label, System
    from dp_core.data.frame import Floats

log = logging.getLogger("deepmd.entrypoints.model_devi")

_DEFAULT = ["graph.000", "graph.001", "graph.002", "graph.003"]

#: Frames that are evaluated together.
_TOGETHER = 16


def command(
    context: typer.Context,
    models: Annotated[list[str], typer.Option("-m", "--models", help="Two or more models, as in -m A B C.")] = _DEFAULT,
    system: Annotated[str, typer.Option("-s", "--system", help="Data set, or folder to search.")] = ".",
    set_prefix: SetPrefix = None,
    output: Annotated[str, typer.Option("-o", "--output", help="File for the results.")] = "model_devi.out",
    frequency: Annotated[
        int, typer.Option("-f", "--frequency", help="Steps of the trajectory between frames.", min=1)
    ] = 1,
    real_error: Annotated[
        bool, typer.Option("--real_error", "--real-error", help="Errors against the labels in the data instead.")
    ] = False,
    atomic: Annotated[bool, typer.Option("--atomic", help="Add the deviation of the force on every atom.")] = False,
    relative: Annotated[
        float | None,
        typer.Option("--relative", help="Divide the deviation of a force by |force| + this, in eV/Å.", min=0),
    ] = None,
    relative_v: Annotated[
        float | None,
        typer.Option("--relative_v", "--relative-v", help="The same for the virial per atom, in eV.", min=0),
    ] = None,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """How much several models disagree on data.

    Active learning chooses by it what to compute next.
    One row a frame: step, largest, smallest and mean deviation of virial and force, deviation of the energy per atom.
    """
    from dp_cli.files import check_folder, replaced
    from dp_core.errors import ConfigError
    from dp_core.model_deviation import write_model_devi

    start_logging(log_level, log_path)
    if set_prefix is not None:
        log.warning("-S/--set-prefix has no effect: all sets of a system are read.")
    if len(models) < (1 if real_error else 2):
        raise ConfigError("A model deviation needs two or more models. Name them after -m.")
    check_folder(output, option="file with -o")
    options = {"frequency": frequency, "atomic": atomic, "relative": relative, "relative_v": relative_v}
    with ExitStack() as stack:
        opened = [stack.enter_context(context.obj.potential(m)) for m in models]
        systems = open_chosen(opened[0].get_type_map(), system)
        temporary = stack.enter_context(replaced(output))
        for k, one in enumerate(systems):
            devi = _of_system(one, opened, options, real_error=real_error)
            write_model_devi(temporary, devi, system=one.name, append=k > 0)
    log.info(f"Model deviations of {sum(s.nframes for s in systems)} frames saved to {output}")


def _of_system(system: System, models: list[DeepPot], options: dict[str, Any], *, real_error: bool) -> Floats:
    """The table of one system. Smaller frames have zeros for the atoms that they lack."""
    import numpy as np

    from dp_core.data import Label, validate_frame
    from dp_core.inputs import input_labels

    labels = input_labels(models[0].get_model())
    if real_error:
        wanted = (Label("energy", 1), Label("force", 3, atomic=True), Label("virial", 9))
        labels += [Label(w.name, w.size, w.atomic, required=True) for w in wanted]
    tables = []
    with progress(f"Model deviation of {system.name}") as show:
        for start in range(0, system.nframes, _TOGETHER):
            frames = system.frames(range(start, min(start + _TOGETHER, system.nframes)), labels)
            for frame in frames:
                validate_frame(frame, system)
            tables += _rows(frames, models, labels, options, real_error=real_error)
            show(start + len(frames), system.nframes)
    width = max(len(row) for row in tables)
    table = np.array([np.pad(row, (0, width - len(row))) for row in tables])
    table[:, 0] = np.arange(len(table)) * options["frequency"]
    return table


def _rows(
    frames: list[Frame], models: list[DeepPot], labels: list[Label], options: dict[str, Any], *, real_error: bool
) -> list[Floats]:
    """One row a frame; consecutive frames of equal size and boundaries are evaluated together."""
    import numpy as np

    from dp_core import calc_model_devi

    rows: list[Floats] = []
    for (_, periodic), group in groupby(frames, key=lambda f: (len(f.types), f.box is not None)):
        same = list(group)
        stacked = {label.key: np.stack([f.labels[label.key] for f in same]) for label in labels}
        rows += calc_model_devi(
            np.stack([f.coord for f in same]),
            np.stack([f.box for f in same if f.box is not None]) if periodic else None,
            np.stack([f.types for f in same]),
            models,
            mixed_type=True,
            fparam=stacked.get("fparam"),
            aparam=stacked.get("aparam"),
            charge_spin=stacked.get("charge_spin"),
            spin=stacked.get("spin"),
            real_data={name: stacked[name] for name in ("energy", "force", "virial")} if real_error else None,
            **options,
        ).tolist()
    return rows
