"""The output of ``dp test`` against that of DeePMD-kit 3.2.0, line by line, and its log as other programs read it.

``golden/commands/dp_test.npz`` holds two systems, ``dp_test.*.txt`` what DeePMD-kit prints for the model
``se_e2_a_oneside``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dp_cli.main import main
from dp_core import DeepPot

GOLDEN = Path(__file__).parent / "golden"
MODEL = str(GOLDEN / "se_e2_a_oneside.dp")


@pytest.fixture
def systems(tmp_path, monkeypatch):
    """``data/periodic`` and ``data/open``, and the file ``list`` that names them."""
    monkeypatch.chdir(tmp_path)
    with np.load(GOLDEN / "commands" / "dp_test.npz") as arrays:
        for name in ("periodic", "open"):
            folder = tmp_path / "data" / name
            (folder / "set.000").mkdir(parents=True)
            for key in (k for k in arrays if k.startswith(f"{name}.") and not k.endswith(".type")):
                np.save(folder / "set.000" / f"{key.removeprefix(f'{name}.')}.npy", arrays[key])
            np.savetxt(folder / "type.raw", arrays[f"{name}.type"], fmt="%d")
            (folder / "type_map.raw").write_text("O\nH\n")
    (tmp_path / "data/open/nopbc").touch()
    (tmp_path / "list").write_text("data/periodic\ndata/open\n")


def printed(capsys, *arguments):
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return [re.sub(r"^\[[^]]*\] DEEPMD INFO    ", "", line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(("name", "arguments"), [("all", ["-f", "list"]), ("atomic", ["-s", "data/periodic", "-a"])])
def test_the_lines_are_those_of_deepmd_kit(systems, capsys, monkeypatch, name, arguments):
    monkeypatch.setenv("DP_BACKEND", "numpy")
    expected = (GOLDEN / "commands" / f"dp_test.{name}.txt").read_text(encoding="utf-8").splitlines()
    assert printed(capsys, "test", "-m", MODEL, *arguments) == expected


def test_every_backend_finds_the_same_errors(systems, capsys, monkeypatch, backend):
    monkeypatch.setenv("DP_BACKEND", backend)
    expected = (GOLDEN / "commands" / "dp_test.all.txt").read_text(encoding="utf-8").splitlines()
    found = printed(capsys, "test", "-m", MODEL, "-f", "list")
    assert [re.sub(r"\d\.\d+e...", "", line) for line in found] == [re.sub(r"\d\.\d+e...", "", e) for e in expected]
    numbers, wanted = ([float(x.split()[-2]) for x in lines if "E :" in x or "E/" in x] for lines in (found, expected))
    np.testing.assert_allclose(numbers, wanted, rtol=2e-6)


def test_a_script_that_reads_the_log_file_from_its_end(systems, capsys):
    """As benchmarks do: the last line is dashes, the ten before it are metrics of an energy model without virials."""
    for name in ("periodic", "open"):
        (Path("data") / name / "set.000/atom_pref.npy").unlink()
    assert main(["test", "-m", MODEL, "-s", "data/periodic", "-l", "log"]) == 0
    lines = Path("log").read_text(encoding="utf-8").splitlines()
    assert lines[-1].split("deepmd.entrypoints.test")[1].strip() == "# -----------------------------------------------"
    metrics = {}
    for line in lines[-13:-1]:
        text = line.split("deepmd.entrypoints.test")[1]
        metrics[text.split(":")[0].strip()] = float(text.split(":")[-1].split()[0])
    assert metrics["Energy RMSE/Natoms"] == 7.403638e-02
    assert metrics["Force  RMSE"] == 9.079557e-02
    assert len(metrics) == 12
    grep = [line for line in lines if "Energy RMSE/Natoms" in line]
    assert float(grep[-1].split()[-2]) == 7.403638e-02


def test_detail_files_hold_labels_and_predictions(systems, capsys):
    assert main(["test", "-m", MODEL, "-f", "list", "-d", "detail"]) == 0
    with np.load(GOLDEN / "se_e2_a_oneside.npz") as reference, np.load(GOLDEN / "commands" / "dp_test.npz") as labels:
        force, virial, energy = (np.loadtxt(f"detail.{name}.out") for name in ("f", "v", "e"))
        np.testing.assert_allclose(force[:36, 3:], reference["force"].reshape(-1, 3), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(virial[:3, 9:], reference["virial"], rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(virial[:3, :9], labels["periodic.virial"])
        np.testing.assert_array_equal(energy[3:, 0], labels["open.energy"].ravel())
    stress = np.loadtxt("detail.s.out")
    assert stress.shape == (3, 18)


def test_hessians_of_data_that_have_them(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with np.load(GOLDEN / "hessian.npz") as case:
        folder = tmp_path / "data/set.000"
        folder.mkdir(parents=True)
        for name in ("coord", "box", "energy", "hessian"):
            np.save(folder / f"{name}.npy", case[name].reshape(len(case["coord"]), -1))
        np.savetxt(tmp_path / "data/type.raw", case["atype"], fmt="%d")
        matrices = case["hessian"]
    lines = printed(capsys, "test", "-m", str(GOLDEN / "hessian.dp"), "-s", "data", "-d", "detail")
    (mae, unit), (rmse, _) = [line.split(": ")[1].split() for line in lines if line.startswith("Hessian")][:2]
    assert unit == "eV/Å^2"
    assert float(mae) <= float(rmse) < 1e-9
    written = np.loadtxt("detail.h.out")
    np.testing.assert_array_equal(written[:, 0], matrices.ravel())
    assert "Hessian MAE        : " in "".join(lines)


def test_hessians_of_data_are_passed_over_by_models_without(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with np.load(GOLDEN / "dplr.npz") as case:
        folder = tmp_path / "data/set.000"
        folder.mkdir(parents=True)
        for name in ("coord", "box", "energy"):
            np.save(folder / f"{name}.npy", case[name].reshape(len(case["coord"]), -1))
        np.save(folder / "hessian.npy", np.zeros((len(case["coord"]), (3 * len(case["atype"])) ** 2)))
        np.savetxt(tmp_path / "data/type.raw", case["atype"], fmt="%d")
    lines = printed(capsys, "test", "-m", str(GOLDEN / "dplr.dp"), "-s", "data")
    assert "Energy RMSE" in "".join(lines)
    assert "Hessian" not in "".join(lines)


def test_frozen_with_hessians(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = str(GOLDEN / "hessian.dp")
    assert main(["freeze", "-c", model, "-o", "plain.dp"]) == 0
    assert main(["freeze", "-c", model, "-o", "marked.dp", "--hessian"]) == 0
    with np.load(GOLDEN / "hessian.npz") as case:
        given = case["coord"], case["box"], case["atype"]
        assert len(DeepPot("plain.dp", "numpy").eval(*given)) == 3
        found = DeepPot("marked.dp", "numpy").eval(*given)[-1]
        np.testing.assert_allclose(found, case["hessian"], rtol=0, atol=1e-9 * np.abs(found).max())
    capsys.readouterr()
    assert main(["freeze", "-c", str(GOLDEN / "dipole.dp"), "-o", "none.dp", "--hessian"]) == 1
    assert "--hessian: The model predicts 'dipole'" in capsys.readouterr().err
    assert not (tmp_path / "none.dp").exists()
