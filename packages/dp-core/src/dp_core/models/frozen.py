"""frozen: a model from a file, used as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import pydantic

from dp_core.descriptors.protocol import CountSel
from dp_core.errors import ConfigError
from dp_core.model_file import load_model
from dp_core.models.settings import ModelSettings
from dp_core.module import replace
from dp_core.schema.section import option, wrong


class FrozenSettings(ModelSettings):
    """A model from a file."""

    paths: ClassVar[tuple[str, ...]] = ("model_file",)

    type: Literal["frozen"] = option("frozen", "kind of model")
    model_file: str = option(..., "model file of any kind, which training leaves as it is")

    @pydantic.model_validator(mode="after")
    def _as_in_the_file(self) -> Self:
        for name, field in ModelSettings.model_fields.items():
            if name != "type_map" and getattr(self, name) != field.default:
                raise wrong(name, "has no effect: the model of the file stays as it is; leave it out")
        return self

    def with_counted_sel(self, count: CountSel) -> FrozenSettings:
        """The settings themselves: the file has numbers."""
        return self


class Frozen:
    """Makes a model of the file; documents hold that model."""

    Settings = FrozenSettings

    @classmethod
    def init(cls, settings: FrozenSettings, type_map: Sequence[str]) -> Any:
        """The model of the file, none of its parameters to be trained.

        Raises FormatError if it cannot be read, ConfigError if it has another type_map than the settings.
        """
        model = load_model(settings.model_file)
        if settings.type_map is not None and tuple(settings.type_map) != model.type_map:
            raise ConfigError(
                f"type_map is {' '.join(settings.type_map)}, but the model of {settings.model_file} has "
                f"{' '.join(model.type_map)}. Give that, or leave type_map out."
            )
        return untrained(model)


def untrained(tree: Any) -> Any:
    """The same model with ``trainable`` false in all its parts, which documents keep."""
    if isinstance(tree, tuple):
        return tuple(untrained(x) for x in tree)
    if not getattr(tree, "__dp_module__", False):
        return tree
    values = {name: untrained(getattr(tree, name)) for name in tree.__dataclass_fields__ if name != "trainable"}
    changed = {name: value for name, value in values.items() if value is not getattr(tree, name)}
    if "trainable" in tree.__dataclass_fields__:
        changed["trainable"] = False
    return replace(tree, **changed) if changed else tree
