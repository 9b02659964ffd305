"""How much of the data, and of what is computed from them, is kept in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass


def cache_limit() -> int:
    """Bytes that may be kept: a quarter of the machine's memory, at most 8 GiB."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        memory = 4 << 30
    return min(memory // 4, 8 << 30)


@dataclass
class Budget:
    """Bytes that several stores may keep together."""

    left: int
