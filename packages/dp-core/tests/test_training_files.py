"""The files of a training: learning curve, checkpoints and what leads to them, trace."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from dp_core.errors import FormatError
from dp_core.training import checkpoint as ck
from dp_core.training.lcurve import LearningCurve
from dp_core.training.prefetch import Prefetcher

METRICS = {"rmse": 25.8, "rmse_e": 6.96e-3, "rmse_f": 0.817, "rmse_v": float("nan"), "l2_e": 1.0}


def test_learning_curve_text(tmp_path):
    curve = LearningCurve(tmp_path / "lcurve.out", restart_step=None)
    curve.row(1, METRICS, METRICS | {"rmse": 25.9}, 1e-3)
    curve.close()
    assert (tmp_path / "lcurve.out").read_text() == (
        "# step       rmse_val    rmse_trn    rmse_e_val  rmse_e_trn    rmse_f_val  rmse_f_trn"
        "    rmse_v_val  rmse_v_trn   lr      \n"
        "# If there is no available reference data, rmse_*_{val,trn} will print nan\n"
        "      1      2.59e+01    2.58e+01      6.96e-03    6.96e-03      8.17e-01    8.17e-01"
        "           nan         nan    1.0e-03\n"
    )


def test_learning_curve_without_validation(tmp_path):
    curve = LearningCurve(tmp_path / "lcurve.out", restart_step=None)
    curve.row(2, METRICS, None, 3.98e-4)
    curve.close()
    assert (tmp_path / "lcurve.out").read_text() == (
        "# step       rmse_trn    rmse_e_trn    rmse_f_trn    rmse_v_trn   lr      \n"
        "# If there is no available reference data, rmse_*_{val,trn} will print nan\n"
        "      2      2.58e+01      6.96e-03      8.17e-01           nan    4.0e-04\n"
    )


def test_learning_curve_is_read_by_numpy_and_as_json(tmp_path):
    curve = LearningCurve(tmp_path / "lcurve.out", restart_step=None)
    for step in (1, 2, 3):
        curve.row(step, METRICS, METRICS, 1e-3 / step, remaining=None, seconds=2.0)
        table = np.genfromtxt(tmp_path / "lcurve.out", names=True)  # written line by line
        assert table.size == step
    curve.close()
    assert table.dtype.names == (
        "step", "rmse_val", "rmse_trn", "rmse_e_val", "rmse_e_trn", "rmse_f_val", "rmse_f_trn", "rmse_v_val",
        "rmse_v_trn", "lr",
    )  # fmt: skip
    records = [json.loads(line) for line in (tmp_path / "train_log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [1, 2, 3]
    assert records[0]["training"]["rmse_v"] is None
    assert records[0]["seconds"] == 2.0


def test_restart_drops_later_and_torn_rows(tmp_path):
    path = tmp_path / "lcurve.out"
    curve = LearningCurve(path, restart_step=None)
    for step in (1, 2, 4, 6):
        curve.row(step, METRICS, None, 1e-3)
    curve.close()
    with path.open("a") as file:
        file.write("      8      2.5")
    again = LearningCurve(path, restart_step=4)
    again.row(6, METRICS, None, 1e-4)
    again.close()
    table = np.genfromtxt(path, names=True)
    assert table["step"].tolist() == [1, 2, 4, 6]
    assert table["lr"].tolist() == [1e-3, 1e-3, 1e-3, 1e-4]
    assert path.read_text().count("# step") == 1
    assert len((tmp_path / "train_log.jsonl").read_text().splitlines()) == 4


def test_restart_with_other_columns_begins_another_table(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "lcurve.out"
    for restart_step, validation in ((None, None), (2, METRICS)):
        curve = LearningCurve(path, restart_step=restart_step)
        for step in (1, 2) if restart_step is None else (3, 4):
            curve.row(step, METRICS, validation, 1e-3)
        curve.close()
    assert np.genfromtxt(path, names=True)["step"].tolist() == [3, 4]
    assert np.genfromtxt(tmp_path / "lcurve.out.before-3", names=True)["step"].tolist() == [1, 2]
    assert "lcurve.out.before-3" in caplog.text


def test_restart_without_a_curve_writes_the_header(tmp_path):
    curve = LearningCurve(tmp_path / "lcurve.out", restart_step=10)
    curve.row(12, METRICS, None, 1e-3)
    curve.close()
    assert (tmp_path / "lcurve.out").read_text().startswith("# step ")


@pytest.mark.parametrize(
    "text", ["model.ckpt-20.pt", "model.ckpt-20.pt\n", 'model_checkpoint_path: "model.ckpt-20"\nall_model: "x"\n']
)
def test_find_checkpoint_in_folder(tmp_path, text):
    wanted = tmp_path / "model.ckpt-20.pt"
    wanted.touch()
    (tmp_path / "checkpoint").write_text(text)
    assert ck.find_checkpoint(tmp_path, "torch") == wanted
    assert ck.find_checkpoint(tmp_path, "numpy") == wanted


def test_find_checkpoint_by_prefix_prefers_the_backend(tmp_path):
    (tmp_path / "model.ckpt.pt").touch()
    (tmp_path / "model.ckpt.dp").touch()
    for backend, suffix in (("torch", ".pt"), ("numpy", ".dp")):
        assert ck.find_checkpoint(tmp_path / "model.ckpt", backend) == tmp_path / f"model.ckpt{suffix}"
    assert ck.find_checkpoint(tmp_path / "model.ckpt.dp", "torch") == tmp_path / "model.ckpt.dp"


def test_find_checkpoint_says_what_is_there(tmp_path):
    (tmp_path / "model.ckpt-7.pt").touch()
    with pytest.raises(FormatError, match=r"There are: model\.ckpt-7\.pt"):
        ck.find_checkpoint(tmp_path / "modl.ckpt", "torch")
    with pytest.raises(FormatError, match="no file 'checkpoint'"):
        ck.find_checkpoint(tmp_path, "torch")


@pytest.mark.parametrize(
    ("ratio", "steps", "freq", "kept"), [(None, 100, 10, 5), (0.5, 4, 2, 1), (0.25, 95, 10, 3), (0.01, 100, 10, 1)]
)
def test_number_kept(ratio, steps, freq, kept):
    assert ck.number_kept(5, ratio, steps, freq) == kept


def test_differences():
    before = {"model": {"a": 1, "b": [1]}, "loss": {}}
    assert ck.differences(before, {"model": {"a": 2, "b": [1]}, "x": 3, "loss": {}}) == [
        ("model/a", 1, 2),
        ("x", None, 3),
    ]


def test_prefetch_keeps_the_order_and_raises_in_turn():
    numbers = iter(range(5))

    def produce():
        try:
            return next(numbers)
        except StopIteration:
            raise ValueError("no more") from None

    prefetcher = Prefetcher(produce)
    assert [prefetcher.take() for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="no more"):
        prefetcher.take()
    prefetcher.close()


def test_prefetch_closes_while_full():
    before = threading.active_count()
    prefetcher = Prefetcher(lambda: 1)
    prefetcher.take()
    prefetcher.close()
    assert threading.active_count() == before
