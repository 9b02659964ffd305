"""The threads that kernels and runtime keep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOLDEN = HERE.parents[2] / "tests" / "golden"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What programs/pool.cpp prints."""
    program, kernels = tmp_path_factory.mktemp("pool") / "pool", HERE.parent / "kernels"
    command = [os.environ.get("CXX", "g++"), "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{kernels}"]
    subprocess.run([*command, HERE / "programs" / "pool.cpp", kernels / "pool.cpp", "-o", program], check=True)
    lines = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: int(number) for name, number in map(str.split, lines)}


def test_a_larger_call_adds_what_is_missing(found: dict[str, int]) -> None:
    assert found["threads_after_growing"] == 24


def test_a_small_call_has_no_more_workers_than_it_wants(found: dict[str, int]) -> None:
    assert found["largest_of_three"] < 3


def test_calls_from_inside_and_from_another_thread_run_alone(found: dict[str, int]) -> None:
    assert found["tasks_from_inside"] == 80
    assert found["largest_beside_another_call"] == 0


def test_exceptions_reach_the_caller(found: dict[str, int]) -> None:
    assert found["seven"] == 1


def test_a_child_forked_in_a_call_has_threads(found: dict[str, int]) -> None:
    assert found["threads_of_child"] == 3


def test_frames_that_grow_leave_no_threads_behind() -> None:
    script = f"""
import sys, numpy as np
from pathlib import Path
sys.path.insert(0, {str(HERE)!r})
from capi import Pot
def threads():
    return int(Path("/proc/self/status").read_text().split("Threads:")[1].split()[0])
pot, before = Pot({str(GOLDEN / "se_e2_a_oneside.dp")!r}), threads()
for natoms in range(1, 17):
    pot(np.random.default_rng(1).uniform(0, 6, (natoms, 3)), np.zeros(natoms, int), None)
print(threads() - before)
"""
    environment = os.environ | {"DP_INTRA_OP_PARALLELISM_THREADS": "8", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (done.stdout.split()[-1:], done.stderr) == (["7"], "")
