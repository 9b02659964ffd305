"""What a model takes beside the structure: frame and atom parameters, charge and spin, read from data like labels.

In a table the total charge and the multiplicity are the last two of the frame parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dp_core.data.frame import Floats, Frame, Label
from dp_core.errors import DataError

#: Total charges −100 … 99 and multiplicities 0 … 99 are known.
CHARGES, SPINS = 200, 100


def dim_chg_spin(model: Any) -> int:
    """2 if the model depends on the total charge and multiplicity, else 0."""
    return getattr(model.descriptor, "dim_chg_spin", 0)


def frame_width(model: Any) -> int:
    """Numbers that the model takes for each frame."""
    return int(model.fitting.numb_fparam) + dim_chg_spin(model)


def frame_default(model: Any) -> tuple[float, ...] | None:
    """What these numbers are where none are given; None if some have no default."""
    defaults = [model.fitting.default_fparam if model.fitting.numb_fparam else ()]
    defaults += [model.descriptor.default_chg_spin] if dim_chg_spin(model) else []
    return None if any(d is None for d in defaults) else tuple(x for d in defaults for x in d)


def check_charge_spin(values: Floats, where: str) -> None:
    """Raise DataError for a charge or multiplicity (…, 2) that no model knows."""
    charge, spin = values[..., 0], values[..., 1]
    if not ((np.trunc(charge + CHARGES // 2) >= 0).all() and (charge < CHARGES // 2).all()):
        raise DataError(f"{where} has a total charge of {charge.flat[np.abs(charge).argmax()]:g}; known: −100 to 99.")
    if not ((spin > -1).all() and (spin < SPINS).all()):
        raise DataError(f"{where} has a multiplicity of {spin.flat[np.abs(spin).argmax()]:g}; known: 0 to 99.")


def input_labels(model: Any) -> list[Label]:
    """``fparam``, ``charge_spin`` and ``aparam`` as far as the model needs them; what has a default may be absent."""
    fitting = model.fitting
    labels = []
    if fitting.numb_fparam:
        labels.append(_of_frame("fparam", fitting.numb_fparam, fitting.default_fparam))
    if dim_chg_spin(model):
        labels.append(_of_frame("charge_spin", 2, model.descriptor.default_chg_spin))
    if fitting.numb_aparam:
        labels.append(Label("aparam", fitting.numb_aparam, atomic=True, required=True))
    return labels


def _of_frame(name: str, size: int, default: Sequence[float] | None) -> Label:
    if default is None:
        return Label(name, size, required=True)
    return Label(name, size, default=tuple(default), counts_when_absent=True)


def eval_arguments(frames: Sequence[Frame]) -> dict[str, Floats]:
    """The keyword arguments of ``predict`` for frames that were read with ``input_labels``."""
    read, found = frames[0].labels, dict[str, Floats]()
    for name in {"fparam", "charge_spin"} & read.keys():
        found[name] = np.stack([f.labels[name] for f in frames])
    if "aparam" in read:
        found["aparam"] = np.concatenate([f.labels["aparam"] for f in frames])
    return found


def input_arrays(frames: Sequence[Frame]) -> dict[str, Floats | None]:
    """The arguments ``fparam`` (frames, d) and ``aparam`` (all atoms, d) of ``build_batch``; None where not read."""
    inputs = frames[0].labels
    names = [name for name in ("fparam", "charge_spin") if name in inputs]
    for f in frames if "charge_spin" in inputs else ():
        check_charge_spin(f.labels["charge_spin"], "charge_spin of the data")
    return {
        "fparam": np.stack([np.concatenate([f.labels[name] for name in names]) for f in frames]) if names else None,
        "aparam": np.concatenate([f.labels["aparam"] for f in frames]) if "aparam" in inputs else None,
    }
