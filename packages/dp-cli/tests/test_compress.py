"""``dp compress``: what it says, what it writes, and what it refuses."""

import re

import numpy as np
import pytest

from dp_core import DeepPot, load_model, save_model
from dp_core.compression import is_compressed, tables_of
from dp_core.module import replace


def test_what_it_says(dp, tmp_path, model):
    """Whether it can be, the tables, what is lost and what is gained; and the file gives the same numbers."""
    shown = dp("compress", "-i", "model.dp", "-o", "small")
    assert shown.code == 0, shown.err
    said = "\n".join(shown.messages)
    assert "model.dp can be compressed; the tables reach down to 0.9 Å" in said
    assert re.search(r"Tables: 2 tables from .* in steps of 0.01 and 0.1; [\d.]+ MiB", said)
    lost = re.search(r"Largest difference from model.dp on sample structures: energy (\S+) eV/atom, force (\S+)", said)
    assert all(float(x) < 1e-9 for x in lost.groups())
    assert re.search(r"Speed-up: [\d.]+ \(\S+ ms before, \S+ ms now, for 192 atoms on numpy", said)
    assert said.endswith("Saved compressed model to small.dp")
    made = load_model(tmp_path / "small.dp")
    assert is_compressed(made)
    coord, types = np.array([[0.0, 0, 0, 1, 0, 0, 0, 1.2, 0]]), [0, 1, 1]
    small, full = (DeepPot(path, "numpy").eval(coord, None, types)[1] for path in ("small.dp", "model.dp"))
    np.testing.assert_allclose(small, full, atol=1e-10)
    assert "It is compressed: 2 tables" in dp("show", "small.dp", "size").err
    assert "compressed" not in dp("show", "model.dp", "size").err


def test_options(dp, tmp_path, model):
    shown = dp(
        "compress", "-i", "model.dp", "-o", "a.yaml", "-s", 0.05, "-e", 3, "-f", 7, "-c", "folder", "-t", "no.json"
    )
    assert shown.code == 0, shown.err
    assert "-c/--checkpoint-folder is not needed" in shown.err
    assert "no.json is not read" in shown.err
    (_, upper, end, fine, coarse), *_ = tables_of(load_model(tmp_path / "a.yaml")).grids
    assert (end, fine, coarse) == (3 * upper, 0.05, 0.5)
    assert load_model(tmp_path / "a.yaml").descriptor.tables[0].grid.frequency == 7


def test_the_distance_from_the_training_data(dp, tmp_path, model, training_input):
    save_model(replace(load_model(model), min_nbor_dist=None), tmp_path / "old.dp")
    refused = dp("compress", "-i", "old.dp")
    assert refused.code == 1
    assert "old.dp does not tell min_nbor_dist" in refused.err
    assert "dp compress -t input.json" in refused.err
    training_input()
    shown = dp("compress", "-i", "old.dp", "-t", "input.json")
    assert shown.code == 0, shown.err
    told = dp("neighbor-stat", "-s", "data", "-r", 3).messages[0]
    found = load_model(tmp_path / "frozen_model_compressed.dp").min_nbor_dist
    assert float(told.split()[-1]) == pytest.approx(found, abs=1e-6)


def test_refused(dp, tmp_path, model, make_model):
    assert dp("compress", "-i", "model.dp", "-o", "once.dp").code == 0
    twice = dp("compress", "-i", "once.dp", "-o", "twice.dp")
    assert twice.code == 1
    assert "once.dp cannot be compressed: it is compressed already" in twice.err
    typed = {"type": "dpa1", "rcut": 3.0, "rcut_smth": 1.0, "sel": 20, "neuron": [2, 4], "axis_neuron": 2}
    save_model(make_model(descriptor=typed), tmp_path / "typed.dp")
    concat = dp("compress", "-i", "typed.dp", "-o", "twice.dp")
    assert concat.code == 1
    assert "Train with tebd_input_mode 'strip'" in concat.err
    assert not (tmp_path / "twice.dp").exists()
    assert dp("compress", "-i", "model.dp", "-s", 0).code == 1
    assert dp("compress", "-i", "model.dp", "-o", "no/where.dp").code == 1
    assert "one task only" in dp("compress", "--head", "H").err


def test_a_coarse_table_is_warned_of(dp, tmp_path, model):
    document = load_model(model)
    net = replace(document.descriptor.embeddings.networks[0], layers=tuple(
        replace(layer, w=10 * layer.w) for layer in document.descriptor.embeddings.networks[0].layers))  # fmt: skip
    steep = replace(document.descriptor.embeddings, networks=(net, net))
    save_model(replace(document, descriptor=replace(document.descriptor, embeddings=steep)), tmp_path / "steep.dp")
    assert "use a smaller step" in dp("compress", "-i", "steep.dp", "-s", 1).err
    assert "use a smaller step" not in dp("compress", "-i", "steep.dp").err
