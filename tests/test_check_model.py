"""check_model passes good models and finds what is wrong with broken ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dp_core import prediction, testing
from dp_core.arrays import namespace
from dp_core.model_file import load_model
from dp_core.module import module, replace
from dp_core.testing import ModelError, check_model

GOOD = [
    "se_e2_a_oneside",
    "se_e2_a_twoside",
    "se_e2_a_exclude_davg_zero",
    "se_e2_r_exclude",
    "se_e2_r_twoside",
    "se_e3_resnet",
    "hybrid_sea_ser",
    "hybrid_sea_dpa1",
    "act_relu_linear",
    "ener_fparam_aparam",
    "ener_atom_ener",
    "atom_exclude",
    "pair_exclude_sea",
    "sel_overflow_sea",
    "float32",
    "mixed_float32_float64",
    "se_e3_tebd_concat",
    "se_e3_tebd_strip",
    "se_e3_tebd_strip_nosmooth",
    "dpa1_attn0_oneside_exclude",
    "dpa1_attn2_options",
    "dpa1_attn2_strip_smooth",
    "dpa1_strip_oneside",
    "se_atten_v2",
    "dpa2_small",
    "dpa2_threebody",
    "dpa2_res_residual",
    "dpa3_charge_spin",
    "dpa3_dynamic_sel",
    "dpa3_no_angle",
    "dpa3_options",
    "zbl_dpa1",
    "spin_se_e2_a",
    "dprc",
    "dipole",
    "dipole_sel",
    "polar_full",
    "dos",
    "property_intensive",
]


#: Each check has sizes of its own, for which JAX compiles a program: there, one model of each kind.
FEW = [
    "se_e2_a_twoside",
    "hybrid_sea_dpa1",
    "se_e3_tebd_strip",
    "dpa1_attn2_strip_smooth",
    "dpa2_threebody",
    "dpa3_options",
    "zbl_dpa1",
    "spin_se_e2_a",
    "dipole_sel",
]


@pytest.mark.parametrize("name", GOOD)
def test_stored_models(golden, backend, name):
    if backend == "jax" and name not in FEW:
        pytest.skip("one model of each kind is enough where every size is compiled")
    report = check_model(golden(name).path, backend, natoms=7)
    report.raise_for_failures()
    assert report.passed
    assert not report.skipped
    assert len(report.checks) >= 19


def test_a_discontinuity_of_the_format_is_found(golden):
    """Pairs excluded in the descriptor, with means that are not 0: empty slots count and excluded neighbours do not,
    so that the energy jumps when one enters. The format defines it so."""
    report = check_model(golden("se_e2_a_exclude").path)
    assert [check.name for check in report.failures] == ["continuity at the cutoff"]


def test_a_dpa2_that_is_not_smooth(golden):
    """Neighbours take their full part up to the cutoff, and means that are not 0 bring the first atom in. The format
    defines it so."""
    report = check_model(golden("dpa2_few_updates").path)
    failed = {check.name for check in report.failures}
    assert failed == {"permutation", "continuity at the cutoff", "isolated atoms", "virtual atoms"}


@pytest.mark.parametrize("name", ["dpa1_econf", "sel_overflow_dpa1", "linear_mean", "spin_dpa1"])
def test_another_of_attention_without_a_switch(golden, name):
    """Without smooth_type_embedding a neighbour at the cutoff takes its full part in the attention."""
    report = check_model(golden(name).path)
    assert [check.name for check in report.failures] == ["continuity at the cutoff"]


def test_an_energy_that_depends_on_the_first_atom_is_found(golden):
    """With set_davg_zero false and types in the network of distances, empty slots have the type of the first atom of
    the frame. The format defines it so."""
    report = check_model(golden("dpa1_attn0_concat").path)
    failed = {check.name for check in report.failures}
    assert failed == {"permutation", "continuity at the cutoff", "isolated atoms", "virtual atoms"}


def test_another_where_an_edge_gets_angles(golden):
    """Without smooth_edge_update an edge without angles is updated by itself, one with angles by their sum, which is 0
    at their cutoff. The format defines it so."""
    report = check_model(golden("dpa3_small").path)
    assert [check.name for check in report.failures] == ["continuity at the cutoff"]


def test_what_local_frames_lack_is_found(golden):
    """They have no switch, and know right from left."""
    report = check_model(golden("loc_frame").path)
    assert [check.name for check in report.failures] == ["reflection", "continuity at the cutoff"]


@module
class Broken:
    """A model with a flaw added to the energy of every atom."""

    inner: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, table):
        out = self.inner(table)
        return out | {"energy": out["energy"] + out["mask"][:, None] * self.flaw(table)[:, None]}


@module
class WrongForce(Broken):
    """An energy that the gradient does not see."""

    def flaw(self, table):
        vectors = getattr(table.vectors, "_value", table.vectors)
        return 0.01 * np.sum(np.exp(-(vectors**2)), axis=(1, 2))


@module
class Jump(Broken):
    """A neighbour counts the same at any distance."""

    def flaw(self, table):
        occupied = table.neighbor_types >= 0
        return 0.001 * namespace(table.types).sum(occupied, axis=1)


@module
class Directed(Broken):
    """The x axis is special; C2-smooth at the cutoff."""

    def flaw(self, table):
        xp = namespace(table.vectors)
        x = table.vectors[:, :, 0]
        r2 = xp.sum(table.vectors**2, axis=-1) / self.inner.descriptor.rcut**2
        return 0.01 * xp.sum((1 - r2) ** 3 * x * x, axis=1)


@module
class FrameNumber(Broken):
    """The place of a frame in the batch matters."""

    def flaw(self, table):
        return 0.01 * table.frame


@module
class RowNumber(Broken):
    """The place of an atom in the table matters."""

    def flaw(self, table):
        return 0.001 * np.arange(len(table.types))


@module
class Restless(Broken):
    """Changes itself when it is called."""

    def flaw(self, table):
        self.inner.out_bias[...] += 0.001
        return 0.0 * table.frame


@module
class Forgetful(Broken):
    """Writes single precision."""

    def flaw(self, table):
        return 0.0 * table.frame

    def serialize(self):
        data = self.inner.serialize()
        data["@variables"]["out_bias"] = data["@variables"]["out_bias"].astype(np.float32)
        return data


@module
class NotStandard(Broken):
    """Uses what only NumPy has."""

    def flaw(self, table):
        return 0.0 * table.frame[..., None].flatten()


@pytest.mark.parametrize(
    ("flaw", "found"),
    [
        (WrongForce, {"force = -dE/dx", "virial = -dE/dstrain"}),
        (Jump, {"continuity at the cutoff"}),
        (Directed, {"rotation", "sums of atomic quantities"}),
        (FrameNumber, {"frames together = alone"}),
        (RowNumber, {"permutation", "supercell", "tables in parts = whole"}),
        (Restless, {"model is left alone", "save and load .dp"}),
        (Forgetful, {"save and load .dp", "save and load .yaml"}),
        (NotStandard, {"array-API standard"}),
    ],
)
def test_flaws_are_found(golden, flaw, found):
    model = load_model(golden("se_e2_a_oneside").path)
    report = check_model(flaw(model), natoms=5)
    failed = {check.name for check in report.failures}
    assert found <= failed
    assert "translation" not in failed or flaw in (FrameNumber, Restless)
    with pytest.raises(ModelError, match="The model fails:\nFAILED"):
        report.raise_for_failures()
    for name in found:
        assert report[name].measured > 10 * report[name].tolerance
        assert "FAILED" in str(report[name])
        assert str(report[name]) in str(report)


def test_an_exception_is_a_failed_check(golden):
    model = load_model(golden("se_e2_a_oneside").path)
    broken = replace(model, descriptor=replace(model.descriptor, axis_neuron="many"))
    with pytest.raises(TypeError):
        check_model(broken)
    unsaved = Forgetful(model)
    object.__setattr__(unsaved, "serialize", None)
    check = check_model(unsaved, natoms=4)["save and load .dp"]
    assert not check.passed
    assert check.note.startswith("TypeError: 'NoneType' object is not callable")


@module
class Tilted:
    """A dipole with a constant vector on every atom."""

    inner: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, table):
        out = self.inner(table)
        return out | {"dipole": out["dipole"] + 0.01 * out["mask"][:, None]}


def test_a_dipole_that_does_not_turn_is_found(golden):
    report = check_model(Tilted(load_model(golden("dipole").path)), natoms=5)
    assert not report["rotation"].passed
    assert report["translation"].passed


def test_a_mean_that_is_no_mean_is_found(golden, monkeypatch):
    """The value of a frame is compared with its atoms, those that the model excludes left out."""
    monkeypatch.setattr(testing, "installed", lambda: ["numpy"])
    model = replace(load_model(golden("property_intensive").path), atom_exclude_types=(0,))
    assert check_model(model, natoms=5)["sums of atomic quantities"].passed

    def undivided(frame, values, nframes, plain=prediction._sums):
        return np.ones(nframes) if set(values) <= {0.0, 1.0} else plain(frame, values, nframes)  # number of atoms

    monkeypatch.setattr(prediction, "_sums", undivided)
    assert not check_model(model, natoms=5)["sums of atomic quantities"].passed


def test_single_precision_is_not_told_by_stored_numbers_alone(golden, monkeypatch):
    """This model computes in single precision, with weights in double."""
    monkeypatch.setattr(testing, "installed", lambda: ["numpy"])
    model = load_model(golden("se_e2_a_oneside").path)
    low = replace(model, descriptor=replace(model.descriptor, precision="float32"))
    found = [check_model(m, natoms=4)["rotation"].tolerance for m in (model, low)]
    assert found == [1e-8, 1e-3]
