"""The engine of dp-ops that needs no framework: seconds for a table of neighbours, and the least that it can take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from benchmarks.evaluation import make_model
from benchmarks.problem import Problem
from benchmarks.programs import Program, run_child
from benchmarks.report import Report

PART, NAME = "native engine", "dp native"
SIZES = ((1, 1, 1),), ((2, 2, 2), (4, 4, 4))  # quick, and else


def installed() -> bool:
    """Whether there is a native engine here."""
    found = find_spec("dp_ops")
    places = (found.submodule_search_locations or []) if found else []
    return any((Path(place) / "lib" / "libdp_engine_native.so").is_file() for place in places)


def measure_native(
    problem: Problem, program: Program, folder: Path, env: Mapping[str, str], report: Report, *, rounds: int
) -> None:
    """Seconds of one evaluation by number of threads, without the search of neighbours, and the floor.

    The floor is what the fitting networks and the product of the descriptor with itself need, forward and backward, at
    the speed of matrix products of NumPy in one thread, times the threads.
    """
    with report.measuring("conversion", ".dp", NAME):
        model = make_model(problem, program, folder, env)
        for repeats in SIZES[not problem.quick]:
            structure = model.parent / "native.npz"
            natoms = problem.write_structure(structure, repeats)
            for _ in range(rounds):
                for threads in (1, 2):
                    case = f"{natoms} atoms, {threads} thread{'s' * (threads > 1)}"
                    with report.measuring(PART, case, NAME):
                        given = {**env, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
                        given["DP_INTRA_OP_PARALLELISM_THREADS"] = str(threads)
                        times = str(max(2, math.ceil(5000 / natoms)))
                        found = run_child(
                            program.python, "native_child.py", model.parent, given, model, structure, times
                        )
                        for quantity in ("wall", "CPU"):
                            for value in found[quantity]:
                                report.add(PART, case, NAME, quantity, "s", value)
                        report.add(PART, case, NAME, "floor", "s", found["floor"] / threads)
                        report.add(PART, case, NAME, "memory of the evaluation", "MB", found["memory"] / 1e6)
