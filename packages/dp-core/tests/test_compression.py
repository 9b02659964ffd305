"""Tables in the place of networks: their values and slopes, their documents, and training from compressed models."""

import numpy as np
import pytest

from dp_core import save_model
from dp_core.compression import compress, is_compressed
from dp_core.errors import ConfigError, FormatError
from dp_core.module import leaves
from dp_core.nn import EmbeddingNet
from dp_core.nn.activation import jet
from dp_core.nn.table import Grid, Table
from dp_core.training import train

GRID = Grid(-1.0, 2.0, 10.0, 0.01, 0.1, -1.0)
ANGULAR = Grid(-3.0, 3.0, 15.0, 0.1, 1.0, -1.0, angular=True)
ACTIVATIONS = [
    "tanh", "relu", "relu6", "softplus", "sigmoid", "gelu", "gelu_tf", "silu", "linear", "none", "silut:2.5", "Tanh",
]  # fmt: skip


def network(activation="tanh", **more):
    return EmbeddingNet.init(1, [3, 6, 6], activation_function=activation, seed=1, **more)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_of_activations(name):
    x, h = np.linspace(-3.0, 7.1, 41), 1e-5
    _, slope, curvature = jet(name, x)
    (plus, more, _), (minus, less, _) = jet(name, x + h), jet(name, x - h)
    np.testing.assert_allclose(slope, (plus - minus) / (2 * h), atol=1e-9)
    np.testing.assert_allclose(curvature, (more - less) / (2 * h), atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"resnet_dt": True}, {"bias": False}])
@pytest.mark.parametrize("grid", [GRID, ANGULAR])
def test_a_table_is_the_network(options, grid):
    net = network(**options)
    table = Table.of_network(net, grid, "float64")
    begin = -grid.end if grid.angular else grid.lower
    x = np.random.default_rng(0).uniform(begin, grid.end, (500, 1))
    fine = np.abs(x[:, 0] - (grid.lower + grid.upper) / 2) < (grid.upper - grid.lower) / 2
    found, expected = table(x), net(x)
    np.testing.assert_allclose(found[fine], expected[fine], atol=1e-6 if grid.angular else 1e-13)
    np.testing.assert_allclose(found, expected, atol=0.02 if grid.angular else 1e-7)
    nodes = grid.nodes[:, None]
    np.testing.assert_allclose(table(nodes), net(nodes), atol=1e-11)


@pytest.mark.parametrize("grid", [GRID, ANGULAR])
def test_value_and_slope_are_continuous_everywhere(grid):
    table = Table.of_network(network(), grid, "float64")
    begin, h = (-grid.end if grid.angular else grid.lower), 1e-6
    for x in (begin, grid.lower, grid.upper, grid.upper - grid.fine, grid.upper + grid.coarse, grid.end):
        at = table(np.array([[x - 2 * h], [x - h], [x], [x + h], [x + 2 * h]]))
        left, right = (at[1] - at[0]) / h, (at[4] - at[3]) / h
        np.testing.assert_allclose(left, right, atol=1e-4)
        np.testing.assert_allclose(at[1], at[3], atol=1e-4)
    outside = table(np.array([[begin - d] for d in (0.0, 1.0, 2.0)] + [[grid.end + d] for d in (0.0, 1.0, 2.0)]))
    for line in (outside[:3], outside[3:]):
        np.testing.assert_allclose(line[2] - line[1], line[1] - line[0], atol=1e-12)
        assert np.abs(line[1] - line[0]).max() > 1e-9
    assert np.isfinite(table(np.array([[-1e30], [1e30]]))).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("grid", [GRID, ANGULAR])
def test_documents_hold_tables_exactly(grid, dtype):
    table = Table.of_network(network(), grid, dtype)
    data, info = table.stored()
    assert data.shape == (len(grid.nodes) - 1, 36)
    assert data.dtype == info.dtype == dtype
    again = Table.of_stored(data, info, angular=grid.angular)
    assert again.grid == grid
    assert np.array_equal(again.coefficients, table.coefficients)
    assert np.array_equal(again.starts, table.starts)
    with pytest.raises(FormatError, match="Compress the model again"):
        Table.of_stored(data[1:], info, angular=grid.angular)
    with pytest.raises(FormatError, match="has the grid"):
        Table.of_stored(data, info * 0, angular=grid.angular)
    with pytest.raises(FormatError, match="has the shape"):
        Table.of_stored(data[:, 1:], info, angular=grid.angular)


def test_training_begins_with_the_networks(tiny, tmp_path):
    """A compressed file is a start like the one that it was made from; a compressed checkpoint is no training."""
    document = tiny(numb_steps=1)
    first = train(document, backend="numpy", directory=tmp_path).model
    save_model(first, tmp_path / "first.dp")
    save_model(compress(first), tmp_path / "compressed.dp")
    found = [
        train(document, backend="numpy", directory=tmp_path, init_frz_model=name).model
        for name in ("first.dp", "compressed.dp")
    ]
    assert not is_compressed(found[1])
    assert all(np.array_equal(leaves(found[0])[k], v) for k, v in leaves(found[1]).items())


def test_tables_are_not_trained(tiny, tmp_path):
    from dataclasses import replace as changed

    from dp_core.format import write_document
    from dp_core.training import load_checkpoint

    document = tiny(numb_steps=1)
    path = train(document, backend="numpy", directory=tmp_path).checkpoint
    checkpoint = load_checkpoint(path)
    write_document(changed(checkpoint, model=compress(checkpoint.model)).to_document(), path)
    with pytest.raises(ConfigError, match="is compressed, and tables are not trained"):
        train(tiny(numb_steps=2), backend="numpy", directory=tmp_path, restart=path.name)
