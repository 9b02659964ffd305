"""Whether the files of a training can be written, found out before anything is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from dp_core.errors import ConfigError


def check_writable(files: Iterable[Path], *, make: bool) -> None:
    """Raise ConfigError if a file could not be written. ``make``: make missing folders, and really try."""
    for folder in dict.fromkeys(path.parent for path in files):
        there = folder
        while not there.exists() and there != there.parent:
            there = there.parent
        try:
            if not there.is_dir():
                raise NotADirectoryError(20, "not a folder", str(there))
            if not os.access(there, os.W_OK):
                raise PermissionError(13, "no permission to write", str(there))
            if make:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            raise ConfigError(
                f"The folder {folder} cannot be written ({there}: {error.strerror}). "
                "Train in another folder, or change training/save_ckpt, save_dir or disp_file."
            ) from error
    for path in files:
        if path.is_dir():
            raise ConfigError(f"{path} is a folder, but a file of the training has this name. Move it away.")
