"""The native engine gives the stored numbers of the models that it knows, and says of the others that it does not."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import dp_ops
from dp_core.backend import get_backend
from dp_core.batching import Batch, build_batch
from dp_core.compression import compress
from dp_core.frozen import capabilities, graph_inputs
from dp_core.model_file import load_model, save_model
from dp_core.neighbors import frame_neighbors
from dp_core.outputs import forces
from dp_core.predictors import DeepPot

sys.path.insert(0, str(Path(__file__).parent))
from capi import Pot

HERE = Path(__file__).parent
GOLDEN = HERE.parents[2] / "tests" / "golden"
KNOWN = [
    "act_gelu", "act_relu6", "act_relu_linear", "act_softplus_sigmoid", "atom_exclude", "dpa1_attn0_concat",
    "dpa1_attn0_oneside_exclude", "dpa1_strip_oneside", "dprc", "ener_atom_ener", "ener_default_fparam",
    "ener_fparam_aparam", "float32", "hybrid_sea_dpa1", "hybrid_sea_ser", "mixed_float32_float64", "pair_exclude_sea",
    "se_e2_a_davg_zero", "se_e2_a_exclude", "se_e2_a_exclude_davg_zero", "se_e2_a_exclude_twoside", "se_e2_a_oneside",
    "se_e2_a_twoside", "se_e2_r", "se_e2_r_exclude", "se_e2_r_twoside", "se_e3", "se_e3_resnet", "sel_overflow_sea",
]  # fmt: skip
COMPRESSED = ["compress_sea", "compress_dpa1_strip"]
UNKNOWN = {
    "dipole": "fitting dipole",
    "dpa1_attn2_concat": "attention",
    "dpa2_small": "descriptor dpa2",
    "linear_mean": "model linear",
    "se_e2_a_type_embedding": "a type embedding beside networks by type",
}


def compiled(folder: Path) -> ctypes.CDLL:
    """The functions of engine_calls.cpp."""
    path = folder / "engine_calls.so"
    command = [os.environ.get("CXX", "g++"), "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{HERE.parent}"]
    subprocess.run([*command, HERE / "engine_calls.cpp", "-o", path, "-ldl"], check=True)
    calls = ctypes.CDLL(str(path))
    calls.engine_open.restype = ctypes.c_void_p
    calls.engine_text.restype = ctypes.c_char_p
    calls.engine_close.argtypes = [ctypes.c_void_p]
    return calls


class Native:
    """A model file in the native engine. Raises RuntimeError with its sentence where there is one."""

    def __init__(self, calls: ctypes.CDLL, path: Path) -> None:
        self._calls = calls
        library = str(dp_ops.library("dp_engine_native"))
        self._engine = calls.engine_open(library.encode(), str(path).encode())
        text = calls.engine_text().decode()
        if not self._engine:
            raise RuntimeError(text)
        self.record: dict[str, Any] = json.loads(text)

    def __del__(self) -> None:
        if self._engine:
            self._calls.engine_close(self._engine)

    def evaluate(self, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Energy (n,), mask (n,) and gradient (n, K, 3) of the inputs of a frozen graph."""
        rows, slots = inputs["index"].shape
        blocks = [
            np.array([len(x) for name, x in inputs.items() if name.startswith(kind)], np.int64)
            for kind in ("rows_", "slots_")
        ]
        names = ("vectors", "index", "types", "neighbor_types", "frame", "fparam", "aparam")
        arrays = [np.ascontiguousarray(inputs[name]) for name in names]
        out = np.empty(rows), np.empty(rows), np.empty((rows, slots, 3))

        def pointer(x: np.ndarray) -> ctypes.c_void_p:
            return ctypes.c_void_p(x.ctypes.data)

        sizes = [ctypes.c_int64(x) for x in (rows, slots, len(inputs["fparam"]))]
        lengths = [y for x in blocks for y in (ctypes.c_int64(len(x)), pointer(x))]
        given = [ctypes.c_void_p(self._engine), *sizes, *map(pointer, arrays), *lengths, *map(pointer, out)]
        if self._calls.engine_evaluate(*given):
            raise RuntimeError(self._calls.engine_text().decode())
        return out


@pytest.fixture(scope="session")
def calls(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compiled(tmp_path_factory.mktemp("engine_calls"))


def table_of(model: Any, coord: np.ndarray, cell: np.ndarray | None, types: np.ndarray, **given: Any) -> Batch:
    spec = model.neighbor_spec
    return build_batch([frame_neighbors(coord, cell, types, spec)], spec, **given)


def check(native: Native, model: Any, case: Any, limit: float) -> None:
    types = np.ravel(case["atype"])
    coord = case["coord"][0].reshape(-1, 3)
    cell = case["box"][0].reshape(3, 3) if "box" in case else None
    given = {"fparam": case["fparam"][:1]} if "fparam" in case else {}
    if "aparam" in case:
        given["aparam"] = case["aparam"][0].reshape(len(types), -1)
    batch = table_of(model, coord, cell, types, **given)
    inputs = graph_inputs(batch.table, capabilities(model))
    energy, mask, g = native.evaluate(inputs)
    force = batch.to_atoms(forces(g, inputs["index"], len(g)))
    virial = -np.einsum("nka,nkb->ab", g, inputs["vectors"])
    found = {"energy": energy.sum(), "force": force, "virial": virial, "atom_energy": batch.to_atoms(energy[:, None])}
    for name, value in found.items():
        wanted = case[name][0]
        assert np.abs(np.ravel(value) - np.ravel(wanted)).max() <= limit * np.abs(wanted).max(), name
    assert set(mask) <= {0.0, 1.0}
    assert not np.any(energy[mask == 0.0])


@pytest.mark.parametrize("suffix", ["", ".nopbc"])
@pytest.mark.parametrize("name", KNOWN)
def test_stored_numbers(calls: ctypes.CDLL, name: str, suffix: str) -> None:
    model = load_model(GOLDEN / f"{name}.dp")
    native = Native(calls, GOLDEN / f"{name}.dp")
    limit = 1e-9 if native.record["precision"] == "float64" else 1e-4
    check(native, model, np.load(GOLDEN / f"{name}{suffix}.npz"), limit)


@pytest.mark.parametrize("suffix", ["", ".nopbc"])
@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed(calls: ctypes.CDLL, name: str, suffix: str) -> None:
    native = Native(calls, GOLDEN / f"{name}.dp")
    check(native, load_model(GOLDEN / f"{name}_twin.dp"), np.load(GOLDEN / f"{name}{suffix}.npz"), 1e-9)


@pytest.mark.parametrize("shortest", [0.9, 1.4, 2.5])
def test_compressed_pairs(calls: ctypes.CDLL, shortest: float, tmp_path: Path) -> None:
    """Products of directions in the fine and the coarse parts of tables on both sides of 0, and beyond their ends."""
    case = np.load(GOLDEN / "se_e3.nopbc.npz")
    model = compress(load_model(GOLDEN / "se_e3.dp"), min_nbor_dist=shortest, extrapolate=2.0)
    save_model(model, tmp_path / "small.dp")
    found = DeepPot(model, "numpy").eval(case["coord"][:1], None, np.ravel(case["atype"]), atomic=True)
    expected = dict(zip(("energy", "force", "virial", "atom_energy"), found, strict=False))
    check(Native(calls, tmp_path / "small.dp"), model, dict(case) | expected, 1e-9)


@pytest.mark.parametrize("isa", ["v2", "v3", "v4"])
def test_instruction_sets(isa: str) -> None:
    """The stored numbers again with the functions for other processors."""
    environment = os.environ | {"DP_KERNELS_ISA": isa}
    asked = f"""
import ctypes
library = ctypes.CDLL({str(dp_ops.library("dp_kernels"))!r})
library.dp_kernels_isa.restype = ctypes.c_char_p
print(library.dp_kernels_isa().decode())"""
    used = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=environment).stdout.strip()
    if used != isa:
        pytest.skip(f"this processor has {used}, not {isa}")
    names = "se_e2_a_oneside or dpa1_strip_oneside or se_e3 or float32 or act_relu_linear"
    chosen = f"(test_stored_numbers and not nopbc and ({names})) or test_network or (test_embedding and wide and 250)"
    files = [str(HERE / name) for name in (Path(__file__).name, "test_training.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *files]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", KNOWN)
def test_record(calls: ctypes.CDLL, name: str) -> None:
    wanted = capabilities(load_model(GOLDEN / f"{name}.dp"))
    for output in wanted["outputs"]:
        output["shape"] = [size for size in output["shape"] if isinstance(size, int)]
    defaults = {"kind": "", "intensive": False}
    wanted["outputs"] = [defaults | output for output in wanted["outputs"]]
    assert Native(calls, GOLDEN / f"{name}.dp").record == wanted


@pytest.mark.parametrize("name", ["se_e2_a_oneside", "dpa1_strip_oneside", "se_e2_r", "se_e3", "act_relu_linear"])
def test_any_distance(calls: ctypes.CDLL, name: str) -> None:
    """Atoms closer than any in nature, and alone, give what dp-core gives."""
    model = load_model(GOLDEN / f"{name}.dp")
    coord = np.array([[0.0, 0, 0], [0.3, 0, 0.1], [1.0, 0.2, 0], [1.0, 2.5, 0], [40.0, 0, 0]])
    table = table_of(model, coord, None, np.array([0, 1, 1, 0, 1])).table
    wanted = get_backend("numpy").evaluator(model)(table)
    energy, _, g = Native(calls, GOLDEN / f"{name}.dp").evaluate(graph_inputs(table, capabilities(model)))
    np.testing.assert_allclose(energy, wanted["energy"][:, 0], rtol=1e-11)
    np.testing.assert_allclose(g, wanted["gradient"], atol=1e-10 * np.abs(wanted["gradient"]).max())


def test_large_table(calls: ctypes.CDLL) -> None:
    """Rows do not depend on the others, however they are spread over blocks and threads."""
    model = load_model(GOLDEN / "se_e2_a_oneside.dp")
    native, case = Native(calls, GOLDEN / "se_e2_a_oneside.dp"), np.load(GOLDEN / "se_e2_a_oneside.npz")
    spec, types = model.neighbor_spec, np.ravel(case["atype"])
    frames = [
        frame_neighbors(coord.reshape(-1, 3), box.reshape(3, 3), types, spec)
        for coord, box in zip(case["coord"], case["box"], strict=True)
    ] * 40
    together = build_batch(frames, spec)
    energy, _, g = native.evaluate(graph_inputs(together.table, capabilities(model)))
    rows = np.bincount(together.table.frame, energy)
    np.testing.assert_allclose(rows, np.tile(np.ravel(case["energy"]), 40), rtol=1e-12)
    assert np.isfinite(g).all()


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown(calls: ctypes.CDLL, name: str) -> None:
    with pytest.raises(RuntimeError, match=f"not known to the native engine: {UNKNOWN[name]}"):
        Native(calls, GOLDEN / f"{name}.dp")


def test_bad_files(calls: ctypes.CDLL, tmp_path: Path) -> None:
    whole = (GOLDEN / "se_e2_a_oneside.dp").read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1000):
        cut = tmp_path / "cut.dp"
        cut.write_bytes(whole[:size])
        with pytest.raises(RuntimeError, match=r"cut\.dp"):
            Native(calls, cut)
    shutil.copy(GOLDEN / "se_e2_a_oneside.json", tmp_path / "text.dp")
    with pytest.raises(RuntimeError, match=r"text\.dp"):
        Native(calls, tmp_path / "text.dp")
    with pytest.raises(RuntimeError, match=r"none\.dp"):
        Native(calls, tmp_path / "none.dp")


def changed(target: Path, name: str, change: Callable[[Any, h5py.File], None]) -> Path:
    """A stored model with another text, or other arrays."""
    shutil.copy(GOLDEN / f"{name}.dp", target)
    with h5py.File(target, "a") as file:
        tree = json.loads(file.attrs["json"])
        change(tree["model"], file)
        del file.attrs["json"]
        file.attrs.create("json", json.dumps(tree), dtype=h5py.string_dtype())
    return target


def weights_of_nothing(model: Any, file: h5py.File) -> None:
    layer = model["fitting"]["nets"]["networks"][0]["layers"][0]
    layer |= {"resnet": True, "@variables": {"w": "/none", "b": None, "idt": None}}
    file.create_dataset("none", data=np.zeros((0, 0)))


def no_slots(model: Any, file: h5py.File) -> None:
    model["descriptor"] |= {"sel": [0, 0], "@variables": {"davg": "/none", "dstd": "/none"}}
    file.create_dataset("none", data=np.zeros((2, 0, 4)))


def narrow_network(model: Any, file: h5py.File) -> None:
    layer = model["descriptor"]["embeddings"]["networks"][0]["layers"][-1]
    weights = file[layer["@variables"]["w"]][()]
    layer |= {"resnet": False, "@variables": {"w": "/narrow", "b": None, "idt": None}}
    file.create_dataset("narrow", data=weights[:, :1])


def wide_axis(model: Any, file: h5py.File) -> None:
    model["descriptor"]["axis_neuron"] = 1000


def still_table(model: Any, file: h5py.File) -> None:
    place = model["descriptor"]["compress"]["@variables"]["compress_info"][0]
    file[place][3] = 0.0


def endless_table(model: Any, file: h5py.File) -> None:
    place = model["descriptor"]["compress"]["@variables"]["compress_info"][0]
    file[place][:5] = [-1e300, 1e300, 1e301, 1e-300, 1e-300]


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("se_e2_a_oneside", weights_of_nothing, "without weights"),
        ("se_e2_a_oneside", no_slots, "no neighbours"),
        ("se_e2_a_oneside", narrow_network, "those before it have"),
        ("se_e2_a_oneside", wide_axis, "axis_neuron is 1000"),
        ("compress_sea", still_table, "steps of a table"),
        ("compress_sea", endless_table, "steps of a table"),
    ],
)
def test_sizes_that_do_not_fit(
    calls: ctypes.CDLL, tmp_path: Path, name: str, change: Callable[[Any, h5py.File], None], expected: str
) -> None:
    with pytest.raises(RuntimeError, match=expected):
        Native(calls, changed(tmp_path / "changed.dp", name, change))


@pytest.mark.parametrize(
    ("name", "part", "value", "expected"),
    [
        ("pair_exclude_sea", "pair_exclude_types", [[40_000_000, 3]], "types 40000000 and 3"),
        ("pair_exclude_sea", "pair_exclude_types", [[-5, 0]], "types -5 and 0"),
        ("ener_default_fparam", "default_fparam", [1.0], "1 default values of 2 frame parameters"),
    ],
)
def test_records_that_make_no_sense(tmp_path: Path, name: str, part: str, value: Any, expected: str) -> None:
    def change(model: Any, file: h5py.File) -> None:
        (model if part in model else model["fitting"])[part] = value

    pot = Pot(changed(tmp_path / "changed.dp", name, change))
    assert f"changed.dp is damaged: it has {'an excluded pair of ' if 'types' in part else ''}{expected}" in pot.message
    pot.close()


def test_damaged_files_start_no_python(tmp_path: Path) -> None:
    (tmp_path / "cut.dp").write_bytes((GOLDEN / "dpa2_small.dp").read_bytes()[:5000])
    pot = Pot(tmp_path / "cut.dp")
    assert "cut off" in pot.message
    assert "python:" not in pot.message
    pot.close()


MEMORY = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
from capi import GOLDEN, Pot

def resident(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key))

pot = Pot(GOLDEN / "se_e2_a_oneside.dp")
random, spacing = np.random.default_rng(0), 2.2
for side in (10, 36):
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)
    coord = spacing * (grid + random.uniform(-0.2, 0.2, grid.shape))
    types, box = np.arange(side**3) % 2, np.eye(3) * spacing * side
    pot(coord[:100], types[:100], None)
    before = resident("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    pot(coord, types, box)
    assert pot.message == ""
    print(side**3, resident("VmHWM") - before)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peaks of memory are not known")
def test_memory_does_not_grow_with_neighbors() -> None:
    """Lists of neighbours and their vectors would be kilobytes for each atom; arrays of the caller are in it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEMORY.format(here=str(HERE))]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    (few, small), (many, large) = ([int(x) for x in line.split()] for line in done.stdout.splitlines()[1:])
    assert (large - small) * 1024 / (many - few) < 600
