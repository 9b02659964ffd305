"""pair_style deepspin: the stored numbers of a spin model, on one and on two ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
HBAR = 6.5821191e-4  # eV ps
DUMP = """\
compute magnetic all property/atom fmx fmy fmz
dump forces all custom 1 dump id fx fy fz c_magnetic[1] c_magnetic[2] c_magnetic[3]
dump_modify forces format float %.16g
"""


def write_data(folder: Path) -> tuple[dict[str, np.ndarray], float]:
    """The stored structure as a data file; its numbers, in LAMMPS' coordinates, and its energy."""
    with np.load(GOLDEN / "spin_se_e2_a.npz") as case:
        given = {name: case[name][0] for name in ("coord", "box", "spin", "force", "force_mag")}
        types, energy = case["atype"], float(case["energy"][0, 0])
    cell = given["box"].reshape(3, 3)
    lower = np.linalg.cholesky(cell @ cell.T)  # LAMMPS wants a lower triangular cell
    turn = np.linalg.solve(cell, lower)
    fractions = given["coord"].reshape(-1, 3) @ turn @ np.linalg.inv(lower)
    places, spins = (fractions - np.floor(fractions)) @ lower, given["spin"].reshape(-1, 3) @ turn
    lengths = np.linalg.norm(spins, axis=1)
    units = np.where(lengths[:, None] > 0, spins, [0, 0, 1]) / np.where(lengths > 0, lengths, 1)[:, None]
    lines = ["spins", "", f"{len(types)} atoms", "2 atom types"]
    lines += [f"0 {lower[k, k]:.17g} {axis}lo {axis}hi" for k, axis in enumerate("xyz")]
    lines += [f"{lower[1, 0]:.17g} {lower[2, 0]:.17g} {lower[2, 1]:.17g} xy xz yz", ""]
    lines += ["Masses", "", "1 58.7", "2 16.0", "", "Atoms # spin", ""]
    for k, numbers in enumerate(np.column_stack([places, units, lengths])):
        lines.append(f"{k + 1} {types[k] + 1} " + " ".join(f"{x:.17g}" for x in numbers))
    (folder / "data").write_text("\n".join(lines) + "\n")
    magnetic = given["force_mag"].reshape(-1, 3) @ turn * lengths[:, None] / HBAR
    return {"force": given["force"].reshape(-1, 3) @ turn, "magnetic": magnetic, "length": lengths}, energy


@pytest.mark.parametrize("ranks", [1, 2])
def test_stored_numbers(lammps, ranks):
    """Two virtual atoms are within the cutoff although their atoms are further apart than it and the skin."""
    wanted, energy = write_data(lammps.folder)
    style = f"deepspin {lammps.model('spin_se_e2_a')}"
    done = lammps(lammps.head(style, atom_style="spin", elements="Ni O") + DUMP + "run 0\n", ranks=ranks)
    found = done.dump()[0]
    assert done.rows[0]["PotEng"] == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(found[:, :3], wanted["force"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[:, 3:], wanted["magnetic"], rtol=0, atol=1e-12 / HBAR * wanted["length"].max())


def test_spins_of_metal_units_alone(lammps):
    write_data(lammps.folder)
    style = f"deepspin {lammps.model('spin_se_e2_a')}"
    done = lammps(lammps.head(style, units="real", atom_style="spin", elements="Ni O") + "run 0\n", good=False)
    assert done.status != 0
    assert "write `units metal`" in " ".join(done.text.split())


def test_spins_that_grow_between_runs(lammps):
    """Neighbours are looked up anew for longer spins: the energy is that of a run which begins with them."""
    write_data(lammps.folder)
    head = lammps.head(f"deepspin {lammps.model('spin_se_e2_a')}", atom_style="spin", elements="Ni O")
    longer = "set type 1 spin/atom 3.5 1 2 3\n"
    after, before = lammps(head + "run 0\n" + longer + "run 0\n"), lammps(head + longer + "run 0\n")
    assert after.rows[0]["PotEng"] == pytest.approx(before.rows[0]["PotEng"], rel=1e-13)


@pytest.mark.parametrize("ranks", [1, 2])
def test_deviation_of_two_models(lammps, ranks):
    """Of forces and of magnetic forces, in sum and for each atom, is that of the models run by themselves."""
    lengths = write_data(lammps.folder)[0]["length"][:, None]
    models = [lammps.model("spin_se_e2_a"), lammps.model("spin_se_e2_a", seed=1)]
    tables = []
    for model in models:
        head = lammps.head(f"deepspin {model}", atom_style="spin", elements="Ni O")
        table = lammps(head + DUMP + "run 0\n").dump()[0]
        magnetic = np.divide(table[:, 3:] * HBAR, lengths, out=np.zeros_like(table[:, 3:]), where=lengths > 0)
        tables.append((table[:, :3], magnetic))
    style = f"deepspin {' '.join(models)} out_freq 1 out_file devi atomic"
    found = lammps(lammps.head(style, atom_style="spin", elements="Ni O") + "run 0\n", ranks=ranks).deviation("devi")[0]
    wanted, each = [], []
    for pair in zip(*tables):
        of_atoms = np.sqrt(np.var(np.stack(pair), axis=0).sum(axis=-1))
        wanted += [of_atoms.max(), of_atoms.min(), of_atoms.mean()]
        each.append(of_atoms)
    np.testing.assert_allclose(found[4:10], wanted, rtol=2e-6)
    np.testing.assert_allclose(found[10:], np.concatenate(each), rtol=2e-6, atol=1e-15)
    names = (lammps.folder / "devi").read_text().splitlines()[0].split()
    assert names[5:] == [f"{kind}_devi_{part}" for part in ("fr", "fm") for kind in ("max", "min", "avg")]
