"""``python -m benchmarks``: it runs, and its report is complete. The numbers themselves are not judged."""

import json
import math
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from dp_core.backend import SUFFIXES, installed
from dp_core.data import Frame, write_npy_system

ROOT = Path(__file__).resolve().parents[1]
NATOMS = 12

#: A ``dp`` that says what a training says, or fails.
STAND_IN = """#!/bin/sh
if [ "$1" = --tf ]; then echo "no such graph" >&2; exit 3; fi
for step in 0 2 4; do sleep 0.1; echo "[time] DEEPMD INFO    Batch       $step: trn: rmse = 1.0e+00"; done
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two frames of four O and eight H on a distorted lattice, with random labels."""
    random = np.random.default_rng(0)
    places = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1, 2], indexing="ij"), -1).reshape(-1, 3) * [2.5, 2.5, 1.7]
    frames = [
        Frame(
            system=0,
            index=k,
            coord=places + random.normal(scale=0.1, size=(NATOMS, 3)),
            box=np.diag([5.0, 5.0, 5.1]),
            types=np.array([0, 1, 1] * 4),
            labels={"energy": random.normal(size=1), "force": random.normal(size=(NATOMS, 3))},
            found=frozenset({"energy", "force"}),
        )
        for k in range(2)
    ]
    write_npy_system(tmp_path / "data", frames, ["O", "H"])
    return tmp_path / "data"


def benchmarks(data: Path, *options: str) -> tuple[int, str, dict]:
    """Exit status, output and report of a quick run."""
    report = data.parent / "report.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--threads", "1", "--data", str(data)]
    done = subprocess.run(
        [*command, "--output", str(report), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, json.loads(report.read_text()) if report.exists() else {}


def cases(report: dict, part: str, quantity: str) -> set[tuple[str, str]]:
    return {(s["case"], s["program"]) for s in report["series"] if (s["part"], s["quantity"]) == (part, quantity)}


@pytest.mark.slow
def test_parts_of_a_backend(data):
    backend = installed()[0]
    program = f"dp {backend}"
    parts = [f"--part={part}" for part in ("training", "start", "evaluation", "types", "profile")]
    status, output, report = benchmarks(data, "--program", program, *parts)
    assert status == 0, output
    assert report["failures"] == []
    assert cases(report, "training step", "CPU") == {(f"{NATOMS} atoms", program)}
    assert cases(report, "first step", "wall") == {(f"2 frames of {NATOMS} atoms", program)}
    files = {f"{program} {suffix}" for suffix in (".dp", *SUFFIXES[backend]) if suffix not in (".yaml", ".yml", ".pt2")}
    sizes = (f"{NATOMS} atoms", f"{2 * NATOMS} atoms")
    assert cases(report, "evaluation", "peak memory") == {(size, file) for size in sizes for file in files}
    growing = {(case, file) for case, file in cases(report, "memory", "growth") if not case.startswith("se_e2_a")}
    assert growing == {(f"{NATOMS} to {2 * NATOMS} atoms", file) for file in files}
    types = {"2 types", "6 types", "6 types, 2 in the data"}
    for part in ("step by types", "evaluation by types"):
        assert {case for case, _ in cases(report, part, "wall")} == types
        divided = {(r["case"], r["to"]) for r in report["ratios"] if r["part"] == part and r["quantity"] == "wall"}
        assert divided == {(case, "2 types") for case in types - {"2 types"}}
    for series in report["series"]:
        assert series["median"] == median(series["samples"])
        assert all(math.isfinite(x) for x in series["samples"])
    differences = [d for d in report["differences"] if d["case"] in sizes]
    assert all(d[key] < 1e-10 for d in differences for key in ("energy_per_atom", "force", "virial_per_atom"))
    assert len(differences) == len(sizes) * (len(files) - 1)
    assert {p["of"] for p in report["profiles"]} == ({"operator", "function"} if backend == "torch" else set())
    for profile in report["profiles"]:
        assert 0 < sum(row["ms"] for row in profile["rows"]) <= profile["total"] * 1.001


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--part=lammps"], "--lammps"), (["--model=dpa1"], "--quick has the model se_e2_a alone")],
)
def test_what_cannot_be_measured_is_refused(data, options, said):
    status, output, report = benchmarks(data, *options)
    assert status == 2
    assert said in " ".join(output.split())
    assert report == {}


def test_calls_of_the_c_interface(data):
    """Every kind of file that dp makes without a framework gives the same numbers, and is no faster than it can be."""
    pytest.importorskip("dp_ops")
    status, output, report = benchmarks(data, "--part", "native", "--program", "dp numpy")
    assert status == 0, output
    kinds = {f"dp .dp{c}{s}" for c in ("", " compressed") for s in ("", " float32")}
    assert cases(report, "C interface", "CPU") == {
        (f"se_e2_a, {n} atoms", kind) for n in (NATOMS, 2 * NATOMS) for kind in kinds
    }
    for d in report["differences"]:
        assert d["force"] < (1e-4 if "float32" in d["program"] else 1e-9), d
    floors = [s for s in report["series"] if s["program"].startswith("floor")]
    assert len(floors) == 4
    assert all(s["median"] > 0 for s in floors)


def test_another_program_is_measured_in_the_same_way_and_may_fail(data):
    place = data.parent / "bin"
    place.mkdir()
    (place / "python").symlink_to(sys.executable)
    (place / "dp").write_text(STAND_IN)
    (place / "dp").chmod(0o755)
    names = ("dp numpy", "deepmd torch", "deepmd tensorflow")
    chosen = [option for name in names for option in ("--program", name)]
    status, output, report = benchmarks(data, "--part", "training", "--peer", str(place / "python"), *chosen)
    assert status == 1, output
    assert [(f["part"], f["program"]) for f in report["failures"]] == [("training step", "deepmd tensorflow")]
    assert "no such graph" in report["failures"][0]["error"]
    case = f"{NATOMS} atoms"
    assert cases(report, "training step", "wall") == {(case, "dp numpy"), (case, "deepmd torch")}
    found = {s["program"]: s for s in report["series"] if s["quantity"] == "wall"}
    assert found["deepmd torch"]["unit"] == "s/step"
    # two steps in a tenth of a second, and what the shell needs
    assert found["deepmd torch"]["median"] >= 0.05
    (ratio,) = (r for r in report["ratios"] if r["quantity"] == "wall")
    assert (ratio["program"], ratio["to"]) == ("dp numpy", "deepmd torch")
    assert ratio["value"] == found["dp numpy"]["median"] / found["deepmd torch"]["median"]


def test_report_says_where_it_comes_from(data):
    _, _, report = benchmarks(data, "--part", "start", "--program", "dp numpy", "--env", "DP_BACKEND=numpy")
    assert report["format"] == 1
    assert report["quick"] is True
    assert report["threads"] == 1
    assert report["environment"]["OMP_NUM_THREADS"] == "1"
    assert report["environment"]["DP_BACKEND"] == "numpy"
    assert {"python", "numpy", "dp-core"} <= set(report["versions"]["dp"])
    assert {"processor", "cores", "memory_GB", "system", "load_at_start"} == set(report["machine"])


def test_a_program_that_is_not_there_is_named(data):
    status, output, report = benchmarks(data, "--program", "dp fortran")
    assert status == 2
    assert "dp numpy" in output
    assert report == {}
