"""Mean and deviation of frame and atom parameters, by which fittings normalise them."""

from __future__ import annotations

from typing import Any

from dp_core.data.frame import Frame
from dp_core.module import replace
from dp_core.statistics.moments import Floats, mean_and_std, sums

NAMES = ("fparam", "aparam")


def width(fitting: Any, name: str) -> int:
    """How many parameters of a kind there are."""
    count: int = getattr(fitting, f"numb_{name}")
    return count


def parameter_sums(frame: Frame, name: str) -> Floats:
    """Sums over a frame, or over its real atoms: (numb, 3)."""
    values = frame.labels[name]
    return sums(values[None] if name == "fparam" else values[frame.types >= 0])


def with_parameters(fitting: Any, name: str, sums: Floats, protection: float) -> Any:
    """The fitting normalised by the sums of all frames. ``protection`` is the smallest deviation."""
    mean, std = mean_and_std(sums, floor=protection)
    dtype = getattr(fitting, f"{name}_avg").dtype
    return replace(fitting, **{f"{name}_avg": mean.astype(dtype), f"{name}_inv_std": (1.0 / std).astype(dtype)})
