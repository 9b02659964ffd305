"""Bad input: one clear screen, exit status 1, the traceback in a file, and nothing overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core.data import write_npy_system
from dp_core.errors import FormatError

TYPE_MAP = ["O", "H"]

#: What commands write, with the content that must survive.
OLD_FILES = (
    "out.json", "lcurve.out", "train_log.jsonl", "checkpoint", "model.ckpt-4.dp", "model.ckpt.dp", "frozen_model.dp",
    "model_updated.dp", "model_devi.out", "detail.e.out", "lcurve.png", "desc/a.npy",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a case prepares its bad input."""

    folder: Path
    write_input: Callable[..., Path]
    make_frames: Callable[..., Any]

    def change(self, name: str, edit: Callable[[np.ndarray], Any]) -> None:
        """Change an array of ``data/a``."""
        path = self.folder / f"data/a/set.000/{name}.npy"
        values = np.load(path)
        edited = edit(values)
        np.save(path, values if edited is None else edited)

    def cut(self, name: str, share: float = 0.5) -> None:
        """Keep the beginning of a file."""
        path = self.folder / name
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    def system(self, name: str, **changes: Any) -> None:
        """A system with a type map of its own."""
        write_npy_system(self.folder / name, self.make_frames([0, 1], 2, 1), changes.get("type_map", TYPE_MAP))


@pytest.fixture
def place(tmp_path, data, model, training_input, make_frames):
    """Good data, a good model and a good input; and files of an earlier run."""
    training_input()
    for name in OLD_FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"old content")
    return Place(tmp_path, training_input, make_frames)


def set_item(index, value):
    def edit(values):
        values[index] = value

    return edit


def truncated_json(p):
    p.cut("input.json")


def written(text):
    def prepare(p):
        (p.folder / "input.json").write_text(text)

    return prepare


def changed(**changes):
    return lambda p: p.write_input({key.replace("__", "/"): value for key, value in changes.items()})


def array(name, edit):
    return lambda p: p.change(name, edit)


def other_elements(p):
    for name in ("data/a", "data/b"):
        (p.folder / name / "type_map.raw").write_text("O\nXe\n")


def types_out_of_range(p):
    (p.folder / "data/a/type_map.raw").unlink()
    (p.folder / "data/a/type.raw").write_text("0 1 1 7\n")


def same_place(values):
    values[0, 3:6] = values[0, 0:3]


def remove(name):
    return lambda p: (p.folder / name).unlink()


def nothing(p):
    pass


TRAIN = ("train", "input.json")
TEST = ("test", "-m", "model.dp", "-s", "data", "-d", "detail")

CASES = {
    # files that are not there, or not whole
    "no input": (("train", "absent.json"), nothing, ["absent.json does not exist"]),
    "input is cut": (TRAIN, truncated_json, ["is not valid JSON", "line"]),
    "input is a model": (("train", "model.dp"), nothing, ["model.dp is not text"]),
    "no data": (TRAIN, changed(training__training_data={"systems": ["dat"]}), ["dat does not exist", "did you mean"]),
    "empty folder": ((*TEST[:4], "traces"), nothing, ["No system", "type.raw"]),
    "no model": (("test", "-m", "mod.dp", "-s", "data"), nothing, ["mod.dp does not exist", "model.dp"]),
    "model is cut": (TEST, lambda p: p.cut("model.dp"), ["model.dp cannot be read"]),
    "model is text": (TEST, lambda p: (p.folder / "model.dp").write_text("hello"), ["model.dp cannot be read"]),
    "model is empty": (TEST, lambda p: (p.folder / "model.dp").write_bytes(b""), ["model.dp cannot be read"]),
    "array is cut": (TEST, lambda p: p.cut("data/a/set.000/coord.npy"), ["coord.npy"]),
    "array is missing": (TEST, remove("data/a/set.000/coord.npy"), ["coord.npy"]),
    "list of systems is missing": (("test", "-m", "model.dp", "-f", "no"), nothing, ["The list of systems no"]),
    "no checkpoint": (("train", "input.json", "-r", "nothing.ckpt"), nothing, ["no checkpoint", "nothing.ckpt"]),
    "checkpoint is damaged": (("train", "input.json", "-r", "model.ckpt"), nothing, ["model.ckpt.dp cannot be read"]),
    "freeze without training": (("freeze", "-c", "data"), nothing, ["'checkpoint'"]),
    "freeze of a damaged checkpoint": (("freeze", "-c", "model.ckpt"), nothing, ["model.ckpt.dp"]),
    "restart from a model": (("train", "input.json", "-r", "model.dp"), nothing, ["--init-model"]),
    # numbers that cannot be right
    "NaN energy": (TRAIN, array("energy", set_item(3, np.nan)), ["energy is nan", "data/a", "frame 3"]),
    "NaN force in test": (TEST, array("force", set_item((1, 2), np.nan)), ["force", "nan", "frame 1"]),
    "infinite coordinate": (TEST, array("coord", set_item((0, 0), np.inf)), ["coord", "inf", "frame 0"]),
    "huge force": (TRAIN, array("force", set_item((2, 0), 1e7)), ["force", "1e+07", "frame 2"]),
    "cell in nm": (TRAIN, array("box", lambda b: b * 0.1), ["Å³", "nm"]),
    "flat cell": (TEST, array("box", lambda b: b * 0), ["no volume"]),
    "types out of range": (TRAIN, types_out_of_range, ["type 7", "type.raw"]),
    "unknown element": (TRAIN, other_elements, ["Xe", "type_map"]),
    "unknown element in test": (TEST, other_elements, ["Xe", "O, H"]),
    "wrong shape": (TRAIN, array("force", lambda f: f[:, :-1]), ["force.npy", "3×4"]),
    "too few frames": (TEST, array("energy", lambda e: e[:2]), ["energy.npy"]),
    # settings
    "misspelt key": (TRAIN, changed(training__numb_step_s=4), ["numb_step_s", "did you mean", "numb_steps"]),
    "misspelt section": (TRAIN, changed(trainning={}), ["trainning", "training"]),
    "key of another section": (TRAIN, changed(training__rcut=6.0), ["rcut", "descriptor"]),
    "wrong type": (TRAIN, changed(training__disp_freq="often"), ["disp_freq", "'often'", "an integer"]),
    "no length": (TRAIN, changed(training__numb_steps=None), ["numb_steps"]),
    "unknown descriptor": (TRAIN, changed(model__descriptor__type="se_e2_b"), ["se_e2_b", "se_e2_a"]),
    "sel for other types": (TRAIN, changed(model__descriptor__sel=[20]), ["sel", "O, H"]),
    "auto sel without counting": (
        (*TRAIN, "--skip-neighbor-stat"), changed(model__descriptor__sel="auto"), ["sel", "--skip-neighbor-stat"],
    ),
    "non-finite loss": (
        TRAIN, changed(learning_rate={"start_lr": 1e200, "stop_lr": 1e199, "decay_steps": 5}),
        ["At step", "frame", "start_lr"],
    ),
    # places that cannot be written
    "disp_file below a file": (TRAIN, changed(training__disp_file="model.dp/lcurve.out"), ["cannot be written"]),
    "output is a folder": (("convert-backend", "model.dp", "data.dp"), lambda p: (p.folder / "data.dp").mkdir(),
                           ["is a folder"]),
    "output in no folder": (("freeze", "-c", "model.dp", "-o", "no/where.dp"), nothing, ["no folder no"]),
    "details in no folder": ((*TEST[:5], "-d", "no/detail"), nothing, ["no folder no", "-d"]),
    "log in no folder": ((*TEST, "-l", "no/log"), nothing, ["The log file no/log cannot be written"]),
    "descriptors into a file": (("eval-desc", "-m", "model.dp", "-s", "data", "-o", "model.dp"), nothing,
                                ["The folder model.dp cannot be made"]),
    # models
    "unknown suffix": (("convert-backend", "model.dp", "model.ppp"), nothing, ["unknown suffix", ".pth"]),
    "bias for other types": (("change-bias", "model.dp", "-b", "1"), nothing, ["2 types", "O, H"]),
    "bias without labels": (("change-bias", "model.dp", "-s", "data/a"), remove("data/a/set.000/energy.npy"),
                            ["energy"]),
    "one model": (("model-devi", "-m", "model.dp", "-s", "data"), nothing, ["two or more models"]),
    "real error without virial": (("model-devi", "-m", "model.dp", "model.dp", "-s", "data/b", "--real_error"), nothing,
                                  ["virial"]),
    "overlapping atoms": (TEST, array("coord", same_place), ["same place", "frame 0"]),
    "overlapping atoms counted": (("neighbor-stat", "-s", "data", "-r", 3), array("coord", same_place),
                                  ["atoms 0 and 1", "frame 0"]),
}  # fmt: skip

#: What NumPy says while a training goes astray.
OVERFLOW = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero):RuntimeWarning")


@OVERFLOW
@pytest.mark.parametrize("name", CASES)
def test_bad_input(dp, place, name):
    arguments, prepare, texts = CASES[name]
    prepare(place)
    shown = dp(*arguments)
    assert shown.code == 1
    message = shown.err[shown.err.index("Error: ") :]
    for text in texts:
        assert text in message
    assert len(message.splitlines()) <= 20
    assert "Traceback" not in shown.err + shown.out
    assert "mistake in dp" not in message
    assert message.splitlines()[-1].startswith("(traceback: ")
    kept = {old: (place.folder / old).read_bytes() for old in OLD_FILES}
    if name == "non-finite loss":  # found during the training, whose files are new then
        del kept["out.json"], kept["lcurve.out"], kept["train_log.jsonl"]
    assert set(kept.values()) == {b"old content"}
    assert not [p.name for p in place.folder.rglob("*") if ".tmp" in p.name or p.name.startswith(".")]


def test_more_neighbours_than_sel_is_a_warning_with_the_number(dp, place):
    place.write_input({"model/descriptor/sel": [2, 2]})
    shown = dp("train", "input.json")
    assert shown.code == 0
    warnings = [line for line in shown.err.splitlines() if "WARNING" in line]
    assert any("sel" in line and "at least [" in line for line in warnings)
    shown = dp("test", "-m", "model.ckpt", "-s", "data")
    assert shown.code == 0
    assert any("WARNING" in line and "sel" in line for line in shown.err.splitlines())


@OVERFLOW
def test_non_finite_loss_keeps_the_last_good_checkpoint(dp, place):
    for name in OLD_FILES[:6]:
        (place.folder / name).unlink()
    assert dp("train", "input.json").code == 0
    good = (place.folder / "model.ckpt-4.dp").read_bytes()
    bad = {"learning_rate": {"start_lr": 1e200, "stop_lr": 1e199, "decay_steps": 5}, "training/numb_steps": 9}
    place.write_input(bad)
    shown = dp("train", "input.json", "-r", "model.ckpt")
    assert shown.code == 1
    assert "model.ckpt-4.dp" in shown.err
    assert "data/" in shown.err
    assert (place.folder / "model.ckpt-4.dp").read_bytes() == good
    assert dp("test", "-m", "model.ckpt", "-s", "data").code == 0


def test_unwritable_folder(dp, place, monkeypatch):
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and allowed(path, mode))
    shown = dp("convert-backend", "model.dp", "new.dp")
    assert shown.code == 1
    assert "new.dp cannot be written: no permission in ." in shown.err
    shown = dp("train", "input.json")
    assert shown.code == 1
    assert "cannot be written" in shown.err
    assert (place.folder / "out.json").read_bytes() == b"old content"


def test_full_disk(dp, place):
    """Files may grow to 1 kB only, which fails like a full disk while a file is written."""
    commands = [
        ["convert-backend", "model.dp", "frozen_model.dp"],
        ["test", "-m", "model.dp", "-s", "data", "-d", "detail"],
        ["train", "input.json"],
    ]
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
from dp_cli.main import main
print([main(command) for command in {commands!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 1, 1]\n"
    assert done.stderr.count("Error: ") == done.stderr.count("File too large") / 2 == 3  # the file, and the traceback
    assert "Traceback" not in done.stderr
    for name in ("frozen_model.dp", "detail.e.out", "model.ckpt.dp", "checkpoint"):
        assert (place.folder / name).read_bytes() == b"old content"


def test_hostile_models_never_crash(dp, place):
    whole = (place.folder / "model.dp").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(whole)
        for position in random.integers(0, len(whole), 8):
            damaged[position] = random.integers(256)
        (place.folder / "model.dp").write_bytes(bytes(damaged))
        shown = dp("show", "model.dp", "type-map", "size", "serialization-tree")
        assert shown.code in (0, 1)
        assert "mistake in dp" not in shown.err


def test_several_mistakes_are_told_at_once(dp, place):
    document = json.loads((place.folder / "input.json").read_text())
    document["model"]["descriptor"]["rcutt"] = 6
    document["training"]["save_freq"] = 0
    (place.folder / "input.json").write_text(json.dumps(document, indent=1))
    shown = dp("train", "input.json")
    assert "rcutt" in shown.err
    assert "save_freq" in shown.err
    assert shown.err.count("line ") >= 2


def test_dry_run_writes_nothing(dp, place):
    before = {p: p.read_bytes() for p in place.folder.rglob("*") if p.is_file()}
    shown = dp("train", "--dry-run", "input.json")
    assert shown.code == 0
    for text in ("elements", "O H", "s a step", "data/a", "Nothing was written."):
        assert text in shown.out
    assert {p: p.read_bytes() for p in place.folder.rglob("*") if p.is_file()} == before


def test_a_foreign_archive_is_told_from_a_model(dp, place):
    import zipfile

    with zipfile.ZipFile(place.folder / "foreign.pth", "w") as archive:
        archive.writestr("data.pkl", b"cos\nsystem\n(S'touch hacked'\ntR.")
    shown = dp("show", "foreign.pth", "type-map")
    assert shown.code == 1
    assert "not written by dp" in shown.err
    assert not (place.folder / "hacked").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_file_that_fills_the_disk_is_told_once(dp, place):
    shown = dp(*TEST[:5], "-l", "/dev/full")
    assert shown.code == 0
    assert shown.err.count("The log file /dev/full ends here: No space left on device.") == 1
    assert "Traceback" not in shown.err


def test_what_cannot_be_written_is_named(dp, place, monkeypatch):
    def full(document, path):
        raise FormatError(f"{path} cannot be written: No space left on device.")

    monkeypatch.setattr("dp_core.format.write_document", full)
    shown = dp("convert-backend", "model.dp", "frozen_model.dp")
    assert "Error: frozen_model.dp cannot be written: No space left on device." in shown.err
    assert (place.folder / "frozen_model.dp").read_bytes() == b"old content"


def test_a_conversion_of_data_that_fails_leaves_nothing(dp, place):
    place.cut("data/b/set.000/coord.npy")
    assert dp("data", "convert", "data", "new").code == 1
    assert not (place.folder / "new").exists()
    assert dp("data", "convert", "data/a", "new").code == 0


def test_labels_that_are_no_numbers_are_not_compared(dp, place):
    place.change("force", set_item((1, 2), np.nan))
    shown = dp("model-devi", "-m", "model.dp", "-s", "data/a", "--real-error")
    assert shown.code == 1
    assert "force" in shown.err
    assert "frame 1" in shown.err
