"""The tree of all settings for people (reStructuredText), for programs (JSON) and for editors (JSON schema)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from dp_core.errors import ConfigError
from dp_core.schema.input import Input
from dp_core.schema.problems import expected
from dp_core.schema.section import Section, Variant, annotation, extras, held
from dp_core.schema.unsupported import KEYS


def documentation(fmt: str = "rst") -> str:
    """The tree of all settings as text.

    fmt: ``rst`` for reading; ``json`` for programs: a list of arguments with name, type, optional, default, alias, doc,
    sub_fields and sub_variants, in the form that DeePMD-kit prints.
    """
    if fmt == "rst":
        return "\n".join(_rst(Input, (), ())) + "\n"
    if fmt == "json":
        return json.dumps([_argument(key, field, ()) for key, field in Input.model_fields.items()], ensure_ascii=False)
    raise ConfigError(f"Unknown format of the documentation {fmt!r}; expected 'rst' or 'json'.")


def _default(field: FieldInfo) -> Any:
    """The default as it stands in a document; sections without one are ``{}``."""
    return list(field.default) if isinstance(field.default, tuple) else field.default


def _choices(holder: Variant) -> dict[str, type[Section]]:
    """The types of a section and their settings, without plugins that cannot be imported."""
    found = {name: holder.choose({"type": name}) for name in holder.names()}
    return {name: section for name, section in found.items() if section is not None}


# reStructuredText


def _rst(section: type[Section], place: tuple[str, ...], kinds: tuple[str, ...], skip: str = "") -> Iterator[str]:
    indent = "    " * len(place)
    for key, field in section.model_fields.items():
        if key == skip:
            continue
        aliases = extras(field).get("aliases", [])
        yield f"{indent}{key}:"
        yield f"{indent}    | type: {expected(field)}" + (f", alias: {', '.join(aliases)}" if aliases else "")
        yield f"{indent}    | place: ``{'/'.join((*place, key))}``"
        yield f"{indent}    | {_need(field)}"
        yield ""
        yield f"{indent}    {_sentence(field.description or '')}"
        yield ""
        yield from _rst_inside(held(field), (*place, key), kinds)


def _rst_inside(
    holder: Variant | type[Section] | None, place: tuple[str, ...], kinds: tuple[str, ...]
) -> Iterator[str]:
    indent = "    " * len(place)
    if not isinstance(holder, Variant):
        yield from _rst(holder, place, kinds) if holder else ()
        return
    old = {name: [a for a, n in holder.aliases().items() if n == name] for name in holder.names()}
    names = ", ".join(f"``{n}``" + (f" (alias {', '.join(old[n])})" if old[n] else "") for n in holder.names())
    yield f"{indent}type:"
    yield f"{indent}    | one of {names}"
    yield f"{indent}    | " + (f"optional, default: ``{holder.default}``" if holder.default else "required")
    yield ""
    if holder.kind in kinds:
        return  # a section inside one of its own kind: written above
    for name, section in _choices(holder).items():
        yield f"{indent}When type is ``{name}``: {_sentence(_doc(section))}"
        yield ""
        yield from _rst(section, place, (*kinds, holder.kind), skip="type")


def _need(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "optional"
    return f"optional, default: ``{json.dumps(_default(field), ensure_ascii=False)}``"


def _sentence(text: str) -> str:
    return (text[:1].upper() + text[1:]).rstrip(".") + "." if text else ""


def _doc(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().split("\n")[0]


# JSON in the form of DeePMD-kit


def _argument(key: str, field: FieldInfo, kinds: tuple[str, ...]) -> dict[str, Any]:
    holder = held(field)
    argument = {
        "object": "Argument",
        "name": key,
        "type": sorted(_type_names(annotation(field))),
        "optional": not field.is_required(),
        "alias": extras(field).get("aliases", []),
        "doc": " ".join([_sentence(field.description or ""), _unit(field)]).strip(),
        "repeat": False,
        "sub_fields": {},
        "sub_variants": {},
    }
    if not field.is_required() and field.default is not None:
        argument["default"] = _default(field)
    if isinstance(holder, Variant):
        if holder.kind not in kinds:
            argument["sub_variants"] = {"type": _variant(holder, (*kinds, holder.kind))}
    elif holder is not None:
        argument["sub_fields"] = {k: _argument(k, f, kinds) for k, f in holder.model_fields.items()}
    return argument


def _variant(holder: Variant, kinds: tuple[str, ...]) -> dict[str, Any]:
    return {
        "object": "Variant",
        "flag_name": "type",
        "optional": holder.default is not None,
        "default_tag": holder.default or "",
        "choice_dict": {
            name: {
                "object": "Argument",
                "name": name,
                "type": ["dict"],
                "optional": False,
                "alias": [],
                "doc": _sentence(_doc(section)),
                "repeat": False,
                "sub_fields": {k: _argument(k, f, kinds) for k, f in section.model_fields.items() if k != "type"},
                "sub_variants": {},
            }
            for name, section in _choices(holder).items()
        },
        "choice_alias": holder.aliases(),
        "doc": "",
    }


def _unit(field: FieldInfo) -> str:
    unit = extras(field).get("unit")
    return f"Unit: {unit}." if unit else ""


def _type_names(hint: Any) -> set[str]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return {"dict"} if any(isinstance(m, Variant) for m in args[1:]) else _type_names(args[0])
    if origin in (Union, UnionType):
        return set().union(*map(_type_names, args))
    if origin is Literal:
        return {type(a).__name__ for a in args}
    if origin in (list, tuple):
        return {"list"}
    if origin is dict or (isinstance(hint, type) and issubclass(hint, Section)):
        return {"dict"}
    return {"NoneType"} if hint in (None, NoneType) else {getattr(hint, "__name__", "any")}


# JSON schema


def json_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of an input file, with old names and with all types of every section."""
    definitions: dict[str, Any] = {}
    schema = _section_schema(Input, "", definitions)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Input of dp train"}
    return head | schema | {"$defs": definitions}


def _section_schema(section: type[Section], name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a section; ``name`` is that in the table of unsupported keys."""
    properties: dict[str, Any] = {}
    for key, field in section.model_fields.items():
        properties[key] = _field_schema(key, field, name, definitions)
        for old in extras(field).get("aliases", []):
            properties[old] = properties[key] | {"deprecated": True, "description": f"Old name of {key}."}
    for key, (default, feature) in KEYS.get(name, {}).items():
        allowed = [None] if default is None else [None, default]
        about = {"description": f"Not supported ({feature}); accepted with this value.", "deprecated": True}
        properties.setdefault(key, {"enum": allowed} | about)
    required = [key for key, field in section.model_fields.items() if field.is_required()]
    return {
        "type": "object",
        "description": _sentence(_doc(section)),
        "properties": properties,
        "patternProperties": {"^_": {"description": "A comment."}},
        "additionalProperties": False,
    } | ({"required": required} if required else {})


def _field_schema(key: str, field: FieldInfo, name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {"description": " ".join([_sentence(field.description or ""), _unit(field)]).strip()}
    if not field.is_required() and field.default is not None:
        about["default"] = _default(field)
    holder = held(field)
    if holder is None:
        return _plain_schema(annotation(field)) | about
    if isinstance(holder, Variant):
        inner = _variant_schema(holder, definitions)
    else:
        inner = _section_schema(holder, f"{name}/{key}".lstrip("/"), definitions)
    kinds = _type_names(annotation(field))
    choices = [inner] if "dict" in kinds else []
    choices += [{"type": "array", "items": inner}] if "list" in kinds else []
    choices += [{"type": "null"}] if "NoneType" in kinds else []
    return (choices[0] if len(choices) == 1 else {"anyOf": choices}) | about


def _plain_schema(hint: Any) -> dict[str, Any]:
    return pydantic.TypeAdapter(hint).json_schema()


def _variant_schema(holder: Variant, definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to one of the types of a section; each is defined once, so sections may hold their own kind."""
    choices = []
    for name, section in _choices(holder).items():
        key = f"{holder.kind}.{name}"
        if key not in definitions:
            definitions[key] = {}  # holds the place while the section refers to itself
            definitions[key] = _variant_section_schema(holder, name, section, definitions)
        choices.append({"$ref": f"#/$defs/{key}"})
    return {"oneOf": choices}


def _variant_section_schema(
    holder: Variant, name: str, section: type[Section], definitions: dict[str, Any]
) -> dict[str, Any]:
    schema = _section_schema(section, holder.kind, definitions)
    spellings = [name, *(old for old, new in holder.aliases().items() if new == name)]
    schema["properties"] = {"type": {"enum": spellings}} | {
        k: v for k, v in schema["properties"].items() if k != "type"
    }
    if name != holder.default:
        schema["required"] = ["type", *schema.get("required", [])]
    return schema
