"""``dp test``, ``dp plot`` and the rest for models of other outputs than the energy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dp_cli.main import main
from dp_core.data import write_npy_system
from dp_core.data.frame import Frame
from dp_core.model_file import load_model

GOLDEN = Path(__file__).parent / "golden"
OFF = 0.25  # every label is off by so much

#: stored model -> name of the total and of the values of atoms in its results
CASES = {
    "dipole": ("global_dipole", "atom_dipole"),
    "polar_full": ("global_polar", "atom_polar"),
    "dos": ("dos", "atom_dos"),
    "property_intensive": ("gap", "atom_gap"),
}


@pytest.fixture
def system(request, tmp_path, monkeypatch):
    """The case of a stored model, with its frames and results in ``data``."""
    name = request.param
    model = load_model(GOLDEN / f"{name}.dp")
    output = model.output
    with np.load(GOLDEN / f"{name}.npz") as case:
        stored = dict(case)
    natoms = len(stored["atype"])
    total, atoms = (stored[key] for key in CASES[name])
    frames = []
    for k, coord in enumerate(stored["coord"]):
        labels = {
            output.name: total[k].reshape(-1) + OFF,
            f"atom_{output.name}": atoms[k].reshape(natoms, -1) - OFF,
        }
        labels |= {"fparam": stored["fparam"][k]} if "fparam" in stored else {}
        cell = stored["box"][k].reshape(3, 3)
        frames.append(
            Frame(
                system=0, index=k, coord=coord, box=cell, types=stored["atype"], labels=labels, found=frozenset(labels)
            )
        )
    write_npy_system(tmp_path / "data", frames, model.type_map)
    monkeypatch.chdir(tmp_path)
    return name, output, natoms


def errors(caplog, *arguments):
    """The errors that a command reports, by the text before them."""
    caplog.clear()
    assert main([str(a) for a in arguments]) == 0
    found = (re.fullmatch(r"([A-Z].*?) *: (\d\.\d+e[+-]\d+)( .*)?", record.message) for record in caplog.records)
    return {line[1]: float(line[2]) for line in found if line}


every_system = pytest.mark.parametrize("system", CASES, indirect=True)


@every_system
def test_errors_of_totals_and_of_atoms(system, caplog):
    name, output, natoms = system
    model = GOLDEN / f"{name}.dp"
    totals = errors(caplog, "test", "-m", model, "-s", "data")
    atoms = errors(caplog, "test", "-m", model, "-s", "data", "-a")
    if output.kind in ("dipole", "polar"):
        label = {"dipole": "Dipole", "polar": "Polarizability"}[output.kind]
        expected = {"": OFF, "/sqrtN": OFF / np.sqrt(natoms), "/N": OFF / natoms}
        assert totals == {f"{label}  RMSE{per}": pytest.approx(value, rel=1e-5) for per, value in expected.items()}
        assert atoms == {f"{label}  RMSE": pytest.approx(OFF, rel=1e-5)}
        return
    label = {"dos": "DOS", "property": "PROPERTY"}[output.kind]
    for measure in ("MAE", "RMSE"):
        assert totals[f"{label} {measure}"] == pytest.approx(OFF, rel=1e-5)
        assert atoms[f"Atomic {label} {measure}"] == pytest.approx(OFF, rel=1e-5)
    assert not any("Atomic" in key for key in totals)


@every_system
def test_detail_files_and_plots(system):
    name, output, _ = system
    model = str(GOLDEN / f"{name}.dp")
    assert main(["test", "-m", model, "-s", "data", "-d", "details"]) == 0
    files = {"dos": "details.dos.out.0", "property": "details.property.out.0"}
    table = np.loadtxt(files.get(output.kind, "details.out"), ndmin=2)
    half = table.shape[1] // 2
    np.testing.assert_allclose(table[:, :half] - table[:, half:], OFF, rtol=1e-9)
    assert main(["plot", "-m", model, "-s", "data", "-o", "parity.svg"]) == 0
    assert Path("parity.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("system", ["dos"], indirect=True)
def test_a_file_for_every_frame_may_be_more_than_can_be_open(system):
    resource = pytest.importorskip("resource")
    for name in ("coord", "box", "dos", "atom_dos", "fparam"):
        path = Path("data/set.000") / f"{name}.npy"
        np.save(path, np.repeat(np.load(path), 40, axis=0))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, limits[1]))
    try:
        assert main(["test", "-m", str(GOLDEN / "dos.dp"), "-s", "data", "-d", "details", "-a"]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(list(Path().glob("details.dos.out.*"))) == len(list(Path().glob("details.ados.out.*"))) == 120


@every_system
def test_descriptors_and_content(system, capsys):
    name, output, _ = system
    model = str(GOLDEN / f"{name}.dp")
    assert main(["eval-desc", "-m", model, "-s", "data", "-o", "."]) == 0
    (written,) = Path().glob("*.npy")
    with np.load(GOLDEN / f"{name}.npz") as case:
        np.testing.assert_allclose(np.load(written), case["descriptor"], rtol=1e-9, atol=1e-12)
    capsys.readouterr()
    assert main(["show", model, "fitting-net"]) == 0
    shown = capsys.readouterr()
    assert output.kind in shown.out + shown.err


@pytest.fixture
def spins(tmp_path, monkeypatch):
    """The frames and results of a stored model with spins, in ``data``; labels are off by ``OFF``."""
    with np.load(GOLDEN / "spin_se_e2_a.npz") as case:
        stored = dict(case)
    frames = []
    for k, coord in enumerate(stored["coord"]):
        labels = {name: stored[name][k].reshape(-1, 3) + OFF for name in ("force", "force_mag")}
        labels |= {"energy": stored["energy"][k], "spin": stored["spin"][k]}
        cell = stored["box"][k].reshape(3, 3)
        frames.append(Frame(0, k, coord, cell, stored["atype"], labels, frozenset(labels)))
    write_npy_system(tmp_path / "data", frames, ["Ni", "O"])
    monkeypatch.chdir(tmp_path)
    return stored


def test_a_model_with_spins(spins, caplog):
    """Its forces on atoms and magnetic forces are compared, the latter of atoms with a spin."""
    found = errors(caplog, "test", "-m", GOLDEN / "spin_se_e2_a.dp", "-s", "data", "-d", "details")
    for name in ("Force atom MAE", "Force atom RMSE", "Force spin MAE", "Force spin RMSE"):
        assert found[name] == pytest.approx(OFF, rel=1e-5)
    assert found["Energy MAE"] < 1e-9
    assert "Force  MAE" not in found
    nframes, natoms = spins["spin"].shape[:2]
    magnetic = int((spins["atype"] == 0).sum())
    for suffix, count in (("fr", natoms), ("fm", magnetic)):
        rows = np.loadtxt(f"details.{suffix}.out")
        assert rows.shape == (nframes * count, 6)
        np.testing.assert_allclose(rows[:, :3] - rows[:, 3:], OFF, atol=1e-9)
    assert not Path("details.f.out").exists()


def test_tools_for_a_model_with_spins(spins, caplog):
    model = str(GOLDEN / "spin_se_e2_a.dp")
    assert main(["change-bias", model, "-s", "data", "-o", "changed.dp"]) == 0
    assert main(["model-devi", "-m", model, "changed.dp", "-s", "data", "-o", "devi.out"]) == 0
    assert np.loadtxt("devi.out").shape == (3, 8)
    assert main(["eval-desc", "-m", model, "-s", "data", "-o", "desc"]) == 0
    assert np.load("desc/data.npy").shape[:2] == (3, 12)
    caplog.clear()
    assert main(["show", model, "type-map", "descriptor", "observed-type"]) == 0
    assert "The type_map is ['Ni', 'O']" in caplog.text
    assert "se_e2_a" in caplog.text
