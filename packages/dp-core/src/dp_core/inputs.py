"""What a model takes beside the structure: frame and atom parameters, charge and spin, read from data like labels.

And the labels of what it gives.

In a table the total charge and the multiplicity are the last two of the frame parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dp_core.data.frame import Floats, Frame, Label
from dp_core.errors import DataError
from dp_core.models.protocol import members
from dp_core.virtual_atoms import SPIN, virtual_atoms

#: Total charges −100 … 99 and multiplicities 0 … 99 are known.
CHARGES, SPINS = 200, 100


def numb_fparam(model: Any) -> int:
    """Frame parameters that the model takes; all of its members that take any take the same."""
    return max((int(m.model.fitting.numb_fparam) for m in members(model)), default=0)


def default_fparam(model: Any) -> tuple[float, ...] | None:
    """What they are where none are given; None without a default."""
    given = [m.model.fitting.default_fparam for m in members(model) if m.model.fitting.numb_fparam]
    return given[0] if given else None


def numb_aparam(model: Any) -> int:
    """Atomic parameters of each atom."""
    found = [int(m.model.fitting.numb_aparam) for m in members(model)]
    return max([*found, int(takes_fragments(model))])


def takes_fragments(model: Any) -> bool:
    """Whether the atomic parameter numbers the fragments of a frame, see ``fragments``."""
    return bool(model.neighbor_spec.fragments)


def uses_aparam(model: Any) -> bool:
    """Whether the atomic parameters are used for more than marking atoms."""
    fittings = [m.model.fitting for m in members(model)]
    return takes_fragments(model) or any(f.numb_aparam and not f.use_aparam_as_mask for f in fittings)


def dim_chg_spin(model: Any) -> int:
    """2 if the model depends on the total charge and multiplicity, else 0."""
    return max((getattr(m.model.descriptor, "dim_chg_spin", 0) for m in members(model)), default=0)


def default_chg_spin(model: Any) -> tuple[float, ...] | None:
    """Charge and multiplicity where none are given; None without a default."""
    descriptors = [m.model.descriptor for m in members(model)]
    given = [d.default_chg_spin for d in descriptors if getattr(d, "dim_chg_spin", 0)]
    return given[0] if given else None


def frame_width(model: Any) -> int:
    """Numbers that the model takes for each frame."""
    return numb_fparam(model) + dim_chg_spin(model)


def frame_default(model: Any) -> tuple[float, ...] | None:
    """What these numbers are where none are given; None if some have no default."""
    defaults = [default_fparam(model) if numb_fparam(model) else ()]
    defaults += [default_chg_spin(model)] if dim_chg_spin(model) else []
    return None if any(d is None for d in defaults) else tuple(x for d in defaults for x in d or ())


def check_charge_spin(values: Floats, where: str) -> None:
    """Raise DataError for a charge or multiplicity (…, 2) that no model knows."""
    charge, spin = values[..., 0], values[..., 1]
    if not ((np.trunc(charge + CHARGES // 2) >= 0).all() and (charge < CHARGES // 2).all()):
        raise DataError(f"{where} has a total charge of {charge.flat[np.abs(charge).argmax()]:g}; known: −100 to 99.")
    if not ((spin > -1).all() and (spin < SPINS).all()):
        raise DataError(f"{where} has a multiplicity of {spin.flat[np.abs(spin).argmax()]:g}; known: 0 to 99.")


def input_labels(model: Any) -> list[Label]:
    """``fparam``, ``charge_spin``, ``aparam``, ``spin`` as the model needs them; what has a default may be absent."""
    labels = []
    if numb_fparam(model):
        labels.append(_of_frame("fparam", numb_fparam(model), default_fparam(model)))
    if dim_chg_spin(model):
        labels.append(_of_frame("charge_spin", 2, default_chg_spin(model)))
    if numb_aparam(model):
        labels.append(Label("aparam", numb_aparam(model), atomic=True, required=True))
    if virtual_atoms(model) is not None:
        labels.append(SPIN)
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
    for name in {"aparam", "spin"} & read.keys():
        found[name] = np.concatenate([f.labels[name] for f in frames])
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


def total_label(model: Any) -> Label:
    """The label of frames for the output of a model."""
    return Label(model.output.name, model.output.size)


def atomic_label(model: Any) -> Label:
    """The label of atoms for the output of a model; data may hold that of atoms with an output only."""
    excluded = model.atom_exclude_types
    selected = tuple(t for t in range(len(model.type_map)) if t not in excluded) if excluded else None
    return Label(f"atom_{model.output.name}", model.output.size, atomic=True, selected=selected)
