"""Documents as HDF5: one attribute ``json`` with the text, one dataset for each array."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from typing import Any

from numpy.typing import NDArray

from dp_core.errors import FormatError
from dp_core.format.document import MAX_DEPTH, MAX_ITEMS, Document, Place, rebuild, to_array, to_plain
from dp_core.format.hdf5_reader import Hdf5Reader, widen_bfloat16

#: Behind the end of a file, before the SHA-256 of all until there. HDF5 passes over it, and drops it where it writes.
_SEAL = b"dp sha256 "
_SEAL_LENGTH = len(_SEAL) + 64


def encode(document: Document) -> bytes:
    """The HDF5 file of a document: arrays in document order as ``/variable_0000`` …, contiguous, in native dtypes.

    A checksum follows it, so that damage to a number is noticed too.
    """
    import h5py  # reading does not need it

    buffer, numbers = io.BytesIO(), itertools.count()
    with h5py.File(buffer, "w", libver="earliest") as file:

        def store(value: Any, place: Place) -> Any:
            if not place.inside:
                return to_plain(value, place)
            if value is None:
                return None
            name = f"variable_{next(numbers):04d}"
            array = to_array(value, place)
            file.create_dataset(name, data=array if array.dtype.kind != "V" else array[()])
            return f"/{name}"

        text = json.dumps(rebuild(document, store), separators=(",", ":"))
        file.attrs.create("json", text, dtype=h5py.string_dtype("utf-8"))
    data = buffer.getvalue()
    return data + _seal_of(data)


def decode(data: bytes) -> Document:
    """The document of an HDF5 file; arrays are native copies. Raises FormatError without naming the file."""
    reader = Hdf5Reader(data)
    _check_seal(memoryview(data), reader.end)
    text = reader.attribute("json")
    if sum(map(text.count, ",[{")) > MAX_ITEMS:
        raise FormatError(f"its text holds more than {MAX_ITEMS} items")
    try:
        document = json.loads(text)
    except RecursionError:
        raise FormatError(f"its text is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise FormatError(f"its text is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise FormatError(f"its text is a JSON {type(document).__name__} where an object is expected")

    def load(value: Any, place: Place) -> Any:
        if not place.inside or value is None:
            return value
        if not isinstance(value, str):
            raise FormatError(f"{place.path} is {value!r} where the path of a dataset is expected")
        return _opaque(reader.dataset(value), place)

    result: Document = rebuild(document, load)
    return result


def _seal_of(data: bytes | memoryview) -> bytes:
    return _SEAL + hashlib.sha256(data).hexdigest().encode()


def _check_seal(data: memoryview, end: int) -> None:
    """Refuse what changed since it was written; files of other programs have nothing behind their end.

    A changed end is told by the checksum, which is at the very end of the data.
    """
    sealed = bytes(data[-_SEAL_LENGTH:]).startswith(_SEAL)
    if (end < len(data) or sealed) and data[end:] != _seal_of(data[:end]):
        raise FormatError(f"it is damaged: what follows its {end} bytes is not their checksum")


def _opaque(array: NDArray[Any], place: Place) -> NDArray[Any]:
    """Opaque bytes are the raw bytes of a program (scalars), or numbers in bfloat16, which HDF5 lacks.

    The latter are told by their two bytes and an enclosing ``precision: bfloat16``.
    """
    if array.dtype.kind != "V":
        return array
    if array.dtype.itemsize == 2 and place.precision == "bfloat16":
        return widen_bfloat16(array)
    if array.ndim == 0:
        return array
    raise FormatError(f"{place.path} has an array of opaque bytes; only numbers are known there")
