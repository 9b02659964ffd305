"""``dp compress``: a model file whose embedding networks are tables, which are quicker to evaluate."""

from __future__ import annotations

import logging
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dp_cli.log import start_logging
from dp_cli.options import Head, LogLevel, LogPath, State, frozen_for, has_known_suffix, is_checkpoint, refuse_head
from dp_cli.screen import progress

if TYPE_CHECKING:
    from dp_core.inference import Predictor

log = logging.getLogger("deepmd.entrypoints.compress")

#: Atoms of the structure on which speed is measured.
ATOMS = 192
#: A difference of a force, eV/Å, above which a finer table is advised; models are a thousand times less accurate.
LARGE = 1e-4


def command(
    context: typer.Context,
    source: Annotated[str, typer.Option("-i", "--input", help="Model file or checkpoint.")] = "frozen_model",
    output: Annotated[
        str, typer.Option("-o", "--output", help="File to write; without suffix, that of the input is added.")
    ] = "frozen_model_compressed",
    step: Annotated[float, typer.Option("-s", "--step", help="Width of the fine intervals of the tables.")] = 0.01,
    extrapolate: Annotated[
        float, typer.Option("-e", "--extrapolate", help="The tables reach to so many times the largest value.")
    ] = 5.0,
    frequency: Annotated[
        int, typer.Option("-f", "--frequency", help="Kept in the file for DeePMD-kit: how often it checks the range.")
    ] = -1,
    training_script: Annotated[
        str | None,
        typer.Option(
            "-t", "--training-script", help="Input file of the training, if the model lacks the shortest distance."
        ),
    ] = None,
    checkpoint_folder: Annotated[str | None, typer.Option("-c", "--checkpoint-folder", hidden=True)] = None,
    head: Head = None,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """Make a model quicker.

    Networks that embed one number become tables. The result is compared with the model on sample structures, its
    accuracy and its speed; its networks stay in the file.
    """
    from dp_cli.files import check_folder
    from dp_core.compression import compress, obstacle, tables_of
    from dp_core.errors import ConfigError
    from dp_core.model_file import MEMBER, load_model

    start_logging(log_level, log_path)
    refuse_head(head)
    if checkpoint_folder is not None:
        log.info("-c/--checkpoint-folder is not needed: compression leaves no files behind.")
    state: State = context.obj
    path = state.model_file(source)
    target = _target(state, output, path)
    check_folder(target, option="file with -o", replaceable=MEMBER)
    model = load_model(path)
    reason = obstacle(model)
    if reason is not None:
        raise ConfigError(f"{path} cannot be compressed: {reason}")
    shortest = _shortest(model, path, training_script)
    log.info(f"{path} can be compressed; the tables reach down to {shortest:g} Å, the shortest distance in its data.")
    made = compress(model, min_nbor_dist=shortest, step=step, extrapolate=extrapolate, frequency=frequency)
    log.info(f"Tables: {tables_of(made)}")
    _write(state, path, made, target, shortest)
    log.info(f"Saved compressed model to {target}")


def _target(state: State, output: str, path: str) -> str:
    """The file to write; a name without suffix gets that of the input, unless the user chose a backend."""
    if state.explicit or has_known_suffix(output) or is_checkpoint(path):
        return state.output_file(output, path)
    return output + Path(path).suffix


def _shortest(model: Any, path: str, script: str | None) -> float:
    """The shortest distance between atoms in the training data, Å, as the model tells or as it is in the data."""
    from dp_core.errors import ConfigError

    if model.min_nbor_dist is not None:
        if script is not None:
            log.info(f"{script} is not read: {path} tells the shortest distance of its training data.")
        return float(model.min_nbor_dist)
    if script is None:
        raise ConfigError(
            f"{path} does not tell min_nbor_dist, the shortest distance between atoms in its training data, down to "
            "which the tables reach. Give the input file of the training: dp compress -t input.json"
        )
    from dp_core.schema import load_input
    from dp_core.statistics import neighbor_statistics, whole
    from dp_core.training import setup

    systems = setup.open_data(load_input(script), Path(), model.type_map).training
    rcut = float(model.neighbor_spec.rcut)
    with progress("Looking for the shortest distance") as show:
        found = neighbor_statistics(whole(systems), rcut, len(model.type_map), mixed=True, progress=show)
    return float(found.min_distance)


def _write(state: State, path: str, made: Any, target: str, shortest: float) -> None:
    """Write the file if it gives what the tables give, and say what is lost and what is gained."""
    from dp_cli.models import check_same, difference, written_model
    from dp_core.inference import Predictor

    backend = frozen_for(target) or state.backend_for(target)
    with Predictor(made, "numpy") as tables, written_model(made, target, option="file with -o") as written:
        check_same(tables, written, target)
        before = frozen_for(path)
        with (
            Predictor(path, before if before == backend else backend) as full,
            Predictor(written, backend) as quick,
        ):
            found = difference(full, quick, shortest=shortest)
            log.info(f"Largest difference from {path} on sample structures: {found}")
            if found.found.get("force", 0.0) > LARGE and quick.get_model().output.kind == "energy":
                log.warning(f"A force differs by more than {LARGE:g} eV/Å; use a smaller step (-s), half as large.")
            _tell_speed(full, quick)


def _tell_speed(full: Predictor, quick: Predictor) -> None:
    import numpy as np

    from dp_core.random_structures import random_sample

    sample = random_sample(full.get_model(), np.random.default_rng(0), ATOMS, periodic=True)
    before, after = (_seconds(predictor, sample) for predictor in (full, quick))
    log.info(
        f"Speed-up: {before / after:.2f} ({1e3 * before:.3g} ms before, {1e3 * after:.3g} ms now, for {ATOMS} atoms on "
        f"{quick.backend_name}, this machine, now)"
    )
    if after > before:
        log.info(
            "Here the tables gain nothing; a kernel for them, as dp-ops has, does. See the manual page Compression."
        )


def _seconds(predictor: Predictor, sample: Any) -> float:
    """The shortest of three evaluations, after one that compiles and fills caches."""
    from dp_cli.models import quantities

    times = []
    for _ in range(4):
        begin = perf_counter()
        quantities(predictor, sample)
        times.append(perf_counter() - begin)
    return min(times[1:])
