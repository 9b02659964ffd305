"""What a data set holds: structures with labels, and the description of a label that is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Label:
    """One quantity asked for, besides the coordinates, the cell and the types.

    >>> Label("force", 3, atomic=True).shape(64)
    (64, 3)
    """

    name: str
    """Name on disk. ``atomic_x`` is known in memory as ``atom_x``; both file names are tried."""
    size: int
    """Numbers per frame, or per atom if ``atomic``. (A Hessian always has 3N·3N per frame.)"""
    atomic: bool = False
    required: bool = False
    """Whether a frame without it is an error."""
    default: float | tuple[float, ...] = 0.0
    """What fills it where it is absent: one number, or ``size`` numbers."""
    repeat: int = 1
    """How often each number is repeated on loading: ``atom_pref`` has one number an atom on disk, three in memory."""
    counts_when_absent: bool = False
    """Whether a filled default counts as found."""
    asked_by: str = ""
    """The settings of a loss that ask for a label which is seldom there; a training without any such label stops."""
    selected: tuple[int, ...] | None = None
    """Model types that have this label; the file may then hold the rows of those atoms only."""

    @property
    def key(self) -> str:
        """The name in memory, in ``Frame.labels`` and ``Frame.found``."""
        return memory_name(self.name)

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names on disk, in the order they are tried."""
        return (self.key, "atomic_" + self.key[5:]) if self.key.startswith("atom_") else (self.key,)

    def count(self, natoms: int) -> int:
        """How many numbers a frame of ``natoms`` atoms has on disk."""
        if self.key == "hessian":
            return 9 * natoms * natoms
        return self.size * natoms if self.atomic else self.size

    def count_in_words(self, natoms: int) -> str:
        """The same with its reason, for messages: ``3×64=192 for 64 atoms``."""
        if self.key == "hessian":
            return f"(3×{natoms})²={self.count(natoms)} for {natoms} atoms"
        if self.atomic:
            return f"{self.size}×{natoms}={self.count(natoms)} for {natoms} atoms"
        return str(self.size)

    def shape(self, natoms: int) -> tuple[int, ...]:
        """The shape in memory: (size,), (natoms, size), or (9·natoms²,) for a Hessian."""
        if self.key == "hessian":
            return (9 * natoms * natoms,)
        width = self.size * self.repeat
        return (natoms, width) if self.atomic else (width,)


def memory_name(name: str) -> str:
    """``atomic_x`` → ``atom_x``; other names unchanged."""
    return "atom_" + name[7:] if name.startswith("atomic_") else name


#: Labels of known shape that a data set often has; what is checked, and converted from one format to another.
COMMON_LABELS = (
    Label("energy", 1),
    Label("force", 3, atomic=True),
    Label("virial", 9),
    Label("atom_ener", 1, atomic=True),
    Label("hessian", 9, atomic=True),
    Label("spin", 3, atomic=True),
    Label("force_mag", 3, atomic=True),
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One structure with its labels. All arrays are read-only.

    Rows of padding atoms (type −1, only in mixed_type data) are zero in ``coord`` and in the atomic labels.
    """

    system: int
    """Position of its system in the list of systems."""
    index: int
    """Position in the system."""
    coord: Floats
    """(N, 3) in Å."""
    box: Floats | None
    """(3, 3) in Å, rows are the lattice vectors; None for open boundaries."""
    types: Integers
    """(N,) positions in the type map; −1 = padding."""
    labels: dict[str, Floats]
    """By name in memory; (size,), (N, size), or (3N·3N,) for a Hessian."""
    found: frozenset[str]
    """Labels that were really there (or count as such), not only filled."""

    @property
    def natoms(self) -> int:
        """Number of real atoms."""
        return int(np.count_nonzero(self.types >= 0))
