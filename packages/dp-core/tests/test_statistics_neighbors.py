"""Counting neighbours, and sel from the counts."""

import logging
from pathlib import Path

import numpy as np
import pytest

from dp_core.data import open_systems
from dp_core.errors import ConfigError, DataError
from dp_core.neighbors import NeighborSpec, frame_neighbors
from dp_core.statistics import NeighborStatistics, auto_sel, counted_sel, neighbor_statistics, whole

DATA = Path(__file__).parents[3] / "tests" / "golden" / "stats" / "data"


def opened(*names, type_map=("C", "H", "O")):
    return open_systems([str(DATA / n) for n in names], list(type_map))


def write_system(folder, coord, types, box=None):
    (folder / "set.000").mkdir(parents=True)
    np.save(folder / "set.000" / "coord.npy", np.reshape(coord, (len(coord), -1)))
    np.savetxt(folder / "type.raw", types, fmt="%d")
    (folder / "type_map.raw").write_text("C\nH\nO\n")
    if box is None:
        (folder / "nopbc").touch()
    else:
        np.save(folder / "set.000" / "box.npy", np.tile(np.reshape(box, (1, 9)), (len(coord), 1)))
    return open_systems(str(folder), ["C", "H", "O"])


def test_molecules():
    """The numbers that DeePMD-kit prints for these data."""
    sample = whole(opened("mol_C1H4O2", "mol_C3H3O4", "mol_C4H3O1"))
    seen = []
    found = neighbor_statistics(sample, 4.5, 3, progress=lambda *a: seen.append(a))
    assert found.most == (3, 4, 4)
    assert found.min_distance == pytest.approx(0.871746, abs=1e-6)
    assert seen[-1] == (15, 15)
    assert neighbor_statistics(sample, 4.5, 3, mixed=True).most == (9,)


def test_periodic_images_agree_with_the_neighbour_lists():
    systems = opened("water", type_map=("O", "H"))
    found = neighbor_statistics(whole(systems), 6.0, 2)
    spec = NeighborSpec(6.0, (10**6, 10**6), True, 2)
    lists = [frame_neighbors(f.coord, f.box, f.types, spec) for f in whole(systems).frames()]
    assert found.most == tuple(np.max([n.wanted for n in lists], axis=0)[:2])
    assert found.min_distance == pytest.approx(min(n.nearest for n in lists))


def test_small_cell(tmp_path):
    """One atom in a cell of 2 Å sees its own images: 6 at 2 Å, 12 at 2√2 Å, none beyond."""
    systems = write_system(tmp_path / "x", [[[0.3, 0.2, 0.1]]], [0], np.eye(3) * 2)
    found = neighbor_statistics(whole(systems), 2.9, 3)
    assert found == NeighborStatistics(pytest.approx(2.0), (18, 0, 0), 2.9)


def test_the_cutoff_itself_is_outside(tmp_path):
    systems = write_system(tmp_path / "x", [[[0.0, 0, 0], [0.0, 0, 2.0]]], [0, 1])
    assert neighbor_statistics(whole(systems), 2.0, 3).most == (0, 0, 0)
    assert neighbor_statistics(whole(systems), 2.001, 3).most == (1, 1, 0)


def test_lonely_atoms(tmp_path):
    systems = write_system(tmp_path / "x", [[[0.0, 0, 0], [0.0, 0, 9.0]]], [0, 1])
    assert neighbor_statistics(whole(systems), 3.0, 3) == NeighborStatistics(3.0, (0, 0, 0), 3.0)


def test_overlapping_atoms_are_named(tmp_path):
    coord = np.zeros((70, 3, 3))
    coord[:, 1, 0], coord[:, 2, 1] = 1.0, 1.0
    coord[66, 2] = coord[66, 1]
    systems = write_system(tmp_path / "x", coord, [0, 1, 2])
    with pytest.raises(DataError, match=r"frame 66.*atoms 1 and 2 are only 0 Å apart"):
        neighbor_statistics(whole(systems), 3.0, 3)


@pytest.mark.parametrize(
    ("text", "most", "sel"),
    [
        ("auto", [38, 72], [44, 80]),
        ("auto:1.5", [38, 72], [60, 108]),
        ("auto:1", [38, 72, 0], [40, 72, 0]),
        ("auto:1.1", [9], [12]),
    ],
)
def test_automatic_sel(text, most, sel):
    assert auto_sel(text, most) == sel


@pytest.mark.parametrize("text", ["", "auto:", "auto:x", "automatic", "auto:0.5", "auto:-1"])
def test_unknown_words_for_sel(text):
    with pytest.raises(ConfigError, match="auto:factor"):
        auto_sel(text, [1])


def test_numbers_for_sel(caplog):
    found = NeighborStatistics(0.9, (38, 72), 6.0)
    assert counted_sel("auto", found) == [44, 80]
    enough, few = [38, 72], [40, 60]
    with caplog.at_level(logging.WARNING):
        assert counted_sel(enough, found) is enough
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert counted_sel(few, found, "descriptor/list/1/sel") is few
    assert "descriptor/list/1/sel is [40, 60]" in caplog.text
    assert "[38, 72]" in caplog.text
    assert "[44, 80]" in caplog.text
