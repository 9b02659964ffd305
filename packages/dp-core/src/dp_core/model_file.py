"""Model files of every kind: the model tree inside, and the document that each of them carries."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dp_core import registry
from dp_core.backend import CHECKPOINTS
from dp_core.errors import FormatError
from dp_core.format import (
    check_seal,
    dump_bytes,
    find_min_nbor_dist,
    load_bytes,
    read_bytes,
    read_document,
    write_document,
)
from dp_core.format.protobuf_field import find_field, is_sealed
from dp_core.long_range import SpreadCharges
from dp_core.models.modifier import charges_document, read_charges
from dp_core.module import replace

#: Members of a frozen file, a zip archive or a folder: its complete document, and the record of what it can do.
MEMBER, RECORD = "model.dp", "capabilities.json"

#: Suffixes of frozen files that are zip archives. (A .hlo of another program may be a document.)
ARCHIVES = (".pth", ".pt2")

#: Frozen graphs of TensorFlow, protobuf messages, hold them in fields of these numbers.
GRAPH_SUFFIX = ".pb"
FIELDS = {MEMBER: 70001, RECORD: 70002}


def read_model_document(path: str | Path) -> dict[str, Any]:
    """The document of any model file: ``.dp``, ``.yaml``, a checkpoint, or a frozen file of any backend.

    No framework is imported and nothing in the file is executed. Raises FormatError.
    """
    path = Path(path)
    graph = path.suffix.lower() == GRAPH_SUFFIX
    if path.is_dir() or graph or (path.is_file() and zipfile.is_zipfile(path)):
        return load_bytes(members(path, MEMBER)[MEMBER], str(path))
    if path.suffix.lower() in CHECKPOINTS.values():
        return load_bytes(read_bytes(path), str(path))
    if path.is_file() and path.suffix.lower() in ARCHIVES:
        raise FormatError(f"{path} is damaged: it is not a whole frozen model. Copy or freeze it again.")
    return read_document(path)


def members(path: Path, *names: str) -> dict[str, bytes]:
    """The content of members of a frozen file of any kind. Raises FormatError if it is damaged or foreign."""
    if path.is_dir():
        found = _folder_members(path, *names)
    elif path.suffix.lower() == GRAPH_SUFFIX:
        found = _graph_fields(path, *names)
    else:
        found = _archive_members(path, *names)
    for name in names:
        if name not in found:
            raise FormatError(
                f"{path} was not written by dp: there is no {name} in it. Convert it to .dp with the program that "
                "wrote it; dp reads and freezes that."
            )
    return found


def _folder_members(path: Path, *names: str) -> dict[str, bytes]:
    if not any((path / name).is_file() for name in (MEMBER, RECORD)):
        return {}
    check_seal(path)
    return {name: read_bytes(path / name) for name in names if (path / name).is_file()}


def _archive_members(path: Path, *names: str) -> dict[str, bytes]:
    """Members in whatever folders of the archive; none of its members may be damaged, the framework does not check."""
    try:
        with zipfile.ZipFile(path) as archive:
            if wrong := archive.testzip():
                raise zipfile.BadZipFile(f"{wrong} is changed or cut off")
            places = {place.rsplit("/", 1)[-1]: place for place in archive.namelist()}
            return {name: archive.read(places[name]) for name in names if name in places}
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error}. Check the path.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise FormatError(f"{path} is damaged: {error}. Copy or freeze it again.") from error


def _graph_fields(path: Path, *names: str) -> dict[str, bytes]:
    message = read_bytes(path)
    try:
        fields = {name: find_field(message, FIELDS[name]) for name in names}
    except FormatError as error:
        raise FormatError(f"{path} is damaged: {error}. Copy or freeze it again.") from error
    found = {name: content for name, content in fields.items() if content is not None}
    if found and not is_sealed(message):
        raise FormatError(f"{path} is damaged: it does not end with its checksum. Copy or freeze it again.")
    return found


def model_from_document(document: dict[str, Any], source: str = "the document") -> Any:
    """The model tree of a document, NumPy leaves. Raises FormatError."""
    data = document.get("model")
    if not isinstance(data, dict) or "type" not in data:
        if "model_dict" in document or (isinstance(data, dict) and "model_dict" in data):
            raise FormatError(
                f"{source} holds several branches of a multi-task model, which this version of dp does not read."
            )
        raise FormatError(f"{source} has no section 'model' with a 'type'; it is not a model file. Check the path.")
    try:
        model = registry.lookup("model", data["type"]).deserialize(data)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise FormatError(
            f"{source} does not describe a complete model: {type(error).__name__}: {error}. "
            "The file is damaged, or was written by another program."
        ) from error
    if document.get("modifier") is not None:
        model = replace(model, modifier=_modifier(document["modifier"], source))
    return replace(model, min_nbor_dist=find_min_nbor_dist(document), script=document.get("model_def_script"))


def _modifier(data: Any, source: str) -> SpreadCharges:
    try:
        return read_charges(data)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{source} has a modifier that cannot be read: {error}. The file is damaged.") from error


def model_document(model: Any) -> dict[str, Any]:
    """The complete document of a model, as ``.dp`` and ``.yaml`` files hold it."""
    document: dict[str, Any] = {"backend": "dp", "model": model.serialize(), "model_def_script": model.script or {}}
    if getattr(model, "modifier", None) is not None:
        document["modifier"] = charges_document(model.modifier)
    if model.min_nbor_dist is not None:
        document["@variables"] = {"min_nbor_dist": np.float64(model.min_nbor_dist)}
    return document


def load_model(path: str | Path) -> Any:
    """The model tree (NumPy leaves) of any model file. Raises FormatError."""
    return model_from_document(read_model_document(path), str(path))


def save_model(model: Any, path: str | Path) -> None:
    """Write a model tree with NumPy leaves as ``.dp`` or ``.yaml``."""
    write_document(model_document(model), path)


def document_bytes(model: Any) -> bytes:
    """The complete document as bytes, to be put inside a frozen file."""
    return dump_bytes(model_document(model))
