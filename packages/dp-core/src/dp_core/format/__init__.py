"""Model files: ``.dp`` and ``.hlo`` (HDF5), ``.yaml`` and ``.yml``.

In memory a model file is a document: nested dicts, lists and scalars, with numpy arrays (native dtypes, numbers as
0-dimensional arrays) below keys named ``@variables``. Reading never executes code from the file, and time and memory
are bounded by its size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dp_core.errors import FormatError, nearest
from dp_core.format import hdf5
from dp_core.format.document import Document
from dp_core.format.files import check_seal, read_bytes, replaced, seal, write_bytes
from dp_core.format.tree import describe
from dp_core.format.versions import check_version, register_upgrade, upgrade

__all__ = [
    "SUFFIXES",
    "Document",
    "check_seal",
    "check_version",
    "describe",
    "dump_bytes",
    "find_min_nbor_dist",
    "load_bytes",
    "read_bytes",
    "read_document",
    "register_upgrade",
    "replaced",
    "seal",
    "upgrade",
    "write_bytes",
    "write_document",
]

#: Suffixes of model files that hold a document and nothing else.
SUFFIXES = (".dp", ".hlo", ".yaml", ".yml")


def read_document(path: str | os.PathLike[str]) -> Document:
    """The document of a model file (``.dp``, ``.hlo``, ``.yaml``, ``.yml``).

    A ``.dp`` file of a bfloat16 model holds opaque two-byte values; below an enclosing ``precision: bfloat16`` they
    are returned as float32 of the same value. Raises FormatError that names the file, the reason and the repair.
    """
    suffix = _suffix(path)
    data = read_bytes(path)
    if not data:
        raise FormatError(f"{path} is empty; copy or write it again.")
    try:
        return _decode(suffix, data)
    except FormatError as error:
        raise FormatError(f"{path} cannot be read as a model: {error}. Copy it again, or write it anew.") from error


def write_document(document: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a model file; the suffix of ``path`` decides how. ``document`` is not changed.

    ``software``, ``version`` and ``time`` are added where the document has none. The file appears complete or not at
    all; one that was there before stays until then. Raises FormatError that names the file, the reason and the repair.
    """
    suffix = _suffix(path)
    try:
        data = _encode(suffix, document)
    except FormatError as error:
        raise FormatError(f"{path} cannot be written: {error}.") from error
    write_bytes(path, data)


def dump_bytes(document: Mapping[str, Any]) -> bytes:
    """The content of a ``.dp`` file, to be stored inside another file."""
    return _encode(".dp", document)


def load_bytes(data: bytes, source: str = "The stored model document") -> Document:
    """The document of what ``dump_bytes`` returned; safe on any bytes. Raises FormatError that names the source."""
    try:
        return _decode(".dp", data)
    except FormatError as error:
        raise FormatError(f"{source} cannot be read: {error}.") from error


def find_min_nbor_dist(document: Mapping[str, Any]) -> float | None:
    """The smallest distance between atoms in the training data, Å; None if the document does not tell.

    Programs write it in one of three places: ``@variables``, the top level, or ``constants``.
    """
    for place in (document.get("@variables"), document, document.get("constants")):
        value = place.get("min_nbor_dist") if isinstance(place, Mapping) else None
        if value is not None:
            try:
                return float(value)
            except (TypeError, ValueError):
                raise FormatError(f"The model's min_nbor_dist is {value!r}; a number in Å is expected.") from None
    return None


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise FormatError(f"{path} has the suffix {suffix!r}, which no model document has{nearest(suffix, SUFFIXES)}")
    return suffix


def _encode(suffix: str, document: Mapping[str, Any]) -> bytes:
    stamped = {
        "software": "dp",
        "version": version("dp-core"),
        "time": str(datetime.now(UTC)),
        **document,
    }
    if suffix in (".dp", ".hlo"):
        return hdf5.encode(stamped)
    from dp_core.format import yaml_text  # imports the YAML library only where it is needed

    return yaml_text.encode(stamped)


def _decode(suffix: str, data: bytes) -> Document:
    if suffix in (".dp", ".hlo"):
        return hdf5.decode(data)
    from dp_core.format import yaml_text

    return yaml_text.decode(data)
