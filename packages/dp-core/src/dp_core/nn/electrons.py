"""How electrons fill the orbitals of an element, as numbers that a type embedding starts from."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from dp_core.errors import ConfigError

_ELEMENTS = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru
Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At
Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
_SYMBOLS = _ELEMENTS.split()

_ORBITALS = "1s 2s 2p 3s 3p 3d 4s 4p 4d 4f 5s 5p 5d 5f 6s 6p 6d 7s 7p"
_AS_FILLED = "1s 2s 2p 3s 3p 4s 3d 4p 5s 4d 5p 6s 4f 5d 6p 7s 5f 6d 7p"
_BOXES = {"s": 1, "p": 3, "d": 5, "f": 7}

#: Elements whose ground state does not follow the order, and what differs.
_EXCEPTIONS = {
    "Cr": "3d5 4s1", "Cu": "3d10 4s1", "Nb": "4d4 5s1", "Mo": "4d5 5s1", "Ru": "4d7 5s1", "Rh": "4d8 5s1",
    "Pd": "4d10 5s0", "Ag": "4d10 5s1", "La": "4f0 5d1", "Ce": "4f1 5d1", "Gd": "4f7 5d1", "Pt": "5d9 6s1",
    "Au": "5d10 6s1", "Ac": "5f0 6d1", "Th": "5f0 6d2", "Pa": "5f2 6d1", "U": "5f3 6d1", "Np": "5f4 6d1",
    "Cm": "5f7 6d1", "Ds": "6d9 7s1", "Rg": "6d10 7s1",
}  # fmt: skip

#: Numbers of an element: two for each of 59 boxes.
WIDTH = 118


def electron_configurations(type_map: Sequence[str] | None) -> np.ndarray:
    """One row of ±1/√118 for each element: two numbers a box, −− empty, −+ with one electron, ++ full. (n, 118).

    Raises ConfigError if there are no names, or one is no symbol of an element.
    """
    if type_map is None:
        raise ConfigError(
            "use_econf_tebd is true, but the model has no type_map. Give model/type_map with the symbols of elements."
        )
    for name in type_map:
        if name not in _SYMBOLS:
            raise ConfigError(
                f"use_econf_tebd is true, but {name!r} in the type_map is no element. Use symbols such as O and Fe."
            )
    return np.array([_row(name) for name in type_map])


def _row(symbol: str) -> list[float]:
    left, population = _SYMBOLS.index(symbol) + 1, dict.fromkeys(_ORBITALS.split(), 0)
    for orbital in _AS_FILLED.split():
        population[orbital] = min(left, 2 * _BOXES[orbital[1]])
        left -= population[orbital]
    for orbital, count in re.findall(r"(\d[spdf])(\d+)", _EXCEPTIONS.get(symbol, "")):
        population[orbital] = int(count)
    numbers: list[float] = []
    for orbital, electrons in population.items():
        boxes = _BOXES[orbital[1]]
        single = electrons if electrons <= boxes else 2 * boxes - electrons
        pairs = (electrons - single) // 2
        numbers += [1.0, 1.0] * pairs + [-1.0, 1.0] * single + [-1.0, -1.0] * (boxes - pairs - single)
    return [x / np.sqrt(WIDTH) for x in numbers]
