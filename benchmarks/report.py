"""What was measured: collected, compared, printed as tables and written as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.programs import ProgramError

FORMAT = 1


@dataclass(frozen=True)
class Series:
    """All samples of one quantity."""

    part: str
    case: str
    program: str
    quantity: str
    unit: str
    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return median(self.samples)


@dataclass(frozen=True)
class Ratio:
    """A median divided by another one of the same run."""

    part: str
    case: str
    program: str
    quantity: str
    to: str
    """The program, or the case, that it is divided by."""
    value: float


class Report:
    """Samples as they come in; failures are noted and do not stop the rest."""

    def __init__(self, console: Console, **header: Any):
        self._console = console
        self._header = header
        self._series: dict[tuple[str, str, str, str], Series] = {}
        self.differences: list[dict[str, Any]] = []
        self.failures: list[dict[str, str]] = []
        self.profiles: list[dict[str, Any]] = []

    # -- collecting

    def add(self, part: str, case: str, program: str, quantity: str, unit: str, value: float) -> None:
        """One more sample."""
        key = (part, case, program, quantity)
        self._series.setdefault(key, Series(*key, unit)).samples.append(value)

    def difference(self, case: str, program: str, reference: str, energy: float, force: float, virial: float) -> None:
        """The largest differences of results: eV and eV/Å, energy and virial divided by the number of atoms."""
        self.differences.append(
            {
                "case": case,
                "program": program,
                "reference": reference,
                "energy_per_atom": energy,
                "force": force,
                "virial_per_atom": virial,
            }
        )

    @contextmanager
    def measuring(self, part: str, case: str, program: str) -> Iterator[None]:
        """Say what is going on, and note it if the program fails."""
        self._console.print(f"[dim]{datetime.now(UTC):%H:%M:%S}[/] {part}: {case}: {program}", highlight=False)
        try:
            yield
        except ProgramError as error:
            self.failures.append({"part": part, "case": case, "program": program, "error": str(error)})
            self._console.print(f"  failed: {error}", style="red", markup=False, highlight=False, soft_wrap=True)

    # -- comparing

    def medians(self, part: str, quantity: str) -> dict[tuple[str, str], float]:
        """Medians by case and program."""
        return {
            (s.case, s.program): s.median for s in self._series.values() if (s.part, s.quantity) == (part, quantity)
        }

    def ratios(self) -> list[Ratio]:
        """dp divided by DeePMD-kit in the same case; and, where a part compares cases, each case by the first."""
        found = []
        for part, quantity in dict.fromkeys((s.part, s.quantity) for s in self._series.values()):
            values = self.medians(part, quantity)
            first = next(iter(values))[0]
            for (case, program), value in values.items():
                if part.endswith("by types"):
                    others = {} if case == first else {first: values.get((first, program), 0.0)}
                elif program.startswith("dp "):
                    others = {p: v for (c, p), v in values.items() if c == case and p.startswith("deepmd ")}
                else:
                    others = {}
                found += [Ratio(part, case, program, quantity, to, value / v) for to, v in others.items() if v > 0]
        return found

    # -- showing

    def show(self) -> None:
        """Print the tables."""
        ratios = self.ratios()
        for part in dict.fromkeys(s.part for s in self._series.values()):
            self._console.print(_table(part, list(self._series.values()), ratios))
        if self.differences:
            table = Table("case", "program", "energy / atom", "force", "virial / atom", title="Largest differences")
            for d in self.differences:
                numbers = (f"{d[key]:.1e}" for key in ("energy_per_atom", "force", "virial_per_atom"))
                table.add_row(d["case"], f"{d['program']} − {d['reference']}", *numbers)
            self._console.print(table)
        for profile in self.profiles:
            self._console.print(_profile_table(profile))
        if self.failures:
            self._console.print(f"{len(self.failures)} failed, see above", style="red")

    def write(self, path: Path) -> None:
        """Write everything, with all samples, as JSON."""
        document = {
            "format": FORMAT,
            **self._header,
            "load_at_end": os.getloadavg(),
            "series": [asdict(s) | {"median": s.median} for s in self._series.values()],
            "ratios": [asdict(r) for r in self.ratios()],
            "differences": self.differences,
            "profiles": self.profiles,
            "failures": self.failures,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _table(part: str, series: Sequence[Series], ratios: Sequence[Ratio]) -> Table:
    """One row for each case and program: medians, then ratios."""
    rows = dict.fromkeys((s.case, s.program) for s in series if s.part == part)
    quantities = dict.fromkeys((s.quantity, s.unit) for s in series if s.part == part)
    shown = [r for r in ratios if r.part == part and r.quantity == "CPU"]
    columns = dict.fromkeys((r.quantity, r.to) for r in shown)
    table = Table("case", "program", title=part.capitalize())
    for head in [f"{q} ({u})" for q, u in quantities] + [f"{q} ÷ {to}" for q, to in columns]:
        table.add_column(head, justify="right")
    numbers = {(s.case, s.program, s.quantity): s.median for s in series if s.part == part}
    divided = {(r.case, r.program, r.quantity, r.to): r.value for r in shown}
    for row in rows:
        cells = [numbers.get((*row, q)) for q, _ in quantities] + [divided.get((*row, *c)) for c in columns]
        table.add_row(*row, *("" if v is None else f"{v:,.0f}" if v >= 1000 else f"{v:.3g}" for v in cells))
    return table


def _profile_table(profile: dict[str, Any]) -> Table:
    title = f"{profile['case'].capitalize()}, {profile['total']:.1f} ms of {profile['clock']} time"
    table = Table(profile["of"], title=title)
    for head in ("ms", "share", "calls"):
        table.add_column(head, justify="right")
    for row in profile["rows"]:
        share = row["ms"] / profile["total"]
        table.add_row(row["name"], f"{row['ms']:.2f}", f"{share:.0%}", row["calls"])
    return table


def machine() -> dict[str, Any]:
    """What it runs on. Linux only, as the measurements are."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].split(":", 1)[1].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "load_at_start": os.getloadavg(),
    }


def commit(folder: Path) -> str:
    """The commit of the checkout, with a plus if files differ from it; empty outside of one."""
    try:
        git = ["git", "-C", str(folder)]
        name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, check=False).returncode
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name.stdout.strip() + ("+" if changed else "")
