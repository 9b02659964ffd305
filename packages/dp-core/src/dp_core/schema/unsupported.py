"""What DeePMD-kit has and this version of dp does not: keys and types that are refused with a clear sentence.

A key is accepted with DeePMD-kit's own default, which changes nothing (its out.json holds all defaults), and then not
kept. Whoever adds a feature removes its line here.
"""

from __future__ import annotations

from typing import Any

from dp_core.errors import ConfigError, nearest

SEE = "see the manual page Differences"

#: section or kind of section -> key -> (DeePMD-kit's default, None if it has none; what the key belongs to)
KEYS: dict[str, dict[str, tuple[Any, str]]] = {
    "": {
        "nvnmd": (None, "training for NVNMD hardware"),
        "loss_dict": (None, "multi-task training"),
    },
    "model": {
        "model_dict": (None, "multi-task training"),
        "shared_dict": ({}, "multi-task training"),
        "model_branch_alias": ([], "multi-task training"),
        "finetune_head": (None, "multi-task fine-tuning"),
        "srtab_add_bias": (True, "a pair table without the bias of the types"),
        "bridging_method": ("None", "bridging to the ZBL potential"),
        "bridging_r_inner": (0.5, "bridging to the ZBL potential"),
        "bridging_r_outer": (0.8, "bridging to the ZBL potential"),
        "compress": (None, "compression from the input file; use dp compress"),
    },
    "model/spin": {
        "allow_missing_label": (False, "spin models without virtual atoms"),
        "spin_norm": (None, "spins whose virtual atoms are in the data"),
        "virtual_len": (None, "spins whose virtual atoms are in the data"),
    },
    "fitting": {
        "layer_name": (None, "sharing of layers by name"),
    },
    "optimizer": {
        "kf_blocksize": (None, "the LKF optimizer"),
        "kf_start_pref_e": (None, "the LKF optimizer"),
        "kf_limit_pref_e": (None, "the LKF optimizer"),
        "kf_start_pref_f": (None, "the LKF optimizer"),
        "kf_limit_pref_f": (None, "the LKF optimizer"),
        "momentum": (None, "the Muon optimizers"),
        "muon_momentum": (None, "the Muon optimizers"),
        "lr_adjust": (None, "the Muon optimizers"),
        "lr_adjust_coeff": (None, "the Muon optimizers"),
        "muon_mode": (None, "the Muon optimizers"),
        "enable_gram": (None, "the Muon optimizers"),
        "flash_muon": (None, "the Muon optimizers"),
        "magma_muon": (None, "the Muon optimizers"),
    },
    "training": {
        "model_prob": (None, "multi-task training"),
        "data_dict": (None, "multi-task training"),
        "num_epoch_dict": (None, "multi-task training"),
        "mixed_precision": (None, "mixed precision"),
        "enable_profiler": (False, "the profiler of a framework"),
        "zero_stage": (0, "sharded training"),
        "neighbor_graph_method": ("auto", "the choice of a neighbour search"),
        "enable_tf32": (False, "reduced precision of matrix products"),
    },
    "training/training_data": {
        "set_prefix": ("set", "set folders not called set.*"),
    },
    "training/validation_data": {
        "set_prefix": ("set", "set folders not called set.*"),
    },
    "validating": {
        "compiled_infer": (False, "compiled evaluation in a validation"),
        "tf32_infer": (False, "reduced precision in a validation"),
        "amp_infer": (False, "reduced precision in a validation"),
    },
}

#: kind of section -> types that DeePMD-kit has
TYPES: dict[str, tuple[str, ...]] = {
    "model": ("dpa4", "DPA4", "SeZM", "sezm"),
    "descriptor": (
        "dpa4c", "DPA4C", "dpa4", "DPA4", "SeZM", "sezm", "se_a_tpe", "se_a_ebd",
        "se_a_mask",
    ),
    "fitting": ("dpa4_ener", "sezm_ener"),
    "loss": ("dens",),
    "optimizer": ("LKF", "AdaMuon", "HybridMuon"),
}  # fmt: skip


def refuse_key(feature: str) -> str:
    """The sentence about a key that this version of dp does not support."""
    return f"is not supported by this version of dp ({feature}); {SEE}"


def refuse_type(kind: str, name: str, known: list[str]) -> None:
    """Raise ConfigError for a type that DeePMD-kit has and this version of dp does not."""
    if name in TYPES.get(kind, ()) and name not in known:
        raise ConfigError(f"{kind} {name!r} is not supported by this version of dp; {SEE}{nearest('', known)}")
