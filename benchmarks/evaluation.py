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


def convert(program: Program, model: Path, suffix: str, env: Mapping[str, str]) -> Path:
    """The model in the form of a suffix, beside it, written by a program; made once. Raises ProgramError."""
    if suffix == model.suffix:
        return model
    file = model.with_name(f"{model.stem}-{program.name.replace(' ', '-')}{suffix}")
    if not file.exists():
        run(program.command("convert-backend", model, file), model.parent, env)
    return file


def files_of(model: Path, chosen: Sequence[Variant], env: Mapping[str, str], report: Report) -> dict[str, Path]:
    """The model in the form that each variant evaluates, made by its own program; those that can be made."""
    files = {}
    for variant in chosen:
        with report.measuring("conversion", variant.suffix, variant.name):
            files[variant.name] = convert(variant.program, model, variant.suffix, env)
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
        files = files_of(model, chosen, env, report)
        chosen = [v for v in chosen if v.name in files]
        for repeats, only_ours in QUICK_SIZES if problem.quick else SIZES:
            if largest is not None and problem.natoms * math.prod(repeats) > largest:
                continue
            here = [v for v in chosen if v.program.ours or not only_ours]
            _measure_size(problem, repeats, here, files, env, report, 1 if only_ours else rounds)
        growth(report, PART)


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
                if not variant.program.ours:
                    check_memory(variant.suffix, natoms)
                result = folder / f"{variant.name}.npz"
                found = evaluated(variant.python, variant.module, files[variant.name], structure, result, natoms, env)
                for quantity in ("CPU", "wall"):
                    for value in found[quantity]:
                        report.add(PART, case, variant.name, quantity, "s", value)
                report.add(PART, case, variant.name, "peak memory", "MB", found["peak"] / 1e6)
                report.add(PART, case, variant.name, "memory before", "MB", found["loaded"] / 1e6)
    compare(case, {v.name: folder / f"{v.name}.npz" for v in chosen}, report)


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


def check_memory(suffix: str, natoms: int) -> None:
    """Raises ProgramError if DeePMD-kit would need more memory than is free."""
    needed = natoms * _NEEDED.get(suffix, 0.0)
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    if available < needed:
        raise ProgramError(f"Not run: it needs about {needed / 1e9:.0f} GB, {available / 1e9:.0f} GB are free.")


def compare(case: str, files: Mapping[str, Path], report: Report) -> None:
    """The largest differences from the first program that has a result: ``energy``, ``force`` and ``virial``."""
    results = {}
    for name, file in files.items():
        if file.exists():
            with np.load(file) as data:
                results[name] = dict(data)
    if not results:
        return
    reference = next(iter(results))
    for name, found in list(results.items())[1:]:
        known = results[reference]
        natoms = known["force"].size // 3
        energy = np.abs(found["energy"] - known["energy"]).max() / natoms
        force = np.abs(found["force"] - known["force"]).max()
        virial = np.abs(found["virial"] - known["virial"]).max() / natoms
        report.difference(case, name, reference, float(energy), float(force), float(virial))


def growth(report: Report, part: str) -> None:
    """Bytes that each further atom needs, between the two largest sizes; cases are "12 atoms" or "model, 12 atoms"."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for (case, name), peak in report.medians(part, "peak memory").items():
        before, _, size = case.removesuffix(" atoms").rpartition(" ")
        found.setdefault((before, name), []).append((int(size), peak))
    for (before, name), sizes in found.items():
        if len(sizes) > 1:
            (small, less), (large, more) = sorted(sizes)[-2:]
            case = f"{before} {small} to {large} atoms".strip()
            report.add("memory", case, name, "growth", "bytes/atom", (more - less) * 1e6 / (large - small))
