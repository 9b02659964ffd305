"""Names of pluggable classes: descriptors, fittings, models, losses, schedules, backends.

A class is found by ``(kind, name)``. The built-in ones are listed here as import paths, so that asking for a name
imports that one module only. Other packages add theirs through the entry-point group ``dp.plugins``; the entry's name
is ``kind.name`` (for example ``descriptor.my_descriptor``). An entry is loaded when its name is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dp_core.errors import ConfigError, nearest

GROUP = "dp.plugins"

_BUILTIN = {
    ("descriptor", "se_e2_a"): "dp_core.descriptors.se_e2_a:SeE2A",
    ("descriptor", "se_a_ebd_v2"): "dp_core.descriptors.se_a_ebd_v2:SeAEbdV2",
    ("descriptor", "se_e2_r"): "dp_core.descriptors.se_e2_r:SeE2R",
    ("descriptor", "loc_frame"): "dp_core.descriptors.loc_frame:LocalFrame",
    ("descriptor", "hybrid"): "dp_core.descriptors.hybrid:Hybrid",
    ("descriptor", "se_e3"): "dp_core.descriptors.se_e3:SeE3",
    ("descriptor", "dpa2"): "dp_core.descriptors.dpa2:DPA2",
    ("descriptor", "dpa3"): "dp_core.descriptors.dpa3:DPA3",
    ("descriptor", "se_e3_tebd"): "dp_core.descriptors.se_e3_tebd:SeE3Tebd",
    ("descriptor", "dpa1"): "dp_core.descriptors.dpa1:DPA1",
    ("descriptor", "se_atten_v2"): "dp_core.descriptors.se_atten_v2:SeAttenV2",
    ("fitting", "ener"): "dp_core.fittings.energy:EnergyFitting",
    ("fitting", "dipole"): "dp_core.fittings.dipole:DipoleFitting",
    ("fitting", "polar"): "dp_core.fittings.polar:PolarFitting",
    ("fitting", "dos"): "dp_core.fittings.dos:DosFitting",
    ("fitting", "property"): "dp_core.fittings.property:PropertyFitting",
    ("fitting", "population"): "dp_core.fittings.population:PopulationFitting",
    ("model", "standard"): "dp_core.models.standard:StandardModel",
    ("model", "pairtab"): "dp_core.models.pair_table:PairTable",
    ("model", "linear_ener"): "dp_core.models.linear:LinearEnergy",
    ("model", "pairwise_dprc"): "dp_core.models.pairwise_dprc:PairwiseDPRc",
    ("model", "zbl"): "dp_core.models.zbl:ZBLBridge",
    ("model", "frozen"): "dp_core.models.frozen:Frozen",
    ("model", "ewald"): "dp_core.models.ewald:Ewald",
    ("model", "spin_ener"): "dp_core.models.spin:SpinEnergy",
    ("model", "inner_potential"): "dp_core.models.inner_potential:InnerPotential",
    ("loss", "ener"): "dp_core.losses.energy:EnergyLoss",
    ("loss", "ener_spin"): "dp_core.losses.energy_spin:SpinLoss",
    ("loss", "tensor"): "dp_core.losses.tensor:TensorLoss",
    ("loss", "dos"): "dp_core.losses.dos:DosLoss",
    ("loss", "property"): "dp_core.losses.property:PropertyLoss",
    ("loss", "population"): "dp_core.losses.population:PopulationLoss",
    ("schedule", "exp"): "dp_core.schedules:Exponential",
    ("schedule", "cosine"): "dp_core.schedules:Cosine",
    ("schedule", "wsd"): "dp_core.schedules:WarmupStableDecay",
    ("backend", "numpy"): "dp_core.numpy_backend:NumpyBackend",
}

#: Other spellings of a built-in name.
ALIASES = {
    ("descriptor", "se_a"): "se_e2_a",
    ("descriptor", "se_a_tpe_v2"): "se_a_ebd_v2",
    ("descriptor", "se_r"): "se_e2_r",
    ("descriptor", "se_at"): "se_e3",
    ("descriptor", "se_a_3be"): "se_e3",
    ("descriptor", "se_t"): "se_e3",
    ("descriptor", "se_atten"): "dpa1",
    ("model", "linear"): "linear_ener",
    ("model", "dpzbl"): "zbl",
    ("loss", "ener_hess"): "ener",
}


@cache
def _plugins() -> dict[tuple[str, str], EntryPoint]:
    found: dict[tuple[str, str], EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        kind, _, name = entry.name.partition(".")
        key = (kind, name)
        if key in _BUILTIN or key in found:
            other = found[key].value if key in found else _BUILTIN[key]
            raise ConfigError(
                f"The {kind} {name!r} is registered twice: by {other} and by {entry.value}. "
                "Uninstall one of the packages."
            )
        found[key] = entry
    return found


def names(kind: str) -> list[str]:
    """All names of a kind, sorted, without aliases."""
    return sorted({n for k, n in (*_BUILTIN, *_plugins()) if k == kind})


@cache
def lookup(kind: str, name: str) -> Any:
    """The class registered as ``name``.

    Raises ConfigError for an unknown name (with the nearest known one) or a plugin that fails to import.
    """
    key = (kind, ALIASES.get((kind, name), name))
    if key in _BUILTIN:
        module, _, attribute = _BUILTIN[key].partition(":")
        return getattr(import_module(module), attribute)
    plugins = _plugins()
    if key not in plugins:
        raise ConfigError(f"Unknown {kind} type {name!r}{nearest(name, names(kind))}")
    try:
        return plugins[key].load()
    except Exception as error:
        raise ConfigError(
            f"The plugin {plugins[key].value} for {kind} {name!r} cannot be imported: {error}. "
            "Repair or uninstall the package that provides it."
        ) from error
