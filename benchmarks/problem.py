"""What is computed: the data, the input of a training, and structures of many sizes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from dp_core.data import Frame, Label, open_systems, write_npy_system

_LABELS = [Label("energy", 1, required=True), Label("force", 3, atomic=True, required=True)]

#: se_e2_a as in DeePMD-kit's example of water.
_DESCRIPTOR = {
    "type": "se_e2_a",
    "rcut": 6.0,
    "rcut_smth": 0.5,
    "neuron": [25, 50, 100],
    "axis_neuron": 16,
    "type_one_side": True,
    "resnet_dt": False,
    "precision": "float64",
    "seed": 1,
}
#: dpa1 without attention, so that it can be compressed, and with a switch that all programs share.
DPA1 = {
    "type": "dpa1",
    "rcut": 6.0,
    "rcut_smth": 0.5,
    "sel": 138,
    "neuron": [25, 50, 100],
    "axis_neuron": 16,
    "attn_layer": 0,
    "tebd_input_mode": "strip",
    "smooth_type_embedding": False,
    "resnet_dt": False,
    "precision": "float64",
    "seed": 1,
}
_FITTING = {"neuron": [240, 240, 240], "resnet_dt": True, "precision": "float64", "seed": 1}
_SEL_OF_WATER = [46, 92]


@dataclass(frozen=True)
class Problem:
    """A system with labels, and the model that is trained on it."""

    frames: Sequence[Frame]
    """All with the same atoms."""
    type_map: tuple[str, ...]
    sel: list[int] | str
    quick: bool
    """A tiny model, to try the measurements themselves."""
    descriptor: dict[str, Any] | None = None
    """Another descriptor than that of the measurements of all other parts."""

    @property
    def natoms(self) -> int:
        """Atoms of a frame."""
        return len(self.frames[0].types)

    @property
    def descriptor_settings(self) -> dict[str, Any]:
        """The section of the input."""
        tiny = {"rcut": 3.0, "neuron": [4, 8], "axis_neuron": 2} if self.quick else {}
        return self.descriptor or {**_DESCRIPTOR, "sel": self.sel, **tiny}

    def write(self, folder: Path, *, steps: int, every: int, training: dict[str, Any]) -> None:
        """Data and ``input.json`` in a new folder, for a training that shows every ``every``-th step."""
        write_npy_system(folder / "data", self.frames, self.type_map)
        fitting = _FITTING | ({"neuron": [8, 8]} if self.quick else {})
        section = {
            "training_data": {"systems": ["data"], "batch_size": 1},
            "numb_steps": steps,
            "disp_freq": every,
            "save_freq": 10 * steps,
            "seed": 1,
        }
        document = {
            "model": {
                "type_map": list(self.type_map),
                "descriptor": self.descriptor_settings,
                "fitting_net": fitting,
            },
            "learning_rate": {"type": "exp", "decay_steps": 5000, "start_lr": 1e-3, "stop_lr": 3.51e-8},
            "loss": {
                "type": "ener",
                "start_pref_e": 0.02,
                "limit_pref_e": 1,
                "start_pref_f": 1000,
                "limit_pref_f": 1,
                "start_pref_v": 0,
                "limit_pref_v": 0,
            },
            "training": section | training,
        }
        (folder / "input.json").write_text(json.dumps(document, indent=2))

    def write_structure(self, path: Path, repeats: tuple[int, int, int]) -> int:
        """The first frame, repeated along its lattice vectors, as ``coord``, ``cell`` and ``types``; returns its size.

        An open system is not repeated.
        """
        first = self.frames[0]
        if first.box is None:
            repeats = (1, 1, 1)
        box = np.zeros((3, 3)) if first.box is None else first.box
        images = np.array(list(product(*map(range, repeats))), float)
        coord = (first.coord[None] + (images @ box)[:, None]).reshape(-1, 3)
        arrays: dict[str, Any] = {"coord": coord, "types": np.tile(first.types, len(images))}
        if first.box is not None:
            arrays["cell"] = box * np.array(repeats, float)[:, None]
        np.savez(path, **arrays)
        return len(coord)

    def with_types(self, per_type: int, *, present: bool) -> Problem:
        """Every type becomes ``per_type`` types, among which its atoms alternate, or of which they use the first only.

        Nothing else changes: the same atoms see the same neighbours.
        """
        names = tuple(f"{name}{k}" if k else name for name in self.type_map for k in range(per_type))
        types = self.frames[0].types
        number = np.zeros(len(types), np.int64)
        for t in range(len(self.type_map)):
            of_type = types == t
            number[of_type] = np.arange(of_type.sum()) % per_type if present else 0
        new = types * per_type + number
        return replace(self, frames=[replace(f, types=new) for f in self.frames], type_map=names, sel="auto")


def read_problem(data: str, *, quick: bool, most: int = 80) -> Problem:
    """The first frames of the first system of a data set, in any format that dp reads."""
    system = open_systems(data)[0]
    count = min(system.nframes, 4 if quick else most)
    frames = [system.frame(i, _LABELS) for i in range(count)]
    same = [f for f in frames if np.array_equal(f.types, frames[0].types)]
    names = tuple(system.type_map)
    return Problem(same, names, "auto" if quick or names != ("O", "H") else _SEL_OF_WATER, quick)
