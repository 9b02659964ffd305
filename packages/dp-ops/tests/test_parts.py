"""Parts of frames through the C interface: they add up to the whole, and depend on nothing that is too far away."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core.model_file import save_model
from dp_core.models.protocol import new_model
from dp_core.neighbors import NeighborSpec
from dp_core.schema import parse_model

sys.path.insert(0, str(Path(__file__).parent))
from capi import GOLDEN, Pot, address, library, text
from test_neighbors import write_model

NAMES = ["dpa2_small", "dpa2_threebody", "dpa3_small", "dpa3_charge_spin", "se_e2_a_oneside"]
CELLS = 8  # as many that nothing comes from one to the most distant
Frame = tuple[np.ndarray, np.ndarray, np.ndarray]  # coordinates (n, 3), types (n,), cell (3, 3)


def chain(name: str, cells: int = CELLS) -> Frame:
    """The stored structure of a model several times along its first lattice vector, each time a little different."""
    with np.load(GOLDEN / f"{name}.npz") as case:
        coord, types, cell = case["coord"][0].reshape(-1, 3), case["atype"], case["box"][0].reshape(3, 3)
    everyone = np.concatenate([coord + k * cell[0] for k in range(cells)])
    everyone += np.random.default_rng(1).normal(0, 0.02, everyone.shape)
    return everyone, np.tile(types, cells).astype(np.int32), cell * np.array([cells, 1, 1])[:, None]


def part(pot: Pot, frame: Frame, first: int, count: int, charge: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The outputs of some atoms of a frame."""
    coord, types, cell = (np.ascontiguousarray(x) for x in frame)
    n = len(types)
    out = {
        "energy": np.zeros(1), "force": np.zeros((n, 3)), "virial": np.zeros(9),
        "atom_energy": np.zeros(n), "atom_virial": np.zeros((n, 9)),
    }  # fmt: skip
    given = [address(x) for x in (coord, types, cell)]
    library().DP_DeepPotComputePart(
        pot.object, n, *given, first, count, None, None, address(charge), *(address(x) for x in out.values())
    )
    return out


@pytest.fixture
def open_pot() -> Any:
    """``open_pot(path)`` opens a model, which is closed at the end."""
    opened: list[Pot] = []

    def make(path: str | Path) -> Pot:
        opened.append(Pot(path))
        return opened[-1]

    yield make
    for pot in opened:
        pot.close()


@pytest.mark.parametrize("name", NAMES)
def test_parts_add_up(name: str, open_pot: Callable[..., Pot]) -> None:
    pot, frame = open_pot(GOLDEN / f"{name}.dp"), chain(name)
    n = len(frame[1])
    charge = np.array([1.0, 2.0]) if "charge" in name else None
    whole = pot(*frame, parameters={} if charge is None else {"charge_spin": charge})
    assert pot.message == ""
    cuts = [0, 5, n // 3, n // 3, n]
    parts = [part(pot, frame, a, b - a, charge) for a, b in pairwise(cuts)]
    assert pot.message == ""
    assert parts[2]["energy"] == 0
    assert not parts[2]["force"].any()
    for a, b, found in zip(cuts[:-1], cuts[1:], parts, strict=True):
        assert not found["atom_energy"][:a].any()
        assert not found["atom_energy"][b:].any()
        assert found["energy"] == pytest.approx(found["atom_energy"].sum(), rel=1e-12)
    for key, values in whole.items():
        total = sum(found[key] for found in parts)
        np.testing.assert_allclose(total.ravel(), values.ravel(), rtol=1e-9, atol=1e-11, err_msg=key)


@pytest.mark.parametrize("name", ["dpa2_small", "dpa3_small"])
def test_nothing_far_away_is_evaluated(name: str, open_pot: Callable[..., Pot]) -> None:
    """Atoms at the same place are an error where they have rows."""
    pot, (coord, types, cell) = open_pot(GOLDEN / f"{name}.dp"), chain(name)
    n = len(types) // CELLS
    near = part(pot, (coord, types, cell), 0, n)
    broken = coord.copy()
    broken[4 * n + 1] = broken[4 * n]
    found = part(pot, (broken, types, cell), 0, n)
    assert pot.message == ""
    for key, values in near.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-12, atol=1e-13, err_msg=key)
    part(pot, (broken, types, cell), 3 * n, n)
    assert "at the same place" in pot.message


def test_a_part_outside_of_the_frame(open_pot: Callable[..., Pot]) -> None:
    pot, frame = open_pot(GOLDEN / "se_e2_a_oneside.dp"), chain("se_e2_a_oneside", 1)
    n = len(frame[1])
    most = 2**31 - 1
    for first, count in ((-1, 2), (0, n + 1), (n, 1), (2, -1), (n + 1, 0), (most, most), (-most - 1, -most - 1)):
        part(pot, frame, first, count)
        assert f"{count} atoms from {first} on were asked for, of {n}." in pot.message
    assert part(pot, frame, n, 0)["energy"] == 0
    assert pot.message == ""


def test_a_part_by_a_file_of_an_old_version(
    tmp_path: Path, open_pot: Callable[..., Pot], pair_engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose rows are not weighted; without messages that is no matter."""
    monkeypatch.setenv("DP_BACKEND_PLUGIN_PATH", str(pair_engine))
    frame = np.eye(3), np.zeros(3, np.int32), 20 * np.eye(3)
    for version in (0, 2):
        path = write_model(tmp_path / f"of_{version}.pth", NeighborSpec(3.0, (9,), False, 3), messages=version)
        pot = open_pot(path)
        assert pot(*frame)["energy"] > 0
        found = part(pot, frame, 0, 1)
        assert bool(found["energy"]) == (version == 0)
        expected = "The file is of version 2 of the frozen format" if version else ""
        assert pot.message.startswith(expected)
        assert ("freeze it again, `dp convert-backend OLD NEW`" in pot.message) == bool(version)


def test_parts_with_spins(tmp_path: Path) -> None:
    """Virtual atoms pass messages, too."""
    settings = {
        "type_map": ["Ni", "O"],
        "spin": {"use_spin": [True, False], "virtual_scale": [0.3, 0.0]},
        "descriptor": {
            "type": "dpa3",
            "repflow": {
                "n_dim": 6, "e_dim": 4, "a_dim": 4, "nlayers": 2, "e_rcut": 4.0, "e_rcut_smth": 3.0, "e_sel": 60,
                "a_rcut": 3.0, "a_rcut_smth": 2.0, "a_sel": 20, "axis_neuron": 2,
            },
            "seed": 1,
        },
        "fitting_net": {"neuron": [8], "seed": 2},
    }  # fmt: skip
    kind = parse_model(settings)
    save_model(new_model(kind, settings["type_map"]), tmp_path / "spin.dp")
    lib = library()
    pot = lib.DP_NewDeepSpin(str(tmp_path / "spin.dp").encode())
    assert text(lib.DP_DeepSpinCheckOK(pot)) == ""
    assert lib.DP_DeepSpinPassesMessages(pot)
    coord, types, cell = chain("dpa2_small", 4)
    types = np.ascontiguousarray(types % 2, np.int32)
    spin = np.random.default_rng(2).normal(size=coord.shape)
    n = len(types)

    def evaluate(*where: int) -> list[np.ndarray]:
        out = [np.zeros(1), np.zeros((n, 3)), np.zeros((n, 3)), np.zeros(9), np.zeros(n), np.zeros((n, 9))]
        given = [address(x) for x in (coord, spin, types, cell)]
        results = [address(x) for x in out]
        if where:
            lib.DP_DeepSpinComputePart(pot, n, *given, *where, None, None, None, *results)
        else:
            lib.DP_DeepSpinCompute2(pot, 1, n, *given, None, None, *results)
        assert text(lib.DP_DeepSpinCheckOK(pot)) == ""
        return out

    whole, left, right = evaluate(), evaluate(0, 20), evaluate(20, n - 20)
    assert np.abs(whole[2]).max() > 1e-6
    for values, a, b in zip(whole, left, right, strict=True):
        np.testing.assert_allclose(a + b, values, rtol=1e-9, atol=1e-11)
    lib.DP_DeleteDeepSpin(pot)
