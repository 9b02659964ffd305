"""A training watched from outside: processor and wall time whenever it says how far it is."""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.programs import failure

_STEP = re.compile(r"batch\s+(\d+): trn", re.IGNORECASE)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Moment:
    """Seconds since the command was given, and the most memory so far in bytes."""

    step: int
    cpu: float
    wall: float
    memory: int


def processor_seconds(pid: int) -> float:
    """User and system time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / _TICKS


def peak_memory(pid: int) -> int:
    """The most memory that a process has had, in bytes; 0 once it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith("VmHWM:")), 0)


def watch(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> list[Moment]:
    """Run a training; the moments at which it showed its errors. Raises ProgramError if it fails or shows nothing."""
    begin = perf_counter()
    moments, last = [], deque[str](maxlen=30)
    with subprocess.Popen(
        command,
        cwd=folder,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            shown = _STEP.search(line)
            if shown:
                cpu, wall = processor_seconds(process.pid), perf_counter() - begin
                moments.append(Moment(int(shown[1]), cpu, wall, peak_memory(process.pid)))
            last.append(line)
    if process.returncode or not moments:
        raise failure(command, process.returncode, last)
    return moments
