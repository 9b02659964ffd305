"""Going on from checkpoints, starting from weights, and stopping: signals, numbers that are not finite, full disks."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from dp_core import save_model
from dp_core.errors import ConfigError, DataError, FormatError, NonFiniteError
from dp_core.format import dump_bytes, load_bytes
from dp_core.module import leaves, trained_leaves
from dp_core.schema import load_input
from dp_core.training import Checkpoint, LogReporter, TrainingInterruptedError, load_checkpoint, train

resource = pytest.importorskip("resource")


def run(document, tmp_path, **more):
    return train(document, backend="numpy", directory=tmp_path, **more)


def assert_same_state(a, b, *, paths=True):
    """Checkpoints that a training goes on from alike, bit for bit. paths: the data are in the same place too."""
    a, b = load_checkpoint(a), load_checkpoint(b)
    assert (a.step, a.updates) == (b.step, b.updates)
    trees = [(leaves(c.model), c.moments["first"], c.moments["second"], c.ema or {}) for c in (a, b)]
    for one, other in zip(*trees, strict=True):
        assert list(one) == list(other)
        assert all(np.array_equal(one[k], other[k]) for k in one)
    if paths:
        assert a.progress | {"seconds": 0} == b.progress | {"seconds": 0}


OPTIONS = [
    {},
    {"enable_ema": True, "disp_avg": True, "disp_freq": 3},
    {"training_data": {"batch_size": "mixed:3"}, "acc_freq": 2},
    {"training_data": {"batch_size": "auto:9"}, "gradient_max_norm": 0.5},
    {"change_bias_after_training": True, "numb_epoch": 1, "numb_steps": None},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "plain")
def test_a_restart_continues_exactly(tiny, tmp_path, options):
    document = tiny(max_ckpt_keep=10, **options)
    final = run(document, tmp_path).checkpoint
    (tmp_path / "whole.dp").write_bytes(final.read_bytes())
    curve = (tmp_path / "lcurve.out").read_text()
    run(document, tmp_path, restart="model.ckpt-4.dp")
    assert_same_state(tmp_path / "whole.dp", final)
    assert (tmp_path / "lcurve.out").read_text() == curve


@pytest.mark.parametrize("name", [".", "model.ckpt", "model.ckpt-8", "model.ckpt.dp"])
def test_names_of_a_checkpoint(tiny, tmp_path, name):
    run(tiny(), tmp_path)
    assert run(tiny(numb_steps=10), tmp_path, restart=name).step == 10
    assert load_checkpoint(tmp_path / "model.ckpt-10.dp").updates == 10


def test_a_finished_training_is_left_alone(tiny, tmp_path, caplog):
    caplog.set_level("INFO")
    document = tiny(change_bias_after_training=True)
    final = run(document, tmp_path).checkpoint
    before = final.read_bytes()
    run(document, tmp_path, restart=final)
    assert final.read_bytes() == before
    assert "All 8 steps are done already." in caplog.text


def test_full_validation_goes_on(tiny, tmp_path):
    validating = {"full_validation": True, "validation_freq": 2, "full_val_start": 2, "max_best_ckpt": 2}
    document = tiny(max_ckpt_keep=10, validating=validating)
    run(document, tmp_path)
    log, best = (tmp_path / "val.log").read_text(), sorted(p.name for p in tmp_path.glob("best*"))
    run(document, tmp_path, restart="model.ckpt-4")
    assert (tmp_path / "val.log").read_text() == log
    assert sorted(p.name for p in tmp_path.glob("best*")) == best


def test_later_checkpoints_of_a_replaced_run_go(tiny, tmp_path):
    run(tiny(max_ckpt_keep=10), tmp_path)
    run(tiny(max_ckpt_keep=10, numb_steps=5), tmp_path, restart="model.ckpt-4")
    assert sorted(p.name for p in tmp_path.glob("model.ckpt-*")) == [f"model.ckpt-{n}.dp" for n in (2, 4, 5)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"descriptor": {"axis_neuron": 1}}}, "model/descriptor/axis_neuron is 1; in the checkpoint it is 2"),
        ({"training_data": {"systems": ["data/a"]}}, "1 systems with 5 frames and 20 atoms now, 2 systems with 9"),
        ({"training_data": {"batch_size": 2}}, "training/training_data/batch_size is 2; in the checkpoint it is 1"),
        ({"numb_steps": 5}, "is of step 8, but training/numb_steps is 5"),
    ],
)
def test_a_restart_that_would_be_another_training(tiny, tmp_path, changes, message):
    run(tiny(), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.glob("*") if p.is_file()}
    with pytest.raises(ConfigError, match=message):
        run(tiny(**({"numb_steps": 12} | changes)), tmp_path, restart="model.ckpt")
    assert {p: p.read_bytes() for p in tmp_path.glob("*") if p.is_file()} == before


def test_a_restart_tells_what_may_change(tiny, tmp_path, caplog):
    caplog.set_level("INFO")
    run(tiny(), tmp_path)
    run(tiny(numb_steps=9, seed=3, loss={"start_pref_f": 10}), tmp_path, restart="model.ckpt")
    assert "loss/start_pref_f is 10.0; it was 1000.0 when the checkpoint was written." in caplog.text
    assert "training/seed differs from the checkpoint, which goes on with its own." in caplog.text


def test_data_that_moved(tiny, tmp_path):
    document = tiny(max_ckpt_keep=10)
    final = run(document, tmp_path).checkpoint
    (tmp_path / "whole.dp").write_bytes(final.read_bytes())
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = {"systems": ["moved/a", "moved/b"]}
    document["training"]["training_data"] |= moved
    document["training"]["validation_data"]["systems"] = ["moved/v"]
    run(document, tmp_path, restart="model.ckpt-4")
    assert_same_state(tmp_path / "whole.dp", final, paths=False)


def test_a_model_file_is_no_checkpoint(tiny, tmp_path):
    save_model(run(tiny(), tmp_path).model, tmp_path / "frozen.dp")
    with pytest.raises(FormatError, match="not the state of a training"):
        run(tiny(), tmp_path, restart="frozen.dp")


def test_averaged_parameters_are_no_checkpoint(tiny, tmp_path):
    run(tiny(enable_ema=True), tmp_path)
    with pytest.raises(FormatError, match="not the state of a training"):
        run(tiny(), tmp_path, restart="model_ema.ckpt")


def test_a_checkpoint_from_elsewhere_is_kept_here(tiny, tmp_path):
    """Also when there is nothing left to do."""
    final = run(tiny(model={"descriptor": {"sel": "auto"}}), tmp_path).checkpoint
    other = final.rename(tmp_path / "copy.dp")
    document = tiny(model={"descriptor": {"sel": "auto"}})
    assert run(document, tmp_path, restart=other).checkpoint.is_file()
    assert_same_state(other, final)
    sel = load_input(tmp_path / "out.json").model.descriptor.sel
    assert sel == list(load_checkpoint(final).model.descriptor.sel)


def test_damaged_checkpoints(tiny, tmp_path):
    path = run(tiny(), tmp_path).checkpoint
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match=r"model\.ckpt-8\.dp"):
        run(tiny(), tmp_path, restart=path)
    document = load_bytes(data)
    document["training"]["@variables"]["moments"]["first"].popitem()
    path.write_bytes(dump_bytes(document))
    with pytest.raises(FormatError, match="damaged"):
        run(tiny(), tmp_path, restart=path)
    for change, message in (
        ({"step": "8"}, "step is '8'"),
        ({"updates": -1}, "updates is -1"),
        ({"@variables": {"moments": {"first": {}}, "ema": None}}, "expected first and second"),
    ):
        document = load_bytes(data)
        document["training"] |= change
        with pytest.raises(FormatError, match=message):
            Checkpoint.from_document(document, "a file")


# -- weights of another model


@pytest.mark.parametrize("option", ["init_model", "init_frz_model"])
def test_weights_and_statistics_are_taken(tiny, tmp_path, option):
    old = run(tiny(), tmp_path)
    save_model(old.model, tmp_path / "frozen.dp")
    name = {"init_model": "model.ckpt", "init_frz_model": "frozen.dp"}[option]
    other = tiny(training_data={"systems": ["data/a"]}, numb_steps=0, seed=7)
    new = run(other, tmp_path, **{option: name})
    assert new.step == 0
    for path, value in leaves(old.model).items():
        assert np.array_equal(value, leaves(new.model)[path]), path
    assert load_checkpoint(new.checkpoint).updates == 0


def test_every_mismatch_is_listed(tiny, tmp_path):
    run(tiny(), tmp_path)
    document = tiny(model={"fitting_net": {"neuron": [4, 5]}})
    with pytest.raises(ConfigError) as caught:
        run(document, tmp_path, init_model="model.ckpt")
    text = str(caught.value)
    assert "model/fitting_net/neuron is [4, 4] in the file, [4, 5] here" in text
    assert "fitting.nets.networks.0.layers.1.w has the shape (4, 4) in the file, (4, 5) here" in text
    assert "fitting.nets.networks.1.layers.2.w has the shape (4, 1) in the file, (5, 1) here" in text
    assert "--force-load" in text


def test_forced_loading_keeps_fresh_values(tiny, tmp_path, caplog):
    old = run(tiny(), tmp_path).model
    new = run(
        tiny(model={"fitting_net": {"neuron": [4, 5]}}, numb_steps=0),
        tmp_path,
        init_model="model.ckpt",
        force_load=True,
    )
    assert np.array_equal(
        new.model.descriptor.embeddings.networks[0].layers[0].w, old.descriptor.embeddings.networks[0].layers[0].w
    )
    assert new.model.fitting.nets.networks[0].layers[1].w.shape == (4, 5)
    assert (
        "fitting.nets.networks.0.layers.1.w has the shape (4, 4) in the file, (4, 5) here; it begins anew"
        in caplog.text
    )


def test_forced_loading_measures_statistics_that_do_not_fit(tiny, tmp_path):
    old = run(tiny(), tmp_path).model
    wider = {"descriptor": {"sel": [24, 24]}}
    new = run(tiny(model=wider, numb_steps=0), tmp_path, init_model="model.ckpt", force_load=True).model
    fresh = run(tiny(model=wider, numb_steps=0), tmp_path).model
    assert np.array_equal(new.descriptor.davg, fresh.descriptor.davg)
    assert np.array_equal(new.descriptor.dstd, fresh.descriptor.dstd)
    assert new.descriptor.dstd.max() < 1.0
    for path, value in leaves(old.fitting).items():
        assert np.array_equal(value, leaves(new.fitting)[path]), path
    assert np.array_equal(new.out_bias, old.out_bias)


def test_other_settings_of_equal_shape_are_told(tiny, tmp_path, caplog):
    old = run(tiny(), tmp_path).model
    caplog.clear()
    changes = {"descriptor": {"rcut": 2.9, "precision": "float32", "seed": 5}, "preset_out_bias": {"energy": [1, 2]}}
    new = run(tiny(model=changes, numb_steps=0), tmp_path, init_model="model.ckpt").model
    for text in (
        "model/descriptor/rcut is 3.0 in the file, 2.9 here; the parameters come from the file.",
        "model/descriptor/precision is default in the file, float32 here",
        "model/preset_out_bias is absent in the file, {'energy': [1.0, 2.0]} here",
    ):
        assert text in caplog.text
    assert len(caplog.records) == 3
    assert np.array_equal(new.out_bias, old.out_bias)


def test_another_type_map(tiny, tmp_path):
    run(tiny(), tmp_path)
    with pytest.raises(ConfigError, match="is a model of O H, in this order; model/type_map here is H O"):
        run(tiny(model={"type_map": ["H", "O"]}), tmp_path, init_model="model.ckpt")


def test_one_beginning_only(tiny, tmp_path):
    with pytest.raises(ConfigError, match="exclude each other"):
        run(tiny(), tmp_path, restart="a", init_model="b")


# -- stopping


class At(LogReporter):
    """Calls a function when a step is displayed."""

    def __init__(self, step, act):
        super().__init__()
        self.step, self.act = step, act

    def display(self, shown, *, timing):
        if shown.step == self.step:
            self.act()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_leaves(tiny, tmp_path, number, code):
    document = tiny(save_freq=100, disp_freq=1)
    final = run(document, tmp_path).checkpoint
    (tmp_path / "whole.dp").write_bytes(final.read_bytes())
    handler = signal.getsignal(number)
    with pytest.raises(TrainingInterruptedError, match=r"after step 3 of 8.*--restart model\.ckpt") as caught:
        run(document, tmp_path, reporter=At(3, lambda: os.kill(os.getpid(), number)))
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is handler
    assert (tmp_path / "checkpoint").read_text() == "model.ckpt-3.dp"
    run(document, tmp_path, restart="model.ckpt")
    assert_same_state(tmp_path / "whole.dp", final)


def test_a_loss_that_is_not_finite(tiny, tmp_path):
    document = tiny(learning_rate={"start_lr": 1e200, "stop_lr": 1e200}, save_freq=1, max_ckpt_keep=9)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError) as caught:
        run(document, tmp_path)
    text = str(caught.value)
    assert "the loss is" in text or "the norm of the gradient is" in text or "are not finite" in text
    assert "data/a" in text or "data/b" in text
    for path in tmp_path.glob("model.ckpt-*.dp"):
        assert all(np.isfinite(v).all() for v in trained_leaves(load_checkpoint(path).model).values())


def test_a_full_disk_under_the_logs(tiny, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        size = (tmp_path / "lcurve.out").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))

    try:
        with pytest.raises(
            FormatError, match=r"lcurve.out cannot be written at step 4: .*last checkpoint is model\.ckpt-2\.dp"
        ):
            run(tiny(disp_freq=1, save_freq=2), tmp_path, reporter=At(4, fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_data_that_cannot_be_read_any_more_are_named(tiny, tmp_path, monkeypatch):
    """In the middle of a validation too, where logs are written as well."""

    def fail(array, start, stop):
        raise OSError(5, "Input/output error", array.path)

    broken = At(1, lambda: monkeypatch.setattr("dp_core.data.store.NpyArray.read", fail))
    with pytest.raises(DataError, match=r"data/v, set\.000, frame \d cannot be read: .*data/v/set\.000/coord\.npy"):
        run(tiny(disp_freq=1, training_data={"systems": ["data/v"]}), tmp_path, reporter=broken)


def test_a_full_disk_keeps_the_last_checkpoint(tiny, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    document = tiny(disp_freq=1)
    try:
        with pytest.raises(
            FormatError, match=r"Step 4 cannot be saved.*last checkpoint is model\.ckpt-2\.dp"
        ) as caught:
            run(
                document,
                tmp_path,
                reporter=At(3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limits[1]))),
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "Files of this size are not allowed" in str(caught.value)
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]
    assert (tmp_path / "checkpoint").read_text() == "model.ckpt-2.dp"
    assert load_checkpoint(tmp_path / "model.ckpt.dp").step == 2
    assert run(document, tmp_path, restart="model.ckpt").step == 8
