"""Descriptors of one small crystal against published numbers, with parameters that follow a formula."""

from __future__ import annotations

import numpy as np
import pytest

from dp_core import registry
from dp_core.batching import build_batch
from dp_core.descriptors.protocol import map_parts, neighbor_spec
from dp_core.module import leaves, replace, with_leaves
from dp_core.neighbors import frame_neighbors

COORD = np.array([[1.0, 1.2, 1.1], [2.3, 1.9, 0.6], [0.2, 3.1, 2.2], [4.9, 5.6, 6.2]])
CELL = np.array([[6.0, 0.0, 0.0], [0.5, 6.5, 0.0], [0.0, 0.3, 7.0]])
TYPES = np.array([0, 1, 1, 0])
BY_TYPE = {"sel": [5, 6], "rcut": 4.0, "rcut_smth": 1.0}

#: settings; width; D[0,0], D[0,1], D[1,0], D[3,last], ΣD, ΣD²; rot[0,0,:], Σrot²
CASES = {
    "A": (
        {"type": "se_e2_a", **BY_TYPE, "neuron": [3, 6], "axis_neuron": 2, "type_one_side": True},
        12,
        (0.091439700345911, -0.01565899418152, 0.02569813178809,
         -0.00023724464770103, -0.0085380492630811, 0.032536027772286),
        (0.19142290501919, 0.14889123851731, -0.058049313848244, 0.25730564582508),
    ),
    "B": (
        {"type": "se_e2_a", **BY_TYPE, "neuron": [3, 6], "axis_neuron": 2, "env_protection": 0.1},
        12,
        (0.038315324430525, -0.018421819844231, 0.025644392681023,
         -2.4151274448736e-05, -0.0098378994801943, 0.0093601993410397),
        (0.12581778986766, 0.083825074775707, -0.042926327245346, 0.12951528899777),
    ),
    "C": (
        {"type": "se_e2_a", **BY_TYPE, "neuron": [3, 6], "axis_neuron": 2, "type_one_side": True, "resnet_dt": True,
         "exclude_types": [[1, 1]], "activation_function": "gelu"},
        12,
        (0.040913850896, -0.0075483089408434, 0.007610368514081,
         -8.5786132640544e-05, 0.041057027780789, 0.0040238077287733),
        (0.13262931414881, 0.092668733173001, -0.043786674972859, 0.073323758450792),
    ),
    "D": (
        {"type": "se_e2_r", **BY_TYPE, "neuron": [3, 6], "type_one_side": True},
        6,
        (0.030200581358172, -0.039269409735166, 0.0089737334016241,
         0.0094162315198242, 0.066951286461935, 0.021906086391019),
        None,
    ),
    "E": (
        {"type": "se_e3", **BY_TYPE, "neuron": [2, 4]},
        4,
        (2.9818168934031, 1.9144700435907, 1.0081156647458,
         4.5329780566056e-11, 13.693633927648, 30.638317465705),
        None,
    ),
}  # fmt: skip


def parameter(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of a parameter of a network; q is the number of the network in its collection."""
    *_, network, _, _, name = path.split(".")
    q = int(network)
    b = np.arange(shape[-1])
    if name == "idt":
        return 0.1 + 0.02 * b
    if name == "b":
        return 0.2 * np.cos(1 + 3 * b + q / 2)
    return 0.4 * np.sin(1 + np.arange(shape[0])[:, None] + 2 * b + q / 2)


def with_statistics(part):
    """Statistics that differ by type."""
    davg, dstd = np.zeros_like(part.davg), np.zeros_like(part.dstd)
    t = np.arange(2)[:, None]
    davg[:, :, 0] = 0.05 * (t + 1)
    dstd[:, :, 0] = 0.3 + 0.1 * t
    dstd[:, :, 1:] = 0.2 + 0.1 * t[..., None]
    return replace(part, davg=davg, dstd=dstd)


@pytest.mark.parametrize("name", CASES)
def test_published_numbers(name):
    settings, width, numbers, rotation = CASES[name]
    kind = registry.lookup("descriptor", settings["type"])
    made = kind.init(kind.Settings(**settings), ("A", "B"))
    trained = {path: leaf for path, leaf in leaves(made).items() if not path.endswith(("davg", "dstd"))}
    made = with_leaves(made, {path: parameter(path, leaf.shape) for path, leaf in trained.items()})
    descriptor = map_parts(made, with_statistics)

    spec = neighbor_spec(descriptor, 2, frozenset())
    batch = build_batch([frame_neighbors(COORD, CELL, TYPES, spec)], spec)
    values, axes = descriptor(batch.table)
    d = batch.to_atoms(values)
    assert d.shape == (4, width)
    np.testing.assert_allclose([d[0, 0], d[0, 1], d[1, 0], d[3, -1], d.sum(), (d * d).sum()], numbers, rtol=1e-11)
    if rotation is None:
        assert axes is None
        return
    axes = batch.to_atoms(axes)
    np.testing.assert_allclose([*axes[0, 0], (axes * axes).sum()], rotation, rtol=1e-11)
