"""``dp data``: look through data sets, and convert them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Annotated

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath
from dp_cli.screen import print_status, print_table, progress

if TYPE_CHECKING:
    from dp_core.data import DataReport, SystemReport

app = typer.Typer(help="Look through data sets, and convert them.", rich_markup_mode=None, no_args_is_help=True)

TypeMap = Annotated[
    list[str] | None,
    typer.Option("-t", "--type-map", help="Elements of the model, as in -t O H.", show_default="of the data"),
]

_COLORS = {"error": "red", "warning": "yellow", "notice": "blue"}


@app.command()
def check(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Data sets, or folders to search.")],
    type_map: TypeMap = None,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """What data sets hold, and what is or may be wrong: NaN, overlaps, units, signs, outliers, duplicates.

    Exit status 1 if there are errors, which forbid training. Warnings are worth a look.
    """
    from dp_core.data import check_data

    start_logging(log_level, log_path)
    with progress("Reading frames") as show:
        report = check_data(paths, type_map, progress=show)
    _print_systems(report.systems)
    for finding in report.findings:
        print_status(f"{finding.severity.capitalize()}:", _COLORS[finding.severity], finding.message)
    typer.echo(_verdict(report))
    if report.errors:
        raise typer.Exit(1)


def _print_systems(systems: list[SystemReport]) -> None:
    from dp_core.data import COMMON_LABELS

    if not systems:
        return
    known = {label.key for label in COMMON_LABELS}
    head = ("system", "frames", "atoms", "elements", "cell", "Å³/atom", "closest Å")
    print_table("Structures", head, map(_structure_cells, systems), numbers=(1, 2))
    rows = [
        (
            s.name,
            _span(s.energy_per_atom),
            "–" if s.force_rms is None else f"{s.force_rms:.3g}, {s.force_max:.3g}",
            _span(s.virial),
            " ".join(name for name in s.labels if name in known),
        )
        for s in systems
    ]
    print_table("Labels", ("system", "energy eV/atom", "force eV/Å rms, max", "virial eV", "all"), rows)


def _structure_cells(report: SystemReport) -> tuple[str, ...]:
    return (
        report.name,
        str(report.nframes),
        str(report.natoms),
        " ".join(report.elements),
        "periodic" if report.periodic else "open",
        _span(report.volume_per_atom),
        "–" if report.closest is None else f"{report.closest.distance:.3f}",
    )


def _span(values: tuple[float, float] | None) -> str:
    if values is None:
        return "–"
    low, high = (f"{v:.5g}" for v in values)
    return low if low == high else f"{low} … {high}"


def _verdict(report: DataReport) -> str:
    frames = sum(s.nframes for s in report.systems)
    counts = [(len(report.errors), "error"), (len(report.warnings), "warning")]
    found = " and ".join(f"{n} {word}{'s' if n != 1 else ''}" for n, word in counts)
    return f"{frames} frames in {len(report.systems)} systems: {found}."


@app.command()
def convert(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Files that ASE reads, or data sets.")],
    target: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder for the deepmd/npy systems.")],
    type_map: TypeMap = None,
    key: Annotated[
        list[str] | None,
        typer.Option("-k", "--key", help="Unusual name of a label in the file, as in -k force=my_forces."),
    ] = None,
    set_size: Annotated[int, typer.Option(help="Most frames of a set.", min=1)] = 2000,
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """Convert extended XYZ and whatever else ASE reads to the deepmd/npy layout: one system for each composition."""
    from dp_core.data import convert_to_npy

    start_logging(log_level, log_path)
    _must_be_new(Path(target))
    labels = _keys(key or ())
    try:
        folders = convert_to_npy(sources, target, type_map, keys=labels, set_size=set_size)
    except BaseException:  # the folder was new, so what is in it is half of a data set
        rmtree(target, ignore_errors=True)
        raise
    for folder in folders:
        typer.echo(str(folder))
    typer.echo(f"{len(folders)} systems written. Look through them with: dp data check {target}")


def _must_be_new(target: Path) -> None:
    from dp_core.errors import DataError

    if target.is_dir() and any(target.iterdir()):
        raise DataError(f"The folder {target} is not empty. Choose a new one, so that data do not get mixed.")
    if target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; choose the name of a folder.")


def _keys(given: Iterable[str]) -> dict[str, str]:
    keys = {}
    for text in given:
        label, equals, name = text.partition("=")
        if not (label and equals and name):
            raise typer.BadParameter(f"-k/--key is {text!r}; write LABEL=NAME, such as force=my_forces")
        keys[label] = name
    return keys
