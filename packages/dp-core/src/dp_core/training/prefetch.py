"""Batches made in a background thread, in an order that does not depend on timing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Generic, TypeVar

T = TypeVar("T")

_DEPTH = 3  # enough to hide one slow batch; more only costs memory


class Prefetcher(Generic[T]):
    """Calls ``produce`` again and again in one thread, a few results ahead of who takes them.

    waited: seconds that ``take`` had to wait in all. An exception in ``produce`` is raised by the ``take`` whose turn
    it would have been.
    """

    def __init__(self, produce: Callable[[], T]):
        self._produce = produce
        self._ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(_DEPTH)
        self._stopped = threading.Event()
        self.waited = 0.0
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                item, error = self._produce(), None
            except BaseException as raised:
                item, error = None, raised
            while not self._stopped.is_set():
                try:
                    self._ready.put((item, error), timeout=0.1)
                    break
                except queue.Full:
                    continue
            if error is not None:
                return

    def take(self) -> T:
        """The next result."""
        begin = perf_counter()
        item, error = self._ready.get()
        self.waited += perf_counter() - begin
        if error is not None:
            raise error
        return item  # type: ignore[return-value]

    def close(self) -> None:
        """Stop the thread; results that were not taken are lost."""
        self._stopped.set()
        self._thread.join()
