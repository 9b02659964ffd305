"""Model files that are cut off or have a byte changed: a sentence with file and repair, and the process goes on."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from dp_core.backend import get_backend
from dp_core.model_file import document_bytes, load_model, save_model

sys.path.insert(0, str(Path(__file__).parent))
from capi import GOLDEN, Pot
from test_native import changed

NAME = "se_e2_a_oneside"
REPAIRS = ("Copy or write it again", "Copy or freeze it again", "Freeze it again")
#: What a sentence for users does not hold: words of libraries inside, and another engine's opinion.
FOREIGN = ("json.exception", "Traceback", "Error:", "numpy", "python:")


def damaged(whole: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Beginnings of a file, and the file with one changed byte."""
    rng = random.Random(7)
    for k in range(count):
        at = rng.randrange(len(whole))
        if k % 3 == 0:
            yield f"the first {at} bytes", whole[:at]
        else:
            bits = rng.choice((1, 2, 4, 8, 16, 32, 64, 128, 255))
            yield f"byte {at} ^ {bits}", whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :]


def evaluate(path: Path) -> tuple[str, np.ndarray]:
    """The first message of opening and evaluating a file, and the forces, 0 without."""
    case = np.load(GOLDEN / f"{NAME}.npz")
    pot = Pot(path)
    opened = pot.message
    out = pot(case["coord"], case["atype"], case["box"])
    message = opened or pot.message
    pot.close()
    return message, out["force"]


def refused(path: Path, whole: bytes, count: int) -> int:
    """How many damaged copies are refused; the others must give the numbers of the whole one."""
    path.write_bytes(whole)
    message, force = evaluate(path)
    assert (message, force.any()) == ("", True)
    found = 0
    for what, content in damaged(whole, count):
        path.write_bytes(content)
        message, other = evaluate(path)
        if message:
            found += 1
            assert str(path) in message, what
            assert any(repair in message for repair in REPAIRS), (what, message)
            assert not other.any(), what
        else:
            np.testing.assert_array_equal(other, force, err_msg=what)
    path.write_bytes(whole)
    assert evaluate(path)[0] == ""
    return found


def test_every_damage_of_a_document_is_noticed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """But of the ten bytes by which the checksum is known, see docs/models.md."""
    path = tmp_path / "model.dp"
    save_model(load_model(GOLDEN / f"{NAME}.dp"), path)
    assert refused(path, path.read_bytes(), 150) == 150
    said = capfd.readouterr().err
    assert said.count(str(path)) >= 150
    assert not [word for word in FOREIGN if word in said]


def test_every_byte_that_says_where_the_checksum_is(tmp_path: Path) -> None:
    """The end of the file, at 40, and the first bytes of what follows it."""
    path = tmp_path / "model.dp"
    save_model(load_model(GOLDEN / f"{NAME}.dp"), path)
    whole = path.read_bytes()
    end = len(whole) - 74
    assert struct.unpack_from("<Q", whole, 40) == (end,)
    changes = [(at, bytes([whole[at] ^ 1])) for at in [*range(40, 48), *range(end, end + 10)]]
    changes += [(40, struct.pack("<Q", len(whole))), (len(whole), b"\0"), (end, b"\0" * 74)]
    for at, content in changes:
        path.write_bytes(whole[:at] + content + whole[at + len(content) :])
        message, _ = evaluate(path)
        assert "is not their checksum" in message or "it is cut off" in message, at
        assert str(path) in message
    path.write_bytes(whole[:end])  # as other programs write it
    assert evaluate(path)[0] == ""


def test_damage_of_a_document_without_checksum(tmp_path: Path) -> None:
    """As other programs write them: what the text and the structure of the file say is checked."""
    whole = (GOLDEN / f"{NAME}.dp").read_bytes()
    text = whole.index(b'{"software"')
    path = tmp_path / "model.dp"
    rng = random.Random(3)
    for _ in range(60):
        at = rng.randrange(text, len(whole) - 100)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ rng.choice((1, 2, 128, 255))]) + whole[at + 1 :])
        message, _ = evaluate(path)  # which is UTF-8, whatever the bytes of the file
        assert not message or str(path) in message
        assert "json.exception.parse" not in message


@pytest.mark.crossing
@pytest.mark.parametrize(
    ("suffix", "backend", "package"), [(".pth", "torch", "dp_torch"), (".pb", "tensorflow", "dp_tf")]
)
def test_damage_of_frozen_files(
    suffix: str, backend: str, package: str, tmp_path: Path, torch_engine: Callable[[], None]
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if backend == "torch":
        torch_engine()
    path, model = tmp_path / f"model{suffix}", load_model(GOLDEN / f"{NAME}.dp")
    get_backend(backend).freeze(model, document_bytes(model), path)
    assert refused(path, path.read_bytes(), 40) > 30


def test_other_content(tmp_path: Path) -> None:
    """Files that are something else, or whose parts do not belong together."""

    def one_type_more(model: dict, _: object) -> None:
        model["type_map"] = [*model["type_map"], "Na"]

    def numbers_for_types(model: dict, _: object) -> None:
        model["type_map"] = [1, 2]

    def no_layers(model: dict, _: object) -> None:
        del model["fitting"]["nets"]["networks"][0]["layers"]

    path = tmp_path / "model.dp"
    for change in (one_type_more, numbers_for_types, no_layers):
        message, _ = evaluate(changed(path, NAME, change))
        assert str(path) in message
        assert "Copy or write it again" in message
        assert "python:" not in message  # another engine is not asked what is wrong with it
    path.write_text("units metal\n")
    assert "it is not an HDF5 file" in evaluate(path)[0]


def test_in_cpp_the_message_is_that_of_the_exception(compiled: Callable[..., Path], tmp_path: Path) -> None:
    whole = (GOLDEN / f"{NAME}.dp").read_bytes()
    cut = tmp_path / "cut.dp"
    cut.write_bytes(whole[:9000])
    command = [compiled("refused.cpp", "c++11"), tmp_path / "none.dp", cut, GOLDEN / f"{NAME}.dp"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("load model")]
    assert [line.split()[0] for line in lines] == ["REFUSED", "REFUSED", "CUTOFF"]
    assert f"{tmp_path / 'none.dp'} does not exist" in lines[0]
    assert f"{cut}: it is cut off" in lines[1]
