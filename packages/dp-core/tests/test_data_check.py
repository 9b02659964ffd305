"""Data checks: what is reported, and that mistakes are found while right data stay silent."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.data import chemical_symbols, covalent_radii

from dp_core.data import Frame, check_data, open_systems, validate_frame, write_npy_system
from dp_core.data.elements import COVALENT_RADII
from dp_core.errors import DataError

EXAMPLES = Path(__file__).parents[3] / "examples"
HARTREE, BOHR = 27.211386, 0.52917721
FOUND = frozenset({"energy", "force", "virial"})


def copper(kind, count=16):
    """Frames of 8 copper atoms: thermal at fixed cell ("thermal"), or strained cells ("strained")."""
    rng = np.random.default_rng(7)
    reference = bulk("Cu", cubic=True) * (2, 1, 1)
    positions = reference.positions.copy()
    frames = []
    for k in range(count):
        atoms = reference.copy()
        if kind == "thermal":
            positions = reference.positions + 0.8 * (positions - reference.positions) + rng.normal(0, 0.03, (8, 3))
            atoms.positions = positions
        else:
            strain = np.eye(3) * (0.96 + 0.08 * k / count) + np.diag(rng.normal(0, 0.004, 3))
            atoms.set_cell(reference.cell @ strain)
            atoms.positions = (reference.positions + rng.normal(0, 0.005, (8, 3))) @ strain
        atoms.calc = EMT()
        labels = {
            "energy": np.array([atoms.get_potential_energy()]),
            "force": atoms.get_forces(),
            "virial": -(atoms.get_stress(voigt=False) * atoms.get_volume()).ravel(),
        }
        frames.append(Frame(0, k, atoms.positions, np.array(atoms.cell), np.zeros(8, int), labels, FOUND))
    return frames


def scaled(frames, coord=1.0, box=1.0, **factors):
    return [
        replace(
            f,
            coord=f.coord * coord,
            box=f.box * box,
            labels={name: value * factors.get(name, 1.0) for name, value in f.labels.items()},
        )
        for f in frames
    ]


def check(path, frames):
    write_npy_system(path / "s", frames, ["Cu"])
    return check_data(str(path))


def only_message(report, severity):
    (message,) = [f.message for f in report.findings if f.severity == severity]
    return message


@pytest.mark.parametrize("kind", ["thermal", "strained"])
def test_right_data_have_no_findings(tmp_path, kind):
    frames = copper(kind)
    report = check(tmp_path, frames)
    assert report.findings == []
    (row,) = report.systems
    assert (row.nframes, row.natoms, row.elements, row.periodic) == (16, 8, ("Cu",), True)
    assert row.labels == ("energy", "force", "virial")
    energies = [f.labels["energy"][0] / 8 for f in frames]
    forces = np.array([f.labels["force"] for f in frames])
    assert row.energy_per_atom == pytest.approx((min(energies), max(energies)))
    assert row.force_rms == pytest.approx(np.sqrt(np.mean(forces**2)))
    assert row.force_max == pytest.approx(np.linalg.norm(forces, axis=-1).max())
    assert row.virial[0] == pytest.approx(min(f.labels["virial"].min() for f in frames))
    volumes = [np.linalg.det(f.box) / 8 for f in frames]
    assert row.volume_per_atom == pytest.approx((min(volumes), max(volumes)))
    assert 2 < row.closest.distance < 2.6
    a, b = frames[row.closest_in].coord[[row.closest.first, row.closest.second]]
    fraction = (a - b) @ np.linalg.inv(frames[row.closest_in].box)
    images = np.linalg.norm((fraction - np.round(fraction)) @ frames[row.closest_in].box)
    assert row.closest.distance == pytest.approx(images)


def test_small_cells_under_large_strains_are_no_mistake():
    """Frames are alike if their cells are too, else the work between them is no sum of two ends."""
    report = check_data([str(EXAMPLES / "copper/data/train/cells4"), str(EXAMPLES / "copper/data/train/cells8")])
    assert report.findings == []


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"energy": 1 / HARTREE}, "energies look like Hartree while the forces are in eV/Å"),
        ({"force": BOHR / HARTREE}, "forces look like Hartree/Bohr while the energies are in eV"),
        ({"energy": 1 / HARTREE, "force": BOHR / HARTREE}, "Hartree/Bohr with energies in Hartree"),
        ({"force": -1}, "forces have the wrong sign"),
        ({"energy": 1 / 8}, "energies look like energies per atom"),
        ({"coord": 1 / BOHR, "box": 1 / BOHR}, "coordinates look like Bohr"),
    ],
)
def test_wrong_units_of_energies_and_forces(tmp_path, mistake, message):
    report = check(tmp_path, scaled(copper("thermal"), **mistake))
    assert sum(message in f.message for f in report.warnings) == 1


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"virial": -1}, "the virial seems to have the wrong sign"),
        ({"virial": 1 / 90}, "energies and virials do not fit together"),
        ({"coord": 1 / BOHR, "box": 1 / BOHR}, "Are the coordinates in Bohr?"),
    ],
)
def test_wrong_virials_and_lengths(tmp_path, mistake, message):
    assert message in only_message(check(tmp_path, scaled(copper("strained"), **mistake)), "warning")


def test_pressure_that_grows_with_the_volume(tmp_path):
    frames = [replace(f, found=frozenset({"virial"})) for f in scaled(copper("strained"), virial=-1)]
    assert "pressure (trace of the virial / 3V) grows" in only_message(check(tmp_path, frames), "warning")


def test_virial_of_open_boundaries_is_force_times_position(tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for k in range(6):
        coord, force = rng.normal(0, 2, (4, 3)), rng.normal(0, 1, (4, 3))
        force -= force.mean(axis=0)
        labels = {"force": force, "virial": -(force.T @ coord).ravel()}
        frames.append(Frame(0, k, coord, None, np.zeros(4, int), labels, frozenset({"force", "virial"})))
    assert any("opposite sign of Σ F⊗r" in f.message for f in check(tmp_path / "bad", frames).warnings)
    good = [replace(f, labels=f.labels | {"virial": -f.labels["virial"]}) for f in frames]
    assert not any("Σ F⊗r" in f.message for f in check(tmp_path / "good", good).findings)


@pytest.mark.parametrize(
    ("factor", "severity", "message"),
    [
        (0.1, "error", "Is it in nm? Lengths are in Å"),
        (1 / BOHR, "notice", "Is the cell in Bohr?"),
        (1000, "error", "Is it in pm?"),
    ],
)
def test_wrong_unit_of_the_cell_alone(tmp_path, factor, severity, message):
    report = check(tmp_path, scaled(copper("thermal"), box=factor))
    assert message in only_message(report, severity)


def test_impossible_frames_are_counted_and_named(tmp_path):
    frames = copper("thermal")
    frames[3].labels["force"][5, 1] = np.nan
    frames[9].labels["force"][5, 1] = np.inf
    frames[4].labels["energy"][0] = 1e12
    frames[5].coord[2] = frames[5].coord[1] + 0.1
    report = check(tmp_path, frames)
    messages = {f.frame: f.message for f in report.errors}
    assert set(messages) == {3, 4, 5}
    assert "set.000, frame 3: force of atom 5 is nan" in messages[3]
    assert "(2 frames in all)" in messages[3]
    assert "energy is 1.25e+11 eV an atom, the limit is 1e+06" in messages[4]
    assert "atoms 1 and 2 are 0.173 Å apart; they overlap" in messages[5]
    assert report.systems[0].energy_per_atom[1] < 1


def test_energy_outliers_duplicates_and_placeholders(tmp_path):
    frames = copper("thermal")
    frames[6].labels["energy"][0] += 40
    frames[8] = replace(frames[2], index=8)
    frames[10] = replace(frames[2], labels=frames[2].labels | {"energy": frames[2].labels["energy"] + 0.1})
    frames = scaled(frames, virial=0)
    report = check(tmp_path, frames)
    warnings = " ".join(f.message for f in report.warnings)
    assert re.search(r"frame 6: its energy is \+5\S* eV an atom off the other frames \(1 of 16 frames", warnings)
    assert "virial is zero in every frame; is it a placeholder?" in warnings
    assert "1 structures occur twice with different energies" in warnings
    assert "1 structures occur more than once" in only_message(report, "notice")


def test_systems_with_another_zero_of_energy(tmp_path):
    frames = copper("thermal")
    write_npy_system(tmp_path / "a", frames, ["Cu"])
    shifted = [replace(f, coord=f.coord + 0.01, labels=f.labels | {"energy": f.labels["energy"] - 800}) for f in frames]
    write_npy_system(tmp_path / "b", shifted, ["Cu"])
    assert "Are both in eV, with the same zero of energy?" in only_message(check_data(str(tmp_path)), "warning")


def test_labels_in_some_sets_only_and_net_forces(tmp_path):
    frames = copper("thermal")
    for frame in frames:
        frame.labels["force"][0] += 3
    frames[-1] = replace(frames[-1], found=FOUND - {"virial"})
    write_npy_system(tmp_path / "s", frames, ["Cu"], set_size=8)
    notices = " ".join(f.message for f in check_data(str(tmp_path)).findings if f.severity == "notice")
    assert "8 of 16 frames have virial" in notices
    assert "do not add up to zero" in notices


def test_nothing_is_raised_for_bad_systems(tmp_path):
    write_npy_system(tmp_path / "data/good", copper("thermal"), ["Cu"])
    write_npy_system(tmp_path / "data/other", copper("thermal"), ["Ag"])
    write_npy_system(tmp_path / "data/cut", copper("thermal"), ["Cu"])
    file = tmp_path / "data/cut/set.000/force.npy"
    file.write_bytes(file.read_bytes()[:500])
    (tmp_path / "data/half").mkdir()
    (tmp_path / "data/half/type.raw").write_text("0")
    done = []
    paths = [str(tmp_path / "data"), str(tmp_path / "nowhere")]
    report = check_data(paths, ["Cu"], progress=lambda *x: done.append(x))
    errors = " ".join(f.message for f in report.errors)
    for part in ("nowhere does not exist", "contains Ag", "has no set.*", "force.npy is truncated"):
        assert part in errors
    assert len(report.errors) == 4
    assert done[-1] == (16, 32)
    assert [row.name.rsplit("/")[-1] for row in report.systems] == ["cut", "good"]


def test_open_systems_are_taken_too(tmp_path):
    write_npy_system(tmp_path / "s", copper("thermal"), ["Cu"])
    assert check_data(open_systems(str(tmp_path))) == check_data(str(tmp_path))


class TestValidateFrame:
    @pytest.fixture
    def system(self, tmp_path):
        write_npy_system(tmp_path / "s", copper("thermal", 2), ["Cu"])
        return open_systems(str(tmp_path))[0]

    def test_right_frames_pass(self, system):
        for frame in copper("thermal", 2):
            validate_frame(frame, system)

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("coord", np.nan, "coord of atom 0 is nan"),
            ("coord", 1e9, "a coordinate is 1e+09 Å, the limit is 1e+06. Wrap"),
            ("box", np.inf, "box is inf"),
            ("force", np.nan, "force of atom 0 is nan"),
            ("force", 1e7, "force of atom 0 is 1e+07 eV/Å, the limit is 10000"),
            ("virial", 1e9, "virial is 1.25e+08 eV an atom"),
            ("energy", -np.inf, "energy is -inf"),
        ],
    )
    def test_impossible_numbers(self, system, name, value, message):
        frame = copper("thermal", 2)[1]
        array = {"coord": frame.coord, "box": frame.box, **frame.labels}[name]
        array[(0,) * array.ndim] = value
        with pytest.raises(DataError) as error:
            validate_frame(frame, system)
        assert str(error.value).startswith(f"System {system.name}, set.000, frame 1: {message}")

    @pytest.mark.parametrize(
        ("box", "message"),
        [
            (np.zeros((3, 3)), "has no volume.*nopbc"),
            (np.ones((3, 3)), "has no volume"),
            (np.diag([0.72, 0.36, 0.36]), "Is it in nm"),
            (np.diag([720, 360, 360]) * 10, "Is it in pm"),
        ],
    )
    def test_impossible_cells(self, system, box, message):
        with pytest.raises(DataError, match=message):
            validate_frame(replace(copper("thermal", 1)[0], box=box), system)

    def test_a_left_handed_cell_is_a_cell(self, system):
        frame = copper("thermal", 1)[0]
        validate_frame(replace(frame, box=frame.box[[1, 0, 2]]), system)

    def test_filled_labels_are_not_judged(self, system):
        frame = copper("thermal", 1)[0]
        frame.labels["force"][:] = np.nan
        validate_frame(replace(frame, found=frozenset({"energy"})), system)


def test_radii_are_those_of_ase():
    for number in range(1, 97):
        assert COVALENT_RADII[chemical_symbols[number]] == pytest.approx(covalent_radii[number])
