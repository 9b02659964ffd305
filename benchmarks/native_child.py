"""native_child.py MODEL STRUCTURE TIMES: evaluates a structure with the native engine and prints its times as JSON."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from ctypes import CDLL, c_char_p, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

import dp_ops
from dp_core.frozen import capabilities, graph_inputs
from dp_core.model_file import load_model
from dp_core.neighbors import build_batch, frame_neighbors

OPS = Path(__file__).resolve().parents[1] / "packages" / "dp-ops"


def calls(folder: Path) -> CDLL:
    """The functions of an engine for ctypes, compiled here."""
    path = folder / "engine_calls.so"
    source = OPS / "tests" / "engine_calls.cpp"
    subprocess.run(["g++", "-std=c++17", "-shared", "-fPIC", f"-I{OPS}", source, "-o", path, "-ldl"], check=True)
    library = CDLL(str(path))
    library.engine_open.restype, library.engine_text.restype = c_void_p, c_char_p
    return library


def flops(model: Any, natoms: int) -> float:
    """Of the fitting networks and of the product of the descriptor, forward and backward."""
    net = model.fitting.nets.networks[0]
    products = sum(layer.w.size for layer in net.layers)
    descriptor = 2 * 4 * model.descriptor.width * model.descriptor.axis_neuron
    return 2.0 * natoms * (2 * products + descriptor + descriptor // 2)


def peak() -> float:
    """Operations per second of processor time of large matrix products."""
    a, best = np.random.default_rng(0).normal(size=(1000, 1000)), np.inf
    for _ in range(5):
        start = time.process_time()
        a @ a
        best = min(best, time.process_time() - start)
    return 2e9 / float(best)


def main(path: str, structure: str, times: int) -> None:
    """Print the seconds of each evaluation, the floor of one thread, and the growth of the process."""
    model, stored = load_model(Path(path)), np.load(structure)
    spec = model.neighbor_spec
    cell = stored.get("cell")
    batch = build_batch([frame_neighbors(stored["coord"], cell, stored["types"], spec)], spec)
    inputs = graph_inputs(batch.table, capabilities(model))
    library = calls(Path(structure).parent)
    engine = library.engine_open(str(dp_ops.library("dp_engine_native")).encode(), path.encode())
    if not engine:
        raise SystemExit(library.engine_text().decode())
    rows, slots = inputs["index"].shape
    names = ("vectors", "index", "types", "neighbor_types", "frame", "fparam", "aparam")
    blocks = [np.array([len(x) for k, x in inputs.items() if k.startswith(kind)]) for kind in ("rows_", "slots_")]
    out = np.zeros(rows), np.zeros(rows), np.zeros((rows, slots, 3))

    def pointer(x: np.ndarray) -> c_void_p:
        return c_void_p(x.ctypes.data)

    given = [c_void_p(engine), *map(c_int64, (rows, slots, len(inputs["fparam"])))]
    given += [pointer(np.ascontiguousarray(inputs[name])) for name in names]
    given += [y for x in blocks for y in (c_int64(len(x)), pointer(x))]
    given += map(pointer, out)

    def evaluate() -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        if library.engine_evaluate(*given):
            raise SystemExit(library.engine_text().decode())
        return time.perf_counter() - wall, time.process_time() - cpu

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    evaluate()
    memory = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    found = [evaluate() for _ in range(times)]
    walls, cpus = zip(*found, strict=True)
    print(json.dumps({"wall": walls, "CPU": cpus, "floor": flops(model, rows) / peak(), "memory": memory}))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
