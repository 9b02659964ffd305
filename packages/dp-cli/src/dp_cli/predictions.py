"""The frames of a data set with what a model says of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dp_cli.accuracy import TENSORS, Predicted
from dp_core.data import Frame, Label, System, validate_frame
from dp_core.errors import ConfigError, DpError
from dp_core.inputs import atomic_label, eval_arguments, input_labels, total_label
from dp_core.models.protocol import no_second_derivatives
from dp_core.prediction import Structure
from dp_core.virtual_atoms import virtual_atoms

if TYPE_CHECKING:
    from dp_core.data.frame import Floats, Integers
    from dp_core.inference import Predictor
    from dp_core.outputs import OutputDef

#: Atoms of the frames that are evaluated together.
_TOGETHER = 10_000


def predictions(
    potential: Predictor, system: System, order: Integers, *, atomic: bool
) -> Iterator[tuple[Frame, Predicted]]:
    """The frames with what the model says of them. Their labels are those that they have.

    Hessians are computed for frames that have the label, of models that have them.
    """
    model = potential.get_model()
    output: OutputDef = model.output
    virtual = virtual_atoms(model)
    labels = [*_labels(model, system, atomic=atomic), *input_labels(model)]
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
                    total=out.total[k].reshape(output.size),
                    atomic=out.atomic[rows].reshape(-1, output.size),
                    selected=np.isin(frame.types, potential.get_sel_type()),
                    force=out.force[rows] if output.kind == "energy" else None,
                    virial=out.virial[k] if output.kind == "energy" else None,
                    magnetic=None if out.magnetic is None else out.magnetic[rows],
                    spinning=None if virtual is None else virtual.magnetic(frame.types),
                    hessian=_hessian(potential, frame) if "hessian" in frame.found else None,
                ),
            )


def _labels(model: Any, system: System, *, atomic: bool) -> list[Label]:
    """The labels that are compared, as far as the data have them."""
    there, kind = system.available(), model.output.kind
    if kind == "energy":
        wanted = [Label("virial", 9), Label("atom_pref", 1, atomic=True, repeat=3)]
        wanted += [] if no_second_derivatives(model) else [Label("hessian", 9, atomic=True)]
        wanted += [Label("atom_ener", 1, atomic=True)] if atomic else []
        wanted += [Label("force_mag", 3, atomic=True)] if virtual_atoms(model) is not None else []
        always = [Label("energy", 1), Label("force", 3, atomic=True)]
        return always + [label for label in wanted if label.key in there]
    wanted = [atomic_label(model)] if atomic or not model.output.reducible else []
    wanted += [total_label(model)] if model.output.reducible and not (atomic and kind in TENSORS) else []
    return [label for label in wanted if {label.key, *label.file_names} & there]


def _hessian(potential: Predictor, frame: Frame) -> Floats:
    """The second derivatives of the energy of a frame: (3N, 3N) in eV/Å²."""
    structure = Structure(frame.coord, frame.box, frame.types)
    return potential.hessian(structure, **eval_arguments([frame]))  # type: ignore[arg-type]


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
