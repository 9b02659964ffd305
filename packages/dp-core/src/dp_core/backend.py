"""What a framework supplies to dp, and how an installed one is found.

A backend knows no model: it turns leaves into its own arrays, differentiates, compiles, updates, and freezes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dp_core import registry
from dp_core.backend_names import NAMES
from dp_core.errors import BackendError, ConfigError, FormatError, nearest
from dp_core.module import Array
from dp_core.neighbors import Neighborhood
from dp_core.outputs import Gradient, evaluate_atoms

#: (table of NumPy arrays) -> per-atom outputs and ``gradient``, as NumPy arrays
Evaluator = Callable[[Neighborhood], dict[str, np.ndarray]]

#: (model, table, gradient) -> arrays by name; the table may be any module that has one as ``table``
Derived = Callable[[Any, Any, Gradient], dict[str, Array]]

#: As an evaluator, of what a derived function takes
DerivedEvaluator = Callable[[Any], dict[str, np.ndarray]]

#: (trained leaves, batch, gradient) -> (loss, metrics by name)
LossFunction = Callable[[Mapping[str, Array], Any, Gradient], tuple[Array, dict[str, Array]]]


@dataclass(frozen=True)
class Optimizer:
    """Adam, or AdamW with its decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019)."""

    type: str = "Adam"
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    max_norm: float = 0.0  # clip the global gradient norm to this; 0 for no clipping
    epsilon: float = 1e-8


@dataclass(frozen=True)
class TrainState:
    """Everything an optimizer changes, as NumPy arrays: the same for every backend."""

    params: dict[str, np.ndarray]
    moments: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # "first", "second": like params
    updates: int = 0


class TrainingRun(Protocol):
    """A model in training on one backend."""

    def step(self, batches: Sequence[Any], learning_rate: float) -> dict[str, float]:
        """One update with the mean gradient of the batches; metrics of the first, ``loss`` and ``grad_norm`` included.

        Metrics are those before the update. The norm is summed in float64. A step that raises changes nothing.
        """

    def evaluate(self, batch: Any) -> dict[str, float]:
        """The metrics of a batch, nothing changed."""

    def params(self) -> dict[str, np.ndarray]:
        """The parameters as they are now, to be read before the next step."""

    def state(self) -> TrainState:
        """A copy of parameters and moments."""


class Backend(Protocol):
    """One framework. ``suffixes`` are those of the frozen files that it writes and loads.

    Of ``world_size`` processes that train together, this one has the number ``rank``; number 0 writes the files.
    ``chunk_rows`` is the number of rows of a table that are best evaluated together.
    """

    name: str
    suffixes: tuple[str, ...]
    chunk_rows: int
    rank: int
    world_size: int

    def array(self, x: np.ndarray) -> Array:
        """A NumPy array as one of the framework's, on its device."""

    def evaluator(self, model: Any, function: Derived = evaluate_atoms) -> DerivedEvaluator:
        """A function of tables that evaluates the model with its derivative, or another function of the two."""

    def apply(self, function: Callable[[Any, Any], Array], model: Any, table: Any) -> np.ndarray:
        """``function(model, table)`` without derivatives; the table may be any module."""

    def training(
        self, loss: LossFunction, state: TrainState, optimizer: Optimizer, *, compiled: bool = False
    ) -> TrainingRun:
        """Begin or continue a training."""

    def freeze(self, model: Any, document: bytes, path: Path) -> None:
        """Write a frozen file: the graph of the model, and its complete document."""

    def load(self, path: Path) -> Evaluator:
        """The evaluator in a frozen file."""

    def round_rows(self, count: int) -> int:
        """The size to which a block of rows is padded."""

    def round_slots(self, count: int) -> int:
        """The size to which a block of slots is padded."""


#: Packages that a backend needs, for a quick look at what is installed.
FRAMEWORKS = {"numpy": "dp_core", "torch": "dp_torch", "jax": "dp_jax", "tensorflow": "dp_tf"}

#: The suffixes of model files by backend; the first is the default.
SUFFIXES = {
    "numpy": (".dp", ".yaml", ".yml"),
    "torch": (".pth", ".pt2"),
    "jax": (".savedmodel", ".hlo"),
    "tensorflow": (".pb", ".savedmodeltf"),
}

#: The suffix of checkpoints by backend. Their content is the same for all: a model document with the training state.
CHECKPOINTS = {"numpy": ".dp", "torch": ".pt", "jax": ".jax", "tensorflow": ".tf"}


#: Types of the arrays in models and tables.
DTYPES = (np.float64, np.float32, np.int64, np.bool_)


def checked(x: np.ndarray, backend: str) -> np.ndarray:
    """The array. Raises BackendError for a type that models and tables do not have."""
    x = np.asarray(x)
    if x.dtype not in DTYPES:
        known = ", ".join(np.dtype(t).name for t in DTYPES)
        raise BackendError(
            f"An array has the type {x.dtype}, which the {backend} backend does not use. Known: {known}."
        )
    return x


def threads(kind: str, *others: str) -> int:
    """The number of threads that the environment asks for; 0 leaves it to the framework.

    It is that of ``DP_INTRA_OP_PARALLELISM_THREADS`` (kind "INTRA", or "INTER"), of the same name with ``TF_``, or else
    of the variables ``others``. Raises BackendError for what is no number.
    """
    names = [f"{program}_{kind}_OP_PARALLELISM_THREADS" for program in ("DP", "TF")]
    name, value = next(((n, os.environ[n]) for n in (*names, *others) if os.environ.get(n)), (names[0], "0"))
    if not value.isdigit():
        raise BackendError(f"{name} is {value!r}; give a number of threads, 0 for the choice of the framework.")
    return int(value)


def installed() -> list[str]:
    """Names of the backends whose package is installed, without importing them; NumPy last."""
    others = [name for name, package in FRAMEWORKS.items() if name != "numpy" and find_spec(package)]
    return [*others, "numpy"]


@cache
def get_backend(name: str) -> Backend:
    """The backend of that name, one of ``NAMES`` or of a plugin.

    Raises BackendError, with the command to install it, when it is absent or broken.
    """
    own = NAMES.get(name.lower(), (name, None))[0]
    if own != name:
        return get_backend(own)
    if name not in FRAMEWORKS and name not in registry.names("backend"):
        raise BackendError(f"Unknown backend {name!r}{nearest(name, [*NAMES, *registry.names('backend')])}")
    if name in FRAMEWORKS and not find_spec(FRAMEWORKS[name]):
        package = FRAMEWORKS[name].replace("_", "-")
        raise BackendError(f"The {name} backend is not installed. Install it with: pip install {package}")
    try:
        backend: Backend = registry.lookup("backend", name)()
    except ImportError as error:
        raise BackendError(f"The {name} backend is installed but does not load: {error}. Run: dp doctor") from error
    return backend


def default_backend() -> str:
    """The backend used when none is named: that of ``$DP_BACKEND``, else the first installed framework, else NumPy.

    Raises ConfigError for an unknown name.
    """
    wish = os.environ.get("DP_BACKEND", "")
    if not wish:
        return installed()[0]
    if wish.lower() not in NAMES and wish not in registry.names("backend"):
        raise ConfigError(f"The environment variable DP_BACKEND is {wish!r}{nearest(wish.lower(), NAMES)}")
    return NAMES.get(wish.lower(), (wish, None))[0]


def backend_of(path: str | Path) -> str:
    """The backend that a model file belongs to, by its suffix. Raises FormatError for an unknown one."""
    name = Path(path).name.lower()
    known = {backend: (*suffixes, CHECKPOINTS[backend]) for backend, suffixes in SUFFIXES.items()}
    matches = [(len(s), backend) for backend, suffixes in known.items() for s in suffixes if name.endswith(s)]
    if not matches:
        suffixes = {s for group in known.values() for s in group}
        raise FormatError(f"{path}: unknown suffix of a model file{nearest(Path(path).suffix, suffixes)}")
    return max(matches)[1]
