"""Bytes kept in a field of their own at the top of a protobuf message, which programs that do not know it pass over."""

from __future__ import annotations

import hashlib

from dp_core.errors import FormatError

#: Most bytes of a message, by the definition of protobuf.
LIMIT = 2**31 - 1

#: Number of the last field of a sealed message, the SHA-256 of all bytes before it.
CHECKSUM = 70003

_LENGTH_DELIMITED = 2
_FIXED = {1: 8, 5: 4}  # bytes of a value, by wire type


def field(number: int, content: bytes) -> bytes:
    """The field as bytes, to be appended to a message."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def sealed(message: bytes) -> bytes:
    """The message with its checksum, a last field, so that damage is noticed."""
    return message + _checksum(message)


def is_sealed(message: bytes) -> bool:
    """Whether a message ends with the checksum of all that is before it."""
    size = len(_checksum(b""))
    return message[-size:] == _checksum(message[:-size])


def _checksum(message: bytes) -> bytes:
    return field(CHECKSUM, hashlib.sha256(message).digest())


def find_field(message: bytes, number: int) -> bytes | None:
    """The content of the last field of that number; None if there is none. Safe on any bytes.

    Raises FormatError where the message ends too early, or is no message at all.
    """
    found, place = None, 0
    while place < len(message):
        key, place = _read_varint(message, place)
        kind = key & 7
        if kind == 0:
            _, place = _read_varint(message, place)
            continue
        if kind == _LENGTH_DELIMITED:
            size, place = _read_varint(message, place)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise FormatError(f"at byte {place} is no field of a protobuf message")
        if size > len(message) - place:
            raise FormatError(f"it ends after {len(message)} bytes, inside a field that begins at byte {place}")
        if key >> 3 == number and kind == _LENGTH_DELIMITED:
            found = (place, place + size)
        place += size
    return None if found is None else message[slice(*found)]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    """A number of up to 64 bits and the place after it."""
    value = 0
    for k, byte in enumerate(message[place : place + 10]):
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value, place + k + 1
    raise FormatError(f"the number at byte {place} has no end")
