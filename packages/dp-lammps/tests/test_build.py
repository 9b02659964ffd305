"""The sources compile with what LAMMPS may be built with."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from dp_lammps import build


@pytest.mark.parametrize("name", ["whole.cpp", "settings.cpp"])
def test_an_mpi_that_takes_nothing_const(name: str, tmp_path: Path) -> None:
    """As LAMMPS' stand-in for MPI, whose buffers and counts are pointers to what may be written."""
    lammps = build.installed_lammps()
    for header in lammps.mpi.glob("mpi*.h"):
        (tmp_path / header.name).write_text(re.sub(r"\bconst (?=void|int)", "", header.read_text()))
    places = [f"-I{build.ops_headers()}", f"-I{tmp_path}", f"-isystem{lammps.headers}"]
    command = [os.environ.get("CXX", "g++"), "-std=c++17", "-fsyntax-only", "-DLAMMPS_SMALLBIG", *places]
    done = subprocess.run([*command, str(build.SOURCES / name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
