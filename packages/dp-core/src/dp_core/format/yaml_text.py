"""Documents as YAML: each array is a mapping with ``@is_variable: true``, its dtype and its nested values.

The text is read event by event: no constructor of the YAML library runs, nesting and the expansion of aliases are
bounded, and tags are refused, so that a text can neither execute code nor exhaust memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from dp_core.errors import FormatError
from dp_core.format.document import DTYPES, MAX_DEPTH, MAX_ITEMS, Document, Place, rebuild, to_array, to_plain

_MAX_ALIASED = 100_000  # items that aliases may add
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,999})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)")
_RESOLVER: Any = yaml.resolver.Resolver()
_ALLOWED: dict[str, set[type]] = {"f": {float, int}, "i": {int}, "u": {int}, "b": {bool}}
_TAG = "tag:yaml.org,2002:"


def encode(document: Document) -> bytes:
    """The YAML text of a document, keys sorted; floating-point numbers are written to the last bit.

    Raises FormatError for what YAML cannot hold: raw bytes, and empty arrays of more than one dimension.
    """

    def store(value: Any, place: Place) -> Any:
        if not place.inside:
            return to_plain(value, place)
        if value is None:
            return None
        array = to_array(value, place)
        if type(value) in (bool, int, float):
            return value
        if array.dtype.kind == "V":
            raise FormatError(f"{place.path} holds raw bytes, which YAML cannot hold; write a .dp file")
        if np.shape(array.tolist()) != array.shape:
            raise FormatError(f"{place.path} has the shape {array.shape}, which YAML cannot hold; write a .dp file")
        return {
            "@class": "np.ndarray",
            "@is_variable": True,
            "@version": 1,
            "dtype": array.dtype.name,
            "value": array.tolist(),
        }

    text: str = yaml.dump(rebuild(document, store), Dumper=_Dumper, sort_keys=True, default_flow_style=False)
    return text.encode()


def decode(data: bytes) -> Document:
    """The document of a YAML text. Raises FormatError without naming the file."""
    try:
        document = _build(data)
    except yaml.YAMLError as error:
        raise FormatError(f"it is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise FormatError(f"it holds a {type(document).__name__} where a mapping is expected")
    if "version" not in document:
        raise FormatError(
            "it lacks the key 'version', which stands at the end: it is cut off, or it is not a model file"
        )

    def load(value: Any, place: Place) -> Any:
        if value is None or (not place.inside and not isinstance(value, np.ndarray)):
            return value
        if not place.inside:
            raise FormatError(f"{place.path} is an array; arrays may stand only below a key '@variables'")
        return to_array(value, place)

    result: Document = rebuild(document, load)
    return result


@dataclass
class _Frame:
    """A mapping or sequence that is being read."""

    value: Any
    anchor: str | None
    items: int = 1  # with all that is below, aliases expanded
    key: Any = field(default=None)
    has_key: bool = False

    def add(self, value: Any, items: int) -> None:
        self.items += items
        if isinstance(self.value, list):
            self.value.append(value)
        elif not self.has_key:
            if not isinstance(value, str):
                raise FormatError(f"the key {str(value)[:80]!r} is not a text")
            self.key, self.has_key = value, True
        else:
            self.value[self.key], self.has_key = value, False


def _build(data: bytes) -> Any:
    """The one YAML document in ``data``, aliases shared, arrays made."""
    stack = [_Frame([], None)]
    anchors: dict[str, tuple[Any, int]] = {}
    opened = aliased = 0
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.ScalarEvent):
            value, items, anchor = _scalar(event), 1, event.anchor
        elif isinstance(event, yaml.CollectionStartEvent):
            _refuse_tag(event)
            opened += 1
            if opened > MAX_ITEMS or len(stack) > MAX_DEPTH:
                raise FormatError(
                    f"it is nested deeper than {MAX_DEPTH} levels or has more than {MAX_ITEMS} containers"
                )
            stack.append(_Frame({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor))
            continue
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = stack.pop()
            value, items, anchor = frame.value, frame.items, frame.anchor
            if isinstance(value, dict) and value.get("@is_variable") is True:
                value = _array(value)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise FormatError(f"its alias *{event.anchor} stands for nothing, or for something that contains it")
            value, items = anchors[event.anchor]
            anchor = None
            aliased += items
            if aliased > _MAX_ALIASED:
                raise FormatError(f"its aliases expand to more than {_MAX_ALIASED} items")
        else:
            continue
        stack[-1].add(value, items)
        if anchor is not None:
            anchors[anchor] = value, items
    documents = stack[0].value
    if len(documents) != 1:
        raise FormatError(f"it holds {len(documents)} YAML documents where one is expected")
    return documents[0]


def _refuse_tag(event: Any) -> None:
    if event.tag is not None:
        raise FormatError(f"it has the tag {event.tag!r}; a model file holds plain data only")


def _scalar(event: Any) -> Any:
    _refuse_tag(event)
    text: str = event.value
    if not event.implicit[0]:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))
    if tag == _TAG + "str":
        return text
    if tag == _TAG + "null":
        return None
    if tag == _TAG + "bool":
        return text.lower() in ("yes", "true", "on")
    raise FormatError(f"it has {text[:80]!r}; write numbers in decimals, and texts that look like numbers in quotes")


def _array(node: dict[str, Any]) -> NDArray[Any]:
    """The array of a mapping with ``@is_variable: true``; bfloat16 gives float32 of the same values."""
    name, value = node.get("dtype"), node.get("value")
    if "value" not in node or name not in (*DTYPES, "bfloat16"):
        raise FormatError(f"it has an array of the dtype {str(name)[:80]!r}; possible are {', '.join(sorted(DTYPES))}")
    dtype = np.dtype("float32" if name == "bfloat16" else name)
    wrong = _types(value) - _ALLOWED[dtype.kind]
    if wrong:
        names = ", ".join(sorted(kind.__name__ for kind in wrong))
        raise FormatError(f"it has an array of the dtype {name} with values of the type {names}")
    try:
        with np.errstate(over="raise"):
            return np.array(value, dtype)
    except (ValueError, OverflowError, FloatingPointError) as error:
        raise FormatError(f"it has an array that is not {name} numbers in rows of equal length: {error}") from None


def _types(value: Any) -> set[type]:
    """The types of all items of nested lists."""
    found: set[type] = set()
    level = [value]
    while level:
        found |= {type(item) for item in level if type(item) is not list}
        level = [item for row in level if type(row) is list for item in row]
    return found
