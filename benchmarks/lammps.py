"""Molecular dynamics in LAMMPS: seconds of a step with dp's plugin and with DeePMD-kit's, by threads and ranks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write

from benchmarks.evaluation import compare
from benchmarks.native import Kind, kinds, library_of, model_files, models
from benchmarks.problem import Problem
from benchmarks.programs import Program, ProgramError, run
from benchmarks.report import Report
from benchmarks.training import alternating

PART = "LAMMPS step"

SIZES = ((2, 2, 2), (4, 4, 4))

#: (ranks, threads of each)
LAYOUTS = ((1, 2), (2, 1))

_INPUT = """\
units metal
atom_style atomic
boundary p p p
box tilt large
read_data {data}
neighbor 2.0 bin
neigh_modify every 10 delay 0 check yes
pair_style deepmd {model}
pair_coeff * * {elements}
velocity all create 300 4928459
fix 1 all nve
timestep 0.0005
thermo_style custom step pe vol pxx pyy pzz pxy pxz pyz
thermo 1000
run {before}
run {steps}
write_dump all custom forces id fx fy fz modify sort id format float %.15g
print "$(pe:%.15g) $(vol) $(pxx:%.15g) $(pyy:%.15g) $(pzz:%.15g) $(pxy:%.15g) $(pxz:%.15g) $(pyz:%.15g)" file thermo
"""

_PLUGIN = """
import json
from dp_lammps import plugin_directory, settings
print(json.dumps({"LAMMPS_PLUGIN_PATH": plugin_directory(), **settings()}))
"""

#: bar·Å³ in an eV
_PRESSURE = 1602176.634


def measure_lammps(
    problem: Problem,
    programs: Sequence[Program],
    lammps: Path,
    folder: Path,
    env: Mapping[str, str],
    extra: Mapping[str, str],
    report: Report,
    *,
    rounds: int,
    largest: int | None,
    wanted: Sequence[str],
) -> None:
    """Seconds of a step from LAMMPS' own clock, and whether energies, forces and pressures agree after some steps.

    lammps: a Python with LAMMPS and dp-lammps; DeePMD-kit's plugin runs in the LAMMPS beside it. extra: set in all
    processes, whatever dp-lammps would set.
    """
    chosen = [k for k in kinds(programs) if k.suffix != ".savedmodel"]
    for model, described in models(problem, wanted).items():
        with report.measuring("conversion", ".dp", model):
            files = model_files(described, chosen, folder / model, env, report)
            for repeats in SIZES:
                natoms = problem.natoms * math.prod(repeats)
                if natoms > (largest or natoms):
                    continue
                data = files["dp .dp"].with_name(f"{natoms}.data")
                _write_data(problem, repeats, data)
                for ranks, threads in LAYOUTS:
                    case = f"{model}, {natoms} atoms, {ranks} × {threads}"
                    here = {k.name: data.with_name(f"lammps {case} {k.name}") for k in chosen if k.name in files}
                    for round_ in range(rounds):
                        for kind in alternating([k for k in chosen if k.name in files], round_):
                            with report.measuring(PART, case, kind.name):
                                python = lammps if kind.program.ours else kind.program.python
                                known = _settings(kind, lammps, env) | _threads(threads) | dict(extra)
                                text = _INPUT.format(
                                    data=data,
                                    model=files[kind.name],
                                    elements=" ".join(problem.type_map),
                                    before=3 if natoms < 5000 else 1,
                                    steps=20 if natoms < 5000 else 4,
                                )
                                seconds = _step(python, here[kind.name], text, ranks, known)
                                report.add(PART, case, kind.name, "wall", "s", seconds)
                    compare(case, {name: place / "result.npz" for name, place in here.items()}, report)


def _settings(kind: Kind, lammps: Path, env: Mapping[str, str]) -> dict[str, str]:
    if not kind.program.ours:
        return library_of(kind, env)[1]
    return {**env, **json.loads(run([str(lammps), "-c", _PLUGIN], Path.cwd(), env).splitlines()[-1])}


def _threads(count: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "DP_INTRA_OP_PARALLELISM_THREADS")
    return dict.fromkeys(names, str(count))


def _write_data(problem: Problem, repeats: tuple[int, int, int], path: Path) -> None:
    frame = problem.frames[0]
    symbols = np.array(problem.type_map)[frame.types]
    atoms = Atoms(symbols, frame.coord, cell=frame.box, pbc=True).repeat(repeats)
    atoms.wrap()
    write(path, atoms, format="lammps-data", specorder=list(problem.type_map), masses=True)


def _step(python: Path, folder: Path, text: str, ranks: int, env: Mapping[str, str]) -> float:
    """Seconds of a step of the last run; its results are left in the folder. Raises ProgramError."""
    folder.mkdir(exist_ok=True)
    (folder / "in.lammps").write_text(text)
    command = [str(python.with_name("lmp")), "-in", "in.lammps"]
    if ranks > 1:
        command = [str(python.with_name("mpiexec")), "-n", str(ranks), *command]
    run(command, folder, env)
    times = re.findall(r"^Loop time of (\S+) on .* for (\d+) steps", (folder / "log.lammps").read_text(), re.MULTILINE)
    if not times:
        raise ProgramError(f"LAMMPS in {folder} shows no loop time.")
    energy, volume, *pressure = map(float, (folder / "thermo").read_text().split())
    rows = (folder / "forces").read_text().split("ITEM: ATOMS")[1].splitlines()[1:]
    force = np.array([row.split()[1:] for row in rows], float)
    virial = np.array(pressure) * volume / _PRESSURE  # with the kinetic part, which is the same
    np.savez(folder / "result.npz", energy=energy, force=force, virial=virial)
    return float(times[-1][0]) / int(times[-1][1])
