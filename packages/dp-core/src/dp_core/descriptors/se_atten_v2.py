"""se_atten_v2: dpa1 with a network of types of its own, smooth at the cutoff whatever its other settings are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from dp_core.descriptors.dpa1 import DPA1, AttentionSettings, attention_fields
from dp_core.module import module
from dp_core.schema.section import Section, option


class SeAttenV2Settings(AttentionSettings):
    """Settings of se_atten_v2 in an input file."""

    type: Literal["se_atten_v2"] = option("se_atten_v2", "name of the descriptor")
    set_davg_zero: bool = option(False, "keep the mean of the environment matrix at zero")


@module
class SeAttenV2(DPA1):
    """The descriptor: Neighborhood with n rows -> (n, neuron[-1]·axis_neuron + tebd_dim)."""

    Settings: type[Section] = SeAttenV2Settings

    @classmethod
    def init(cls, settings: SeAttenV2Settings, type_map: Sequence[str]) -> SeAttenV2:  # type: ignore[override]
        """Random networks and trivial statistics. ``sel`` must be numbers by now."""
        return cls(**attention_fields(settings, type_map, strip=True, smooth=True))

    def serialize(self) -> dict[str, Any]:
        """The document of the descriptor."""
        data = self.attention_document("se_atten_v2")
        del data["tebd_input_mode"]  # what it always is
        return data
