"""Least squares for the bias, changing it, frame and atom parameters, choice of the sample."""

from pathlib import Path

import numpy as np
import pytest

from dp_core.batching import build_batch
from dp_core.data import Frame, Label, System, open_systems
from dp_core.data.frame import Integers
from dp_core.errors import ConfigError, DataError
from dp_core.inputs import input_labels
from dp_core.model_file import load_model
from dp_core.module import replace
from dp_core.neighbors import frame_neighbors
from dp_core.numpy_backend import NumpyBackend
from dp_core.statistics import (
    BiasSums,
    assign_bias,
    bias_labels,
    change_bias,
    compute_statistics,
    environment_sums,
    sample_frames,
    whole,
    with_environment,
)

GOLDEN = Path(__file__).parents[3] / "tests" / "golden"
MODEL = load_model(GOLDEN / "hessian.dp")  # types O, H


def make_frames(model, count=12, seed=0):
    """Random clusters with labels: linear in the composition plus noise."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(count):
        types = rng.integers(0, 2, rng.integers(2, 6))
        energy = np.array([-7.0, 3.0])[types].sum() + rng.normal(scale=0.1)
        labels = {"energy": np.array([energy]), "atom_energy": np.zeros((len(types), 1))}
        frames.append(Frame(0, k, rng.uniform(0, 3, (len(types), 3)), None, types, labels, frozenset({"energy"})))
    return frames


def total_energies(model, frames):
    evaluate = NumpyBackend().evaluator(model)
    spec = model.neighbor_spec
    return [
        evaluate(build_batch([frame_neighbors(f.coord, f.box, f.types, spec)], spec).table)["energy"].sum()
        for f in frames
    ]


# -- least squares


def test_exact_labels_give_the_constants():
    sums = BiasSums(3, 2)
    constants = np.array([[1.0, -1.0], [2.0, 0.5], [-4.0, 3.0]])
    rng = np.random.default_rng(1)
    for _ in range(8):
        types = rng.integers(-1, 3, 9)
        sums.add(types, constants[types[types >= 0]].sum(axis=0), None)
    fit = sums.fit()
    np.testing.assert_allclose(fit.bias, constants, atol=1e-12)
    np.testing.assert_allclose(fit.std, 0, atol=1e-12)
    assert fit.rmse < 1e-12


def test_one_composition_spreads_the_energy():
    """H2O alone: the smallest constants that explain the energy."""
    sums = BiasSums(2, 1)
    for energy in (-10.0, -12.0):
        sums.add(np.array([0, 1, 1]), np.array([energy]), None)
    fit = sums.fit()
    np.testing.assert_allclose(fit.bias[:, 0], np.array([1.0, 2.0]) * -11.0 / 5.0)
    np.testing.assert_allclose(fit.std, 1.0)
    assert fit.rmse == pytest.approx(1 / 3)


def test_fixed_constants_stay():
    sums = BiasSums(2, 1)
    sums.add(np.array([0, 1]), np.array([5.0]), None)
    sums.add(np.array([0, 0, 1]), np.array([7.0]), None)
    fit = sums.fit(fixed={1: np.array([2.0])})
    assert fit.bias[1, 0] == 2.0
    assert fit.bias[0, 0] == pytest.approx((3.0 + 2 * 5.0) / 5.0)


def test_excluded_types_do_not_take_part():
    sums = BiasSums(2, 1, exclude=(1,))
    sums.add(np.array([0, 1, 1]), np.array([4.0]), None)
    np.testing.assert_allclose(sums.fit().bias[:, 0], [4.0, 0.0], atol=1e-14)


def test_small_singular_values_are_cut_off():
    sums = BiasSums(2, 1)
    for types, energy in (([0] * 100 + [1] * 100, 100.0), ([0] * 100 + [1] * 101, 103.0)):
        sums.add(np.array(types), np.array([energy]), None)
    full, cut = sums.fit(), sums.fit(rcond=0.1)
    np.testing.assert_allclose(full.bias[:, 0], [-2.0, 3.0])
    assert abs(cut.bias[0, 0] - cut.bias[1, 0]) < 0.01


def test_atomic_labels_come_first():
    sums = BiasSums(3, 1)
    sums.add(np.array([0, 0, 1]), np.array([9.0]), np.array([[1e6 + 1], [1e6 + 3], [5.0]]))
    sums.add(np.array([0, -1]), None, np.array([[1e6 + 5], [77.0]]))
    fit = sums.fit()
    np.testing.assert_allclose(fit.bias[:2, 0], [1e6 + 3, 5.0], rtol=1e-15)
    np.testing.assert_allclose(fit.std[:2, 0], [np.std([1, 3, 5]), 0.0], rtol=1e-9)
    assert fit.bias[2, 0] == 0.0


def test_types_without_atomic_labels_take_the_fit_of_totals():
    sums = BiasSums(2, 1)
    sums.add(np.array([0, 0]), np.array([8.0]), None)
    sums.add(np.array([0, 1]), np.array([6.0]), None)
    sums.add(np.array([0]), None, np.array([[5.0]]))
    np.testing.assert_allclose(sums.fit().bias[:, 0], [5.0, 2.0])


def test_no_label_no_fit():
    sums = BiasSums(2, 1)
    sums.add(np.array([0, 1]), None, None)
    assert sums.fit() is None


# -- changing the bias of a model


def test_change_explains_the_errors():
    frames = make_frames(MODEL)
    evaluator = NumpyBackend().evaluator(MODEL)
    seen = []
    new, report = change_bias(MODEL, frames, evaluator, total=len(frames), progress=lambda *a: seen.append(a))
    assert seen[-1] == (12, 12)
    assert report.type_map == ("O", "H")
    np.testing.assert_array_equal(report.old, MODEL.out_bias[0])
    np.testing.assert_array_equal(report.new, new.out_bias[0])
    # the same by hand
    counts = np.array([np.bincount(f.types, minlength=2) for f in frames], float)
    delta = np.array([f.labels["energy"][0] for f in frames]) - total_energies(MODEL, frames)
    shift = np.linalg.lstsq(counts, delta, rcond=None)[0]
    np.testing.assert_allclose(new.out_bias[0, :, 0], MODEL.out_bias[0, :, 0] + shift, rtol=1e-10)
    np.testing.assert_allclose(new.out_std[0], np.std(delta - counts @ shift), rtol=1e-10)
    after = (np.array([f.labels["energy"][0] for f in frames]) - total_energies(new, frames)) / counts.sum(axis=1)
    assert report.before == pytest.approx(np.sqrt(np.mean((delta / counts.sum(axis=1)) ** 2)))
    assert report.after == pytest.approx(np.sqrt(np.mean(after**2)))


def test_set_ignores_the_predictions():
    def refuse(table):
        raise AssertionError("the model was evaluated")

    new, report = change_bias(MODEL, make_frames(MODEL), refuse, "set")
    np.testing.assert_allclose(new.out_bias[0, :, 0], [-7.0, 3.0], atol=0.2)
    assert np.isnan(report.before)
    assert report.after < 0.1


@pytest.mark.parametrize(("mode", "expected"), [("change", "old"), ("set", -13.6)])
def test_preset_bias(mode, expected):
    model = replace(MODEL, preset_out_bias={"energy": [None, -13.6]})
    new, _ = change_bias(model, make_frames(model), NumpyBackend().evaluator(model), mode)
    assert new.out_bias[0, 1, 0] == (model.out_bias[0, 1, 0] if expected == "old" else expected)
    assert new.out_bias[0, 0, 0] != model.out_bias[0, 0, 0]


def test_change_with_atomic_labels():
    frames = [
        replace(f, labels=f.labels | {"atom_energy": np.full((len(f.types), 1), 4.0)}, found=frozenset({"atom_energy"}))
        for f in make_frames(MODEL, 3)
    ]
    new, report = change_bias(MODEL, frames, NumpyBackend().evaluator(MODEL))
    assert np.isnan(report.before)
    assert np.isnan(report.after)
    predicted = sum(total_energies(new, frames))
    assert predicted == pytest.approx(4.0 * sum(len(f.types) for f in frames))


@pytest.mark.parametrize("total", [None, np.array([9.0])])
def test_fixed_constants_stay_beside_atomic_labels(total):
    sums = BiasSums(2, 1)
    sums.add(np.array([0, 1]), total, np.array([[1.0], [2.0]]))
    assert sums.fit(fixed={0: np.array([5.0])}).bias.tolist() == [[5.0], [2.0]]


def test_no_label_is_an_error():
    frames = [replace(f, found=frozenset()) for f in make_frames(MODEL)]
    with pytest.raises(DataError, match="No frame has the label energy"):
        change_bias(MODEL, frames, NumpyBackend().evaluator(MODEL))


def test_assigned_bias():
    new, report = assign_bias(MODEL, [1.0, -2.0])
    assert new.out_bias.tolist() == [[[1.0], [-2.0]]]
    assert report.new.tolist() == [[1.0], [-2.0]]
    np.testing.assert_array_equal(new.out_std, MODEL.out_std)
    with pytest.raises(ConfigError, match=r"2 types \(O, H\)"):
        assign_bias(MODEL, [1.0])


def test_wrong_size_of_a_preset():
    model = replace(MODEL, preset_out_bias={"energy": [[1.0, 2.0], None]})
    with pytest.raises(ConfigError, match="2 numbers for O, expected 1"):
        change_bias(model, make_frames(model), NumpyBackend().evaluator(model), "set")


# -- environment


def test_every_slot_counts():
    """One pair: one occupied slot of sum(sel), the rest zeros."""
    descriptor = MODEL.descriptor
    spec = MODEL.neighbor_spec
    coord = np.array([[0.0, 0, 0], [0.0, 0, 0.8]])
    neighbors = frame_neighbors(coord, None, np.array([0, 1]), spec)
    sums = environment_sums(descriptor, neighbors)
    slots = sum(descriptor.sel)
    np.testing.assert_allclose(sums[0, 0], [slots, 1 / 0.8, 1 / 0.64])  # the switch is 1 below rcut_smth
    np.testing.assert_allclose(sums[0, 1], [3 * slots, 1 / 0.8, 1 / 0.64])
    np.testing.assert_allclose(sums[1, 1], [3 * slots, -1 / 0.8, 1 / 0.64])
    excluded = environment_sums(replace(descriptor, exclude_types=((0, 1),)), neighbors)
    np.testing.assert_allclose(excluded[:, :, 0], sums[:, :, 0])
    np.testing.assert_allclose(excluded[:, :, 1:], 0)


def test_floors_and_absent_types():
    descriptor = MODEL.descriptor
    sums = np.zeros((2, 2, 3))
    sums[0] = [[100, 0.1, 1e-4], [300, 0.2, 1e-4]]
    new = with_environment(descriptor, sums)
    np.testing.assert_allclose(new.dstd[0], 0.01)
    np.testing.assert_allclose(new.davg[0], np.broadcast_to([1e-3, 0, 0, 0], new.davg[0].shape))
    np.testing.assert_allclose(new.dstd[1], 0.1)
    np.testing.assert_allclose(new.davg[1], 0)
    kept = with_environment(replace(descriptor, set_davg_zero=True), sums)
    np.testing.assert_array_equal(kept.davg, descriptor.davg)
    np.testing.assert_array_equal(kept.dstd, new.dstd)


# -- frame and atom parameters


def test_parameters():
    model = load_model(GOLDEN / "training" / "train_fparam.dp")
    assert [(x.key, x.size, x.required) for x in input_labels(model)] == [("fparam", 1, True)]
    fitting = replace(
        model.fitting, default_fparam=(0.5,), numb_aparam=2, aparam_avg=np.zeros(2), aparam_inv_std=np.ones(2)
    )
    label, atomic = input_labels(replace(model, fitting=fitting))
    assert (label.default, label.required, label.counts_when_absent) == ((0.5,), False, True)
    assert (atomic.key, atomic.atomic, atomic.required) == ("aparam", True, True)


class Fparams(System):
    """Frames of one atom whose only quantity is one frame parameter."""

    def __init__(self, values: list[float | None]):
        self.values = values
        self.name, self.nframes, self.natoms = "made up", len(values), 1
        self.mixed = self.periodic = False
        self.own_names = ("B",)

    def where(self, i: int) -> str:
        return f"frame {i}"

    def own_types(self, i: int) -> Integers:
        return np.zeros(1, np.int64)

    def used_types(self) -> Integers:
        return np.zeros(1, np.int64)

    def _structure(self, i):
        return np.zeros((1, 3)), None

    def _values(self, i: int, label: Label):
        return np.array([self.values[i]]) if label.key == "fparam" and self.values[i] is not None else None

    def available(self):
        return frozenset({"fparam"})


def fparam_statistics(values, **keys):
    model = load_model(GOLDEN / "training" / "train_fparam.dp")
    model = replace(model, fitting=replace(model.fitting, **keys))
    system = Fparams(values)
    system.bind(["B"], 0)
    return compute_statistics(model, whole([system]))[0].fitting


def test_frame_parameters():
    fitting = fparam_statistics([1.0, 2.0, 6.0])
    assert fitting.fparam_avg[0] == pytest.approx(3.0)
    assert 1 / fitting.fparam_inv_std[0] == pytest.approx(np.std([1.0, 2.0, 6.0]))


def test_constant_parameters_are_protected():
    assert fparam_statistics([2.0, 2.0]).fparam_inv_std[0] == pytest.approx(100.0)


def test_missing_parameters():
    with pytest.raises(DataError, match="frame 1 has no fparam"):
        fparam_statistics([1.0, None])
    assert fparam_statistics([1.0, None], default_fparam=(5.0,)).fparam_avg[0] == pytest.approx(3.0)


# -- the sample


def test_sample_is_spread_over_every_system():
    a, b = Fparams([0.0] * 100), Fparams([0.0] * 3)
    sample = sample_frames([a, b], 2, 5)
    assert sample.index[sample.system == 0].tolist() == list(range(5, 100, 10))
    assert sample.index[sample.system == 1].tolist() == [0, 1, 2]
    assert len(whole([a, b])) == 103


def test_large_samples_are_thinned_out():
    systems = [Fparams([0.0] * 100), Fparams([0.0] * 100), Fparams([0.0])]
    sample = sample_frames(systems, 10, 10, most_atoms=20)
    assert np.bincount(sample.system).tolist() == [9, 9, 1]


def test_sizes_count_as_systems():
    a = Fparams([0.0] * 60)
    a.sizes = np.array([10] * 50 + [3] * 10)
    sample = sample_frames([a], "auto:20", 2)
    assert (sample.index < 50).sum() == 4
    assert (sample.index >= 50).sum() == 10
    filtered = sample_frames([a], "filter:5", 2)
    assert len(filtered) == 2
    assert (filtered.index >= 50).all()


def test_mixed_batches_are_shared_by_the_systems():
    systems = [Fparams([0.0] * 50) for _ in range(5)]
    assert len(sample_frames(systems, "mixed:8", 10)) == 80


def test_real_data_are_checked(tmp_path):
    source = open_systems(str(GOLDEN / "stats" / "data" / "mol_C1H4O2"), ["C", "H", "O"])[0]
    folder = tmp_path / "bad"
    (folder / "set.000").mkdir(parents=True)
    frame = source.frame(0)
    coord = frame.coord.copy()
    coord[0, 0] = np.nan
    np.save(folder / "set.000" / "coord.npy", coord.reshape(1, -1))
    np.savetxt(folder / "type.raw", frame.types, fmt="%d")
    (folder / "nopbc").touch()
    bad = open_systems(str(folder), ["C", "H", "O"])
    with pytest.raises(DataError, match="coord of atom 0"):
        list(whole(bad).frames(bias_labels(MODEL)))
