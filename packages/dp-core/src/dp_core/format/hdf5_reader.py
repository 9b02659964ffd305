"""A reader of the part of HDF5 that ``.dp`` files use, safe on hostile bytes.

libhdf5 (2.0.0, by h5py 3.16) crashed with a segmentation fault or hung on 5 of 26,000 randomly damaged model files, so
a file from an unknown source must not reach it. This reader is plain Python on a block of bytes. It knows what writers
of ``.dp`` files produce: superblock 0 or 1, a symbol-table root group, scalar variable-length string attributes, and
contiguous datasets of plain numbers or opaque bytes. Anything else (links, chunks, filters, external or virtual
storage, references, compound types) is refused by name.

Every structure and every array read is paid from a budget of twice the size of the data. An honest file needs less
than its size once; loops and overlapping structures run out of budget. So time and memory are linear in the size.

Layout: the HDF5 File Format Specification, version 3.0 (The HDF Group).
"""

from __future__ import annotations

import math
import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dp_core.errors import FormatError

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_UNDEFINED = 2**64 - 1
_MAX_NAME = 255
_OTHER_LAYOUT = (
    "it uses an HDF5 file layout ({}) that .dp files do not have; write it again with the default settings of HDF5 "
    "(no libver='latest', no creation order, no dense storage)"
)
_DAMAGED = "it is damaged"
# Header messages
_DATASPACE, _DATATYPE, _EXTERNAL, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = (
    1,
    3,
    7,
    8,
    11,
    12,
    16,
    17,
)
# Datatype classes
_INTEGER, _FLOAT, _OPAQUE, _ENUM, _VLEN = 0, 1, 5, 8, 9
# (bit offset, precision, exponent position, exponent size, mantissa position, mantissa size, exponent bias)
_FLOATS = {
    (0, 16, 10, 5, 0, 10, 15): "float16",
    (0, 16, 7, 8, 0, 7, 127): "bfloat16",
    (0, 32, 23, 8, 0, 23, 127): "float32",
    (0, 64, 52, 11, 0, 52, 1023): "float64",
}


class Hdf5Reader:
    """Attributes and datasets of the root group of an HDF5 file held in memory.

    Raises FormatError (without a file name: the caller knows it) for bytes that are damaged or out of the subset.
    """

    def __init__(self, data: bytes) -> None:
        if not data.startswith(SIGNATURE):
            raise FormatError("it is not an HDF5 file")
        self._view = memoryview(data)
        self._budget = 2 * len(data)
        (version,) = _unpack("<B", self._view, 8)
        if version not in (0, 1):
            raise FormatError(_OTHER_LAYOUT.format(f"superblock {version}"))
        if _unpack("<BB", self._view, 13) != (8, 8):
            raise FormatError(_OTHER_LAYOUT.format("addresses that are not 8 bytes"))
        base, _, end, _, _, root = _unpack("<QQQQQQ", self._view, 24 if version == 0 else 28)
        if base != 0:
            raise FormatError(_OTHER_LAYOUT.format("a user block"))
        if end > len(data):
            raise FormatError(f"it is cut off: {end} bytes were written, {len(data)} are left")
        #: Where the file ends; what follows is of no meaning in HDF5.
        self.end = end
        self._root = self._messages(root)
        self._members = self._group()

    def attribute(self, name: str) -> str:
        """The text of a scalar variable-length string attribute of the root group."""
        for kind, shared, body in self._root:
            if kind == _ATTRIBUTE and not shared:
                found, datatype, dataspace, value = _split_attribute(body)
                if found == name.encode():
                    return self._text(name, datatype, dataspace, value)
        raise FormatError(f"its root group has no attribute {name!r}, so it is not a model file")

    def dataset(self, path: str) -> NDArray[Any]:
        """The array at an absolute path; native byte order, a fresh copy.

        HDF5's boolean enumeration gives bool, brain floats give float32 of equal value, opaque bytes give void.
        """
        if path[1:] not in self._members or not path.startswith("/"):
            raise FormatError(f"its text refers to the dataset {path[:80]!r}, which is not in the file")
        try:
            return self._array(self._members[path[1:]])
        except FormatError as error:
            raise FormatError(f"dataset {path!r}: {error}") from None

    def _spend(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise FormatError("its structures overlap or run in a circle")

    def _messages(self, address: int) -> list[tuple[int, bool, memoryview]]:
        """(kind, shared, body) of each message of the object header at ``address``."""
        version, count, size = _unpack("<BxH4xI", self._view, address)
        if version != 1:
            raise FormatError(_OTHER_LAYOUT.format("a new kind of object header") if version == ord("O") else _DAMAGED)
        blocks = [_slice(self._view, address + 16, size)]
        found: list[tuple[int, bool, memoryview]] = []
        while blocks:
            block, at = blocks.pop(), 0
            while at + 8 <= len(block) and len(found) < count:
                kind, length, flags = _unpack("<HHB3x", block, at)
                self._spend(8 + length)
                body = _slice(block, at + 8, length)
                found.append((kind, bool(flags & 2), body))
                if kind == _CONTINUATION:
                    blocks.append(_slice(self._view, *_unpack("<QQ", body, 0)))
                at += 8 + length
        return found

    def _group(self) -> dict[str, int | None]:
        """Name → address of the object header of each member of the root group; None for a symbolic link."""
        tables = [body for kind, shared, body in self._root if kind == _SYMBOL_TABLE and not shared]
        if not tables:
            raise FormatError(_OTHER_LAYOUT.format("a root group without symbol table"))
        tree, heap = _unpack("<QQ", tables[0], 0)
        signature, size, segment = _unpack("<4s4xQ8xQ", self._view, heap)
        if signature != b"HEAP":
            raise FormatError(_DAMAGED)
        names = _slice(self._view, segment, size)
        members: dict[str, int | None] = {}
        nodes = [tree]
        while nodes:
            node = nodes.pop()
            signature, kind, used = _unpack("<4sBxH", self._view, node)
            self._spend(8 + 16 * used)
            if signature == b"TREE" and kind == 0:
                nodes += [_unpack("<Q", self._view, node + 32 + 16 * i)[0] for i in range(used)]
            elif signature == b"SNOD":
                for i in range(used):
                    name, header, cache = _unpack("<QQI20x", self._view, node + 8 + 40 * i)
                    members[_name(names, name)] = None if cache == 2 else header
            else:
                raise FormatError(_DAMAGED)
        return members

    def _text(self, name: str, datatype: memoryview, dataspace: memoryview, value: memoryview) -> str:
        kind, flags = _unpack("<BB", datatype, 0)
        if kind & 15 != _VLEN or flags & 15 != 1 or _shape(dataspace) != ():
            raise FormatError(f"its attribute {name!r} is not one variable-length string")
        length, address, wanted = _unpack("<IQI", value, 0)
        signature, size = _unpack("<4s4xQ", self._view, address)
        if signature != b"GCOL":
            raise FormatError(_DAMAGED)
        heap, at = _slice(self._view, address, size), 16
        while at + 16 <= len(heap):
            index, object_size = _unpack("<H6xQ", heap, at)
            self._spend(16)
            if index == wanted and index != 0:
                self._spend(length)
                try:
                    return str(_slice(heap, at + 16, min(length, object_size)), "utf-8").rstrip("\0")
                except UnicodeDecodeError:
                    raise FormatError(f"its attribute {name!r} is not UTF-8 text") from None
            at += 16 + _round8(object_size)
        raise FormatError(_DAMAGED)

    def _array(self, header: int | None) -> NDArray[Any]:
        if header is None:
            raise FormatError("it is a symbolic link; links are not followed")
        parts: dict[int, memoryview] = {}
        for kind, shared, body in self._messages(header):
            if kind in (_EXTERNAL, _FILTERS):
                what = "kept in another file" if kind == _EXTERNAL else "compressed"
                raise FormatError(f"it is {what}; only contiguous plain storage is read")
            if kind in (_DATASPACE, _DATATYPE, _LAYOUT):
                if shared:
                    raise FormatError("it has a named datatype; only plain types are read")
                parts[kind] = body
        if len(parts) != 3:
            raise FormatError("it is not a dataset")
        shape = _shape(parts[_DATASPACE])
        stored, meaning = _datatype(parts[_DATATYPE])
        size = math.prod(shape) * stored.itemsize
        self._spend(size)
        storage = self._storage(parts[_LAYOUT], size)
        try:
            raw = np.ndarray(shape, stored, storage)
        except (ValueError, OverflowError):
            raise FormatError(f"its shape {shape} is impossible") from None
        if meaning == "bool":
            return np.asarray(raw != 0)
        if meaning == "bfloat16":
            return widen_bfloat16(raw)
        return raw.astype(stored.newbyteorder("="))

    def _storage(self, layout: memoryview, size: int) -> memoryview:
        version, kind = _unpack("<BB", layout, 0)
        if version not in (3, 4) or kind not in (0, 1):
            raise FormatError("it is chunked or virtual; only contiguous storage is read")
        if size == 0:
            return layout[:0]
        if kind == 0:
            return _slice(_slice(layout, 4, _unpack("<H", layout, 2)[0]), 0, size)
        address, stored = _unpack("<QQ", layout, 2)
        if address == _UNDEFINED:
            raise FormatError("it has no data")
        if stored != size:
            raise FormatError(f"{stored} bytes are stored where its shape needs {size}")
        return _slice(self._view, address, size)


def widen_bfloat16(raw: NDArray[Any]) -> NDArray[np.float32]:
    """float32 of the same value: the two bytes of a bfloat16 are the upper half of a float32."""
    bits = (raw if raw.dtype.kind == "u" else raw.view("<u2")).astype(np.uint32)
    return np.left_shift(bits, np.uint32(16), out=bits).view(np.float32)


def _unpack(layout: str, view: memoryview, offset: int) -> tuple[Any, ...]:
    return struct.unpack(layout, _slice(view, offset, struct.calcsize(layout)))


def _slice(view: memoryview, offset: int, size: int) -> memoryview:
    if offset + size > len(view):
        raise FormatError(_DAMAGED)
    return view[offset : offset + size]


def _round8(size: int) -> int:
    return (size + 7) // 8 * 8


def _name(names: memoryview, offset: int) -> str:
    name, end, _ = bytes(names[offset : offset + _MAX_NAME + 1]).partition(b"\0")
    if not end:
        raise FormatError(_DAMAGED)
    return name.decode("utf-8", "replace")


def _split_attribute(body: memoryview) -> tuple[bytes, memoryview, memoryview, memoryview]:
    """Name, datatype, dataspace and value of an attribute message."""
    version, flags, *sizes = _unpack("<BBHHH", body, 0)
    if version not in (1, 2, 3) or (version > 1 and flags):
        raise FormatError(_OTHER_LAYOUT.format("a new kind of attribute"))
    at, parts = 9 if version == 3 else 8, []
    for size in sizes:
        parts.append(_slice(body, at, size))
        at += _round8(size) if version == 1 else size
    return bytes(parts[0]).rstrip(b"\0"), parts[1], parts[2], body[at:]


def _shape(dataspace: memoryview) -> tuple[int, ...]:
    version, rank, kind = _unpack("<BBxB", dataspace, 0)
    if version not in (1, 2) or (version == 2 and kind == 2):
        raise FormatError("it has no values")
    if rank > 32:
        raise FormatError(f"it has {rank} dimensions; at most 32 are possible")
    return tuple(_unpack(f"<{rank}Q", dataspace, 8 if version == 1 else 4))


def _datatype(body: memoryview) -> tuple[np.dtype[Any], str]:
    """The stored dtype, and "bool", "bfloat16" or "" for what its values mean."""
    kind, flags, sign, size = _unpack("<BBBxI", body, 0)
    order: Literal[">", "<"] = ">" if flags & 1 else "<"
    kind &= 15
    if kind == _INTEGER and size in (1, 2, 4, 8) and _unpack("<HH", body, 8) == (0, 8 * size):
        return np.dtype(f"{order}{'i' if flags & 8 else 'u'}{size}"), ""
    if kind == _FLOAT and not flags & 64 and sign == 8 * size - 1:
        name = _FLOATS.get(_unpack("<HHBBBBI", body, 8))
        if name == "bfloat16":
            return np.dtype(order + "u2"), name
        if name is not None:
            return np.dtype(name).newbyteorder(order), ""
    if kind == _OPAQUE and 0 < size < 2**31:
        return np.dtype(f"V{size}"), ""
    if kind == _ENUM and size == 1 and _is_boolean(bytes(body[8:])):
        return np.dtype("i1"), "bool"
    raise FormatError(
        "its datatype is not one of bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32, float64, opaque"
    )


def _is_boolean(members: bytes) -> bool:
    """Whether an enumeration (its base type of 12 bytes, names, values) is HDF5's boolean: FALSE = 0, TRUE = 1.

    Old versions of the message pad the names to 8 bytes.
    """
    return members[12:].startswith((b"FALSE\0\0\0TRUE\0\0\0\0\0\1", b"FALSE\0TRUE\0\0\1"))
