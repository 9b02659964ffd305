"""The file that keeps statistics between runs: a folder of NumPy arrays, or one HDF5 file (``.h5``, ``.hdf5``).

Both hold arrays by path below ``<path>/<type map>/``, so that one file serves several models. In a folder a marker
stands while arrays that belong together are written; one that is left over tells that their writer was stopped.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from dp_core.errors import DataError
from dp_core.format import write_bytes

MARKER = "__deepmd_output_stat_transaction__"


class StatFile:
    """Arrays by name, such as ``bias_atom_energy`` or ``<hash>/r_0``."""

    def __init__(self, path: str | Path, type_map: Iterable[str]):
        """Nothing is opened or written yet. Raises DataError for type names that cannot be kept."""
        self.path = Path(path)
        self.group = " ".join(type_map)
        if "/" in self.group:
            raise DataError(f"A type of {self.group!r} has '/' in its name, which stat_file cannot keep. Rename it.")
        self._hdf5 = self.path.suffix.lower() in (".h5", ".hdf5")

    def read(self, name: str) -> np.ndarray | None:
        """The array of that name, None if it is not there. Raises DataError if it is damaged."""
        try:
            if self._hdf5:
                return self._read_hdf5(name)
            file = self.path / self.group / name
            return np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) if file.is_file() else None
        except (OSError, ValueError, EOFError, RuntimeError) as error:
            raise DataError(
                f"stat_file {self.path}: {self.group}/{name} cannot be read: {error}. Delete it, so that the "
                "statistics are computed again."
            ) from error

    def _read_hdf5(self, name: str) -> np.ndarray | None:
        import h5py

        if not self.path.is_file():
            return None
        with h5py.File(self.path, "r") as file:
            item = file.get(f"{self.group}/{name}")
            return np.asarray(item[()]) if isinstance(item, h5py.Dataset) else None

    @property
    def interrupted(self) -> bool:
        """Whether arrays that belong together may be from different runs."""
        if self._hdf5:
            return self.read(MARKER) is not None
        return (self.path / self.group / MARKER).exists()

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add arrays that belong together, or replace them. Raises DataError if that fails."""
        try:
            if self._hdf5:
                self._write_hdf5(arrays)
            else:
                self._write_folder(arrays)
        except OSError as error:
            raise DataError(
                f"stat_file {self.path} cannot be written: {error}. Choose another place, or repair the folder."
            ) from error

    def _write_folder(self, arrays: Mapping[str, np.ndarray]) -> None:
        folder = self.path / self.group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).touch()
        for name, value in arrays.items():
            (folder / name).parent.mkdir(exist_ok=True)
            buffer = io.BytesIO()
            np.save(buffer, value, allow_pickle=False)
            write_bytes(folder / name, buffer.getvalue())
        (folder / MARKER).unlink()

    def _write_hdf5(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Change a copy in memory, which then replaces the file."""
        import h5py

        content = io.BytesIO(self.path.read_bytes() if self.path.is_file() else b"")
        with h5py.File(content, "r+" if content.getbuffer().nbytes else "w") as file:
            for name in (*arrays, MARKER):
                if f"{self.group}/{name}" in file:
                    del file[f"{self.group}/{name}"]
            for name, value in arrays.items():
                file[f"{self.group}/{name}"] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path, content.getvalue())
