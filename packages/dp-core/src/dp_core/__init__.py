"""Deep potentials: models, format, data and training, written once in array-API code.

The names below are imported when they are first used, so that ``import dp_core`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dp_core.errors import BackendError, ConfigError, DataError, DpError, FormatError, NonFiniteError
    from dp_core.model_deviation import calc_model_devi
    from dp_core.model_file import load_model, save_model
    from dp_core.prediction import Prediction, Structure
    from dp_core.predictors import (
        DeepDipole,
        DeepDOS,
        DeepEval,
        DeepPolar,
        DeepPopulation,
        DeepPot,
        DeepProperty,
        DeepSpin,
    )

_HOMES = {
    "BackendError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "DeepDOS": "predictors",
    "DeepDipole": "predictors",
    "DeepEval": "predictors",
    "DeepPolar": "predictors",
    "DeepPopulation": "predictors",
    "DeepPot": "predictors",
    "DeepProperty": "predictors",
    "DeepSpin": "predictors",
    "DpError": "errors",
    "FormatError": "errors",
    "NonFiniteError": "errors",
    "Prediction": "prediction",
    "Structure": "prediction",
    "calc_model_devi": "model_deviation",
    "load_model": "model_file",
    "save_model": "model_file",
}

__all__ = [
    "BackendError",
    "ConfigError",
    "DataError",
    "DeepDOS",
    "DeepDipole",
    "DeepEval",
    "DeepPolar",
    "DeepPopulation",
    "DeepPot",
    "DeepProperty",
    "DeepSpin",
    "DpError",
    "FormatError",
    "NonFiniteError",
    "Prediction",
    "Structure",
    "calc_model_devi",
    "load_model",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("dp-core")
    if name not in _HOMES:
        raise AttributeError(f"module 'dp_core' has no attribute {name!r}")
    return getattr(import_module(f"dp_core.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, "__version__"})
