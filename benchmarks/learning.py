"""``python -m benchmarks.learning NAME_OR_PATH …``: what programs have learned after the same number of steps.

Every input is trained by every program from several seeds; ``dp test`` then says how far off they are. Programs draw
their first parameters and batches from different generators, so only medians over seeds can be compared.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import product
from math import isnan
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.forking import Forks
from benchmarks.kinds import CENTROID_FILE, CENTROIDS, KINDS
from benchmarks.programs import FLAGS, Program, ProgramError, environment, programs

#: What is compared if no programs are named; the second on the backend that can train the input.
OURS, PEER = "dp torch", "deepmd"

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


def document_of(source: str, data: Path | None) -> dict[str, Any]:
    """The input of a descriptor, of a kind of model or in a file, with absolute paths of the data."""
    path = BASE if source in DESCRIPTORS else Path(source)
    if source in KINDS:
        if data is None:
            raise typer.BadParameter(f"{source} needs --data")
        document, folder = KINDS[source].document(), data
    else:
        document, folder = json.loads(path.read_text()), path.parent
    training = document["training"]
    if source in DESCRIPTORS:
        section = DESCRIPTORS[source]
        document["model"]["descriptor"] = section if section["type"] == "hybrid" else _COMMON | section
    if source in SLOW:
        training["numb_steps"] //= 2
        document["learning_rate"]["decay_steps"] //= 2
    return with_absolute_paths(document, folder)


def with_absolute_paths(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The input with absolute paths of data that lie in ``folder``."""
    for key in ("training_data", "validation_data"):
        section = document["training"][key]
        section["systems"] = [str((folder / s).resolve()) for s in section["systems"]]
    return document


@dataclass(frozen=True)
class Settings:
    """What all trainings of a run have in common."""

    data: Path | None
    steps: int | None
    centroids: dict[str, Path]
    """The model of centroids, by the suffix of its file."""


def write_input(source: str, folder: Path, seed: int, settings: Settings, program: Program) -> Path:
    """``input.json`` in ``folder``, and the system to test on."""
    document = seeded(document_of(source, settings.data), seed)
    training = document["training"]
    total = settings.steps or training["numb_steps"]
    training |= {"numb_steps": total, "disp_freq": total, "save_freq": total, **program.training}
    (folder / "input.json").write_text(json.dumps(with_centroids(document, settings, program)))
    if source in KINDS and settings.data is not None and (test := KINDS[source].test):
        return settings.data.resolve() / test
    return Path(training["validation_data"]["systems"][0])


def errors_after(source: str, forks: Forks, seed: int, settings: Settings) -> dict[str, float]:
    """Root mean square errors after a training, by name. Raises ProgramError.

    They are those that ``dp test`` prints; of kinds of models also those of the last line of ``lcurve.out``.
    """
    with tempfile.TemporaryDirectory(prefix="dp-learning-") as name:
        folder = Path(name)
        system = write_input(source, folder, seed, settings, forks.program)
        forks.run(folder, "train", "input.json")
        found = last_errors(folder / "lcurve.out") if source in KINDS else {}
        if source not in KINDS or KINDS[source].tested:
            text = forks.run(folder, "test", "-m", model_file(folder, forks), "-s", system, "-n", "20")
            found |= {f"{what}{per}": float(value) for what, per, value in _ERROR.findall(text)}
    return found


def model_file(folder: Path, forks: Forks) -> Path:
    """What a training left, as a file for ``dp test``."""
    if forks.program.ours:
        return sorted(folder.glob("model.ckpt-*"))[-1]
    if forks.program.flag == FLAGS["tensorflow"]:
        forks.run(folder, "freeze", "-o", "model.pb")
        return folder / "model.pb"
    return folder / "model.ckpt.pt"


def last_errors(curve: Path) -> dict[str, float]:
    """The errors on the data for validation in the last line of a learning curve, by the names of its columns."""
    lines = curve.read_text().splitlines()
    values = dict(zip(lines[0].split()[1:], map(float, lines[-1].split()), strict=True))
    return {key: value for key, value in values.items() if key.endswith("_val") and not isnan(value)}


class Pool:
    """Programs that wait for commands, started when they are first needed."""

    def __init__(self, known: list[Program], env: dict[str, str], stack: ExitStack) -> None:
        self.known = {one.name: one for one in known}
        self.env, self.stack = env, stack
        self.waiting: dict[str, Forks] = {}

    def named(self, name: str, source: str) -> Forks:
        """The program of a name; ``PEER`` is DeePMD-kit on the backend that can train the input."""
        if name == PEER:
            name = f"deepmd {KINDS[source].backend if source in KINDS else 'torch'}"
        if name not in self.known:
            raise typer.BadParameter(f"program {name} is none of {', '.join(self.known)}; is --peer given?")
        if name not in self.waiting:
            self.waiting[name] = self.stack.enter_context(closing(Forks(self.known[name], self.env)))
        return self.waiting[name]


def has_centroids(source: str, settings: Settings, pool: Pool, stack: ExitStack) -> None:
    """Let dp train the model of centroids, if the input needs one that is not there; for both programs."""
    if source not in KINDS or "modifier" not in KINDS[source].model or settings.centroids:
        return
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dp-centroids-")))
    (folder / "input.json").write_text(json.dumps(with_absolute_paths(CENTROIDS.document(), settings.data or Path())))
    ours = pool.named(OURS, source)
    ours.run(folder, "train", "input.json")
    files = {".dp": folder / "centroids.dp", ".pb": folder / "centroids.pb"}
    ours.run(folder, "convert-backend", model_file(folder, ours), files[".dp"])
    pool.named("deepmd tensorflow", source).run(folder, "convert-backend", files[".dp"], files[".pb"])
    settings.centroids.update(files)


def with_centroids(document: dict[str, Any], settings: Settings, program: Program) -> dict[str, Any]:
    """The input with the file of the model of centroids that the program can read, if it is of a kind with one."""
    modifier = document["model"].get("modifier", {})
    if modifier.get("model_name") == CENTROID_FILE:
        modifier["model_name"] = str(settings.centroids[".dp" if program.ours else ".pb"])
    return document


def main(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME_OR_PATH]...", help="Descriptors, kinds of models, inputs; all descriptors if none."
        ),
    ] = None,
    peer: Annotated[Path | None, typer.Option(exists=True, help="Python of an environment with deepmd-kit.")] = None,
    program: Annotated[list[str] | None, typer.Option(help="Programs; dp torch and deepmd-kit if none.")] = None,
    data: Annotated[Path | None, typer.Option(exists=True, help="Folder of data for kinds of models.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each input by each program.")] = 3,
    steps: Annotated[int | None, typer.Option(help="Steps in the place of those of the inputs.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path("learning.json"),
) -> None:
    """Train and test; print medians over seeds, and their ratios to the last program."""
    known = (*DESCRIPTORS, *KINDS)
    sources = inputs or list(DESCRIPTORS)
    for source in sources:
        if source not in known and not Path(source).is_file():
            raise typer.BadParameter(f"{source} is no file and none of {', '.join(known)}")
    settings = Settings(data, steps, {})
    #: input -> error -> program -> a value for each seed
    samples: dict[str, dict[str, dict[str, list[float]]]] = {}
    console = Console(width=None if sys.stdout.isatty() else 160)
    failed = False
    with ExitStack() as stack:
        # NUM_WORKERS: DeePMD-kit's PyTorch would start processes that read small files
        pool = Pool(programs(peer, compiled=False), environment(threads, {"NUM_WORKERS": "0"}), stack)
        for source, seed, name in product(sources, range(1, seeds + 1), program or [OURS, PEER]):
            shown, one = Path(source).stem, pool.named(name, source)
            try:
                has_centroids(source, settings, pool, stack)
                found = errors_after(source, one, seed, settings)
            except ProgramError as error:
                failed = True
                console.print(f"{shown}, {one.program.name}: {error}", style="red")
                continue
            console.print(f"{shown}, {one.program.name}, seed {seed}: {found}")
            for quantity, value in found.items():
                of_input = samples.setdefault(shown, {}).setdefault(quantity, {})
                of_input.setdefault(one.program.name, []).append(value)
            output.write_text(json.dumps(samples, indent=1))
    console.print(table(samples))
    raise typer.Exit(1 if failed else 0)


def table(samples: dict[str, dict[str, dict[str, list[float]]]]) -> Table:
    """A row for each input and error: medians of the first and the last program, and their ratio."""
    shown = Table("input", "error", "first", "last", "ratio", "programs")
    for source, quantities in samples.items():
        for quantity, found in quantities.items():
            middles = [median(values) for values in found.values()]
            ratio = middles[0] / middles[-1] if middles[-1] else float("nan")
            row = [f"{x:.4g}" for x in (middles[0], middles[-1])]
            shown.add_row(source, quantity, *row, f"{ratio:.2f}", ", ".join(found))
    return shown


if __name__ == "__main__":
    typer.run(main)
