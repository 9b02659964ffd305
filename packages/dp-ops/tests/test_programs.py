"""Programs in the style of those that use the interface, compiled against the shipped headers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dp_core import DeepPot

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
MODEL = GOLDEN / "se_e2_a_oneside.dp"


def structure(name: str) -> dict[str, np.ndarray]:
    """The first frame of a stored case, and its numbers."""
    with np.load(GOLDEN / f"{name}.npz") as case:
        return {k: v if k == "atype" else v[0] for k, v in case.items()}


def words(*arrays: np.ndarray) -> str:
    return " ".join(str(x) for array in arrays for x in array.ravel().tolist())


def results(program: Path, case: dict[str, np.ndarray], *arguments: object, plain: bool = False) -> list[np.ndarray]:
    """What a program prints of a structure, for each of its evaluations: energy, forces, virial."""
    box = case.get("box", np.zeros(0))
    natoms, size = (np.array(len(x)) for x in (case["atype"], box.ravel()))
    text = words(case["atype"], box, case["coord"]) if plain else words(natoms, case["atype"], size, box, case["coord"])
    done = subprocess.run([program, *map(str, arguments)], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [np.array(line.split()[1:], float) for line in done.stdout.splitlines() if line.startswith("RESULT")]


def stored(case: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([case[k].ravel() for k in ("energy", "force", "virial")])


def test_c_program(compiled: Callable[..., Path]) -> None:
    case = structure("se_e2_a_oneside")
    (found,) = results(compiled("md_wrapper.c", "c99"), case, MODEL, len(case["atype"]), plain=True)
    np.testing.assert_allclose(found, stored(case), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["se_e2_a_oneside", "se_e2_a_oneside.nopbc"])
def test_programs_that_leave_neighbors_to_the_library(compiled: Callable[..., Path], name: str) -> None:
    case = structure(name)
    (found,) = results(compiled("plane_wave.cpp", "c++11"), case, MODEL)
    np.testing.assert_allclose(found, stored(case), rtol=0, atol=1e-9)
    double, single = results(compiled("plugin_force.cpp", "c++11"), case, MODEL)
    np.testing.assert_allclose(double, stored(case), rtol=0, atol=1e-9)
    np.testing.assert_allclose(single, stored(case), rtol=0, atol=1e-4)


def test_program_with_a_neighbor_list(compiled: Callable[..., Path]) -> None:
    case = structure("se_e2_a_oneside.nopbc")
    (found,) = results(compiled("gpu_md.cpp", "c++11"), case, MODEL)
    np.testing.assert_allclose(found, stored(case), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["se_e2_a_oneside", "ener_fparam_aparam"])
def test_program_with_ghosts_and_several_models(compiled: Callable[..., Path], name: str) -> None:
    case = structure(f"{name}.nopbc")
    model = DeepPot(str(GOLDEN / f"{name}.dp"))
    nf, na = model.get_dim_fparam(), model.get_dim_aparam()
    given = {"fparam": np.full(nf, 0.5)} if nf else {}
    given |= {"aparam": np.full(na, 0.25)} if na else {}
    _, _, _, of_atoms, _ = model.eval(case["coord"], None, case["atype"], atomic=True, **given)
    path = GOLDEN / f"{name}.dp"
    found, deviation = results(compiled("amber_style.cpp", "c++11"), case, path, path)
    np.testing.assert_allclose(found[0], of_atoms[0, ::2].sum(), rtol=0, atol=1e-9)
    # forces of half of the atoms' energies: by differences of them
    step, coord = 1e-4, case["coord"].reshape(-1, 3)
    for place in ((0, 0), (1, 2)):
        energies = []
        for sign in (-1, 1):
            moved = coord.copy()
            moved[place] += sign * step
            energies.append(model.eval(moved, None, case["atype"], atomic=True, **given)[3][0, ::2].sum())
        force = found[1 : 1 + coord.size].reshape(-1, 3)[place]
        assert force == pytest.approx(-(energies[1] - energies[0]) / (2 * step), abs=1e-6)
    assert not deviation.any()
