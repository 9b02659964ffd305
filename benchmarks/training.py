"""Time of a training step, and from the command to the first step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.problem import Problem
from benchmarks.programs import Program, ProgramError
from benchmarks.report import Report
from benchmarks.watching import Moment, watch
from dp_core import load_model
from dp_core.format import write_document
from dp_core.model_file import model_document
from dp_core.module import replace

T = TypeVar("T")

#: Steps between two readings of the clocks; the first so many are not counted.
STEPS = 20
INTERVALS = 3


def alternating(items: Sequence[T], round_: int) -> Sequence[T]:
    """The items in their order, in the next round the other way round, so that none is always the first."""
    return items if round_ % 2 == 0 else items[::-1]


def watched_training(
    problem: Problem, program: Program, env: Mapping[str, str], folder: Path, *, steps: int, every: int
) -> list[Moment]:
    """A training of ``steps`` steps in a new folder, watched. Raises ProgramError."""
    folder.mkdir()
    problem.write(folder, steps=steps, every=every, training=dict(program.training))
    return watch(program.command("train", "input.json"), folder, env)


def trained_model(folder: Path) -> Path:
    """The model that a training of dp has left in a folder, as ``model.dp``. Raises ProgramError without one."""
    checkpoints = list(folder.glob("model.ckpt-*"))
    if not checkpoints:
        raise ProgramError(f"No training has left a checkpoint in {folder}.")
    model = load_model(checkpoints[0])
    # PyTorch and dp do not scale energies by out_std; DeePMD-kit's TensorFlow does when it converts a file
    document = model_document(replace(model, out_std=np.ones_like(model.out_std)))
    # the section as given: DeePMD-kit's TensorFlow does not compress a model with an option that it does not know
    section = json.loads((folder / "input.json").read_text())["model"]
    write_document({**document, "model_def_script": section}, folder / "model.dp")
    return folder / "model.dp"


def measure_steps(
    problem: Problem, programs: Sequence[Program], env: Mapping[str, str], folder: Path, report: Report, *, rounds: int
) -> None:
    """Seconds per step of every program."""
    case = f"{problem.natoms} atoms"
    for round_ in range(rounds):
        for program in alternating(programs, round_):
            place = folder / f"steps-{round_}-{program.name}"
            step_times(problem, program, env, place, report, part="training step", case=case)


def step_times(
    problem: Problem,
    program: Program,
    env: Mapping[str, str],
    folder: Path,
    report: Report,
    *,
    part: str,
    case: str,
    every: int = STEPS,
) -> None:
    """Seconds per step of one run, counted after the first steps, which compile, allocate and fill caches."""
    every, intervals = (2, 1) if problem.quick else (every, INTERVALS)
    with report.measuring(part, case, program.name):
        moments = watched_training(problem, program, env, folder, steps=every * (intervals + 1), every=every)
        counted = [m for m in moments if m.step >= every]
        if len(counted) < 2:
            raise ProgramError(f"It showed steps {[m.step for m in moments]} only.")
        for before, after in pairwise(counted):
            steps = after.step - before.step
            report.add(part, case, program.name, "CPU", "s/step", (after.cpu - before.cpu) / steps)
            report.add(part, case, program.name, "wall", "s/step", (after.wall - before.wall) / steps)
        report.add(part, case, program.name, "peak memory", "MB", max(m.memory for m in moments) / 1e6)


def measure_start(
    problem: Problem, programs: Sequence[Program], env: Mapping[str, str], folder: Path, report: Report, *, rounds: int
) -> None:
    """Seconds from the command to the line that shows the first step."""
    case = f"{len(problem.frames)} frames of {problem.natoms} atoms"
    for round_ in range(rounds):
        for program in alternating(programs, round_):
            with report.measuring("first step", case, program.name):
                place = folder / f"start-{round_}-{program.name}"
                first = watched_training(problem, program, env, place, steps=1, every=1)[0]
                report.add("first step", case, program.name, "CPU", "s", first.cpu)
                report.add("first step", case, program.name, "wall", "s", first.wall)
