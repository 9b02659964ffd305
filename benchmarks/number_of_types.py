"""How the cost depends on the number of types while every atom keeps its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.evaluation import evaluated
from benchmarks.problem import Problem
from benchmarks.programs import Program
from benchmarks.report import Report
from benchmarks.training import step_times, trained_model

PER_TYPE = 3
STEP, EVALUATION = "step by types", "evaluation by types"


def measure_types(
    problem: Problem, program: Program, folder: Path, env: Mapping[str, str], report: Report, *, rounds: int
) -> None:
    """A training step and an evaluation with the types of the data, and with three times as many.

    These are either all present, or known to the model while the data have only the first ones.
    """
    few = replace(problem, sel="auto")
    used = len(few.type_map)
    cases = {
        f"{used} types": few,
        f"{used * PER_TYPE} types": few.with_types(PER_TYPE, present=True),
        f"{used * PER_TYPE} types, {used} in the data": few.with_types(PER_TYPE, present=False),
    }
    for round_ in range(rounds):
        for k, (name, case) in enumerate(cases.items()):
            place = folder / f"types-{round_}-{k}"
            step_times(case, program, env, place, report, part=STEP, case=name)
            with report.measuring(EVALUATION, name, program.name):
                structure = place / "structure.npz"
                natoms = case.write_structure(structure, (1, 1, 1) if case.quick else (2, 2, 2))
                module = f"dp_core:{program.name.split()[1]}"
                model = trained_model(place)
                found = evaluated(program.python, module, model, structure, place / "result.npz", natoms, env)
                for quantity in ("CPU", "wall"):
                    for value in found[quantity]:
                        report.add(EVALUATION, name, program.name, quantity, "s", value)
