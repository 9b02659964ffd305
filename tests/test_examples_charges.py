"""The examples of dipoles, polarizabilities and charges: their data, and a few steps of each training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core import DeepEval
from dp_core.backend import get_backend, installed
from dp_core.data import Label, open_systems
from dp_core.data.budget import Budget
from dp_core.data.short_range import short_range_systems
from dp_core.ewald import ewald
from dp_core.model_file import load_model, save_model
from dp_core.schema import load_input
from dp_core.training import train

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FIELD, CHARGED = EXAMPLES / "water-field", EXAMPLES / "charged-water"
SYSTEMS = sorted(path.parent for name in (FIELD, CHARGED) for path in (name / "data").rglob("type.raw"))
INPUTS = sorted([*FIELD.glob("input*.json"), *CHARGED.glob("input*.json")])
#: number per frame, or per atom
SIZES = {"box": 9, "energy": 1, "virial": 9, "dipole": 3, "polarizability": 9, "short_energy": 1}
ATOMIC = {"coord": 3, "force": 3, "short_force": 3, "atomic_dipole": 1}  # one atom of three has a dipole


def relative(path: Path) -> str:
    return path.relative_to(EXAMPLES).as_posix()


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path) for path in (folder / "set.000").glob("*.npy")}


@pytest.mark.parametrize("folder", [FIELD, CHARGED], ids=relative)
def test_they_are_small_and_tell_where_they_are_from(folder):
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc") < 1e6
    record = json.loads((folder / "provenance.json").read_text())
    assert {"python", "numpy", "ase"} <= set(record["versions"])
    assert record["systems"].keys() == {
        f.relative_to(folder / "data").as_posix() for f in SYSTEMS if folder in f.parents
    }
    assert max(record["label_errors"].values()) < 2e-5


@pytest.mark.parametrize("folder", SYSTEMS, ids=relative)
def test_arrays_of_a_system(folder):
    data = arrays(folder)
    natoms, nframes = len((folder / "type.raw").read_text().split()), len(data["coord"])
    for name, value in data.items():
        width = SIZES[name] if name in SIZES else ATOMIC[name] * natoms
        assert value.shape == ((nframes,) if "energy" in name else (nframes, width)), name
        assert value.dtype == np.float64
        assert np.isfinite(value).all()
    assert (folder / "nopbc").exists() == (FIELD in folder.parents)


def test_the_long_range_part_is_known_exactly():
    """The whole labels less the short-range ones are the energy and forces of the spread charges."""
    for folder in (f for f in SYSTEMS if CHARGED in f.parents):
        data = arrays(folder)
        atoms, cell = data["coord"][0].reshape(-1, 3, 3), data["box"][0].reshape(3, 3)
        displacement = data["atomic_dipole"][0].reshape(-1, 3)
        np.testing.assert_allclose(displacement, 0.13194 * (atoms[:, 1] + atoms[:, 2] - 2 * atoms[:, 0]), atol=1e-12)
        sites = np.concatenate([atoms[:, 0] + displacement, atoms[:, 1], atoms[:, 2]])
        charge = np.repeat([-1.1128, 0.5564, 0.5564], len(atoms))
        found = ewald(sites, charge, cell, beta=0.5, spacing=0.8, backend=get_backend("numpy"))
        assert found.energy.sum() == pytest.approx(data["energy"][0] - data["short_energy"][0], abs=1e-5)
        on_m, on_h1, on_h2 = np.split(found.force, 3)
        force = np.stack([(1 - 0.26388) * on_m, on_h1 + 0.13194 * on_m, on_h2 + 0.13194 * on_m], axis=1)
        np.testing.assert_allclose(force.ravel(), data["force"][0] - data["short_force"][0], atol=1e-5)


def test_polarizabilities_are_symmetric_and_grow_with_the_cluster():
    traces = {}
    for folder in (f for f in SYSTEMS if FIELD in f.parents):
        alpha = arrays(folder)["polarizability"].reshape(-1, 3, 3)
        np.testing.assert_array_equal(alpha, alpha.transpose(0, 2, 1))
        assert np.linalg.eigvalsh(alpha).min() > 0
        traces[relative(folder).split("/")[-1]] = np.trace(alpha.mean(axis=0)) / 3
    assert traces["two"] < traces["three"] < traces["four"]


@pytest.mark.slow
def test_dipoles_are_slopes_of_the_energy(monkeypatch):
    pytest.importorskip("tblite.interface")
    monkeypatch.syspath_prepend(str(FIELD))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import make_data

    assert make_data.check()["dipole_fd"] < 1e-5


@pytest.mark.parametrize("path", INPUTS, ids=relative)
def test_inputs_are_valid_and_find_their_data(path):
    training = load_input(path).training
    for section in (training.training_data, training.validation_data):
        assert open_systems(section.systems, base=path.parent)


def trained(name: str, folder: Path, example: Path) -> Any:
    document = json.loads((example / name).read_text())
    document["training"].update(numb_steps=2, disp_freq=1)
    result = train(document, backend=installed()[0], directory=folder, skip_neighbor_stat=True)
    curve = np.loadtxt(folder / "lcurve.out")
    assert curve.shape[0] == 2
    assert np.isfinite(curve).all()
    return result.model


@pytest.mark.parametrize("kind", ["dipole", "polar"])
def test_a_few_steps_of_the_tensors(kind, tmp_path):
    shutil.copytree(FIELD / "data", tmp_path / "data")
    model = trained(f"input_{kind}.json", tmp_path, FIELD)
    data = arrays(FIELD / "data" / "validation" / "four")
    value = DeepEval(model, "numpy").eval(data["coord"][:1], None, [0, 1, 1] * 4, atomic=False)
    assert value.shape == (1, {"dipole": 3, "polar": 9}[kind])


def test_a_few_steps_of_dplr(tmp_path):
    """Both trainings run, and the energy model learns labels without the forces of the charges that it carries."""
    shutil.copytree(CHARGED / "data", tmp_path / "data")
    save_model(trained("input_dipole.json", tmp_path, CHARGED), tmp_path / "dipole.dp")
    model = trained("input.json", tmp_path, CHARGED)
    assert model.modifier.centroid_charges == (-1.1128,)
    save_model(model, tmp_path / "water.dp")
    labels = [Label("force", 3, atomic=True), Label("short_force", 3, atomic=True)]
    systems = open_systems(str(tmp_path / "data" / "validation" / "330K"), ["O", "H"])
    (seen,) = short_range_systems(systems, load_model(tmp_path / "water.dp"), get_backend("numpy"), labels, Budget(0))
    frame, whole = seen.frame(0, labels), systems[0].frame(0, labels)
    assert not np.array_equal(frame.labels["force"], whole.labels["force"])
    assert np.abs(frame.labels["force"].sum(axis=0)).max() < 1e-6  # nothing pushes the whole
