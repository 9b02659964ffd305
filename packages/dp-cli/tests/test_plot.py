"""``dp plot``: what is drawn, from which files."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dp_cli import figures

CURVE = """# step       rmse_val    rmse_trn    rmse_e_val  rmse_e_trn    rmse_f_val  rmse_f_trn    rmse_v_val  rmse_v_trn   lr      
# If there is no available reference data, rmse_*_{val,trn} will print nan
      1      3.45e+01    2.82e+01      3.94e-01    6.21e-01      1.09e+00    8.92e-01           nan         nan    1.0e-03
    100      1.45e+01    1.82e+01      1.94e-01    2.21e-01      5.09e-01    4.92e-01           nan         nan    5.0e-04
"""  # noqa: E501

PNG, SVG = b"\x89PNG", b"<?xml"


@pytest.fixture
def curves(tmp_path):
    """``lcurve.out`` and ``other/lcurve.out``."""
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other"):
        (folder / "lcurve.out").write_text(CURVE)


def test_the_learning_curve_of_this_folder(dp, tmp_path, curves):
    shown = dp("plot")
    assert (shown.code, shown.out) == (0, "Wrote lcurve.png\n")
    assert (tmp_path / "lcurve.png").read_bytes().startswith(PNG)


def test_runs_are_compared(dp, tmp_path, curves):
    assert dp("plot", "lcurve.out", "other", "-o", "both.svg").code == 0
    text = (tmp_path / "both.svg").read_text()
    assert text.startswith("<?xml")
    figure = figures.draw_curves([figures.read_curve(tmp_path), figures.read_curve(tmp_path / "other")])
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "root of the loss", "energy RMSE (eV/atom)", "force RMSE (eV/Å)",
    ]  # fmt: skip
    lines = figure.axes[1].get_lines()
    assert len(lines) == 4
    assert lines[0].get_xdata().tolist() == [1, 100]
    assert lines[0].get_ydata().tolist() == [0.621, 0.221]


def test_a_curve_of_one_row_without_validation(dp, tmp_path):
    (tmp_path / "lcurve.out").write_text("#  step      rmse_trn    lr\n      1      3.45e+01    1.0e-03\n")
    assert dp("plot").code == 0


def test_parity_of_detail_files_and_of_a_model_agree(dp, tmp_path, model, data):
    assert dp("test", "-m", model, "-s", "data", "-d", "run.1").code == 0
    pairs = figures.read_details("run.1")
    assert {name: pair.shape for name, pair in pairs.items()} == {
        "e_peratom": (2, 9), "f": (2, 3 * 44), "v_peratom": (2, 81),
    }  # fmt: skip
    figure = figures.draw_parity(pairs, "title")
    texts = [axes.texts[0].get_text() for axes in figure.axes]
    error = pairs["f"][1] - pairs["f"][0]
    assert texts[1] == f"MAE {np.abs(error).mean():.3g}\nRMSE {np.sqrt(np.mean(error**2)):.3g}\n132 numbers"
    assert texts[2].endswith("45 numbers")  # without the open system, which has no virial
    assert dp("plot", "run.1").out == "Wrote parity.png\n"
    assert (tmp_path / "parity.png").read_bytes().startswith(PNG)
    assert dp("plot", "-m", model, "-s", "data", "-o", "direct.pdf").code == 0
    assert (tmp_path / "direct.pdf").read_bytes().startswith(b"%PDF")


def test_many_points_are_densities():
    pair = np.random.default_rng(0).normal(size=(2, 6000))
    figure = figures.draw_parity({"f": pair}, "many")
    assert len(figure.axes[0].collections) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["absent.out"], 1, "There is no learning curve absent.out"),
        (["empty"], 1, "cannot be read"),
        (["model.dp"], 1, "cannot be read"),
        (["lcurve.out", "-o", "a.txt"], 1, "has the suffix '.txt'"),
        (["lcurve.out", "-o", "no/a.png"], 1, "no folder no"),
        (["lcurve.out", "-m", "model.dp"], 2, "either files to draw"),
        (["-s", "data"], 2, "give it with -m"),
    ],
)
def test_refusals(dp, tmp_path, curves, model, arguments, code, text):
    (tmp_path / "empty").touch()
    shown = dp("plot", *arguments)
    assert shown.code == code
    assert text in " ".join(shown.err.split())
    assert not list(tmp_path.glob("*.png"))


def test_without_matplotlib(dp, curves, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    shown = dp("plot")
    assert shown.code == 1
    assert "pip install matplotlib" in shown.err
