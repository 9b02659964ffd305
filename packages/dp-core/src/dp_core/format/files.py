"""Files read and written whole: a file is complete under its name, or it is not touched."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from dp_core.errors import FormatError

_REPAIR = {
    errno.ENOSPC: "The disk is full; free some space or choose another folder.",
    errno.EDQUOT: "The quota is used up; free some space or choose another folder.",
    errno.EFBIG: "Files of this size are not allowed here (ulimit -f, or the file system).",
    errno.EACCES: "You may not write in this folder; choose another one or change its permissions.",
    errno.EPERM: "You may not write in this folder; choose another one or change its permissions.",
    errno.EROFS: "The folder is read-only; choose another one.",
    errno.ENOENT: "The folder does not exist; make it first.",
    errno.ENOTDIR: "The path leads through something that is not a folder.",
    errno.EISDIR: "It is a folder; give the name of a file.",
}


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file. Raises FormatError that names the file if it is absent or no file."""
    path = Path(path)
    if path.is_dir():
        raise FormatError(f"{path} is a folder; give the name of a model file in it.")
    if not path.exists():
        raise FormatError(f"{path} does not exist{_beside(path)}.")
    if not path.is_file():
        raise FormatError(f"{path} is a device or a pipe; give the name of a file.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that it is either complete on the disk or not touched, whatever happens in between.

    The data go to a hidden file in the same folder, are synced, and the hidden file is renamed. A symbolic link is
    followed. Raises FormatError that names the file, the reason and the repair; then nothing is left behind.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        repair = _REPAIR.get(error.errno or 0, "")
        raise FormatError(f"{path} cannot be written: {error.strerror}. {repair}".rstrip()) from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable. Some systems cannot open or sync folders; the file itself is synced anyway."""
    with contextlib.suppress(OSError, AttributeError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _beside(path: Path) -> str:
    """The ending of a message about an absent file: what of the same suffix is in its folder."""
    if not path.parent.is_dir():
        return f" (there is no folder {path.parent})"
    found = sorted(entry.name for entry in path.parent.glob(f"*{path.suffix}") if path.suffix and entry.is_file())
    return f"; in this folder are: {', '.join(found[:8])}" if found else ""
