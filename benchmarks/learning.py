"""``python -m benchmarks.learning NAME_OR_PATH …``: what programs have learned after the same number of steps.

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

#: The input whose descriptor is exchanged.
BASE = Path(__file__).with_suffix(".json")

_COMMON = {"precision": "float64", "seed": 1}
_SMOOTH: dict[str, Any] = {"rcut": 4.0, "rcut_smth": 0.5}
_SE = {**_SMOOTH, "sel": [20, 40], "type_one_side": True}
_ATTENTION = {
    **_SMOOTH, "sel": 60, "neuron": [16, 32, 64], "axis_neuron": 8, "attn": 32, "attn_dotr": True, "attn_mask": False,
}  # fmt: skip
_REPINIT = {
    **_SMOOTH, "nsel": 60, "neuron": [16, 32, 64], "axis_neuron": 8, "activation_function": "tanh", "tebd_dim": 8,
    "resnet_dt": False, "type_one_side": True,
}  # fmt: skip
_REPFORMER = {
    "rcut": 3.0, "rcut_smth": 0.5, "nsel": 30, "nlayers": 2, "g1_dim": 32, "g2_dim": 16, "attn2_hidden": 8,
    "attn2_nhead": 2, "attn1_hidden": 16, "attn1_nhead": 2, "axis_neuron": 4, "update_h2": False,
    "update_g1_has_conv": True, "update_g1_has_grrg": True, "update_g1_has_drrd": True, "update_g1_has_attn": False,
    "update_g2_has_g1g1": False, "update_g2_has_attn": True, "attn2_has_gate": True,
}  # fmt: skip
_REPFLOW = {
    "n_dim": 32, "e_dim": 16, "a_dim": 8, "nlayers": 2, "e_rcut": 4.0, "e_rcut_smth": 1.0, "e_sel": 60, "a_rcut": 3.0,
    "a_rcut_smth": 1.0, "a_sel": 30, "axis_neuron": 4, "a_compress_rate": 1, "skip_stat": True, "update_angle": True,
}  # fmt: skip
_SMALL_PARTS = [
    {"type": "se_e2_a", **_SE, "neuron": [8, 16, 32], "axis_neuron": 4},
    {"type": "se_e2_r", **_SE, "neuron": [8, 16, 32]},
]

#: Name -> descriptor, without what all have.
DESCRIPTORS: dict[str, dict[str, Any]] = {
    "se_e2_a": {"type": "se_e2_a", **_SE, "neuron": [16, 32, 64], "axis_neuron": 8},
    "se_e2_r": {"type": "se_e2_r", **_SE, "neuron": [8, 16, 32]},
    "se_e3": {"type": "se_e3", **_SMOOTH, "sel": [20, 40], "neuron": [4, 8, 16]},
    "se_e3_tebd": {
        "type": "se_e3_tebd", "rcut": 3.0, "rcut_smth": 0.5, "sel": 30, "neuron": [4, 8, 16], "tebd_dim": 8,
    },
    "dpa1_attn0": {"type": "dpa1", **_ATTENTION, "attn_layer": 0, "tebd_input_mode": "strip"},
    "dpa1_attn2": {"type": "dpa1", **_ATTENTION, "attn_layer": 2},
    "se_atten_v2": {"type": "se_atten_v2", **_ATTENTION, "attn_layer": 0},
    "dpa2": {"type": "dpa2", "repinit": _REPINIT, "repformer": _REPFORMER, "add_tebd_to_repinit_out": False},
    "dpa3": {"type": "dpa3", "repflow": _REPFLOW},
    "hybrid": {"type": "hybrid", "list": [_COMMON | part for part in _SMALL_PARTS]},
}  # fmt: skip

#: Those of which a step takes long: half the steps, with a learning rate that falls twice as fast.
SLOW = {"se_e3", "se_e3_tebd", "dpa1_attn2", "dpa2", "dpa3"}

#: ``Force  RMSE        : 1.9e-01 eV/Å``, ``Energy RMSE/Natoms : …``: what is off, per what, by how much.
_ERROR = re.compile(r"INFO\s+(\w[\w ]*?)\s+RMSE(\S*)\s*:\s*(\S+)")


def seeded(section: Any, seed: int) -> Any:
    """The section with every ``seed`` in it replaced."""
    if isinstance(section, dict):
        return {k: seed if k == "seed" else seeded(v, seed) for k, v in section.items()}
    return [seeded(v, seed) for v in section] if isinstance(section, list) else section


def document_of(source: str) -> dict[str, Any]:
    """The input of a name in ``DESCRIPTORS``, or in a file, with absolute paths of the data."""
    named = source in DESCRIPTORS
    path = BASE if named else Path(source)
    document: dict[str, Any] = json.loads(path.read_text())
    training = document["training"]
    if named:
        section = DESCRIPTORS[source]
        document["model"]["descriptor"] = section if section["type"] == "hybrid" else _COMMON | section
    if source in SLOW:
        training["numb_steps"] //= 2
        document["learning_rate"]["decay_steps"] //= 2
    for key in ("training_data", "validation_data"):
        training[key]["systems"] = [str((path.parent / s).resolve()) for s in training[key]["systems"]]
    return document


def write_input(source: str, folder: Path, seed: int, steps: int | None, program: Program) -> Path:
    """``input.json`` in ``folder``, and the system to test on: the first one for validation."""
    document = seeded(document_of(source), seed)
    training = document["training"]
    total = steps or training["numb_steps"]
    training |= {"numb_steps": total, "disp_freq": total, "save_freq": total, **program.training}
    (folder / "input.json").write_text(json.dumps(document))
    return Path(training["validation_data"]["systems"][0])


def errors_after(source: str, program: Program, seed: int, steps: int | None, env: dict[str, str]) -> dict[str, float]:
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
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME_OR_PATH]...", help="Descriptors or inputs; all descriptors if none."),
    ] = None,
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
    for source in inputs or DESCRIPTORS:
        if source not in DESCRIPTORS and not Path(source).is_file():
            raise typer.BadParameter(f"{source} is no file and none of {', '.join(DESCRIPTORS)}")
    for source in inputs or DESCRIPTORS:
        shown = Path(source).stem
        for seed in range(1, seeds + 1):
            for one in chosen:
                try:
                    found = errors_after(source, one, seed, steps, env)
                except ProgramError as error:
                    failed = True
                    console.print(f"{shown}, {one.name}: {error}", style="red")
                    continue
                console.print(f"{shown}, {one.name}, seed {seed}: {found}")
                for quantity, value in found.items():
                    of_input = samples.setdefault(shown, {}).setdefault(quantity, {})
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
