"""The whole way of a user: train a copper potential, freeze it, test it, run dynamics, compare with the labeler.

Run by ``make demo``. Everything is written to ``demo-output``; the report is ``demo-output/report.html``.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import physics
import pictures
from ase.calculators.emt import EMT
from report import Row, write_report

from dp_core.ase import DP

HERE = Path(__file__).parent
OUTPUT = HERE.parent.parent / "demo-output"
MODEL = "frozen_model.pth"
NVE_STEPS, LIQUID_STEPS = 1500, 1500

COMMANDS = [
    "dp --pt train input.json",
    "dp --pt freeze",
    f"dp test -m {MODEL} -s ../examples/copper/data/validation -d details",
    "dp plot lcurve.out -o lcurve.svg",
    "dp plot details -o parity.svg",
]

Result = TypeVar("Result")


def main() -> None:
    """Run all steps and write the report."""
    began = time.time()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    shutil.copy(HERE / "input.json", OUTPUT)
    log = "".join(run(command) for command in COMMANDS)
    potential, labeler = DP(OUTPUT / MODEL), EMT()

    mine = said("Equation of state", lambda: physics.equilibrium(potential))
    truth = physics.equilibrium(labeler)
    rows = errors(log) + properties(potential, labeler, mine, truth)
    bands = said("Phonons", lambda: physics.phonons(potential, mine.lattice))
    energy = said("Dynamics at constant energy", lambda: physics.constant_energy(potential, mine.lattice, NVE_STEPS))
    melt = said("Liquid copper with the potential", lambda: physics.liquid(potential, LIQUID_STEPS))
    melt_truth = said("Liquid copper with the labeler", lambda: physics.liquid(labeler, LIQUID_STEPS))
    rows += [
        Row("energy drift at constant energy", energy.drift, None, "meV/atom/ps", 4),
        Row(f"diffusion in the liquid, {melt.kelvin:.0f} K", melt.diffusion, melt_truth.diffusion, "Å²/ps", 3),
    ]
    pictures.energy_volume(mine, truth, OUTPUT / "eos.svg")
    pictures.phonon_bands(bands, physics.phonons(labeler, truth.lattice), OUTPUT / "phonons.svg")
    pictures.conservation(energy, OUTPUT / "nve.svg")
    pictures.pair_distribution(melt, melt_truth, OUTPUT / "rdf.svg")
    write_report(OUTPUT / "report.html", OUTPUT, rows, COMMANDS, time.time() - began)
    show(rows, time.time() - began)


def run(command: str) -> str:
    """Run one ``dp`` command in the output folder, its lines on the screen; returns what it printed."""
    print(f"\n$ {command}", flush=True)
    words = [str(Path(sys.executable).parent / "dp"), *command.split()[1:]]
    lines = []
    with subprocess.Popen(words, cwd=OUTPUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            if not re.search(r"Batch\s+\d+[1-9]00:|# testing|-- ", line):  # each thousandth step is enough to see
                print(line, end="", flush=True)
    if process.returncode:
        sys.exit(f"{command} ended with status {process.returncode}.")
    return "".join(lines)


def said(what: str, work: Callable[[], Result]) -> Result:
    """Do something long and say how long it took."""
    began = time.time()
    print(f"{what} …", end=" ", flush=True)
    result = work()
    print(f"{time.time() - began:.0f} s", flush=True)
    return result


def errors(log: str) -> list[Row]:
    """The errors on the validation data, from the lines of ``dp test``."""

    def last(label: str) -> float:
        return float(re.findall(rf"{label} *: (\S+)", log)[-1])

    return [
        Row("energy RMSE, validation data", 1000 * last("Energy RMSE/Natoms"), None, "meV/atom", 1),
        Row("force RMSE, validation data", 1000 * last("Force  RMSE"), None, "meV/Å", 1),
        Row("virial RMSE, validation data", 1000 * last("Virial RMSE/Natoms"), None, "meV/atom", 1),
    ]


def properties(potential: DP, labeler: EMT, mine: physics.Equilibrium, truth: physics.Equilibrium) -> list[Row]:
    """Quantities of the solid, by the potential and by the labeler."""
    c_mine = said("Elastic constants", lambda: physics.elastic_constants(potential, mine.lattice))
    c_truth = physics.elastic_constants(labeler, truth.lattice)
    vacancy = said("Vacancy", lambda: physics.vacancy_energy(potential, mine.lattice, mine.cohesion))
    surface = said("Surface", lambda: physics.surface_energy(potential, mine.lattice, mine.cohesion))
    return [
        Row("lattice constant", mine.lattice, truth.lattice, "Å", 4),
        Row("bulk modulus", mine.modulus, truth.modulus, "GPa", 1),
        *(Row(f"elastic constant {n}", m, t, "GPa", 1) for n, m, t in zip(("C11", "C12", "C44"), c_mine, c_truth)),
        Row("vacancy energy", vacancy, physics.vacancy_energy(labeler, truth.lattice, truth.cohesion), "eV", 3),
        Row("(111) surface energy", surface, physics.surface_energy(labeler, truth.lattice, truth.cohesion), "J/m²", 3),
    ]


def show(rows: list[Row], seconds: float) -> None:
    """A short table on the screen."""
    print(f"\n{'':34}{'potential':>12}{'labeler':>12}")
    for row in rows:
        print(f"{row.name:34}{row.shown(row.value):>12}{row.shown(row.truth):>12}  {row.unit}")
    print(f"\nThe demo took {seconds / 60:.1f} minutes. Report: {OUTPUT / 'report.html'}")


if __name__ == "__main__":
    main()
