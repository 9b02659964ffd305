"""Model files that commands write: whole or not at all, and checked against what they were made from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dp_cli.files import check_folder, replaced
from dp_cli.options import frozen_for, is_checkpoint

if TYPE_CHECKING:
    from dp_core.inference import Predictor
    from dp_core.random_structures import Sample

log = logging.getLogger("dp_cli")

#: Relative differences between two files of one model that rounding explains, for float64 and for smaller networks.
EXACT, ROUGH = 1e-8, 1e-3


@contextmanager
def written_model(model: Any, path: str | Path, *, option: str) -> Iterator[Path]:
    """Write a model tree for the backend that the suffix tells, under another name; it becomes ``path`` at the end.

    With the suffix of a checkpoint it is the document alone. An exception leaves ``path`` as it was. Raises
    BackendError if the backend is absent, FormatError or ConfigError if the file cannot be written.
    """
    from dp_core.backend import backend_of, get_backend
    from dp_core.errors import DpError
    from dp_core.format import write_bytes
    from dp_core.model_file import MEMBER, document_bytes

    backend = None if is_checkpoint(path) else get_backend(backend_of(path))
    check_folder(path, option=option, replaceable=MEMBER)
    with replaced(path, replaceable=MEMBER) as temporary:
        try:
            if backend is None:
                write_bytes(temporary, document_bytes(model))
            else:
                backend.freeze(model, document_bytes(model), temporary)
            yield temporary
        except DpError as error:  # the user knows nothing of the temporary name
            raise type(error)(str(error).replace(str(temporary), str(path))) from error


@dataclass(frozen=True)
class Difference:
    """The largest differences between two models on some structures, and the largest values of the first."""

    found: dict[str, float]  # by quantity; totals and virials per atom
    scales: dict[str, float]
    units: dict[str, str]

    @property
    def relative(self) -> float:
        """The largest one, relative to the largest value of its kind (or to 1, where all are smaller)."""
        return max(d / max(self.scales[name], 1.0) for name, d in self.found.items())

    def __str__(self) -> str:
        return ", ".join(f"{name} {d:.1e} {self.units[name]}".rstrip() for name, d in self.found.items())


def difference(first: Predictor, second: Predictor) -> Difference:
    """Compare two files of one model on random structures, open and periodic, with all elements; always the same."""
    import numpy as np

    from dp_core.random_structures import random_sample

    model = first.get_model()
    random = np.random.default_rng(0)
    found: dict[str, float] = {}
    scales: dict[str, float] = {}
    natoms = min(max(9, first.get_ntypes()), 60)
    for periodic in (False, True):
        sample = random_sample(model, random, natoms, periodic=periodic)
        a, b = (_quantities(predictor, sample) for predictor in (first, second))
        for name, x in a.items():
            found[name] = max(found.get(name, 0.0), float(np.abs(x - b[name]).max()))
            scales[name] = max(scales.get(name, 0.0), float(np.abs(x).max()))
    energy = model.output.kind == "energy"
    units = dict.fromkeys(found, "") | ({"energy": "eV/atom", "force": "eV/Å", "virial": "eV/atom"} if energy else {})
    units |= {"magnetic force": "eV/μB"} if "magnetic force" in found else {}
    return Difference(found, scales, units)


def _quantities(predictor: Predictor, sample: Sample) -> dict[str, Any]:
    """What a model says of a sample."""
    out = predictor.predict(
        [sample.structure],
        fparam=None if sample.fparam is None else sample.fparam[None],
        aparam=sample.aparam,
        charge_spin=None if sample.charge_spin is None else sample.charge_spin[None],
        spin=sample.spin,
    )
    natoms, output = len(sample.types), predictor.get_model().output
    found = {output.name: out.total / natoms if output.reducible else out.atomic}
    found |= {"force": out.force, "virial": out.virial / natoms} if output.differentiable else {}
    return found if out.magnetic is None else found | {"magnetic force": out.magnetic}


def check_same(source: Predictor, path: Path, target: str) -> None:
    """Compare a written file with the model that it was made from and say how much they differ.

    target: the name that the file will have. Raises BackendError if they differ by more than rounding.
    """
    from dp_core.errors import BackendError
    from dp_core.frozen import precision
    from dp_core.inference import Predictor

    with Predictor(path, None if frozen_for(str(path)) else "numpy") as made:
        found = difference(source, made)
        name = made.backend_name
    log.info(f"Largest difference of {target} ({name}) from its source ({source.backend_name}): {found}")
    limit = EXACT if precision(source.get_model()) == "float64" else ROUGH
    if not found.relative <= limit:
        raise BackendError(
            f"{target} is not written, because the model gives other results on {name} than on {source.backend_name}: "
            f"{found}. Please report this with the model file and what `dp doctor --report` prints."
        )
