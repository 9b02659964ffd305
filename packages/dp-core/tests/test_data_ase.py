"""Files that ASE reads, given directly as systems."""

import logging
import sys

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from dp_core.data import Label, Sampler, convert_to_npy, open_systems
from dp_core.errors import DataError

ENERGY, FORCE, VIRIAL = Label("energy", 1), Label("force", 3, atomic=True), Label("virial", 9)
STRESS = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])  # xx yy zz yz xz xy, eV/Å³


def structures():
    rng = np.random.default_rng(0)
    water = Atoms("OH2", rng.random((3, 3)) * 3, cell=[[5, 0, 0], [1, 6, 0], [0, 0, 7]], pbc=True)
    water.calc = SinglePointCalculator(water, energy=-1.5, forces=rng.random((3, 3)), stress=STRESS)
    methane = Atoms("CH4", rng.random((5, 3)) * 3)
    methane.calc = SinglePointCalculator(methane, energy=-2.5, forces=rng.random((5, 3)))
    return [water, methane]


def only(path, type_map=("H", "C", "N", "O"), **kwargs):
    (system,) = open_systems(str(path), type_map, **kwargs)
    return system


@pytest.mark.parametrize("suffix", ["extxyz", "traj", "xyz", "json"])
def test_sizes_boundaries_and_calculator_results(tmp_path, suffix):
    water, methane = structures()
    ase.io.write(tmp_path / f"data.{suffix}", [water, methane], format="extxyz" if suffix == "xyz" else None)
    system = only(tmp_path / f"data.{suffix}")
    assert (system.nframes, system.natoms, system.mixed, system.periodic) == (2, 5, True, True)
    assert system.sizes.tolist() == [3, 5]
    assert system.elements == ("O", "H", "C")
    assert np.bincount(system.types_of(1)).tolist() == [4, 1]
    first, second = system.frames([0, 1], [ENERGY, FORCE, VIRIAL])
    assert first.types.tolist() == [3, 0, 0]
    np.testing.assert_allclose(first.coord, water.positions, atol=1e-8)
    np.testing.assert_allclose(first.box, water.cell, atol=1e-8)
    np.testing.assert_allclose(second.labels["force"], methane.calc.results["forces"], atol=1e-8)
    xx, yy, zz, yz, xz, xy = -STRESS * 5 * 6 * 7
    np.testing.assert_allclose(first.labels["virial"], [xx, xy, xz, xy, yy, yz, xz, yz, zz], atol=1e-6)
    assert second.box is None
    assert second.labels["energy"].tolist() == [-2.5]
    assert first.found == {"energy", "force", "virial"}
    assert second.found == {"energy", "force"}
    assert {"energy", "force", "virial"} <= system.available()


def test_usual_keys_in_info_and_arrays(tmp_path):
    atoms = Atoms("Cu2", [[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
    virial = np.diag([1.0, 2.0, 3.0])
    atoms.info |= {"REF_energy": -3.0, "REF_virial": virial, "fparam": np.array([1.0, 2.0])}
    atoms.arrays |= {"REF_forces": np.arange(6.0).reshape(2, 3), "aparam": np.array([7.0, 8.0])}
    ase.io.write(tmp_path / "a.extxyz", atoms)
    labels = [ENERGY, FORCE, VIRIAL, Label("fparam", 2), Label("aparam", 1, atomic=True)]
    frame = only(tmp_path / "a.extxyz", ["Cu"]).frame(0, labels)
    assert frame.found == {"energy", "force", "virial", "fparam", "aparam"}
    assert frame.labels["energy"].tolist() == [-3]
    assert frame.labels["virial"].tolist() == virial.ravel().tolist()
    assert frame.labels["force"][1].tolist() == [3, 4, 5]
    assert frame.labels["aparam"].tolist() == [[7], [8]]


def test_full_stress_under_another_name(tmp_path):
    atoms = Atoms("Cu", cell=[2, 2, 2], pbc=True, info={"dft_stress": np.eye(3)})
    ase.io.write(tmp_path / "a.traj", atoms)
    virial = only(tmp_path / "a.traj", ["Cu"]).frame(0, [VIRIAL]).labels["virial"]
    np.testing.assert_allclose(virial.reshape(3, 3), -8 * np.eye(3))


def test_keys_of_ones_own(tmp_path, caplog):
    atoms = Atoms("Cu", info={"my_e": -3.0, "energy": -4.0})
    ase.io.write(tmp_path / "a.traj", atoms)
    assert only(tmp_path / "a.traj", ["Cu"], keys={"energy": "my_e"}).frame(0, [ENERGY]).labels["energy"] == -3
    with pytest.raises(DataError, match=r"has no energy. Looked for: e. Keys in the file: energy, my_e. Rename"):
        only(tmp_path / "a.traj", ["Cu"], keys={"energy": "e"}).frame(0, [Label("energy", 1, required=True)])


def test_missing_labels_are_told_once_with_the_keys_present(tmp_path, caplog):
    ase.io.write(tmp_path / "a.traj", [Atoms("Cu", info={"energie": -3.0})] * 2)
    system = only(tmp_path / "a.traj", ["Cu"])
    with caplog.at_level(logging.WARNING, "dp_core.data"):
        assert [f.found for f in system.frames([0, 1], [ENERGY])] == [frozenset(), frozenset()]
    (record,) = caplog.records
    assert "has no energy. Looked for: energy, REF_energy" in record.getMessage()
    assert "Keys in the file: energie" in record.getMessage()


def test_two_names_for_one_label_are_told(tmp_path, caplog):
    ase.io.write(tmp_path / "a.traj", Atoms("Cu", info={"energy": -3.0, "REF_energy": -4.0}))
    with caplog.at_level(logging.WARNING, "dp_core.data"):
        assert only(tmp_path / "a.traj", ["Cu"]).frame(0, [ENERGY]).labels["energy"] == -3
    assert "using energy, not REF_energy" in caplog.text


def test_some_frames_of_a_file(tmp_path):
    frames = [Atoms("Cu", [[k, 0, 0]]) for k in range(6)]
    ase.io.write(tmp_path / "a.xyz", frames)
    system = only(f"{tmp_path}/a.xyz@1:5:2", ["Cu"])
    assert [system.frame(i).coord[0, 0] for i in range(system.nframes)] == [1, 3]


def test_errors(tmp_path):
    ase.io.write(tmp_path / "slab.xyz", Atoms("Cu", cell=[3, 3, 9], pbc=[True, True, False]))
    with pytest.raises(DataError, match=r"slab.xyz, frame 0 is periodic along a and b only.*vacuum"):
        only(tmp_path / "slab.xyz")
    ase.io.write(tmp_path / "cell.traj", Atoms("Cu", pbc=True))
    with pytest.raises(DataError, match="is periodic but has no cell"):
        only(tmp_path / "cell.traj")
    ase.io.write(tmp_path / "good.xyz", structures())
    with pytest.raises(DataError, match=r"contains O, which the model does not know. It knows: H, C"):
        only(tmp_path / "good.xyz", ["H", "C"])
    text = (tmp_path / "good.xyz").read_text()
    (tmp_path / "half.xyz").write_text(text[: len(text) - 60])
    with pytest.raises(DataError, match=r"ASE cannot read .*half.xyz.*Check that the file is whole"):
        only(tmp_path / "half.xyz")
    (tmp_path / "empty.xyz").touch()
    with pytest.raises(DataError, match=r"ASE cannot read .*empty.xyz"):
        only(tmp_path / "empty.xyz")
    with pytest.raises(DataError, match=r"gut.xyz does not exist.*did you mean .*\.xyz\?"):
        only(tmp_path / "gut.xyz")
    ase.io.write(tmp_path / "words.traj", Atoms("Cu", info={"energy": "low", "virial": [1.0, 2.0]}))
    with pytest.raises(DataError, match="energy is 'low', expected numbers"):
        only(tmp_path / "words.traj", ["Cu"]).frame(0, [ENERGY])
    with pytest.raises(DataError, match="virial has 2 numbers, expected 9"):
        only(tmp_path / "words.traj", ["Cu"]).frame(0, [VIRIAL])


def test_without_ase_the_message_says_what_to_install(tmp_path, monkeypatch):
    ase.io.write(tmp_path / "a.xyz", structures())
    monkeypatch.setitem(sys.modules, "ase.io", None)
    with pytest.raises(DataError, match=r"needs the package ase.*pip install 'dp-core\[ase\]'"):
        only(tmp_path / "a.xyz")


def test_sizes_fill_batches(tmp_path):
    ase.io.write(tmp_path / "a.xyz", structures() * 10)
    system = only(tmp_path / "a.xyz")
    sampler = Sampler([system], "max:11", seed=0)
    for _ in range(20):
        assert sum(len(system.own_types(i)) for _, i in sampler.next()) <= 11
    assert Sampler([system], "filter:4", seed=0).table()[0].batches == 10


def test_conversion_to_folders(tmp_path):
    frames = structures()
    shuffled = Atoms("HOH", frames[0].positions[[1, 0, 2]], cell=frames[0].cell, pbc=True)
    force = frames[0].calc.results["forces"]
    shuffled.calc = SinglePointCalculator(shuffled, energy=-1.5, forces=force[[1, 0, 2]], stress=STRESS)
    ase.io.write(tmp_path / "a.traj", [*frames, shuffled])
    folders = convert_to_npy(str(tmp_path / "a.traj"), tmp_path / "out", ["O", "H", "C"])
    assert [f.name for f in folders] == ["O1H2", "H4C1_open"]
    water = only(folders[0])
    assert water.nframes == 2
    first, second = water.frames([0, 1], [ENERGY, FORCE, VIRIAL])
    np.testing.assert_array_equal(first.coord, second.coord)
    np.testing.assert_array_equal(first.labels["force"], force)
    np.testing.assert_array_equal(second.labels["force"], force)
    assert first.found == {"energy", "force", "virial"}
