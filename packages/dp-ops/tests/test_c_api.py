"""The C interface: its names, stored numbers through it, neighbour lists with ghosts, and what goes wrong."""

from __future__ import annotations

import ctypes
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dp_ops
from dp_core.model_file import save_model
from dp_core.models.protocol import new_model
from dp_core.schema import parse_model

sys.path.insert(0, str(Path(__file__).parent))
from capi import GOLDEN, Pot, address, declared, library, neighbor_list, text

#: What the interface of version 30 exports.
NAMES = (Path(__file__).parent / "names.txt").read_text().split()

#: Models of every kind of table: blocks by type, one block, shells, messages, parameters, few neighbours.
CASES = [
    "se_e2_a_oneside",
    "se_e2_a_oneside.nopbc",
    "se_e2_a_oneside.isolated",
    "dpa1_attn2_concat",
    "hybrid_sea_dpa1",
    "hybrid_dpa1_dpa1",
    "dpa2_small",
    "dpa3_small.nopbc",
    "dpa3_charge_spin",
    "ener_fparam_aparam",
    "ener_default_fparam",
    "zbl_dpa1",
    "se_e3",
    "pair_exclude_sea",
    "sel_overflow_sea",
    "sel_overflow_dpa1",
    "type_map_reorder",
    "linear_mean",
    "atom_exclude",
]
#: Cases whose frames are evaluated with neighbour lists as well.
LISTED = [
    "se_e2_a_oneside",
    "dpa1_attn2_concat.nopbc",
    "dpa2_small",
    "dpa3_small",
    "hybrid_dpa1_dpa1",
    "sel_overflow_sea",
]
PASSING_MESSAGES = ("dpa2", "dpa3")  # where virials of single atoms are a convention


def case_of(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)


def parameters_of(case: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: case[k] for k in ("fparam", "aparam", "charge_spin") if k in case}


@pytest.fixture
def open_pot() -> Iterator[Callable[..., Pot]]:
    """``open_pot(path)`` opens a model, which is closed at the end."""
    opened: list[Pot] = []

    def make(path: str | Path, content: bytes = b"") -> Pot:
        opened.append(Pot(path, content))
        return opened[-1]

    yield make
    for pot in opened:
        pot.close()


def check(found: dict[str, np.ndarray], case: dict[str, np.ndarray], rtol: float, skip: tuple[str, ...] = ()) -> None:
    for name, values in found.items():
        if name in case and name not in skip:
            limit = rtol * max(1.0, float(np.abs(case[name]).max()))
            np.testing.assert_allclose(values.ravel(), case[name].ravel(), rtol=0, atol=limit, err_msg=name)


def test_all_names_are_exported_and_declared() -> None:
    assert len(NAMES) == 166
    listed = subprocess.run(["nm", "-D", "--defined-only", dp_ops.library("deepmd_c")], capture_output=True, text=True)
    exported = {line.split()[2] for line in listed.stdout.splitlines()}
    assert set(NAMES) <= exported
    assert all(name.startswith("DP_") for name in exported)
    assert set(declared()) == exported


@pytest.mark.parametrize("name", CASES)
def test_stored_numbers(name: str, open_pot: Callable[..., Pot]) -> None:
    case, pot = case_of(name), open_pot(GOLDEN / f"{name.split('.')[0]}.dp")
    assert pot.message == ""
    found = pot(case["coord"], case["atype"], case.get("box"), parameters=parameters_of(case))
    assert pot.message == ""
    check(found, case, 1e-9, ("atom_virial",) if name.startswith(PASSING_MESSAGES) else ())


@pytest.mark.parametrize("name", LISTED)
def test_neighbor_list_with_ghosts(name: str, open_pot: Callable[..., Pot]) -> None:
    case, pot = case_of(name), open_pot(GOLDEN / f"{name.split('.')[0]}.dp")
    n = len(case["atype"])
    cutoff = library().DP_DeepPotGetCutoff(pot.object)
    for f, coord in enumerate(case["coord"].reshape(-1, n, 3)):
        cell = case["box"][f].reshape(3, 3) if "box" in case else None
        nlist = neighbor_list(coord, cell, case["atype"], cutoff + 0.5, rows_of_ghosts=True)
        library().DP_NlistSetMapping(nlist.pointer, address(nlist.owner))
        # a skin, and ghosts that move with their owners: the list of the first call serves the second
        pot(nlist.coord + 0.1, nlist.types, cell, nlist=nlist)
        library().DP_DeleteNlist(nlist.pointer)
        empty = neighbor_list(coord[:0], None, case["atype"][:0], cutoff)
        nlist.pointer = empty.pointer
        found = pot(nlist.coord, nlist.types, cell, nlist=nlist, ago=1)
        library().DP_DeleteNlist(nlist.pointer)
        assert pot.message == ""
        force = np.zeros((n, 3))
        np.add.at(force, nlist.owner, found["force"][0])
        assert not found["atom_energy"][0, n:].any()
        folded = {"energy": found["energy"], "force": force, "virial": found["virial"]}
        folded["atom_energy"] = found["atom_energy"][:, :n]
        if not name.startswith(PASSING_MESSAGES):
            folded["atom_virial"] = np.zeros((n, 9))
            np.add.at(folded["atom_virial"], nlist.owner, found["atom_virial"][0])
        check(folded, {k: v[f] for k, v in case.items() if k not in ("atype",)}, 1e-9)


def test_single_precision(open_pot: Callable[..., Pot]) -> None:
    case, pot = case_of("se_e2_a_oneside"), open_pot(GOLDEN / "se_e2_a_oneside.dp")
    found = pot(case["coord"], case["atype"], case["box"], dtype=np.float32)
    assert found["energy"].dtype == np.float64
    check(found, case, 1e-5)


def test_mixed_types_and_virtual_atoms(open_pot: Callable[..., Pot]) -> None:
    for name in ("dpa1_mixed_types", "dpa1_virtual_atoms"):
        case, pot = case_of(name), open_pot(GOLDEN / f"{name}.dp")
        types = np.broadcast_to(case["atype"], case["coord"].reshape(len(case["coord"]), -1, 3).shape[:2])
        found = pot(case["coord"], types, case["box"], mixed=True)
        assert pot.message == ""
        check(found, case, 1e-9)


def test_content_in_place_of_the_file(open_pot: Callable[..., Pot]) -> None:
    case, content = case_of("se_e2_a_oneside"), (GOLDEN / "se_e2_a_oneside.dp").read_bytes()
    pot = open_pot("elsewhere.dp", content)
    assert pot.message == ""
    check(pot(case["coord"], case["atype"], case["box"]), case, 1e-9)


def test_questions(open_pot: Callable[..., Pot]) -> None:
    lib, pot = library(), open_pot(GOLDEN / "ener_fparam_aparam.dp").object
    assert (lib.DP_DeepPotGetNumbTypes(pot), lib.DP_DeepPotGetNumbTypesSpin(pot)) == (2, 0)
    assert (lib.DP_DeepPotGetDimFParam(pot), lib.DP_DeepPotGetDimAParam(pot)) != (0, 0)
    assert lib.DP_DeepPotGetDimChgSpin(pot) == 0
    assert not lib.DP_DeepPotIsAParamNAll(pot)
    assert not lib.DP_DeepPotHasDefaultFParam(pot)
    assert text(lib.DP_DeepPotGetTypeMap(pot)) == "O H"
    assert lib.DP_DeepBaseModelGetCutoff(pot) == lib.DP_DeepPotGetCutoff(pot) > 0
    charged = open_pot(GOLDEN / "dpa3_charge_spin.dp").object
    assert (lib.DP_DeepPotGetDimFParam(charged), lib.DP_DeepPotGetDimChgSpin(charged)) == (0, 2)
    assert lib.DP_DeepPotHasDefaultFParam(open_pot(GOLDEN / "ener_default_fparam.dp").object)


def test_charges_for_calls_that_give_none(open_pot: Callable[..., Pot]) -> None:
    case, pot = case_of("dpa3_charge_spin"), open_pot(GOLDEN / "dpa3_charge_spin.dp")
    charges = np.ascontiguousarray(case["charge_spin"].reshape(-1, 2)[0], float)
    library().DP_DeepPotSetChargeSpin(pot.object, address(charges), 3)
    assert "3 numbers" in pot.message
    library().DP_DeepPotSetChargeSpin(pot.object, address(charges), 2)
    assert pot.message == ""
    one = {k: v[:1] for k, v in case.items() if k != "atype"}
    found = pot(one["coord"], case["atype"], one.get("box"))
    check(found, one, 1e-9, ("atom_virial",))


BAD = {
    "absent.dp": (None, "does not exist"),
    "cut.dp": (lambda data: data[: len(data) // 2], "cut off"),
    "empty.dp": (lambda data: b"", "it is empty"),
    "model.xyz": (lambda data: data, "the suffix '.xyz'"),
    "other.pb": (lambda data: data, "other.pb"),
    "plain.pth": (lambda data: data, "plain.pth"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name: str, tmp_path: Path, open_pot: Callable[..., Pot], capfd: pytest.CaptureFixture[str]) -> None:
    change, expected = BAD[name]
    if change:
        (tmp_path / name).write_bytes(change((GOLDEN / "se_e2_a_oneside.dp").read_bytes()))
    pot = open_pot(tmp_path / name)
    message = pot.message
    assert expected in message
    assert name in message
    assert message in capfd.readouterr().err  # for programs that never ask
    case = case_of("se_e2_a_oneside")
    assert not pot(case["coord"], case["atype"], case["box"])["energy"].any()
    assert "could not be opened" in pot.message


def test_absent_engine(tmp_path: Path, open_pot: Callable[..., Pot]) -> None:
    """A folder with nothing but the library: its engines are missing."""
    lonely = tmp_path / "libdeepmd_c.so"
    lonely.write_bytes(dp_ops.library("deepmd_c").read_bytes())
    script = f"""
import ctypes
import hashlib
import json
lib = ctypes.CDLL({str(lonely)!r})
lib.DP_NewDeepPot.restype = lib.DP_DeepPotCheckOK.restype = ctypes.c_void_p
lib.DP_DeepPotCheckOK.argtypes = [ctypes.c_void_p]
pot = lib.DP_NewDeepPot({str(GOLDEN / "se_e2_a_oneside.dp")!r}.encode())
print(ctypes.string_at(lib.DP_DeepPotCheckOK(pot)).decode())
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "libdp_engine_native.so is neither in" in found.stdout
    assert "DP_BACKEND_PLUGIN_PATH" in found.stdout


def test_bad_inputs_leave_outputs_and_the_object_alone(open_pot: Callable[..., Pot]) -> None:
    case, pot = case_of("ener_fparam_aparam"), open_pot(GOLDEN / "ener_fparam_aparam.dp")
    good = parameters_of(case)
    coord, types, box = case["coord"][:1], case["atype"], case["box"][:1]
    one = {k: v[:1] for k, v in good.items()}
    nan, near = coord.copy(), coord.copy().reshape(1, -1, 3)
    nan.ravel()[4] = np.nan
    near[0, 1] = near[0, 0]
    for arguments, expected in (
        ((nan, types, box, one), "Atom 1 has the coordinates"),
        ((near, types, box, one), "at the same place"),
        ((coord, types, box * 0, one), "no volume"),
        ((coord, types, box * 0.02, one), "check that lengths are in Å"),
        ((coord, types, box, {"aparam": one["aparam"]}), "fparam"),
        ((coord, types, box, {"fparam": one["fparam"]}), "aparam"),
    ):
        found = pot(*arguments[:3], parameters=arguments[3])
        assert expected in pot.message
        assert not any(values.any() for values in found.values())
    found = pot(coord, types, box, parameters=one)
    assert pot.message == ""
    check(found, {k: v[:1] for k, v in case.items() if k != "atype"}, 1e-9)


def test_bad_neighbor_lists(open_pot: Callable[..., Pot]) -> None:
    case, pot = case_of("dpa2_small"), open_pot(GOLDEN / "dpa2_small.dp")
    coord, cell = case["coord"].reshape(-1, len(case["atype"]), 3)[0], case["box"][0].reshape(3, 3)
    nlist = neighbor_list(coord, cell, case["atype"], library().DP_DeepPotGetCutoff(pot.object))

    def message(**changed: Any) -> str:
        pot(nlist.coord, nlist.types, cell, nlist=nlist, **changed)
        return pot.message

    assert "Give ago = 0 in the first call" in message(ago=1)
    assert "DP_NlistSetMapping" in message()
    wrong = np.full_like(nlist.owner, -1)
    library().DP_NlistSetMapping(nlist.pointer, address(wrong))
    assert "has no owner" in message()
    library().DP_NlistSetMapping(nlist.pointer, address(nlist.owner))
    assert message() == ""
    library().DP_NlistSetMask(nlist.pointer, 0x1FFFFFFF)
    assert message() == ""
    nlist.kept[0][0][0] = 10_000
    assert "The neighbour list has atom 10000" in message()
    library().DP_DeleteNlist(nlist.pointer)


def test_neighbor_lists_that_do_not_fit_the_call(open_pot: Callable[..., Pot]) -> None:
    lib, case, pot = library(), case_of("se_e2_a_oneside.nopbc"), open_pot(GOLDEN / "se_e2_a_oneside.dp")
    types, coord = case["atype"].astype(np.int32), case["coord"].reshape(-1, len(case["atype"]), 3)[0]
    nlist = neighbor_list(coord, None, types, lib.DP_DeepPotGetCutoff(pot.object))
    pot(coord, types, None, nlist=nlist)
    assert pot.message == ""
    for other in (1 - types[0], 1_000_000, -1_000_000):
        changed = np.append(np.int32(other), types[1:])
        assert not pot(coord, changed, None, nlist=nlist, ago=1)["energy"].any()
        assert f"Atom 0 has type {other}, but the neighbour list was made when it had type {types[0]}" in pot.message
    nlist.kept[3][0] = None
    pot(coord, types, None, nlist=nlist)
    assert "neighbours of atom 0, but no array of them" in pot.message
    lib.DP_DeleteNlist(nlist.pointer)
    nlist.pointer = None
    pot(coord, types, None, nlist=nlist)
    assert "There is no neighbour list" in pot.message


def test_arguments_that_are_null() -> None:
    lib = library()
    charged = Pot(GOLDEN / "dpa3_charge_spin.dp")
    lib.DP_DeepPotSetChargeSpin(charged.object, None, 2)
    assert "no numbers of charge and spin" in charged.message
    charged.close()

    empty = lib.DP_NewNlist(2, None, None, None)
    coord, types = np.array([[0.0, 0, 0], [1, 0, 0]]), np.zeros(2, np.int32)
    pot = lib.DP_NewDeepSpin(str(GOLDEN / "spin_se_e2_a.dp").encode())
    given = [address(x) for x in (coord, np.ones((2, 3)), types, None)]
    lib.DP_DeepSpinComputeNList2(pot, 1, 2, *given, 0, empty, 0, None, None, *[None] * 6)
    assert "no arrays of rows and neighbours" in text(lib.DP_DeepSpinCheckOK(pot))
    lib.DP_DeepSpinComputeNList2(pot, 1, 2, *given, 0, None, 0, None, None, *[None] * 6)
    assert "There is no neighbour list" in text(lib.DP_DeepSpinCheckOK(pot))
    lib.DP_DeleteNlist(empty)
    lib.DP_DeleteDeepSpin(pot)

    modifier = lib.DP_NewDipoleChargeModifier(str(GOLDEN / "dipole_sel.dp").encode())
    nlist = neighbor_list(coord, None, types, 4.0)
    for pairs, forces, expected in ((3, np.zeros((2, 3)), "no pairs of atoms"), (0, None, "no electric forces")):
        lib.DP_DipoleChargeModifierComputeNList(
            modifier,
            2,
            address(coord),
            address(types),
            None,
            None,
            pairs,
            address(forces),
            0,
            nlist.pointer,
            None,
            None,
        )
        assert expected in text(lib.DP_DipoleChargeModifierCheckOK(modifier))
    lib.DP_DeleteNlist(nlist.pointer)
    lib.DP_DeleteDipoleChargeModifier(modifier)

    passing = Pot(GOLDEN / "dpa2_small.dp")
    sent = (ctypes.c_void_p * 1)(None)
    nlist = neighbor_list(coord, None, types, 4.0)
    _, rows, counts, first = nlist.kept
    for numbers, expected in ((None, "swaps without their numbers"), (np.ones(1, np.int32), "Swap 0 of the neighbour")):
        arrays = [address(numbers)] * 3 + [ctypes.addressof(sent), None, None, None]
        nlist.pointer, nlist.nlocal = (
            lib.DP_NewNlist_comm(2, address(rows), address(counts), ctypes.addressof(first), 1, *arrays, 1),
            1,
        )
        passing(coord, types, None, nlist=nlist)
        assert expected in passing.message
        lib.DP_DeleteNlist(nlist.pointer)
    passing.close()


def test_warns_once_of_too_many_neighbors(open_pot: Callable[..., Pot], capfd: pytest.CaptureFixture[str]) -> None:
    case, pot = case_of("sel_overflow_sea"), open_pot(GOLDEN / "sel_overflow_sea.dp")
    for _ in range(2):
        pot(case["coord"], case["atype"], case["box"])
    assert capfd.readouterr().err.count("Train with sel of at least the numbers found") == 1


def test_deleting_what_is_no_object() -> None:
    lib = library()
    lib.DP_DeleteDeepPot(None)
    pointer = np.zeros(2, np.int64)  # one program hands over the address of its pointer
    lib.DP_DeleteDeepPot(address(pointer))
    assert "no object" in text(lib.DP_DeepPotCheckOK(None))


def test_model_deviation() -> None:
    lib = library()
    names = ("se_e2_a_oneside", "se_e2_a_oneside", "se_e2_a_exclude")
    paths = (ctypes.c_char_p * 3)(*(str(GOLDEN / f"{n}.dp").encode() for n in names))
    case = case_of("se_e2_a_oneside")
    n = len(case["atype"])
    models = lib.DP_NewDeepPotModelDevi(ctypes.addressof(paths), 3)
    assert text(lib.DP_DeepPotModelDeviCheckOK(models)) == ""
    energy, force = np.zeros(3), np.zeros((3, n, 3))
    x, t, box = (np.ascontiguousarray(case[k][:1] if k != "atype" else case[k]) for k in ("coord", "atype", "box"))
    t = t.astype(np.int32)
    none = [None] * 3
    lib.DP_DeepPotModelDeviCompute(
        models, n, address(x), address(t), address(box), address(energy), address(force), *none
    )
    assert text(lib.DP_DeepPotModelDeviCheckOK(models)) == ""
    for k, name in enumerate(names):
        check({"energy": energy[k], "force": force[k]}, {a: case_of(name)[a][0] for a in ("energy", "force")}, 1e-9)
    lib.DP_DeepPotModelDeviCompute2(
        models, 2, n, address(x), address(t), address(box), None, None, address(energy), address(force), *none
    )
    assert text(lib.DP_DeepPotModelDeviCheckOK(models)) == "Model-deviation C APIs support exactly one frame."
    lib.DP_DeleteDeepPotModelDevi(models)
    paths[2] = str(GOLDEN / "ener_fparam_aparam.dp").encode()
    models = lib.DP_NewDeepPotModelDevi(ctypes.addressof(paths), 3)
    assert "differ in cutoff" in text(lib.DP_DeepPotModelDeviCheckOK(models))
    lib.DP_DeleteDeepBaseModelDevi(models)


@pytest.mark.parametrize("name", ["dipole", "dipole_sel", "polar_full.nopbc"])
def test_tensors(name: str) -> None:
    lib, case = library(), case_of(name)
    dt = lib.DP_NewDeepTensor(str(GOLDEN / f"{name.split('.')[0]}.dp").encode())
    assert text(lib.DP_DeepTensorCheckOK(dt)) == ""
    n = len(case["atype"])
    width = lib.DP_DeepTensorGetOutputDim(dt)
    kind = "dipole" if width == 3 else "polar"
    selected = np.ctypeslib.as_array(
        ctypes.cast(lib.DP_DeepTensorGetSelTypes(dt), ctypes.POINTER(ctypes.c_int)),
        (lib.DP_DeepTensorGetNumbSelTypes(dt),),
    )
    types = case["atype"].astype(np.int32)
    for f, coord in enumerate(np.ascontiguousarray(case["coord"].reshape(-1, n, 3))):
        box = np.ascontiguousarray(case["box"][f]) if "box" in case else None
        where, size = ctypes.c_void_p(), ctypes.c_int()
        out, at = (ctypes.addressof(v) for v in (where, size))
        lib.DP_DeepTensorComputeTensor(dt, n, address(coord), address(types), address(box), out, at)
        assert text(lib.DP_DeepTensorCheckOK(dt)) == ""
        found = np.array((ctypes.c_double * size.value).from_address(where.value)).reshape(-1, width)
        lib.DP_DeleteChar(where)
        wanted = case[f"atom_{kind}"][f].reshape(n, width)[np.isin(types, selected)]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)
        if kind == "polar":
            continue
        total, force, virial = np.zeros(3), np.zeros((3, n, 3)), np.zeros((3, 9))
        arrays = [address(a) for a in (total, force, virial)]
        lib.DP_DeepTensorCompute(dt, n, address(coord), address(types), address(box), *arrays, None, None, None)
        assert text(lib.DP_DeepTensorCheckOK(dt)) == ""
        for got, key in ((total, "global_dipole"), (force.swapaxes(0, 1), "dipole_force"), (virial, "dipole_virial")):
            np.testing.assert_allclose(got.ravel(), case[key][f].ravel(), rtol=0, atol=1e-9, err_msg=key)
    lib.DP_DeleteDeepTensor(dt)


def test_forces_on_wannier_centroids_move_atoms() -> None:
    """The force of a centroid at r_i + mu_i acts on atom i, and on all atoms by the derivative of mu_i."""
    lib, case = library(), case_of("dipole_sel.nopbc")
    path = str(GOLDEN / "dipole_sel.dp").encode()
    modifier, dt = lib.DP_NewDipoleChargeModifier(path), lib.DP_NewDeepTensor(path)
    assert text(lib.DP_DipoleChargeModifierCheckOK(modifier)) == ""
    n, ntypes = len(case["atype"]), lib.DP_DipoleChargeModifierGetNumbTypes(modifier)
    count = lib.DP_DipoleChargeModifierGetNumbSelTypes(modifier)
    where = ctypes.cast(lib.DP_DipoleChargeModifierGetSelTypes(modifier), ctypes.POINTER(ctypes.c_int))
    chosen = np.flatnonzero(np.isin(case["atype"], where[:count]))
    coord = case["coord"].reshape(-1, n, 3)[0]
    types = np.append(case["atype"], np.full(len(chosen), ntypes)).astype(np.int32)
    everyone = np.concatenate([coord, coord[chosen]])
    pairs = np.stack([chosen, n + np.arange(len(chosen))], axis=1).astype(np.int32)
    electric = np.random.default_rng(0).normal(size=everyone.shape)
    nlist = neighbor_list(everyone, None, types, lib.DP_DipoleChargeModifierGetCutoff(modifier))
    force, virial = np.ones_like(everyone), np.zeros(9)
    arrays = [address(everyone), address(types), None, address(pairs), len(pairs), address(electric)]
    lib.DP_DipoleChargeModifierComputeNList(
        modifier, len(types), *arrays, 0, nlist.pointer, address(force), address(virial)
    )
    assert text(lib.DP_DipoleChargeModifierCheckOK(modifier)) == ""
    assert not force[n:].any()

    def work(x: np.ndarray) -> float:
        """The sum of forces on centroids times the dipoles of their atoms."""
        out, size = ctypes.c_void_p(), ctypes.c_int()
        t, x = types[:n].copy(), np.ascontiguousarray(x)
        ends = (ctypes.addressof(v) for v in (out, size))
        lib.DP_DeepTensorComputeTensor(dt, n, address(x), address(t), None, *ends)
        dipoles = np.array((ctypes.c_double * size.value).from_address(out.value)).reshape(-1, 3)
        lib.DP_DeleteChar(out)
        return float((dipoles * electric[n:]).sum())

    indirect = force[:n] - electric[:n]
    indirect[chosen] -= electric[n:]
    step = 1e-5
    for place in ((0, 0), (int(chosen[-1]), 2), (n - 1, 1)):
        low, high = coord.copy(), coord.copy()
        low[place] -= step
        high[place] += step
        assert indirect[place] == pytest.approx((work(high) - work(low)) / (2 * step), abs=1e-7)
    np.testing.assert_allclose(virial.reshape(3, 3), indirect.T @ coord, rtol=0, atol=1e-9)
    lib.DP_DeleteNlist(nlist.pointer)
    lib.DP_DeleteDeepTensor(dt)
    lib.DP_DeleteDipoleChargeModifier(modifier)


@pytest.mark.parametrize("name", ["spin_se_e2_a", "spin_se_e2_a.nopbc", "spin_dpa1"])
def test_spins(name: str) -> None:
    lib, case = library(), case_of(name)
    pot = lib.DP_NewDeepSpin(str(GOLDEN / f"{name.split('.')[0]}.dp").encode())
    assert text(lib.DP_DeepSpinCheckOK(pot)) == ""
    assert 0 < lib.DP_DeepSpinGetNumbTypesSpin(pot) <= lib.DP_DeepSpinGetNumbTypes(pot)
    n, frames = len(case["atype"]), len(case["energy"])
    x, spin = (np.ascontiguousarray(case[k].reshape(frames, n, 3)) for k in ("coord", "spin"))
    types = case["atype"].astype(np.int32)
    box = np.ascontiguousarray(case["box"].reshape(frames, 3, 3)) if "box" in case else None
    sizes = {"energy": 1, "force": 3 * n, "force_mag": 3 * n, "virial": 9, "atom_energy": n, "atom_virial": 9 * n}
    found = {k: np.zeros((frames, size)) for k, size in sizes.items()}
    arrays = [address(a) for a in (x, spin, types, box)]
    out = [address(a) for a in found.values()]
    lib.DP_DeepSpinCompute2(pot, frames, n, *arrays, None, None, *out)
    assert text(lib.DP_DeepSpinCheckOK(pot)) == ""
    check(found, case, 1e-9)
    lib.DP_DeepSpinCompute2(pot, frames, n, arrays[0], None, *arrays[2:], None, None, *out)
    assert "needs the spins" in text(lib.DP_DeepSpinCheckOK(pot))

    cell = None if box is None else box[0]
    nlist = neighbor_list(x[0], cell, types, lib.DP_DeepSpinGetListCutoff(pot, np.linalg.norm(spin[0], axis=1).max()))
    spins, total = spin[0][nlist.owner], len(nlist.coord)
    listed = {k: np.zeros(1 if k == "energy" else 9 if k == "virial" else (total, sizes[k] // n)) for k in sizes}
    for ago in (0, 1):
        arrays = [address(a) for a in (nlist.coord, spins, nlist.types, box)]
        out = [address(a) for a in listed.values()]
        lib.DP_DeepSpinComputeNList2(pot, 1, total, *arrays, nlist.nghost, nlist.pointer, ago, None, None, *out)
        assert text(lib.DP_DeepSpinCheckOK(pot)) == ""
        folded = {"energy": listed["energy"], "virial": listed["virial"], "atom_energy": listed["atom_energy"][:n]}
        for key in ("force", "force_mag", "atom_virial"):
            folded[key] = np.zeros((n, listed[key].shape[1]))
            np.add.at(folded[key], nlist.owner, listed[key])
        check(folded, {k: v[0] for k, v in case.items() if k in sizes}, 1e-9)
    lib.DP_DeleteNlist(nlist.pointer)
    lib.DP_DeleteDeepSpin(pot)


def test_objects_of_the_wrong_kind(open_pot: Callable[..., Pot]) -> None:
    lib = library()
    assert "open it as a DeepTensor" in open_pot(GOLDEN / "dipole.dp").message
    assert "open it as a DeepSpin" in open_pot(GOLDEN / "spin_dpa1.dp").message
    for new, delete, ask, name, expected in (
        ("DP_NewDeepTensor", "DP_DeleteDeepTensor", "DP_DeepTensorCheckOK", "se_e3", "open it as a DeepPot"),
        ("DP_NewDeepSpin", "DP_DeleteDeepSpin", "DP_DeepSpinCheckOK", "se_e3", "without spins"),
    ):
        made = getattr(lib, new)(str(GOLDEN / f"{name}.dp").encode())
        assert expected in text(getattr(lib, ask)(made))
        getattr(lib, delete)(made)


def test_models_that_are_more_than_neighborhoods(tmp_path: Path, open_pot: Callable[..., Pot]) -> None:
    """A modifier is left to the caller; charges inside a sum are no energy of neighbourhoods."""
    case = dict(np.load(GOLDEN / "dplr.npz"))
    short = open_pot(GOLDEN / "dplr.dp")(case["coord"], case["atype"], case["box"])
    check(short, {name: case[f"model_{name}"] for name in ("energy", "force", "virial")}, 1e-9)
    member = {"type": "ewald", "type_map": ["O", "H"], "charges": [-0.8, 0.4]}
    energy = {"descriptor": {"type": "se_e2_a", "rcut": 4.0, "sel": [8, 8], "neuron": [2, 4]}, "fitting_net": {}}
    summed = {"type": "linear_ener", "type_map": ["O", "H"], "weights": "sum", "models": [energy, member]}
    save_model(new_model(parse_model(summed), ["O", "H"]), tmp_path / "sum.dp")
    assert "kspace_style pppm/dplr" in open_pot(tmp_path / "sum.dp").message


def test_graphics_functions_answer_no(open_pot: Callable[..., Pot]) -> None:
    lib, pot = library(), open_pot(GOLDEN / "se_e3.dp")
    for question in ("SupportsDeviceEdgeInference", "UsesFP32EdgeVectors", "UsesCanonicalGraphInference"):
        assert not getattr(lib, f"DP_DeepPot{question}")(pot.object)
    lib.DP_DeepPotComputeEdgesGPU(pot.object, *[None] * 7, 0, 0, None, 0, None, 0, 0, None)
    assert "graphics processor" in pot.message


def test_selection_of_atoms_by_type() -> None:
    lib = library()
    types, chosen = np.array([0, 2, 1, 2, 0, 1], np.int32), np.array([0, 1], np.int32)
    forward, backward, counts = np.zeros(6, np.int32), np.zeros(6, np.int32), np.zeros(2, np.int32)
    lib.DP_SelectByType(
        6,
        address(types),
        2,
        2,
        address(chosen),
        address(forward),
        address(counts),
        address(backward),
        address(counts[1:]),
    )
    assert forward.tolist() == [0, -1, 1, -1, 2, 3]
    assert backward[:4].tolist() == [0, 2, 4, 5]
    assert counts.tolist() == [4, 2]
    out = np.zeros((4, 2), np.int32)
    lib.DP_SelectMapInt(address(np.arange(12, dtype=np.int32)), address(forward), 2, 6, 4, address(out))
    assert out[:, 0].tolist() == [0, 4, 8, 10]


def test_files_as_text(tmp_path: Path) -> None:
    lib, size = library(), ctypes.c_int()
    (tmp_path / "bytes").write_bytes(b"a\0b")
    found = lib.DP_ReadFileToChar2(str(tmp_path / "bytes").encode(), ctypes.addressof(size))
    assert (size.value, ctypes.string_at(found, 3)) == (3, b"a\0b")
    lib.DP_DeleteChar(found)
    found = lib.DP_ReadFileToChar2(str(tmp_path / "none").encode(), ctypes.addressof(size))
    assert "does not exist" in ctypes.string_at(found, -size.value).decode()
    lib.DP_DeleteChar(found)


@pytest.mark.parametrize("name", ["DP_INTRA_OP_PARALLELISM_THREADS", "OMP_NUM_THREADS"])
def test_no_number_of_threads(name: str, open_pot: Callable[..., Pot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "two")
    assert f"{name} is 'two'; give a number of threads" in open_pot(GOLDEN / "se_e2_a_oneside.dp").message


def test_no_threads_but_this_one(without_threads: Callable[[str, str], None]) -> None:
    without_threads(__file__, "test_stored_numbers and se_e2_a_oneside")


def test_folders_are_what_their_checksums_name(tmp_path: Path, open_pot: Callable[..., Pot]) -> None:
    folder = tmp_path / "model.savedmodeltf" / ""
    folder.mkdir()
    (folder / "model.dp").write_bytes(b"x")
    (folder / "capabilities.json").write_text("{}")
    known = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    for sums, expected in (
        ({"model.dp": known["model.dp"]}, "capabilities.json is not in checksums.json"),
        (known | {"../other": "0"}, "names ../other, which is not inside"),
        (known | {"/other": "0"}, "names /other, which is not inside"),
        (known, "its record is unreadable"),
    ):
        (folder / "checksums.json").write_text(json.dumps(sums))
        assert expected in open_pot(folder).message
