"""``python -m benchmarks``: measure, print tables, write JSON."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.descriptors import measure_descriptors
from benchmarks.evaluation import measure_evaluation
from benchmarks.lammps import measure_lammps
from benchmarks.native import installed, measure_native
from benchmarks.number_of_types import measure_types
from benchmarks.problem import read_problem
from benchmarks.profiles import measure_profiles
from benchmarks.programs import environment, programs, versions
from benchmarks.report import Report, commit, machine
from benchmarks.training import measure_start, measure_steps

ROOT = Path(__file__).resolve().parents[1]
WATER = ROOT / "examples" / "water" / "data" / "train" / "330K_large"


class Part(StrEnum):
    """What can be measured."""

    training = "training"
    start = "start"
    evaluation = "evaluation"
    native = "native"
    lammps = "lammps"
    types = "types"
    descriptors = "descriptors"
    profile = "profile"


class Model(StrEnum):
    """The models of the parts native and lammps."""

    se_e2_a = "se_e2_a"
    dpa1 = "dpa1"


def main(
    peer: Annotated[
        Path | None, typer.Option(exists=True, help="Python of an environment with deepmd-kit, to compare.")
    ] = None,
    data: Annotated[str, typer.Option(help="A system with energies and forces, in any format.")] = str(WATER),
    part: Annotated[list[Part] | None, typer.Option(help="Only this part; may be repeated.")] = None,
    program: Annotated[list[str] | None, typer.Option(help="Only programs with this name; may be repeated.")] = None,
    model: Annotated[list[Model] | None, typer.Option(help="Only this model, of native and lammps.")] = None,
    largest: Annotated[int | None, typer.Option(help="Evaluate no system of more atoms.")] = None,
    rounds: Annotated[int, typer.Option(help="How often every process is run.", min=1)] = 3,
    threads: Annotated[int, typer.Option(help="Threads of every process.", min=1)] = 2,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for all processes; may be repeated.")] = None,
    compiled: Annotated[bool, typer.Option(help="Also compiled training steps (minutes to compile).")] = False,
    pt2: Annotated[bool, typer.Option(help="Also .pt2 files (minutes to compile).")] = False,
    quick: Annotated[bool, typer.Option(help="A tiny model, a few steps: to try the measurements.")] = False,
    lammps: Annotated[
        Path | None, typer.Option(exists=True, help="Python of an environment with LAMMPS and dp-lammps, to run them.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("benchmark.json"),
) -> None:
    """Measure dp, and DeePMD-kit beside it, in alternating fresh processes."""
    extra = dict(_named(item) for item in env or [])
    settings = environment(threads, extra)
    chosen = [p for p in programs(peer, compiled=compiled) if not program or p.name in program]
    ours = [p for p in chosen if p.ours]
    if not ours:
        known = ", ".join(p.name for p in programs(peer, compiled=compiled))
        raise typer.BadParameter(f"no program of dp is left; known: {known}")
    possible = {Part.native: installed(), Part.lammps: lammps is not None}
    parts = part or [p for p in Part if possible.get(p, True)]
    if Part.native in parts and not installed():
        raise typer.BadParameter("--part native needs dp-ops, which is not installed here")
    if Part.lammps in parts and not lammps:
        raise typer.BadParameter("--part lammps needs --lammps, the Python of an environment that has it")
    if quick and Model.dpa1 in (model or []):
        raise typer.BadParameter("--quick has the model se_e2_a alone; leave --model out")
    rounds = 1 if quick else rounds
    problem = read_problem(data, quick=quick)
    console = Console(width=None if sys.stdout.isatty() else 160)
    report = Report(
        console,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit(ROOT),
        machine=machine(),
        threads=threads,
        environment={k: v for k, v in settings.items() if k.endswith("_THREADS") or k in extra},
        versions={"dp": versions(Path(sys.executable))} | ({"deepmd": versions(peer)} if peer else {}),
        arguments=sys.argv[1:],
        quick=quick,
    )
    with tempfile.TemporaryDirectory(prefix="dp-benchmark-") as name:
        folder = Path(name)
        if Part.training in parts:
            measure_steps(problem, chosen, settings, folder, report, rounds=rounds)
        if Part.start in parts:
            measure_start(problem, chosen, settings, folder, report, rounds=rounds)
        if Part.evaluation in parts:
            measure_evaluation(problem, chosen, folder, settings, report, rounds=rounds, pt2=pt2, largest=largest)
        sizes: dict[str, Any] = {"rounds": rounds, "largest": largest, "wanted": model or ()}
        if Part.native in parts:
            measure_native(problem, chosen, folder, settings, report, **sizes)
        if Part.lammps in parts and lammps:
            measure_lammps(problem, chosen, lammps, folder, settings, extra, report, **sizes)
        if Part.types in parts:
            measure_types(problem, ours[0], folder, settings, report, rounds=rounds)
        if Part.descriptors in parts and not quick:  # their settings are what is measured
            measure_descriptors(problem, chosen, settings, folder, report, rounds=rounds)
        if Part.profile in parts and ours[0].name == "dp torch":
            measure_profiles(problem, ours[0], folder, settings, report)
    report.show()
    report.write(output)
    console.print(f"Written to {output}")
    raise typer.Exit(1 if report.failures else 0)


def _named(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals:
        raise typer.BadParameter(f"--env {item}: give NAME=VALUE")
    return name, value


if __name__ == "__main__":
    typer.run(main)
