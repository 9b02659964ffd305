"""Damaged and hostile model files: an error that names the file, never a crash, a hang, a link followed or code run."""

import contextlib
import io
import json
import random
import struct
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from dp_core import format as fmt
from dp_core.errors import FormatError
from dp_core.format import yaml_text

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"


@pytest.fixture
def small():
    """A small model file as bytes."""
    layer = {"@class": "Layer", "@version": 2, "@variables": {"w": np.ones((3, 4)), "b": None}}
    return fmt.dump_bytes({"time": "now", "version": "1", "model": {"layers": [layer] * 5}})


def make(text, **datasets):
    """HDF5 bytes with this text as ``json`` and these datasets."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, value in datasets.items():
            file[name] = value
        if text is not None:
            file.attrs["json"] = text
    return buffer.getvalue()


@contextlib.contextmanager
def memory_below(limit):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def refuse(data, match):
    with pytest.raises(FormatError, match=match):
        fmt.load_bytes(data)


# --- damage --------------------------------------------------------------------------------------------------------


def test_cut_file_says_so(tmp_path):
    data = (GOLDEN / "se_e2_a_oneside.dp").read_bytes()
    path = tmp_path / "half.dp"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(
        FormatError, match=f"it is cut off: {len(data)} bytes were written, {len(data) // 2} are left"
    ) as e:
        fmt.read_document(path)
    assert str(path) in str(e.value)


def test_cut_at_every_length(small):
    for length in [*range(200), *range(200, len(small), 37), len(small) - 1]:
        with pytest.raises(FormatError):
            fmt.load_bytes(small[:length])


def test_cut_yaml(tmp_path):
    text = (GOLDEN / "se_e2_a_oneside.yaml").read_bytes()
    path = tmp_path / "m.yaml"
    for length in range(5, len(text) - 20, 7919):
        path.write_bytes(text[:length])
        with pytest.raises(FormatError) as caught:
            fmt.read_document(path)
        assert str(path) in str(caught.value)


def test_every_byte_that_says_where_the_checksum_is(small):
    """The end of the file, at 40, and the first bytes of what follows it."""
    (end,) = struct.unpack_from("<Q", small, 40)
    assert small[end:].startswith(b"dp sha256 ")
    for at in [*range(40, 48), *range(end, end + 10)]:
        for bit in range(8):
            damaged = bytearray(small)
            damaged[at] ^= 1 << bit
            refuse(bytes(damaged), "it is damaged|it is cut off")
    refuse(small[:40] + struct.pack("<Q", len(small)) + small[48:], "is not their checksum")
    refuse(small + b"\0", "is not their checksum")
    refuse(small[:end] + b"\0" * 74, "is not their checksum")
    assert fmt.load_bytes(small[:end])  # as other programs write it


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_flipped(small, seed):
    """Any damage gives a document or a FormatError; every other exception fails the test."""
    rng = random.Random(seed)
    refused = 0
    for _ in range(150):
        data = bytearray(small)
        for _ in range(rng.choice((1, 2, 8))):
            at = rng.randrange(len(data))
            kind = rng.randrange(3)
            if kind == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                data[at] = rng.choice((0, 1, 127, 128, 255))
            else:
                address = rng.choice((0, 8, len(data), 2**63, 2**64 - 1, rng.randrange(len(data))))
                data[at : at + 8] = struct.pack("<Q", address)
        try:
            assert isinstance(fmt.load_bytes(bytes(data)), dict)
        except FormatError:
            refused += 1
    assert refused > 10


def test_random_bytes_of_yaml():
    array = b"{'@is_variable': true, dtype: float64, value: [[1.0], [2.0]]}"
    text = b"a: &x [1, 2.5, null]\nb: *x\n'@variables': {w: " + array + b"}\nversion: 1\n"
    assert yaml_text.decode(text)["b"] == [1, 2.5, None]
    rng = random.Random(5)
    refused = 0
    for _ in range(1000):
        data = bytearray(text)
        for _ in range(rng.choice((1, 2, 4))):
            data[rng.randrange(len(data))] = rng.choice(b"[]{}&*!|>'\"%@`,:?-# \n\t\0\xff01ae.")
        try:
            assert isinstance(yaml_text.decode(bytes(data)), dict)
        except FormatError:
            refused += 1
    assert refused > 100


def test_other_content_under_the_suffix(tmp_path):
    for name, content, message in [
        ("m.dp", b"model: 1\n", "it is not an HDF5 file"),
        ("m.dp", b"\x89HDF\r\n\x1a\n", "it is damaged"),
        ("m.yaml", b"\x89HDF\r\n\x1a\n\0\0", "it is not YAML"),
        ("m.yaml", b"just text\n", "it holds a str where a mapping"),
        ("m.yaml", b"\xff\xfe\xfd", "it is not YAML"),
        ("input.yaml", b"model: {}\ntraining: {}\n", "it lacks the key 'version'.*it is not a model file"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=message) as caught:
            fmt.read_document(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


# --- the text inside HDF5 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no attribute 'json'"),
        ("", "not JSON"),
        ('{"a":', "not JSON"),
        ("[1,2]", "JSON list where an object"),
        ("3", "JSON int"),
        ("[" * 100_000, "nested deeper than 64"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested deeper than 64"),
        ('{"a":' + "9" * 10_000 + "}", "not JSON"),
        ('{"@variables":{"w":"/absent"}}', "'/absent', which is not in the file"),
        ('{"@variables":{"w":"x"}}', "'x', which is not in the file"),
        ('{"@variables":{"w":"//x"}}', "'//x', which is not in the file"),
        ('{"@variables":{"w":"/../../etc/passwd"}}', "not in the file"),
        ('{"@variables":{"w":3.0}}', "@variables/w is 3.0 where the path"),
        ('{"@variables":[{"w":true}]}', "@variables/0/w is True"),
        ('{"@variables":{"w":"/group"}}', "it is not a dataset"),
    ],
)
def test_bad_text(text, message):
    refuse(make(text, x=1.0, **{"group/inner": 1.0}), message)


def test_attribute_of_another_kind():
    refuse(make(np.arange(3)), "'json' is not one variable-length string")
    refuse(make(np.bytes_(b"{}")), "'json' is not one variable-length string")
    refuse(make(["{}", "{}"]), "'json' is not one variable-length string")


def test_wide_json_is_bounded():
    """The text is counted before it is parsed."""
    data = make('{"a":[' + "[]," * 2_000_000 + "[]]}")
    with memory_below(4 * len(data)):
        refuse(data, "more than 4000000 items")


# --- datasets -------------------------------------------------------------------------------------------------------

TEXT = json.dumps({"@variables": {"w": "/w"}})


def build(action):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["json"] = TEXT
        action(file)
    return buffer.getvalue()


def external_storage(file):
    file.create_dataset("w", (4,), "f8", external=[("/etc/passwd", 0, 32)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("w", layout)


def named_type(file):
    file["t"] = np.dtype("f8")
    file.create_dataset("w", (4,), dtype=file["t"])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda f: f.__setitem__("w", h5py.SoftLink("/x")), "'/w': it is a symbolic link"),
        (lambda f: f.__setitem__("w", h5py.ExternalLink("/etc/passwd", "/x")), "file layout"),
        (external_storage, "'/w': it is kept in another file"),
        (virtual, "'/w': it is chunked or virtual"),
        (named_type, "'/w': it has a named datatype"),
        (lambda f: f.create_dataset("w", data=np.ones(100), chunks=(10,)), "'/w': it is chunked"),
        (lambda f: f.create_dataset("w", data=np.zeros(10**6), compression="gzip"), "'/w': it is compressed"),
        (lambda f: f.create_dataset("w", (10**12,), "f8"), "overlap|no data"),
        (lambda f: f.create_dataset("w", (4,), "f8"), "'/w': it has no data"),
        (lambda f: f.create_dataset("w", data=h5py.Empty("f8")), "'/w': it has no values"),
        (lambda f: f.create_dataset("w", data=["a", "b"]), "'/w': its datatype is not one of"),
        (lambda f: f.create_dataset("w", data=np.array([b"ab"])), "'/w': its datatype is not one of"),
        (lambda f: f.create_dataset("w", data=np.ones(2, complex)), "'/w': its datatype is not one of"),
        (lambda f: f.create_dataset("w", data=np.ones(2, np.longdouble)), "'/w': its datatype is not one of"),
        (lambda f: f.create_dataset("w", data=np.ones(2, [("a", "f8")])), "'/w': its datatype is not one of"),
        (lambda f: f.create_dataset("w", data=f.ref, dtype=h5py.ref_dtype), "'/w': its datatype is not one of"),
        (lambda f: f.create_dataset("w", data=1, dtype=h5py.enum_dtype({"A": 0, "B": 1}, "i1")), "its datatype is not"),
        (lambda f: f.create_dataset("w", data=np.array([b"abc"], "V3")), "array of opaque bytes"),
    ],
)
def test_only_plain_data_inside_the_file_are_read(action, message):
    refuse(build(action), message)


@pytest.mark.parametrize("libver", ["latest", ("v108", "latest")])
def test_newer_layout_is_named(libver):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=libver) as file:
        file.attrs["json"] = "{}"
    refuse(buffer.getvalue(), r"file layout \(superblock [23]\).*write it again")


def test_creation_order_is_named():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", track_order=True) as file:
        file.attrs["json"] = "{}"
    refuse(buffer.getvalue(), "file layout.*no creation order")


def test_user_block(tmp_path):
    with h5py.File(tmp_path / "m.dp", "w", userblock_size=512) as file:
        file.attrs["json"] = "{}"
    with pytest.raises(FormatError, match="not an HDF5 file"):
        fmt.read_document(tmp_path / "m.dp")


def test_one_array_read_many_times_is_bounded():
    """A small file cannot ask for much memory by naming its one big array again and again."""
    data = make(json.dumps({"@variables": {"w": ["/w"] * 1000}}), w=np.ones(100_000))
    with memory_below(4 * len(data)):
        refuse(data, "overlap")


def test_tree_that_contains_itself(small):
    """The first child of the root group's tree is made the tree itself."""
    data = bytearray(small)
    tree = data.index(b"TREE")
    data[tree + 32 : tree + 40] = struct.pack("<Q", tree)
    refuse(bytes(data), "run in a circle")


# --- YAML ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["libyaml", "python"])
def parser(request, monkeypatch):
    """Both parsers of PyYAML; the one written in C is absent from some builds."""
    loader = yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader
    monkeypatch.setattr(yaml_text, "_Loader", loader)


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: !!python/object/apply:os.system ['touch {mark}']",
            "tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("!!python/object/new:os.system ['touch {mark}']", "tag"),
        ("a: !!python/name:os.system ''", "tag"),
        ("a: !!binary aGVsbG8=", "tag"),
        ("a: !mine 3", "tag '!mine'"),
        ("a: &a [*a]", "alias .a stands for nothing"),
        ("a: *b", "not YAML|stands for nothing"),
        ("a: &a {b: 1}\nc: {<<: *a}", "'<<'"),
        ("a: 2001-01-01", "2001-01-01"),
        ("a: 1:30", "1:30"),
        ("a: 0x10", "0x10"),
        ("a: " + "9" * 5000, "9999"),
        ("1: 2", "the key '1' is not a text"),
        ("? [a]\n: 2", "is not a text"),
        ("a: 1\n---\nb: 2", "2 YAML documents"),
        ("# nothing", "0 YAML documents"),
        ("a: [1", "not YAML"),
        ("[" * 5000, "nested deeper"),
        ("- " * 5000, "nested deeper"),
        ("? " * 5000, "nested deeper"),
        ("{a: " * 5000, "nested deeper"),
    ],
)
def test_hostile_yaml(text, message, tmp_path):
    mark = tmp_path / "executed"
    (tmp_path / "m.yaml").write_text(text.replace("{mark}", str(mark)))
    with pytest.raises(FormatError, match=message):
        fmt.read_document(tmp_path / "m.yaml")
    assert not mark.exists()


@pytest.mark.usefixtures("parser")
def test_aliases_are_read_but_bounded():
    assert yaml_text.decode(b"a: &x {k: [1]}\nb: [*x, *x]\nversion: 1\n") == {
        "a": {"k": [1]},
        "b": [{"k": [1]}, {"k": [1]}],
        "version": 1,
    }
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(FormatError, match="aliases expand to more than 100000 items"):
        yaml_text.decode(bomb.encode())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ("{'@is_variable': true, dtype: object, value: [1]}", "dtype 'object'"),
        ("{'@is_variable': true, dtype: 'O8', value: [1]}", "dtype 'O8'"),
        ("{'@is_variable': true, dtype: [f8], value: [1]}", "dtype"),
        ("{'@is_variable': true, dtype: float64}", "dtype"),
        ("{'@is_variable': true, dtype: float64, value: [[1.0], [1.0, 2.0]]}", "rows of equal length"),
        ("{'@is_variable': true, dtype: float64, value: ['1.0']}", "values of the type str"),
        ("{'@is_variable': true, dtype: float64, value: [null]}", "values of the type NoneType"),
        ("{'@is_variable': true, dtype: int64, value: [1.5]}", "values of the type float"),
        ("{'@is_variable': true, dtype: int8, value: [300]}", "not int8"),
        ("{'@is_variable': true, dtype: float16, value: [1.0e+30]}", "not float16"),
        ("{'@is_variable': true, dtype: bool, value: [2]}", "values of the type int"),
        ("text", "@variables/w is a builtins.str"),
    ],
)
def test_bad_arrays_in_yaml(array, message):
    with pytest.raises(FormatError, match=message):
        yaml_text.decode(f"'@variables': {{w: {array}}}\nversion: 1\n".encode())
    with pytest.raises(FormatError, match="a is an array; arrays may stand only below"):
        yaml_text.decode(b"a: {'@is_variable': true, dtype: float64, value: [1.0]}\nversion: 1\n")
