"""LMDB databases."""

import sys

import lmdb
import msgpack
import numpy as np
import pytest

from dp_core.data import Label, Sampler, open_systems
from dp_core.errors import DataError

ENERGY, FORCE = Label("energy", 1), Label("force", 3, atomic=True)
SIZES = [3, 3, 2, 4]


def packed(array):
    array = np.asarray(array)
    return {"type": str(array.dtype), "shape": list(array.shape), "data": array.tobytes()}


def frames():
    rng = np.random.default_rng(3)
    for k, natoms in enumerate(SIZES):
        yield {
            "atom_types": packed(np.arange(natoms, dtype=np.int32) % 2),
            "cells": packed(np.eye(3) * (5 if k != 2 else 0)),
            "coords": packed(rng.random((natoms, 3))),
            "energies": packed(np.float64(-k)),
            "forces": packed(rng.random((natoms, 3)).astype(np.float32)),
            "atom_numbs": [1, 2],
            "atomic_dipole": packed(np.full((natoms, 3), k, dtype=np.float64)),
        }


def write(path, entries, subdir=True, **metadata):
    metadata = {"nframes": len(entries), "type_map": ["O", "H"], "frame_nlocs": SIZES} | metadata
    metadata = {key: value for key, value in metadata.items() if value is not None}
    with lmdb.open(str(path), map_size=1 << 20, subdir=subdir) as env, env.begin(write=True) as transaction:
        for k, entry in enumerate(entries):
            key = format(k, metadata.get("frame_idx_fmt", "012d")).encode()
            transaction.put(key, entry if isinstance(entry, bytes) else msgpack.packb(entry))
        transaction.put(b"__metadata__", msgpack.packb(metadata))
    return path


def only(path, type_map=("H", "O")):
    (system,) = open_systems(str(path), type_map)
    return system


def test_labels_that_count_in_no_frame_are_not_there(tmp_path):
    entries = list(frames())
    for entry in entries:
        entry["find_energies"] = entry["find_forces"] = 0.0
    entries[3]["find_forces"] = packed(np.float32(1.0))
    system = only(write(tmp_path / "data.lmdb", entries))
    assert system.available() == {"force", "atom_dipole"}
    assert [frame.found for frame in system.frames([0, 3], [ENERGY, FORCE])] == [set(), {"force"}]


@pytest.mark.parametrize("subdir", [True, False])
@pytest.mark.parametrize("nlocs", [SIZES, None])
def test_frames_of_any_size(tmp_path, subdir, nlocs):
    path = write(tmp_path / "data.lmdb", list(frames()), subdir=subdir, frame_nlocs=nlocs)
    system = only(path)
    assert (system.nframes, system.natoms, system.periodic, system.mixed) == (4, 4, True, True)
    assert system.sizes.tolist() == SIZES
    assert system.elements == ("O", "H")
    first, third = system.frames([0, 2], [ENERGY, FORCE, Label("atomic_dipole", 3, atomic=True), Label("virial", 9)])
    assert first.types.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(first.box, 5 * np.eye(3))
    assert third.box is None
    assert third.labels["energy"].tolist() == [-2]
    assert third.labels["atom_dipole"].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert first.labels["force"].shape == (3, 3)
    assert first.found == {"energy", "force", "atom_dipole"}
    assert np.bincount(system.types_of(3)).tolist() == [2, 2]


def test_found_flags_byte_keys_and_flat_arrays(tmp_path):
    entries = list(frames())
    entries[0]["find_forces"] = 0.0
    entries[1] = {key.encode(): value for key, value in entries[1].items()}
    del entries[1][b"coords"]["shape"]
    entries[2] |= {"energies": -7.5}
    system = only(write(tmp_path / "data.lmdb", entries, frame_idx_fmt="06d"))
    assert system.frame(0, [FORCE]).found == frozenset()
    assert system.frame(1, [FORCE]).coord.shape == (3, 3)
    assert system.frame(2, [ENERGY]).labels["energy"].tolist() == [-7.5]


def test_a_folder_with_data_mdb_is_recognised(tmp_path):
    path = write(tmp_path / "database", list(frames()))
    assert only(path).nframes == only(path / "data.mdb").nframes == 4


def test_blocks_of_probability_follow_the_origins(tmp_path):
    path = write(tmp_path / "data.lmdb", list(frames()), frame_system_ids=[0, 0, 1, 1])
    sampler = Sampler([only(path)], 1, auto_prob="prob_sys_size;0:1:0.9;1:2:0.1", seed=5)
    drawn = [sampler.next()[0][1] for _ in range(400)]
    assert 330 < sum(i < 2 for i in drawn) < 390
    assert set(drawn) == {0, 1, 2, 3}


def test_errors(tmp_path):
    path = write(tmp_path / "a.lmdb", [*list(frames())[:3], b"\xc1 not msgpack"], frame_nlocs=SIZES)
    system = only(path)
    with pytest.raises(DataError, match=r"a.lmdb, frame 3: the entry is damaged"):
        system.frame(3)
    with pytest.raises(DataError, match=r"force has 9 numbers, expected 4×3=12 for 3 atoms"):
        system.frame(0, [Label("force", 4, atomic=True)])
    with pytest.raises(DataError, match="frame 000000000000 has no virial, which is required"):
        system.frame(0, [Label("virial", 9, required=True)])
    with pytest.raises(DataError, match="frame_nlocs in __metadata__ has 2 entries, expected 4"):
        only(write(tmp_path / "b.lmdb", list(frames()), frame_nlocs=[1, 2]))
    with pytest.raises(DataError, match="contains H, which the model does not know"):
        only(write(tmp_path / "c.lmdb", list(frames())), ["O", "C"])
    with pytest.raises(DataError, match="type_map in __metadata__ names 1 types"):
        only(write(tmp_path / "d.lmdb", list(frames()), type_map=["O"]), ["O"]).frame(0)
    (tmp_path / "e.lmdb").mkdir()
    (tmp_path / "e.lmdb/data.mdb").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match=r"e.lmdb cannot be read as an LMDB database"):
        only(tmp_path / "e.lmdb")
    with pytest.raises(DataError, match=r"f.lmdb does not exist"):
        only(tmp_path / "f.lmdb")


def test_without_lmdb_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path / "a.lmdb", list(frames()))
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(DataError, match=r"needs the package lmdb.*pip install 'dp-core\[lmdb\]'"):
        only(path)
