"""The report: one page with everything inside it, and the same numbers as a table for the screen."""

import html
import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import physics
import pictures
from physics import Properties

LABELS = ("Energy RMSE/Natoms", "Force  RMSE", "Virial RMSE/Natoms")
PACKAGES = ("dp-core", "dp-torch", "dp-cli", "torch", "numpy", "ase")


@dataclass(frozen=True)
class Errors:
    """Root mean square errors of one system, from the lines of ``dp test``."""

    frames: int
    energy: float  # eV/atom
    force: float  # eV/Å
    virial: float  # eV/atom


@dataclass(frozen=True)
class Check:
    """One line of ``dp check``."""

    name: str
    measured: str
    allowed: str


@dataclass(frozen=True)
class Findings:
    """All that was done and found."""

    folder: Path
    settings: dict[str, Any]
    errors: dict[str, Errors]  # by system, and "all"
    checks: list[Check]
    labeler: Properties
    dp: Properties
    steps: list[tuple[str, float]]  # what was run, s
    parameters: int
    training: int  # frames


@dataclass(frozen=True)
class Row:
    """One quantity, by the labeler and by the potential."""

    name: str
    labeler: float
    dp: float
    unit: str
    digits: int

    def cells(self) -> list[str]:
        """Name, labeler, potential, unit, difference."""
        numbers = [f"{value:.{self.digits}f}" for value in (self.labeler, self.dp)]
        difference = round(100 * (self.dp / self.labeler - 1), 1)
        return [self.name, *numbers, self.unit, f"{difference or 0.0:+.1f} %".replace("-", "\N{MINUS SIGN}")]


def read_errors(log: Path) -> dict[str, Errors]:
    """The errors that ``dp test`` printed, by the name of the system; "all" for the average."""
    found: dict[str, Errors] = {}
    for part in re.split("# -+(?:output of dp test|weighted average of errors)-+", log.read_text("utf-8"))[1:]:
        system = re.search(r"# testing system : (.*)", part)
        frames = re.search(r"# number of test data : (\d+)", part)
        errors = (re.search(rf"{label} *: (\S+)", part) for label in LABELS)
        energy, force, virial = (float(error[1]) if error else float("nan") for error in errors)
        count = int(frames[1]) if frames else sum(one.frames for one in found.values())
        found[Path(system[1]).name if system else "all"] = Errors(count, energy, force, virial)
    return found


def read_checks(text: str) -> list[Check]:
    """The lines of ``dp check``."""
    lines = re.findall(r"^(?:ok|FAILED)\s+(\S.*?)\s+(\S+)\s+allowed (\S+)", text, re.MULTILINE)
    return [Check(*line) for line in lines]


def crystal(labeler: Properties, dp: Properties) -> list[Row]:
    """Quantities of the solid."""
    both = list(zip(labeler.elastic, dp.elastic))
    top = [float(one.bands.frequencies.max()) for one in (labeler, dp)]
    return [
        Row("lattice constant", labeler.rest.lattice, dp.rest.lattice, "Å", 4),
        Row("bulk modulus", labeler.rest.modulus, dp.rest.modulus, "GPa", 1),
        *(Row(f"elastic constant C{n}", *pair, "GPa", 1) for n, pair in zip(("₁₁", "₁₂", "₄₄"), both)),
        Row("highest phonon", *top, "THz", 2),
        Row("vacancy, formation energy", labeler.vacancy, dp.vacancy, "eV", 3),
        Row("surface (111), energy", labeler.surface, dp.surface, "J/m²", 3),
    ]


def liquid(labeler: Properties, dp: Properties) -> list[Row]:
    """Quantities of the liquid."""
    peaks = [float(one.melt.rdf.max()) for one in (labeler, dp)]
    return [
        Row("first peak of g(r)", *peaks, "", 2),
        Row("self-diffusion in the liquid", labeler.melt.diffusion, dp.melt.diffusion, "Å²/ps", 2),
    ]


def as_text(found: Findings) -> str:
    """A short table for the screen."""
    total = found.errors["all"]
    lines = [f"{'':28}{'labeler':>10}{'potential':>11}"]
    for name, labeler, dp, unit, difference in (
        row.cells() for row in (*crystal(found.labeler, found.dp), *liquid(found.labeler, found.dp))
    ):
        lines.append(f"{name:28}{labeler:>10}{dp:>11} {unit:6}{difference:>8}")
    return "\n".join(
        [
            *lines,
            "",
            f"errors on {total.frames} frames never seen: energy {1000 * total.energy:.1f} meV/atom, "
            f"force {1000 * total.force:.0f} meV/Å, virial {1000 * total.virial:.0f} meV/atom",
            f"drift of the total energy: {_drift(found.dp)}",
        ]
    )


def write(found: Findings) -> Path:
    """Write the page; returns its path."""
    labeler, dp, training = found.labeler, found.dp, dict(found.steps)["dp --pt train input.json"]
    template = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    page = template.substitute(
        training_minutes=_duration(training),
        frames=found.training,
        tiles=_tiles(found),
        steps=f"{found.settings['training']['numb_steps']:,}",
        parameters=f"{found.parameters:,}",
        learning_curve=pictures.learning_curve(found.folder),
        validation_frames=found.errors["all"].frames,
        parity=pictures.parity(found.folder / "validation"),
        errors=_error_table(found.errors),
        energy_volume=pictures.energy_volume(labeler, dp),
        phonon_bands=pictures.phonon_bands(labeler, dp),
        properties=_comparison(crystal(labeler, dp)),
        nve_kelvin=f"{dp.motion.kelvin:.0f}",
        nve_timestep=f"{physics.NVE_TIMESTEP:g}",
        conservation=pictures.conservation(dp),
        liquid_kelvin=f"{physics.LIQUID_KELVIN:g}",
        liquid_timestep=f"{physics.LIQUID_TIMESTEP:g}",
        pair_distribution=pictures.pair_distribution(labeler, dp),
        motion=_comparison(liquid(labeler, dp)),
        checks=_checks(found.checks),
        commands=html.escape("\n".join(f"{seconds:6.0f}   {line}" for line, seconds in found.steps)),
        settings=html.escape(json.dumps(found.settings, indent=2)),
        machine=f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}",
        versions=", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]),
    )
    path = found.folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _tiles(found: Findings) -> str:
    lattice = found.dp.rest.lattice
    off = 100 * abs(lattice / found.labeler.rest.lattice - 1)
    tiles = [
        (f"{1000 * found.errors['all'].force:.0f} meV/Å", "force error (RMSE) on structures it has never seen"),
        (f"{1000 * found.errors['all'].energy:.1f} meV", "energy error per atom on the same structures"),
        (f"{off:.2f} %", f"error of the lattice constant, {lattice:.4f} Å"),
        (_drift(found.dp), "drift of the total energy of 108 moving atoms"),
    ]
    return "".join(f'<div class="tile"><b>{number}</b><span>{text}</span></div>' for number, text in tiles)


def _drift(dp: Properties) -> str:
    """In µeV per atom and picosecond."""
    return f"{1000 * abs(dp.motion.drift):.1f} µeV/ps"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = round(seconds / 60)
    words = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return f"{words[minutes] if minutes < len(words) else minutes} minutes"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], total: str = "") -> str:
    """Rows whose first cell is ``total`` are emphasized. Units stay at the left of their column."""

    def row(cells: Sequence[str]) -> str:
        kinds = [' class="unit"' if title == "unit" else "" for title in head]
        inner = "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, cells))
        kind = ' class="total"' if cells[0] == total else ""
        return f"<tr{kind}>{inner}</tr>"

    titles = "".join(f"<th>{'' if title == 'unit' else title}</th>" for title in head)
    return f"<table><tr>{titles}</tr>{''.join(map(row, rows))}</table>"


def _error_table(errors: dict[str, Errors]) -> str:
    head = ("root mean square errors", "frames", "energy", "unit", "force", "unit", "virial", "unit")
    rows = [
        (
            name, str(e.frames), f"{1000 * e.energy:.1f}", "meV/atom", f"{1000 * e.force:.0f}", "meV/Å",
            f"{1000 * e.virial:.0f}", "meV/atom",
        )
        for name, e in errors.items()
    ]  # fmt: skip
    return _table(head, rows, total="all")


def _comparison(rows: Sequence[Row]) -> str:
    return _table(("", "labeler", "potential", "unit", "difference"), [row.cells() for row in rows])


def _checks(checks: list[Check]) -> str:
    rows = [(c.name, *(text if float(text) else "0" for text in (c.measured, c.allowed))) for c in checks]
    half = -(-len(rows) // 2)
    return "".join(_table(("", "error", "allowed"), part) for part in (rows[:half], rows[half:]))
