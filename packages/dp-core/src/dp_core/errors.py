"""The exception family of dp.

Every message names the thing, the value seen, the value expected, and the repair.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DpError(Exception):
    """Any error that a user of dp can cause and repair."""


class ConfigError(DpError):
    """A setting of the input file or of a call is wrong."""


class DataError(DpError):
    """A data set is missing, damaged or does not fit the model."""


class FormatError(DpError):
    """A model file or checkpoint cannot be read."""


class BackendError(DpError):
    """A backend is missing or cannot do what is asked."""


class NonFiniteError(DpError):
    """A loss, a gradient or a prediction is NaN or infinite."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The ending of a message about an unknown name: the closest known one, then all of them.

    >>> nearest("rcutt", ["rcut", "sel"])
    "; did you mean 'rcut'? Known: rcut, sel"
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"{hint} Known: {', '.join(known)}"
