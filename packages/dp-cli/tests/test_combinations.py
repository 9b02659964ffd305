"""Commands with a model that is made of others."""

from __future__ import annotations

import numpy as np

from dp_core import save_model
from dp_core.models.protocol import new_model
from dp_core.schema import parse_model

TYPE_MAP = ["O", "H"]
NETWORK = {
    "descriptor": {
        "type": "se_e2_a",
        "rcut": 3.0,
        "rcut_smth": 1.0,
        "sel": [20, 20],
        "neuron": [2, 4],
        "axis_neuron": 2,
    },
    "fitting_net": {"neuron": [4, 4]},
}


def test_show(dp, tmp_path):
    """Parts of every model of a sum, None for a table."""
    r = np.arange(1, 31) * 0.1
    np.savetxt(tmp_path / "table.txt", np.column_stack([r, *[(3.0 - r) ** 3] * 3]))
    pairs = {"type": "pairtab", "tab_file": "table.txt", "rcut": 3.0, "sel": 20}
    section = {"type": "linear_ener", "type_map": TYPE_MAP, "models": [NETWORK, pairs], "weights": "mean"}
    save_model(new_model(parse_model(section), TYPE_MAP, tmp_path), tmp_path / "sum.dp")
    shown = dp("show", "sum.dp", "descriptor", "fitting-net", "size", "type-map")
    assert shown.code == 0
    descriptor, fitting = (next(m for m in shown.messages if m.startswith(f"The {name}")) for name in ("desc", "fitt"))
    assert descriptor.startswith("The descriptor parameter is [{'type': 'se_e2_a', ")
    assert descriptor.endswith("}, None]")
    assert "'neuron': [4, 4]" in fitting
    assert fitting.endswith("}, None]")
    assert "Parameters in total: 0" not in shown.err
    assert "The type_map is ['O', 'H']" in shown.messages
