"""Files and folders read and written whole: one is complete under its name, or it is not touched."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
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


#: The file with the SHA-256 of all others in a sealed folder, as JSON.
CHECKSUMS = "checksums.json"


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
            raise _is_a_folder()
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
        raise _not_written(path, error) from error


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str], *, replaceable: str | None = None) -> Iterator[Path]:
    """A name in the same folder, with the same suffix, to be written; what is written takes the place of ``path``.

    It is synced first. After an exception what was written is removed and ``path`` is as it was.

    replaceable: a folder may take the place of a folder with this file in it. Raises FormatError for other folders.
    """
    shown, path = str(path), Path(os.path.realpath(path))
    temporary, before = (path.with_name(f".{secrets.token_hex(4)}.{path.name}") for _ in range(2))
    try:
        yield temporary
        _sync(temporary)
        if path.is_dir() and not (temporary.is_dir() and replaceable and (path / replaceable).is_file()):
            raise _not_written(shown, _is_a_folder())
        try:
            if path.is_dir():  # a folder cannot be replaced in one step
                os.replace(path, before)
            os.replace(temporary, path)
        except BaseException:
            if before.exists() and not path.exists():
                os.replace(before, path)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = shown
        raise
    finally:
        _remove(temporary)
        if path.exists():  # else what was there before is all that is left
            _remove(before)


def _is_a_folder() -> OSError:
    return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def _not_written(path: str | os.PathLike[str], error: OSError) -> FormatError:
    """The error that names the file, the reason and the repair."""
    return FormatError(f"{path} cannot be written: {error.strerror}. {_REPAIR.get(error.errno or 0, '')}".rstrip())


def _remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def seal(folder: Path) -> None:
    """Write the checksums of all files in a folder beside them, so that damage of any of them is noticed."""
    sums = {name: _checksum(folder / name) for name in _names(folder)}
    write_bytes(folder / CHECKSUMS, json.dumps(sums, indent=1).encode())


def check_seal(folder: Path) -> None:
    """Raise FormatError if a file in a folder is not as it was when the folder was sealed, or was not there then."""
    if not (folder / CHECKSUMS).is_file():
        raise FormatError(f"{folder} is damaged: {CHECKSUMS} is missing. Copy or freeze it again.")
    try:
        sums = dict(json.loads(read_bytes(folder / CHECKSUMS)))
    except (ValueError, TypeError) as error:
        raise FormatError(f"{folder} is damaged: {CHECKSUMS} is unreadable. Copy or freeze it again.") from error
    names = _names(folder)
    for name, expected in sums.items():
        if name not in names or _checksum(folder / name) != expected:
            what = "changed or cut off" if name in names else "missing"
            raise FormatError(f"{folder} is damaged: {name} is {what}. Copy or freeze it again.")
    for name in names:
        if name not in sums:
            raise FormatError(f"{folder} is damaged: {CHECKSUMS} does not name {name}. Remove it, or freeze again.")


def _names(folder: Path) -> list[str]:
    """All files in a folder but the checksums, in order, by their names from there."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / CHECKSUMS)
    return [file.relative_to(folder).as_posix() for file in files]


def _checksum(file: Path) -> str:
    return hashlib.sha256(read_bytes(file)).hexdigest()


def _sync(path: Path) -> None:
    """Make a file, or a folder with all that is in it, durable."""
    for part in [path, *path.rglob("*")]:
        if part.is_dir():
            _sync_folder(part)
        else:
            with part.open("rb+") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Some systems cannot open or sync folders; files are synced anyway."""
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
