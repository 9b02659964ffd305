"""The input file that ``dp init`` writes: few settings, each with the reason for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dp_core.data import System

#: Keys that begin with _ are comments in an input file.
COMMENT = "_comment"

#: Passes over the data that a run makes, and the limits of its length in steps.
_EPOCHS, _SHORTEST, _LONGEST = 400, 20_000, 1_000_000

#: Names of systems that are meant for validation.
_VALIDATION = re.compile(r"(^|[/_.-])(valid(ation)?|val|test)([/_.-]|$)", re.IGNORECASE)

#: One of so many systems is kept for validation.
_HELD_OUT = 10


@dataclass(frozen=True)
class FirstInput:
    """The document of the input file, and what was found in the data."""

    document: dict[str, Any]
    summary: list[str]


def first_input(paths: Sequence[str]) -> FirstInput:
    """Look at data sets and choose settings. Raises DataError for data that cannot be opened."""
    from dp_core.data import COMMON_LABELS, Sampler, open_systems

    systems = open_systems(paths)
    type_map = list(systems[0].type_map)
    labels = frozenset().union(*(s.available() for s in systems)) & {label.key for label in COMMON_LABELS}
    frames = sum(s.nframes for s in systems)
    training, validation, why = _split(paths, systems)
    steps = _steps(Sampler(systems).batches_per_epoch)
    document = {
        COMMENT: [
            "Keys that begin with _ are comments. dp doc-train-input explains every setting;",
            "dp train --dry-run FILE shows what this input would do.",
        ],
        "model": {
            f"{COMMENT}_type_map": "elements in the order of the types",
            "type_map": type_map,
            "descriptor": {
                "type": "se_e2_a",
                f"{COMMENT}_rcut": "Å; atoms farther away do not count. Larger is slower",
                "rcut": 6.0,
                "rcut_smth": 0.5,
                f"{COMMENT}_sel": "the most neighbours of each element, counted in the data",
                "sel": "auto",
                "neuron": [25, 50, 100],
                "axis_neuron": 16,
                "type_one_side": True,
                "seed": 1,
            },
            "fitting_net": {"neuron": [240, 240, 240], "seed": 1},
        },
        "learning_rate": {
            f"{COMMENT}": "falls from start_lr to stop_lr during the run",
            "type": "exp",
            "start_lr": 0.001,
            "stop_lr": 1e-05,
        },
        "loss": _loss(labels),
        "training": {
            "training_data": {
                "systems": training,
                f"{COMMENT}_batch_size": "frames of a batch: as many as have 32 atoms",
                "batch_size": "auto",
            },
            f"{COMMENT}_validation": why,
            **({"validation_data": {"systems": validation, "batch_size": "auto"}} if validation else {}),
            f"{COMMENT}_numb_steps": f"about {_EPOCHS} passes over {frames} frames, within {_SHORTEST} and {_LONGEST}",
            "numb_steps": steps,
            "seed": 1,
            "disp_freq": max(100, steps // 500),
            "save_freq": max(1000, steps // 100),
        },
    }
    boundaries = {True: "periodic", False: "open"}
    summary = [
        f"{frames} frames in {len(systems)} systems, {' and '.join(sorted({boundaries[s.periodic] for s in systems}))}",
        f"elements: {' '.join(type_map)}",
        f"labels: {' '.join(sorted(labels)) or 'none'}",
        f"validation: {', '.join(validation) if validation else why}",
    ]
    return FirstInput(document, summary)


def _loss(labels: frozenset[str]) -> dict[str, Any]:
    """Weights for the labels that there are. Raises DataError without energies and forces."""
    from dp_core.errors import DataError

    if not {"energy", "force"} & labels:
        raise DataError(
            f"The data have no energies and no forces, but only: {', '.join(sorted(labels)) or 'structures'}. "
            "A potential needs at least one of the two."
        )
    energy, force, virial = (name in labels for name in ("energy", "force", "virial"))
    return {
        f"{COMMENT}": "weights of the squared errors at the start and at the end of the run",
        "type": "ener",
        "start_pref_e": 0.02 if energy else 0,
        "limit_pref_e": 1 if energy else 0,
        "start_pref_f": 1000 if force else 0,
        "limit_pref_f": 1 if force else 0,
        "start_pref_v": 0.02 if virial else 0,
        "limit_pref_v": 1 if virial else 0,
    }


def _split(paths: Sequence[str], systems: Sequence[System]) -> tuple[list[str], list[str], str]:
    """Paths for training and for validation, and a comment about the choice."""
    names = [s.name for s in systems]
    held = [name for name in names if _VALIDATION.search(name)]
    if 0 < len(held) < len(names):
        return [n for n in names if n not in held], held, "the systems that are called so, not trained on"
    if len(names) >= _HELD_OUT // 2:
        held = names[_HELD_OUT // 2 :: _HELD_OUT] or names[-1:]
        return [n for n in names if n not in held], held, f"one of {_HELD_OUT} systems, not trained on"
    only = systems[0]
    if len(names) == 1 and only.nframes >= 2 * _HELD_OUT and Path(only.name).is_file() and only.own_names is not None:
        last = only.nframes - only.nframes // _HELD_OUT
        if not _is_database(only.name):
            return [f"{only.name}@:{last}"], [f"{only.name}@{last}:"], "the last tenth of the frames, not trained on"
    return (
        list(paths),
        [],
        "no data are set aside: there are few systems. Move some frames to a system of their own and name it in "
        "validation_data, to see whether the model holds for what it was not trained on",
    )


def _is_database(name: str) -> bool:
    return "#" in name or name.endswith((".hdf5", ".h5", ".lmdb"))


def _steps(batches: float) -> int:
    """The length of the run: two digits and zeros."""
    wanted = min(max(_EPOCHS * batches, _SHORTEST), _LONGEST)
    unit = 10 ** (len(str(int(wanted))) - 2)
    return int(round(wanted / unit) * unit)


def as_json(document: dict[str, Any]) -> str:
    """JSON with lists of plain values on one line."""
    return _json(document, "") + "\n"


def _json(value: Any, indent: str) -> str:
    inside = indent + "    "
    if isinstance(value, dict) and value:
        entries = [f"{inside}{json.dumps(k, ensure_ascii=False)}: {_json(v, inside)}" for k, v in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    line = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and len(line) > 100:
        return "[\n" + ",\n".join(f"{inside}{_json(v, inside)}" for v in value) + f"\n{indent}]"
    return line


def as_yaml(document: dict[str, Any]) -> str:
    """YAML with the comments as comments."""
    return "\n".join(_yaml(document, "")) + "\n"


def _yaml(document: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in document.items():
        if key.startswith("_"):
            lines = value if isinstance(value, list) else [value]
            yield from (f"{indent}# {line}" for line in lines)
        elif isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _yaml(value, indent + "  ")
        else:
            # JSON values are YAML values
            yield f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}"
