"""Names of models, options with several values."""

from __future__ import annotations

import pytest

from dp_cli.options import State, spread
from dp_core.errors import FormatError


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DP_BACKEND", raising=False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("model-devi -m a b c -s d", "model-devi -m a -m b -m c -s d"),
        ("--pt model-devi --models a b", "--pt model-devi --models a --models b"),
        ("-b pt model-devi -m a -o x", "-b pt model-devi -m a -o x"),
        ("change-bias in.dp -b -93.5 -1e-3 2", "change-bias in.dp -b -93.5 -b -1e-3 -b 2"),
        ("change-bias in.dp -b -93.5 -o out.dp", "change-bias in.dp -b -93.5 -o out.dp"),
        ("neighbor-stat -s d -t O H -r 6", "neighbor-stat -s d -t O -t H -r 6"),
        ("train input.json -t m", "train input.json -t m"),
        ("test -s model-devi -m a b", "test -s model-devi -m a b"),
        ("", ""),
    ],
)
def test_several_values_after_one_option(given, expected):
    assert spread(given.split()) == expected.split()


@pytest.mark.parametrize(
    ("backend", "given", "expected"),
    [
        ("pt", "frozen_model", "frozen_model.pth"),
        ("pt-expt", "frozen_model", "frozen_model.pt2"),
        ("pt", "model.pt2", "model.pt2"),
        ("pt", "model.v2", "model.v2.pth"),
        ("pt", "frozen_model.pb", "frozen_model.pth"),
        ("dp", "model.yaml", "model.yaml"),
        ("tf2", "m", "m.savedmodeltf"),
        ("jax", "m", "m.savedmodel"),
    ],
)
def test_names_of_frozen_models(backend, given, expected):
    assert State(backend).output_file(given, "model.ckpt.pt") == expected


def test_a_known_suffix_tells_the_backend_if_the_user_does_not():
    assert State().output_file("model.dp", "model.ckpt.pt") == "model.dp"
    assert State().output_file("model.pth", "model.ckpt.pt") == "model.pth"


def test_names_of_models_without_suffix(tmp_path):
    for name in ("a.pth", "a.dp", "b.pt2", "c.pt", "d.v1.dp"):
        (tmp_path / name).touch()
    assert State("pt").model_file("a") == "a.pth"
    assert State("dp").model_file("a") == "a.dp"
    assert State("pt").model_file("b") == "b.pt2"
    assert State("pt").model_file("c") == "c.pt"
    assert State("dp").model_file("d.v1") == "d.v1.dp"
    with pytest.raises(FormatError, match=r"The model e\.pth does not exist; models in this folder: a\.dp, a\.pth"):
        State("pt").model_file("e")
    with pytest.raises(FormatError, match="there is no folder nowhere"):
        State("pt").model_file("nowhere/e.dp")
