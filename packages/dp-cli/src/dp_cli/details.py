"""The detail files of ``dp test -d``: labels and predictions side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dp_cli.files import Pending

if TYPE_CHECKING:
    from dp_cli.accuracy import Predicted
    from dp_core.data.frame import Floats, Frame

_NINE = [f"{a}{b}" for a in "xyz" for b in "xyz"]

#: File (after the prefix) -> names of the columns; each appears with ``data_`` and then with ``pred_``.
COLUMNS = {
    "e": ["e"],
    "e_peratom": ["e"],
    "f": ["fx", "fy", "fz"],
    "v": [f"v{ab}" for ab in _NINE],
    "v_peratom": [f"v{ab}" for ab in _NINE],
    "s": [f"s{ab}" for ab in _NINE],
    "h": ["h"],
}


class Details:
    """Writes ``<prefix>.e.out``, ``<prefix>.f.out`` and so on; each system begins with a line that names it.

    Labels that the data do not have are NaN. The stress has rows for periodic frames with a virial only.
    """

    def __init__(self, prefix: str, pending: Pending):
        self._prefix, self._pending = prefix, pending
        self._system = ""
        self._begun: set[str] = set()

    def begin(self, system: str) -> None:
        """The frames that follow are of this system."""
        self._system, self._begun = system, set()

    def add(self, frame: Frame, predicted: Predicted) -> None:
        """The rows of one frame, virtual atoms left out."""
        real, natoms = frame.types >= 0, frame.natoms
        energy = _pair(frame, "energy", np.array([predicted.energy]))
        virial = _pair(frame, "virial", predicted.virial.reshape(1, 9))
        self._rows("e", *energy)
        self._rows("e_peratom", *(x / natoms for x in energy))
        self._rows("f", *(x[real] for x in _pair(frame, "force", predicted.force)))
        self._rows("v", *virial)
        self._rows("v_peratom", *(x / natoms for x in virial))
        if frame.box is not None and "virial" in frame.found:
            volume = abs(float(np.linalg.det(frame.box)))
            self._rows("s", *(-x / volume for x in virial))
        if predicted.hessian is not None:
            self._rows("h", *_pair(frame, "hessian", predicted.hessian))

    def _rows(self, name: str, data: Floats, predicted: Floats) -> None:
        file = self._pending.file(f"{self._prefix}.{name}.out")
        if name not in self._begun:
            columns = [f"{kind}_{c}" for kind in ("data", "pred") for c in COLUMNS[name]]
            file.write(f"# {self._system}: {' '.join(columns)}\n")
            self._begun.add(name)
        width = len(COLUMNS[name])
        np.savetxt(file, np.hstack([data.reshape(-1, width), predicted.reshape(-1, width)]))


def _pair(frame: Frame, name: str, predicted: Floats) -> tuple[Floats, Floats]:
    """Label and prediction in the same shape."""
    if name not in frame.found:
        return np.full_like(predicted, np.nan), predicted
    return frame.labels[name].reshape(predicted.shape), predicted
