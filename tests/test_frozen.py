"""Frozen files give the stored numbers of every stored model, for sizes that they were not made with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dp_core import DeepEval
from dp_core.backend import SUFFIXES, get_backend, installed
from dp_core.model_file import document_bytes, load_model, read_model_document
from dp_core.models.protocol import message_passing

GOLDEN = Path(__file__).parent / "golden"
MODELS = sorted({path.name.split(".")[0] for path in GOLDEN.glob("*.npz")})
#: .pt2 takes a minute to compile, and has a test of its own
FILES = [(name, s) for name in installed() for s in SUFFIXES[name] if s not in (".pt2", ".yml")]
#: NumPy has an environment of its own
FILES = [(name, s) for name, s in FILES if name != "numpy"] or FILES


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("backend", "suffix"), FILES)
def test_stored_numbers(golden, tmp_path, backend, suffix, name):
    path = tmp_path / f"frozen{suffix}"
    model = load_model(GOLDEN / f"{name}.dp")
    get_backend(backend).freeze(model, document_bytes(model), path)
    assert read_model_document(path)["model"]["type"] == model.serialize()["type"]
    tolerance = json.loads((GOLDEN / f"{name}.json").read_text())["tolerance"]["rtol"]
    with DeepEval(path, backend) as pot:
        for file in sorted(GOLDEN.glob(f"{name}.*npz")):
            case = golden(file.name)
            for key, value in case.evaluated_by(pot).items():
                if key in case.data:
                    expected = case.data[key]
                    if key == "atom_virial" and message_passing(model):
                        value, expected = value.sum(axis=1), expected.sum(axis=1)  # the rest is a matter of convention
                    assert np.abs(value * 1.0 - expected).max() / np.abs(expected).max() < tolerance, (file.name, key)
