"""Virtual atoms: how a model of the energy sees spins (Yang et al., Phys. Rev. B 110, 064427, 2024).

An atom of type t with the spin s has a virtual atom of type t + T at r + c·s; T is the number of types of the atoms, c
the scale of its type. A frame of N atoms becomes one of 2N, the virtual ones behind. Types without spin have virtual
atoms too, at the place of the atom, which no other atom sees. The energy is a function of all 2N positions; so with the
derivatives F of the real and G of the virtual positions the force is F + G, and the magnetic force −∂E/∂s is c·G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dp_core.data.frame import Floats, Frame, Integers, Label
from dp_core.module import replace
from dp_core.prediction import Derivatives, Parameters, Prediction, Structure

#: The spins of the atoms, μB, as data hold them.
SPIN = Label("spin", 3, atomic=True, required=True)


@dataclass(frozen=True)
class VirtualAtoms:
    """Which of T types have a spin, and how far from an atom its virtual atom is.

    virtual_scale: Å/μB for each type, without meaning for those that have no spin.
    """

    use_spin: tuple[bool, ...]
    virtual_scale: tuple[float, ...]

    @property
    def scale(self) -> Floats:
        """(T,) Å/μB, 0 for types without spin."""
        return np.where(self.use_spin, self.virtual_scale, 0.0)

    def scale_of(self, types: Integers) -> Floats:
        """(N, 1) Å/μB, 0 for atoms without spin and for padding."""
        return np.append(self.scale, 0.0)[types][:, None]

    def magnetic(self, types: Integers) -> np.ndarray:
        """(N,) whether each atom has a spin."""
        return self.scale_of(types)[:, 0] > 0

    def unseen(self, types: Integers, spin: Floats, type_map: Sequence[str]) -> str:
        """What to tell of spins on atoms whose type has none, (N, 3) in μB; nothing if there are none."""
        size = np.where((types >= 0) & ~self.magnetic(types), np.linalg.norm(spin, axis=-1), 0.0)
        if not size.any():
            return ""
        atom = int(size.argmax())
        having = " ".join(name for name, used in zip(type_map, self.use_spin, strict=True) if used) or "no type"
        return (
            f"Atom {atom}, {type_map[types[atom]]}, has a spin of {size[atom]:.3g} μB, but the model knows spins of "
            f"{having} only (model/spin/use_spin). Spins of other types count nothing."
        )

    def structure(self, structure: Any, spin: Floats) -> Structure:
        """The structure of 2N atoms. structure: anything with ``coord``, ``box`` and ``types``; spin: (N, 3) μB."""
        types, coord = structure.types, structure.coord
        moved = coord + spin * self.scale_of(types)
        virtual = np.where(types >= 0, types + len(self.use_spin), types)
        return Structure(np.concatenate([coord, moved]), structure.box, np.concatenate([types, virtual]))

    def frame(self, frame: Frame, labels: Sequence[Label]) -> Frame:
        """The frame of 2N atoms, read with the labels; virtual atoms have zeros in all of them."""
        all_atoms = self.structure(frame, frame.labels["spin"])

        def extended(label: Label) -> Floats:
            values = frame.labels[label.key]
            return np.concatenate([values, np.zeros_like(values)])

        added = {label.key: extended(label) for label in {*labels, SPIN} if label.atomic and label.key != "hessian"}
        return replace(frame, coord=all_atoms.coord, types=all_atoms.types, labels=frame.labels | added)

    def parameters(self, parameters: Parameters, natoms: Sequence[int]) -> Parameters:
        """Those of the frames of 2N atoms: virtual atoms have zeros."""
        if parameters.aparam is None:
            return parameters
        parts = np.split(parameters.aparam, np.cumsum(natoms)[:-1])
        return replace(parameters, aparam=np.concatenate([x for p in parts for x in (p, np.zeros_like(p))]))

    def folded(self, found: Prediction, structures: Sequence[Any], spins: Sequence[Floats]) -> Prediction:
        """What was predicted for frames of 2N atoms, for those of N atoms; with the magnetic forces.

        Virtual atoms keep their distance where the cell is strained, so that their part of the virial is taken away.
        """
        natoms = [len(s.types) for s in structures]
        ends = np.cumsum([2 * n for n in natoms])
        real = [np.arange(end - 2 * n, end - n) for end, n in zip(ends, natoms, strict=True)]
        rows = np.concatenate([np.zeros(0, np.int64), *real])
        partners = np.concatenate([np.zeros(0, np.int64), *(r + n for r, n in zip(real, natoms, strict=True))])
        types = np.concatenate([np.zeros(0, np.int64), *(s.types for s in structures)])
        scale = self.scale_of(types)
        pulled = found.force[partners]
        offset = np.concatenate([np.zeros((0, 3)), *spins]) * scale
        kept = pulled[:, :, None] * offset[:, None, :]
        virial, of_atoms = found.virial.copy(), found.atom_virial
        np.subtract.at(virial, np.repeat(np.arange(len(natoms)), natoms), kept)
        if of_atoms is not None:
            of_atoms = of_atoms[rows] + of_atoms[partners] - kept
        return Prediction(
            found.total,
            found.atomic[rows],
            np.asarray(natoms, np.int64),
            Derivatives(found.force[rows] + pulled, virial, of_atoms),
            magnetic=pulled * scale,
        )


def virtual_atoms(model: Any) -> VirtualAtoms | None:
    """How a model adds virtual atoms to a frame; None if it has no spins."""
    found: VirtualAtoms | None = getattr(model, "virtual", None)
    return found
