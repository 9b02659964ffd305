"""Total charge and multiplicity are read from the data by every command that evaluates a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dp_core import load_model, save_model
from dp_core.module import replace

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"


@pytest.fixture
def case(tmp_path):
    """A stored case, its data as a system, and its model without a default charge and multiplicity."""
    with np.load(GOLDEN / "dpa3_charge_spin.npz") as stored:
        case = dict(stored)
    folder = tmp_path / "data/set.000"
    folder.mkdir(parents=True)
    for name in ("coord", "box", "energy", "force", "virial", "charge_spin"):
        np.save(folder / f"{name}.npy", case[name].reshape(len(case["coord"]), -1))
    np.savetxt(tmp_path / "data/type.raw", case["atype"], fmt="%d")
    model = load_model(GOLDEN / "dpa3_charge_spin.dp")
    save_model(replace(model, descriptor=replace(model.descriptor, default_chg_spin=None)), tmp_path / "model.dp")
    return case


def test_test(dp, case):
    shown = dp("test", "-m", "model.dp", "-s", "data")
    assert shown.code == 0, shown.err
    errors = {line.split(":")[0].strip(): float(line.split()[-2]) for line in shown.messages if " RMSE" in line}
    assert errors["Energy RMSE"] < 1e-9
    assert errors["Force  RMSE"] < 1e-9


def test_model_devi(dp, case):
    shown = dp("model-devi", "-m", "model.dp", "model.dp", "-s", "data", "--real_error")
    assert shown.code == 0, shown.err
    assert np.loadtxt("model_devi.out")[:, 1:].max() < 1e-9


def test_eval_desc(dp, case):
    shown = dp("eval-desc", "-m", "model.dp", "-s", "data")
    assert shown.code == 0, shown.err
    np.testing.assert_allclose(np.load("desc/data.npy"), case["descriptor"], rtol=1e-9, atol=1e-12)


def test_change_bias_and_convert_backend(dp, case):
    assert dp("change-bias", "model.dp", "-s", "data", "-o", "same.dp").code == 0
    np.testing.assert_allclose(load_model("same.dp").out_bias, load_model("model.dp").out_bias, atol=1e-6)
    shown = dp("convert-backend", "model.dp", "model.yaml")
    assert shown.code == 0, shown.err


@pytest.mark.parametrize("command", [("test", "-m"), ("eval-desc", "-m"), ("model-devi", "-m", "model.dp")])
def test_data_without_it(dp, case, command):
    Path("data/set.000/charge_spin.npy").unlink()
    shown = dp(*command, "model.dp", "-s", "data")
    assert shown.code == 1
    assert "charge_spin" in shown.err
