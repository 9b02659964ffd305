"""Models for programs in other languages, which keep this interpreter inside: tables and outputs by their addresses.

The runtime of dp-ops calls ``open_model``, ``evaluate`` and ``close``. Each gives a sentence for the user, empty if all
went well: no exception leaves. Texts and arrays go through ``receive(which, address, size)``, a C function, which
copies before it returns.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dp_core import frozen
from dp_core.backend import SUFFIXES, Evaluator, backend_of, get_backend
from dp_core.errors import DpError
from dp_core.format import load_bytes, read_bytes
from dp_core.model_file import MEMBER, document_bytes, members, model_from_document, read_model_document
from dp_core.neighbors import Neighborhood

_Receive = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)

RECORD, DOCUMENT = -1, -2  # texts, beside outputs 0, 1, …


class _Table(ctypes.Structure):
    """A table of the runtime: sizes, then addresses of arrays as docs/frozen.md describes them."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "slots", "frames", "row_blocks", "slot_blocks")),
        *(
            (name, ctypes.c_void_p)
            for name in ("vectors", "index", "types", "neighbor_types", "frame", "fparam", "aparam", "weight", "blocks")
        ),
    )


@dataclass(frozen=True)
class _Opened:
    evaluate: Evaluator
    record: dict[str, Any]


_opened: dict[int, _Opened] = {}
_numbers = itertools.count(1)


def _guarded(function: Callable[..., None]) -> Callable[..., str]:
    """The function with a sentence in place of exceptions."""

    def call(*arguments: Any) -> str:
        try:
            function(*arguments)
        except DpError as error:
            return str(error)
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
            return f"{what}. Is the model damaged? Copy or write it again; else this is a defect of dp-core."
        return ""

    return call


@_guarded
def open_model(path: str, address: int, size: int, receive: int) -> None:
    """Open a model file, or its bytes at the address; receives the number to call it by, the record and the document.

    Frozen files of JAX are evaluated by JAX, all others by NumPy from the document inside.
    """
    content = ctypes.string_at(address, size) if address else None
    backend = backend_of(path)
    if path.endswith(SUFFIXES["jax"][1]) and backend == "jax":
        opened = _frozen(Path(path))
        document = members(Path(path), MEMBER)[MEMBER]
    else:
        tree = load_bytes(content, path) if content is not None else read_model_document(path)
        model = model_from_document(tree, path)
        opened = _Opened(get_backend("numpy").evaluator(model), frozen.capabilities(model))
        whole = content if content is not None else read_bytes(Path(path)) if Path(path).is_file() else b""
        document = whole if whole[:4] == b"\x89HDF" else document_bytes(model)
    number = next(_numbers)
    _opened[number] = opened
    send = _Receive(receive)
    for which, text in ((RECORD, json.dumps(opened.record).encode()), (DOCUMENT, document)):
        send(which, ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p), len(text))
    send(number, None, 0)


def _frozen(path: Path) -> _Opened:
    evaluate = get_backend("jax").load(path)
    record, _ = frozen.read_frozen(path, "dp-jax")
    return _Opened(evaluate, record)


@_guarded
def evaluate(number: int, address: int, receive: int) -> None:
    """Evaluate the table at the address; receives the outputs in the order of the record."""
    opened = _opened[number]
    out = opened.evaluate(_table(_Table.from_address(address), opened.record))
    send = _Receive(receive)
    for k, output in enumerate(opened.record["outputs"]):
        values = np.ascontiguousarray(out[output["name"]], np.float64)
        send(k, values.ctypes.data, values.size)


@_guarded
def close(number: int) -> None:
    """Forget a model."""
    del _opened[number]


def _table(given: _Table, record: dict[str, Any]) -> Neighborhood:
    """Views of the arrays of a table."""
    n, k, frames = given.rows, given.slots, given.frames
    blocks = _view(given.blocks, ctypes.c_int64, given.row_blocks + given.slot_blocks).tolist()
    widths = {name: record[f"numb_{name}"] for name in ("fparam", "aparam")}
    return Neighborhood(
        vectors=_view(given.vectors, ctypes.c_double, n, k, 3),
        index=_view(given.index, ctypes.c_int64, n, k),
        types=_view(given.types, ctypes.c_int64, n),
        neighbor_types=_view(given.neighbor_types, ctypes.c_int64, n, k),
        frame=_view(given.frame, ctypes.c_int64, n),
        fparam=_view(given.fparam, ctypes.c_double, frames, widths["fparam"]) if widths["fparam"] else None,
        aparam=_view(given.aparam, ctypes.c_double, n, widths["aparam"]) if widths["aparam"] else None,
        weight=_view(given.weight, ctypes.c_double, n) if given.weight else None,
        row_counts=tuple(blocks[: given.row_blocks]),
        slot_counts=tuple(blocks[given.row_blocks :]),
    )


def _view(address: int | None, kind: Any, *shape: int) -> np.ndarray:
    """The numbers at an address, not to be written to."""
    count = int(np.prod(shape))
    if not address or not count:
        return np.zeros(shape, kind)
    x: np.ndarray = np.frombuffer((kind * count).from_address(address), kind).reshape(shape)
    x.flags.writeable = False
    return x
