"""The programs that are measured, each run in fresh processes with the same environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dp_core.backend import installed

HERE = Path(__file__).parent

#: Packages whose versions are reported.
PACKAGES = (
    "dp-core", "dp-torch", "dp-jax", "dp-tf", "dp-cli", "deepmd-kit", "torch", "jax", "tensorflow", "tensorflow-cpu",
    "numpy", "vesin",
)  # fmt: skip

#: The option that chooses a backend, of either program.
FLAGS = {"torch": "--pt", "jax": "--jax", "tensorflow": "--tf", "numpy": "--dp"}

_VERSIONS = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class ProgramError(Exception):
    """A program that was measured did not do what it should; the text ends with its last lines."""


@dataclass(frozen=True)
class Program:
    """A ``dp`` command on one backend."""

    name: str
    python: Path
    """The interpreter of its environment; the command lies beside it."""
    flag: str
    """The option that chooses the backend."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Added to the section ``training`` of the input."""

    @property
    def ours(self) -> bool:
        """Whether it is dp, not DeePMD-kit."""
        return self.name.startswith("dp ")

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of ``dp ARGUMENTS`` on this backend."""
        return [str(self.python.with_name("dp")), self.flag, *map(str, arguments)]


def programs(peer: Path | None, *, compiled: bool) -> list[Program]:
    """Every backend of dp that is installed, and those of DeePMD-kit in the environment of ``peer``."""
    here = Path(sys.executable)
    found = [Program(f"dp {backend}", here, FLAGS[backend]) for backend in installed()]
    if compiled and "torch" in installed():
        found.append(Program("dp torch compiled", here, FLAGS["torch"], {"enable_compile": True}))
    if peer is not None:
        found += [Program(f"deepmd {backend}", peer, FLAGS[backend]) for backend in ("torch", "jax", "tensorflow")]
    return found


def environment(threads: int, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of all measured processes. ``extra`` comes on top."""
    count = str(threads)
    fixed = {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "DP_INTRA_OP_PARALLELISM_THREADS": count,
        "DP_INTER_OP_PARALLELISM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **fixed, **extra}


def run(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> str:
    """The standard output of a command that was run in ``folder``. Raises ProgramError if it fails."""
    done = subprocess.run(command, cwd=folder, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode:
        raise failure(command, done.returncode, (done.stdout + done.stderr).splitlines())
    return done.stdout


def run_child(python: Path, script: str, folder: Path, env: Mapping[str, str], *arguments: str | Path) -> Any:
    """What a script of this folder, run by an interpreter, prints as its last line: JSON. Raises ProgramError."""
    # -P: the modules of this folder are not importable there
    output = run([str(python), "-P", str(HERE / script), *map(str, arguments)], folder, env)
    return json.loads(output.splitlines()[-1])


def failure(command: Sequence[str], status: int, lines: Sequence[str]) -> ProgramError:
    """The error for a command that ended with a status."""
    said = " | ".join(line.strip() for line in lines if line.strip())
    return ProgramError(f"{' '.join(command)} ended with {status}: …{said[-600:]}")


def versions(python: Path) -> dict[str, str]:
    """Python and the packages of interest in an environment."""
    found: dict[str, str] = json.loads(run([str(python), "-c", _VERSIONS, *PACKAGES], Path.cwd(), os.environ))
    return found
