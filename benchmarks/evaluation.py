"""Time and memory of energy, force and virial through the Python interface, and whether the numbers agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.problem import Problem
from benchmarks.programs import Program, ProgramError, run, run_child
from benchmarks.report import Report
from benchmarks.training import alternating, trained_model, watched_training
from dp_core.backend import SUFFIXES

PART = "evaluation"

#: Repeats of the cell, and how far they are taken: (repeats, only dp).
SIZES = [((1, 1, 1), False), ((2, 2, 2), False), ((4, 4, 4), False), ((8, 4, 4), True)]
QUICK_SIZES = [((1, 1, 1), False), ((2, 1, 1), True)]

#: Bytes that DeePMD-kit needs for each atom, so that it is not run where the memory would not be enough.
_NEEDED = {".pth": 1.5e6, ".pb": 0.6e6}


@dataclass(frozen=True)
class Variant:
    """A model file, and the program that evaluates it."""

    name: str
    program: Program
    module: str
    """Where ``DeepPot`` is, for dp with the backend after a colon."""
    suffix: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.program.python


def variants(programs: Sequence[Program], *, pt2: bool) -> list[Variant]:
    """The model files that the programs evaluate, one of each kind."""
    found = []
    for program in programs:
        ours, _, backend = program.name.partition(" ")
        if ours == "dp" and backend in SUFFIXES:
            suffixes = dict.fromkeys((".dp", *SUFFIXES[backend]))
            wanted = [s for s in suffixes if s not in (".yaml", ".yml") and (pt2 or s != ".pt2")]
            found += [Variant(f"dp {backend} {s}", program, f"dp_core:{backend}", s) for s in wanted]
        elif program.name in ("deepmd torch", "deepmd tensorflow"):
            suffix = SUFFIXES[backend][0]
            found.append(Variant(f"{program.name} {suffix}", program, "deepmd.infer", suffix))
    return found


def make_model(problem: Problem, program: Program, folder: Path, env: Mapping[str, str]) -> Path:
    """A model with the statistics of the data, hardly trained, in ``folder/model``; made once. Raises ProgramError."""
    place = folder / "model"
    if not (place / "model.dp").exists():
        watched_training(problem, program, env, place, steps=2, every=1)
        trained_model(place)
    return place / "model.dp"


def convert(model: Path, chosen: Sequence[Variant], env: Mapping[str, str], report: Report) -> dict[str, Path]:
    """The model in the form that each variant evaluates, made by its own program; those that can be made."""
    files = {}
    for variant in chosen:
        file = model.with_name(f"{variant.program.name.replace(' ', '-')}{variant.suffix}")
        with report.measuring("conversion", variant.suffix, variant.name):
            if variant.suffix == ".dp":
                file = model
            else:
                run(variant.program.command("convert-backend", model, file), model.parent, env)
            files[variant.name] = file
    return files


def measure_evaluation(
    problem: Problem,
    programs: Sequence[Program],
    folder: Path,
    env: Mapping[str, str],
    report: Report,
    *,
    rounds: int,
    pt2: bool,
    largest: int | None,
) -> None:
    """Seconds and peak memory of every variant for every size, each in a process of its own.

    largest: the most atoms of a system; None for all sizes.
    """
    chosen = variants(programs, pt2=pt2)
    ours = next(p for p in programs if p.ours)
    with report.measuring("conversion", ".dp", ours.name):
        model = make_model(problem, ours, folder, env)
        files = convert(model, chosen, env, report)
        chosen = [v for v in chosen if v.name in files]
        for repeats, only_ours in QUICK_SIZES if problem.quick else SIZES:
            if largest is not None and problem.natoms * math.prod(repeats) > largest:
                continue
            here = [v for v in chosen if v.program.ours or not only_ours]
            _measure_size(problem, repeats, here, files, env, report, 1 if only_ours else rounds)
        _growth(report)


def _measure_size(
    problem: Problem,
    repeats: tuple[int, int, int],
    chosen: Sequence[Variant],
    files: Mapping[str, Path],
    env: Mapping[str, str],
    report: Report,
    rounds: int,
) -> None:
    folder = next(iter(files.values())).parent
    structure = folder / "structure.npz"
    natoms = problem.write_structure(structure, repeats)
    case = f"{natoms} atoms"
    for round_ in range(rounds):
        for variant in alternating(chosen, round_):
            with report.measuring(PART, case, variant.name):
                _check_memory(variant, natoms)
                result = folder / f"{variant.name}.npz"
                found = evaluated(variant.python, variant.module, files[variant.name], structure, result, natoms, env)
                for quantity in ("CPU", "wall"):
                    for value in found[quantity]:
                        report.add(PART, case, variant.name, quantity, "s", value)
                report.add(PART, case, variant.name, "peak memory", "MB", found["peak"] / 1e6)
                report.add(PART, case, variant.name, "memory before", "MB", found["loaded"] / 1e6)
    _compare(case, [v.name for v in chosen], folder, report)


def evaluated(
    python: Path, module: str, model: Path, structure: Path, result: Path, natoms: int, env: Mapping[str, str]
) -> dict[str, Any]:
    """Times and memory of one process that evaluates a model several times. Raises ProgramError."""
    warm_up, times = (2, max(2, 2000 // natoms)) if natoms < 5000 else (1, 1)
    result.unlink(missing_ok=True)
    found: dict[str, Any] = run_child(
        python, "evaluate.py", model.parent, env, module, model, structure, result, str(warm_up), str(times)
    )
    return found


def _check_memory(variant: Variant, natoms: int) -> None:
    needed = natoms * _NEEDED.get(variant.suffix, 0.0)
    if variant.program.ours:
        return
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    if available < needed:
        raise ProgramError(f"Not run: it needs about {needed / 1e9:.0f} GB, {available / 1e9:.0f} GB are free.")


def _compare(case: str, names: Sequence[str], folder: Path, report: Report) -> None:
    """The largest differences from the first variant that has a result."""
    results = {}
    for name in names:
        file = folder / f"{name}.npz"
        if file.exists():
            with np.load(file) as data:
                results[name] = dict(data)
    if not results:
        return
    reference = next(iter(results))
    for name, found in list(results.items())[1:]:
        known = results[reference]
        natoms = known["force"].shape[1]
        energy = np.abs(found["energy"] - known["energy"]).max() / natoms
        force = np.abs(found["force"] - known["force"]).max()
        virial = np.abs(found["virial"] - known["virial"]).max() / natoms
        report.difference(case, name, reference, float(energy), float(force), float(virial))


def _growth(report: Report) -> None:
    """Bytes that each further atom needs, between the two largest sizes."""
    peaks = report.medians(PART, "peak memory")
    for name in dict.fromkeys(name for _, name in peaks):
        sizes = sorted((int(case.split()[0]), peak) for (case, n), peak in peaks.items() if n == name)
        if len(sizes) > 1:
            (small, less), (large, more) = sizes[-2:]
            growth = (more - less) * 1e6 / (large - small)
            report.add("memory", f"{small} to {large} atoms", name, "growth", "bytes/atom", growth)
