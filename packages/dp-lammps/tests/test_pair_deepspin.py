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


@pytest.mark.parametrize("ranks", [1, 2])
def test_stored_numbers(lammps, ranks):
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
    (lammps.folder / "data").write_text("\n".join(lines) + "\n")
    style = f"deepspin {lammps.model('spin_se_e2_a')}"
    done = lammps(lammps.head(style, atom_style="spin", elements="Ni O") + DUMP + "run 0\n", ranks=ranks)
    found = done.dump()[0]
    assert done.rows[0]["PotEng"] == pytest.approx(energy, rel=1e-8)
    np.testing.assert_allclose(found[:, :3], given["force"].reshape(-1, 3) @ turn, atol=1e-6)
    magnetic = given["force_mag"].reshape(-1, 3) @ turn * lengths[:, None] / HBAR
    np.testing.assert_allclose(found[:, 3:], magnetic, atol=1e-3)
