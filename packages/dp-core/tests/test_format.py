"""Model documents: what is written is read back bit for bit, in the layout of the format."""

import copy
import errno
import io
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from dp_core import format as fmt
from dp_core.errors import FormatError

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
STAMP = {"software": "someone", "version": "1", "time": "2026-01-31 12:41:13.198353+00:00"}


def same(a, b):
    """Equal documents: same keys in the same order, same types, arrays equal in dtype, shape and bits."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def sort_keys(node):
    if isinstance(node, dict):
        return {key: sort_keys(node[key]) for key in sorted(node)}
    return [sort_keys(item) for item in node] if isinstance(node, list) else node


def example():
    rng = np.random.default_rng(1)
    arrays = {
        name: (rng.normal(size=(3, 2)) * 50).astype(name)
        for name in ["int8", "int16", "int32", "int64", "float16", "float32", "float64"]
    }
    arrays |= {name: np.arange(4, dtype=name) for name in ["uint8", "uint16", "uint32", "uint64"]}
    arrays["uint64"][0] = 2**64 - 1
    arrays["bool"] = np.array([[True], [False]])
    arrays["special"] = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e-7, 1e16])
    arrays["zero_d"] = np.array(0.25, dtype=np.float32)
    arrays["empty"] = np.zeros(0)
    arrays["rows_of_nothing"] = np.zeros((2, 0), dtype=np.float32)
    return {
        **STAMP,
        "plain": {
            "none": None,
            "yes": True,
            "int": -3,
            "float": 1e-7,
            "text": "1e-5",
            "Ångström": "ü",
            "list": [[], [1, "a"]],
        },
        "texts": [
            "",
            "null",
            "true",
            "No",
            "1",
            "1.5",
            ".inf",
            "2001-01-01",
            "<<",
            "=",
            "0x10",
            "1:30",
            "a: b",
            "x\ny",
            "\t",
        ],
        "numbers": [0, -0.0, 1e300, 1.5e-300, 2**63, 1e16, float("inf")],
        "@variables": {
            **arrays,
            "none": None,
            "list": [np.ones(2), None, [np.zeros((1, 3))], {"deep": np.arange(3)}],
        },
    }


@pytest.mark.parametrize("suffix", fmt.SUFFIXES)
def test_round_trip_is_bit_exact(tmp_path, suffix):
    document = example()
    path = tmp_path / f"model{suffix}"
    fmt.write_document(document, path)
    expected = sort_keys(document) if suffix in (".yaml", ".yml") else document
    assert same(fmt.read_document(path), expected)


def test_bytes_round_trip():
    assert same(fmt.load_bytes(fmt.dump_bytes(example())), example())


@pytest.mark.parametrize("suffix", [".dp", ".yaml"])
def test_numbers_below_variables_become_arrays(tmp_path, suffix):
    document = {**STAMP, "@variables": {"f": 1.5, "i": 3, "b": True, "g": np.float32(2), "l": [1.0, None, 2]}}
    fmt.write_document(document, tmp_path / f"m{suffix}")
    variables = fmt.read_document(tmp_path / f"m{suffix}")["@variables"]
    expected = {"f": np.array(1.5), "i": np.array(3), "b": np.array(True), "g": np.array(2, dtype=np.float32)}
    expected["l"] = [np.array(1.0), None, np.array(2)]
    assert same(variables, sort_keys(expected) if suffix == ".yaml" else expected)


def test_layout_of_hdf5():
    document = {
        **STAMP,
        "a": [],
        "@variables": {"w": np.ones((2, 3)), "b": None},
        "l": [{"@variables": {"x": 3, "y": [2.0]}}],
    }
    data = fmt.dump_bytes(document)
    with h5py.File(io.BytesIO(data)) as file:
        assert list(file.attrs) == ["json"]
        assert h5py.check_string_dtype(file.attrs.get_id("json").dtype).encoding == "utf-8"
        text = file.attrs["json"]
        names = sorted(file)
        assert names == ["variable_0000", "variable_0001", "variable_0002"]
        assert [file[name].dtype for name in names] == [np.float64, np.int64, np.float64]
        assert [file[name].shape for name in names] == [(2, 3), (), ()]
        assert all(file[name].chunks is None and not file[name].attrs for name in names)
    assert text == json.dumps(
        {
            **STAMP,
            "a": [],
            "@variables": {"w": "/variable_0000", "b": None},
            "l": [{"@variables": {"x": "/variable_0001", "y": ["/variable_0002"]}}],
        },
        separators=(",", ":"),
    )


def test_more_than_9999_arrays():
    document = {**STAMP, "@variables": {"l": [np.array(i) for i in range(10_050)]}}
    data = fmt.dump_bytes(document)
    assert b"/variable_0007" in data
    assert b"/variable_10049" in data
    assert same(fmt.load_bytes(data), document)


def test_long_text():
    document = {**STAMP, "text": "ü" * 200_000, "@variables": {}}
    assert same(fmt.load_bytes(fmt.dump_bytes(document)), document)


@pytest.mark.parametrize("name", ["se_e2_a_oneside.dp", "float32.dp", "se_e2_a_oneside.yaml"])
def test_golden_files_round_trip(tmp_path, name):
    document = fmt.read_document(GOLDEN / name)
    for suffix in (".dp", ".yaml"):
        fmt.write_document(document, tmp_path / f"m{suffix}")
        assert same(sort_keys(fmt.read_document(tmp_path / f"m{suffix}")), sort_keys(document))


def test_golden_hdf5_is_what_hdf5_reads():
    """Our reader against libhdf5 on a file of the peer."""
    document = fmt.read_document(GOLDEN / "float32.dp")
    with h5py.File(GOLDEN / "float32.dp") as file:
        count = 0

        def check(node, ours):
            nonlocal count
            if isinstance(node, dict):
                assert list(node) == list(ours)
                for key in node:
                    check(node[key], ours[key])
            elif isinstance(node, list):
                for item, our in zip(node, ours, strict=True):
                    check(item, our)
            elif isinstance(ours, np.ndarray):
                count += 1
                assert same(np.asarray(file[node][()]), ours)
            else:
                assert node == ours

        check(json.loads(file.attrs["json"]), document)
        assert count == len(file) > 0


def test_golden_yaml_is_written_letter_for_letter(tmp_path):
    fmt.write_document(fmt.read_document(GOLDEN / "se_e2_a_oneside.yaml"), tmp_path / "m.yaml")
    assert (tmp_path / "m.yaml").read_text() == (GOLDEN / "se_e2_a_oneside.yaml").read_text()


def test_golden_yaml_and_hdf5_hold_the_same_model():
    yaml, hdf5 = (fmt.read_document(GOLDEN / f"se_e2_a_oneside.{suffix}") for suffix in ("yaml", "dp"))
    assert same(sort_keys(yaml["model"]), sort_keys(hdf5["model"]))


def test_document_is_not_modified_and_arrays_are_own(tmp_path):
    document = example()
    frozen = document["@variables"]["float64"]
    frozen.flags.writeable = False
    before = copy.deepcopy(document)
    del document["software"], before["software"]
    for suffix in (".dp", ".yaml"):
        fmt.write_document(document, tmp_path / f"m{suffix}")
        assert same(document, before)
        read = fmt.read_document(tmp_path / f"m{suffix}")["@variables"]["float64"]
        assert read.flags.writeable
        assert read.flags.owndata
        assert read.flags.aligned


def test_stamp_is_added_first_and_never_replaced(tmp_path):
    fmt.write_document({"model": {}}, tmp_path / "m.dp")
    document = fmt.read_document(tmp_path / "m.dp")
    assert list(document) == ["software", "version", "time", "model"]
    assert document["software"] == "dp"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00:00", document["time"])
    fmt.write_document({**document, **STAMP}, tmp_path / "m.dp")
    assert fmt.read_document(tmp_path / "m.dp") == {**STAMP, "model": {}}


def test_other_byte_order_and_strides():
    array = np.arange(12.0).reshape(3, 4)
    document = {
        **STAMP,
        "@variables": {"big": array.astype(">f8"), "t": array.T, "step": array[::2, ::-1], "n": np.int16(3)},
    }
    read = fmt.load_bytes(fmt.dump_bytes(document))["@variables"]
    assert same(read["big"], array)
    assert same(read["t"], array.T.copy())
    assert same(read["step"], array[::2, ::-1].copy())
    assert same(read["n"], np.array(3, dtype=np.int16))


def test_big_endian_file():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["x"] = np.array([1.5, -2], dtype=">f4")
        file["y"] = np.array([1, -2], dtype=">i2")
        file.attrs["json"] = '{"@variables":{"x":"/x","y":"/y"}}'
    read = fmt.load_bytes(buffer.getvalue())["@variables"]
    assert same(read, {"x": np.array([1.5, -2], dtype=np.float32), "y": np.array([1, -2], dtype=np.int16)})


def test_other_storage_of_small_arrays():
    """Compact storage, and bfloat16 as a floating-point type of HDF5."""
    values = np.array([1.0, -2.5, 2.0**-130], dtype=np.float32)
    bfloat16 = h5py.h5t.IEEE_F32LE.copy()
    bfloat16.set_fields(15, 7, 8, 0, 7)
    bfloat16.set_size(2)
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"f", h5py.h5t.IEEE_F32LE, space, compact)
        h5py.h5d.create(file.id, b"b", bfloat16, space)
        for name in "fb":
            file[name].id.write(space, space, values)
        file.attrs["json"] = '{"@variables":{"f":"/f","b":"/b"}}'
    assert same(fmt.load_bytes(buffer.getvalue()), {"@variables": {"f": values, "b": values}})


def test_bfloat16_opaque_values_become_float32(tmp_path):
    """Two opaque bytes are a bfloat16 where the enclosing precision says so, and only there."""
    values = np.array([[1.0, -2.5], [np.inf, 2.0**-130]], dtype=np.float32)
    raw = (values.view(np.uint32) >> 16).astype("<u2").view("V2")
    layer = {"precision": "bfloat16", "@variables": {"w": "/w"}, "deep": [{"@variables": {"s": "/s"}}]}
    with h5py.File(tmp_path / "m.dp", "w") as file:
        file["w"] = raw
        file["s"] = raw[0, 1]
        file.attrs["json"] = json.dumps({"model": layer})
    read = fmt.read_document(tmp_path / "m.dp")["model"]
    assert same(read["@variables"]["w"], values)
    assert same(read["deep"][0]["@variables"]["s"], np.array(-2.5, dtype=np.float32))
    with h5py.File(tmp_path / "m.dp", "a") as file:
        file.attrs["json"] = json.dumps({"model": {**layer, "precision": "float32"}})
    with pytest.raises(FormatError, match="opaque"):
        fmt.read_document(tmp_path / "m.dp")


def test_bfloat16_in_yaml_becomes_float32(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(
        "'@variables': {w: {'@is_variable': true, dtype: bfloat16, value: [1.5, -0.0078125]}}\nversion: 1\n"
    )
    assert same(fmt.read_document(path)["@variables"]["w"], np.array([1.5, -0.0078125], dtype=np.float32))


def test_raw_bytes_of_hlo(tmp_path):
    blob = b"\0StableHLO\0\xff\0"
    document = {**STAMP, "@variables": {"stablehlo": blob}, "constants": {"rcut": 6.0}}
    fmt.write_document(document, tmp_path / "m.hlo")
    read = fmt.read_document(tmp_path / "m.hlo")["@variables"]["stablehlo"]
    assert read.dtype == np.dtype(f"V{len(blob)}")
    assert read.tobytes() == blob
    with pytest.raises(FormatError, match=r"m\.yaml cannot be written: @variables/stablehlo holds raw bytes"):
        fmt.write_document(document, tmp_path / "m.yaml")


def test_yaml_refuses_shapes_it_would_lose(tmp_path):
    with pytest.raises(FormatError, match=r"@variables/x has the shape \(0, 3\)"):
        fmt.write_document({"@variables": {"x": np.zeros((0, 3))}}, tmp_path / "m.yaml")


@pytest.mark.parametrize("suffix", [".dp", ".yaml"])
@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"a": {"b": np.ones(2)}}, "a/b is an array; arrays may stand only below"),
        ({"a": [object()]}, "a/0 is a object; only plain data"),
        ({"@variables": {"x": np.array(["a"])}}, "@variables/x has the dtype <U1"),
        ({"@variables": {"x": np.array([None])}}, "@variables/x has the dtype object"),
        ({"@variables": {"x": np.ones(2, complex)}}, "@variables/x has the dtype complex128"),
        ({"@variables": {"x": "text"}}, "@variables/x is a builtins.str; only numpy arrays"),
        ({"@variables": {"x": 2**70}}, "@variables/x has the dtype object"),
        ({"a": {1: 2}}, "the key 1 in a is not a text"),
    ],
)
def test_refuses_what_the_format_cannot_hold(tmp_path, suffix, document, message):
    with pytest.raises(FormatError, match=message) as caught:
        fmt.write_document(document, tmp_path / f"m{suffix}")
    assert str(tmp_path / f"m{suffix}") in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_document_that_contains_itself(tmp_path):
    document = {"a": {}}
    document["a"]["b"] = document
    with pytest.raises(FormatError, match="nested deeper than 64"):
        fmt.write_document(document, tmp_path / "m.dp")


# --- files ---------------------------------------------------------------------------------------------------------


def test_reading_does_not_import_hdf5():
    """Bytes from unknown sources must not reach libhdf5."""
    code = "import sys; from dp_core.format import read_document as r; r(sys.argv[1]); print('h5py' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code, GOLDEN / "float32.dp"], capture_output=True, text=True, check=True
    )
    assert run.stdout == "False\n"


def test_absent_file_names_its_neighbours(tmp_path):
    (tmp_path / "model.dp").touch()
    with pytest.raises(FormatError, match=r"mdoel\.dp does not exist; in this folder are: model\.dp"):
        fmt.read_document(tmp_path / "mdoel.dp")
    with pytest.raises(FormatError, match=r"does not exist \(there is no folder .*nowhere\)"):
        fmt.read_document(tmp_path / "nowhere" / "m.dp")


def test_not_a_file(tmp_path):
    (tmp_path / "d.dp").mkdir()
    (tmp_path / "empty.dp").touch()
    os.mkfifo(tmp_path / "pipe.dp")
    for name, message in [("d.dp", "is a folder"), ("empty.dp", "is empty"), ("pipe.dp", "is a device or a pipe")]:
        with pytest.raises(FormatError, match=message) as caught:
            fmt.read_document(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_unknown_suffix(tmp_path):
    with pytest.raises(FormatError, match=r"m\.yam has the suffix '\.yam'.*did you mean '\.yaml'\?"):
        fmt.read_document(tmp_path / "m.yam")
    with pytest.raises(FormatError, match=r"suffix '\.pth'.*Known: \.dp, \.hlo, \.yaml, \.yml"):
        fmt.write_document({}, tmp_path / "m.pth")
    fmt.write_document({}, tmp_path / "m.DP")
    assert fmt.read_document(tmp_path / "m.DP")["software"] == "dp"


def test_overwriting_is_all_or_nothing(tmp_path):
    """A write that runs into a limit in the middle leaves the old file and nothing else."""
    path = tmp_path / "m.dp"
    fmt.write_document({"v": 1}, path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(FormatError, match=r"m\.dp cannot be written: File too large\. Files of this size"):
            fmt.write_document({"@variables": {"x": np.ones(10_000)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.dp"]


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [("fsync", "ENOSPC", "The disk is full; free some space"), ("open", "EACCES", "You may not write in this folder")],
)
def test_system_errors_name_the_repair(tmp_path, monkeypatch, call, code, message):
    def fail(*_):
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(FormatError, match=message):
        fmt.write_bytes(tmp_path / "m.dp", b"x")
    assert not os.listdir(tmp_path)


def test_bad_targets(tmp_path):
    (tmp_path / "d.dp").mkdir()
    (tmp_path / "file").touch()
    for name, message in [
        ("d.dp", "It is a folder"),
        ("no/m.dp", "The folder does not exist"),
        ("file/m.dp", "something that is not a folder"),
    ]:
        with pytest.raises(FormatError, match=message):
            fmt.write_document({}, tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["d.dp", "file"]


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fmt.write_bytes(tmp_path / "m.dp", b"x")
    assert not os.listdir(tmp_path)


@pytest.fixture
def two_folders(tmp_path):
    """A folder ``model.dir`` with the file ``mark`` and how another one is put in its place."""
    path = tmp_path / "model.dir"
    path.mkdir()
    (path / "mark").write_text("old")

    def put(**options):
        with fmt.replaced(path, **options) as made:
            made.mkdir()
            (made / "mark").write_text("new")

    return path, put


def test_a_folder_takes_the_place_of_its_kind_only(two_folders, tmp_path):
    path, put = two_folders
    (path / "thesis.txt").touch()
    for options in ({}, {"replaceable": "other"}):
        with pytest.raises(FormatError, match=r"model\.dir cannot be written: Is a directory\. It is a folder; give"):
            put(**options)
    with pytest.raises(FormatError, match="It is a folder"), fmt.replaced(path, replaceable="mark") as made:
        made.write_text("a file")
    assert os.listdir(tmp_path) == ["model.dir"]
    assert sorted(os.listdir(path)) == ["mark", "thesis.txt"]
    put(replaceable="mark")
    assert os.listdir(tmp_path) == ["model.dir"]
    assert os.listdir(path) == ["mark"]
    assert (path / "mark").read_text() == "new"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("when", [0, 1, 2, 3])
def test_a_folder_is_never_lost(two_folders, tmp_path, monkeypatch, kind, when):
    """Interrupted before or after each of the two renames."""
    path, put = two_folders
    calls, plain = [], os.replace

    def replace(source, target):
        calls.append(target)
        if len(calls) == when // 2 + 1:
            if when % 2:
                plain(source, target)
            raise kind
        plain(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(kind):
        put(replaceable="mark")
    assert (path / "mark").read_text() == ("new" if when == 3 else "old")
    assert os.listdir(tmp_path) == ["model.dir"]


def test_what_is_replaced_is_synced(two_folders, monkeypatch):
    path, put = two_folders
    synced, plain = set(), os.fsync

    def fsync(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    put(replaceable="mark")
    assert {file.stat().st_ino for file in (path, path / "mark", path.parent)} <= synced


def test_links_are_followed_and_the_umask_is_kept(tmp_path):
    (tmp_path / "real.dp").write_bytes(b"old")
    (tmp_path / "link.dp").symlink_to("real.dp")
    fmt.write_bytes(tmp_path / "link.dp", b"new")
    assert (tmp_path / "real.dp").read_bytes() == b"new"
    assert (tmp_path / "link.dp").is_symlink()
    (tmp_path / "plain").touch()
    assert (tmp_path / "real.dp").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- versions, min_nbor_dist, tree ----------------------------------------------------------------------------------


def test_check_version():
    layer = {"@class": "Layer", "@version": 2}
    assert fmt.check_version(layer, "Layer")["@version"] == 2
    assert layer == {"@class": "Layer", "@version": 2}
    assert fmt.check_version({}, "Layer") == {}
    descriptor = {"@class": "Descriptor", "type": "se_e2_a", "@version": 7}
    with pytest.raises(
        FormatError, match=r"Descriptor se_e2_a in the model has the version 7; this dp reads 1 to 3.*upgrade dp-core"
    ):
        fmt.check_version(descriptor, "Descriptor", (1, 3))
    with pytest.raises(FormatError, match="has the version 1; this dp reads 2 to 2"):
        fmt.check_version({"@class": "Model", "type": "standard"}, "Model", (2, 2))
    with pytest.raises(FormatError, match="has a Descriptor se_e2_a where a Fitting is expected"):
        fmt.check_version(descriptor, "Fitting")
    with pytest.raises(FormatError, match="has a list where a Layer"):
        fmt.check_version([], "Layer")


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "2", None, [1]])
def test_nonsense_versions(version):
    with pytest.raises(FormatError, match="@version"):
        fmt.check_version({"@class": "Layer", "@version": version}, "Layer")


def test_upgrades_of_old_objects():
    old = {"@class": "Layer", "bias": True}
    assert fmt.upgrade(old) == {"@class": "Layer", "bias": True, "trainable": True, "@version": 2}
    assert old == {"@class": "Layer", "bias": True}
    assert fmt.upgrade({"@class": "EmbeddingNetwork", "@version": 1})["bias"] is True
    assert fmt.upgrade({"@class": "TypeEmbedNet", "@version": 1})["use_tebd_bias"] is True
    new = {"@class": "Layer", "@version": 2, "trainable": False}
    assert fmt.upgrade(new) == new
    assert fmt.upgrade(new) is not new


def test_upgrades_run_one_after_the_other(monkeypatch):
    from dp_core.format import versions

    monkeypatch.setattr(versions, "_UPGRADES", {})
    fmt.register_upgrade("Descriptor x", 1)(lambda data: {**data, "a": 1})
    fmt.register_upgrade("Descriptor x", 2)(lambda data: {**data, "b": data["a"] + 1})
    assert fmt.upgrade({"@class": "Descriptor", "type": "x"}) == {
        "@class": "Descriptor",
        "type": "x",
        "a": 1,
        "b": 2,
        "@version": 3,
    }
    with pytest.raises(ValueError, match="two upgrades"):
        fmt.register_upgrade("Descriptor x", 1)(dict)


@pytest.mark.parametrize(
    "document",
    [{"@variables": {"min_nbor_dist": np.array(0.9)}}, {"min_nbor_dist": 0.9}, {"constants": {"min_nbor_dist": 0.9}}],
)
def test_min_nbor_dist_is_found_in_three_places(document):
    assert fmt.find_min_nbor_dist(document) == 0.9
    assert fmt.find_min_nbor_dist({"@variables": {"min_nbor_dist": None}, "x": document}) is None


def test_min_nbor_dist_that_is_no_number():
    with pytest.raises(FormatError, match="min_nbor_dist is 'near'"):
        fmt.find_min_nbor_dist({"min_nbor_dist": "near"})


def test_tree():
    document = fmt.read_document(GOLDEN / "se_e2_a_oneside.dp")
    assert fmt.describe(document) == "\n".join(
        [
            "Model standard (size=3.1K)",
            "├──descriptor -> Descriptor se_e2_a (size=1.5K)",
            "│  ├──embeddings -> NetworkCollection (size=384)",
            "│  │  └──networks -> ListNode (size=384)",
            "│  │     └──0, 1 -> EmbeddingNetwork (size=192)",
            "│  │        └──layers -> ListNode (size=192)",
            "│  │           ├──0 -> Layer (size=8)",
            "│  │           ├──1 -> Layer (size=40)",
            "│  │           └──2 -> Layer (size=144)",
            "│  └──env_mat -> Node (size=0)",
            "└──fitting -> Fitting ener (size=1.6K)",
            "   └──nets -> NetworkCollection (size=1.6K)",
            "      └──networks -> ListNode (size=1.6K)",
            "         └──0, 1 -> FittingNetwork (size=781)",
            "            └──layers -> ListNode (size=781)",
            "               ├──0 -> Layer (size=650)",
            "               ├──1 -> Layer (size=120)",
            "               └──2 -> Layer (size=11)",
        ]
    )


def test_tree_of_lists():
    layer = {"@class": "Layer", "@variables": {"w": np.ones((100, 100)), "b": None, "l": [1.0, np.ones(2)]}}
    model = {"@class": "NN", "layers": [layer, None, layer, layer], "exclude_types": [[0, 1]], "sel": [1, 2]}
    assert fmt.describe(model).splitlines() == [
        "NN (size=30.0K)",
        "├──layers -> ListNode (size=30.0K)",
        "│  └──[0...3] -> Layer (size=10.0K)",
        "└──exclude_types -> ListNode (size=0)",
        "   └──0 -> ListNode (size=0)",
    ]
