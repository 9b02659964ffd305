"""Checkpoints: a complete model file with the state of the training, and the files that lead to the newest.

One format for all backends. The document is that of any model file, with one more section, ``training``; so every
checkpoint can be frozen, tested and converted like a model.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from dp_core import model_file
from dp_core.backend import CHECKPOINTS, TrainState
from dp_core.errors import FormatError
from dp_core.format import check_version, dump_bytes, load_bytes, read_bytes, write_bytes
from dp_core.module import trained_leaves, with_leaves

POINTER = "checkpoint"
_PACKAGES = ("dp-core", "dp-torch", "dp-jax", "dp-tf", "numpy", "torch", "jax", "tensorflow", "vesin")


@dataclass(frozen=True)
class Checkpoint:
    """All that a training needs to go on as if it had not stopped.

    The parameters are the leaves of ``model``; ``moments`` and ``ema`` are keyed by the paths of its trained leaves.
    """

    model: Any
    step: int
    moments: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    updates: int = 0
    ema: dict[str, np.ndarray] | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    """Plain values: seed, states of the samplers, sums since the last display, wall time. {} for a mere model."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The input with all defaults, as it was given."""

    @property
    def state(self) -> TrainState:
        """What the optimizer continues from. Files and frameworks sort names, so the moments are put in one order."""
        params = trained_leaves(self.model)
        moments = {name: {path: values[path] for path in params} for name, values in self.moments.items()}
        return TrainState(params, moments, self.updates)

    def averaged(self) -> Checkpoint:
        """The model with the running average of its parameters, without a state to go on from."""
        return Checkpoint(with_leaves(self.model, self.ema or {}), self.step)

    def to_document(self) -> dict[str, Any]:
        """The document of the file; that of the model alone if there is no state to go on from."""
        if not self.progress:
            return model_file.model_document(self.model)
        training = {
            "@class": "Training",
            "@version": 1,
            "step": self.step,
            "updates": self.updates,
            "progress": self.progress,
            "settings": self.settings,
            "packages": packages(),
            "@variables": {"moments": self.moments, "ema": self.ema},
        }
        return model_file.model_document(self.model) | {"training": training}

    @classmethod
    def from_document(cls, document: dict[str, Any], source: str) -> Checkpoint:
        """Raises FormatError if the document is that of a model only, or damaged."""
        if "training" not in document:
            raise FormatError(
                f"{source} holds a model but not the state of a training, so a training cannot go on from it. "
                "Give a checkpoint to --restart, or start anew from this model with --init-model."
            )
        model = model_file.model_from_document(document, source)
        try:
            data = check_version(document["training"], "Training", (1, 1))
            arrays = data["@variables"]
            checkpoint = cls(
                model,
                data["step"],
                arrays["moments"],
                data["updates"],
                arrays["ema"],
                data["progress"],
                data["settings"],
            )
            if not isinstance(data["progress"]["seed"], int) or not data["progress"]["data"]["training"]:
                raise ValueError("seed or data are missing")
            for name, count in (("step", data["step"]), ("updates", data["updates"])):
                if not isinstance(count, int) or count < 0:
                    raise ValueError(f"{name} is {count!r}, expected a number of steps")
            if checkpoint.moments and set(checkpoint.moments) != {"first", "second"}:
                raise ValueError(f"there are the moments {sorted(checkpoint.moments)}, expected first and second")
            known = {path: value.shape for path, value in trained_leaves(model).items()}
            for tree in (*checkpoint.moments.values(), checkpoint.ema):
                if tree is not None and {path: value.shape for path, value in tree.items()} != known:
                    raise ValueError("moments and parameters do not fit together")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FormatError(f"{source}: the state of the training is damaged ({error}). Use an older one.") from error
        return checkpoint


def packages() -> dict[str, str]:
    """Versions of what computes."""
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def load_checkpoint(path: Path) -> Checkpoint:
    """Raises FormatError if the file is absent, damaged, or no checkpoint."""
    try:
        document = load_bytes(read_bytes(path))
    except FormatError as error:
        raise FormatError(f"The checkpoint {path} cannot be read. {error}") from error
    return Checkpoint.from_document(document, str(path))


def find_checkpoint(name: str | Path, backend: str) -> Path:
    """The file that a user means: a file, a prefix (``model.ckpt``), or a folder with a file ``checkpoint``.

    Of several files that a prefix may mean, the newest is taken: a training may have gone on on another backend. Raises
    FormatError if there is none.
    """
    path = Path(name)
    if path.is_dir():
        path = _pointed(path)
    suffixes = dict.fromkeys((CHECKPOINTS.get(backend, ".dp"), *CHECKPOINTS.values()))
    if path.is_file():
        return path
    candidates = [path.with_name(path.name + suffix) for suffix in suffixes]
    if found := [candidate for candidate in candidates if candidate.is_file()]:
        return max(found, key=lambda file: file.stat().st_mtime_ns)
    there = sorted(p.name for p in path.parent.glob("*-*") if p.suffix in suffixes)
    known = f" There are: {', '.join(there)}." if there else " Give the name of a checkpoint."
    raise FormatError(f"There is no checkpoint {path}, with or without {', '.join(suffixes)}.{known}")


def _pointed(folder: Path) -> Path:
    """The path in the file ``checkpoint``: one line, or the text form of TensorFlow."""
    pointer = folder / POINTER
    if not pointer.is_file():
        raise FormatError(
            f"The folder {folder} has no file '{POINTER}' that names a checkpoint. "
            "Give the checkpoint itself, or the folder in which the training ran."
        )
    text = pointer.read_text(encoding="utf-8", errors="replace")
    named = re.search(r'^\s*model_checkpoint_path:\s*"(.*)"', text, re.MULTILINE)
    return folder / (named[1] if named else text.strip())


@dataclass(frozen=True)
class CheckpointFiles:
    """The numbered checkpoints of one training: ``<prefix>-<step><suffix>``, a link to the newest, and a pointer file.

    folder: where the link and the pointer are; save_dir: where the numbered files are, None for that of the prefix.
    pointer: whether this is the training's main series, which the file ``checkpoint`` follows.
    """

    folder: Path
    prefix: str
    suffix: str
    keep: int
    save_dir: str | None = None
    pointer: bool = True

    def path(self, step: int) -> Path:
        """The file of a step, relative to ``folder`` where the settings are."""
        prefix = Path(self.prefix)
        parent = prefix.parent if self.save_dir is None else Path(self.save_dir)
        return parent / f"{prefix.name}-{step}{self.suffix}"

    @property
    def link(self) -> Path:
        """The link to the newest."""
        return Path(self.prefix + self.suffix)

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write the file, then point to it, then delete old ones; at every moment the pointer leads to a whole file.

        Raises FormatError if it cannot be written; the older checkpoints are then untouched.
        """
        path = self.path(checkpoint.step)
        write_bytes(self.folder / path, dump_bytes(checkpoint.to_document()))
        _relink(self.folder / self.link, self.folder / path)
        if self.pointer:
            write_bytes(self.folder / POINTER, str(path).encode())
        self._prune(checkpoint.step)
        return path

    def steps(self) -> list[int]:
        """The steps of the files that are there, sorted."""
        here = self.folder / self.path(0).parent
        name = re.compile(re.escape(Path(self.prefix).name) + r"-(\d+)" + re.escape(self.suffix))
        matches = (name.fullmatch(entry.name) for entry in here.iterdir()) if here.is_dir() else ()
        return sorted(int(match[1]) for match in matches if match)

    def _prune(self, step: int) -> None:
        """Keep the newest up to this step; files of later steps are of a run that this one replaces."""
        steps = self.steps()
        kept = [s for s in steps if s <= step][-self.keep :]
        here = self.folder / self.path(0).parent
        unfinished = [*here.glob(f".{Path(self.prefix).name}-*{self.suffix}.*.tmp")]  # of runs that were killed
        unfinished += self.folder.glob(f".{POINTER}.*.tmp")
        remove([*(self.folder / self.path(other) for other in steps if other not in kept), *unfinished])


def averaged_prefix(prefix: str) -> str:
    """The prefix of averaged checkpoints.

    >>> averaged_prefix("model.ckpt")
    'model_ema.ckpt'
    """
    path = Path(prefix)
    return str(path.with_name(f"{path.stem}_ema{path.suffix}"))


def number_kept(max_keep: int, ratio: float | None, num_steps: int, save_freq: int) -> int:
    """How many checkpoints are kept: a fraction of all, if one is given."""
    if ratio is None:
        return max_keep
    return max(1, math.ceil(ratio * math.ceil(num_steps / save_freq)))


def _relink(link: Path, target: Path) -> None:
    """Make the link point to the file, in one step; a copy where there are no links."""
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(os.path.relpath(target, link.parent))
    except OSError:
        shutil.copyfile(target, temporary)
    os.replace(temporary, link)


def remove(paths: Iterable[Path]) -> None:
    """Delete files; those that are not there are no error."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[tuple[str, Any, Any]]:
    """Where two documents of plain values differ: (place, value before, value now); None where there is none.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    [('a/b', 1, 3)]
    """
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys((*before, *now)):
        old, new, place = before.get(key), now.get(key), f"{path}/{key}" if path else key
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, place)
        elif old != new:
            found.append((place, old, new))
    return found
