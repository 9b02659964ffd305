"""What a model takes beside the structure: frame and atom parameters, read from data like labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dp_core.data.frame import Floats, Frame, Label


def input_labels(model: Any) -> list[Label]:
    """``fparam`` and ``aparam`` as far as the model needs them. Frame parameters with a default need not be there."""
    fitting = model.fitting
    labels = []
    if fitting.numb_fparam:
        default = fitting.default_fparam
        if default is None:
            labels.append(Label("fparam", fitting.numb_fparam, required=True))
        else:
            labels.append(Label("fparam", fitting.numb_fparam, default=tuple(default), counts_when_absent=True))
    if fitting.numb_aparam:
        labels.append(Label("aparam", fitting.numb_aparam, atomic=True, required=True))
    return labels


def input_arrays(frames: Sequence[Frame]) -> dict[str, Floats | None]:
    """The arguments ``fparam`` (frames, d) and ``aparam`` (all atoms, d) of ``build_batch``; None where not read."""
    inputs = frames[0].labels
    return {
        "fparam": np.stack([f.labels["fparam"] for f in frames]) if "fparam" in inputs else None,
        "aparam": np.concatenate([f.labels["aparam"] for f in frames]) if "aparam" in inputs else None,
    }
