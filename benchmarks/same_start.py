"""``python -m benchmarks.same_start NAME …``: whether dp and DeePMD-kit take the same steps from the same parameters.

DeePMD-kit makes a model; both programs train it on one batch of two frames, so that chance has no part in it, and every
column of ``lcurve.out`` and every parameter afterwards is compared.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.forking import Forks
from benchmarks.kinds import KINDS
from benchmarks.learning import DESCRIPTORS, OURS, PEER, Pool, Settings, document_of, has_centroids, with_centroids
from benchmarks.programs import FLAGS, Program, ProgramError, environment, programs
from dp_core.format import read_document


def two_frames(system: Path, folder: Path) -> None:
    """Copy a system with its first two frames alone."""
    first = sorted(system.glob("set.*"))[0]
    (folder / first.name).mkdir(parents=True)
    for file in system.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    for file in first.glob("*.npy"):
        np.save(folder / first.name / file.name, np.load(file)[:2])


def input_of(source: str, settings: Settings, frames: Path, steps: int) -> dict[str, Any]:
    """An input that trains on two frames, or on the one there is, and prints every step."""
    document = document_of(source, settings.data)
    training = document["training"]
    if not frames.exists():
        two_frames(Path(training["training_data"]["systems"][0]), frames)
    training["training_data"] = {"systems": [str(frames)], "batch_size": 2}
    del training["validation_data"]
    training |= {"numb_steps": steps, "disp_freq": 1, "save_freq": steps}
    return document


def trained(folder: Path, document: dict[str, Any], one: Forks, settings: Settings, start: Path | None) -> Path:
    """The file that a training leaves in ``folder``, for the program itself."""
    folder.mkdir()
    (folder / "input.json").write_text(json.dumps(with_centroids(document, settings, one.program)))
    begin: list[str | Path] = ["--init-frz-model", start] if start else []
    one.run(folder, "train", "input.json", *begin)
    if one.program.ours:
        return folder / "model.ckpt.pt"
    model = folder / ("model.pb" if one.program.flag == FLAGS["tensorflow"] else "model.pth")
    one.run(folder, "freeze", "-o", model)
    return model


def parameters(tree: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """All arrays of numbers in a document, by their place."""
    if isinstance(tree, np.ndarray):
        if tree.dtype.kind == "f":
            yield path, tree
    elif isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from parameters(value, f"{path}/{key}")


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, relative to the largest number; inf for other shapes."""
    if a.shape != b.shape:
        return float("inf")
    return float(np.max(np.abs(a - b), initial=0) / np.max(np.abs(b), initial=1e-300))


def curve_of(folder: Path, program: Program, steps: int) -> dict[str, np.ndarray]:
    """The errors before each update, by the names of the columns of ``lcurve.out``."""
    lines = (folder / "lcurve.out").read_text().splitlines()
    rows = np.array([line.split() for line in lines if line[0] != "#"], float)
    # DeePMD-kit's TensorFlow prints step 0 before the first update, all others step 1
    first = 0 if program.flag == FLAGS["tensorflow"] and not program.ours else 1
    chosen = (rows[:, 0] >= first) & (rows[:, 0] < first + steps)
    return dict(zip(lines[0].split()[2:], rows[chosen, 1:].T, strict=True))


def compare(source: str, steps: int, settings: Settings, folder: Path, pair: tuple[Forks, Forks]) -> list[str]:
    """What differs, in lines: columns of the learning curve, and the parameters that differ most."""
    ours, peer = pair
    document = input_of(source, settings, folder / "frames", steps)
    short = json.loads(json.dumps(document))
    short["training"]["numb_steps"] = 1
    short["learning_rate"] |= {"start_lr": 1e-12, "stop_lr": 1e-13}
    start = trained(folder / "start", short, peer, settings, None)
    peer.run(folder, "convert-backend", start, "start.dp")
    for name, one, begin in (("ours", ours, folder / "start.dp"), ("peer", peer, start)):
        model = trained(folder / name, document, one, settings, begin)
        one.run(folder, "convert-backend", model, f"{name}.dp")
    mine, theirs = (curve_of(folder / name, one.program, steps) for name, one in (("ours", ours), ("peer", peer)))
    lines = [
        f"{name}: {values[0]:.3g} to {values[-1]:.3g}, differs by {difference(values, theirs[name]):.1e}"
        for name, values in mine.items()
        if name in theirs
    ]
    begun, ended, wanted = (
        dict(parameters(read_document(folder / f"{name}.dp")["model"])) for name in ("start", "ours", "peer")
    )
    apart = {key: difference(ended[key], value) for key, value in wanted.items()}
    for key in sorted(apart, key=lambda k: -apart[k])[:2]:
        lines.append(f"{key}: differs by {apart[key]:.1e}, moved by {difference(wanted[key], begun[key]):.1e}")
    return lines


def main(
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Descriptors and kinds.")] = None,
    peer: Annotated[Path | None, typer.Option(exists=True, help="Python of an environment with deepmd-kit.")] = None,
    data: Annotated[Path | None, typer.Option(exists=True, help="Folder of data for kinds of models.")] = None,
    program: Annotated[str, typer.Option(help="DeePMD-kit, or it on a backend.")] = PEER,
    steps: Annotated[int, typer.Option(min=1)] = 10,
) -> None:
    """Print how far both programs are apart after some steps."""
    settings, console = Settings(data, steps, {}), Console()
    with ExitStack() as stack:
        pool = Pool(programs(peer, compiled=False), environment(1, {"NUM_WORKERS": "0"}), stack)
        for source in inputs or [*DESCRIPTORS, *KINDS]:
            has_centroids(source, settings, pool, stack)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dp-same-")))
            try:
                pair = pool.named(OURS, source), pool.named(program, source)
                lines = compare(source, steps, settings, folder, pair)
            except ProgramError as error:
                lines = [str(error)]
            console.print(source, *lines, sep="\n  ", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    typer.run(main)
