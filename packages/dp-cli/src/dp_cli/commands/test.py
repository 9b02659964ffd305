"""``dp test``: errors of a model on data."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from dp_cli.log import start_logging
from dp_cli.options import DataFile, DataSet, Head, LogLevel, LogPath, ModelName, SetPrefix, State, refuse_head
from dp_cli.screen import progress
from dp_cli.systems import only_one, open_chosen

if TYPE_CHECKING:
    from dp_cli.accuracy import Accuracy
    from dp_cli.details import Details
    from dp_core.data import System
    from dp_core.data.frame import Integers
    from dp_core.inference import Predictor

#: The name that programs cut the lines of a log file at.
log = logging.getLogger("deepmd.entrypoints.test")


def command(
    context: typer.Context,
    model: ModelName = "frozen_model",
    system: DataSet = None,
    datafile: DataFile = None,
    train_data: Annotated[str | None, typer.Option(help="Use the training data of this input file.")] = None,
    valid_data: Annotated[str | None, typer.Option(help="Use the validation data of this input file.")] = None,
    set_prefix: SetPrefix = None,
    numb_test: Annotated[int, typer.Option("-n", "--numb-test", help="Frames of each system; 0 for all.", min=0)] = 0,
    rand_seed: Annotated[int | None, typer.Option("-r", "--rand-seed", help="Seed of --shuffle-test.", min=0)] = None,
    shuffle_test: Annotated[bool, typer.Option("--shuffle-test", help="Take frames in random order.")] = False,
    detail_file: Annotated[
        str | None, typer.Option("-d", "--detail-file", help="Write labels and predictions to PREFIX.e.out and so on.")
    ] = None,
    atomic: Annotated[bool, typer.Option("-a", "--atomic", help="Compare the values of atoms, too.")] = False,
    head: Head = None,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """Errors of a model on data.

    Mean absolute and root mean square errors, by system and in all.
    """
    import numpy as np

    from dp_cli.accuracy import Accuracy
    from dp_cli.details import Details
    from dp_cli.files import Pending, check_folder

    start_logging(log_level, log_path)
    refuse_head(head)
    only_one(system=system, datafile=datafile, train_data=train_data, valid_data=valid_data)
    if set_prefix is not None:
        log.warning("-S/--set-prefix has no effect: all sets of a system are read.")
    if rand_seed is not None and not shuffle_test:
        log.warning("-r/--rand-seed has no effect without --shuffle-test: frames are taken in their order.")
    state: State = context.obj
    if detail_file is not None:
        check_folder(f"{detail_file}.e.out", option="prefix with -d")
    with ExitStack() as stack:
        potential = stack.enter_context(state.predictor(model))
        systems = open_chosen(potential.get_type_map(), system, datafile, train_data, valid_data)
        details = Details(detail_file, stack.enter_context(Pending())) if detail_file is not None else None
        random = np.random.default_rng(rand_seed)
        total = Accuracy()
        for one in systems:
            order = random.permutation(one.nframes) if shuffle_test else np.arange(one.nframes)
            total.merge(_test_system(potential, one, order[: numb_test or None], details, atomic=atomic))
        log.info("# ----------weighted average of errors----------- ")
        log.info(f"# number of systems : {len(systems)}")
        for line in total.lines(in_all=True):
            log.info(line)
        log.info("# ----------------------------------------------- ")


def _test_system(
    potential: Predictor, system: System, order: Integers, details: Details | None, *, atomic: bool
) -> Accuracy:
    """Report on one system."""
    from dp_cli.accuracy import TENSORS, Accuracy, compare
    from dp_cli.predictions import predictions

    log.info("# ---------------output of dp test--------------- ")
    log.info(f"# testing system : {system.name}")
    accuracy, output = Accuracy(), potential.get_model().output
    if details is not None:
        details.begin(system.name)
    with progress(f"Testing {system.name}") as show:
        for done, (frame, predicted) in enumerate(predictions(potential, system, order, atomic=atomic), start=1):
            compare(frame, predicted, output, accuracy, atomic=atomic)
            if details is not None:
                details.add(frame, predicted, output, atomic=atomic)
            show(done, len(order))
    log.info(f"# number of test data : {len(order)} ")
    for line in accuracy.lines():
        log.info(line)
    log.info("# ----------------------------------------------- ")
    if not accuracy.sums:
        wanted = "" if output.kind == "energy" else f" {'atom_' if atomic else ''}{output.name}"
        log.warning(f"{system.name} has no labels{wanted}, so there is nothing to compare with.")
    elif atomic and output.kind not in TENSORS and f"atomic {output.kind}" not in accuracy.sums:
        name = "atom_ener" if output.kind == "energy" else f"atom_{output.name}"
        log.warning(f"{system.name} has no label {name}, so values of atoms are not compared.")
    return accuracy
