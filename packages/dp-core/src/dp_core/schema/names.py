"""Today's names for old ones, and the keys of DeePMD-kit that dp does not have: one walk over a document."""

from __future__ import annotations

from typing import Any

from dp_core.schema.problems import Journal, path
from dp_core.schema.section import Section, Variant, held, section_of
from dp_core.schema.text import Place
from dp_core.schema.unsupported import KEYS, refuse_key


def tidy(
    document: dict[str, Any], holder: Variant | type[Section], journal: Journal, place: Place = (), name: str = ""
) -> dict[str, Any]:
    """A copy of a section with today's names, without keys that change nothing.

    ``name`` is that of the section in the table of unsupported keys. Old names go to the journal as notices, what is
    given twice or unsupported as problems.
    """
    document = dict(document)
    if isinstance(holder, Variant):
        _rename_type(document, holder, journal, place)
    section = section_of(holder, document)
    if section is not None:
        _rename_keys(document, section.aliases(), journal, place)
    _drop_unsupported(document, set(section.model_fields) if section else set(), name, journal, place)
    for key, field in section.model_fields.items() if section else ():
        inner = held(field)
        if inner is not None and key in document:
            label = inner.kind if isinstance(inner, Variant) else f"{name}/{key}".lstrip("/")
            document[key] = _tidy_value(document[key], inner, journal, (*place, key), label)
    return document


def _tidy_value(value: Any, holder: Variant | type[Section], journal: Journal, place: Place, name: str) -> Any:
    if isinstance(value, list):
        return [_tidy_value(v, holder, journal, (*place, i), name) for i, v in enumerate(value)]
    return tidy(value, holder, journal, place, name) if isinstance(value, dict) else value


def _rename_type(document: dict[str, Any], holder: Variant, journal: Journal, place: Place) -> None:
    aliases, name = holder.aliases(), document.get("type")
    if isinstance(name, str) and name in aliases:
        document["type"] = aliases[name]
        old = path(journal.in_file((*place, "type")))
        journal.notices.append(f"{old} {name!r} is now {aliases[name]!r}")


def _rename_keys(document: dict[str, Any], aliases: dict[str, str], journal: Journal, place: Place) -> None:
    for old in [key for key in document if key in aliases]:
        new, value = aliases[old], document.pop(old)
        if document.setdefault(new, value) == value:
            journal.moved((*place, old), (*place, new))
        else:
            journal.problem(
                (*place, old), f"is the old name of {new}, which is also given, {document[new]!r}; keep one"
            )


def _drop_unsupported(document: dict[str, Any], known: set[str], name: str, journal: Journal, place: Place) -> None:
    for key, (default, feature) in KEYS.get(name, {}).items():
        if key in document and key not in known:
            value = document.pop(key)
            if not (value is None or value == default):
                journal.problem((*place, key), refuse_key(feature))
            journal.moves.pop((*place, key), None)
