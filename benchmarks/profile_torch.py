"""Where the time goes in the PyTorch backend; run as a script in a folder with ``input.json``.

profile_torch.py step | profile_torch.py evaluation MODEL STRUCTURE ROUNDS: prints a list of profiles as JSON.
"""

import cProfile
import json
import pstats
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from torch.profiler import ProfilerActivity, profile

import dp_torch  # noqa: F401  (before torch, as in ``dp``: it says how idle threads wait)
from dp_core import DeepPot
from dp_core.training import Display, LogReporter, train

TOP = 10


class Timed(LogReporter):
    """Starts the profiler at the first step that is displayed after the first, and stops it at the next."""

    def __init__(self) -> None:
        super().__init__()
        self.profiler = profile(activities=[ProfilerActivity.CPU])
        self.steps = 0
        self.seconds = 0.0

    def display(self, shown: Display, *, timing: bool) -> None:
        """Nothing is shown."""
        if self.steps > 0 or shown.step == 1:
            return
        if self.seconds == 0.0:
            self._first = shown.step
            self.profiler.start()
            self.seconds = perf_counter()
        else:
            self.seconds = perf_counter() - self.seconds
            self.profiler.stop()
            self.steps = shown.step - self._first


def operators(profiler: Any, case: str, seconds: float, count: int) -> dict[str, Any]:
    """The operators that take most time themselves, and the rest, per step or evaluation, in ms."""
    events = sorted(profiler.key_averages(), key=lambda e: -e.self_cpu_time_total)
    rows = [
        {"name": e.key, "ms": e.self_cpu_time_total / 1e3 / count, "calls": f"{e.count / count:g}"}
        for e in events[:TOP]
    ]
    inside = sum(e.self_cpu_time_total for e in events) / 1e3 / count
    total = seconds * 1e3 / count
    rows += [
        {"name": "other operators", "ms": inside - sum(row["ms"] for row in rows), "calls": ""},
        {"name": "outside of operators", "ms": total - inside, "calls": ""},
    ]
    return {"of": "operator", "case": case, "clock": "wall", "total": total, "rows": rows}


def functions(run: Callable[[], Any], case: str, count: int) -> dict[str, Any]:
    """The Python functions that take most time themselves, per evaluation, in ms."""
    profiler = cProfile.Profile(timer=process_time)
    profiler.runcall(lambda: [run() for _ in range(count)])
    stats: Any = pstats.Stats(profiler)
    found = sorted(stats.stats.items(), key=lambda item: -item[1][2])
    rows = [
        {"name": f"{Path(file).name}:{line} {name}", "ms": own * 1e3 / count, "calls": f"{calls / count:g}"}
        for (file, line, name), (_, calls, own, _, _) in found[:TOP]
    ]
    total = stats.total_tt * 1e3 / count
    return {"of": "function", "case": case, "clock": "processor", "total": total, "rows": rows}


def of_step() -> list[dict[str, Any]]:
    """Profile the steps of a training between two displays."""
    reporter = Timed()
    train("input.json", backend="torch", reporter=reporter)
    return [operators(reporter.profiler, "a training step", reporter.seconds, reporter.steps)]


def of_evaluation(model: str, structure: str, rounds: str) -> list[dict[str, Any]]:
    """Profile an evaluation of energy, force and virial."""
    with np.load(structure) as data:
        coords, types = data["coord"][None], data["types"]
        cells = data["cell"].reshape(1, 9) if "cell" in data else None
    potential = DeepPot(model, backend="torch")

    def run() -> Any:
        return potential.eval(coords, cells, types)

    run()
    run()
    count = int(rounds)
    case = f"an evaluation of {len(types)} atoms"
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        begin = perf_counter()
        for _ in range(count):
            run()
        seconds = perf_counter() - begin
    return [operators(profiler, case, seconds, count), functions(run, case, count)]


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print()
    print(json.dumps(of_step() if what == "step" else of_evaluation(*arguments)))
