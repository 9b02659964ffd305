"""``dp plot``: learning curves and parity plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dp_cli.log import start_logging
from dp_cli.options import DataFile, DataSet, LogLevel, LogPath, State
from dp_cli.screen import progress
from dp_cli.systems import only_one, open_chosen

if TYPE_CHECKING:
    from dp_cli.accuracy import Predicted
    from dp_core.data.frame import Floats, Frame
    from dp_core.outputs import OutputDef


def command(
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Learning curves or folders of trainings; or a prefix of dp test -d."),
    ] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", help="Draw the parity of this model on data.")] = None,
    system: DataSet = None,
    datafile: DataFile = None,
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="Picture: .png, .svg or .pdf.", show_default="lcurve.png or parity.png"),
    ] = None,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """Draw learning curves and parity plots.

    Several runs are compared; a parity plot shows predictions against labels.

    dp plot                        the learning curve of the training in this folder

    dp plot run1 run2 -o both.svg  two trainings compared

    dp plot details                the files that dp test -d details wrote

    dp plot -m model.dp -s data    straight from a model and data
    """
    from dp_cli import figures
    from dp_cli.files import check_folder

    start_logging(log_level, log_path)
    only_one(system=system, datafile=datafile)
    if model is not None and sources:
        raise typer.BadParameter("give either files to draw, or a model with -m")
    if model is None and (system is not None or datafile is not None):
        raise typer.BadParameter("-s and -f name data for a model; give it with -m")
    prefix = sources[0] if sources and len(sources) == 1 and _is_prefix(sources[0]) else None
    parity = model is not None or prefix is not None
    path = output or ("parity.png" if parity else "lcurve.png")
    figures.check_figure_name(path)
    check_folder(path, option="name with -o")
    if model is not None:
        figure = figures.draw_parity(_compared(context.obj, model, system, datafile), model)
    elif prefix is not None:
        figure = figures.draw_parity(figures.read_details(prefix), prefix)
    else:
        figure = figures.draw_curves([figures.read_curve(Path(name)) for name in sources or ["lcurve.out"]])
    figures.save(figure, path)
    typer.echo(f"Wrote {path}")


def _is_prefix(name: str) -> bool:
    """Whether a name is not that of a file or folder, but there are detail files that begin with it."""
    return not Path(name).exists() and any(Path(f"{name}.{kind}.out").is_file() for kind in ("e", "f", "v"))


def _compared(state: State, model: str, system: str | None, datafile: str | None) -> dict[str, Floats]:
    """Labels and predictions of all frames, by the names of the detail files, or of the output of other models."""
    import numpy as np

    from dp_cli.predictions import predictions

    found: dict[str, list[Floats]] = {}
    with state.predictor(model) as predictor:
        output = predictor.get_model().output
        for one in open_chosen(predictor.get_type_map(), system, datafile):
            with progress(f"Evaluating {one.name}") as show:
                pairs = predictions(predictor, one, np.arange(one.nframes), atomic=False)
                for done, (frame, predicted) in enumerate(pairs, start=1):
                    for name, label, value in _pairs(frame, predicted, output):
                        found.setdefault(name, []).append(np.stack([label.ravel(), value.ravel()]))
                    show(done, one.nframes)
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def _pairs(frame: Frame, predicted: Predicted, output: OutputDef) -> Iterator[tuple[str, Floats, Floats]]:
    """The quantities that a frame has labels of: name, label and prediction."""
    labels, real = frame.labels, frame.types >= 0
    if output.kind != "energy":
        if output.name in frame.found:
            yield output.name, labels[output.name], predicted.total
        if f"atom_{output.name}" in frame.found:
            chosen = predicted.selected
            yield f"atom_{output.name}", labels[f"atom_{output.name}"][chosen], predicted.atomic[chosen]
        return
    assert predicted.force is not None
    assert predicted.virial is not None
    if "energy" in frame.found:
        yield "e_peratom", labels["energy"] / frame.natoms, predicted.total / frame.natoms
    if "force" in frame.found:
        yield "f" if predicted.magnetic is None else "fr", labels["force"][real], predicted.force[real]
    if predicted.magnetic is not None and "force_mag" in frame.found:
        spinning = predicted.spinning
        yield "fm", labels["force_mag"][spinning], predicted.magnetic[spinning]
    if "virial" in frame.found and frame.box is not None:
        yield "v_peratom", labels["virial"] / frame.natoms, predicted.virial / frame.natoms
