"""Systems on disk: the deepmd/npy layout, mixed_type, HDF5, searching, type names, and every way they can be broken."""

import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from dp_core.data import Frame, Label, collect_type_map, convert_to_npy, open_systems, write_npy_system
from dp_core.data.store import NpyArray
from dp_core.errors import DataError

ENERGY = Label("energy", 1)
FORCE = Label("force", 3, atomic=True)


def make(path, *, nframes=4, types=(0, 1, 1), names=("O", "H"), periodic=True, sets=1, dtype=np.float64, **arrays):
    """A system whose numbers tell where they come from; extra arrays by name, one per set."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "type.raw").write_text(" ".join(map(str, types)))
    if names:
        (path / "type_map.raw").write_text("\n".join(names))
    if not periodic:
        (path / "nopbc").touch()
    natoms = len(types)
    for k in range(sets):
        folder = path / f"set.{k:03d}"
        folder.mkdir()
        start = k * nframes
        frame = np.arange(start, start + nframes)[:, None]
        np.save(folder / "coord.npy", (frame + np.arange(3 * natoms) / 100).astype(dtype))
        if periodic:
            np.save(folder / "box.npy", np.tile(10 * np.eye(3).ravel(), (nframes, 1)).astype(dtype))
        np.save(folder / "energy.npy", (-frame[:, 0]).astype(dtype))
        np.save(folder / "force.npy", (frame - np.arange(3 * natoms) / 100).astype(dtype))
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
    return path


def only(path, type_map=("O", "H")):
    (system,) = open_systems(str(path), None if type_map is None else list(type_map))
    return system


class TestOrdinary:
    def test_frame_has_shapes_values_and_is_read_only(self, tmp_path):
        system = only(make(tmp_path / "s", sets=2))
        assert (system.nframes, system.natoms, system.mixed, system.periodic) == (8, 3, False, True)
        frame = system.frame(6, [ENERGY, FORCE])
        assert frame.coord.shape == frame.labels["force"].shape == (3, 3)
        assert frame.coord[1, 2] == 6.05
        assert frame.labels["force"][2, 0] == 5.94
        assert frame.labels["energy"].tolist() == [-6.0]
        np.testing.assert_array_equal(frame.box, 10 * np.eye(3))
        assert frame.types.tolist() == [0, 1, 1]
        assert frame.types.dtype == np.int64
        assert frame.found == {"energy", "force"}
        for array in (frame.coord, frame.box, frame.types, *frame.labels.values()):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0

    def test_float32_and_column_major_are_read_as_the_same_numbers(self, tmp_path):
        system = make(tmp_path / "s", dtype=np.float32)
        force = np.load(system / "set.000/force.npy")
        np.save(system / "set.000/force.npy", np.asfortranarray(force))
        frame = only(system).frame(2, [FORCE])
        assert frame.coord.dtype == np.float64
        np.testing.assert_array_equal(frame.labels["force"].ravel(), force[2])

    def test_any_shape_of_the_right_size_is_read(self, tmp_path):
        path = make(
            tmp_path / "s",
            aparam=np.arange(24.0).reshape(1, 24),  # all frames in one row
            hessian=np.arange(4 * 81.0).reshape(4, 3, 3, 3, 3),
            energy=np.arange(4.0)[:, None],
        )
        labels = [Label("aparam", 2, atomic=True, required=True), Label("hessian", 9, atomic=True), ENERGY]
        frame = only(path).frame(3, labels)
        assert frame.labels["aparam"].tolist() == [[18, 19], [20, 21], [22, 23]]
        assert frame.labels["hessian"].shape == (81,)
        assert frame.labels["hessian"][0] == 243
        assert frame.labels["energy"].tolist() == [3]

    @pytest.mark.parametrize("shape", [(9,), (3, 3), (1, 9), (1, 3, 3)])
    def test_a_single_frame_needs_no_frame_axis(self, tmp_path, shape):
        path = make(tmp_path / "s", nframes=1)
        for name in ("coord", "force", "box"):
            array = np.load(path / f"set.000/{name}.npy")
            np.save(path / f"set.000/{name}.npy", array.reshape(shape))
        system = only(path)
        assert system.nframes == 1
        assert system.frame(0, [FORCE]).labels["force"].shape == (3, 3)

    def test_open_boundaries_ignore_a_box(self, tmp_path):
        path = make(tmp_path / "s")
        (path / "nopbc").touch()
        system = only(path)
        assert not system.periodic
        assert system.frame(0).box is None

    def test_atomic_names_and_repeats(self, tmp_path):
        path = make(
            tmp_path / "s", atomic_dipole=np.arange(36.0).reshape(4, 9), atom_pref=np.arange(12.0).reshape(4, 3)
        )
        dipole, pref = Label("atomic_dipole", 3, atomic=True), Label("atom_pref", 1, atomic=True, repeat=3)
        frame = only(path).frame(1, [dipole, pref])
        assert frame.labels["atom_dipole"][0].tolist() == [9, 10, 11]
        assert frame.labels["atom_pref"].tolist() == [[3, 3, 3], [4, 4, 4], [5, 5, 5]]
        assert frame.found == {"atom_dipole", "atom_pref"}

    def test_labels_of_selected_atoms_only(self, tmp_path):
        path = make(tmp_path / "s", atomic_dipole=np.arange(12.0).reshape(4, 3))
        label = Label("atomic_dipole", 3, atomic=True, selected=(0,))
        assert only(path).frame(1, [label]).labels["atom_dipole"].tolist() == [[3, 4, 5], [0, 0, 0], [0, 0, 0]]

    def test_absent_labels_are_filled_and_judged_set_by_set(self, tmp_path):
        path = make(tmp_path / "s", sets=2)
        (path / "set.001/force.npy").unlink()
        labels = [
            FORCE,
            Label("fparam", 2, default=(1.0, 2.0), counts_when_absent=True),
            Label("atom_pref", 1, atomic=True, default=1.0, repeat=3),
        ]
        first, second = only(path).frames([0, 4], labels)
        assert first.found == {"force", "fparam"}
        assert second.found == {"fparam"}
        assert not second.labels["force"].any()
        assert second.labels["fparam"].tolist() == [1, 2]
        assert second.labels["atom_pref"].tolist() == np.ones((3, 3)).tolist()

    def test_types_are_renumbered_by_name(self, tmp_path):
        system = only(make(tmp_path / "s"), ("H", "C", "O"))
        assert system.frame(0).types.tolist() == [2, 0, 0]
        assert np.bincount(system.types_of(0)).tolist() == [2, 0, 1]
        assert system.elements == ("O", "H")

    def test_names_that_no_atom_has_need_not_be_known(self, tmp_path):
        assert only(make(tmp_path / "s", names=("O", "H", "Xe"))).elements == ("O", "H")

    def test_opening_reads_no_arrays(self, tmp_path):
        path = make(tmp_path / "s", virial=np.zeros((4, 9)))
        for name in ("energy", "force", "virial", "box"):
            (path / f"set.000/{name}.npy").write_bytes(b"not read")
        assert only(path).nframes == 4


class TestTypeMap:
    def test_union_in_order_of_first_appearance(self, tmp_path):
        make(tmp_path / "a", names=("O", "H"))
        make(tmp_path / "b", names=("H", "C"))
        systems = open_systems([str(tmp_path / "a"), str(tmp_path / "b")])
        assert collect_type_map(systems) == ["O", "H", "C"]
        assert [s.index for s in systems] == [0, 1]
        assert systems[1].frame(0).types.tolist() == [1, 2, 2]

    def test_numbers_where_there_are_no_names(self, tmp_path):
        system = only(make(tmp_path / "s", names=None), None)
        assert system.type_map == ("0", "1")
        assert system.elements == ("0", "1")
        assert only(tmp_path / "s", ("Ti", "O")).frame(0).types.tolist() == [0, 1, 1]

    def test_names_and_numbers_do_not_go_together(self, tmp_path):
        make(tmp_path / "a")
        make(tmp_path / "b", names=None)
        with pytest.raises(DataError, match=r"b has no type names while .*a has.*type_map.raw"):
            open_systems(str(tmp_path))


class TestMixedType:
    TYPES = np.array([[0, 1, -1], [1, 1, 0], [2, -1, -1], [0, 0, 0]])

    def make(self, path, types=None, **kwargs):
        types = self.TYPES if types is None else types
        return make(path, types=(0, 0, 0), names=("O", "H", "C"), real_atom_types=types, **kwargs)

    def test_types_per_frame_and_padding(self, tmp_path):
        system = only(self.make(tmp_path / "s"), ("C", "H", "O"))
        assert system.mixed
        assert system.elements == ("O", "H", "C")
        first, third = system.frames([0, 2], [ENERGY, FORCE])
        assert first.types.tolist() == [2, 1, -1]
        assert first.natoms == 2
        assert first.coord[1].any()
        assert not first.coord[2].any()
        assert not first.labels["force"][2].any()
        assert third.types.tolist() == [0, -1, -1]
        assert [np.bincount(t[t >= 0], minlength=3).tolist() for t in map(system.types_of, range(3))] == [
            [0, 1, 1],
            [0, 2, 1],
            [1, 0, 0],
        ]

    def test_an_unknown_element_that_occurs_is_an_error(self, tmp_path):
        path = self.make(tmp_path / "s")
        with pytest.raises(DataError, match=r"contains C, which the model does not know. It knows: O, H"):
            only(path, ("O", "H"))
        np.save(path / "set.000/real_atom_types.npy", np.abs(self.TYPES) % 2)
        assert only(path, ("O", "H")).nframes == 4

    def test_type_map_is_needed(self, tmp_path):
        path = self.make(tmp_path / "s")
        (path / "type_map.raw").unlink()
        with pytest.raises(DataError, match=r"real_atom_types.npy but no type_map.raw"):
            only(path)

    def test_all_sets_or_none(self, tmp_path):
        path = self.make(tmp_path / "s", sets=2)
        (path / "set.001/real_atom_types.npy").unlink()
        with pytest.raises(DataError, match=r"set.000 has real_atom_types.npy but set.001 has not"):
            only(path)

    def test_not_together_with_ordinary_systems(self, tmp_path):
        self.make(tmp_path / "a")
        make(tmp_path / "b")
        with pytest.raises(DataError, match=r"a is in mixed_type format .* and .*b is not"):
            open_systems(str(tmp_path))

    def test_types_out_of_range(self, tmp_path):
        path = self.make(tmp_path / "s", types=self.TYPES + 1)
        with pytest.raises(DataError, match=r"s, set.000, frame 2: .*from 0 to 3, expected whole numbers from 0 to 2"):
            only(path, ("O", "H", "C")).frame(2)
        with pytest.raises(DataError, match=r"s, set.000, frame 2: .*from 0 to 3, expected whole numbers from 0 to 2"):
            only(path, ("O", "H", "C")).used_types()

    @pytest.mark.parametrize(("together", "reads"), [(3, 8), (8, 4), (1000, 2)])
    def test_used_types_are_read_many_frames_at_once(self, tmp_path, monkeypatch, together, reads):
        system = only(self.make(tmp_path / "s", sets=2), ("O", "H", "C"))
        calls, read = [], NpyArray.read
        monkeypatch.setattr("dp_core.data.npy._TOGETHER", together)
        monkeypatch.setattr(NpyArray, "read", lambda *a: calls.append(a) or read(*a))
        for _ in range(2):
            assert system.used_types().tolist() == [0, 1, 2]
        assert len(calls) == reads


class TestHdf5:
    @pytest.fixture
    def file(self, tmp_path):
        for name, frames in (("a", 3), ("b", 5)):
            make(tmp_path / "dirs" / name, nframes=frames, names=("O", "H"), dtype=np.float32)
        with h5py.File(tmp_path / "data.hdf5", "w") as out:
            for name in ("a", "b"):
                group = out.create_group(f"water/{name}")
                group["type.raw"] = [0, 1, 1]
                group["type_map.raw"] = np.array([b"O", b"H"])
                for array in ("coord", "box", "energy", "force"):
                    group[f"set.000/{array}.npy"] = np.load(tmp_path / f"dirs/{name}/set.000/{array}.npy")
            out["water/b/nopbc"] = 1
            out["water/b/set.000/aparam.npy"] = np.arange(15.0).reshape(1, 15)
        return tmp_path / "data.hdf5"

    def test_a_whole_file_and_its_groups(self, file):
        assert [s.nframes for s in open_systems(str(file))] == [3, 5]
        assert [s.nframes for s in open_systems(f"{file}#/water")] == [3, 5]
        assert [s.nframes for s in open_systems([f"{file}#/water/b", f"{file}#water/a"])] == [5, 3]
        assert [s.nframes for s in open_systems(str(file), patterns=["b"])] == [5]

    def test_frames_equal_those_of_the_folders(self, file):
        for h5, npy in zip(open_systems(str(file)), open_systems(str(file.parent / "dirs")), strict=True):
            for i in range(npy.nframes):
                a, b = h5.frame(i, [ENERGY, FORCE]), npy.frame(i, [ENERGY, FORCE])
                np.testing.assert_array_equal(a.coord, b.coord)
                np.testing.assert_array_equal(a.types, b.types)
                for name in ("energy", "force"):
                    np.testing.assert_array_equal(a.labels[name], b.labels[name])

    def test_nopbc_and_odd_shapes(self, file):
        a, b = open_systems(str(file))
        assert a.frame(0).box is not None
        assert b.frame(0).box is None
        aparam = Label("aparam", 1, atomic=True)
        assert b.frame(4, [aparam]).labels["aparam"].ravel().tolist() == [12, 13, 14]

    def test_errors(self, file, tmp_path):
        with pytest.raises(DataError, match=r"has no group /water/c. It has: /water"):
            open_systems(f"{file}#/water/c")
        with pytest.raises(DataError, match=r"No system in .*#/water/a/set.000: no group of it contains type.raw"):
            open_systems(f"{file}#/water/a/set.000")
        half = tmp_path / "half.hdf5"
        half.write_bytes(file.read_bytes()[:2000])
        with pytest.raises(DataError, match=r"half.hdf5 cannot be read as HDF5.*Copy or write the file again"):
            open_systems(str(half))


class TestSearch:
    def test_sorted_children_then_the_folder_itself(self, tmp_path):
        for name in ("top", "top/b/deep", "top/a"):
            make(tmp_path / name)
        names = [os.path.relpath(s.name, tmp_path) for s in open_systems(str(tmp_path / "top"))]
        assert names == ["top/a", "top/b/deep", "top"]

    def test_links_are_followed_but_not_in_circles(self, tmp_path):
        make(tmp_path / "real/s")
        (tmp_path / "top").mkdir()
        (tmp_path / "top/link").symlink_to(tmp_path / "real")
        (tmp_path / "real/back").symlink_to(tmp_path / "top")
        assert len(open_systems(str(tmp_path / "top"))) == 1

    def test_patterns_without_repetition(self, tmp_path):
        for name in ("a/x1", "a/x2", "b/x1", "b/y"):
            make(tmp_path / name)
        names = [os.path.relpath(s.name, tmp_path) for s in open_systems(str(tmp_path), patterns=["x*", "b/*"])]
        assert names == ["a/x1", "a/x2", "b/x1", "b/y"]
        with pytest.raises(DataError, match=r"No system matching z\* in"):
            open_systems(str(tmp_path), patterns=["z*"])

    def test_relative_to_a_base(self, tmp_path):
        make(tmp_path / "s")
        assert open_systems("s", base=tmp_path)[0].nframes == 4


class TestErrors:
    def test_missing_folder_names_a_near_one(self, tmp_path):
        make(tmp_path / "water")
        with pytest.raises(DataError, match=r"wter does not exist; did you mean .*water\?"):
            open_systems(str(tmp_path / "wter"))

    def test_no_systems(self, tmp_path):
        with pytest.raises(DataError, match=r"neither it nor a folder below contains type.raw"):
            open_systems(str(tmp_path))
        with pytest.raises(DataError, match="No data systems given"):
            open_systems([])

    def test_no_sets(self, tmp_path):
        path = tmp_path / "s"
        path.mkdir()
        (path / "type.raw").write_text("0 1")
        with pytest.raises(DataError, match=r"has no set.\* folder\.$"):
            only(path)
        (path / "coord.raw").touch()
        with pytest.raises(DataError, match=r"only .raw files"):
            only(path)

    @pytest.mark.parametrize("name", ["coord", "force"])
    @pytest.mark.parametrize("keep", [0, 5, 50, 200, -1])
    def test_truncated_npy_at_any_place(self, tmp_path, name, keep):
        path = make(tmp_path / "s")
        file = path / f"set.000/{name}.npy"
        file.write_bytes(file.read_bytes()[:keep])
        with pytest.raises(DataError, match=rf"{name}.npy is (truncated|not a NumPy array file)"):
            only(path).check_labels([FORCE])

    def test_wrong_number_of_atoms_in_words(self, tmp_path):
        path = make(tmp_path / "s", force=np.zeros((4, 6)))
        message = r"s/set.000/force.npy has 6 numbers a frame, expected 3×3=9 for 3 atoms; coord.npy has 4 frames"
        system = only(path)
        with pytest.raises(DataError, match=message):
            system.check_labels([FORCE])
        with pytest.raises(DataError, match=message):
            system.frame(0, [FORCE])

    def test_wrong_number_of_frames_and_wrong_box(self, tmp_path):
        path = make(tmp_path / "s", energy=np.zeros(7))
        with pytest.raises(DataError, match=r"energy.npy has shape \(7,\) for 4 frames, expected 1;"):
            only(path).frame(0, [ENERGY])
        np.save(path / "set.000/box.npy", np.zeros((4, 6)))
        with pytest.raises(DataError, match=r"box.npy has 6 numbers a frame, expected 9"):
            only(path).check_labels([])

    def test_hessian_and_selected_in_words(self, tmp_path):
        path = make(tmp_path / "s", hessian=np.zeros((4, 9)), atom_dipole=np.zeros((4, 5)))
        with pytest.raises(DataError, match=r"expected \(3×3\)²=81 for 3 atoms"):
            only(path).frame(0, [Label("hessian", 9, atomic=True)])
        with pytest.raises(DataError, match=r"expected 3×3=9 for 3 atoms \(or 3 for the selected atoms\)"):
            only(path).frame(0, [Label("atomic_dipole", 3, atomic=True, selected=(0,))])

    def test_sets_with_other_atoms(self, tmp_path):
        path = make(tmp_path / "s", sets=2)
        np.save(path / "set.001/coord.npy", np.zeros((4, 12)))
        with pytest.raises(DataError, match=r"set.001/coord.npy has 12 numbers a frame, expected 3×3=9.*All sets"):
            only(path)

    def test_a_type_raw_of_half_the_atoms_is_not_twice_the_frames(self, tmp_path):
        path = make(tmp_path / "s", types=(0, 1, 1, 0, 1, 1))
        (path / "type.raw").write_text("0 1 1")
        with pytest.raises(DataError, match=r"has 18 numbers a frame, expected 3×3=9 for 3 atoms in type.raw"):
            only(path)

    def test_missing_box(self, tmp_path):
        path = make(tmp_path / "s")
        (path / "set.000/box.npy").unlink()
        with pytest.raises(DataError, match=r"has no box.npy. Add the cells, or put an empty file named nopbc"):
            only(path)

    def test_missing_coord_and_required_label(self, tmp_path):
        path = make(tmp_path / "s")
        with pytest.raises(DataError, match=r"s/set.000 has no atom_dipole.npy or atomic_dipole.npy, .*box.npy, coord"):
            only(path).check_labels([Label("atomic_dipole", 3, atomic=True, required=True)])
        with pytest.raises(DataError, match=r"has no fparam.npy, which is required"):
            only(path).frame(0, [Label("fparam", 1, required=True)])
        (path / "set.000/coord.npy").unlink()
        with pytest.raises(DataError, match=r"set.000 has no coord.npy"):
            only(path)

    def test_unknown_element(self, tmp_path):
        path = make(tmp_path / "s")
        with pytest.raises(DataError, match=r"contains H, which the model does not know. It knows: O, Cu"):
            only(path, ("O", "Cu"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("0 1 2", r"contains type 2, but type_map.raw names only 2 types \(O, H; numbered from 0\)"),
            ("0 1 -1", "contains -1; types are numbered from 0"),
            ("O H H", r"must hold whole numbers.*element names belong in type_map.raw"),
            ("", "is empty"),
        ],
    )
    def test_bad_type_raw(self, tmp_path, text, message):
        path = make(tmp_path / "s")
        (path / "type.raw").write_text(text)
        with pytest.raises(DataError, match=message):
            only(path)

    def test_types_beyond_the_model(self, tmp_path):
        path = make(tmp_path / "s", types=(0, 1, 5), names=None)
        with pytest.raises(DataError, match=r"type 5, but the model has only 2 types \(O, H; numbered from 0\)"):
            only(path)

    def test_repeated_names_and_arrays_of_objects(self, tmp_path):
        path = make(tmp_path / "s", names=("O", "O"))
        with pytest.raises(DataError, match="names an element twice"):
            only(path)
        path = make(tmp_path / "t")
        np.save(path / "set.000/energy.npy", np.array([{}, 1, 2, 3], dtype=object))
        with pytest.raises(DataError, match="holds object, expected real numbers"):
            only(path).frame(0, [ENERGY])

    def test_a_default_of_the_wrong_length(self, tmp_path):
        with pytest.raises(DataError, match="default of fparam has 3 numbers, expected 2"):
            only(make(tmp_path / "s")).frame(0, [Label("fparam", 2, default=(1.0, 2.0, 3.0))])


class TestWriting:
    def frames(self, count=5, box=True):
        rng = np.random.default_rng(1)
        cell = 5 * np.eye(3) if box else None
        types = np.array([0, 1, 1])
        return [
            Frame(0, k, rng.random((3, 3)), cell, types, {"energy": rng.random(1), "force": rng.random((3, 3))},
                  frozenset({"energy", "force"} if k != 3 else {"energy"}))
            for k in range(count)
        ]  # fmt: skip

    @pytest.mark.parametrize("box", [True, False])
    def test_round_trip(self, tmp_path, box):
        frames = self.frames(box=box)
        write_npy_system(tmp_path / "s", frames, ["O", "H"], set_size=3)
        system = only(tmp_path / "s")
        assert system.nframes == 5
        assert system.periodic == box
        for frame in frames:
            back = system.frame(frame.index, [ENERGY, FORCE])
            np.testing.assert_array_equal(back.coord, frame.coord)
            np.testing.assert_array_equal(back.labels["energy"], frame.labels["energy"])
            assert ("force" in back.found) == (frame.index < 3)  # the second set has a frame without

    def test_refusals(self, tmp_path):
        frames = self.frames()
        write_npy_system(tmp_path / "s", frames, ["O", "H"])
        with pytest.raises(DataError, match="holds a system already"):
            write_npy_system(tmp_path / "s", frames, ["O", "H"])
        with pytest.raises(DataError, match="no frames to write"):
            write_npy_system(tmp_path / "t", [], ["O", "H"])
        with pytest.raises(DataError, match="Frame 5 has other atoms or boundaries"):
            write_npy_system(tmp_path / "t", [*frames, self.frames(1, box=False)[0]], ["O", "H"])

    def test_mixed_type_becomes_one_system_a_formula(self, tmp_path):
        types = np.array([[1, 0, -1], [0, 1, -1], [1, 1, 0], [1, -1, 0]])
        hessian = np.arange(4 * 81.0).reshape(4, 81)
        make(tmp_path / "s", real_atom_types=types, hessian=hessian)
        folders = convert_to_npy(str(tmp_path / "s"), tmp_path / "out")
        assert [f.name for f in folders] == ["O1H1", "O1H2"]
        source = only(tmp_path / "s")
        labels = [FORCE, Label("hessian", 9, atomic=True)]
        first = only(tmp_path / "out/O1H1").frame(2, labels)  # the last of the source: atoms 2 and 0 of it
        last = source.frame(3, labels)
        np.testing.assert_array_equal(first.coord, last.coord[[2, 0]])
        np.testing.assert_array_equal(first.labels["force"], last.labels["force"][[2, 0]])
        square = hessian[3].reshape(3, 3, 3, 3)
        np.testing.assert_array_equal(first.labels["hessian"].reshape(2, 3, 2, 3)[0, :, 1], square[2, :, 0])


def test_importing_loads_no_framework_and_no_optional_package():
    code = "import sys, json, dp_core.data; print(json.dumps([*sys.modules]))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"ase", "h5py", "lmdb", "msgpack", "torch", "vesin"} & set(loaded)
