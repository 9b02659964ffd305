"""fix dplr and kspace_style pppm/dplr: forces are the derivative of the energy, whatever the number of ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dp_core.model_file import load_model, save_model

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"

SIDE = 7.0
HEAD = """\
units metal
atom_style full
atom_modify map array
{processors}
read_data data
neighbor 1.0 bin
bond_style zero
bond_coeff *
special_bonds lj/coul 1 1 1 angle no
pair_style deepmd {model}
pair_coeff * * O H NULL NULL
kspace_style pppm/dplr 1e-6
kspace_modify gewald 0.6 diff ik order 7 mesh 32 32 32
neigh_modify every 1 delay 0 check yes exclude type 1 3 exclude type 2 4
group real type 1 2
fix dipoles all dplr model {dipole} type_associate 1 3 2 4 bond_type 1 {options}
fix_modify dipoles virial yes energy yes
thermo_style custom step temp pe etotal pxx pyy pzz pxy vol f_dipoles f_dipoles[1]
thermo_modify format float %.15g
thermo 1
dump forces all custom 1 dump id fx fy fz x y z
dump_modify forces format float %.16g
"""


def write_data(folder) -> None:
    """Eight atoms in a box, each with a centroid; charges of 6 and -8, and of 3 and -1."""
    random = np.random.default_rng(5)
    places = np.stack(np.meshgrid(*3 * [[1.7, 5.1]], indexing="ij"), -1).reshape(-1, 3) + random.normal(0, 0.2, (8, 3))
    lines = ["two kinds of atoms and of centroids", "", "16 atoms", "8 bonds", "4 atom types", "1 bond types"]
    lines += [f"0 {SIDE} {axis}lo {axis}hi" for axis in "xyz"]
    lines += ["", "Masses", "", *(f"{t} {m}" for t, m in enumerate((16, 1, 1, 1), start=1)), "", "Atoms # full", ""]
    for k, (x, y, z) in enumerate(places):
        lines.append(f"{k + 1} 1 {1 + k % 2} {(6, 3)[k % 2]} {x} {y} {z}")
        lines.append(f"{k + 9} 1 {3 + k % 2} {(-8, -1)[k % 2]} {x} {y} {z}")
    lines += ["", "Bonds", "", *(f"{k + 1} 1 {k + 1} {k + 9}" for k in range(8))]
    (folder / "data").write_text("\n".join(lines) + "\n")


def write_stored(folder) -> dict[str, np.ndarray]:
    """Data and the dipole model of the stored model with a modifier; its numbers, in LAMMPS' coordinates."""
    with np.load(GOLDEN / "dplr.npz") as case:
        kept = {name: case[name][0] for name in case if name != "atype"} | {"atype": case["atype"]}
    save_model(load_model(GOLDEN / "dplr.dp").modifier.dipole, folder / "dipole.dp")
    cell = kept["box"].reshape(3, 3)
    lower = np.linalg.cholesky(cell @ cell.T)
    turn = np.linalg.solve(cell, lower)
    inside = kept["coord"].reshape(-1, 3) @ turn @ np.linalg.inv(lower)
    places, types = (inside - np.floor(inside)) @ lower, kept["atype"]
    oxygen = np.flatnonzero(types == 0)
    n = len(types)
    lines = ["stored", "", f"{n + len(oxygen)} atoms", f"{len(oxygen)} bonds", "3 atom types", "1 bond types"]
    lines += [f"0 {lower[k, k]:.17g} {axis}lo {axis}hi" for k, axis in enumerate("xyz")]
    lines += [f"{lower[1, 0]:.17g} {lower[2, 0]:.17g} {lower[2, 1]:.17g} xy xz yz", ""]
    lines += ["Masses", "", "1 16", "2 1", "3 1", "", "Atoms # full", ""]
    every = [*zip(types + 1, np.array([6, 1])[types], places), *((3, -8, places[i]) for i in oxygen)]
    for k, (kind, charge, place) in enumerate(every):
        lines.append(f"{k + 1} 1 {kind} {charge} " + " ".join(f"{x:.17g}" for x in place))
    lines += ["", "Bonds", "", *(f"{k + 1} 1 {i + 1} {n + k + 1}" for k, i in enumerate(oxygen))]
    (folder / "data").write_text("\n".join(lines) + "\n")
    virial = turn.T @ kept["virial"].reshape(3, 3) @ turn
    vectors = {name: kept[name].reshape(-1, 3) @ turn for name in ("force", "atom_dipole")}
    return {"energy": kept["energy"][0], "virial": virial, "volume": np.linalg.det(lower), "oxygen": oxygen, **vectors}


@pytest.mark.parametrize("ranks", [1, 2])
def test_stored_numbers(lammps, ranks):
    """pair_style deepmd evaluates the model without its modifier; fix dplr and the k-space style are the modifier."""
    wanted = write_stored(lammps.folder)
    text = HEAD.format(model=lammps.model("dplr"), dipole="dipole.dp", options="", processors="")
    for old, new in (
        ("pair_coeff * * O H NULL NULL", "pair_coeff * * O H NULL"),
        ("exclude type 1 3 exclude type 2 4", "exclude type 1 3"),
        ("type_associate 1 3 2 4", "type_associate 1 3"),
        ("atom_style full", "atom_style full\nbox tilt large"),
        ("gewald 0.6 diff ik order 7 mesh 32 32 32", "gewald 0.375 diff ik order 7 mesh 40 40 40"),
    ):
        assert old in text
        text = text.replace(old, new)
    atoms = "compute each all pe/atom\ncompute sum all reduce sum c_each\n"
    done = lammps(text + atoms + "thermo_style custom step pe c_sum pxx pyy pzz pxy pxz pyz\nrun 0\n", ranks=ranks)
    row, forces = done.rows[0], done.dump()[0]
    assert row["PotEng"] == pytest.approx(wanted["energy"], abs=1e-5)
    assert row["c_sum"] == pytest.approx(row["PotEng"], abs=1e-9)
    n = len(wanted["force"])
    np.testing.assert_allclose(forces[:n, :3], wanted["force"], atol=2e-5)
    moved = forces[n:, 3:] - forces[wanted["oxygen"], 3:]
    np.testing.assert_allclose(moved, wanted["atom_dipole"][wanted["oxygen"]], atol=1e-12)
    pressure = [row[name] for name in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")]
    virial = wanted["virial"].ravel()[[0, 4, 8, 1, 2, 5]]
    np.testing.assert_allclose(np.array(pressure) * wanted["volume"] / 1.602176634e6, virial, atol=1e-4)


def head(lammps, options: str = "", processors: str = "") -> str:
    write_data(lammps.folder)
    model, dipole = lammps.model("se_e2_a_oneside"), lammps.model("dipole")
    return HEAD.format(model=model, dipole=dipole, options=options, processors=processors)


@pytest.mark.parametrize("options", ["", "efield 0.3 -0.2 0.5"])
def test_forces_are_derivatives(lammps, options):
    start, step = head(lammps, options), 1e-3
    moves = ""
    for direction in ("x", "y"):
        displaced = [" ".join(str(sign * step * (axis == direction)) for axis in "xyz") for sign in (1, -2, 1)]
        commands = [f"displace_atoms moved move {move}\n" for move in displaced]
        moves += commands[0] + "run 0\n" + commands[1] + "run 0\n" + commands[2]
    done = lammps(start + "run 0\ngroup moved id 3\n" + moves)
    tables = (done.folder / "log.lammps").read_text().split("   Step")[1:]
    energies = [float(table.splitlines()[1].split()[2]) for table in tables]
    forces = done.dump()[0][:, :3]
    for k in range(2):
        slope = (energies[1 + 2 * k] - energies[2 + 2 * k]) / (2 * step)
        assert forces[2, k] == pytest.approx(-slope, rel=2e-3, abs=2e-4)
    assert np.all(forces[8:] == 0)  # centroids are not moved by forces
    assert np.abs(done.dump()[0][8:, 3:] - done.dump()[0][:8, 3:]).max() > 0.01  # and are not on their atoms


def test_pressure_is_a_derivative(lammps):
    strain = 1e-4
    scale = [1 + strain, (1 - strain) / (1 + strain)]
    changes = "".join(f"change_box all x scale {s:.15g} remap\nrun 0\n" for s in scale)
    done = lammps(head(lammps) + "run 0\n" + changes)
    tables = (done.folder / "log.lammps").read_text().split("   Step")[1:]
    rows = [[float(word) for word in table.splitlines()[1].split()] for table in tables]
    slope = (rows[1][2] - rows[2][2]) / (2 * strain)
    assert rows[0][4] == pytest.approx(-slope / SIDE**3 * 1.602176634e6, rel=3e-3)


def test_ranks_do_not_matter(lammps):
    moving = "velocity real create 300 7 loop geom\nfix 1 real nve\ntimestep 0.0005\nrun 5\n"
    one = lammps(head(lammps, "efield 0.1 0 0") + moving)
    rows, forces = one.rows, one.dump()
    two = lammps(head(lammps, "efield 0.1 0 0", "processors 2 1 1") + moving, ranks=2)
    for name in ("PotEng", "Pxx", "Pxy", "f_dipoles"):
        assert [row[name] for row in two.rows] == pytest.approx([row[name] for row in rows], rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(two.dump(), forces, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("type_associate 1 3 2 4", "type_associate 1 3", "ties atoms of types"),
        ("bond_type 1", "", "write `fix ID all dplr model FILE"),
        ("diff ik", "diff ad", "write `kspace_modify diff ik`"),
        ("pair_style deepmd", "pair_style hybrid deepmd", "pair_coeff"),
        ("dipole.dp", "none.dp", "none.dp"),
        ("pppm/dplr 1e-6", "pppm 1e-6", "write `kspace_style pppm/dplr`"),
        ("pxy vol f_dipoles f_dipoles[1]", "\nunfix dipoles", "kspace_style pppm/dplr adds no forces itself"),
        ("model dipole.dp", "model se_e2_a_oneside.dp", "not the model of the energy"),
        ("model dipole.dp", "model dplr.dp", "save_model(load_model('dplr.dp').modifier.dipole, 'dipole.dp')"),
        ("type_associate 1 3 2 4", "type_associate 1 3 2 9", "there are 4 atom types"),
    ],
)
def test_messages(lammps, old, new, message):
    lammps.model("dplr")
    done = lammps(head(lammps).replace(old, new) + "run 0\n", good=False)
    assert done.status != 0
    assert message in " ".join(done.text.split())
