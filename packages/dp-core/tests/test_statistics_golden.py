"""Statistics of new models against stored numbers of DeePMD-kit, and files that it wrote."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dp_core.data import open_systems
from dp_core.errors import ConfigError, DataError
from dp_core.models.protocol import new_model
from dp_core.module import leaves, replace
from dp_core.schema import parse_model
from dp_core.statistics import Sample, StatFile, compute_statistics, sample_frames
from dp_core.statistics.environment import environment_key
from dp_core.statistics.stat_file import MARKER

STATS = Path(__file__).parents[3] / "tests" / "golden" / "stats"
CASES = [
    "dpa2_mol",
    "dpa3_mol",
    "hybrid_mol",
    "se_e2_r_mol",
    "se_e3_mol",
    "se_e3_tebd_mol",
    "dpa1_mol",
    "dpa1_water",
    "se_e2_a_mol",
    "se_e2_a_water",
    "se_e2_a_exclude",
    "atom_ener",
    "fparam",
    "preset_bias",
    "dipole",
    "polar",
    "dos",
    "dos_global",
    "property",
    "property_shared",
    "spin",
]
#: The labels that the loss of a case reads, where the data have more.
LABELS = {"dos_global": ["dos"]}
FILES = ["stat_file", "stat_file.hdf5"]  # of the case se_e2_a_mol


def load(name):
    """A fresh model of a case, and its data."""
    case = json.loads((STATS / f"stat_{name}.json").read_text())
    settings = parse_model(case["model"])
    model = replace(new_model(settings, settings.type_map), script=settings.to_document())
    systems = open_systems([str(STATS / path) for path in case["data"]], settings.type_map)
    return model, systems


def save(path, array):
    with path.open("wb") as file:  # np.save would add a suffix
        np.save(file, array)


def none_of(systems):
    return Sample(systems, np.zeros(0, np.int64), np.zeros(0, np.int64))


def same(a, b, rel=1e-9):
    for (path, x), y in zip(leaves(a).items(), leaves(b).values(), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=rel * max(np.abs(y).max(), 1e-30), err_msg=path)


def path_of(key):
    """The leaf that a key of a document stands for."""
    names = {
        "@variables.": "",
        "repflow_variable.": "",
        "_variable.": ".",
        "repformers.": "repformer.",
        "backbone_model.": "backbone.",
    }
    for old, new in names.items():
        key = key.replace(old, new)
    return key


@pytest.mark.parametrize("name", CASES)
def test_statistics(name):
    model, systems = load(name)
    seen = []
    sample = sample_frames(systems, 5, 10)
    labels = LABELS.get(name)
    new, rmse = compute_statistics(
        model, sample, labels=labels, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(k, len(sample)) for k in range(1, len(sample) + 1)]
    found = leaves(new)
    for path, expected in np.load(STATS / f"stat_{name}.npz").items():
        value = found[path_of(path)]
        np.testing.assert_allclose(
            value, expected, rtol=0, atol=1e-9 * max(np.abs(expected).max(), 1e-30), err_msg=path
        )
    if name == "se_e2_a_mol":
        assert rmse == pytest.approx(0.23765250720922554, rel=1e-9)
        assert new.script["info"]["observed_type"] == ["H", "C", "O"]


def test_key_of_the_environment():
    model, _ = load("se_e2_a_mol")
    assert environment_key(model.descriptor, []) == "7ee45815f6c3dd7cb8cc64b46393f6ee978e6746"


@pytest.mark.parametrize("file", FILES)
def test_file_of_another_program_is_read(file):
    model, systems = load("se_e2_a_mol")
    stored, rmse = compute_statistics(
        model, none_of(systems), stat_file=StatFile(STATS / file, model.type_map), mode="read"
    )
    assert rmse is None
    same(stored, compute_statistics(model, sample_frames(systems, 5, 10))[0])
    assert stored.script["info"]["observed_type"] == ["H", "C", "O"]


@pytest.mark.parametrize("name", ["se_e2_a_mol", "fparam"])
@pytest.mark.parametrize("path", ["kept", "kept.h5", "new/folder/kept.hdf5"])
def test_written_and_read(tmp_path, path, name):
    model, systems = load(name)
    file = StatFile(tmp_path / path, model.type_map)
    computed, _ = compute_statistics(model, sample_frames(systems, 5, 10), stat_file=file)
    assert not file.interrupted
    read, _ = compute_statistics(model, none_of(systems), stat_file=file, mode="read")
    same(read, computed, rel=0)


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_layout_is_that_of_the_other_program(tmp_path, suffix):
    """The same names, shapes and kinds of numbers."""
    model, systems = load("se_e2_a_mol")
    file = StatFile(tmp_path / f"kept{suffix}", model.type_map)
    compute_statistics(model, sample_frames(systems, 5, 10), stat_file=file)
    theirs = StatFile(STATS / FILES[bool(suffix)], model.type_map)
    key = environment_key(model.descriptor, [])
    names = ["bias_atom_energy", "std_atom_energy", "observed_type"]
    for name in [*names, *(f"{key}/{c}_{t}" for c in "ra" for t in range(3))]:
        mine, other = file.read(name), theirs.read(name)
        assert (mine.shape, mine.dtype) == (other.shape, other.dtype)
        if name != "observed_type":
            np.testing.assert_allclose(mine, other, rtol=1e-12)
        else:
            assert mine.tolist() == other.tolist()


def test_only_what_is_missing_is_computed(tmp_path):
    model, systems = load("se_e2_a_mol")
    shutil.copytree(STATS / "stat_file", tmp_path / "kept")
    group = tmp_path / "kept" / "C H O"
    save(group / "bias_atom_energy", np.array([[1.0], [2.0], [3.0]]))
    for part in group.glob("*/r_1"):
        part.unlink()
    file = StatFile(tmp_path / "kept", model.type_map)
    new, _ = compute_statistics(model, sample_frames(systems, 5, 10), stat_file=file)
    assert new.out_bias.ravel().tolist() == [1.0, 2.0, 3.0]
    reference, _ = compute_statistics(model, sample_frames(systems, 5, 10))
    np.testing.assert_allclose(new.descriptor.davg, reference.descriptor.davg, rtol=1e-12)
    assert len(list(group.glob("*/r_1"))) == 1


def test_bias_of_excluded_types_in_a_file_of_the_other_program(tmp_path):
    """It does not store what the bias was fitted without; a zero tells."""
    model, systems = load("se_e2_a_mol")
    shutil.copytree(STATS / "stat_file", tmp_path / "kept")
    save(tmp_path / "kept" / "C H O" / "bias_atom_energy", np.array([[1.0], [0.0], [3.0]]))
    file = StatFile(tmp_path / "kept", model.type_map)
    excluding = replace(model, atom_exclude_types=(1,))
    kept, _ = compute_statistics(excluding, none_of(systems), stat_file=file, mode="read")
    assert kept.out_bias.ravel().tolist() == [1.0, 0.0, 3.0]
    new, _ = compute_statistics(model, sample_frames(systems, 5, 10), stat_file=file)
    same(new, compute_statistics(model, sample_frames(systems, 5, 10))[0])


def test_interrupted_writing_is_not_trusted(tmp_path):
    model, systems = load("se_e2_a_mol")
    shutil.copytree(STATS / "stat_file", tmp_path / "kept")
    save(tmp_path / "kept" / "C H O" / "bias_atom_energy", np.array([[1.0], [2.0], [3.0]]))
    (tmp_path / "kept" / "C H O" / MARKER).touch()
    file = StatFile(tmp_path / "kept", model.type_map)
    assert file.interrupted
    with pytest.raises(ConfigError, match="lacks bias_atom_energy"):
        compute_statistics(model, none_of(systems), stat_file=file, mode="read")
    new, _ = compute_statistics(model, sample_frames(systems, 5, 10), stat_file=file)
    same(new, compute_statistics(model, sample_frames(systems, 5, 10))[0])
    assert not file.interrupted


@pytest.mark.parametrize("path", ["kept", "kept.h5"])
def test_reading_only_never_writes(tmp_path, path):
    model, systems = load("se_e2_a_mol")
    with pytest.raises(ConfigError, match='stat_file_mode is "read"'):
        compute_statistics(
            model, sample_frames(systems, 5, 10), stat_file=StatFile(tmp_path / path, model.type_map), mode="read"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n1234", b"\x93NUMPY\x01\x00v\x00{'descr': 'O'"])
def test_damaged_files(tmp_path, content):
    model, systems = load("se_e2_a_mol")
    (tmp_path / "kept.h5").write_bytes(content)
    group = tmp_path / "kept" / "C H O"
    group.mkdir(parents=True)
    (group / "bias_atom_energy").write_bytes(content)
    for name in ("kept", "kept.h5"):
        with pytest.raises(DataError, match="Delete it"):
            compute_statistics(model, none_of(systems), stat_file=StatFile(tmp_path / name, model.type_map))


def test_file_of_another_model(tmp_path):
    model, systems = load("se_e2_a_mol")
    group = tmp_path / "kept" / "C H O"
    group.mkdir(parents=True)
    save(group / "bias_atom_energy", np.zeros((3, 2)))
    with pytest.raises(DataError, match=r"expected numbers of the shape \[3, 1\]"):
        compute_statistics(model, none_of(systems), stat_file=StatFile(tmp_path / "kept", model.type_map))


def test_place_that_cannot_be_written(tmp_path):
    model, systems = load("se_e2_a_mol")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="cannot be written"):
        compute_statistics(
            model, sample_frames(systems, 1, 1), stat_file=StatFile(tmp_path / "file" / "kept", model.type_map)
        )


def test_no_data_is_an_error():
    model, systems = load("se_e2_a_mol")
    with pytest.raises(DataError, match="no frame to take statistics of"):
        compute_statistics(model, none_of(systems))


def test_types_observed_given_by_the_user_stay():
    model, systems = load("se_e2_a_mol")
    model = replace(model, script={"info": {"observed_type": ["O"], "note": "x"}})
    new, _ = compute_statistics(model, sample_frames(systems, 5, 10))
    assert new.script["info"] == {"observed_type": ["O"], "note": "x"}
