"""The driver for dpdata: ``dpdata.System(...).predict("model.pth", driver="dp")``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dpdata  # type: ignore[import-not-found]
import numpy as np
from dpdata.driver import Driver  # type: ignore[import-not-found]

from dp_core.call_inputs import as_structures
from dp_core.errors import DataError, nearest
from dp_core.predictors import DeepPot


@Driver.register("dp-core")
class DPDriver(Driver):  # type: ignore[misc]
    """Labels systems with the energies, forces and virials of a model.

    dp: path of a model file, a model tree, or an open ``DeepPot``; backend: see ``DeepPot``.
    """

    def __init__(self, dp: DeepPot | str | Path | Any, backend: str | None = None) -> None:
        self.dp = dp if isinstance(dp, DeepPot) else DeepPot(dp, backend)

    def label(self, data: dict[str, Any]) -> dict[str, Any]:
        """The data of a system with ``energies``, ``forces`` and ``virials``. Raises DataError for unknown elements."""
        system = dpdata.System.from_dict({"data": data})
        type_map = self.dp.get_type_map()
        used = [data["atom_names"][t] for t in np.unique(data["atom_types"])]
        for name in used:
            if name not in type_map:
                raise DataError(f"The model does not know the element {name!r}{nearest(name, type_map)}")
        types = np.array([type_map.index(data["atom_names"][t]) for t in data["atom_types"]])
        cells = None if system.nopbc else data["cells"]
        structures = as_structures(data["coords"], cells, types)
        found = self.dp.predict(structures)
        forces = found.force.reshape(len(structures), len(types), 3)
        return {**data, "energies": found.energy, "forces": forces, "virials": found.virial}


# dpdata's own driver of these names needs DeePMD-kit; where that is installed, its names stay its own
if find_spec("deepmd") is None:
    for _name in ("dp", "deepmd", "deepmd-kit"):
        Driver.register(_name)(DPDriver)
