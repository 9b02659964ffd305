"""Frame and atomic parameters, charge and multiplicity, models that pass messages, dipoles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from dp_core.ase import DP
from dp_core.inference import DeepPot
from dp_core.model_file import save_model
from dp_core.models.protocol import new_model
from dp_core.predictors import DeepDipole, DeepPolar
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


def test_default_parameters(lammps, water):
    name = "ener_default_fparam"
    lammps.data(water, ["O", "H"])
    default = lammps(lammps.head(f"deepmd {lammps.model(name)}") + "run 0\n").rows[0]
    given = lammps(lammps.head(f"deepmd {lammps.model(name)} fparam 0.3 -0.2") + "run 0\n").rows[0]
    other = lammps(lammps.head(f"deepmd {lammps.model(name)} fparam 0.3 0.2") + "run 0\n").rows[0]
    assert default["PotEng"] == given["PotEng"] != other["PotEng"]


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
    name = "one_parameter"
    model = {
        "type_map": ["O", "H"],
        "descriptor": {"type": "se_e2_a", "sel": [36, 36], "rcut": 4.5, "neuron": [4, 8], "seed": 1},
        "fitting_net": {"neuron": [10], "numb_fparam": 1, "seed": 1},
    }
    save_model(new_model(parse_model(model), ["O", "H"]), lammps.folder / f"{name}.dp")
    lammps.data(water, ["O", "H"])
    columns = (
        "compute d all deepmd/fparam/dedn v_s 1e-4\nthermo_style custom step pe c_d\nthermo_modify format float %.15g\n"
    )
    text = lammps.head(f"deepmd {name}.dp fparam 0.5") + "variable s equal 0.5\n" + columns + "run 0\n"
    row = lammps(text, ranks=2).rows[0]
    more, less = (evaluated(lammps, name, water, fparam=[[0.5 + step]])[0] for step in (1e-4, -1e-4))
    assert row["c_d"] == pytest.approx((more - less) / 2e-4, rel=1e-7)
