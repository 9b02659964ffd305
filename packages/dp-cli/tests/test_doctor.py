"""``dp doctor``: an installation that works, and broken ones."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from dp_cli import examination
from dp_core.backend import installed


@pytest.fixture
def only_numpy(monkeypatch):
    """As if no framework were installed; its loading is not what is tested here."""
    monkeypatch.setattr("dp_core.backend.installed", lambda: ["numpy"])


def test_a_sound_installation(dp, only_numpy):
    shown = dp("doctor")
    assert shown.code == 0
    assert "dp-core" in shown.out
    assert "ok backend numpy: computes\n" in shown.out
    assert "absent backend torch: not installed; to add it: pip install dp-torch" in shown.out
    assert shown.out.splitlines()[-1] == "No problems."


def test_every_installed_backend_computes():
    found = {b.name: b.works for b in examination.examine().backends}
    assert all(found[name] for name in installed())


def test_report_is_ready_to_paste(dp, only_numpy):
    lines = dp("doctor", "--report").out.splitlines()
    assert lines[0] == lines[-1] == "```"
    assert any(line.startswith("python: 3.") for line in lines)
    assert any(line.startswith("numpy: ") for line in lines)


def test_a_broken_backend(dp, monkeypatch):
    def broken(name):
        raise OSError("undefined symbol: _ZN3c10")

    monkeypatch.setattr("dp_core.backend.installed", lambda: ["torch", "numpy"])
    monkeypatch.setattr(examination, "_difference_from_numpy", lambda name: broken(name) if name == "torch" else 0.0)
    shown = dp("doctor")
    assert shown.code == 1
    assert "broken backend torch: OSError: undefined symbol: _ZN3c10" in shown.out
    assert "repair: pip install --force-reinstall dp-torch torch" in shown.out


def test_a_backend_that_computes_wrong(dp, monkeypatch):
    monkeypatch.setattr("dp_core.backend.installed", lambda: ["torch", "numpy"])
    monkeypatch.setattr(examination, "_difference_from_numpy", lambda name: 0.1 if name == "torch" else 0.0)
    shown = dp("doctor")
    assert shown.code == 1
    assert "computes other energies than NumPy (relative difference 1.0e-01)" in shown.out


def test_requirements_that_are_not_met(dp, only_numpy, monkeypatch):
    wanted = {"dp-core": ["numpy>=99", "nothing-of-this-name>=1", "ase>=99; extra == 'ase'"]}
    monkeypatch.setattr(examination, "requires", lambda name: wanted.get(name, []))
    shown = dp("doctor")
    assert shown.code == 1
    assert "repair: pip install 'numpy>=99'" in shown.out
    assert "dp-core needs nothing-of-this-name, which is not installed." in shown.out
    assert "ase>=99" not in shown.out


def test_a_broken_plugin_and_odd_settings(dp, only_numpy, monkeypatch):
    entry = EntryPoint("descriptor.mine", "no_such_module:Mine", "dp.plugins")
    monkeypatch.setattr(examination, "entry_points", lambda group: [entry])
    monkeypatch.setenv("OMP_NUM_THREADS", "all")
    monkeypatch.setenv("DP_BACKEND", "paddle")
    shown = dp("doctor")
    assert shown.code == 1
    assert "The plugin descriptor.mine of no_such_module:Mine cannot be imported" in shown.out
    assert "OMP_NUM_THREADS is 'all'" in shown.out
    assert "repair: unset DP_BACKEND" in shown.out
