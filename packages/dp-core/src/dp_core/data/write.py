"""Writing systems in the deepmd/npy layout."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from dp_core.data.frame import COMMON_LABELS, Floats, Frame, Integers, Label
from dp_core.data.open import open_systems
from dp_core.errors import DataError


def write_npy_system(
    path: str | Path,
    frames: Sequence[Frame],
    type_map: Sequence[str],
    *,
    set_size: int = 2000,
    dtype: DTypeLike = np.float64,
) -> None:
    """Write frames with the same atoms as one system: ``type.raw``, ``type_map.raw``, ``nopbc`` if open, and sets.

    Labels that all frames of a set have found are written.

    Raises DataError if there is a system already, or if the frames differ in atoms or boundaries.
    """
    path = Path(path)
    if not frames:
        raise DataError(f"There are no frames to write to {path}.")
    if (path / "type.raw").exists() or any(path.glob("set.*")):
        raise DataError(f"{path} holds a system already; choose another folder, or remove it first.")
    first = frames[0]
    if (first.types < 0).any():
        raise DataError(f"Frame 0 has padding atoms (type −1), which the system {path} cannot hold. Remove them first.")
    for k, frame in enumerate(frames):
        if not np.array_equal(frame.types, first.types) or (frame.box is None) != (first.box is None):
            raise DataError(
                f"Frame {k} has other atoms or boundaries than frame 0; all frames of the system {path} must agree. "
                "Write them to a folder of their own."
            )
    path.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(frames), set_size)
    width = max(3, len(str(len(starts))))  # sets are read in the order of their names
    for k, start in enumerate(starts):
        _write_set(path / f"set.{k:0{width}d}", frames[start : start + set_size], dtype)
    (path / "type_map.raw").write_text("\n".join(type_map) + "\n", encoding="utf-8")
    if first.box is None:
        (path / "nopbc").touch()
    # Last, because it is what makes the folder a system.
    (path / "type.raw").write_text("\n".join(map(str, first.types)) + "\n", encoding="utf-8")


def _write_set(folder: Path, frames: Sequence[Frame], dtype: DTypeLike) -> None:
    folder.mkdir()
    count = len(frames)

    def save(name: str, rows: list[Floats]) -> None:
        np.save(folder / f"{name}.npy", np.array(rows, dtype=dtype).reshape(count, -1))

    save("coord", [frame.coord for frame in frames])
    if frames[0].box is not None:
        save("box", [frame.box for frame in frames if frame.box is not None])
    for name in sorted(frozenset.intersection(*(frame.found for frame in frames))):
        save(name, [frame.labels[name] for frame in frames])


def convert_to_npy(
    source: str | Sequence[str],
    target: str | Path,
    type_map: Sequence[str] | None = None,
    *,
    labels: Sequence[Label] = COMMON_LABELS,
    keys: Mapping[str, str] | None = None,
    set_size: int = 2000,
    dtype: DTypeLike = np.float64,
) -> list[Path]:
    """Convert any data set (such as an extended XYZ file) to deepmd/npy folders below ``target``.

    Frames of one formula and boundary make one system, named by the formula; their atoms are sorted by type.
    ``labels`` that a frame has are kept. Returns the folders, in order of first appearance.
    """
    groups: dict[tuple[tuple[int, ...], bool], list[Frame]] = defaultdict(list)
    systems = open_systems(source, type_map, keys=keys)
    for system in systems:
        present = [replace(label, repeat=1) for label in labels if label.key in system.available()]
        for i in range(system.nframes):
            frame = _sorted_by_type(system.frame(i, present))
            groups[tuple(frame.types), frame.box is not None].append(frame)
    names = systems[0].type_map
    folders = []
    for (types, periodic), frames in groups.items():
        folder = Path(target) / (_formula(np.array(types), names) + ("" if periodic else "_open"))
        write_npy_system(folder, frames, names, set_size=set_size, dtype=dtype)
        folders.append(folder)
    return folders


def _formula(types: Integers, names: Sequence[str]) -> str:
    return "".join(f"{name}{count}" for name, count in zip(names, np.bincount(types)) if count)


def _sorted_by_type(frame: Frame) -> Frame:
    """The same frame without padding atoms, sorted by type; equal types keep their order."""
    order = np.argsort(frame.types, kind="stable")[np.count_nonzero(frame.types < 0) :]
    natoms = len(frame.types)

    def sort(key: str, value: Floats) -> Floats:
        if key == "hessian":
            square = value.reshape(natoms, 3, natoms, 3)
            return square[order][:, :, order].ravel()
        return value[order] if value.ndim == 2 else value

    return Frame(
        system=frame.system,
        index=frame.index,
        coord=frame.coord[order],
        box=frame.box,
        types=frame.types[order],
        labels={key: sort(key, value) for key, value in frame.labels.items()},
        found=frame.found,
    )
