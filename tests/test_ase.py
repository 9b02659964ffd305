"""The calculator for ASE, with a real ASE."""

from __future__ import annotations

from importlib.metadata import entry_points

import numpy as np
import pytest

from dp_core import ConfigError, DataError, DeepEval, DeepPot, load_model

ase = pytest.importorskip("ase")

from ase import Atoms, units  # noqa: E402
from ase.calculators.calculator import PropertyNotImplementedError  # noqa: E402
from ase.calculators.fd import calculate_numerical_stress  # noqa: E402
from ase.io import read, write  # noqa: E402
from ase.md.verlet import VelocityVerlet  # noqa: E402
from ase.vibrations import Infrared  # noqa: E402

from dp_core.ase import DP  # noqa: E402
from dp_core.models.protocol import new_model  # noqa: E402
from dp_core.schema import parse_model  # noqa: E402


@pytest.fixture
def water(golden):
    return golden("se_e2_a_oneside")


@pytest.fixture
def atoms(water):
    return structure(water)


def structure(case, frame=0, periodic=True):
    symbols = np.array(load_model(case.path).type_map)[case.data["atype"]]
    cell = case.data["box"][frame].reshape(3, 3) if periodic else None
    return Atoms(symbols, positions=case.data["coord"][frame], cell=cell, pbc=periodic)


class Counting(DeepPot):
    """Counts evaluations."""

    calls = 0

    def predict(self, *args, **kwargs):
        self.calls += 1
        return super().predict(*args, **kwargs)


def test_results(water, atoms, backend):
    atoms.calc = DP(water.path, backend=backend)
    data = water.data
    np.testing.assert_allclose(atoms.get_potential_energy(), data["energy"][0, 0], rtol=1e-9)
    np.testing.assert_allclose(atoms.get_potential_energy(force_consistent=True), data["energy"][0, 0], rtol=1e-9)
    np.testing.assert_allclose(atoms.get_potential_energies(), data["atom_energy"][0, :, 0], rtol=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), data["force"][0], atol=1e-9)
    virial = atoms.calc.get_property("virial")
    np.testing.assert_allclose(virial.ravel(), data["virial"][0], atol=1e-9)
    expected = -0.5 * (virial + virial.T) / atoms.get_volume()
    np.testing.assert_allclose(atoms.get_stress(voigt=False), expected, atol=1e-12)


def test_stress_is_the_derivative_by_strain(water, atoms):
    atoms.calc = DP(water.path, backend="numpy")
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-4), atol=1e-8)


def test_no_stress_without_a_cell(water):
    atoms = structure(water, periodic=False)
    atoms.calc = DP(water.path, backend="numpy")
    atoms.get_forces()
    with pytest.raises(PropertyNotImplementedError, match="no stress without a cell"):
        atoms.get_stress()


def test_everything_is_calculated_once(water, atoms):
    pot = Counting(water.path, "numpy")
    atoms.calc = DP(pot)
    atoms.get_potential_energy()
    atoms.get_forces()
    atoms.get_stress()
    assert pot.calls == 1
    atoms.positions[0, 0] += 0.01
    atoms.get_forces()
    atoms.set_cell(atoms.cell[:] * 1.001)
    atoms.get_forces()
    assert pot.calls == 3


def test_parameters_are_part_of_the_state(golden):
    case = golden("ener_fparam_aparam")
    atoms = structure(case)
    pot = Counting(case.path, "numpy")
    atoms.calc = DP(pot)
    with pytest.raises(DataError, match="needs 2 frame parameters"):
        atoms.get_potential_energy()
    for frame in (0, 1):
        atoms.info["fparam"], atoms.info["aparam"] = case.data["fparam"][frame], case.data["aparam"][frame]
        expected = pot.eval(atoms.positions, atoms.cell[:], case.data["atype"], fparam=atoms.info["fparam"],
                            aparam=atoms.info["aparam"])[0]  # fmt: skip
        np.testing.assert_allclose(atoms.get_potential_energy(), expected[0, 0], rtol=1e-12)
        atoms.get_forces()
    assert pot.calls == 3


@pytest.mark.parametrize("skin", [0.0, 0.3, 1.0])
def test_skin_does_not_change_results(water, atoms, skin):
    """A trajectory with a changing cell, against a new calculator at every step."""
    random = np.random.default_rng(1)
    pot = DeepPot(water.path, "numpy")
    atoms.calc = DP(pot, skin=skin)
    steps = 25
    for step in range(steps):
        atoms.positions += random.normal(scale=0.02, size=atoms.positions.shape)
        if step % 5 == 4:
            atoms.set_cell(atoms.cell[:] * (1 + random.normal(scale=2e-3)), scale_atoms=True)
        if step == 12:
            atoms.wrap()
        fresh = pot.eval(atoms.positions, atoms.cell[:], water.data["atype"])
        np.testing.assert_allclose(atoms.get_potential_energy(), fresh[0][0, 0], rtol=1e-13)
        np.testing.assert_allclose(atoms.get_forces(), fresh[1][0], atol=1e-12)
    searches = atoms.calc._parts[0].pairs.searches
    assert searches == steps if skin == 0.0 else 1 < searches < steps
    if skin == 1.0:
        assert searches < 5


def test_one_calculator_for_several_structures(water):
    calculator = DP(water.path, backend="numpy", skin=1.0)
    for atoms in (
        structure(water, 0),
        structure(water, 1),
        structure(water, 0)[:5],
        structure(water, 0, periodic=False),
    ):
        atoms.calc = calculator
        found = atoms.get_potential_energy()
        fresh = atoms.copy()
        fresh.calc = DP(water.path, backend="numpy")
        assert found == pytest.approx(fresh.get_potential_energy(), rel=1e-13)


def test_energy_is_conserved(water, atoms):
    """NVE: the error of the total energy falls with the square of the time step."""

    def worst_error(step):
        moving = atoms.copy()
        moving.calc = DP(water.path, backend="numpy")
        thermal = np.sqrt(300 * units.kB / moving.get_masses())[:, None]
        moving.set_velocities(np.random.default_rng(2).normal(size=(12, 3)) * thermal)
        start = moving.get_total_energy()
        errors = []
        dynamics = VelocityVerlet(moving, timestep=step * units.fs)
        dynamics.attach(lambda: errors.append(abs(moving.get_total_energy() - start)))
        dynamics.run(int(40 / step))
        assert np.ptp(moving.positions - atoms.positions) > 0.5
        return max(errors)

    coarse, fine = worst_error(1.0), worst_error(0.5)
    assert coarse < 2e-3
    assert fine < coarse / 3


def test_spins(golden):
    """They are the initial magnetic moments, and a new spin is a new calculation."""
    case = golden("spin_dpa1")
    symbols = [("Ni", "O", "Fe")[t] for t in case.data["atype"]]
    atoms = Atoms(symbols, case.data["coord"][0], cell=case.data["box"][0].reshape(3, 3), pbc=True)
    atoms.calc = DP(case.path, backend="numpy")
    with pytest.raises(DataError, match="no initial magnetic moments"):
        atoms.get_potential_energy()
    for k in (0, 1):
        atoms.positions, atoms.cell = case.data["coord"][k], case.data["box"][k].reshape(3, 3)
        atoms.set_initial_magnetic_moments(case.data["spin"][k])
        assert atoms.get_potential_energy() == pytest.approx(case.data["energy"][k, 0], rel=1e-9)
        for name in ("force", "magnetic_force"):
            stored = case.data[{"magnetic_force": "force_mag"}.get(name, name)][k]
            np.testing.assert_allclose(atoms.calc.get_property(f"{name}s", atoms), stored, atol=1e-9)
    turned = atoms.get_potential_energy()
    for moments in (None, [0.5] * len(atoms)):  # numbers do not take the place of vectors
        atoms.set_initial_magnetic_moments(moments)
    along_z = atoms.get_potential_energy()
    atoms.set_initial_magnetic_moments(None)
    atoms.set_initial_magnetic_moments([[0.0, 0.0, 0.5]] * len(atoms))
    assert atoms.get_potential_energy() == along_z != turned


@pytest.mark.parametrize(
    ("name", "total", "atomic", "stored"),
    [
        ("dipole", "dipole", "atomic_dipoles", ("global_dipole", "atom_dipole")),
        ("polar_full", "polarizability", "atomic_polarizabilities", ("global_polar", "atom_polar")),
        ("dos", "dos", "atomic_dos", ("dos", "atom_dos")),
        ("property_intensive", "gap", "atomic_gap", ("gap", "atom_gap")),
    ],
)
def test_other_outputs(golden, backend, name, total, atomic, stored):
    case = golden(name)
    atoms = structure(case)
    atoms.info = {key: case.data[key][0] for key in ("fparam", "aparam") if key in case.data}
    atoms.calc = DP(case.path, backend=backend)
    assert atoms.calc.implemented_properties == [total, atomic]
    for key, expected in zip((total, atomic), stored, strict=True):
        found = atoms.calc.get_property(key, atoms)
        np.testing.assert_allclose(found, case.data[expected][0].reshape(found.shape), rtol=1e-9, atol=1e-12)
    if name == "dipole":
        np.testing.assert_array_equal(atoms.get_dipole_moment(), atoms.calc.results["dipole"])


def test_populations(water, atoms):
    """Their difference is the magnetic moment of an atom; they are no charges."""
    section = {
        "type_map": ["O", "H"], "fitting_net": {"type": "population", "neuron": [4], "seed": 1},
        "descriptor": {"type": "se_e2_a", "sel": [20, 20], "rcut": 3.0, "neuron": [2, 4], "axis_neuron": 2, "seed": 1},
    }  # fmt: skip
    model = new_model(parse_model(section), ["O", "H"])
    atoms.calc = DP(model, backend="numpy")
    (expected,) = DeepEval(model, "numpy").eval(water.data["coord"][:1], water.data["box"][:1], water.data["atype"])
    alpha, beta = expected[0].T
    assert np.ptp(alpha - beta) > 0
    np.testing.assert_allclose(atoms.get_magnetic_moments(), alpha - beta, rtol=1e-12)
    assert atoms.get_magnetic_moment() == pytest.approx(np.sum(alpha - beta), rel=1e-12)
    np.testing.assert_allclose(atoms.calc.get_property("populations", atoms), expected[0], rtol=1e-12)
    with pytest.raises(PropertyNotImplementedError, match=r"no 'charges'.* closed shells, and no charges"):
        atoms.get_charges()


def test_several_models(golden, water, atoms, tmp_path):
    """Energies of one model and dipoles of another, as an infrared spectrum needs them."""
    both = DP([water.path, golden("dipole").path], backend="numpy")
    alone = DP(golden("dipole").path, backend="numpy")
    molecule = atoms[:4]
    molecule.calc = both
    energy, dipole = molecule.get_potential_energy(), molecule.get_dipole_moment()
    molecule.calc = DP(water.path, backend="numpy")
    assert energy == molecule.get_potential_energy()
    molecule.calc = alone
    np.testing.assert_array_equal(dipole, molecule.get_dipole_moment())
    with pytest.raises(
        PropertyNotImplementedError, match=r"no 'forces'\. They give: dipole.* DP\(\[dipole, energy\]\)"
    ):
        molecule.get_forces()
    molecule.calc = both
    spectrum = Infrared(molecule, indices=[0, 1], name=str(tmp_path / "ir"))
    spectrum.run()
    spectrum.read()
    assert spectrum.intensities.shape == (6,)
    assert spectrum.intensities.max() > 0
    with pytest.raises(ConfigError, match="Model 1 gives 'dipole', and so does a model before it"):
        DP([alone.dp, alone.dp])
    with pytest.raises(ConfigError, match="has no model"):
        DP([])


def test_each_model_takes_its_own_parameters(golden, atoms):
    case = golden("ener_fparam_aparam")
    atoms = structure(case)
    atoms.info = {"fparam": case.data["fparam"][0], "aparam": case.data["aparam"][0]}
    atoms.calc = DP([case.path, golden("dipole").path], backend="numpy")
    assert atoms.get_potential_energy() == pytest.approx(case.data["energy"][0, 0], rel=1e-9)
    for models in ([golden("dipole").path], [golden("dipole").path, golden("se_e2_a_oneside").path]):
        atoms.calc = DP(models, backend="numpy")
        with pytest.raises(DataError, match=r"info\['aparam'\] is set, but no model of .* Remove it: del atoms.info"):
            atoms.get_dipole_moment()
    atoms.info = {"fparam": None}
    assert np.isfinite(atoms.get_dipole_moment()).all()


@pytest.mark.parametrize(
    ("name", "exported"),
    [
        ("se_e2_a_oneside", {"natoms", "energy", "free_energy", "energies", "forces", "stress"}),
        ("dipole", {"dipole"}),
    ],
)
def test_properties_of_ase(golden, atoms, name, exported):
    """Results that ASE has no name for, such as the virial, are no part of them."""
    calculator = DP(golden(name).path, backend="numpy")
    found = calculator.calculate_properties(atoms, sorted(exported - {"natoms"}))
    assert set(found) == exported
    for key in exported - {"natoms"}:
        np.testing.assert_array_equal(found[key], calculator.get_property(key, atoms))


def test_elements(water, atoms):
    atoms.calc = DP(water.path, backend="numpy", type_dict={"H": 1, "O": 0})
    assert atoms.get_potential_energy() == pytest.approx(water.data["energy"][0, 0])
    atoms.symbols[3] = "Na"
    with pytest.raises(DataError, match=r"does not know the element 'Na'\. Known: H, O"):
        atoms.get_potential_energy()


def test_partly_periodic_is_refused(water, atoms):
    atoms.calc = DP(water.path, backend="numpy")
    atoms.pbc = [True, True, False]
    with pytest.raises(DataError, match=r"pbc = \[True, True, False\]"):
        atoms.get_potential_energy()


def test_results_go_through_files(water, atoms, tmp_path):
    atoms.calc = DP(water.path, backend="numpy")
    atoms.get_forces()
    for name in ("a.xyz", "a.traj"):
        write(tmp_path / name, atoms)
        again = read(tmp_path / name)
        assert again.get_potential_energy() == pytest.approx(water.data["energy"][0, 0], rel=1e-7)
        np.testing.assert_allclose(again.get_forces(), water.data["force"][0], atol=1e-7)


def test_found_by_entry_point():
    """Newer versions of ASE list the calculator; older ones do not read the group."""
    (entry,) = (e for e in entry_points(group="ase.plugins") if e.value == "dp_core.ase_plugin")
    found = list(entry.load().__ase_plugins__)
    try:
        from ase._4.plugins import plugins
    except ImportError:
        assert not found
    else:
        assert [(plugin.name, plugin.implementation) for plugin in found] == [("dp", DP)]
        assert DP in [plugin.implementation for plugin in plugins.calculators]
