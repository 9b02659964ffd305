"""The driver for dpdata, with a real dpdata."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dp_core import DataError, DeepPot, load_model
from dp_core.module import replace

dpdata = pytest.importorskip("dpdata")

from dpdata.driver import Driver  # noqa: E402

from dp_core.dpdata import DPDriver  # noqa: E402


@pytest.fixture
def water(golden):
    return golden("se_e2_a_oneside")


def system(case, names=("H", "O"), nopbc=False):
    """The frames with the elements in another order than the model has them."""
    types = np.array([names.index(["O", "H"][t]) for t in case.data["atype"]])
    data = {
        "atom_names": list(names),
        "atom_numbs": [int(np.sum(types == t)) for t in range(len(names))],
        "atom_types": types,
        "coords": case.data["coord"],
        "cells": case.data["box"].reshape(-1, 3, 3),
        "orig": np.zeros(3),
    }
    return dpdata.System(data=data | ({"nopbc": True} if nopbc else {}))


def test_second_derivatives_are_not_computed(water, monkeypatch):
    marked = DeepPot(replace(load_model(water.path), script={"hessian_mode": True}), "numpy")
    monkeypatch.setattr(DeepPot, "_hessian", None)
    labeled = system(water).predict(marked, driver="dp-core")
    np.testing.assert_allclose(labeled["forces"], system(water).predict(water.path, driver="dp-core")["forces"])


@pytest.mark.parametrize("driver", ["dp-core", "dp", "deepmd", "deepmd-kit"])
def test_predict(water, driver):
    assert Driver.get_driver(driver) is DPDriver
    labeled = system(water).predict(water.path, driver=driver, backend="numpy")
    np.testing.assert_allclose(labeled["energies"], water.data["energy"][:, 0], rtol=1e-9)
    np.testing.assert_allclose(labeled["forces"], water.data["force"], atol=1e-9)
    np.testing.assert_allclose(labeled["virials"].reshape(3, 9), water.data["virial"], atol=1e-9)


def test_open_potential_and_open_boundaries(water):
    pot = DeepPot(water.path, "numpy")
    coord, _, types = water.inputs
    labeled = system(water, nopbc=True).predict(pot, driver="dp-core")
    np.testing.assert_allclose(labeled["energies"], pot.eval(coord, None, types)[0][:, 0], rtol=1e-12)


def test_unknown_element(water):
    named = system(water)
    named.data["atom_names"] = ["He", "O"]
    with pytest.raises(DataError, match="does not know the element 'He'"):
        named.predict(water.path, driver="dp-core", backend="numpy")


def test_what_dpdata_asks_of_a_potential():
    """dpdata finds out in this way whether all frames may be given at once."""
    assert "auto_batch_size" in DeepPot.__init__.__code__.co_varnames


def test_import_before_dpdata():
    """dpdata loads the driver by its entry point, and the driver loads dpdata."""
    subprocess.run([sys.executable, "-c", "import dp_core.dpdata"], check=True)
