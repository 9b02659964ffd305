"""What the model of a predictor is: its types, cutoff, parameters and size."""

from __future__ import annotations

from typing import Any

import numpy as np

from dp_core.inputs import default_chg_spin, default_fparam, dim_chg_spin, numb_aparam, numb_fparam
from dp_core.model_file import model_document
from dp_core.models.protocol import members
from dp_core.module import is_array
from dp_core.neighbors import NeighborSpec
from dp_core.virtual_atoms import virtual_atoms


class ModelInfo:
    """Questions about a model, ``_model``, under the names that DeePMD-kit's predictors have for them."""

    _model: Any

    def get_type_map(self) -> list[str]:
        """Names of the elements, in the order of the types."""
        return list(self._model.type_map)

    def get_ntypes(self) -> int:
        """Number of types."""
        return len(self._model.type_map)

    def get_rcut(self) -> float:
        """Cutoff radius in Å."""
        return float(self.neighbor_spec.rcut)

    def get_sel(self) -> list[int]:
        """The most neighbours that the model takes into account, by type or in all."""
        return list(self.neighbor_spec.sel)

    def get_dim_fparam(self) -> int:
        """Number of frame parameters."""
        return numb_fparam(self._model)

    def get_dim_aparam(self) -> int:
        """Number of atomic parameters of each atom."""
        return numb_aparam(self._model)

    def has_default_fparam(self) -> bool:
        """Whether frame parameters may be left out."""
        return default_fparam(self._model) is not None

    def get_sel_type(self) -> list[int]:
        """Types whose atoms have an output: all that are not excluded."""
        return [t for t in range(self.get_ntypes()) if t not in self._model.atom_exclude_types]

    def get_ntypes_spin(self) -> int:
        """Number of types that carry a spin."""
        return sum(self.use_spin)

    def has_chg_spin_ebd(self) -> bool:
        """Whether the model depends on the total charge and spin."""
        return dim_chg_spin(self._model) > 0

    def has_default_chg_spin(self) -> bool:
        """Whether the total charge and spin may be left out."""
        return self.has_chg_spin_ebd() and default_chg_spin(self._model) is not None

    @property
    def use_spin(self) -> tuple[bool, ...]:
        """Which types have a spin; empty for models without."""
        virtual = virtual_atoms(self._model)
        return () if virtual is None else virtual.use_spin

    @property
    def has_spin(self) -> bool:
        """Whether the model needs the spins of the atoms."""
        return virtual_atoms(self._model) is not None

    @property
    def has_hessian(self) -> bool:
        """Whether the model was trained with second derivatives of the energy, which ``DeepPot.eval`` then gives."""
        return bool(self.get_model_def_script().get("hessian_mode"))

    def get_model_def_script(self) -> dict[str, Any]:
        """The model section of the input file that the model was trained with."""
        return dict(self._model.script or {})

    def get_model_size(self) -> dict[str, int]:
        """Number of network parameters: ``descriptor``, ``fitting-net`` and ``total``."""
        found = [member.model for member in members(self._model)]
        descriptor = sum(_parameter_count(model.descriptor) for model in found)
        fitting = sum(_parameter_count(model.fitting) for model in found)
        return {"descriptor": descriptor, "fitting-net": fitting, "total": descriptor + fitting}

    def get_observed_types(self) -> dict[str, Any]:
        """Elements that the training data had: ``type_num`` and ``observed_type``, a sorted list of names."""
        observed = (self.get_model_def_script().get("info") or {}).get("observed_type")
        if observed is None:
            biased = np.abs(self._model.out_bias).max(axis=(0, 2)) > 1e-6
            observed = [name for name, seen in zip(self._model.type_map, biased, strict=True) if seen]
        return {"type_num": len(observed), "observed_type": sorted(observed)}

    def get_model(self) -> Any:
        """The model tree."""
        return self._model

    def serialize(self) -> dict[str, Any]:
        """The complete document of the model, as ``.dp`` files hold it."""
        return model_document(self._model)

    @property
    def neighbor_spec(self) -> NeighborSpec:
        """The neighbours that the model sees."""
        spec: NeighborSpec = self._model.neighbor_spec
        return spec


def _parameter_count(tree: Any) -> int:
    """Numbers in all arrays that are no statistics, trainable or not."""
    if is_array(tree):
        return int(np.prod(tree.shape))
    if getattr(tree, "__dp_module__", False):
        fields = tree.__dataclass_fields__.values()
        return sum(_parameter_count(getattr(tree, f.name)) for f in fields if f.metadata.get("trained", True))
    return sum(_parameter_count(x) for x in tree) if isinstance(tree, tuple | list) else 0
