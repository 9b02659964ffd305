"""The detail files of ``dp test -d``: labels and predictions side by side."""

from __future__ import annotations

from io import StringIO
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from dp_cli.accuracy import TENSORS
from dp_cli.files import Pending

if TYPE_CHECKING:
    from dp_cli.accuracy import Predicted
    from dp_core.data.frame import Floats, Frame
    from dp_core.outputs import OutputDef

_NINE = [f"{a}{b}" for a in "xyz" for b in "xyz"]

#: File (after the prefix) -> names of the columns; each appears with ``data_`` and then with ``pred_``.
COLUMNS = {
    "e": ["e"],
    "e_peratom": ["e"],
    "f": ["fx", "fy", "fz"],
    "fr": ["fx", "fy", "fz"],
    "fm": ["fmx", "fmy", "fmz"],
    "v": [f"v{ab}" for ab in _NINE],
    "v_peratom": [f"v{ab}" for ab in _NINE],
    "s": [f"s{ab}" for ab in _NINE],
    "h": ["h"],
}


class Details:
    """Writes ``<prefix>.e.out``, ``<prefix>.f.out`` and so on; each system begins with a line that names it.

    Tensors are in ``<prefix>.out``. Of densities of states, properties and populations every frame has a file,
    ``<prefix>.dos.out.<frame>``, with the number of the system before that of the frame after the first system.

    Models with spins have ``<prefix>.fr.out`` with the forces on atoms in place of ``<prefix>.f.out``, and
    ``<prefix>.fm.out`` with the magnetic forces on atoms that have a spin.

    Labels that the data do not have are NaN. The stress has rows for periodic frames with a virial only.
    """

    def __init__(self, prefix: str, pending: Pending):
        self._prefix, self._pending = prefix, pending
        self._system = ""
        self._begun: set[str] = set()
        self._count, self._frames = -1, 0

    def begin(self, system: str) -> None:
        """The frames that follow are of this system."""
        self._system, self._begun = system, set()
        self._count, self._frames = self._count + 1, 0

    def add(self, frame: Frame, predicted: Predicted, output: OutputDef, *, atomic: bool) -> None:
        """The rows of one frame, virtual atoms left out. atomic: also, of tensors instead, the values of the atoms."""
        if output.kind == "energy":
            self._add_energy(frame, predicted)
        elif output.kind in TENSORS:
            self._add_tensor(frame, predicted, output, atomic=atomic)
        else:
            if output.reducible:
                self._add_frame(output.kind, output.kind, *_pair(frame, output.name, predicted.total))
            if atomic or not output.reducible:
                pair = _pair(frame, f"atom_{output.name}", predicted.atomic)
                self._add_frame(f"a{output.kind}", output.kind, *(x[predicted.selected] for x in pair))
        self._frames += 1

    def _add_tensor(self, frame: Frame, predicted: Predicted, output: OutputDef, *, atomic: bool) -> None:
        """One row in ``<prefix>.out``, with ``atomic`` of all selected atoms."""
        names = ["x", "y", "z"] if output.kind == "dipole" else [f"p{ab}" for ab in _NINE]
        pair = _pair(frame, output.name, predicted.total)
        if atomic:
            pair = tuple(x[predicted.selected] for x in _pair(frame, f"atom_{output.name}", predicted.atomic))
            names = [f"{name}{k}" for k in range(1, len(pair[0]) + 1) for name in names]
        self._write(f"{self._prefix}.out", names, *pair)

    def _add_frame(self, name: str, kind: str, data: Floats, predicted: Floats) -> None:
        """A file of its own for the frame."""
        group, text = f"{self._count}." if self._count else "", StringIO()
        text.write(_heading(f"{self._system} - {self._frames}", [kind]))
        _write_rows(text, 1, data, predicted)
        self._pending.write(f"{self._prefix}.{name}.out.{group}{self._frames}", text.getvalue())

    def _add_energy(self, frame: Frame, predicted: Predicted) -> None:
        real, natoms = frame.types >= 0, frame.natoms
        assert predicted.force is not None
        assert predicted.virial is not None
        energy = _pair(frame, "energy", predicted.total)
        virial = _pair(frame, "virial", predicted.virial.reshape(1, 9))
        self._rows("e", *energy)
        self._rows("e_peratom", *(x / natoms for x in energy))
        of_atoms = [x[real] for x in _pair(frame, "force", predicted.force)]
        self._rows("f" if predicted.magnetic is None else "fr", *of_atoms)
        if predicted.magnetic is not None:
            self._rows("fm", *(x[predicted.spinning] for x in _pair(frame, "force_mag", predicted.magnetic)))
        self._rows("v", *virial)
        self._rows("v_peratom", *(x / natoms for x in virial))
        if frame.box is not None and "virial" in frame.found:
            volume = abs(float(np.linalg.det(frame.box)))
            self._rows("s", *(-x / volume for x in virial))
        if predicted.hessian is not None:
            self._rows("h", *_pair(frame, "hessian", predicted.hessian))

    def _rows(self, name: str, data: Floats, predicted: Floats) -> None:
        self._write(f"{self._prefix}.{name}.out", COLUMNS[name], data, predicted)

    def _write(self, path: str, names: list[str], data: Floats, predicted: Floats) -> None:
        """Rows of the columns, after a line that names them if they are the first of this system."""
        file = self._pending.file(path)
        if path not in self._begun:
            file.write(_heading(self._system, names))
            self._begun.add(path)
        _write_rows(file, len(names), data, predicted)


def _heading(what: str, names: list[str]) -> str:
    columns = [f"{kind}_{c}" for kind in ("data", "pred") for c in names]
    return f"# {what}: {' '.join(columns)}\n"


def _write_rows(file: IO[Any], width: int, data: Floats, predicted: Floats) -> None:
    np.savetxt(file, np.hstack([data.reshape(-1, width), predicted.reshape(-1, width)]))


def _pair(frame: Frame, name: str, predicted: Floats) -> tuple[Floats, Floats]:
    """Label and prediction in the same shape."""
    if name not in frame.found:
        return np.full_like(predicted, np.nan), predicted
    return frame.labels[name].reshape(predicted.shape), predicted
