"""``python -m benchmarks.learning INPUT …``: what programs have learned after the same number of steps.

Every input is trained by every program from several seeds; ``dp test`` then says how far off they are. Programs draw
their first parameters and batches from different generators, so only medians over seeds can be compared.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.programs import Program, ProgramError, environment, failure, programs

INPUTS = Path(__file__).parent / "inputs"

#: ``Force  RMSE        : 1.9e-01 eV/Å``, ``Energy RMSE/Natoms : …``: what is off, per what, by how much.
_ERROR = re.compile(r"INFO\s+(\w[\w ]*?)\s+RMSE(\S*)\s*:\s*(\S+)")


def seeded(section: Any, seed: int) -> Any:
    """The section with every ``seed`` in it replaced."""
    if isinstance(section, dict):
        return {k: seed if k == "seed" else seeded(v, seed) for k, v in section.items()}
    return [seeded(v, seed) for v in section] if isinstance(section, list) else section


def write_input(source: Path, folder: Path, seed: int, steps: int | None, program: Program) -> Path:
    """``input.json`` in ``folder``, and the system to test on: the first one for validation."""
    document = seeded(json.loads(source.read_text()), seed)
    training = document["training"]
    for key in ("training_data", "validation_data"):
        training[key]["systems"] = [str((source.parent / s).resolve()) for s in training[key]["systems"]]
    total = steps or training["numb_steps"]
    training |= {"numb_steps": total, "disp_freq": total, "save_freq": total, **program.training}
    (folder / "input.json").write_text(json.dumps(document))
    return Path(training["validation_data"]["systems"][0])


def errors_after(source: Path, program: Program, seed: int, steps: int | None, env: dict[str, str]) -> dict[str, float]:
    """The root mean square errors that ``dp test`` prints after a training, by name. Raises ProgramError."""
    with tempfile.TemporaryDirectory(prefix="dp-learning-") as name:
        folder = Path(name)
        system = write_input(source, folder, seed, steps, program)
        said(program.command("train", "input.json"), folder, env)
        checkpoints = sorted(folder.glob("model.ckpt-*"))
        model = checkpoints[-1] if program.ours else folder / "model.ckpt.pt"
        text = said(program.command("test", "-m", model, "-s", system, "-n", "20"), folder, env)
    return {f"{what}{per}": float(value) for what, per, value in _ERROR.findall(text)}


def said(command: list[str], folder: Path, env: dict[str, str]) -> str:
    """All that a command prints. Raises ProgramError if it fails."""
    done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise failure(command, done.returncode, done.stdout.splitlines())
    return done.stdout


def main(
    inputs: Annotated[list[Path] | None, typer.Argument(help="Inputs; all of benchmarks/inputs if none.")] = None,
    peer: Annotated[Path | None, typer.Option(exists=True, help="Python of an environment with deepmd-kit.")] = None,
    program: Annotated[list[str] | None, typer.Option(help="Programs; dp torch and deepmd torch if none.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each input by each program.")] = 3,
    steps: Annotated[int | None, typer.Option(help="Steps in the place of those of the inputs.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("learning.json"),
) -> None:
    """Train and test; print medians over seeds, and their ratios to the last program."""
    names = program or ["dp torch", "deepmd torch"]
    chosen = [p for p in programs(peer, compiled=False) if p.name in names]
    env, console = environment(threads, {}), Console(width=None if sys.stdout.isatty() else 160)
    samples: dict[str, dict[str, dict[str, list[float]]]] = {}
    failed = False
    for source in inputs or sorted(INPUTS.glob("*.json")):
        for seed in range(1, seeds + 1):
            for one in chosen:
                try:
                    found = errors_after(source, one, seed, steps, env)
                except ProgramError as error:
                    failed = True
                    console.print(f"{source.stem}, {one.name}: {error}", style="red")
                    continue
                console.print(f"{source.stem}, {one.name}, seed {seed}: {found}")
                for quantity, value in found.items():
                    of_input = samples.setdefault(source.stem, {}).setdefault(quantity, {})
                    of_input.setdefault(one.name, []).append(value)
                output.write_text(json.dumps(samples, indent=1))
    console.print(table(samples, [p.name for p in chosen]))
    raise typer.Exit(1 if failed else 0)


def table(samples: dict[str, dict[str, dict[str, list[float]]]], names: list[str]) -> Table:
    """A row for each input and quantity."""
    shown = Table("input", "error", *names, "ratio")
    for source, quantities in samples.items():
        for quantity, found in quantities.items():
            middles = [median(found[name]) if name in found else float("nan") for name in names]
            shown.add_row(source, quantity, *(f"{x:.4g}" for x in middles), f"{middles[0] / middles[-1]:.2f}")
    return shown


if __name__ == "__main__":
    typer.run(main)
