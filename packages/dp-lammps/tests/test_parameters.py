"""Frame and atomic parameters, charge and multiplicity, models that pass messages, dipoles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from dp_core.ase import DP
from dp_core.model_file import save_model
from dp_core.models.protocol import new_model
from dp_core.predictors import DeepDipole, DeepPolar, DeepPot
from dp_core.schema import parse_model

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"

DUMP = "dump forces all custom 1 dump id fx fy fz\ndump_modify forces format float %.16g\n"


def evaluated(lammps, name: str, atoms: Atoms, **parameters) -> tuple[float, np.ndarray]:
    """Energy and forces of dp itself."""
    with DeepPot(lammps.folder / f"{name}.dp", backend="numpy") as model:
        types = [model.get_type_map().index(symbol) for symbol in atoms.get_chemical_symbols()]
        found = model.eval(atoms.positions.reshape(1, -1), np.asarray(atoms.cell).reshape(1, 9), types, **parameters)
    return float(found[0][0, 0]), found[1][0]


@pytest.mark.parametrize("ranks", [1, 2])
def test_constant_parameters(lammps, water, ranks):
    name = "ener_fparam_aparam"
    style = f"deepmd {lammps.model(name)} fparam 0.1 0.2 aparam 0.3"
    lammps.data(water, ["O", "H"])
    done = lammps(lammps.head(style) + DUMP + "run 0\n", ranks=ranks)
    energy, forces = evaluated(lammps, name, water, fparam=[[0.1, 0.2]], aparam=np.full((1, len(water), 1), 0.3))
    assert done.rows[0]["PotEng"] == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(done.dump()[0], forces, rtol=1e-9, atol=1e-13)


ATOMIC = """\
fix p all property/atom d_place
variable place atom 0.01*id
set group all d_place v_place
compute a all property/atom d_place
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_parameters_from_computes(lammps, water, ranks):
    """Atomic parameters that follow the atoms, frame parameters from a vector."""
    name = "ener_fparam_aparam"
    style = f"deepmd {lammps.model(name)} fparam_from_compute f aparam_from_compute a"
    lammps.data(water, ["O", "H"])
    frame = "variable one atom 0.1\nvariable two atom 0.2\ncompute f all reduce ave v_one v_two\n"
    done = lammps(lammps.head(style, before=ATOMIC + frame) + DUMP + "run 0\n", ranks=ranks)
    aparam = 0.01 * np.arange(1, len(water) + 1).reshape(1, -1, 1)
    energy, forces = evaluated(lammps, name, water, fparam=[[0.1, 0.2]], aparam=aparam)
    assert done.rows[0]["PotEng"] == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(done.dump()[0], forces, rtol=1e-9, atol=1e-13)


def test_frame_parameters_from_a_fix(lammps, water):
    """The values of a fix, which are there from the first step on."""
    name = "ener_fparam_aparam"
    style = f"deepmd {lammps.model(name)} fparam_from_fix f 2 aparam 0.3"
    lammps.data(water, ["O", "H"])
    fix = "variable one equal 0.1\nvariable two equal 0.2\nfix f all ave/time 1 1 1 v_two v_one v_two mode scalar\n"
    done = lammps(lammps.head(style, before=fix) + "run 1\n")
    energy, _ = evaluated(lammps, name, water, fparam=[[0.1, 0.2]], aparam=np.full((1, len(water), 1), 0.3))
    assert done.rows[1]["PotEng"] == pytest.approx(energy, rel=1e-12)


ELECTRONS = "fix hot all {style} 7 1.0 1.0 1.0 100.0 0.0 1.0 2 3 1 {given}\n"
ELECTRONS_MOD = "fix hot all ttm/mod 7 metal 2 3 1 infile electrons\n"

#: The numbers that fix ttm/mod reads, each behind a line with its name.
METAL = {
    "a_0": 1e-4, "a_1": 0, "a_2": 0, "a_3": 0, "a_4": 0, "C_0": 1e-4, "A": 0.1, "rho_e": 0.05, "D_e": 1, "gamma_p": 1,
    "gamma_s": 1, "v_0": 80, "I_0": 0, "lsurface": 0, "rsurface": 2, "l_skin": 1, "tau": 0, "B": 0, "lambda": 0,
    "n_i": 0.05, "surface_movement": 0, "T_e_min": 0.01,
}  # fmt: skip


def box_of_water(lammps) -> tuple[Atoms, np.ndarray]:
    """Atoms in a box that fix ttm takes, and temperatures of its cells (2, 3, 1) in a file; one has no electrons."""
    random = np.random.default_rng(8)
    places = np.stack(np.meshgrid(*(2.5 * np.arange(4) for _ in range(3)), indexing="ij"), axis=-1).reshape(-1, 3)
    atoms = Atoms(["O", "H"] * 32, places + random.normal(0.5, 0.2, places.shape), cell=[10, 10, 10], pbc=True)
    lammps.data(atoms, ["O", "H"])
    temperatures = random.uniform(0.1, 0.9, (2, 3, 1))
    temperatures[1, 2] = 0
    (lammps.folder / "metal").write_text("# UNITS: metal\n" + "".join(f"{k}\n{x}\n" for k, x in METAL.items()))
    lines = [f"{i + 1} {j + 1} {k + 1} {t:.17g}" for (i, j, k), t in np.ndenumerate(temperatures)]
    (lammps.folder / "electrons").write_text("# UNITS: metal\n" + "\n".join(lines) + "\n")
    return atoms, temperatures


@pytest.mark.parametrize(
    ("fix", "ranks"),
    [
        (ELECTRONS.format(style="ttm", given="infile electrons"), 1),
        (ELECTRONS.format(style="ttm", given="infile electrons"), 2),
        (ELECTRONS_MOD, 2),
    ],
)
def test_temperatures_of_electrons(lammps, fix, ranks):
    """Each atom has that of its cell as its atomic parameter."""
    atoms, temperatures = box_of_water(lammps)
    name = "ener_fparam_aparam"
    text = lammps.head(f"deepmd {lammps.model(name)} fparam 0.1 0.2 ttm hot", before=fix) + DUMP + "run 0\n"
    done = lammps(text, ranks=ranks)
    cells = np.floor(atoms.get_scaled_positions() * [2, 3, 1]).astype(int)
    aparam = temperatures[tuple(cells.T)].reshape(1, -1, 1)
    energy, forces = evaluated(lammps, name, atoms, fparam=[[0.1, 0.2]], aparam=aparam)
    assert done.rows[0]["PotEng"] == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(done.dump()[0], forces, rtol=1e-9, atol=1e-13)


def test_cells_without_electrons_count_in_the_mean(lammps):
    atoms, temperatures = box_of_water(lammps)
    assert temperatures.min() == 0
    name = one_parameter(lammps.folder, numb_fparam=1)
    done = lammps(lammps.head(f"deepmd {name}.dp ttm hot", before=ELECTRONS_MOD) + "run 0\n")
    expected, _ = evaluated(lammps, name, atoms, fparam=[[temperatures.mean()]])
    assert done.rows[0]["PotEng"] == pytest.approx(expected, rel=1e-12)


def one_parameter(folder: Path, **fitting: int) -> str:
    """A new model with one parameter, in a folder; its name."""
    model = {
        "type_map": ["O", "H"],
        "descriptor": {"type": "se_e2_a", "sel": [36, 36], "rcut": 4.5, "neuron": [4, 8], "seed": 1},
        "fitting_net": {"neuron": [10], "seed": 1} | fitting,
    }
    save_model(new_model(parse_model(model), ["O", "H"]), folder / "one_parameter.dp")
    return "one_parameter"


def test_mean_temperature_of_electrons(lammps):
    """The frame parameter of a model without atomic ones, also while the temperatures change."""
    atoms, temperatures = box_of_water(lammps)
    name = one_parameter(lammps.folder, numb_fparam=1)
    fix = ELECTRONS.format(style="ttm", given="infile electrons outfile 1 after")
    fix += "velocity all create 300 7\ntimestep 1e-4\n"
    done = lammps(lammps.head(f"deepmd {name}.dp ttm hot", before=fix) + "run 2\n", ranks=2)
    first, last = done.rows[0]["PotEng"], done.rows[2]["PotEng"]
    assert first == pytest.approx(evaluated(lammps, name, atoms, fparam=[[temperatures.mean()]])[0], rel=1e-12)
    after = np.loadtxt(lammps.folder / "after.1")[:, 3].mean()  # without a fix that moves them atoms stay
    assert abs(after - temperatures.mean()) > 1e-6
    assert last == pytest.approx(evaluated(lammps, name, atoms, fparam=[[after]])[0], rel=1e-12)


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ("", "write `fix hot all ttm ...`"),
        (ELECTRONS.format(style="ttm/grid", given="set 0.5"), "fix ttm and fix ttm/mod alone"),
        ("fix hot all nve\n", "fix hot is of style nve"),
    ],
)
def test_no_temperatures_of_electrons(lammps, fix, message):
    box_of_water(lammps)
    name = one_parameter(lammps.folder, numb_aparam=1)
    done = lammps(lammps.head(f"deepmd {name}.dp ttm hot", before=fix) + "run 0\n", good=False)
    assert message in " ".join(done.text.split())


def test_default_parameters(lammps, water):
    name = "ener_default_fparam"
    lammps.data(water, ["O", "H"])
    default = lammps(lammps.head(f"deepmd {lammps.model(name)}") + "run 0\n").rows[0]
    given = lammps(lammps.head(f"deepmd {lammps.model(name)} fparam 0.3 -0.2") + "run 0\n").rows[0]
    other = lammps(lammps.head(f"deepmd {lammps.model(name)} fparam 0.3 0.2") + "run 0\n").rows[0]
    assert default["PotEng"] == given["PotEng"] != other["PotEng"]


def test_charge_and_multiplicity(lammps):
    """Those of the line; a model without default values asks for it."""
    name = "dpa3_charge_spin"
    with np.load(GOLDEN / f"{name}.npz") as case:
        types, cell, places = case["atype"], case["box"][0].reshape(3, 3), case["coord"][0]
    lammps.model(name)
    with DeepPot(lammps.folder / f"{name}.dp", backend="numpy") as model:
        known = model.get_type_map()
    atoms = Atoms(np.array(known)[types], places.reshape(-1, 3), cell=cell, pbc=True)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    elements = [element for element in known if element in atoms.symbols]
    lammps.data(atoms, elements)
    head = lammps.head(f"deepmd {name}.dp", elements=" ".join(elements))
    done = lammps(head.replace(f"{name}.dp", f"{name}.dp charge_spin 1 2") + DUMP + "run 0\n")
    energy, forces = evaluated(lammps, name, atoms, charge_spin=[[1.0, 2.0]])
    assert done.rows[0]["PotEng"] == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(done.dump()[0], forces, rtol=1e-9, atol=1e-13)
    for ranks in (1, 2):
        done = lammps(head + "run 0\n", ranks=ranks, good=False)
        assert "Write `charge_spin CHARGE MULTIPLICITY`" in " ".join(done.text.split())


@pytest.mark.parametrize(
    "source",
    [
        "compute p all reduce ave v_s|fparam_from_compute p",
        "fix p all ave/time 1 1 1 v_half|fparam_from_fix p",
    ],
)
def test_one_parameter_from_a_scalar(lammps, water, source):
    name = one_parameter(lammps.folder, numb_fparam=1)
    lammps.data(water, ["O", "H"])
    lines, words = source.split("|")
    lines = f"variable s atom 0.5\nvariable half equal 0.5\n{lines}\n"
    done = lammps(lammps.head(f"deepmd {name}.dp {words}", before=lines) + "run 1\n", ranks=2)
    assert done.rows[1]["PotEng"] == pytest.approx(evaluated(lammps, name, water, fparam=[[0.5]])[0], rel=1e-12)


@pytest.mark.parametrize("missing", ["fparam", "aparam"])
def test_parameters_that_are_missing(lammps, water, missing):
    given = {"fparam": "aparam 0.3", "aparam": "fparam 0.1 0.2"}[missing]
    lammps.data(water, ["O", "H"])
    style = f"deepmd {lammps.model('ener_fparam_aparam')} {given}"
    done = lammps(lammps.head(style) + "run 0\n", good=False)
    assert f"write `{missing}`" in " ".join(done.text.split())


@pytest.mark.parametrize("name", ["dpa2_small", "dpa3_small"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_models_that_pass_messages(lammps, ranks, name):
    """The same on any number of ranks: energies, forces, stress of atoms in sum."""
    with np.load(GOLDEN / f"{name}.npz") as case:
        symbols = np.array(["O", "H", "N"])[case["atype"]]
        atoms = Atoms(symbols, case["coord"][0], cell=case["box"][0].reshape(3, 3), pbc=True)
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    style = f"deepmd {lammps.model(name)}"
    elements = [element for element in ("O", "H", "N") if element in symbols]
    lammps.data(atoms, elements)
    stress = "compute s all centroid/stress/atom NULL pair\ncompute sum all reduce sum c_s[1]\n"
    columns = "thermo_style custom step pe pxx vol c_sum\nthermo_modify format float %.15g\n"
    text = lammps.head(style, elements=" ".join(elements)) + DUMP + stress + columns + "run 0\n"
    done = lammps(text, ranks=ranks)
    calculator = DP(str(lammps.folder / f"{name}.dp"), backend="numpy")
    calculator.calculate(atoms)
    row = done.rows[0]
    assert row["PotEng"] == pytest.approx(calculator.results["energy"], rel=1e-12)
    np.testing.assert_allclose(done.dump()[0], calculator.results["forces"], rtol=1e-9, atol=1e-12)
    assert row["Pxx"] * row["Volume"] == pytest.approx(-row["c_sum"], rel=1e-9)


@pytest.mark.parametrize(("name", "kind"), [("dipole", DeepDipole), ("polar_full", DeepPolar)])
def test_tensors_of_atoms(lammps, water, name, kind):
    """Of the atoms of the group, on two ranks."""
    lammps.data(water, ["O", "H"])
    text = lammps.head(f"deepmd {lammps.model('se_e2_a_oneside')}") + "group some id 1:50\n"
    columns = 3 if name == "dipole" else 9
    values = " ".join(f"c_t[{k + 1}]" for k in range(columns))
    text += f"compute t some deeptensor/atom {lammps.model(name)}\ndump 1 all custom 1 dump id {values}\n"
    found = lammps(text + "dump_modify 1 format float %.16g\nrun 0\n", ranks=2).dump()[0]
    types = [int(symbol == "H") for symbol in water.symbols]
    with kind(lammps.folder / f"{name}.dp", backend="numpy") as model:
        wanted = model.eval(water.positions.reshape(1, -1), np.asarray(water.cell).reshape(1, 9), types)[0]
    np.testing.assert_allclose(found[:50], wanted.reshape(len(water), columns)[:50], rtol=1e-9, atol=1e-13)
    assert np.all(found[50:] == 0)


def test_derivative_by_the_frame_parameter(lammps, water):
    """Also with two ranks, and as the derivative of the energies that dp gives."""
    name = one_parameter(lammps.folder, numb_fparam=1)
    lammps.data(water, ["O", "H"])
    columns = (
        "compute d all deepmd/fparam/dedn v_s 1e-4\nthermo_style custom step pe c_d\nthermo_modify format float %.15g\n"
    )
    text = lammps.head(f"deepmd {name}.dp fparam 0.5") + "variable s equal 0.5\n" + columns + "run 0\n"
    row = lammps(text, ranks=2).rows[0]
    more, less = (evaluated(lammps, name, water, fparam=[[0.5 + step]])[0] for step in (1e-4, -1e-4))
    assert row["c_d"] == pytest.approx((more - less) / 2e-4, rel=1e-7)
