"""Signals: finish the step, save, leave."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from dp_core.errors import DpError

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(DpError):
    """A training was stopped by a signal, after it saved a checkpoint.

    exit_code: 128 + the signal's number, as a shell reports it.
    """

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.exit_code = 128 + number


class Interrupt:
    """While entered, SIGINT and SIGTERM only set ``received``; a second signal does what it did before.

    Signals reach the main thread only, so in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before = {}

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
