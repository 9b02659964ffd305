"""Print the operations per second of large matrix products by precision, as JSON; as many threads as NumPy takes."""

import json
from time import perf_counter

import numpy as np


def speed(dtype: str, size: int = 1500) -> float:
    """The best of a few products."""
    a = np.random.default_rng(0).normal(size=(size, size)).astype(dtype)
    seconds = []
    for _ in range(8):
        start = perf_counter()
        a @ a
        seconds.append(perf_counter() - start)
    return 2 * size**3 / min(seconds)


print(json.dumps({name: speed(name) for name in ("float64", "float32")}))
