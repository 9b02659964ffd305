"""Programs whose imports, up to 20 CPU seconds, are paid for once: commands run in forks of a waiting process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks.programs import HERE, Program, failure


class Forks:
    """A program that waits for commands, with all that it needs imported; close it with ``close``."""

    def __init__(self, program: Program, env: Mapping[str, str]) -> None:
        self.program = program
        start = [str(program.python), "-P", str(HERE / "forking_child.py")]
        # no such input: the error comes after the imports
        start += program.command("train", "/nonexistent/input.json")[1:]
        self._process = subprocess.Popen(
            start, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )

    def run(self, folder: Path, *arguments: str | Path) -> str:
        """All that ``dp ARGUMENTS`` prints, run in ``folder``. Raises ProgramError if it fails."""
        command, log = self.program.command(*arguments), folder / "output.log"
        job = {"folder": str(folder), "log": str(log), "arguments": command[1:]}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        said = log.read_text() if log.is_file() else ""
        status = int(answer) if answer else self._process.wait()
        if status or not answer:
            raise failure(command, status, said.splitlines())
        return said

    def close(self) -> None:
        """End the waiting process."""
        self._process.communicate()
