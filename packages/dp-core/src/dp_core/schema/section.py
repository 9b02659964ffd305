"""The base class of every section of an input file, and how a field names the section it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from dp_core import registry
from dp_core.errors import ConfigError, FormatError
from dp_core.schema.unsupported import refuse_type

S = TypeVar("S", bound="Section")


class Section(pydantic.BaseModel):
    """Settings of one section: typed fields with default, unit and help; unknown keys are errors.

    A section that is one of several by ``type`` declares ``type: Literal["name"] = option("name", …)``.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def aliases(cls) -> dict[str, str]:
        """Old names of the keys: old -> name."""
        return {old: name for name, field in cls.model_fields.items() for old in extras(field).get("aliases", [])}

    def to_document(self) -> dict[str, Any]:
        """The section as plain values with all defaults; keys that are unset (None by default) are absent."""
        fields = type(self).model_fields
        names = sorted(fields, key=lambda name: name != "type")  # the type says what the rest means
        values = {name: getattr(self, name) for name in names}
        return {k: _plain(v) for k, v in values.items() if not (v is None and fields[k].default is None)}


def option(default: Any, help: str, *, aliases: tuple[str, ...] = (), unit: str | None = None, **limits: Any) -> Any:
    """A field of a section. ``default=...`` makes it required; ``limits`` are pydantic's (gt, ge, le, …)."""
    extra: dict[str, Any] = {"aliases": list(aliases)} | ({"unit": unit} if unit else {})
    return pydantic.Field(default, description=help, json_schema_extra=extra, **limits)


def extras(field: FieldInfo) -> dict[str, Any]:
    """What ``option`` keeps beside the field: aliases, unit."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.to_document()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def validate(section: type[Section], document: dict[str, Any]) -> Section:
    """The settings of a document of plain values: numbers are not strings, true is not 1, lists serve as tuples.

    Raises pydantic.ValidationError with all errors.
    """
    return section.model_validate_json(json.dumps(document, default=str), strict=True)


def stored_section(section: type[S], data: dict[str, Any], key: str) -> S:
    """The settings that a model file keeps under a key. Raises FormatError if they make no sense."""
    try:
        return section(**data[key])
    except pydantic.ValidationError as error:
        raise FormatError(
            f"{key} of the model cannot be used ({_reasons(error)}). Was it made by a newer program?"
        ) from error


def with_numbers(settings: S, changes: dict[str, Any]) -> S:
    """The settings with other values, checked again. Raises ConfigError if they do not fit the rest."""
    try:
        return type(settings)(**dict(settings) | changes)
    except pydantic.ValidationError as error:
        raise ConfigError(f"What was counted in the data does not fit the input: {_reasons(error)}.") from error


def _reasons(error: pydantic.ValidationError) -> str:
    return "; ".join(f"{'/'.join(map(str, e['loc']))}: {e['msg']}".removeprefix(": ") for e in error.errors())


@dataclass(frozen=True)
class Variant:
    """Marks a field that holds the Settings of a registered class, chosen by the key ``type``.

    ``descriptor: Annotated[Any, Variant("descriptor")]``. Without default the key ``type`` is required.
    """

    kind: str
    default: str | None = None

    def names(self) -> list[str]:
        """The types that exist, sorted, without aliases."""
        return registry.names(self.kind)

    def aliases(self) -> dict[str, str]:
        """Old names of the types: old -> name."""
        return {old: name for (kind, old), name in registry.ALIASES.items() if kind == self.kind}

    def settings(self, name: str) -> type[Section]:
        """The Settings of a type. Raises ConfigError if dp does not have it."""
        refuse_type(self.kind, name, self.names())
        settings: type[Section] = registry.lookup(self.kind, name).Settings
        return settings

    def choose(self, value: Any) -> type[Section] | None:
        """The Settings for a section of a document, None if it names no known type."""
        name = value.get("type", self.default) if isinstance(value, dict) else None
        try:
            return self.settings(name) if isinstance(name, str) else None
        except ConfigError:
            return None

    def validate(self, value: Any) -> Section:
        """The settings of one section of a document."""
        if isinstance(value, Section):
            return value
        if not isinstance(value, dict):
            raise PydanticCustomError("section", "a section in braces is expected")
        name = value.get("type", self.default)
        if name is None:
            raise wrong("type", f"is required; known: {', '.join(self.names())}")
        if not isinstance(name, str):
            raise wrong("type", f"is {name!r}, expected the name of a {self.kind}: {', '.join(self.names())}")
        try:
            settings = self.settings(name)
        except ConfigError as error:
            raise wrong("type", str(error)) from None
        return validate(settings, {"type": self.aliases().get(name, name)} | _without_type(value))

    def __get_pydantic_core_schema__(self, source: Any, handler: pydantic.GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)


def _without_type(value: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in value.items() if k != "type"}


def wrong(key: str, reason: str) -> pydantic.ValidationError:
    """The error that a validator of a whole section raises about one of its keys, or one below: ``list/0/key``."""
    error = PydanticCustomError("wrong", "{reason}", {"reason": reason})
    place = tuple(int(part) if part.isdigit() else part for part in key.split("/"))
    return pydantic.ValidationError.from_exception_data("", [InitErrorDetails(type=error, loc=place, input=None)])


def annotation(field: FieldInfo) -> Any:
    """The type of a field together with its limits."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def held(field: FieldInfo) -> Variant | type[Section] | None:
    """The section, or choice of sections, that a field holds alone or in a list; None for plain values."""
    return next(_held(annotation(field)), None)


def _held(hint: Any) -> Iterator[Variant | type[Section]]:
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *metadata = get_args(hint)
        marks = [m for m in metadata if isinstance(m, Variant)]
        yield from marks or _held(inner)
    elif origin in (Union, UnionType, list):
        for arg in get_args(hint):
            yield from _held(arg)
    elif isinstance(hint, type) and issubclass(hint, Section):
        yield hint


def section_of(holder: Variant | type[Section] | None, value: Any) -> type[Section] | None:
    """The section class for a value of a field that holds ``holder``."""
    return holder.choose(value) if isinstance(holder, Variant) else holder
