"""Looking through data sets before training: what is there, and what cannot or may not be right."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dp_core.data import suspicions
from dp_core.data.closest import ClosePair, closest_pair
from dp_core.data.frame import COMMON_LABELS, Floats, Frame, Integers, Label
from dp_core.data.open import check_one_format, collect_type_map, locate
from dp_core.data.system import System
from dp_core.data.validate import problems
from dp_core.errors import DataError

OVERLAP = 0.4
"""Atoms closer than this (Å) overlap."""
_SAMPLE = 64  # frames of a system that are compared with each other


@dataclass(frozen=True)
class Finding:
    """Something to know about a data set.

    severity: "error" (cannot be trained on), "warning" (probably wrong), "notice" (good to know).
    """

    severity: Literal["error", "warning", "notice"]
    message: str
    system: str
    frame: int | None = None


@dataclass
class SystemReport:
    """What one system holds. Ranges are (lowest, highest) over its frames; None where nothing is known."""

    name: str
    nframes: int
    natoms: int
    """Of the largest frame."""
    elements: tuple[str, ...]
    periodic: bool
    labels: tuple[str, ...]
    energy_per_atom: tuple[float, float] | None = None
    """eV."""
    force_rms: float | None = None
    """Of the components, eV/Å."""
    force_max: float | None = None
    """Largest force on an atom, eV/Å."""
    virial: tuple[float, float] | None = None
    """Of the components, eV."""
    volume_per_atom: tuple[float, float] | None = None
    """Å³."""
    closest: ClosePair | None = None
    """The closest atoms of all frames."""
    closest_in: int | None = None
    """The frame they are in."""


@dataclass
class DataReport:
    """The systems that could be opened, and all findings."""

    systems: list[SystemReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """The findings that forbid training."""
        return [f for f in self.findings if f.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """The findings that are probably mistakes."""
        return [f for f in self.findings if f.severity == "warning"]


def check_data(
    systems: str | Sequence[str] | Sequence[System],
    type_map: Sequence[str] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Read every frame once and report ranges, impossible numbers, and signs of mistakes; never raises for bad data.

    systems: paths as for ``open_systems``, or open systems.
    type_map: type names of the model the data are for; None takes those of the data.
    progress: called with (frames done, frames in all).
    """
    report = DataReport()
    opened = _open(systems, type_map, report)
    total, done = sum(s.nframes for s in opened), 0
    seen: dict[bytes, tuple[System, int, float]] = {}
    duplicates: list[tuple[str, str, bool]] = []
    for system in opened:
        scan = _Scan(system)
        try:
            for i in range(system.nframes):
                scan.add(i, seen, duplicates)
                done += 1
                if progress is not None:
                    progress(done, total)
        except DataError as error:
            scan.findings.append(Finding("error", str(error), system.name))
        report.systems.append(scan.report())
        report.findings += scan.all_findings()
    _compare_systems(report)
    _tell_duplicates(duplicates, report)
    order = {"error": 0, "warning": 1, "notice": 2}
    report.findings.sort(key=lambda finding: order[finding.severity])
    return report


def _open(
    systems: str | Sequence[str] | Sequence[System], type_map: Sequence[str] | None, report: DataReport
) -> list[System]:
    opened: list[System] = []
    for item in [systems] if isinstance(systems, str) else systems:
        if isinstance(item, System):
            opened.append(item)
            continue
        try:
            openers = locate(item)
        except DataError as error:
            report.findings.append(Finding("error", str(error), item))
            continue
        for opener in openers:
            try:
                opened.append(opener())
            except DataError as error:
                report.findings.append(Finding("error", str(error), item))
    try:
        names = list(type_map) if type_map is not None else collect_type_map(opened) if opened else []
        check_one_format(opened)
    except DataError as error:
        report.findings.append(Finding("error", str(error), ""))
        return []
    usable = []
    for index, system in enumerate(opened):
        try:
            system.bind(names, index)
            usable.append(system)
        except DataError as error:
            report.findings.append(Finding("error", str(error), system.name))
    return usable


class _Scan:
    """One pass over a system: numbers per frame, a sample of frames, and what is wrong."""

    def __init__(self, system: System):
        self.system = system
        self.labels = [Label(x.name, x.size, x.atomic) for x in COMMON_LABELS if x.key in system.available()]
        self.findings: list[Finding] = []
        self._wrong: Counter[str] = Counter()
        self._first_wrong: dict[str, tuple[int, str]] = {}
        self._found: Counter[str] = Counter()
        # Neighbouring frames of a trajectory resemble each other, so the sample is made of pairs of them.
        starts = np.linspace(0, max(system.nframes - 2, 0), _SAMPLE // 2).astype(int)
        self._sampled = {*starts.tolist(), *(starts + 1).tolist()}
        self.sample: list[Frame] = []
        self.frames: list[int] = []
        self.counts: list[Integers] = []
        self.energy: list[float] = []
        self.volume: list[float] = []
        self.trace: list[float] = []
        self.net_force: list[float] = []
        self._force = (0.0, 0, 0.0)  # sum of squares, components, largest norm
        self._virial = (np.inf, -np.inf)
        self._nonzero: set[str] = set()
        self.closest: tuple[ClosePair, int] | None = None
        self._closest_names = ("", "")

    def add(
        self, i: int, seen: dict[bytes, tuple[System, int, float]], duplicates: list[tuple[str, str, bool]]
    ) -> None:
        frame = self.system.frame(i, self.labels)
        self._found.update(frame.found)
        wrong = list(problems(frame))
        for problem in wrong:
            self._note(problem.kind, i, problem.text)
        if wrong:
            return  # its other numbers would only hide those of the good frames
        energy = float(frame.labels["energy"][0]) if "energy" in frame.found else np.nan
        self.frames.append(i)
        self.counts.append(np.bincount(frame.types[frame.types >= 0], minlength=len(self.system.type_map)))
        self.energy.append(energy)
        self.volume.append(np.nan if frame.box is None else abs(float(np.linalg.det(frame.box))))
        self._add_labels(frame)
        self._add_closest(frame)
        if i in self._sampled and "force" in frame.found:
            self.sample.append(frame)
        parts = [frame.coord, frame.types, *([] if frame.box is None else [frame.box])]
        parts += [frame.labels["spin"]] if "spin" in frame.found else []
        digest = hashlib.blake2b(b"".join(part.tobytes() for part in parts), digest_size=16).digest()
        if digest in seen:
            other, k, other_energy = seen[digest]
            differs = abs(energy - other_energy) > 1e-6 * max(1.0, abs(energy))
            duplicates.append((self.system.where(i), other.where(k), differs))
        seen.setdefault(digest, (self.system, i, energy))

    def _note(self, kind: str, i: int, text: str) -> None:
        self._wrong[kind] += 1
        self._first_wrong.setdefault(kind, (i, text))

    def _add_labels(self, frame: Frame) -> None:
        self._nonzero.update(name for name in frame.found if frame.labels[name].any())
        trace = np.nan
        if "virial" in frame.found:
            virial = frame.labels["virial"]
            trace = float(virial[[0, 4, 8]].sum())
            self._virial = (min(self._virial[0], float(virial.min())), max(self._virial[1], float(virial.max())))
        self.trace.append(trace)
        if "force" not in frame.found:
            return
        force = frame.labels["force"]
        norms = np.linalg.norm(force, axis=1)
        squares, components, largest = self._force
        largest = max(largest, float(norms.max(initial=0.0)))
        self._force = (squares + float(np.sum(norms**2)), components + 3 * frame.natoms, largest)
        scale = float(np.sqrt(np.sum(norms**2)))
        net = float(np.linalg.norm(force.sum(axis=0)))
        self.net_force.append(net / scale if net > 1e-3 * frame.natoms else 0.0)

    def _add_closest(self, frame: Frame) -> None:
        best = self.closest[0].distance if self.closest else np.inf
        reach = max(best, OVERLAP)  # nothing beyond is of interest; short cutoffs first, because they are much cheaper
        pair = next((p for cutoff in (1.3, 2.6, 5.2) if (p := closest_pair(frame, min(cutoff, reach)))), None)
        if pair is None:
            return
        if pair.distance < OVERLAP:
            self._note(
                "overlap", frame.index, f"{pair}; they overlap. Remove the frame, or check the units (Å, not nm)."
            )
        if pair.distance < best:
            self.closest = (pair, frame.index)
            first, second = (self.system.type_map[frame.types[k]] for k in (pair.first, pair.second))
            self._closest_names = (first, second)

    def report(self) -> SystemReport:
        """The ranges of the good frames."""
        energy, volume = np.array(self.energy), np.array(self.volume)
        counts = np.array(self.counts).reshape(len(self.frames), len(self.system.type_map))
        atoms = counts.sum(axis=1)
        squares, components, largest = self._force
        return SystemReport(
            name=self.system.name,
            nframes=self.system.nframes,
            natoms=self.system.natoms,
            elements=tuple(self.system.type_map[k] for k in np.flatnonzero(counts.sum(axis=0))),
            periodic=self.system.periodic,
            labels=tuple(sorted(self.system.available())),
            energy_per_atom=_range(energy / atoms),
            force_rms=float(np.sqrt(squares / components)) if components else None,
            force_max=largest if components else None,
            virial=self._virial if self._virial[0] <= self._virial[1] else None,
            volume_per_atom=_range(volume / atoms),
            closest=self.closest[0] if self.closest else None,
            closest_in=self.closest[1] if self.closest else None,
        )

    def all_findings(self) -> list[Finding]:
        """What is wrong with single frames, and what is suspicious about the system."""
        name = self.system.name
        for kind, (i, text) in self._first_wrong.items():
            more = f" ({self._wrong[kind]} frames in all)" if self._wrong[kind] > 1 else ""
            self.findings.append(Finding("error", f"{self.system.where(i)}: {text}{more}", name, i))
        for severity, text in self._suspicions():
            self.findings.append(Finding(severity, f"System {name}: {text}", name))
        self._outliers()
        return self.findings

    def _suspicions(self) -> list[tuple[Literal["warning", "notice"], str]]:
        natoms = int(np.mean([c.sum() for c in self.counts])) if self.counts else 0
        same_atoms = bool(self.counts) and not self.system.mixed
        warnings: list[str | None] = []
        notices: list[str | None] = []
        for label in sorted(self._found.keys() - self._nonzero) if self.frames else ():
            warnings.append(f"{label} is zero in every frame; is it a placeholder? Remove the file if so.")
        for label, count in sorted(self._found.items()):
            if count < self.system.nframes:
                notices.append(f"{count} of {self.system.nframes} frames have {label}; it is trained on in those only.")
        if same_atoms:
            energy, (squares, components, _) = np.array(self.energy), self._force
            work = suspicions.work_between(self.sample) if self.sample else None
            told = suspicions.energy_against_force(work, natoms) if work else None
            warnings.append(told)
            volume = np.array(self.volume)
            if told is None and components and np.isfinite(energy).all() and not np.ptp(volume) > 0.01 * volume.mean():
                notices.append(
                    suspicions.energy_spread_against_force(energy, float(np.sqrt(squares / components)), natoms)
                )
            warnings.append(
                (suspicions.virial_against_energy(work) if work else None)
                or suspicions.pressure_against_volume(np.array(self.volume), np.array(self.trace))
            )
        warnings.append(suspicions.virial_against_positions(self.sample))
        notices.append(suspicions.cell_too_large(self.sample))
        if self.closest:
            warnings.append(suspicions.bond_too_long(self._closest_names, self.closest[0].distance))
        too_dense, too_thin = self._densities()
        warnings.append(too_dense)
        notices.append(too_thin)
        if self.net_force and float(np.median(self.net_force)) > 0.3:
            notices.append(
                "the forces of a frame do not add up to zero. That is right with an external field or "
                "fixed surroundings; otherwise atoms or forces are missing."
            )
        return [("warning", t) for t in warnings if t] + [("notice", t) for t in notices if t]

    def _densities(self) -> tuple[str | None, str | None]:
        share = _range(np.array(self.volume) / np.array([c.sum() for c in self.counts])) if self.counts else None
        if share is None:
            return None, None
        dense = f"the cell leaves {share[0]:.2g} Å³ for an atom (usual: 5 to 50). Is it in nm? Lengths are in Å."
        thin = f"the cell has {share[1]:.2g} Å³ for an atom. If the boundaries are open, put an empty file nopbc there."
        return dense if share[0] < 2 else None, thin if share[1] > 1e4 else None

    def _outliers(self) -> None:
        """Energies far from what the composition gives: least squares over the frames, by median and its deviation."""
        energy, counts = np.array(self.energy), np.array(self.counts, dtype=np.float64)
        known = np.isfinite(energy)
        if known.sum() < 5:
            return
        energy, counts, frames = energy[known], counts[known], np.array(self.frames)[known]
        fitted = counts @ np.linalg.lstsq(counts, energy, rcond=None)[0]
        rest = (energy - fitted) / counts.sum(axis=1)
        rest -= np.median(rest)
        spread = 1.4826 * float(np.median(np.abs(rest)))
        far = np.flatnonzero(np.abs(rest) > max(10 * spread, 0.3))
        if far.size:
            worst = far[np.abs(rest[far]).argmax()]
            i = int(frames[worst])
            self.findings.append(
                Finding(
                    "warning",
                    f"{self.system.where(i)}: its energy is {rest[worst]:+.3g} eV an atom off the other frames "
                    f"({far.size} of {len(rest)} frames are far off). Did the calculation converge?",
                    self.system.name,
                    i,
                )
            )


def _range(values: Floats) -> tuple[float, float] | None:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else None


def _compare_systems(report: DataReport) -> None:
    """Systems of the same elements whose energies per atom lie far apart: another unit or another zero of energy."""
    first: dict[tuple[str, ...], SystemReport] = {}
    for system in report.systems:
        if system.energy_per_atom is None:
            continue
        other = first.setdefault(system.elements, system)
        a, b = system.energy_per_atom, other.energy_per_atom or system.energy_per_atom
        gap = max(a[0] - b[1], b[0] - a[1])
        if gap > 0.5 * max(abs(a[0]), abs(b[0])) and gap > 2:
            report.findings.append(
                Finding(
                    "warning",
                    f"System {system.name} has energies of {a[0]:.4g} to {a[1]:.4g} eV an atom, system {other.name} of "
                    f"the same elements {b[0]:.4g} to {b[1]:.4g}. Are both in eV, with the same zero of energy?",
                    system.name,
                )
            )


def _tell_duplicates(duplicates: list[tuple[str, str, bool]], report: DataReport) -> None:
    different = [d for d in duplicates if d[2]]
    if different:
        a, b, _ = different[0]
        report.findings.append(
            Finding(
                "warning", f"{len(different)} structures occur twice with different energies; first {a} and {b}.", a
            )
        )
    if len(duplicates) > len(different):
        a, b, _ = next(d for d in duplicates if not d[2])
        count = len(duplicates) - len(different)
        report.findings.append(Finding("notice", f"{count} structures occur more than once; first {a} and {b}.", a))
