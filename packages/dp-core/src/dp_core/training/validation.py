"""Errors on validation data: a few batches at every display, all frames now and then."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dp_core.backend import Backend
from dp_core.errors import ConfigError
from dp_core.format import dump_bytes, write_bytes
from dp_core.inputs import input_arrays
from dp_core.models.protocol import message_passing
from dp_core.prediction import Parameters, Structure, known_tables, predict
from dp_core.schema.sections import Validating
from dp_core.training.checkpoint import Checkpoint, remove
from dp_core.training.frames import Item
from dp_core.virtual_atoms import virtual_atoms

UNITS = {"E": "meV/atom", "F": "meV/Å", "FR": "meV/Å", "FM": "meV/μB", "V": "meV/atom", "S": "meV/Å³"}


class Mean:
    """Weighted means of metrics over those of several batches that have them; NaN if none has.

    sums: name -> [Σ weight·value, Σ weight], plain values for a checkpoint.
    """

    def __init__(self, sums: Mapping[str, Sequence[float]] | None = None):
        self.sums = {name: list(pair) for name, pair in (sums or {}).items()}

    def add(self, metrics: Mapping[str, float], weight: float = 1.0) -> None:
        """Add a batch."""
        for name, value in metrics.items():
            pair = self.sums.setdefault(name, [0.0, 0.0])
            if not math.isnan(value):
                pair[0] += weight * value
                pair[1] += weight

    def values(self) -> dict[str, float]:
        """The means."""
        return {name: total / weight if weight else math.nan for name, (total, weight) in self.sums.items()}


@dataclass
class _Sum:
    absolute: float = 0.0
    square: float = 0.0
    count: int = 0

    def add(self, error: np.ndarray) -> None:
        self.absolute += float(np.abs(error).sum())
        self.square += float((error * error).sum())
        self.count += error.size


def full_errors(model: Any, backend: Backend, frames: Iterable[Item]) -> dict[str, float]:
    """MAE and RMSE over all frames by token (``E:MAE``, …), in meV: energy and virial per atom, force, stress.

    Models with spins have, in place of the force, that on atoms (``FR``) and the magnetic one (``FM``).

    NaN where no frame has the label. Every component of every frame counts the same. Large frames are evaluated in
    parts. Raises NonFiniteError for a prediction that is no number.
    """
    sums = {what: _Sum() for what in UNITS}
    evaluate, spec, whole = backend.evaluator(model), model.neighbor_spec, message_passing(model)
    virtual = virtual_atoms(model)
    for frame, neighbors in frames:
        labels, parameters = frame.labels, Parameters(**input_arrays([frame]))
        parts = known_tables(neighbors, spec, backend, rows=backend.chunk_rows, whole=whole, parameters=parameters)
        out, _ = predict(evaluate, parts, [len(frame.types)])
        force, atoms = "F", slice(0, len(frame.types))
        if virtual is not None:
            force, atoms = "FR", slice(0, len(frame.types) // 2)
            structure, spin = Structure(frame.coord[atoms], frame.box, frame.types[atoms]), labels["spin"][atoms.stop :]
            out = virtual.folded(out, [structure], [spin])
        types = frame.types[atoms]
        real, natoms = types >= 0, int(np.count_nonzero(types >= 0))
        if "energy" in frame.found:
            sums["E"].add((out.energy - labels["energy"]) / natoms)
        if "force" in frame.found:
            sums[force].add(out.force[real] - labels["force"][atoms][real])
        if "force_mag" in frame.found and virtual is not None and out.magnetic is not None:
            sums["FM"].add((out.magnetic - labels["force_mag"][atoms.stop :])[virtual.magnetic(types)])
        if "virial" in frame.found:
            error = out.virial[0] - labels["virial"].reshape(3, 3)
            sums["V"].add(error / natoms)
            if frame.box is not None:
                sums["S"].add(-error / abs(np.linalg.det(frame.box)))
    found = {}
    for what, s in sums.items():
        found[f"{what}:MAE"] = 1e3 * s.absolute / s.count if s.count else math.nan
        found[f"{what}:RMSE"] = 1e3 * math.sqrt(s.square / s.count) if s.count else math.nan
    return found


def first_full_step(start: float, num_steps: int) -> int | None:
    """The first step with a full validation: a fraction of the run below 1, never at 1, else the step."""
    if start == 1:
        return None
    return int(start * num_steps) if start < 1 else int(start)


@dataclass
class FullValidation:
    """The log of full validations and the best checkpoints by their metric.

    best: (metric, step) of the stored ones, the best first.
    """

    settings: Validating
    folder: Path
    log: str
    prefix: str
    """Path of the best checkpoints up to ``-<step>``, relative to ``folder``."""
    suffix: str
    num_steps: int
    spin: bool = False
    """Whether the model has spins."""
    best: list[tuple[float, int]] = field(default_factory=list)

    def begin(self, best: list[tuple[float, int]], restart_step: int | None) -> None:
        """Begin a log and delete best checkpoints of earlier runs; after a restart, only what came later."""
        self.best = best
        known = {self.folder / self._path(step, rank) for rank, (_, step) in enumerate(best, 1)}
        remove(path for path in self._stored() if path not in known)
        rows = [] if restart_step is None else self._rows_until(restart_step)
        try:
            self._log.write_text(self._header() + "".join(rows), encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{self._log} cannot be written: {error.strerror}. Choose another validating/full_val_file."
            ) from error

    def _rows_until(self, last: int) -> list[str]:
        """The rows of the log, with the comments that follow them, up to a step."""
        rows: list[str] = []
        if not self._log.is_file():
            return rows
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[2:]:
            words = line.split()
            if not line.endswith("\n") or not words or (words[0].isdigit() and int(words[0]) > last):
                break
            rows.append(line)
        return rows

    def due(self, step: int) -> bool:
        """Whether a step is validated."""
        start = first_full_step(self.settings.full_val_start, self.num_steps)
        return start is not None and step >= start and (step - start) % self.settings.validation_freq == 0

    def record(self, checkpoint: Checkpoint, errors: Mapping[str, float]) -> str | None:
        """Log the errors of a step; store the model if it is among the best, and say so in a sentence."""
        columns = [f"{errors[token]:^{len(self._title(token))}.5g}" for token in self._tokens()]
        text = " ".join([f"  {checkpoint.step:^4d}", *columns])
        sentence = None
        metric = self.settings.validation_metric
        value = errors[metric]
        shown = f"{metric} = {value:.5g} {UNITS[metric.split(':')[0]]}"
        if self.settings.save_best and not math.isnan(value):
            path = self._store(checkpoint, value)
            if path is not None:
                text += f"\n# saved best checkpoint: {path} ({shown})"
                sentence = f"Saved best model to {path} with {shown}"
        with self._log.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        return sentence

    def _store(self, checkpoint: Checkpoint, value: float) -> Path | None:
        before = list(self.best)
        after = sorted([*before, (value, checkpoint.step)])[: self.settings.max_best_ckpt]
        if (value, checkpoint.step) not in after:
            return None
        path = self._path(checkpoint.step, after.index((value, checkpoint.step)) + 1)
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.folder / path, dump_bytes(checkpoint.to_document()))
        for rank, entry in enumerate(before, 1):
            old = self.folder / self._path(entry[1], rank)
            if entry not in after:
                remove([old])
            elif (new := after.index(entry) + 1) != rank and old.exists():
                old.replace(self.folder / self._path(entry[1], new))
        self.best = after
        return path

    def _path(self, step: int, rank: int) -> Path:
        return Path(f"{self.prefix}-{step}.t-{rank}{self.suffix}")

    def _stored(self) -> Iterable[Path]:
        prefix = self.folder / self.prefix
        return prefix.parent.glob(f"{prefix.name}-*.t-*{self.suffix}")

    @property
    def _log(self) -> Path:
        return self.folder / self.log

    def _tokens(self) -> list[str]:
        tensor = "V" if self.settings.validation_metric.startswith("V") else "S"
        forces = ("FR", "FM") if self.spin else ("F",)
        return [f"{what}:{how}" for what in ("E", *forces, tensor) for how in ("MAE", "RMSE")]

    @staticmethod
    def _title(token: str) -> str:
        return f"{token.replace(':', '_')}({UNITS[token.split(':')[0]]})"

    def _header(self) -> str:
        titles = " ".join(self._title(t) for t in self._tokens())
        forces = "FR force components, FM magnetic force components" if self.spin else "F force components"
        return (
            f"# step {titles}\n"
            f"# Over all validation frames: E energy per atom, {forces}, V virial components per atom, "
            "S stress components (minus virial over volume).\n"
        )
