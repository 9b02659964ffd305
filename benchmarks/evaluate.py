"""Evaluate a model file in this process; run as a script by any interpreter that has dp or DeePMD-kit.

evaluate.py MODULE MODEL STRUCTURE RESULT WARM_UP REPEATS: prints times and memory as JSON, and writes energy and force.
"""

import json
import resource
import sys
from importlib import import_module
from time import perf_counter, process_time

import numpy as np


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(module: str, model: str, structure: str, result: str, warm_up: str, repeats: str) -> None:
    """Measure."""
    module, _, backend = module.partition(":")
    with np.load(structure) as data:
        coords, types = data["coord"][None], data["types"]
        cells = data["cell"].reshape(1, 9) if "cell" in data else None
    arguments = {"backend": backend} if backend else {}
    potential = import_module(module).DeepPot(model, **arguments)
    loaded = peak()
    for _ in range(int(warm_up)):
        potential.eval(coords, cells, types)
    cpu, wall = [], []
    for _ in range(int(repeats)):
        c, w = process_time(), perf_counter()
        energy, force, virial = potential.eval(coords, cells, types)
        cpu.append(process_time() - c)
        wall.append(perf_counter() - w)
    np.savez(result, energy=energy, force=force, virial=virial)
    print()
    print(json.dumps({"CPU": cpu, "wall": wall, "loaded": loaded, "peak": peak()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
