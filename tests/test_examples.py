"""The data sets of the examples: complete, consistent with their labelers, and usable by dp."""

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from ase.io import read
from ase.units import GPa

from dp_core.data import Label, open_systems
from dp_core.schema import load_input

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SYSTEMS = sorted(path.parent for name in ("copper", "water") for path in (EXAMPLES / name / "data").rglob("type.raw"))
INPUTS = sorted(path for name in ("copper", "water") for path in (EXAMPLES / name).glob("input*.json"))
LABELS = [
    Label("energy", 1, required=True),
    Label("force", 3, atomic=True, required=True),
    Label("virial", 9, required=True),
]


def relative(path: Path) -> str:
    return path.relative_to(EXAMPLES).as_posix()


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path) for path in (folder / "set.000").glob("*.npy")}


def frame(folder: Path, index: int) -> tuple[Atoms, float, np.ndarray, np.ndarray]:
    """Atoms, energy, force (N, 3) and virial (3, 3), read without any code of dp or of the scripts."""
    data = arrays(folder)
    names = (folder / "type_map.raw").read_text().split()
    symbols = [names[int(t)] for t in (folder / "type.raw").read_text().split()]
    atoms = Atoms(symbols, data["coord"][index].reshape(-1, 3), cell=data["box"][index].reshape(3, 3), pbc=True)
    return atoms, data["energy"][index], data["force"][index].reshape(-1, 3), data["virial"][index].reshape(3, 3)


def energy(atoms: Atoms, calculator, strain=None, shift=0.0) -> float:
    """Energy after moving the atoms by ``shift``, then the whole cell by ``strain``."""
    deformation = np.eye(3) if strain is None else np.eye(3) + strain
    moved = Atoms(atoms.symbols, (atoms.positions + shift) @ deformation, cell=atoms.cell.array @ deformation, pbc=True)
    moved.calc = calculator
    return moved.get_potential_energy()


def slopes(atoms: Atoms, new_calculator, shift_step: float, strain_step: float, seed: int):
    """Central differences along a random displacement of all atoms and a random symmetric strain, with these two."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(size=(len(atoms), 3))
    shift /= np.linalg.norm(shift)
    strain = rng.normal(size=(3, 3))
    strain = (strain + strain.T) / np.linalg.norm(strain + strain.T)
    along = [energy(atoms, new_calculator(), shift=s * shift_step * shift) for s in (1, -1)]
    under = [energy(atoms, new_calculator(), strain=s * strain_step * strain) for s in (1, -1)]
    return (along[0] - along[1]) / (2 * shift_step), shift, (under[0] - under[1]) / (2 * strain_step), strain


def test_both_examples_are_there_and_small():
    assert {relative(folder).split("/")[0] for folder in SYSTEMS} == {"copper", "water"}
    files = [f for name in ("copper", "water") for f in (EXAMPLES / name).rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 6e6


@pytest.mark.parametrize("folder", SYSTEMS, ids=relative)
def test_arrays_of_a_system(folder):
    data = arrays(folder)
    natoms, nframes = len((folder / "type.raw").read_text().split()), len(data["energy"])
    widths = {"coord": 3 * natoms, "force": 3 * natoms, "box": 9, "virial": 9}
    assert {key: value.shape for key, value in data.items()} == {
        "energy": (nframes,),
        **{key: (nframes, width) for key, width in widths.items()},
    }
    assert all(value.dtype == np.float64 and np.isfinite(value).all() for value in data.values())
    assert (np.linalg.det(data["box"].reshape(-1, 3, 3)) > 0).all()
    # nothing pushes or turns the whole
    np.testing.assert_allclose(data["force"].reshape(nframes, -1, 3).sum(axis=1), 0, atol=1e-5)
    virial = data["virial"].reshape(-1, 3, 3)
    np.testing.assert_allclose(virial, virial.transpose(0, 2, 1), atol=1e-9)


@pytest.mark.parametrize("folder", SYSTEMS, ids=relative)
def test_dp_reads_the_same_numbers(folder):
    (system,) = open_systems(str(folder))
    last = system.nframes - 1
    atoms, total, force, virial = frame(folder, last)
    seen = system.frame(last, LABELS)
    np.testing.assert_array_equal(seen.coord, atoms.positions)
    np.testing.assert_array_equal(seen.box, atoms.cell.array)
    assert [system.type_map[t] for t in seen.types] == list(atoms.symbols)
    np.testing.assert_array_equal(seen.labels["energy"], [total])
    np.testing.assert_array_equal(seen.labels["force"], force)
    np.testing.assert_array_equal(seen.labels["virial"].reshape(3, 3), virial)


@pytest.mark.parametrize("name", ["copper", "water"])
def test_validation_frames_are_not_in_training(name):
    energies = {
        part: np.concatenate([arrays(f)["energy"] for f in SYSTEMS if relative(f).startswith(f"{name}/data/{part}/")])
        for part in ("train", "validation")
    }
    assert not set(energies["train"]) & set(energies["validation"])
    assert len(energies["train"]) > 4 * len(energies["validation"]) > 0


@pytest.mark.parametrize(("name", "package"), [("copper", "ase"), ("water", "tblite")])
def test_provenance_matches_the_data(name, package):
    record = json.loads((EXAMPLES / name / "provenance.json").read_text())
    assert isinstance(record["seed"], int)
    assert {"python", "numpy", "ase", package} <= set(record["versions"])
    assert record["label_errors"]["force_fd"] < 1e-5
    planned = {}
    for system, plan in record["systems"].items():
        planned[system] = sum(run["frames"] for run in (plan if isinstance(plan, list) else [plan]))
    root = EXAMPLES / name / "data"
    assert planned == {
        f.relative_to(root).as_posix(): len(arrays(f)["energy"]) for f in SYSTEMS if f.is_relative_to(root)
    }


@pytest.mark.parametrize("folder", [f for f in SYSTEMS if "copper/data/train" in f.as_posix()], ids=relative)
def test_copper_labels_are_derivatives_of_emt(folder):
    for index in (0, len(arrays(folder)["energy"]) - 1):
        atoms, total, force, virial = frame(folder, index)
        assert energy(atoms, EMT()) == pytest.approx(total, abs=1e-10)
        along, shift, under, strain = slopes(atoms, EMT, 1e-4, 1e-4, seed=index)
        assert -along == pytest.approx(np.sum(force * shift), abs=1e-6)
        assert -under == pytest.approx(np.sum(virial * strain), abs=1e-4)


@pytest.mark.slow
def test_water_labels_are_derivatives_of_xtb():
    tblite = pytest.importorskip("tblite.ase")
    provenance = json.loads((EXAMPLES / "water" / "provenance.json").read_text())

    def xtb():
        return tblite.TBLite(**provenance["labeler"], verbosity=0)

    atoms, total, force, virial = frame(EXAMPLES / "water" / "data" / "train" / "300K", 0)
    assert energy(atoms, xtb()) == pytest.approx(total, abs=1e-6)
    along, shift, under, strain = slopes(atoms, xtb, 1e-3, 5e-4, seed=1)
    assert -along == pytest.approx(np.sum(force * shift), abs=1e-4)
    assert -under == pytest.approx(np.sum(virial * strain), abs=5e-3)


def test_bulk_values_in_the_provenance_are_those_of_emt():
    recorded = json.loads((EXAMPLES / "copper" / "provenance.json").read_text())["bulk"]
    volumes, energies = [], []
    for a in np.linspace(3.53, 3.65, 9):
        atoms = bulk("Cu", a=a, cubic=True)
        atoms.calc = EMT()
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    volume, lowest, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    assert recorded["lattice_constant_angstrom"] == pytest.approx(volume ** (1 / 3), abs=1e-3)
    assert recorded["energy_per_atom_eV"] == pytest.approx(lowest / 4, abs=1e-4)
    assert recorded["bulk_modulus_GPa"] == pytest.approx(modulus / GPa, rel=0.01)


def test_extended_xyz_repeats_training_frames():
    frames = read(EXAMPLES / "copper" / "copper.xyz", ":")
    assert len({len(atoms) for atoms in frames}) > 3
    known = {}
    for folder in SYSTEMS:
        if "copper/data/train" in folder.as_posix():
            known |= {total: (folder, index) for index, total in enumerate(arrays(folder)["energy"])}
    for atoms in frames:
        same, _, force, virial = frame(*known[atoms.get_potential_energy()])
        np.testing.assert_allclose(atoms.positions, same.positions, atol=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), force, atol=1e-7)
        np.testing.assert_allclose(-atoms.get_stress(voigt=False) * atoms.get_volume(), virial, atol=1e-9)


def test_dp_reads_the_extended_xyz():
    (system,) = open_systems(str(EXAMPLES / "copper" / "copper.xyz"), ["Cu"])
    for index, atoms in enumerate(read(EXAMPLES / "copper" / "copper.xyz", ":")):
        labels = system.frame(index, LABELS).labels
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        np.testing.assert_allclose(labels["virial"].reshape(3, 3), virial, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(labels["force"], atoms.get_forces())


@pytest.mark.parametrize("path", INPUTS, ids=relative)
def test_inputs_are_valid_and_find_their_data(path):
    load_input(path)
    training = json.loads(path.read_text())["training"]
    for section in ("training_data", "validation_data"):
        assert open_systems(training[section]["systems"], base=path.parent)
