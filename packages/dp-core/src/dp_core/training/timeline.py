"""A trace of where the time goes, for ``chrome://tracing`` or https://ui.perfetto.dev."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from dp_core.format import write_bytes

#: Only so many spans are kept, the latest, some 10 MB in the file.
MOST = 100_000


class Timeline:
    """Collects named spans of any thread; writes the latest as one Chrome trace. Collects nothing unless ``on``."""

    def __init__(self, on: bool):
        self._on = on
        self._start = perf_counter()
        self._events: deque[dict[str, object]] = deque(maxlen=MOST)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """The time until the block is left."""
        if not self._on:
            yield
            return
        begin = perf_counter()
        try:
            yield
        finally:
            end = perf_counter()
            self._events.append(
                {
                    "name": name,
                    "ph": "X",
                    "ts": round((begin - self._start) * 1e6),
                    "dur": round((end - begin) * 1e6),
                    "pid": 1,
                    "tid": threading.current_thread().name,
                }
            )

    def write(self, path: Path) -> None:
        """Write the trace; nothing if it is off."""
        if self._on:
            write_bytes(path, json.dumps({"traceEvents": list(self._events)}).encode())
