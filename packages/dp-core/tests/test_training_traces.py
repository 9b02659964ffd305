"""What a training tells about itself beside the learning curve: TensorBoard events and a trace of its time."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dp_core.backend import Optimizer, TrainState
from dp_core.errors import ConfigError
from dp_core.numpy_backend import NumpyBackend
from dp_core.training import timeline, train
from dp_core.training.events import gradient_norms
from dp_core.training.timeline import Timeline


def run(document, tmp_path):
    return train(document, backend="numpy", directory=tmp_path)


def test_trace(tiny, tmp_path):
    run(tiny(profiling=True, profiling_file="trace.json"), tmp_path)
    names = {event["name"] for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]}
    assert names >= {"frames", "batch", "wait for data", "step", "validation", "save"}


def test_tensorboard(tiny, tmp_path):
    pytest.importorskip("tensorboardX")
    run(tiny(tensorboard=True, tensorboard_freq=4, gradient_max_norm=1.0), tmp_path)
    (file,) = (tmp_path / "log").iterdir()
    content = file.read_bytes()
    for tag in (b"Default/lr", b"Default/loss", b"Default/rmse_f", b"Default/grad/total_norm"):
        assert content.count(tag) == 3  # steps 1, 4 and 8
    assert content.count(b"Default/grad/param_norms") == 3
    assert content.count(b"Default/grad_top10/") == 30
    assert b"Default/grad_top10/fitting.nets.networks.0.layers." in content


@pytest.mark.parametrize("optimizer", [Optimizer(), Optimizer("Adam", weight_decay=0.5, max_norm=0.1, beta1=0.8),
                                       Optimizer("AdamW", weight_decay=0.5, max_norm=50.0)])  # fmt: skip
def test_norms_of_the_gradient(optimizer):
    """Of each parameter before clipping, told by the moments of two steps."""

    def loss(params, batch, gradient):
        value = (params["a"] ** 2).sum() * batch + (3.0 * params["b"]).sum()
        return value, {}

    training = NumpyBackend().training(loss, TrainState({"a": np.array([1.0, 2.0]), "b": np.ones(4)}), optimizer)
    for batch in (1.0, 5.0):
        before = training.state()
        a = before.params["a"]
        norm = training.step([batch], 0.01)["grad_norm"]
        norms = gradient_norms(before, training.state(), optimizer, norm)
        assert norms == pytest.approx({"a": 2 * batch * np.linalg.norm(a), "b": 6.0}, rel=1e-12)
        assert norm == pytest.approx(np.hypot(norms["a"], norms["b"]), rel=1e-12)


def test_tensorboard_is_not_installed(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match="pip install tensorboardX"):
        run(tiny(tensorboard=True), tmp_path)


def test_timeline(tmp_path):
    spans = Timeline(on=True)
    with spans.span("step"):
        pass
    spans.write(tmp_path / "timeline.json")
    (event,) = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    assert event["name"] == "step"
    assert event["dur"] >= 0
    off = Timeline(on=False)
    with off.span("step"):
        pass
    off.write(tmp_path / "none.json")
    assert not (tmp_path / "none.json").exists()


def test_a_timeline_keeps_the_latest_spans(tmp_path, monkeypatch):
    monkeypatch.setattr(timeline, "MOST", 3)
    spans = Timeline(on=True)
    for k in range(5):
        with spans.span(f"step {k}"):
            pass
    spans.write(tmp_path / "timeline.json")
    events = json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    assert [event["name"] for event in events] == ["step 2", "step 3", "step 4"]
