"""Models that pass messages, on several ranks, each of which evaluates its own atoms: the numbers are those of one."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from dp_core.ase import DP

NAMES = ["dpa2_small", "dpa3_small"]
BAR = 1.602176634e6  # bar in eV/Å³
DUMP = """\
compute energy all pe/atom
compute stress all centroid/stress/atom NULL pair
dump atoms all custom 1 atoms id fx fy fz c_energy c_stress[1] c_stress[2] c_stress[3] c_stress[4] c_stress[5] &
     c_stress[6] c_stress[7] c_stress[8] c_stress[9]
dump_modify atoms format float %.16g
"""
VOIGT = [0, 4, 8, 1, 2, 5]


def spread(atoms: Atoms) -> Atoms:
    """Twice the triclinic cell, with the density that the models know; ranks have atoms that others never hear of."""
    twice = atoms.repeat((2, 1, 1))
    twice.positions += np.random.default_rng(5).normal(0, 0.02, twice.positions.shape)
    return twice


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_equals_dp(lammps, water, ranks, name):
    style = f"deepmd {lammps.model(name)}"
    atoms = spread(water)
    lammps.data(atoms, ["O", "H"])
    grid = "2 2 1" if ranks == 4 else f"{ranks} 1 1"
    done = lammps(lammps.head(style, processors=grid) + DUMP + "run 0\n", ranks=ranks)
    calculator = DP(str(lammps.folder / f"{name}.dp"), backend="numpy")
    calculator.calculate(atoms)
    results, row, found = calculator.results, done.rows[0], done.dump("atoms")[0]
    assert row["PotEng"] == pytest.approx(results["energy"], rel=1e-11)
    np.testing.assert_allclose(found[:, :3], results["forces"], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found[:, 3], results["energies"], rtol=1e-9)
    pressure = [row[key] for key in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")]
    virial = results["virial"].ravel()
    np.testing.assert_allclose(pressure, virial[VOIGT] / atoms.get_volume() * BAR, rtol=1e-7)
    total = -found[:, 4:].sum(axis=0) / BAR  # LAMMPS' stress has the opposite sign and the unit bar Å³
    np.testing.assert_allclose(total, virial[[0, 4, 8, 3, 6, 7, 1, 2, 5]], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_atoms_that_change_their_rank(lammps, water, name):
    """Also where the grid is cut anew."""
    style = f"deepmd {lammps.model(name)}"
    lammps.data(water, ["O", "H"])
    moving = "velocity all create 3000 7 loop geom\nfix 1 all nve\ntimestep 0.001\nthermo 5\n"
    balance = "comm_style tiled\nfix 2 all balance 4 1.0 rcb\n"
    dump = "dump last all custom 10 last id fx fy fz\ndump_modify last format float %.16g\nrun 10\n"
    found = {}
    for ranks, text in ((1, ""), (2, balance), (4, "")):
        done = lammps(lammps.head(style, before="neigh_modify delay 0 every 2") + text + moving + dump, ranks=ranks)
        found[ranks] = ([(row["PotEng"], row["Pxy"]) for row in done.rows], done.dump("last")[-1])
    for ranks in (2, 4):
        np.testing.assert_allclose(found[ranks][0], found[1][0], rtol=1e-9)
        np.testing.assert_allclose(found[ranks][1], found[1][1], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_open_boundaries_and_a_rank_without_atoms(lammps, water, name):
    style = f"deepmd {lammps.model(name)}"
    places = water.positions - water.positions.min(axis=0) + 1
    lammps.data(Atoms(water.symbols, places, cell=[80, 26, 27], pbc=False), ["O", "H"])
    head = lammps.head(style, boundary="f f p", processors="2 1 1")
    done = lammps(head + DUMP + "run 0\n", ranks=2)
    calculator = DP(str(lammps.folder / f"{name}.dp"), backend="numpy")
    calculator.calculate(Atoms(water.symbols, places))
    assert done.rows[0]["PotEng"] == pytest.approx(calculator.results["energy"], rel=1e-11)
    np.testing.assert_allclose(done.dump("atoms")[0][:, :3], calculator.results["forces"], rtol=1e-9, atol=1e-11)


def test_model_deviation(lammps, water):
    """Of models with and without messages, too."""
    models = [lammps.model("dpa2_small"), lammps.model("dpa2_small", seed=1), lammps.model("dpa3_small")]
    style = f"deepmd {' '.join(models)} out_freq 1 atomic"
    lammps.data(water, ["O", "H"])
    one, two = (
        lammps(lammps.head(style) + "fix 1 all nve\nrun 1\n", ranks=ranks).deviation().copy() for ranks in (1, 2)
    )
    assert one[:, 1:].min() > 0
    np.testing.assert_allclose(two, one, rtol=2e-6)  # the digits of the file
