"""Evaluate a model through a C library; prints, for each structure in turn, times and memory as JSON.

native_child.py NAME LIBRARY MODEL STRUCTURE...: energy, force and virial are written beside each structure.
"""

import ctypes
import json
import sys
from pathlib import Path
from time import perf_counter, process_time

import numpy as np


def main(name: str, library: str, model: str, *structures: str) -> None:
    """Measure."""
    api = ctypes.CDLL(library)
    api.DP_NewDeepPot.restype = api.DP_DeepPotCheckOK.restype = ctypes.c_void_p
    potential = ctypes.c_void_p(api.DP_NewDeepPot(model.encode()))

    def check() -> None:
        said = ctypes.string_at(api.DP_DeepPotCheckOK(potential)).decode()
        if said:
            raise SystemExit(said)

    check()
    found = []
    for file in structures:
        with np.load(file) as data:
            coord, types = np.ascontiguousarray(data["coord"], np.float64), data["types"].astype(np.int32)
            cell = np.ascontiguousarray(data["cell"], np.float64) if "cell" in data else None
        energy, force, virial = np.zeros(1), np.zeros_like(coord), np.zeros((3, 3))
        pointers = [
            None if x is None else ctypes.c_void_p(x.ctypes.data) for x in (coord, types, cell, energy, force, virial)
        ]
        wall, cpu = [], []
        # before those that count, frameworks compile and allocate
        before, times = (1, 2) if len(types) > 5000 else (4, 5)
        for _ in range(before + times):
            w, c = perf_counter(), process_time()
            api.DP_DeepPotCompute(potential, len(types), *pointers, None, None)
            wall.append(perf_counter() - w)
            cpu.append(process_time() - c)
        check()
        np.savez(Path(file).with_suffix(f".{name}.npz"), energy=energy, force=force, virial=virial)
        # not getrusage, whose maximum has that of the process that started this one in it
        status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        peak = int(status["VmHWM"].split()[0]) * 1024
        found.append({"wall": wall[before:], "CPU": cpu[before:], "peak": peak})
    print()
    print(json.dumps(found))


main(*sys.argv[1:])
