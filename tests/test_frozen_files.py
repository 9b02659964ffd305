"""What holds for the frozen files of every backend. What is special to a framework is in its package."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dp_core import DeepPot, frozen
from dp_core.backend import FRAMEWORKS, SUFFIXES, backend_of, get_backend, installed
from dp_core.errors import BackendError, DataError, DpError, FormatError
from dp_core.format import seal
from dp_core.format.protobuf_field import field, sealed
from dp_core.model_file import FIELDS, MEMBER, RECORD, document_bytes, load_model, members, read_model_document
from dp_core.models.standard import StandardModel
from dp_core.module import leaves, replace

GOLDEN = Path(__file__).parent / "golden"

#: Files with a graph; .pt2, which takes a minute to compile, is in the tests of dp-torch.
GRAPHS = [s for name in installed() if name != "numpy" for s in SUFFIXES[name] if s != ".pt2"]
DOCUMENTS = [".dp", ".yaml"]
FIRST = [SUFFIXES[name][0] for name in installed() if name != "numpy"]
SIZES = [
    ([20, 10, 4, 3], [7, 3, 5, 2], 3),
    ([5, 9, 2, 0], [0, 4, 1, 2], 1),  # no neighbours of one type
    ([0, 9, 3, 1], [6, 4, 0, 2], 2),  # no atoms of one type
    ([1, 1, 1, 1], [1, 1, 1, 1], 4),  # sizes that frameworks treat apart
    ([1, 0, 0, 0], [0, 0, 0, 0], 1),  # one isolated atom
    ([0, 0, 0, 0], [3, 4, 1, 1], 1),  # nothing
]


def freeze(model, path):
    """Write a frozen file; warnings of the framework are errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_backend(backend_of(path)).freeze(model, document_bytes(model), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """``files(suffix)``: a stored model of one block, frozen; written twice, the second replaces the first."""
    folder, model = tmp_path_factory.mktemp("frozen"), load_model(GOLDEN / "se_e2_a_oneside.dp")

    def write(suffix):
        path = folder / f"model{suffix}"
        if not path.exists():
            for _ in range(2 if suffix in (*FIRST, ".savedmodeltf") else 1):
                freeze(model, path)
            assert not list(folder.glob(".*"))
        return path

    return write


CASES = [(suffix, name) for suffix in GRAPHS for name in ("se_e2_a_twoside", "ener_fparam_aparam")]
CASES += [(suffix, name) for suffix in FIRST for name in ("atom_exclude", "mixed_float32_float64")]


@pytest.mark.parametrize(("suffix", "name"), CASES)
def test_all_sizes(stored, make_table, tmp_path, suffix, name):
    model, path = stored(name), tmp_path / f"model{suffix}"
    blocks, tolerance = model.neighbor_spec.blocks, 1e-5 if "float32" in name else 1e-12
    evaluate = get_backend(backend_of(path)).load(freeze(model, path))
    reference = get_backend("numpy").evaluator(model)
    for rows, slots, frames in SIZES:
        table = make_table(model, rows[:blocks], slots[:blocks], frames=frames)
        found, expected = evaluate(table), reference(table)
        assert list(found) == list(expected)
        for key, value in found.items():
            assert value.shape == expected[key].shape
            assert value.dtype == np.float64
            scale = np.abs(expected[key]).max(initial=0.0)
            np.testing.assert_allclose(value, expected[key], rtol=0, atol=tolerance * scale, err_msg=f"{key} {rows}")


@pytest.mark.parametrize("suffix", FIRST)
@pytest.mark.parametrize(("name", "written"), [("se_e2_a_oneside", False), ("float32", True)])
def test_the_graph_is_checked_by_its_precision(stored, tmp_path, monkeypatch, suffix, name, written):
    """A change of 1e-7 is rounding in single precision only."""
    plain = frozen.graph

    def other(model, gradient):
        def evaluate(*inputs):
            energy, *rest = plain(model, gradient)(*inputs)
            return energy * (1.0 + 1e-7), *rest

        return evaluate

    monkeypatch.setattr(frozen, "graph", other)
    path = tmp_path / f"model{suffix}"
    if written:
        freeze(stored(name), path)
        assert path.exists()
    else:
        with pytest.raises(BackendError, match="gives another 'energy'"):
            freeze(stored(name), path)
        assert not list(tmp_path.iterdir())


def test_the_lowest_precision_counts(stored):
    """Also where nothing is trained."""
    assert frozen.precision(stored("se_e2_a_oneside")) == "float64"
    for name in ("float32", "mixed_float32_float64"):
        model = stored(name)
        assert frozen.precision(model) == frozen.capabilities(model)["precision"] == "float32"
        document = json.loads(json.dumps(model.serialize()["descriptor"], default=lambda x: np.asarray(x).tolist()))
        assert document["precision"] == "float32"
    model = stored("se_e2_a_oneside")
    low = replace(model, descriptor=replace(model.descriptor, precision="float32"))
    assert frozen.precision(low) == "float32"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e-8])
def test_what_agrees(wrong):
    values = np.array([3.0, -0.5])
    with pytest.raises(BackendError, match="'energy'"):
        frozen.check_agrees({"energy": values + wrong}, {"energy": values}, "float64")
    frozen.check_agrees({"energy": values + 1e-10}, {"energy": values}, "float64")
    frozen.check_agrees({"energy": values + 1e-5}, {"energy": values}, "float32")
    with pytest.raises(BackendError, match="'energy'"):
        frozen.check_agrees({"energy": values[:1]}, {"energy": values}, "float32")


@pytest.mark.parametrize("suffix", FIRST)
def test_parameters_default_and_missing(stored, make_table, tmp_path, suffix):
    model, path = stored("ener_default_fparam"), tmp_path / f"default{suffix}"
    backend, numpy = get_backend(backend_of(path)), get_backend("numpy")
    evaluate, reference = backend.load(freeze(model, path)), numpy.evaluator(model)
    for frames in (1, 9):
        table = make_table(model, [5, 4], [3, 4], frames=frames)
        for given in (table, replace(table, fparam=None)):
            np.testing.assert_allclose(evaluate(given)["energy"], reference(given)["energy"], rtol=1e-12)
    model = stored("ener_fparam_aparam")
    evaluate = backend.load(freeze(model, tmp_path / f"needed{suffix}"))
    for key in ("fparam", "aparam"):
        with pytest.raises(DataError, match=key):
            evaluate(replace(make_table(model, [5, 4], [3, 4]), **{key: None}))


@pytest.mark.parametrize("suffix", FIRST)
def test_parameters_that_only_mark_atoms(model, make_table, tmp_path, suffix):
    """They enter no graph, so that they need not be given."""
    marked = replace(model, fitting=replace(model.fitting, numb_aparam=1, use_aparam_as_mask=True))
    path, table = tmp_path / f"model{suffix}", make_table(model, [5, 4], [3, 4])
    found = get_backend(backend_of(path)).load(freeze(marked, path))(table)["energy"]
    np.testing.assert_allclose(found, get_backend("numpy").evaluator(model)(table)["energy"], rtol=1e-12)


@pytest.mark.parametrize("suffix", FIRST)
@pytest.mark.parametrize("sel", [[1, 2], [3, 3]])
def test_few_neighbours_with_statistics_by_slot(model, tmp_path, suffix, sel):
    """Every slot is evaluated, sizes near those that a framework treats apart (freezing checks the graph itself)."""
    document = model.serialize()
    variables = document["descriptor"]["@variables"]
    document["descriptor"]["sel"] = sel
    for key in ("davg", "dstd"):
        variables[key] = variables[key][:, : sum(sel)].copy()
    variables["davg"][:, 0] += 0.1
    changed = StandardModel.deserialize(document)
    assert changed.descriptor.by_slot
    assert freeze(changed, tmp_path / f"model{suffix}").exists()


def test_the_record(stored):
    record = frozen.capabilities(stored("ener_default_fparam"))
    assert record["type_map"] == ["O", "H"]
    assert (record["rcut"], record["sel"], record["by_type"], record["blocks"]) == (4.5, [36, 36], True, 2)
    assert record["inputs"][-5:] == ["aparam", "rows_0", "rows_1", "slots_0", "slots_1"]
    outputs = [("energy", "eV"), ("mask", "1"), ("gradient", "eV/Å")]
    assert [(o["name"], o["unit"]) for o in record["outputs"]] == outputs
    assert len(record["default_fparam"]) == record["numb_fparam"]
    assert record["message_passing"] is False


@pytest.mark.parametrize("suffix", GRAPHS)
def test_document_and_record_are_inside(model, files, suffix):
    """They are read, and the document written again, without any framework."""
    path = files(suffix)
    found = members(path, MEMBER, RECORD)
    assert json.loads(found[RECORD]) == json.loads(json.dumps(frozen.capabilities(model)))
    again = leaves(load_model(path))
    for key, value in leaves(model).items():
        np.testing.assert_array_equal(again[key], value)
    code = f"import sys, dp_core.model_file as m; m.load_model({str(path)!r}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "jax", "tensorflow", *FRAMEWORKS.values()} & set(loaded) - {"dp_core"}


def changed(path, folder, name, content):
    """A copy of a frozen file in which a member has another content; None leaves it out."""
    made = folder / path.name
    if path.is_dir():
        shutil.copytree(path, made, dirs_exist_ok=True)
        (made / name).unlink()
        if content is not None:
            (made / name).write_bytes(content)
        seal(made)
    elif path.suffix == ".pb":
        if content is None:
            pytest.skip("dp-tf tests graphs of other programs")
        made.write_bytes(sealed(path.read_bytes() + field(FIELDS[name], content)))  # the last one counts
    else:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(made, "w") as target:
            for item in source.infolist():
                new = content if item.filename.rsplit("/", 1)[-1] == name else source.read(item)
                if new is not None:
                    target.writestr(item, new)
    return made


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"version": 99}', "version 99 .* reads up to 3"),
        (b"[]", "record is unreadable"),
        (b'{"version": 1}', "record is unreadable"),
        (b'{"vers', "record is unreadable"),
        (None, "was not written by dp"),
    ],
)
@pytest.mark.parametrize("suffix", GRAPHS)
def test_records_of_others(files, tmp_path, suffix, content, message):
    wrong = changed(files(suffix), tmp_path, RECORD, content)
    with pytest.raises(FormatError, match=message):
        get_backend(backend_of(wrong)).load(wrong)


def places(size):
    """Where a file of that size is cut: at the ends, near them, and between."""
    return sorted({0, 1, size // 10, size // 3, size // 2, size * 9 // 10, size - 100, size - 1} & set(range(size)))


def is_refused(path):
    """One screen that names the file, whatever opens it."""
    for read in (read_model_document, DeepPot, get_backend(backend_of(path)).load):
        with pytest.raises(DpError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("suffix", [*GRAPHS, ".dp"])
def test_cut_files_are_refused(files, tmp_path, suffix):
    """Each file of a folder, too, those that dp itself does not read included."""
    path = files(suffix)
    copy = tmp_path / path.name
    for part in [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
        content, target = part.read_bytes(), copy / part.relative_to(path)
        for size in places(len(content)):
            target.write_bytes(content[:size])
            is_refused(copy)
        if path.is_dir():
            target.unlink()
            is_refused(copy)
            shutil.rmtree(copy)
    absent = tmp_path / f"absent{suffix}"
    with pytest.raises(FormatError, match="absent"):
        get_backend(backend_of(absent)).load(absent)


def test_cut_text_is_refused_or_right(files, golden, tmp_path):
    """Text may end before what only tells of the training."""
    case, path, copy = golden("se_e2_a_oneside"), files(".yaml"), tmp_path / "model.yaml"
    content = path.read_bytes()
    for size in places(len(content)):
        copy.write_bytes(content[:size])
        try:
            energy = DeepPot(copy).eval(*case.inputs)[0]
        except DpError:
            is_refused(copy)
            continue
        np.testing.assert_allclose(energy, case.data["energy"], rtol=1e-9)


def spots(path):
    """Names of files (of the copy of a frozen one) and places in them where a byte is changed."""
    if path.is_dir():
        return [("saved_model.pb", (path / "saved_model.pb").stat().st_size // 2)]
    if path.suffix == ".pb":
        return [("", int(place)) for place in np.linspace(0, path.stat().st_size - 1, 20)]
    with zipfile.ZipFile(path) as archive:  # one byte of every member, weights among them
        inside = [item for item in archive.infolist() if item.compress_size]
        assert path.suffix != ".pth" or any("/data/" in item.filename for item in inside)
        found, content = [("", archive.start_dir + 46)], path.read_bytes()  # a name in the directory
        for item in inside:
            name, extra = np.frombuffer(content, "<u2", 2, item.header_offset + 26)
            found.append(("", item.header_offset + 30 + int(name) + int(extra) + item.compress_size // 2))
        return found


@pytest.mark.parametrize("suffix", GRAPHS)
def test_damaged_bytes_are_refused(files, tmp_path, suffix):
    """A byte of the graph, a weight, or anything else, whatever the framework notices itself."""
    path = files(suffix)
    copy = tmp_path / path.name
    (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
    for name, place in spots(path):
        target = copy / name
        whole = target.read_bytes()
        target.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with pytest.raises(FormatError, match=r"damaged|was not written by dp"):
            get_backend(backend_of(copy)).load(copy)
        target.write_bytes(whole)
    get_backend(backend_of(copy)).load(copy)


@pytest.mark.parametrize("suffix", [suffix for suffix in GRAPHS if suffix.startswith(".savedmodel")])
def test_the_seal_names_every_file(files, tmp_path, suffix):
    copy = tmp_path / f"model{suffix}"
    shutil.copytree(files(suffix), copy)
    (copy / "assets").mkdir(exist_ok=True)
    (copy / "assets" / "more.txt").touch()
    with pytest.raises(FormatError, match=r"checksums\.json does not name assets/more\.txt"):
        load_model(copy)
    (copy / "checksums.json").write_text("{}")
    with pytest.raises(FormatError, match=r"checksums\.json does not name"):
        load_model(copy)
    (copy / "checksums.json").unlink()
    with pytest.raises(FormatError, match=r"checksums\.json is missing"):
        load_model(copy)
