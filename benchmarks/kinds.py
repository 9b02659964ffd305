"""An input for each kind of model, on the folder of data that the README of the benchmarks describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_PRECISE = {"precision": "float64", "seed": 1}


def _se(rcut: float, sel: list[int], **more: Any) -> dict[str, Any]:
    return {
        "type": "se_e2_a", "rcut": rcut, "rcut_smth": 0.5, "sel": sel, "neuron": [8, 16, 32], "axis_neuron": 4,
        "type_one_side": True, **_PRECISE, **more,
    }  # fmt: skip


def _fitting(**more: Any) -> dict[str, Any]:
    return {"neuron": [32, 32], "resnet_dt": True, **_PRECISE, **more}


@dataclass(frozen=True)
class Kind:
    """What distinguishes the input of a kind of model."""

    model: dict[str, Any]
    loss: dict[str, Any]
    train: list[str]
    """Systems for training, relative to the folder of data."""
    validate: list[str]
    """Systems for validation."""
    test: str = ""
    """The system for ``dp test``; the first for validation if empty."""
    tested: bool = True
    """Whether ``dp test`` knows what to test."""
    backend: str = "torch"
    """That of DeePMD-kit which can train it."""
    batch: int = 1
    steps: int = 200

    def document(self) -> dict[str, Any]:
        """The input, with paths relative to the folder of data."""
        return {
            "model": self.model,
            "loss": self.loss,
            "learning_rate": {"type": "exp", "start_lr": 0.005, "stop_lr": 2e-4, "decay_steps": self.steps // 20},
            "training": {
                "training_data": {"systems": self.train, "batch_size": self.batch},
                "validation_data": {"systems": self.validate, "batch_size": 1, "numb_btch": 10},
                "numb_steps": self.steps,
                "seed": 1,
            },
        }


#: Energy and force; the force counts most throughout.
_ENERGY = {"type": "ener", "start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_f": 1000, "limit_pref_f": 100}
_TENSOR = {"type": "tensor", "pref": 0.0, "pref_atomic": 1.0}
_WATER = ["O", "H"]

# DPRc: pairs of the quantum region and pairs across its border have a descriptor each, other pairs none
_DPRC_TYPES = ["C", "H", "HW", "O", "OW", "P"]
_QUANTUM, _SOLVENT = [0, 1, 3, 5], [2, 4]
_INSIDE = [[a, b] for a in _QUANTUM for b in _QUANTUM if a <= b]
_ACROSS = [[min(a, b), max(a, b)] for a in _QUANTUM for b in _SOLVENT]
_OUTSIDE = [[2, 2], [2, 4], [4, 4]]


def _dprc(excluded: list[list[int]], rcut: float) -> dict[str, Any]:
    return _se(rcut, [6, 11, 60, 6, 30, 1], exclude_types=excluded, set_davg_zero=True)


_DIPOLE_TRAIN = "water_tensor/dipole/training/atomic_system"
_POLAR_TRAIN = "water_tensor/polar/training/atomic_system"
_CENTROIDS = "water_dplr"

#: Stands for the file of the model of centroids, which differs from program to program.
CENTROID_FILE = "centroids"

#: Name -> input.
KINDS: dict[str, Kind] = {
    "dipole": Kind(
        {
            "type_map": _WATER, "atom_exclude_types": [1], "descriptor": _se(4.0, [30, 60]),
            "fitting_net": _fitting(type="dipole"),
        },
        _TENSOR, [_DIPOLE_TRAIN], [_DIPOLE_TRAIN.replace("training", "validation")],
        "water_tensor/dipole/validation/global_system",
    ),
    "polar": Kind(
        {
            "type_map": _WATER, "atom_exclude_types": [1], "descriptor": _se(4.0, [30, 60]),
            "fitting_net": _fitting(type="polar", fit_diag=False),
        },
        _TENSOR, [_POLAR_TRAIN], [_POLAR_TRAIN.replace("training", "validation")],
        "water_tensor/polar/validation/global_system",
    ),
    "dos": Kind(
        {"type_map": ["Si"], "descriptor": _se(4.5, [40]), "fitting_net": _fitting(type="dos", numb_dos=250)},
        {"type": "dos", "start_pref_ados": 1, "limit_pref_ados": 1}, ["dos/atomic_system"], ["dos/atomic_system"],
        "dos/global_system",
    ),
    "property": Kind(
        {
            "type_map": ["H", "C", "N", "O"],
            "descriptor": {
                "type": "dpa1", "sel": 40, "rcut": 6.0, "rcut_smth": 0.5, "attn_layer": 0, "neuron": [8, 16, 32],
                "axis_neuron": 4, "tebd_dim": 4, "set_davg_zero": True, "type_one_side": True, **_PRECISE,
            },
            "fitting_net": {
                "type": "property", "property_name": "band_prop", "task_dim": 3, "intensive": True,
                "neuron": [32, 32], **_PRECISE,
            },
        },
        {"type": "property", "loss_func": "smooth_mae", "metric": ["mae", "rmse"]},
        ["property/data_0", "property/data_1"], ["property/data_2"], batch=4,
    ),
    "population": Kind(
        {
            "type_map": ["Ti", "O"], "descriptor": _se(4.0, [30, 40]),
            "fitting_net": {"type": "population", "neuron": [32, 32], **_PRECISE},
        },
        {"type": "population", "loss_func": "smooth_mae", "metric": ["mae", "rmse"]}, ["population"], ["population"],
        tested=False,
    ),
    "spin": Kind(
        {
            "type_map": ["Ni", "O"], "descriptor": _se(4.0, [60, 60]), "fitting_net": _fitting(),
            "spin": {"use_spin": [True, False], "virtual_scale": [0.314]},
        },
        {
            "type": "ener_spin", "start_pref_e": 0.02, "limit_pref_e": 1, "start_pref_fr": 1000, "limit_pref_fr": 1,
            "start_pref_fm": 1000, "limit_pref_fm": 1,
        },
        ["spin/data_0", "spin/data_1"], ["spin/data_2"],
    ),
    "dprc": Kind(
        {
            "type_map": _DPRC_TYPES,
            "descriptor": {"type": "hybrid", "list": [_dprc(_ACROSS + _OUTSIDE, 6.0), _dprc(_INSIDE + _OUTSIDE, 4.5)]},
            "fitting_net": _fitting(atom_ener=[None, None, 0.0, None, 0.0, None]),
        },
        _ENERGY, ["dprc"], ["dprc"],
    ),
    "fparam": Kind(
        {"type_map": ["A"], "descriptor": _se(4.0, [40]), "fitting_net": _fitting(numb_fparam=1)},
        _ENERGY, ["fparam/e3000_i2000", "fparam/e8000_i2000"], ["fparam/e8000_i2000"],
    ),
    "hessian": Kind(
        {"type_map": ["C", "H", "N", "O"], "descriptor": _se(4.0, [10, 20, 10, 5]), "fitting_net": _fitting()},
        _ENERGY | {"start_pref_h": 10, "limit_pref_h": 1}, ["hessian/H10C5N2O"], ["hessian/H8C4N2O"], steps=60,
    ),
    "dplr": Kind(
        {
            "type_map": _WATER, "descriptor": _se(4.0, [40, 80]), "fitting_net": _fitting(),
            "modifier": {
                "type": "dipole_charge", "model_name": CENTROID_FILE, "model_charge_map": [-8.0],
                "sys_charge_map": [6.0, 1.0], "ewald_h": 1.0, "ewald_beta": 0.4,
            },
        },
        _ENERGY | {"start_pref_v": 0.02, "limit_pref_v": 1}, [_CENTROIDS], [_CENTROIDS], backend="tensorflow",
    ),
}  # fmt: skip

#: The model of centroids that both programs put into ``dplr``; dp trains it.
CENTROIDS = Kind(
    {
        "type_map": _WATER, "descriptor": _se(4.0, [40, 80]),
        "fitting_net": _fitting(type="dipole", sel_type=[0]),
    },
    _TENSOR, [_CENTROIDS], [_CENTROIDS],
)  # fmt: skip
