"""pair_style deepmd in LAMMPS itself: the numbers are those of dp, on any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from dp_core.ase import DP
from dp_core.model_deviation import calc_model_devi
from dp_core.predictors import DeepPot

NAME = "se_e2_a_oneside"
BAR = 1.602176634e6  # bar in eV/Å³
DUMP = "dump forces all custom 1 dump id fx fy fz\ndump_modify forces format float %.16g\n"
PER_ATOM = """\
compute energy all pe/atom
compute stress all centroid/stress/atom NULL pair
dump atoms all custom 1 atoms id c_energy c_stress[1] c_stress[2] c_stress[3] c_stress[4] c_stress[5] c_stress[6] &
     c_stress[7] c_stress[8] c_stress[9]
dump_modify atoms format float %.16g
"""
VOIGT = [0, 4, 8, 1, 2, 5]


def expected(lammps, atoms: Atoms, name: str = NAME) -> DP:
    """The calculator of dp after it has evaluated the atoms."""
    calculator = DP(str(lammps.folder / f"{name}.dp"), backend="numpy")
    calculator.calculate(atoms)
    return calculator


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_equals_dp(lammps, water, ranks):
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head(style) + DUMP + PER_ATOM + "run 0\n", ranks=ranks)
    calculator = expected(lammps, water)
    results, row = calculator.results, done.rows[0]
    assert row["PotEng"] == pytest.approx(results["energy"], rel=1e-12)
    np.testing.assert_allclose(done.dump()[0], results["forces"], rtol=1e-9, atol=1e-13)
    pressure = [row[name] for name in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")]
    virial = results["virial"].ravel()[VOIGT]
    np.testing.assert_allclose(pressure, virial / water.get_volume() * BAR, rtol=1e-7)
    atoms = done.dump("atoms")[0]
    np.testing.assert_allclose(atoms[:, 0], results["energies"], rtol=1e-12)
    # LAMMPS' stress has the opposite sign and the unit bar Å³
    total = -atoms[:, 1:].sum(axis=0) / BAR
    np.testing.assert_allclose(total[:3], np.diag(results["virial"]), rtol=1e-7)
    np.testing.assert_allclose(total[3:], results["virial"].ravel()[[3, 6, 7, 1, 2, 5]], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("grid", ["2 1 1", "1 2 1"])
def test_ranks_do_not_matter(lammps, water, grid):
    """Also with a grid cut anew while atoms move."""
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["O", "H"])
    moving = "velocity all create 3000 7 loop geom\nfix 1 all nve\ntimestep 0.001\nthermo 5\nrun 10\n"
    one = lammps(lammps.head(style) + moving).rows
    balance = "comm_style tiled\nfix 2 all balance 4 1.0 rcb\n"
    two = lammps(lammps.head(style, processors=grid) + (balance if grid == "2 1 1" else "") + moving, ranks=2).rows
    assert [row["PotEng"] for row in one] == pytest.approx([row["PotEng"] for row in two], rel=1e-11)
    assert [row["Pxy"] for row in one] == pytest.approx([row["Pxy"] for row in two], rel=1e-8)


@pytest.mark.parametrize("ranks", [1, 2])
def test_open_boundaries(lammps, water, ranks):
    style = f"deepmd {lammps.model(NAME)}"
    atoms = Atoms(water.symbols, water.positions - water.positions.min(axis=0) + 1, cell=[25, 26, 27], pbc=False)
    lammps.data(atoms, ["O", "H"])
    done = lammps(lammps.head(style, boundary="s s s") + DUMP + "run 0\n", ranks=ranks)
    results = expected(lammps, Atoms(atoms.symbols, atoms.positions)).results
    assert done.rows[0]["PotEng"] == pytest.approx(results["energy"], rel=1e-12)
    np.testing.assert_allclose(done.dump()[0], results["forces"], rtol=1e-9, atol=1e-13)


def test_energy_is_conserved(lammps):
    """Over 0.5 ps, of 192 atoms.

    They are far from each other and as heavy as oxygen, as no data have told the model of repulsion: pairs that meet
    are too fast for the steps.
    """
    style = f"deepmd {lammps.model(NAME)}"
    places = np.stack(np.meshgrid(*(2.7 * np.arange(n) for n in (8, 6, 4)), indexing="ij"), axis=-1).reshape(-1, 3)
    atoms = Atoms(["O", "H", "H"] * 64, places, cell=[8 * 2.7, 6 * 2.7, 4 * 2.7], pbc=True)
    lammps.data(atoms, ["O", "H"])
    moving = "mass * 16\nvelocity all create 330 7\nfix 1 all nve\ntimestep 0.0005\nthermo 100\nrun 1000\n"
    rows = lammps(lammps.head(style) + moving, ranks=2).rows
    energies, potentials = [row["TotEng"] for row in rows], [row["PotEng"] for row in rows]
    drift, _ = np.polyfit([row["Step"] * 0.0005 for row in rows], energies, 1)
    assert abs(drift) / 192 < 1e-5
    assert max(potentials) - min(potentials) > 1e-2  # it moved


def test_real_units(lammps, water):
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["O", "H"])
    metal = lammps(lammps.head(style) + "run 0\n").rows[0]
    real = lammps(lammps.head(style, units="real") + "run 0\n").rows[0]
    assert real["PotEng"] / metal["PotEng"] == pytest.approx(23.06055, rel=1e-5)
    assert real["Press"] / metal["Press"] == pytest.approx(1 / 1.01325, rel=1e-4)


def test_elements_in_another_order(lammps, water):
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["H", "O"])
    done = lammps(lammps.head(style, elements="H O") + "run 0\n")
    assert done.rows[0]["PotEng"] == pytest.approx(expected(lammps, water).results["energy"], rel=1e-12)


def test_types_the_model_does_not_see(lammps, water):
    """NULL types are not there for the model, in a sum with another pair style too."""
    style = f"hybrid/overlay deepmd {lammps.model(NAME)} lj/cut 3.0"
    lammps.data(water, ["O", "H"])
    with_lj = "pair_coeff * * lj/cut 0.0 1.0\n"
    done = lammps(lammps.head(style, elements="deepmd O NULL") + with_lj + DUMP + "run 0\n", ranks=2)
    oxygen = water[[atom.symbol == "O" for atom in water]]
    results = expected(lammps, oxygen).results
    assert done.rows[0]["PotEng"] == pytest.approx(results["energy"], rel=1e-12)
    forces = done.dump()[0]
    is_oxygen = np.array(water.get_chemical_symbols()) == "O"
    np.testing.assert_allclose(forces[is_oxygen], results["forces"], rtol=1e-9, atol=1e-13)
    assert np.all(forces[~is_oxygen] == 0)
    pressure = done.rows[0]["Pxx"]
    assert pressure == pytest.approx(results["virial"][0, 0] / water.get_volume() * BAR, rel=1e-7)


def test_heat_flux(lammps, water):
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["O", "H"])
    computes = """\
velocity all create 300 7 loop geom
compute ke all ke/atom
compute pe all pe/atom
compute st all centroid/stress/atom NULL virial
compute flux all heat/flux ke pe st
thermo_style custom step pe c_flux[1] c_flux[2] c_flux[3]
thermo_modify format float %.15g
run 0
"""
    one, two = (lammps(lammps.head(style) + computes, ranks=n).rows[0] for n in (1, 2))
    flux = [one[f"c_flux[{k}]"] for k in (1, 2, 3)]
    assert max(map(abs, flux)) > 0
    assert [two[f"c_flux[{k}]"] for k in (1, 2, 3)] == pytest.approx(flux, rel=1e-9)


def test_scale_by_fix_adapt(lammps, water):
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["O", "H"])
    half = "variable half equal 0.5\nfix 1 all adapt 1 pair deepmd scale * * v_half\n"
    whole = lammps(lammps.head(style) + "run 0\n").rows[0]
    scaled = lammps(lammps.head(style) + half + "run 0\n").rows[0]
    for name in ("PotEng", "Press", "Fmax"):
        assert scaled[name] == pytest.approx(whole[name] / 2, rel=1e-12)


def test_minimize_and_a_second_run(lammps, water):
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["O", "H"])
    text = "minimize 0 1e-6 20 40\nfix 1 all nve\nrun 2\nrun 2 pre no\nrun 0\n"
    done = lammps(lammps.head(style) + "dump last all custom 1 last id x y z\n" + text, ranks=2)
    assert done.rows[0]["PotEng"] < expected(lammps, water).results["energy"]


def test_box_that_changes(lammps, water):
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head(style) + "fix 1 all box/relax aniso 1000\nminimize 0 1e-6 5 20\n")
    assert done.rows[-1]["Volume"] != done.rows[0]["Volume"]


@pytest.mark.parametrize("options", ["atomic", "relative 0.01 relative_v 0.001"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_model_deviation(lammps, water, ranks, options):
    models = [lammps.model(NAME), lammps.model(NAME, seed=1), lammps.model(NAME, seed=2)]
    style = f"deepmd {' '.join(models)} out_freq 2 out_file devi {options}"
    lammps.data(water, ["O", "H"])
    moving = "velocity all create 300 7 loop geom\nfix 1 all nve\ntimestep 0.001\n"
    positions = "dump x all custom 1 x id x y z\ndump_modify x format float %.17g\nrun 3\n"
    done = lammps(lammps.head(style) + moving + positions, ranks=ranks)
    found = done.deviation("devi")
    assert found[:, 0].tolist() == [0, 2]
    levels = {"relative": 0.01} if "relative" in options else {}
    coordinates = done.dump("x")[::2]
    cells = np.tile(np.asarray(water.cell).ravel(), (2, 1))
    predictors = [DeepPot(lammps.folder / m, backend="numpy") for m in models]
    wanted = calc_model_devi(
        coordinates, cells, np.array([s == "H" for s in water.symbols], int), predictors,
        frequency=2, atomic="atomic" in options, **levels,
    )  # fmt: skip
    # the relative deviation of virials is for each component in LAMMPS, and for their norm in Python
    columns = [0, 4, 5, 6] if levels else [0, 1, 2, 3, 4, 5, 6, *range(8, wanted.shape[1])]
    theirs = found if not levels else found[:, [0, 4, 5, 6]]
    np.testing.assert_allclose(theirs, wanted[:, columns], rtol=2e-6)


def test_head_of_the_deviation_file(lammps, water):
    style = f"deepmd {lammps.model(NAME)} {lammps.model(NAME, seed=1)} atomic"
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head(style) + "run 0\n")
    head, row = (done.folder / "model_devi.out").read_text().splitlines()
    names = ["max_devi_v", "min_devi_v", "avg_devi_v", "max_devi_f", "min_devi_f", "avg_devi_f", "atm_devi_f(N)"]
    assert head == "#" + f"{'step':>11}" + "".join(f"{name:>19}" for name in names)
    assert len(row) == 12 + 19 * (6 + len(water))


def test_restart_goes_on_with_the_file(lammps, water):
    models = f"{lammps.model(NAME)} {lammps.model(NAME, seed=1)}"
    lammps.data(water, ["O", "H"])
    style = f"deepmd {models} out_freq 2"
    moving = "fix 1 all nve\ntimestep 0.001\n"
    one = lammps(lammps.head(style) + moving + "run 4\nwrite_restart restart\n")
    assert one.deviation()[:, 0].tolist() == [0, 2, 4]
    text = f"read_restart restart\npair_style {style}\npair_coeff * * O H\nneighbor 0.5 bin\n"
    two = lammps(text + moving + "run 4\n", ranks=2)
    assert two.deviation()[:, 0].tolist() == [0, 2, 4, 4, 6, 8]
    assert (two.folder / "model_devi.out").read_text().count("#") == 1


def test_restart_of_a_hybrid_goes_on_with_the_file(lammps, water):
    """The parts of a hybrid style are made anew by its pair_style line; a new file has a header all the same."""
    models = f"{lammps.model(NAME)} {lammps.model(NAME, seed=1)}"
    lammps.data(water, ["O", "H"])
    style = f"hybrid/overlay deepmd {models} out_freq 2 zero 3.0"
    more = "pair_coeff * * zero\nfix 1 all nve\ntimestep 0.001\n"
    lammps(lammps.head(style, elements="deepmd O H") + more + "run 4\nwrite_restart restart\n")
    lines = f"pair_style {style}\npair_coeff * * deepmd O H\nneighbor 0.5 bin\n" + more
    two = lammps("read_restart restart\n" + lines + "run 4\n")
    assert two.deviation()[:, 0].tolist() == [0, 2, 4, 4, 6, 8]
    other = lines.replace("out_freq 2", "out_freq 2 out_file other")
    two = lammps("read_restart restart\n" + other + "run 2\n" + lines + "run 0\n")
    assert two.deviation("other")[:, 0].tolist() == [4, 6]
    assert (two.folder / "other").read_text().startswith("#")
    assert two.deviation()[:, 0].tolist() == [6]  # a pair_style line after a run begins its file


def test_clear_forgets_a_restart(lammps, water):
    """What follows is another run, whose file begins."""
    style = f"deepmd {lammps.model(NAME)} {lammps.model(NAME, seed=1)} out_freq 1"
    lammps.data(water, ["O", "H"])
    begin = lammps.head(style)
    lammps(begin + "run 0\nwrite_restart restart\n")
    done = lammps("read_restart restart\nclear\n" + begin + "run 0\n")
    assert (done.folder / "model_devi.out").read_text().count("#") == 1
    assert len(done.deviation()) == 1


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_file_that_cannot_be_written_ends_all_ranks(lammps, water, ranks):
    style = f"deepmd {lammps.model(NAME)} {lammps.model(NAME, seed=1)} out_file absent/devi"
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head(style) + "run 0\n", ranks=ranks, good=False)
    assert done.status != 0
    assert "cannot write absent/devi" in " ".join(done.text.split())


def test_no_deviation_without_frequency(lammps, water):
    style = f"deepmd {lammps.model(NAME)} {lammps.model(NAME, seed=1)} out_freq 0"
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head(style) + "run 1\n")
    assert not (done.folder / "model_devi.out").exists()


def test_ranks_without_atoms(lammps, water):
    """All atoms on one side of a long box, so that one rank has none."""
    style = f"deepmd {lammps.model(NAME)} {lammps.model(NAME, seed=1)} out_freq 1"
    atoms = Atoms(water.symbols, water.positions - water.positions.min(axis=0) + 1, cell=[80, 26, 27], pbc=True)
    lammps.data(atoms, ["O", "H"])
    one, two = (lammps(lammps.head(style, processors=f"{n} 1 1") + "fix 1 all nve\nrun 3\n", ranks=n) for n in (1, 2))
    assert two.rows[-1]["PotEng"] == pytest.approx(one.rows[-1]["PotEng"], rel=1e-12)


def test_atoms_that_leave(lammps, water):
    """IDs with gaps after delete_atoms."""
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head(style) + "group first id 1:7\ndelete_atoms group first compress no\nrun 0\n", ranks=2)
    assert done.rows[0]["PotEng"] == pytest.approx(expected(lammps, water[7:]).results["energy"], rel=1e-12)


@pytest.mark.parametrize("line", ["comm_modify cutoff 1.0", "neighbor 0.5 multi\ncomm_modify mode multi"])
def test_ghosts_reach_as_far_as_the_model(lammps, water, line):
    """Whatever the input says of ghosts."""
    style = f"deepmd {lammps.model(NAME)}"
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head(style, before=line) + "run 0\n", ranks=2)
    assert done.rows[0]["PotEng"] == pytest.approx(expected(lammps, water).results["energy"], rel=1e-12)
