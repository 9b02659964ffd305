"""``dp eval-desc``: the descriptors of the atoms in data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dp_cli.log import start_logging
from dp_cli.options import DataFile, DataSet, Head, LogLevel, LogPath, ModelName, refuse_head
from dp_cli.screen import progress
from dp_cli.systems import only_one, open_chosen

if TYPE_CHECKING:
    import numpy as np

    from dp_core.data import System
    from dp_core.inference import Predictor

log = logging.getLogger("deepmd.entrypoints.eval_desc")


def command(
    context: typer.Context,
    model: ModelName = "frozen_model",
    system: DataSet = None,
    datafile: DataFile = None,
    output: Annotated[str, typer.Option("-o", "--output", help="Folder for the results.")] = "desc",
    dtype: Annotated[
        Literal["fp32", "fp64", "native"], typer.Option(help="Precision of the results; native is that of the model.")
    ] = "native",
    head: Head = None,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """The descriptors of all atoms in data.

    They go to OUTPUT/SYSTEM.npy, in the shape (frames, atoms, width).
    Systems of one name get _1, _2 and so on. Rows of virtual atoms, and of atoms that smaller frames of a system do not
    have, are zero.
    """
    import numpy as np

    from dp_cli.files import replaced

    start_logging(log_level, log_path)
    refuse_head(head)
    only_one(system=system, datafile=datafile)
    with context.obj.predictor(model) as potential:
        systems = open_chosen(potential.get_type_map(), system, datafile)
        folder = _folder(output)
        taken: dict[str, int] = {}
        for one in systems:
            name = Path(one.name.rstrip("/")).name.replace("#", "_")
            count = taken[name] = taken.get(name, -1) + 1
            path = folder / (f"{name}_{count}.npy" if count else f"{name}.npy")
            values = _descriptors(potential, one, {"fp32": np.float32, "fp64": np.float64, "native": None}[dtype])
            with replaced(path) as temporary, temporary.open("wb") as file:
                np.save(file, values)
            log.info(f"# processing system : {one.name}")
            log.info(f"# descriptors saved to {path}")
            log.info(f"# descriptor shape: {values.shape}")


def _folder(output: str) -> Path:
    from dp_core.errors import ConfigError

    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The folder {folder} cannot be made: {error.strerror}. Choose another with -o.") from error
    return folder


def _descriptors(potential: Predictor, system: System, dtype: type | None) -> np.ndarray:
    import numpy as np

    from dp_core.inputs import eval_arguments, input_labels

    labels = [label for label in input_labels(potential.get_model()) if "spin" in label.key]
    # they do not depend on the other parameters, which the model asks for nevertheless
    fparam = np.zeros(potential.get_dim_fparam()) if potential.get_dim_fparam() else None
    aparam = np.zeros(potential.get_dim_aparam()) if potential.get_dim_aparam() else None
    result: np.ndarray | None = None
    with progress(f"Descriptors of {system.name}") as show:
        for i in range(system.nframes):
            frame = system.frame(i, labels)
            values = potential.eval_descriptor(
                frame.coord, frame.box, frame.types, fparam, aparam, dtype=dtype, **eval_arguments([frame])
            )
            if result is None:
                result = np.zeros((system.nframes, system.natoms, values.shape[-1]), values.dtype)
            result[i, : len(frame.types)] = values[0]
            show(i + 1, system.nframes)
    return np.zeros((0, system.natoms, 0)) if result is None else result
