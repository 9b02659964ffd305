"""Tables of neighbourhoods are those of dp-core, for any cell; sums do not depend on how rows are cut into chunks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core.batching import build_batch
from dp_core.neighbors import NeighborSpec, frame_neighbors

sys.path.insert(0, str(Path(__file__).parent))
from capi import Pot, library, neighbor_list

RCUT = 3.0
CELLS: dict[str, Any] = {
    "open": None,
    "cube": np.eye(3) * 9.0,
    "small": np.diag([2.1, 3.4, 2.6]),  # several images of every atom
    "skew": np.array([[4.0, 0.0, 0.0], [3.5, 4.0, 0.0], [-3.0, 3.8, 4.2]]),
    "needle": np.array([[30.0, 1.0, 0.0], [0.3, 2.0, 0.1], [0.0, 0.4, 2.5]]),
    "left": np.array([[0.0, 5.0, 0.0], [6.0, 0.0, 0.5], [0.0, 0.0, 5.5]]),  # a left-handed one
}
SPECS = {
    "one block": {"sel": (400,), "by_type": False},
    "by type": {"sel": (200, 200, 200), "by_type": True},
    "few": {"sel": (9,), "by_type": False},
    "few by type": {"sel": (4, 3, 5), "by_type": True},
    "types alone": {"sel": (4, 3, 5), "by_type": True, "types_alone": True},
    "excluded": {"sel": (6, 6, 6), "by_type": True, "exclude": frozenset({(0, 1), (2, 2)})},
    "shells": {"sel": (300,), "by_type": False, "shells": ((1.2, 3), (2.2, 12))},
    "marks": {"sel": (300, 300, 300), "by_type": True, "marks_first": True},
    "split": {"sel": (20,), "by_type": False, "split": True},
}


def spec_of(name: str) -> NeighborSpec:
    return NeighborSpec(RCUT, ntypes=3, **SPECS[name])


def write_model(
    path: Path, spec: NeighborSpec, *, rows: int = 1000, rounding: int = 1, tables: Path | str = "-", messages: int = 0
) -> Path:
    """What programs/pair_engine.cpp reads."""
    shells = [x for shell in spec.shells for x in shell]
    pairs = [x for pair in sorted(spec.exclude) for x in pair]
    words = [spec.rcut, int(spec.by_type), int(spec.types_alone), int(spec.marks_first), spec.blocks, 3, *spec.sel]
    words += [len(spec.shells), *shells, len(spec.exclude), *pairs, rows, rounding, tables, messages]
    path.write_text(" ".join(map(str, words)))
    return path


def frame(cell: np.ndarray | None, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Atoms, some far outside of the cell, and their types, two of them virtual."""
    random = np.random.default_rng(seed)
    n = 14 if cell is not None and abs(np.linalg.det(cell)) < 50 else 60
    coord = random.uniform(0, 1, (n, 3)) @ (np.eye(3) * 7.0 if cell is None else cell)
    if cell is not None:
        coord += random.integers(-2, 3, (n, 3)) @ cell
    types = random.integers(0, 3, n).astype(np.int32)
    types[[3, 7]] = -1, 5
    return coord, types


@pytest.fixture(autouse=True)
def _engine(pair_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DP_BACKEND_PLUGIN_PATH", str(pair_engine))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def read_table(path: Path, ntypes_blocks: int) -> Iterator[np.ndarray]:
    """Row blocks, slot blocks, types, neighbour types, vectors of the only table."""
    data = path.read_bytes()
    numbers = np.frombuffer(data, np.int64)
    rows = numbers[1 : 1 + numbers[0]]
    at = 1 + int(numbers[0])
    slots = numbers[at + 1 : at + 1 + numbers[at]]
    at += 1 + int(numbers[at])
    n, k = int(rows.sum()), int(slots.sum())
    yield rows
    yield slots
    yield numbers[at : at + n]
    yield numbers[at + n : at + n + n * k].reshape(n, k)
    yield np.frombuffer(data, np.float64)[at + n + n * k :].reshape(n, k, 3)


def ordered(vectors: np.ndarray) -> np.ndarray:
    """The vectors of each row in an order that does not depend on that of vectors of the same length."""
    digits = np.round(vectors, 9) + 0.0
    keys = np.concatenate([digits, np.round(np.linalg.norm(vectors, axis=-1, keepdims=True), 9)], axis=-1)
    return np.stack([row[np.lexsort(key.T)] for row, key in zip(vectors, keys, strict=True)])


@pytest.mark.parametrize("cell_name", CELLS)
@pytest.mark.parametrize("spec_name", SPECS)
def test_tables_are_those_of_dp_core(spec_name: str, cell_name: str, tmp_path: Path) -> None:
    spec, cell = spec_of(spec_name), CELLS[cell_name]
    coord, types = frame(cell)
    known = np.where(types < 3, types, -1)
    rounding = 4 if cell_name == "cube" else 1

    def rounded(count: int) -> int:
        return -(-count // rounding) * rounding

    expected = build_batch(
        [frame_neighbors(coord, cell, known, spec)], spec, round_rows=rounded, round_slots=rounded
    ).table
    tables = tmp_path / "tables"
    pot = Pot(write_model(tmp_path / "model.pth", spec, rounding=rounding, tables=tables))
    assert pot.message == ""
    pot(coord, types, cell)
    assert pot.message == ""
    pot.close()
    rows, slots, row_types, neighbor_types, vectors = read_table(tables, spec.blocks)
    assert tuple(rows) == expected.row_counts
    assert tuple(slots) == expected.slot_counts
    np.testing.assert_array_equal(row_types, expected.types)
    np.testing.assert_array_equal(neighbor_types, expected.neighbor_types)
    distances = [np.linalg.norm(v, axis=-1) for v in (vectors, expected.vectors)]
    np.testing.assert_allclose(*distances, rtol=0, atol=1e-12)
    if sum(spec.sel) >= 300:  # which of two at the same distance counts is left to chance
        np.testing.assert_allclose(*(ordered(v) for v in (vectors, expected.vectors)), rtol=0, atol=1e-12)


def energies(coord: np.ndarray, cell: np.ndarray | None, types: np.ndarray, spec: NeighborSpec) -> float:
    """The energy of programs/pair_engine.cpp from the table of dp-core."""
    table = build_batch([frame_neighbors(coord, cell, types, spec)], spec).table
    r = np.linalg.norm(table.vectors, axis=-1)
    t = table.neighbor_types
    scale = np.where(t < 0, 0.0, 1.0 + table.types[:, None] + 2.0 * t)
    return float((scale * (r**2 - 0.1 * t * r)).sum())


@pytest.mark.parametrize("cell_name", ["open", "small", "skew"])
@pytest.mark.parametrize(("rows", "threads"), [(1000, 1), (5, 1), (7, 3)])
def test_sums_do_not_depend_on_chunks(
    cell_name: str, rows: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    cell, spec = CELLS[cell_name], spec_of("by type")
    coord, types = frame(cell)
    known = np.where(types < 3, types, -1)
    pot = Pot(write_model(tmp_path / "model.pth", spec, rows=rows))
    found = pot(coord, types, cell)
    again = pot(coord, types, cell)
    pot.close()
    for name, values in found.items():
        np.testing.assert_array_equal(values, again[name])
    assert found["energy"][0] == pytest.approx(energies(coord, cell, known, spec), rel=1e-12)
    assert found["atom_energy"].sum() == pytest.approx(found["energy"][0], rel=1e-12)
    np.testing.assert_allclose(found["atom_virial"].sum(axis=1), found["virial"], rtol=1e-10)
    step = 1e-5
    for place in ((0, 0), (5, 2)):
        moved = [coord.copy(), coord.copy()]
        moved[0][place] -= step
        moved[1][place] += step
        low, high = (energies(x, cell, known, spec_of("one block")) for x in moved)
        inside = np.linalg.norm(found["force"][0][place[0]])
        if cell_name == "open":  # no neighbours of other atoms cross the cutoff by so small a step
            assert found["force"][0][place] == pytest.approx(-(high - low) / (2 * step), abs=1e-5 * max(1.0, inside))
    np.testing.assert_allclose(found["force"].sum(axis=1), 0.0, atol=1e-9)


@pytest.mark.parametrize(("threads", "expected"), [(2, [13, 15, 15, 15]), (3, [18, 20, 20])])
def test_threads_have_equally_many_rows(
    threads: int, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """58 atoms in chunks of at most 25."""
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    coord, types = frame(None)
    tables = tmp_path / "tables"
    pot = Pot(write_model(tmp_path / "model.pth", spec_of("one block"), rows=25, tables=tables))
    pot(coord, types, None)
    pot.close()
    numbers, found, at = np.frombuffer(tables.read_bytes(), np.int64), [], 0
    while at < len(numbers):  # one block of rows, one of slots, and of each row a type, and of each slot four numbers
        rows, slots = int(numbers[at + 1]), int(numbers[at + 3])
        found.append(rows)
        at += 4 + rows * (1 + 4 * slots)
    assert sorted(found) == expected


def test_neighbors_of_the_caller_are_as_good_as_those_found(tmp_path: Path) -> None:
    spec, cell = spec_of("few by type"), CELLS["skew"]
    coord, types = frame(cell)
    pot = Pot(write_model(tmp_path / "model.pth", spec, rows=4))
    direct = pot(coord, types, cell)
    nlist = neighbor_list(coord, cell, types, RCUT + 0.3)
    listed = pot(nlist.coord, nlist.types, cell, nlist=nlist)
    pot.close()
    library().DP_DeleteNlist(nlist.pointer)
    force = np.zeros_like(coord)
    np.add.at(force, nlist.owner, listed["force"][0])
    np.testing.assert_allclose(force, direct["force"][0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(listed["energy"], direct["energy"], rtol=1e-12)
    np.testing.assert_allclose(listed["virial"], direct["virial"], rtol=0, atol=1e-8)


def test_no_atoms_and_only_virtual_ones(tmp_path: Path) -> None:
    pot = Pot(write_model(tmp_path / "model.pth", spec_of("one block")))
    for types in (np.zeros(0, np.int32), np.full(4, -1, np.int32)):
        found = pot(np.full((len(types), 3), np.nan), types, None)
        assert pot.message == ""
        assert not found["energy"].any()
        assert not found["force"].any()
    pot.close()


def test_units_that_must_be_wrong(tmp_path: Path) -> None:
    pot = Pot(write_model(tmp_path / "model.pth", spec_of("one block")))
    random = np.random.default_rng(0)
    coord = random.uniform(0, 0.5, (50_000, 3))
    pot(coord, np.zeros(50_000, np.int32), None)
    assert "Are the coordinates in nm?" in pot.message
    pot(np.array([[0.0, 0, 0], [1e300, 0, 0], [-1e300, 0, 0]]), np.zeros(3, np.int32), None)
    assert "Atom 1 has the coordinate 1e+300 Å" in pot.message
    pot(np.array([[1e300, 1e300, 0]]), np.zeros(1, np.int32), CELLS["skew"])
    assert "a million cells away" in pot.message
    pot(np.zeros((1, 3)), np.zeros(1, np.int32), np.diag([1e6, 1e6, 1e-9]))
    assert "too thin for a cutoff of 3 Å" in pot.message
    found = pot(np.zeros((1, 3)), np.zeros(1, np.int32), np.diag([1e7, 1e7, 2.0]))  # itself on both sides
    assert pot.message == ""
    assert found["energy"][0] == pytest.approx(2 * 2.0**2)
    pot.close()


@pytest.mark.parametrize("values", ["9999999 3", "-5 0"])
def test_record_that_makes_no_sense(values: str, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.pth", spec_of("excluded"))
    path.write_text(path.read_text().replace(" 2 0 1 2 2 ", f" 2 0 1 {values} "))
    pot = Pot(path)
    assert f"an excluded pair of types {values.replace(' ', ' and ')}, and only 3 types" in pot.message
    pot.close()


@pytest.mark.parametrize("blocks", [0, 2])
def test_fewer_blocks_than_types(blocks: int, tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.pth", spec_of("one block"))
    words = path.read_text().split()
    words[4] = str(blocks)
    path.write_text(" ".join(words))
    pot = Pot(path)
    assert f"{blocks} blocks for 3 types" in pot.message
    pot.close()


def test_damaged_file_of_an_engine(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_text("3.0 1")
    pot = Pot(tmp_path / "model.pth")
    assert "ends too early" in pot.message
    pot.close()


def test_one_thread_does_the_work_of_those_that_cannot_be_had(without_threads: Callable[[str, str], None]) -> None:
    without_threads(__file__, "test_neighbors_of_the_caller")
