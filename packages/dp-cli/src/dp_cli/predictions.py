"""The frames of a data set with what a model says of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dp_cli.accuracy import Predicted
from dp_core.data import Frame, Label, System, validate_frame
from dp_core.errors import ConfigError, DpError
from dp_core.inputs import eval_arguments, input_arrays, input_labels
from dp_core.prediction import Parameters, Structure, hessian

if TYPE_CHECKING:
    from dp_core import DeepPot
    from dp_core.data.frame import Floats, Integers

#: Atoms of the frames that are evaluated together.
_TOGETHER = 10_000


def predictions(
    potential: DeepPot, system: System, order: Integers, *, atomic: bool
) -> Iterator[tuple[Frame, Predicted]]:
    """The frames with what the model says of them. Their labels are those that they have.

    Hessians are computed for frames that have the label, by NumPy.
    """
    there = system.available()
    wanted = [Label("virial", 9), Label("atom_pref", 1, atomic=True, repeat=3)]
    wanted += [Label("hessian", 9, atomic=True)]
    wanted += [Label("atom_ener", 1, atomic=True)] if atomic else []
    labels = [
        Label("energy", 1),
        Label("force", 3, atomic=True),
        *(label for label in wanted if label.key in there),
        *input_labels(potential.get_model()),
    ]
    for frames in _chunks(system, order, labels):
        try:
            out = potential.predict(frames, **eval_arguments(frames))  # type: ignore[arg-type]
        except DpError as error:
            raise type(error)(f"System {system.name}, counting from frame {frames[0].index}: {error}") from error
        ends = np.cumsum(out.natoms)
        for k, frame in enumerate(frames):
            rows = slice(int(ends[k] - out.natoms[k]), int(ends[k]))
            yield (
                frame,
                Predicted(
                    energy=float(out.energy[k]),
                    force=out.force[rows],
                    virial=out.virial[k],
                    atom_energy=out.atom_energy[rows],
                    hessian=_hessian(potential, frame) if "hessian" in frame.found else None,
                ),
            )


def _hessian(potential: DeepPot, frame: Frame) -> Floats:
    """The second derivatives of the energy of a frame: (3N, 3N) in eV/Å²."""
    structure = Structure(frame.coord, frame.box, frame.types)
    return hessian(potential.get_model(), structure, Parameters(**input_arrays([frame])))


def _chunks(system: System, order: Integers, labels: Sequence[Label]) -> Iterator[list[Frame]]:
    """Frames that are held together."""
    limit = min(_TOGETHER, _chunk_atoms())
    frames: list[Frame] = []
    for i in order.tolist():
        frame = system.frame(i, labels)
        validate_frame(frame, system)
        if frames and sum(len(f.types) for f in frames) + len(frame.types) > limit:
            yield frames
            frames = []
        frames.append(frame)
    if frames:
        yield frames


def _chunk_atoms() -> int:
    """DP_TEST_CHUNK_ATOMS: the most atoms of the frames in memory."""
    text = os.environ.get("DP_TEST_CHUNK_ATOMS", "1000000")
    if not text.isdigit() or not int(text):
        raise ConfigError(f"DP_TEST_CHUNK_ATOMS is {text!r}; give a positive number of atoms, or unset it.")
    return int(text)
