"""The C interface from Python, for tests: a structure in, arrays out; and neighbour lists with ghosts."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import dp_ops

HERE = Path(__file__).parent
GOLDEN = HERE.parents[2] / "tests" / "golden"
HEADER = HERE.parent / "include" / "deepmd" / "c_api.h"

_PLAIN = {
    "void": None,
    "int": ctypes.c_int,
    "double": ctypes.c_double,
    "bool": ctypes.c_bool,
    "int64_t": ctypes.c_int64,
}


def declared() -> dict[str, tuple[str, list[str]]]:
    """Functions of the header: name -> (type of the result, types of the arguments)."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    found = {}
    for result, name, arguments in re.findall(r"DP_API ([\w *]+?)(DP_\w+)\((.*?)\);", text, flags=re.DOTALL):
        kinds = [re.sub(r"\w+$", "", " ".join(a.split())).strip() for a in arguments.split(",")]
        found[name] = (result.strip(), kinds)
    return found


def _kind(name: str) -> Any:
    return _PLAIN.get(name.replace("const ", "").strip(), ctypes.c_void_p)


@cache
def library() -> ctypes.CDLL:
    """The library, its functions with the types of the header."""
    lib = ctypes.CDLL(str(dp_ops.library("deepmd_c")))
    for name, (result, kinds) in declared().items():
        function = getattr(lib, name)
        function.restype = _kind(result)
        function.argtypes = [_kind(k) for k in kinds]
    return lib


def text(pointer: int) -> str:
    """A text of the library, which is freed."""
    value = ctypes.string_at(pointer).decode()
    library().DP_DeleteChar(pointer)
    return value


@dataclass
class NeighborList:
    """A full list for local atoms and ghosts, in the memory that ``pointer`` refers to."""

    coord: np.ndarray  # (natoms, 3)
    types: np.ndarray  # (natoms,)
    owner: np.ndarray  # (natoms,) int32
    nlocal: int
    pointer: int
    kept: tuple[Any, ...]

    @property
    def nghost(self) -> int:
        return len(self.coord) - self.nlocal


def neighbor_list(
    coord: np.ndarray, cell: np.ndarray | None, types: np.ndarray, cutoff: float, rows_of_ghosts: bool = False
) -> NeighborList:
    """Ghosts of all images within the cutoff of the cell, and neighbours within the cutoff, in no order."""
    n = len(coord)
    points, owner = [coord], [np.arange(n)]
    if cell is not None:
        heights = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
        inside = coord @ np.linalg.inv(cell)
        reach = np.ceil(cutoff / heights + np.ptp(inside, axis=0)).astype(int)
        for shift in np.ndindex(*(2 * reach + 1)):
            image = np.array(shift) - reach
            if not image.any():
                continue
            moved = coord + image @ cell
            near = np.linalg.norm(moved[:, None] - coord, axis=-1).min(axis=1) <= cutoff
            points.append(moved[near])
            owner.append(np.flatnonzero(near))
    everyone, owners = np.concatenate(points), np.concatenate(owner).astype(np.int32)
    close = np.linalg.norm(everyone[:, None] - everyone, axis=-1) <= cutoff
    np.fill_diagonal(close, False)
    rows = len(everyone) if rows_of_ghosts else n
    random = np.random.default_rng(0)
    lists = [random.permutation(np.flatnonzero(close[i])).astype(np.int32) for i in range(rows)]
    lists = [np.append(x, np.int32(0))[:-1] for x in lists]  # memory of their own even if empty
    ilist, count = np.arange(rows, dtype=np.int32), np.array([len(x) for x in lists], np.int32)
    first = (ctypes.c_void_p * rows)(*(x.ctypes.data for x in lists))
    pointer = library().DP_NewNlist(rows, ilist.ctypes.data, count.ctypes.data, ctypes.addressof(first))
    kept = (lists, ilist, count, first)
    return NeighborList(np.ascontiguousarray(everyone), types[owners].astype(np.int32), owners, n, pointer, kept)


def address(array: np.ndarray | None) -> int | None:
    """Where an array is, for C."""
    return None if array is None else array.ctypes.data


class Pot:
    """A DP_DeepPot."""

    def __init__(self, path: str | Path, content: bytes = b"") -> None:
        self.lib = library()
        self.object = self.lib.DP_NewDeepPotWithParam2(str(path).encode(), 0, content, len(content))

    def close(self) -> None:
        self.lib.DP_DeleteDeepPot(self.object)

    @property
    def message(self) -> str:
        return text(self.lib.DP_DeepPotCheckOK(self.object))

    def __call__(
        self,
        coord: np.ndarray,
        types: np.ndarray,
        cell: np.ndarray | None,
        *,
        parameters: dict[str, Any] | None = None,
        nlist: NeighborList | None = None,
        ago: int = 0,
        dtype: type = np.float64,
        mixed: bool = False,
    ) -> dict[str, np.ndarray]:
        """Outputs of frames (or one, with a list) by the names of the stored numbers."""
        x = np.ascontiguousarray(coord, dtype)
        t = np.ascontiguousarray(types, np.int32)
        natoms = t.shape[-1]
        nframes = x.size // (3 * natoms) if natoms else 1
        box = None if cell is None else np.ascontiguousarray(cell, dtype)
        given = {k: np.ascontiguousarray(v, dtype) for k, v in (parameters or {}).items()}
        out = {
            "energy": np.zeros(nframes),
            "force": np.zeros((nframes, natoms, 3), dtype),
            "virial": np.zeros((nframes, 9), dtype),
            "atom_energy": np.zeros((nframes, natoms), dtype),
            "atom_virial": np.zeros((nframes, natoms, 9), dtype),
        }
        names = ("fparam", "aparam") if mixed else ("fparam", "aparam", "charge_spin")
        arguments = [self.object, nframes, natoms, address(x), address(t), address(box)]
        if nlist is not None:
            arguments += [nlist.nghost, nlist.pointer, ago]
        arguments += [address(given.get(name)) for name in names] + [address(a) for a in out.values()]
        f = "f" if dtype == np.float32 else ""
        kind = "MixedType" if mixed else "NList" if nlist is not None else ""
        getattr(self.lib, f"DP_DeepPotCompute{kind}{f}{'' if mixed else 3}")(*arguments)
        return out
