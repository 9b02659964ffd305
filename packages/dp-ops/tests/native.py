"""The native engine through ctypes."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

import dp_ops

HERE = Path(__file__).parent


def compiled(folder: Path) -> ctypes.CDLL:
    """The functions of engine_calls.cpp."""
    path = folder / "engine_calls.so"
    command = [os.environ.get("CXX", "g++"), "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{HERE.parent}"]
    subprocess.run([*command, HERE / "engine_calls.cpp", "-o", path, "-ldl"], check=True)
    calls = ctypes.CDLL(str(path))
    calls.engine_open.restype = ctypes.c_void_p
    calls.engine_text.restype = ctypes.c_char_p
    calls.engine_close.argtypes = [ctypes.c_void_p]
    return calls


class Native:
    """A model file in the native engine. Raises RuntimeError with its sentence where there is one."""

    def __init__(self, calls: ctypes.CDLL, path: Path) -> None:
        self._calls = calls
        library = str(dp_ops.library("dp_engine_native"))
        self._engine = calls.engine_open(library.encode(), str(path).encode())
        text = calls.engine_text().decode()
        if not self._engine:
            raise RuntimeError(text)
        self.record: dict[str, Any] = json.loads(text)

    def __del__(self) -> None:
        if self._engine:
            self._calls.engine_close(self._engine)

    def evaluate(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Energy (n,), mask (n,) and gradient (n, K, 3) of the inputs of a frozen graph."""
        rows, slots = inputs["index"].shape
        blocks = [
            np.array([len(x) for name, x in inputs.items() if name.startswith(kind)], np.int64)
            for kind in ("rows_", "slots_")
        ]
        names = ("vectors", "index", "types", "neighbor_types", "frame", "fparam", "aparam")
        arrays = [np.ascontiguousarray(inputs[name]) for name in names]
        out = np.empty(rows), np.empty(rows), np.empty((rows, slots, 3))

        def pointer(x: np.ndarray) -> ctypes.c_void_p:
            return ctypes.c_void_p(x.ctypes.data)

        sizes = [ctypes.c_int64(x) for x in (rows, slots, len(inputs["fparam"]))]
        lengths = [y for x in blocks for y in (ctypes.c_int64(len(x)), pointer(x))]
        given = [ctypes.c_void_p(self._engine), *sizes, *map(pointer, arrays), *lengths, *map(pointer, out)]
        if self._calls.engine_evaluate(*given):
            raise RuntimeError(self._calls.engine_text().decode())
        return out
