"""What the fittings of dipoles and polarizabilities share: directions from the descriptor, and selected types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dp_core.errors import ConfigError
from dp_core.fittings.base import Fitting, FittingSettings, init_fitting
from dp_core.module import module
from dp_core.schema.kinds import check_types


class TensorFittingSettings(FittingSettings):
    """Settings of both."""

    def selected(self, type_map: Sequence[str]) -> list[int]:
        """The types whose atoms have a tensor, in the order given; all if none are named. Raises ConfigError."""
        chosen: int | list[int] | None = self.sel_type  # type: ignore[attr-defined]
        if chosen is None:
            return list(range(len(type_map)))
        types = [chosen] if isinstance(chosen, int) else chosen
        check_types("model/fitting_net/sel_type", types, type_map)
        if not types:
            raise ConfigError(
                "model/fitting_net/sel_type is empty, so no atom has an output. Name types, or leave it out."
            )
        return types


@module
class TensorFitting(Fitting):
    """A fitting that contracts its networks' output with the equivariant part of the descriptor."""

    embedding_width: int = 0  # rows of that part, (n, embedding_width, 3)


def equivariant_width(kind: str, width: int | None) -> int:
    """The rows of the equivariant part. Raises ConfigError for descriptors that have none."""
    if width is None:
        raise ConfigError(
            f"The fitting {kind!r} needs a descriptor that knows directions; this one knows distances and angles only. "
            "Use se_e2_a, dpa1, dpa2, dpa3 or a hybrid with one of them."
        )
    return width


def init_tensor(
    settings: TensorFittingSettings,
    *,
    width: int,
    embedding_width: int,
    dim_descrpt: int,
    mixed_types: bool,
    type_map: Sequence[str],
) -> dict[str, Any]:
    """Fields of a new fitting; types that are not selected are excluded."""
    selected = settings.selected(type_map)
    fields = init_fitting(settings, width=width, dim_descrpt=dim_descrpt, mixed_types=mixed_types, type_map=type_map)
    return fields | {
        "embedding_width": embedding_width,
        "exclude_types": tuple(t for t in range(len(type_map)) if t not in selected),
    }
