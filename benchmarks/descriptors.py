"""Training steps with every descriptor, with the settings of DeePMD-kit's examples of water."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.problem import Problem
from benchmarks.programs import Program
from benchmarks.report import Report
from benchmarks.training import alternating, step_times

PART = "step by descriptor"

_SMOOTH: dict[str, Any] = {"rcut": 6.0, "rcut_smth": 0.5}
_DPA1 = {
    "type": "dpa1", **_SMOOTH, "sel": 120, "neuron": [25, 50, 100], "axis_neuron": 16, "attn": 128, "attn_dotr": True,
    "attn_mask": False, "resnet_dt": False,
}  # fmt: skip
_REPINIT = {
    **_SMOOTH, "tebd_dim": 8, "nsel": 120, "neuron": [25, 50, 100], "axis_neuron": 12, "activation_function": "tanh",
    "three_body_sel": 48, "three_body_rcut": 4.0, "three_body_rcut_smth": 3.5, "use_three_body": True,
}  # fmt: skip
_REPFORMER = {
    "rcut": 4.0, "rcut_smth": 3.5, "nsel": 48, "nlayers": 6, "g1_dim": 128, "g2_dim": 32, "attn2_hidden": 32,
    "attn2_nhead": 4, "attn1_hidden": 128, "attn1_nhead": 4, "axis_neuron": 4, "update_h2": False,
    "update_g1_has_conv": True, "update_g1_has_grrg": True, "update_g1_has_drrd": True, "update_g1_has_attn": False,
    "update_g2_has_g1g1": False, "update_g2_has_attn": True, "update_style": "res_residual", "update_residual": 0.01,
    "update_residual_init": "norm", "attn2_has_gate": True, "use_sqrt_nnei": True, "g1_out_conv": True,
    "g1_out_mlp": True,
}  # fmt: skip
_REPFLOW = {
    "n_dim": 128, "e_dim": 64, "a_dim": 32, "nlayers": 6, "e_rcut": 6.0, "e_rcut_smth": 5.3, "e_sel": 120,
    "a_rcut": 4.0, "a_rcut_smth": 3.5, "a_sel": 30, "axis_neuron": 4, "skip_stat": True, "a_compress_rate": 1,
    "a_compress_e_rate": 2, "a_compress_use_split": True, "update_angle": True, "update_style": "res_residual",
    "update_residual": 0.1, "update_residual_init": "const", "smooth_edge_update": True,
}  # fmt: skip

#: name -> section of the input, without what all have
EXAMPLES: dict[str, dict[str, Any]] = {
    "se_e2_r": {"type": "se_e2_r", **_SMOOTH, "sel": [46, 92], "neuron": [5, 10, 20], "resnet_dt": False},
    "se_e3": {"type": "se_e3", **_SMOOTH, "sel": [40, 80], "neuron": [2, 4, 8], "resnet_dt": False},
    "dpa1 without attention": {**_DPA1, "attn_layer": 0},
    "dpa1, 2 layers": {**_DPA1, "attn_layer": 2},
    "dpa2": {"type": "dpa2", "repinit": _REPINIT, "repformer": _REPFORMER, "add_tebd_to_repinit_out": False},
    "dpa3": {"type": "dpa3", "repflow": _REPFLOW},
}


def measure_descriptors(
    problem: Problem, programs: Sequence[Program], env: Mapping[str, str], folder: Path, report: Report, *, rounds: int
) -> None:
    """Seconds per step and peak memory of every program that knows the descriptor."""
    for name, settings in EXAMPLES.items():
        case = replace(problem, descriptor={"precision": "float64", "seed": 1, **settings})
        for round_ in range(rounds):
            for program in alternating(programs, round_):
                place = folder / f"{settings['type']}-{name[-3:].strip()}-{round_}-{program.name}"
                step_times(case, program, env, place, report, part=PART, case=name, every=4)
