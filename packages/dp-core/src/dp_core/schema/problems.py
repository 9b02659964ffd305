"""What is wrong with an input file: all of it, each with its place, the value seen and the value expected."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from dp_core.errors import ConfigError
from dp_core.schema.section import Section, Variant, annotation, extras, held, section_of
from dp_core.schema.text import Place, lines


@dataclass(frozen=True)
class Problem:
    """One mistake. ``place``: keys from the top of the file."""

    place: Place
    reason: str

    def __str__(self) -> str:
        return f"{path(self.place)}: {self.reason}" if self.place else self.reason


class InputError(ConfigError):
    """An input file is wrong; ``problems`` holds every mistake found."""

    def __init__(self, problems: list[Problem], source: str | None = None, text: str | None = None) -> None:
        where = lines(text) if text else {}
        rows = sorted(((_line(where, p.place), p) for p in problems), key=lambda row: row[0])
        self.problems = [p for _, p in rows]
        count = f"{len(rows)} error" + ("s" if len(rows) > 1 else "")
        width = len(f"line {max(line for line, _ in rows)}")
        shown = [(f"line {line}".ljust(width) + "  " if line else "") + str(p) for line, p in rows]
        super().__init__("\n  ".join([f"{source or 'The input'} has {count}:", *shown]))


@dataclass
class Journal:
    """What happened while a document was brought to its present form."""

    notices: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    origin: dict[Place, Place] = field(default_factory=dict)  # place now -> place in the file
    moves: dict[Place, str] = field(default_factory=dict)  # place now -> what to tell about the move

    def moved(self, old: Place, new: Place, value: str = "") -> None:
        """Tell the user that a key has another name or place now, or another value too."""
        self.moves.pop(old, None)
        self.origin[new] = self.in_file(old)
        self.moves[new] = f"{path(self.origin[new])} is now {path(new)} {value}".rstrip()

    def dropped(self, place: Place, why: str) -> None:
        """Tell the user that a key has no effect."""
        self.moves.pop(place, None)
        self.notices.append(f"{path(self.in_file(place))} has no effect: {why}")

    def messages(self) -> tuple[str, ...]:
        """Everything to tell the user about old names and forms."""
        return (*self.notices, *self.moves.values())

    def problem(self, place: Place, reason: str) -> None:
        """Add a mistake at a place of the present document."""
        self.problems.append(Problem(self.in_file(place), reason))

    def in_file(self, place: Place) -> Place:
        """The place that the user wrote for a place of the present document."""
        for n in range(len(place), 0, -1):
            if place[:n] in self.origin:
                return self.origin[place[:n]] + place[n:]
        return place


def path(place: Place) -> str:
    """model/descriptor/rcut"""
    return "/".join(map(str, place))


def _line(where: dict[Place, int], place: Place) -> int:
    """The line of a place, or of the nearest section around it; 0 if unknown."""
    return next((where[place[:n]] for n in range(len(place), 0, -1) if place[:n] in where), 0)


def translate(error: pydantic.ValidationError, section: type[Section], document: Any, journal: Journal) -> None:
    """Add what pydantic found to the journal: one problem for each key, in words."""
    groups: dict[Place, list[Any]] = {}
    homes: dict[Place, tuple[type[Section], Any]] = {}
    for detail in error.errors(include_url=False):
        place, home, value = _follow(detail["loc"], section, document)
        groups.setdefault(place, []).append(detail)
        homes[place] = home, value
    for place, details in groups.items():
        home, value = homes[place]
        journal.problem(place, _reason(details, place, home, value))


def _follow(loc: Place, section: type[Section], value: Any) -> tuple[Place, type[Section], Any]:
    """The key that an error of pydantic is about: its place, the section of the key, the value of the key.

    Positions inside a value that is not a section, and pydantic's names of the members of a union, are left out.
    """
    place: Place = ()
    home = section
    current: type[Section] | None = section
    holder: Variant | type[Section] | None = None
    for part in loc:
        if isinstance(value, list) and holder is not None and isinstance(part, int):
            value, current = value[part], section_of(holder, value[part])
        elif isinstance(value, dict) and current is None and part == "type":
            home, value = Section, value.get(part)
        elif isinstance(value, dict) and current is not None and isinstance(part, str):
            known = current.model_fields.get(part)
            home, holder = current, held(known) if known else None
            value = value.get(part)
            current = None if isinstance(value, list) else section_of(holder, value)
        else:
            continue
        place = (*place, part)
    return place, home, value


def _reason(details: list[Any], place: Place, home: type[Section], value: Any) -> str:
    """Why a key is refused, from pydantic's errors about it."""
    own = [d["msg"].removeprefix("Value error, ") for d in details if d["type"] in ("value_error", "wrong")]
    if own:
        return "; ".join(own)
    if details[0]["type"] == "extra_forbidden":
        return _unknown(str(place[-1]), home)
    known = home.model_fields.get(str(place[-1])) if place else None
    if known is None:
        return str(details[0]["msg"])
    if details[0]["type"] == "missing":
        wanted = expected(known)
        return f"is required: {known.description}" + ("" if wanted == "a section" else f"; expected {wanted}")
    default = "" if known.is_required() or known.default is None else f"; default {_shown(known.default)}"
    return f"is {_shown(value)}, expected {expected(known)}{default}"


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown(key: str, home: type[Section]) -> str:
    """The sentence about a key that the section does not have: where it belongs, or names like it."""
    places = _places(key)
    if places:
        return f"unknown key; it is a key of {' and of '.join(places)}"
    close = difflib.get_close_matches(key, [*home.model_fields, *home.aliases()], n=3)
    if close:
        return f"unknown key; did you mean {' or '.join(map(repr, close))}?"
    return f"unknown key. Known: {', '.join(sorted(home.model_fields))}"


def _places(key: str) -> list[str]:
    """The sections that have a key, old names included; without the type where all types have it."""
    from dp_core.schema.input import Input  # the tree begins there

    every: dict[str, set[str]] = {}
    having: dict[str, set[str]] = {}
    for where, section in sections(Input):
        name = re.sub(r" \([^)]*\)", "", where)
        kind = where.rpartition(" (")[2].rstrip(")") if where.endswith(")") else ""
        every.setdefault(name, set()).add(kind)
        if key in section.model_fields or key in section.aliases():
            having.setdefault(name, set()).add(kind)
    found = [
        name if every[name] == some else f"{name} ({', '.join(sorted(some))})" for name, some in having.items() if name
    ]
    return [] if key == "type" else found


def sections(section: type[Section], where: str = "") -> Iterator[tuple[str, type[Section]]]:
    """Every section below one, itself first, with its path; variants as ``learning_rate (exp)``.

    A section that holds sections of its own kind is not entered again.
    """
    yield from _sections(section, where, ())


def _sections(section: type[Section], where: str, kinds: tuple[str, ...]) -> Iterator[tuple[str, type[Section]]]:
    yield where, section
    for key, known in section.model_fields.items():
        holder, here = held(known), f"{where}/{key}" if where else key
        if isinstance(holder, Variant) and holder.kind not in kinds:
            names = holder.names()
            for name in names:
                settings = holder.choose({"type": name})  # None: a plugin that cannot be imported
                if settings is not None:
                    inner = f"{here} ({name})" if len(names) > 1 else here
                    yield from _sections(settings, inner, (*kinds, holder.kind))
        elif holder is not None and not isinstance(holder, Variant):
            yield from _sections(holder, here, kinds)


WORDS = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    bool: ("true or false", "values true or false"),
    NoneType: ("null", "null"),
    dict: ("a section", "sections"),
}


def expected(known: FieldInfo) -> str:
    """What a key accepts, in words."""
    unit = extras(known).get("unit")
    return words(annotation(known)) + (f" in {unit}" if unit else "")


def words(hint: Any, many: bool = False) -> str:
    """A type in words: ``a list of integers or a string``."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        if any(isinstance(m, Variant) for m in args[1:]):
            return WORDS[dict][many]
        null = NoneType in get_args(args[0])
        bare = Union[tuple(a for a in get_args(args[0]) if a is not NoneType)] if null else args[0]  # noqa: UP007
        return words(bare, many) + _limits(args[1:]) + (" or null" if null else "")
    if origin in (Union, UnionType):
        return " or ".join(words(a, many) for a in args)
    if origin is Literal:
        return ("values " if many else "") + " or ".join(repr(a) for a in args)
    if origin is tuple:
        plural = len(args) > 1 and args[1] is Ellipsis
        inner = words(args[0], True)
        size = "" if plural else f"{len(args)} "
        return f"{'lists' if many else 'a list'} of {size}{inner}"
    if origin is list:
        return f"{'lists' if many else 'a list'} of {words(args[0], True)}"
    if origin is dict:
        return f"{'sections' if many else 'a section'} with {words(args[1], True)}"
    if isinstance(hint, type) and issubclass(hint, Section):
        return WORDS[dict][many]
    return WORDS.get(hint, ("any value", "values"))[many]


def _limits(metadata: tuple[Any, ...]) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [f"{sign} {getattr(m, name):g}" for m in metadata for name, sign in signs.items() if hasattr(m, name)]
    filled = " that is not empty" if any(hasattr(m, "min_length") for m in metadata) else ""
    return filled + ((" " + " and ".join(found)) if found else "")
