"""Where the time goes in a training step and in an evaluation with PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.evaluation import make_model
from benchmarks.problem import Problem
from benchmarks.programs import Program, run_child
from benchmarks.report import Report
from benchmarks.training import STEPS


def measure_profiles(problem: Problem, program: Program, folder: Path, env: Mapping[str, str], report: Report) -> None:
    """Profiles of a step, and of evaluations of a small and a larger system."""
    every = 2 if problem.quick else STEPS
    with report.measuring("profile", "step", program.name):
        place = folder / "profile-step"
        place.mkdir()
        problem.write(place, steps=2 * every, every=every, training=dict(program.training))
        report.profiles += run_child(program.python, "profile_torch.py", place, env, "step")
    with report.measuring("profile", "evaluation", program.name):
        model = make_model(problem, program, folder, env)
        for repeats, rounds in [((1, 1, 1), 5), ((2, 2, 2), 2)]:
            structure = model.with_name("structure.npz")
            problem.write_structure(structure, repeats)
            arguments = ("evaluation", model, structure, str(rounds))
            report.profiles += run_child(program.python, "profile_torch.py", model.parent, env, *arguments)
