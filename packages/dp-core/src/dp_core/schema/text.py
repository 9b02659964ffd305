"""Input files as text: JSON or YAML to plain values, and the line of every key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dp_core.errors import ConfigError

Place = tuple[str | int, ...]  # keys and list indices from the top of a document


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but 1e-3 is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read(path: str | Path) -> str:
    """The text of an input file. Raises ConfigError if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"The input file {path} does not exist (current folder: {Path.cwd()}).") from None
    except UnicodeDecodeError:
        raise ConfigError(f"The input file {path} is not text in UTF-8; is it a model or data file?") from None
    except OSError as error:
        raise ConfigError(f"The input file {path} cannot be read: {error.strerror}.") from None


def parse(path: str | Path, text: str) -> dict[str, Any]:
    """The document of an input file, by the suffix of its name.

    Raises ConfigError for bad syntax and for keys given twice with different values.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        document = _json(path, text)
    elif suffix in (".yaml", ".yml"):
        document = _yaml(path, text)
    else:
        raise ConfigError(f"The input file {path} has the suffix {suffix!r}; expected .json, .yaml or .yml.")
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise ConfigError(
            f"The input file {path} holds a {kind}; expected sections: model, learning_rate, loss, training."
        )
    return document


def _json(path: str | Path, text: str) -> Any:
    twice = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for key, value in pairs:
            if document.setdefault(key, value) != value and not key.startswith("_"):
                twice.append(key)
        return document

    try:
        document = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise _syntax_error(path, text, error.msg, error.lineno, error.colno) from None
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits, a hundred thousand brackets
        raise ConfigError(f"{path} is not an input file: {error}.") from None
    if twice:
        _refuse_twice(path, _compose(text), twice)
    return document


def _yaml(path: str | Path, text: str) -> Any:
    loader = None
    try:
        loader = _Loader(text)  # refuses control characters
        node = loader.get_single_node()
        if node is not None:
            _refuse_twice(path, node, [])
        return None if node is None else loader.construct_document(node)  # type: ignore[no-untyped-call]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _syntax_error(path, text, str(error.problem), line, column) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _syntax_error(path: str | Path, text: str, reason: str, line: int, column: int) -> ConfigError:
    kind = "JSON" if Path(path).suffix.lower() == ".json" else "YAML"
    lines = text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    start = max(0, column - 60)
    excerpt = shown[start : column + 40].replace("\t", " ")
    hint = (
        "Usual causes: a comma missing or left over, a bracket not closed, single quotes, a comment"
        " (write comments as keys that begin with _)."
        if kind == "JSON"
        else "Usual causes: indentation, a tab, a colon without a space after it."
    )
    return ConfigError(
        f"{path} is not valid {kind}: {reason} at line {line}, column {column}:\n"
        f"  {excerpt}\n  {' ' * (column - 1 - start)}^\n{hint}"
    )


def _compose(text: str) -> yaml.Node | None:
    """The tree of a JSON or YAML text, for its positions; None where the YAML library cannot follow."""
    try:
        # Tabs are white space in JSON and not in YAML; inside JSON strings they cannot stand.
        return yaml.compose(text.replace("\t", " "), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError):
        return None


def _keys(node: yaml.Node | None, place: Place = ()) -> Iterator[tuple[Place, yaml.Node, yaml.Node]]:
    """Every key of a tree: its place, the node of the key, the node of the value."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*place, key.value if isinstance(key, yaml.ScalarNode) else "?")
            yield here, key, value
            yield from _keys(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            yield from _keys(value, (*place, i))


def lines(text: str) -> dict[Place, int]:
    """The line (from 1) of every key of a JSON or YAML text; empty if the text cannot be followed."""
    return {place: key.start_mark.line + 1 for place, key, _ in _keys(_compose(text))}


def _refuse_twice(path: str | Path, node: yaml.Node | None, names: list[str]) -> None:
    """Raise ConfigError for keys given twice with different values; ``names``, if the tree does not show them."""
    seen: dict[Place, tuple[int, Any]] = {}
    found = []
    for place, key, value in _keys(node):
        line, plain = key.start_mark.line + 1, _value(value)
        first = seen.setdefault(place, (line, plain))
        if first[1] != plain and not str(place[-1]).startswith("_"):
            found.append(f"{'/'.join(map(str, place))} (lines {first[0]} and {line})")
    if found or names:
        listed = ", ".join(found or names)
        raise ConfigError(f"{path} gives keys twice with different values: {listed}. Keep one of each.")


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.tag, node.value
    if isinstance(node, yaml.SequenceNode):
        return [_value(v) for v in node.value]
    return [(_value(k), _value(v)) for k, v in node.value]
