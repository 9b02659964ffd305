"""Which frames make the next batch: sizes, probabilities, passes; restartable bit for bit."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dp_core.data.closest import closest_pair
from dp_core.data.frame import Floats, Integers
from dp_core.data.system import System
from dp_core.errors import ConfigError, DataError

log = logging.getLogger("dp_core.data")

_RULE = re.compile(r"(auto|max|filter|mixed|mix)(?::(\d+))?")


@dataclass(frozen=True)
class BatchRule:
    """How large a batch is.

    kind: "frames" (so many frames), "auto" (the fewest frames with at least ``count`` atoms), "max" (the most frames
    with at most ``count`` atoms, at least one), "mixed" (``count`` frames, each from a system drawn anew), "mix" (the
    same, as many frames as have at most ``count`` atoms).
    """

    kind: str
    count: int

    @property
    def across_systems(self) -> bool:
        """Whether the frames of a batch come from different systems."""
        return self.kind in ("mixed", "mix")

    def frames_for(self, natoms: float) -> int:
        """Frames per batch if each has ``natoms`` atoms."""
        if self.kind in ("frames", "mixed"):
            return self.count
        return max(1, int(-(-self.count // natoms)) if self.kind == "auto" else int(self.count // natoms))

    def is_full(self, frames: int, atoms: int, candidate: int) -> bool:
        """Whether a batch of so many frames and atoms must not take another frame of ``candidate`` atoms."""
        if self.kind in ("frames", "mixed"):
            return frames >= self.count
        if self.kind == "auto":
            return atoms >= self.count
        return frames > 0 and atoms + candidate > self.count


def batch_rules(batch_size: int | Sequence[int] | str, nsystems: int) -> tuple[list[BatchRule], bool]:
    """The rule of each system, and whether frames with more atoms than the count are left out (``filter``).

    Raises ConfigError if ``batch_size`` is none of: a number, one number a system, "auto", "auto:N", "max:N",
    "filter:N", "mixed:N", "mix:N".
    """
    if isinstance(batch_size, str):
        match = _RULE.fullmatch(batch_size.strip())
        count = int(match[2] or (32 if match[1] == "auto" else 0)) if match else 0
        if not match or count < 1:
            raise ConfigError(
                f"batch_size is {batch_size!r}, expected a number, a list of numbers, "
                '"auto", "auto:N", "max:N", "filter:N", "mixed:N" or "mix:N" with N ≥ 1.'
            )
        kind = "max" if match[1] == "filter" else match[1]
        return [BatchRule(kind, count)] * nsystems, match[1] == "filter"
    sizes = [batch_size] * nsystems if isinstance(batch_size, int) else list(batch_size)
    if len(sizes) != nsystems:
        raise ConfigError(
            f"batch_size lists {len(sizes)} numbers, but there are {nsystems} systems (after searching folders). "
            "Give one number for each, or one for all."
        )
    if any(not isinstance(b, int) or b < 1 for b in sizes):
        raise ConfigError(f"batch_size is {batch_size}, expected whole numbers from 1.")
    return [BatchRule("frames", b) for b in sizes], False


def system_probabilities(
    batches: Floats, auto_prob: str = "prob_sys_size", sys_probs: Sequence[float] | None = None
) -> Floats:
    """(nsystems,) the probability that a batch comes from each system; sums to 1.

    batches: (nsystems,) how many batches each system has; 0 = left out.
    auto_prob: "prob_uniform", "prob_sys_size" (∝ batches), or "prob_sys_size;start:end:weight;…" (blocks of systems
        with given weights, ∝ batches inside).
    sys_probs: explicit probabilities, one a system; negative ones share what is left of 1, ∝ batches.

    Raises ConfigError for anything else.
    """
    if sys_probs is not None:
        weights = _explicit(np.asarray(sys_probs, dtype=np.float64), batches)
    elif auto_prob == "prob_uniform":
        weights = np.ones(len(batches))
    elif auto_prob == "prob_sys_size":
        weights = batches
    elif auto_prob.startswith("prob_sys_size;"):
        weights = _blocks(auto_prob, batches)
    else:
        raise ConfigError(
            f"auto_prob is {auto_prob!r}, expected "
            '"prob_uniform", "prob_sys_size" or "prob_sys_size;start:end:weight;…".'
        )
    weights = np.where(batches > 0, weights, 0.0)
    if not weights.sum() > 0:
        raise ConfigError("Every system that could be drawn has probability 0; correct sys_probs or auto_prob.")
    total = float(weights.sum())
    return np.asarray(weights / total)


def _explicit(given: Floats, batches: Floats) -> Floats:
    if given.shape != batches.shape:
        raise ConfigError(
            f"sys_probs lists {given.size} numbers, but there are {batches.size} systems (after searching folders)."
        )
    open_ones = given < 0
    fixed = given[~open_ones].sum()
    if not np.isfinite(given).all() or fixed > 1 + 1e-8 or (not open_ones.any() and abs(fixed - 1) > 1e-8):
        raise ConfigError(
            f"sys_probs is {given.tolist()}: the non-negative ones add up to {fixed:g}, expected 1 "
            "(or less, where negative ones share the rest)."
        )
    weights = given.copy()
    shared = batches[open_ones]
    weights[open_ones] = max(1 - fixed, 0.0) * shared / max(shared.sum(), 1e-300)
    return weights


def _blocks(auto_prob: str, batches: Floats) -> Floats:
    weights = np.zeros(len(batches))
    for block in filter(None, (part.strip() for part in auto_prob.split(";")[1:])):
        try:
            first, last, share = block.split(":")
            start, end, weight = int(first), int(last), float(share)
        except ValueError as error:
            raise ConfigError(f"auto_prob: block {block!r} is not start:end:weight, such as 0:10:0.5.") from error
        if not 0 <= start < end <= len(batches) or weight < 0:
            raise ConfigError(
                f"auto_prob: block {block!r} must have 0 ≤ start < end ≤ {len(batches)} (the number of systems) "
                "and a weight ≥ 0."
            )
        inside = batches[start:end]
        weights[start:end] += weight * inside / max(inside.sum(), 1e-300)
    return weights


@dataclass(frozen=True)
class SystemRow:
    """A line of the table of systems."""

    name: str
    natoms: int
    batch_size: int
    batches: int
    probability: float
    periodic: bool


@dataclass
class _Unit:
    """What one probability belongs to: a system, or the frames of one origin in a database."""

    system: int
    frames: Integers | None  # frames of the system; None = all
    nframes: int
    rule: BatchRule
    batches: float = 0.0
    passes: int = 0
    cursor: int = 0
    order: Integers | None = None  # of the current pass; made again from seed and pass number after a restart


class Sampler:
    """Chooses batches of frames, forever.

    A system is drawn for each batch with its probability; inside it, frames come from a shuffled pass that restarts
    when exhausted; its last batch is what is left. With "mixed:N" and "mix:N" a system is drawn for each frame.

    min_pair_dist: frames with two atoms closer than this (Å, periodic images included) are passed over; 0 = off.
    seed: None takes one from the operating system. Equal seeds give equal batches.

    Raises ConfigError for a rule that is not known, DataError if a system that could be drawn has no frame left. Warns
    (logger ``dp_core.data``) when a batch is larger than its system.
    """

    def __init__(
        self,
        systems: Sequence[System],
        batch_size: int | Sequence[int] | str = "auto",
        *,
        auto_prob: str = "prob_sys_size",
        sys_probs: Sequence[float] | None = None,
        seed: int | None = None,
        min_pair_dist: float = 0.0,
    ):
        self.systems, self._min_pair_dist = list(systems), min_pair_dist
        self._rules, self._filter = batch_rules(batch_size, len(self.systems))
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else abs(int(seed))
        self._rng = np.random.Generator(np.random.PCG64(self._seed))
        self._units = self._make_units(auto_prob)
        for unit in self._units:
            unit.batches = self._count_batches(unit)
        self.probabilities = system_probabilities(np.array([u.batches for u in self._units]), auto_prob, sys_probs)
        self._cumulative = np.cumsum(self.probabilities)
        self._held: tuple[int, int] | None = None  # drawn, but did not fit into the batch before
        self._far_enough: dict[tuple[int, int], bool] = {}
        self._told: set[int] = set()
        if not isinstance(batch_size, str):
            self._warn_of_small_systems()
        if min_pair_dist > 0:
            self._refuse_units_without_frames()

    def _make_units(self, auto_prob: str) -> list[_Unit]:
        only = self.systems[0] if len(self.systems) == 1 else None
        if only is not None and only.origins is not None and auto_prob.startswith("prob_sys_size;"):
            groups = [np.flatnonzero(only.origins == k) for k in range(int(only.origins.max()) + 1)]
            units = [_Unit(0, group, len(group), self._rules[0]) for group in groups]
        else:
            units = [_Unit(k, None, s.nframes, rule) for k, (s, rule) in enumerate(zip(self.systems, self._rules))]
        if self._filter:
            self._leave_out_large(units)
        if not any(unit.nframes for unit in units):
            raise DataError("No frame to draw from: every system is empty.")
        return units

    def _leave_out_large(self, units: list[_Unit]) -> None:
        removed = 0
        for unit in units:
            sizes = self._sizes(unit)
            keep = sizes <= unit.rule.count
            removed += int((~keep).sum())
            if not keep.all():
                unit.frames = (np.arange(len(sizes)) if unit.frames is None else unit.frames)[keep]
                unit.nframes = len(unit.frames)
        if not any(unit.nframes for unit in units):
            raise DataError(
                f"batch_size filter:{units[0].rule.count} leaves no frame: all have more atoms. Raise the number."
            )
        if removed:
            log.warning("batch_size filter:%d leaves out %d frames with more atoms.", units[0].rule.count, removed)

    def _sizes(self, unit: _Unit) -> Integers:
        system = self.systems[unit.system]
        if system.sizes is None:
            return np.full(unit.nframes, system.natoms)
        return system.sizes if unit.frames is None else system.sizes[unit.frames]

    def _count_batches(self, unit: _Unit) -> float:
        """⌈frames / batch size⌉; with frames of different sizes, as if each size had batches of its own. 0 if empty.

        Where frames are drawn one by one the exact quotient, in frames or atoms: then systems count by their frames.
        """
        if unit.rule.across_systems:
            return unit.nframes / unit.rule.count
        sizes, frames = np.unique(self._sizes(unit), return_counts=True)
        return float(np.ceil(sum(k / unit.rule.frames_for(n) for n, k in zip(sizes, frames)) - 1e-9))

    def _warn_of_small_systems(self) -> None:
        for unit in self._units:
            if unit.rule.count > unit.nframes:
                log.warning(
                    "batch_size %d is larger than system %s, which has %d frames; its batches are the whole system.",
                    unit.rule.count,
                    self.systems[unit.system].name,
                    unit.nframes,
                )

    def _refuse_units_without_frames(self) -> None:
        """Look into each system for a frame that is not passed over; mostly that is the first one."""
        for unit, probability in zip(self._units, self.probabilities):
            frames = range(unit.nframes) if unit.frames is None else unit.frames.tolist()
            if probability > 0 and not any(self._is_far_enough((unit.system, i)) for i in frames):
                raise DataError(
                    f"Every frame of system {self.systems[unit.system].name} has atoms closer than min_pair_dist "
                    f"{self._min_pair_dist} Å. Remove the system, or lower min_pair_dist."
                )

    # -- drawing

    def next(self) -> list[tuple[int, int]]:
        """The next batch, as pairs (system, frame)."""
        rule = self._rules[0]
        if not rule.across_systems:
            unit = self._draw_unit()
            return self._fill(unit)
        batch: list[tuple[int, int]] = []
        atoms = 0
        while not (rule.kind == "mixed" and len(batch) >= rule.count):
            pair = self._held or self._take(self._draw_unit())
            size = self._atoms(pair)
            if rule.is_full(len(batch), atoms, size):
                self._held = pair
                break
            self._held = None
            batch.append(pair)
            atoms += size
        return batch

    def _fill(self, unit: int) -> list[tuple[int, int]]:
        """A batch from one system: until the rule is met or the pass ends."""
        batch = [self._take(unit)]
        rule, atoms = self._units[unit].rule, self._atoms(batch[0])
        while (pair := self._peek(unit)) is not None and not rule.is_full(len(batch), atoms, self._atoms(pair)):
            self._units[unit].cursor += 1
            batch.append(pair)
            atoms += self._atoms(pair)
        return batch

    def _draw_unit(self) -> int:
        place = int(np.searchsorted(self._cumulative, self._rng.random() * self._cumulative[-1], side="right"))
        return min(place, len(self._units) - 1)

    def _take(self, unit: int) -> tuple[int, int]:
        """The next frame of a unit, in a new pass if the last one is exhausted."""
        state = self._units[unit]
        pair = self._peek(unit)
        if pair is None:
            state.passes, state.cursor, state.order = state.passes + 1, 0, None
            pair = self._peek(unit)
        assert pair is not None  # else the constructor had refused the system
        state.cursor += 1
        return pair

    def _peek(self, unit: int) -> tuple[int, int] | None:
        """The frame that comes next in the current pass, None at its end; frames with close atoms are passed over."""
        state = self._units[unit]
        if state.order is None:
            state.order = self._order(unit)
        while state.cursor < state.nframes:
            pair = (state.system, int(state.order[state.cursor]))
            if self._min_pair_dist <= 0 or self._is_far_enough(pair):
                return pair
            state.cursor += 1
        return None

    def _order(self, unit: int) -> Integers:
        state = self._units[unit]
        frames = np.arange(state.nframes) if state.frames is None else state.frames
        stream = np.random.Generator(np.random.PCG64([self._seed, unit, state.passes]))
        return frames[stream.permutation(state.nframes)]

    def _atoms(self, pair: tuple[int, int]) -> int:
        system = self.systems[pair[0]]
        return system.natoms if system.sizes is None else int(system.sizes[pair[1]])

    def _is_far_enough(self, pair: tuple[int, int]) -> bool:
        if pair not in self._far_enough:
            frame = self.systems[pair[0]].frame(pair[1])
            close = closest_pair(frame, self._min_pair_dist)
            self._far_enough[pair] = close is None
            if close is not None and pair[0] not in self._told:
                self._told.add(pair[0])
                where = self.systems[pair[0]].where(pair[1])
                log.warning("min_pair_dist: %s is passed over (%s), and more of the system may be.", where, close)
        return self._far_enough[pair]

    # -- for tables and restarts

    def table(self) -> list[SystemRow]:
        """One row a system (or origin): name, atoms, frames per batch, batches, probability, boundaries."""
        rows = []
        for unit, probability in zip(self._units, self.probabilities):
            system = self.systems[unit.system]
            mean = float(self._sizes(unit).mean()) if unit.nframes else system.natoms
            size = unit.rule.frames_for(mean)
            batches = int(np.ceil(unit.nframes / size if unit.rule.across_systems else unit.batches))
            rows.append(SystemRow(system.name, system.natoms, size, batches, float(probability), system.periodic))
        return rows

    @property
    def batches_per_epoch(self) -> float:
        """Batches until every system has been seen once, on average: max over systems of batches / probability."""
        drawn = self.probabilities > 0
        per_epoch = float(max(u.batches / p for u, p in zip(self._units, self.probabilities) if p > 0))
        if self._rules[0].kind == "mix":
            sizes = np.array([self._sizes(u).mean() if u.nframes else 0 for u in self._units])
            per_epoch *= float(self.probabilities[drawn] @ sizes[drawn])
        return per_epoch

    def state(self) -> dict[str, Any]:
        """All that is needed to go on with the same batches, as plain JSON values."""
        return {
            "seed": self._seed,
            "rng": self._rng.bit_generator.state,
            "passes": {str(k): [u.passes, u.cursor] for k, u in enumerate(self._units) if u.passes or u.cursor},
            "held": list(self._held) if self._held else None,
            "data": self._fingerprint,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state. If the data are not the same as then, new passes start (with a warning)."""
        self._seed = int(state["seed"])
        self._rng.bit_generator.state = state["rng"]
        same = state["data"] == self._fingerprint
        if not same:
            log.warning("The training data changed since the checkpoint was written; passes over them start anew.")
        self._held = (int(state["held"][0]), int(state["held"][1])) if same and state["held"] else None
        for k, unit in enumerate(self._units):
            unit.passes, unit.cursor = state["passes"].get(str(k), (0, 0)) if same else (0, 0)
            unit.order = None

    @cached_property
    def _fingerprint(self) -> str:
        text = "\n".join(f"{s.name} {s.nframes} {s.natoms}" for s in self.systems) + str(self._rules)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
