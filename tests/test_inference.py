"""DeepPot: shapes, parameters, parts, files, and what it says of wrong input."""

from __future__ import annotations

import logging
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import dp_core
from dp_core import ConfigError, DataError, DeepEval, DeepPot, DpError, NonFiniteError, Structure
from dp_core.backend import default_backend, get_backend
from dp_core.descriptors.dpa2 import DPA2
from dp_core.model_file import document_bytes, load_model
from dp_core.module import replace
from dp_core.neighbors import NeighborSpec
from dp_core.numpy_backend import NumpyBackend
from dp_core.prediction import Parameters, predict, tables


@pytest.fixture
def water(golden):
    return golden("se_e2_a_oneside")


@pytest.fixture
def with_parameters(golden):
    return golden("ener_fparam_aparam")


def assert_same(a, b, tolerance=1e-12):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def test_tuples_and_shapes(water, backend):
    pot = DeepPot(water.path, backend)
    nf, na = water.data["coord"].shape[:2]
    shapes = [x.shape for x in pot.eval(*water.inputs)]
    assert shapes == [(nf, 1), (nf, na, 3), (nf, 9)]
    shapes = [x.shape for x in pot.eval(*water.inputs, atomic=True)]
    assert shapes == [(nf, 1), (nf, na, 3), (nf, 9), (nf, na, 1), (nf, na, 9)]


def test_inputs_of_any_shape(water):
    pot = DeepPot(water.path, "numpy")
    coord, box, types = water.inputs
    nf, na = coord.shape[:2]
    expected = pot.eval(coord, box, types)
    assert_same(expected, pot.eval(coord.reshape(nf, -1), box.reshape(nf, 3, 3), types.tolist()))
    assert_same(expected, pot.eval(coord.ravel().tolist(), box.ravel(), types.astype(np.int32)))
    assert_same(expected, pot.eval(coord, box, np.tile(types, (nf, 1)), mixed_type=True))
    empty = pot.eval(coord[:0], box[:0], types)
    assert [x.shape for x in empty] == [(0, 1), (0, na, 3), (0, 9)]


def test_frames_of_other_compositions(water):
    pot = DeepPot(water.path, "numpy")
    coord, box, types = water.inputs
    mixed = np.array([types, 1 - types, np.roll(types, 1)])
    together = pot.eval(coord, box, mixed, mixed_type=True, atomic=True)
    for k in range(3):
        alone = pot.eval(coord[k], box[k], mixed[k], atomic=True)
        assert_same([x[k] for x in together], [x[0] for x in alone])


def test_virtual_atoms_have_zero_rows(water, backend):
    pot = DeepPot(water.path, backend)
    coord, box, types = water.inputs
    absent = np.where(np.arange(len(types)) == 4, -1, types)
    found = pot.eval(coord, box, absent, atomic=True)
    rest = np.delete(np.arange(len(types)), 4)
    expected = pot.eval(coord[:, rest], box, types[rest], atomic=True)
    assert_same([found[0], found[2]], [expected[0], expected[2]])
    for k in (1, 3, 4):
        np.testing.assert_allclose(found[k][:, rest], expected[k], atol=1e-12)
        assert not found[k][:, 4].any()
    assert not pot.eval_descriptor(coord, box, absent)[:, 4].any()


@pytest.mark.parametrize("rows", [1, 5, 13, False])
@pytest.mark.parametrize("name", ["se_e2_a_oneside", "ener_fparam_aparam", "sel_overflow_sea.nopbc.npz"])
def test_parts_do_not_change_the_result(golden, backend, name, rows):
    case = golden(name)
    whole, cut = DeepPot(case.path, backend), DeepPot(case.path, backend, auto_batch_size=rows)
    assert_same(
        whole.eval(*case.inputs, atomic=True, **case.parameters),
        cut.eval(*case.inputs, atomic=True, **case.parameters),
    )
    descriptors = [p.eval_descriptor(*case.inputs, **case.parameters) for p in (whole, cut)]
    assert_same(descriptors[:1], descriptors[1:])


def test_size_of_parts_from_the_environment(water, monkeypatch):
    monkeypatch.setenv("DP_INFER_BATCH_SIZE", "7")
    assert_same(DeepPot(water.path, "numpy").eval(*water.inputs)[:1], [water.data["energy"]])
    monkeypatch.setenv("DP_INFER_BATCH_SIZE", "many")
    with pytest.raises(ConfigError, match="DP_INFER_BATCH_SIZE is 'many'"):
        DeepPot(water.path, "numpy")
    with pytest.raises(ConfigError, match="auto_batch_size is 0"):
        DeepPot(water.path, "numpy", auto_batch_size=0)


def test_parameters_of_any_shape(with_parameters, backend):
    case = with_parameters
    pot = DeepPot(case.path, backend)
    nf, na = case.data["coord"].shape[:2]
    fparam, aparam = case.data["fparam"], case.data["aparam"]
    one_f, one_a = fparam[0], aparam[0]
    expected = pot.eval(*case.inputs, fparam=np.tile(one_f, (nf, 1)), aparam=np.tile(one_a, (nf, 1, 1)))
    assert_same(expected, pot.eval(*case.inputs, fparam=one_f, aparam=one_a))
    assert_same(expected, pot.eval(*case.inputs, fparam=one_f.tolist(), aparam=np.tile(one_a, (nf, 1, 1)).ravel()))
    same = pot.eval(*case.inputs, fparam=fparam, aparam=np.full((nf, na, aparam.shape[2]), 0.3))
    assert_same(same, pot.eval(*case.inputs, fparam=fparam.ravel(), aparam=[0.3]))
    assert pot.get_dim_fparam() == 2
    assert pot.get_dim_aparam() == 1
    assert not pot.has_default_fparam()


def test_default_frame_parameters(golden, backend):
    case = golden("ener_default_fparam")
    pot = DeepPot(case.path, backend)
    assert pot.has_default_fparam()
    default = pot.get_model().fitting.default_fparam
    assert_same(pot.eval(*case.inputs), pot.eval(*case.inputs, fparam=list(default)))


def test_what_the_model_is(golden, water):
    pot = DeepPot(water.path, "numpy")
    assert pot.get_type_map() == ["O", "H"]
    assert (pot.get_ntypes(), pot.get_rcut(), pot.get_sel()) == (2, 4.5, [36, 36])
    assert pot.get_sel_type() == [0, 1]
    assert (pot.get_dim_fparam(), pot.get_dim_aparam(), pot.has_default_fparam()) == (0, 0, False)
    assert pot.get_model_def_script()["descriptor"]["neuron"] == [4, 8, 16]
    assert pot.get_model_size() == {"descriptor": 384, "fitting-net": 1562, "total": 1946}
    assert pot.get_observed_types() == {"type_num": 2, "observed_type": ["H", "O"]}
    assert pot.serialize()["model"]["type"] == "standard"
    assert DeepPot(golden("ener_fparam_aparam").path, "numpy").get_model_size()["fitting-net"] == 1622
    excluding = DeepPot(golden("atom_exclude").path, "numpy")
    excluded = excluding.get_model().atom_exclude_types
    assert excluding.get_sel_type() == [t for t in range(excluding.get_ntypes()) if t not in excluded]


def test_observed_types_of_the_training_script(water):
    model = replace(load_model(water.path), script={"info": {"observed_type": ["O"]}})
    assert DeepPot(model, "numpy").get_observed_types() == {"type_num": 1, "observed_type": ["O"]}


def test_frozen_files(water, backend, tmp_path, monkeypatch):
    monkeypatch.delenv("DP_BACKEND", raising=False)
    model = load_model(water.path)
    library = get_backend(backend)
    path = tmp_path / f"frozen{library.suffixes[0]}"
    library.freeze(model, document_bytes(model), path)
    own = default_backend() if backend == "numpy" else backend  # a .dp file belongs to no backend
    for name, expected in [(None, own), ("numpy", "numpy")]:
        with DeepPot(path, name) as pot:
            assert pot.backend_name == expected
            assert_same(pot.eval(*water.inputs)[:1], [water.data["energy"]])


def test_hessians(golden, backend, tmp_path):
    """From frozen files too, of models that were trained with them, as the last result, and not of others."""
    model = load_model(golden("hessian").path)
    assert not DeepPot(model, backend).has_hessian
    assert len(DeepPot(model, backend).eval(*golden("hessian").inputs)) == 3
    model = replace(model, script=model.script | {"hessian_mode": True})
    path = tmp_path / f"trained{get_backend(backend).suffixes[0]}"
    get_backend(backend).freeze(model, document_bytes(model), path)
    pot = DeepPot(path, backend)
    assert pot.has_hessian
    for case in map(golden, ("hessian.npz", "hessian.nopbc.npz")):
        expected = case.data["hessian"]
        *_, found = pot.eval(*case.inputs)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
        assert len(pot.eval(*case.inputs, atomic=True)) == 6


@pytest.mark.parametrize("rows", [1, 2, 7, False])
def test_hessians_in_small_tables(golden, rows):
    """Several copies of a frame in one table, or parts of it."""
    case = golden("hessian")
    pot = DeepPot(case.path, "numpy", auto_batch_size=rows)
    coord, box, types = case.inputs
    found = pot.hessian(Structure(coord[0].reshape(-1, 3), box[0].reshape(3, 3), types))
    expected = case.data["hessian"][0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    assert pot.hessian(Structure(np.zeros((0, 3)), None, np.zeros(0, int))).shape == (0, 0)


def test_hessians_hold_no_more_than_a_table_of_the_backend(golden, monkeypatch):
    """Without a limit of atoms that are evaluated together, too."""
    monkeypatch.setattr(NumpyBackend, "chunk_rows", 30)
    sizes, evaluator = [], NumpyBackend.evaluator

    def watched(self, model, *function):
        found = evaluator(self, model, *function)
        return lambda moved: sizes.append(len(moved.table.types)) or found(moved)

    monkeypatch.setattr(NumpyBackend, "evaluator", watched)
    coord, box, types = golden("hessian").inputs
    pot = DeepPot(golden("hessian").path, "numpy", auto_batch_size=False)
    found = pot.hessian(Structure(coord[0].reshape(-1, 3), box[0].reshape(3, 3), types))
    assert max(sizes) <= 30
    assert len(sizes) == -(-3 * len(types) // (30 // len(types)))
    assert found.shape == (3 * len(types),) * 2


@pytest.mark.parametrize("name", ["compress_sea", "dpa2_small", "zbl_dpa1"])
def test_hessians_are_slopes_of_forces(golden, backend, name):
    case = golden(name)
    pot = DeepPot(case.path, backend)
    coord, box, types = case.inputs
    coord, box = coord[0].reshape(-1, 3), box[0].reshape(3, 3)
    found = pot.hessian(Structure(coord, box, types))
    np.testing.assert_allclose(found, found.T, rtol=0, atol=1e-9 * np.abs(found).max())
    random = np.random.default_rng(0).normal(size=coord.shape)
    forces = [pot.eval(coord + sign * 1e-4 * random, box, types)[1].ravel() for sign in (1, -1)]
    slope = (forces[1] - forces[0]) / 2e-4
    np.testing.assert_allclose(found @ random.ravel(), slope, rtol=0, atol=1e-5 * np.abs(slope).max())


@pytest.mark.parametrize(
    ("name", "message"),
    [("dipole", "predicts 'dipole'; .* Open a model"), ("spin_dpa1", "has spins, .* Take differences")],
)
def test_there_is_no_hessian(golden, name, message):
    coord, box, types = golden(name).inputs
    with pytest.raises(ConfigError, match=message):
        DeepEval(golden(name).path, "numpy").hessian(Structure(coord[0], box[0].reshape(3, 3), types))


def test_hessians_with_parameters_and_virtual_atoms(golden):
    case = golden("ener_fparam_aparam")
    model = load_model(case.path)
    pot = DeepPot(replace(model, script={"hessian_mode": True}), "numpy")
    coord, box, types = case.inputs
    types = types.copy()
    types[-1] = -1
    *_, hessian = pot.eval(coord, box, types, **case.parameters)
    assert hessian.shape == (len(coord), 3 * len(types), 3 * len(types))
    assert not hessian[:, -3:].any()
    step = np.zeros_like(coord)
    step[:, 0, 1] = 1e-4
    moved = [pot.eval(coord + sign * step, box, types, **case.parameters)[1] for sign in (1, -1)]
    column = -(moved[0] - moved[1]).reshape(len(coord), -1) / 2e-4
    np.testing.assert_allclose(hessian[:, 1], column, rtol=0, atol=1e-6 * np.abs(hessian).max())


@pytest.mark.parametrize("name", ["numpy", "NumPy", "np", "dp", "dpmodel"])
def test_backend_of_the_environment(water, monkeypatch, name):
    monkeypatch.setenv("DP_BACKEND", name)
    assert DeepPot(water.path).backend_name == "numpy"
    assert DeepPot(water.path, name).backend_name == "numpy"


def test_unknown_backends(water, monkeypatch):
    with pytest.raises(DpError, match=r"Unknown backend 'numpie'; did you mean 'numpy'\?"):
        DeepPot(water.path, "numpie")
    monkeypatch.setenv("DP_BACKEND", "numpie")
    with pytest.raises(DpError, match=r"DP_BACKEND is 'numpie'; did you mean 'numpy'\?"):
        DeepPot(water.path)


def test_closed(water):
    with DeepPot(water.path, "numpy") as pot:
        pass
    with pytest.raises(DpError, match="closed"):
        pot.eval(*water.inputs)
    with pytest.raises(DpError, match="closed"):
        pot.eval_descriptor(*water.inputs)


@pytest.mark.parametrize("name", ["polar_full", "hessian"])
def test_other_derivatives_are_compiled_once(golden, monkeypatch, name):
    """And are no more there once the model is closed."""
    made, evaluator = [], NumpyBackend.evaluator
    monkeypatch.setattr(NumpyBackend, "evaluator", lambda self, *a: made.append(a[1:]) or evaluator(self, *a))
    coord, box, types = golden(name).inputs
    pot = DeepEval(golden(name).path, "numpy")

    def derivatives():
        if name == "polar_full":
            return pot.eval_full(coord[:1], box[:1], types)[1]
        return pot.hessian(Structure(coord[0].reshape(-1, 3), box[0].reshape(3, 3), types))

    np.testing.assert_array_equal(derivatives(), derivatives())
    assert len([functions for functions in made if functions]) == 1
    pot.close()
    with pytest.raises(DpError, match="closed"):
        derivatives()


def test_frames_of_different_sizes(water, backend):
    pot = DeepPot(water.path, backend)
    coord, box, types = water.inputs
    cell = box[1].reshape(3, 3)
    frames = [
        Structure(coord[0], None, types),
        Structure(coord[1, :5], cell, types[:5]),
        Structure(coord[2], cell, types),
    ]
    result = pot.predict(frames, atomic_virial=True)
    assert result.natoms.tolist() == [12, 5, 12]
    first = 0
    for k, frame in enumerate(frames):
        n = len(frame.types)
        energy, force, virial, atom_energy, atom_virial = pot.eval(*frame, atomic=True)
        atoms = slice(first, first + n)
        np.testing.assert_allclose(result.energy[k], energy[0, 0], rtol=1e-12)
        np.testing.assert_allclose(result.force[atoms], force[0], atol=1e-12)
        np.testing.assert_allclose(result.virial[k].ravel(), virial[0], atol=1e-12)
        np.testing.assert_allclose(result.atom_energy[atoms], atom_energy[0, :, 0], rtol=1e-12)
        np.testing.assert_allclose(result.atom_virial[atoms].reshape(n, 9), atom_virial[0], atol=1e-12)
        first += n


def test_too_many_neighbors_are_warned_of_once(golden, caplog):
    case = golden("sel_overflow_sea")
    pot = DeepPot(case.path, "numpy")
    with caplog.at_level(logging.WARNING, "dp_core.inference"):
        pot.eval(*case.inputs)
        pot.eval(*case.inputs)
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "13 O, 13 H, 26 in all" in message
    assert "[6, 9]" in message


def test_hessians_warn_of_neighbors_in_any_part(golden, caplog):
    """Two atoms on their own are the first table, a cube with seven neighbours of each corner the others."""
    cube = np.stack(np.meshgrid([0, 1.5], [0, 1.5], [0, 1.5]), axis=-1).reshape(-1, 3)
    coord = np.concatenate([[[50.0, 0, 0], [60.0, 0, 0]], cube])
    pot = DeepPot(golden("sel_overflow_sea").path, "numpy", auto_batch_size=2)
    pot.hessian(Structure(coord, None, np.zeros(10, int)))
    (record,) = caplog.records
    assert "Largest numbers found: 7 O, 0 H" in record.getMessage()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coords": np.zeros((1, 11, 3))}, r"coords have the shape \(1, 11, 3\), but there are 12 atom types"),
        ({"cells": np.eye(3)}, r"cells have the shape \(3, 3\), but there are 3 frames"),
        ({"cells": np.zeros((3, 9))}, "has no volume"),
        ({"atom_types": np.full(12, 2)}, "Atom 0 has type 2, but the model knows types 0 to 1"),
        ({"atom_types": np.full(12, 0.5)}, "give integers"),
        ({"atom_types": np.zeros((3, 12), int)}, "or set mixed_type"),
        ({"mixed_type": True}, "because mixed_type is set"),
        ({"fparam": [1.0]}, "fparam was given, but the model has none"),
        ({"coords": np.full((3, 12, 3), np.nan)}, "which are no numbers"),
        ({"coords": np.ones((3, 12, 3))}, "Atoms 0 and .* of frame 0 are at the same place"),
        ({"coords": "water.xyz"}, "coords cannot be read as an array of numbers"),
        ({"cells": [[1, 2], [3]]}, "cells cannot be read as an array of numbers"),
    ],
)
def test_wrong_input(water, change, message):
    pot = DeepPot(water.path, "numpy")
    coord, box, types = water.inputs
    given = {"coords": coord, "cells": box, "atom_types": types} | change
    with pytest.raises(DataError, match=message):
        pot.eval(**given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coord": np.zeros((11, 3))}, r"coord of structure 1 has the shape \(11, 3\) and its types have \(12,\)"),
        ({"coord": np.zeros(36)}, r"coord of structure 1 has the shape \(36,\)"),
        ({"coord": "water.xyz"}, "coord of structure 1 cannot be read as an array of numbers"),
        ({"box": np.ones(6)}, r"box of structure 1 has the shape \(6,\); expected \(3, 3\)"),
        ({"types": np.full(12, 0.5)}, "types of structure 1 are float64; give integers"),
        ({"types": ["O"] * 12}, "types of structure 1 are .*; give integers"),
    ],
)
def test_wrong_structures(water, change, message):
    coord, box, types = water.inputs
    good = Structure(coord[0], box[0].reshape(3, 3), types)
    pot = DeepPot(water.path, "numpy")
    with pytest.raises(DataError, match=message):
        pot.predict([good, good._replace(**change)])
    lists = Structure(coord[0].tolist(), box[0].reshape(3, 3).tolist(), types.tolist())
    assert pot.predict([lists]).energy == pot.predict([good]).energy


def test_a_model_that_is_none():
    with pytest.raises(ConfigError, match="the path of a file or a model tree; this is int"):
        DeepPot(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fparam": None}, r"needs 2 frame parameters and has no default. Give fparam as \(3, 2\)"),
        ({"aparam": None}, r"needs 1 atomic parameters for each atom. Give aparam as \(36, 1\)"),
        ({"fparam": [1.0, 2.0, 3.0]}, "3×2 .one set for each frame.; 1×2 .one set for all."),
        ({"aparam": np.zeros(7)}, "36×1 .*12×1 .*1×1"),
    ],
)
def test_wrong_parameters(with_parameters, change, message):
    case = with_parameters
    with pytest.raises(DataError, match=message):
        DeepPot(case.path, "numpy").eval(*case.inputs, **(case.parameters | change))


def test_infinite_results_are_errors(water):
    model = load_model(water.path)
    broken = replace(model, out_bias=np.full_like(model.out_bias, np.nan))
    with pytest.raises(NonFiniteError, match="atom 0 of frame 0"):
        DeepPot(broken, "numpy").eval(*water.inputs)


def test_memory_per_atom():
    """Everything but the evaluation of one table and the search of pairs, whose library keeps 28 bytes a pair."""

    def peak(cells):
        random = np.random.default_rng(0)
        grid = np.stack(np.meshgrid(*[np.arange(10 * c) for c in cells], indexing="ij"), axis=-1).reshape(-1, 3)
        coord = 2.15 * grid + random.normal(scale=0.1, size=grid.shape)  # 0.1 atoms an Å³, as in water
        box = np.diag([21.5 * c for c in cells])
        types = random.integers(0, 2, len(coord))
        spec = NeighborSpec(6.0, (100, 100), by_type=True, ntypes=2)
        structure = [Structure(coord, box, types)]
        tracemalloc.start()
        parts = tables(structure, spec, NumpyBackend(), rows=256, parameters=Parameters())
        predict(lambda t: {"energy": np.zeros((len(t.types), 1)), "gradient": 0.1 * t.vectors}, parts, [len(coord)])
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return len(coord), used

    (small, less), (large, more) = peak((1, 1, 2)), peak((1, 2, 3))
    neighbors = 91
    assert (more - less) / (large - small) + 28 / 2 * neighbors < 5000


def test_import_is_light():
    """Nothing heavy is imported before it is needed."""
    heavy = "numpy", "torch", "ase", "vesin", "autograd", "h5py", "pydantic", "typer"
    code = f"import sys, dp_core; print([m for m in {heavy} if m in sys.modules]); dp_core.DeepPot"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names():
    for name in dp_core.__all__:
        assert getattr(dp_core, name).__module__.startswith("dp_core")
    assert set(dp_core.__all__) <= set(dir(dp_core))
    assert dp_core.__version__.count(".") >= 1
    with pytest.raises(AttributeError, match="no attribute 'DeepPott'"):
        dp_core.DeepPott  # noqa: B018


@pytest.mark.parametrize(
    "name", ["dpa1_attn2_concat", "dpa2_small", "dpa3_small", "hybrid_sea_dpa1", "hybrid_dpa1_dpa1"]
)
def test_type_embeddings(golden, backend, name):
    """One row a type and one for virtual atoms; the numbers behind the descriptor, where they are part of it."""
    case = golden(name)
    pot = DeepPot(case.path, backend)
    rows = pot.eval_typeebd()
    assert len(rows) == pot.get_ntypes() + 1
    assert not rows[-1].any()
    own = rows[:, -6:] if name == "hybrid_dpa1_dpa1" else rows
    if name.endswith("concat") or name.startswith("hybrid"):
        behind = pot.eval_descriptor(*case.inputs)[..., -own.shape[1] :]
        np.testing.assert_allclose(behind, np.broadcast_to(own[case.data["atype"]], behind.shape), atol=1e-12)
    with pytest.raises(ConfigError, match="has no type embedding"):
        DeepPot(golden("se_e2_a_oneside").path, "numpy").eval_typeebd()


def test_type_embeddings_with_spins(golden):
    """The types, their virtual atoms, padding; the rows of atoms are those behind their descriptors."""
    case = golden("spin_dpa1")
    pot = DeepPot(case.path, "numpy")
    rows, ntypes = pot.eval_typeebd(), pot.get_ntypes()
    assert len(rows) == 2 * ntypes + 1
    assert not rows[-1].any()
    assert len(np.unique(rows, axis=0)) == len(rows)
    behind = pot.eval_descriptor(*case.inputs, spin=case.data["spin"])[..., -rows.shape[1] :]
    np.testing.assert_allclose(behind, np.broadcast_to(rows[case.data["atype"]], behind.shape), atol=1e-12)


def test_embeddings(golden, monkeypatch):
    case = golden("dpa2_small")
    calls, descriptor = [], DPA2.__call__
    monkeypatch.setattr(DPA2, "__call__", lambda *a: calls.append(a) or descriptor(*a))
    pot = DeepPot(case.path, "numpy")
    descriptor, of_atoms, of_frames = pot.eval_embedding(*case.inputs)
    assert {x.dtype for x in (descriptor, of_atoms, of_frames)} == {np.dtype("float32")}
    np.testing.assert_allclose(descriptor, case.data["descriptor"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(of_atoms, case.data["fitting_last_layer"], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(of_frames, case.data["fitting_last_layer"].sum(axis=1), rtol=1e-6)
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["spin_dpa1", "linear_mean", "hybrid_sea_dpa1"])
def test_embeddings_are_descriptors_and_last_layers(golden, backend, name):
    case = golden(name)
    pot = DeepPot(case.path, backend)
    found = pot.eval_embedding(*case.inputs, dtype=np.float64, **case.parameters)
    descriptor = pot.eval_descriptor(*case.inputs, **case.parameters)
    hidden = pot.eval_fitting_last_layer(*case.inputs, **case.parameters)
    for x, y in zip(found, (descriptor, hidden, hidden.sum(axis=1)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["dipole", "polar_full"])
def test_derivatives_of_tensors(golden, backend, name):
    """Minus those by the positions and by a strain, by finite differences; and the virials of atoms add up."""
    case = golden(name)
    tensor = DeepEval(case.path, backend)
    coord, box, types = case.data["coord"][:1], case.data["box"][:1].reshape(1, 3, 3), case.data["atype"]
    total, force, virial, atomic, atom_virial = tensor.eval_full(coord, box, types, atomic=True)
    size = total.shape[1]
    assert force.shape == (1, size, len(types), 3)
    np.testing.assert_allclose(atomic.sum(axis=1), total, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(atom_virial.sum(axis=2), virial, rtol=1e-10, atol=1e-12)
    random, step = np.random.default_rng(0), 1e-4
    moved, strain = random.normal(size=coord.shape), random.normal(size=(3, 3))

    def slope(change):
        ends = [tensor.eval(*change(sign * step), types, atomic=False) for sign in (1, -1)]
        return -(ends[0] - ends[1]) / (2 * step)

    by_coord = slope(lambda h: (coord + h * moved, box))
    np.testing.assert_allclose(np.einsum("fsax,fax->fs", force, moved), by_coord, atol=1e-5 * np.abs(by_coord).max())
    by_strain = slope(lambda h: (coord @ (np.eye(3) + h * strain), box @ (np.eye(3) + h * strain)))
    found = np.einsum("fsab,ba->fs", virial.reshape(1, size, 3, 3), strain)
    np.testing.assert_allclose(found, by_strain, atol=1e-5 * np.abs(by_strain).max())
