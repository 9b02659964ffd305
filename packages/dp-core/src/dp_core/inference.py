"""Model files opened for evaluation: what the predictors of every kind of model share."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dp_core import arrays
from dp_core.backend import SUFFIXES, Backend, Derived, DerivedEvaluator, Evaluator, default_backend, get_backend
from dp_core.call_inputs import as_structures, checked_structure, full_parameters, spins_of
from dp_core.errors import BackendError, ConfigError, DataError
from dp_core.long_range import LongRange, refuse_atomic_virial, with_long_range
from dp_core.model_file import load_model
from dp_core.model_info import ModelInfo
from dp_core.models.protocol import members, message_passing, no_second_derivatives, type_embeddings
from dp_core.module import Array
from dp_core.neighbors import Floats, Ints, Neighborhood, PairList, frame_pairs
from dp_core.nn.type_embedding import TypeEmbedding
from dp_core.outputs import evaluate_along
from dp_core.prediction import Parameters, Prediction, Structure, hessian, predict, tables
from dp_core.virtual_atoms import VirtualAtoms, virtual_atoms

log = logging.getLogger(__name__)


# named, because a backend that compiles knows a function again by its identity
def _descriptor(model: Any, table: Neighborhood) -> Array:
    return model.eval_descriptor(table)


def _last_layer(model: Any, table: Neighborhood) -> Array:
    return model.eval_embedding(table)[1]


def _embedding(model: Any, table: Neighborhood) -> Array:
    return arrays.concat([arrays.cast(x, "float64") for x in model.eval_embedding(table)], axis=-1)


def _of_types(embeddings: tuple[TypeEmbedding, ...], _: Any) -> Array:
    return arrays.concat([embedding() for embedding in embeddings], axis=-1)


class Predictor(ModelInfo):
    """A model on a backend, for evaluation; what the predictors of every kind of model share.

    model: path of a model file (``.dp``, ``.yaml``, a checkpoint, or a frozen file of any backend), or a model tree.
    backend: name of the backend. None takes the one a frozen file was made for, else ``$DP_BACKEND``, else the first
    installed one. Any backend evaluates any file, through the document that each file holds.
    auto_batch_size: how many atoms are evaluated together: True for what suits the backend (or
    ``$DP_INFER_BATCH_SIZE``), a number of atoms, or False for all at once.

    Raises FormatError if the file is none of dp's, BackendError if its backend is not installed.
    """

    kind: str | None = None  # what the model must predict; None for anything
    has_efield = False

    def __init__(self, model: str | Path | Any, backend: str | None = None, auto_batch_size: bool | int = True) -> None:
        is_path = isinstance(model, str | Path)
        self._model: Any = load_model(model) if is_path else model
        if not hasattr(self._model, "neighbor_spec"):
            raise ConfigError(f"A model is the path of a file or a model tree; this is {type(model).__name__}.")
        tree: Any = self._model
        output = tree.output
        if self.kind not in (None, output.kind):
            raise ConfigError(
                f"The model predicts {output.name!r}, which is no {self.kind}, so it is nothing for "
                f"{type(self).__name__}. DeepEval opens any model."
            )
        frozen_for = _frozen_for(model) if is_path else None
        self._backend: Backend = get_backend(backend or frozen_for or default_backend())
        self._name = self._backend.name
        self._evaluate: Evaluator | None
        if is_path and self._name == frozen_for:
            self._evaluate = self._backend.load(Path(model))
        else:
            self._evaluate = self._backend.evaluator(self._model)
        self._derived: dict[Derived, DerivedEvaluator] = {}  # of other functions of the model, once they are asked for
        self._long_range = LongRange(self._model, self._backend)
        self._rows = _table_rows(auto_batch_size, self._backend)
        self._warned = self._warned_of_spins = False

    @property
    def backend_name(self) -> str:
        """Name of the backend that evaluates."""
        return self._name

    # evaluation

    def predict(
        self,
        structures: Sequence[Structure],
        *,
        fparam: ArrayLike | None = None,
        aparam: ArrayLike | None = None,
        charge_spin: ArrayLike | None = None,
        spin: ArrayLike | None = None,
        atomic_virial: bool = False,
        pairs: Sequence[PairList] | None = None,
    ) -> Prediction:
        """Energies, forces and virials of frames of any sizes, or what the model predicts instead.

        fparam: (frames, d); aparam: (all atoms, d), frame after frame; charge_spin: (frames, 2); spin: (all atoms,
        3) in μB. One set of parameters serves all frames or atoms, or the atoms of each of equal frames. ``pairs``, of
        ``neighbors.frame_pairs`` with a skin, may be used again while no atom has moved more than half of that skin;
        those of models with spins are of the atoms and virtual atoms. A structure is anything with ``coord``, ``box``
        and ``types``.

        Raises DataError for inputs that do not fit the model.
        """
        structures = [checked_structure(s, f"structure {k}") for k, s in enumerate(structures)]
        natoms = [len(s.types) for s in structures]
        same = natoms[0] if len(set(natoms)) == 1 else None
        parameters = full_parameters(self._model, len(natoms), sum(natoms), same, fparam, aparam, charge_spin)
        spins = self._spins(structures, spin)
        return self._predicted(structures, natoms, parameters, spins, atomic_virial=atomic_virial, pairs=pairs)

    def _predicted(
        self,
        structures: Sequence[Structure],
        natoms: Sequence[int],
        parameters: Parameters,
        spins: Sequence[Floats] | None = None,
        *,
        atomic_virial: bool = False,
        pairs: Sequence[PairList] | None = None,
        evaluate: Evaluator | None = None,
    ) -> Prediction:
        """What the model predicts; ``evaluate`` takes the place of the backend's evaluator.

        spins: those of each structure, of models that have them.
        """
        virtual = virtual_atoms(self._model)
        seen, counts = structures, natoms
        if virtual is not None:
            assert spins is not None
            seen = [virtual.structure(s, spin) for s, spin in zip(structures, spins, strict=True)]
            counts, parameters = [2 * n for n in natoms], virtual.parameters(parameters, natoms)
        parts = self._tables(seen, parameters, pairs)
        output, function = self._model.output, evaluate or self._evaluator()
        if self._long_range:
            refuse_atomic_virial(atomic_virial)
        result, wanted = predict(function, parts, counts, output, atomic_virial=atomic_virial)
        self._warn_of_overflow(wanted)
        if virtual is not None and spins is not None:
            result = virtual.folded(result, structures, spins)
        return with_long_range(result, self._long_range(structures)) if self._long_range and structures else result

    def _spins(self, structures: Sequence[Structure], spin: ArrayLike | None) -> list[Floats] | None:
        """The spins of each structure, None for models without. Raises DataError where they are missing or too many."""
        virtual = virtual_atoms(self._model)
        if spin is not None and virtual is not None:
            spins = spins_of(spin, [s.types for s in structures])
            self._warn_of_spins(virtual, structures, spins)
            return spins
        if spin is None and virtual is None:
            return None
        if spin is not None:
            raise DataError("spin was given, but the model has no spins. Leave it out, or open a model with spins.")
        raise DataError("The model has spins; give spin as (frames, atoms, 3) numbers in μB.")

    def hessian(
        self,
        structure: Structure,
        *,
        fparam: ArrayLike | None = None,
        aparam: ArrayLike | None = None,
        charge_spin: ArrayLike | None = None,
    ) -> Floats:
        """Second derivatives of the energy of one frame, (3N, 3N) in eV/Å², by the backend. Parameters as in ``eval``.

        It takes 3N evaluations of derivatives of the force, and memory for the result and for tables of the frame, or
        of as many copies of a small one as suit the backend, and fewer with a smaller ``auto_batch_size``. Raises
        ConfigError for models without, of spins or with a long-range part.
        """
        structure = checked_structure(structure, "the structure")
        natoms = len(structure.types)
        return self._hessian(structure, full_parameters(self._model, 1, natoms, natoms, fparam, aparam, charge_spin))

    def _hessian(self, structure: Structure, parameters: Parameters) -> Floats:
        """As ``hessian``, with the parameters of the frame in full size."""
        if why := no_second_derivatives(self._model):
            energy = self._model.output.kind == "energy"
            remedy = "Take differences of the forces of predict." if energy else "Open a model of the energy."
            raise ConfigError(f"{why} {remedy}")
        evaluate, natoms = self._derivative(evaluate_along), len(structure.types)
        if not natoms:
            return np.zeros((0, 0))
        together = min(self._rows, self._backend.chunk_rows)  # without auto_batch_size, rows have no limit
        copies = min(3 * natoms, max(1, together // natoms))
        pairs = frame_pairs(structure.coord, structure.box, structure.types, self.neighbor_spec)
        parts = list(self._tables([structure] * copies, parameters.repeated(copies), [pairs] * copies))
        self._warn_of_overflow(np.max([part.wanted for part in parts], axis=0))
        return hessian(evaluate, parts, natoms, copies)

    def eval_descriptor(
        self,
        coords: ArrayLike,
        cells: ArrayLike | None,
        atom_types: ArrayLike,
        fparam: ArrayLike | None = None,
        aparam: ArrayLike | None = None,
        mixed_type: bool = False,
        dtype: Any = None,
        charge_spin: ArrayLike | None = None,
        spin: ArrayLike | None = None,
    ) -> NDArray[np.floating]:
        """The descriptor of every atom, (frames, atoms, width), in the NumPy type ``dtype``. Inputs as in ``eval``."""
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, charge_spin)
        return self._features(_descriptor, *inputs, dtype, spin)

    def eval_fitting_last_layer(
        self,
        coords: ArrayLike,
        cells: ArrayLike | None,
        atom_types: ArrayLike,
        fparam: ArrayLike | None = None,
        aparam: ArrayLike | None = None,
        mixed_type: bool = False,
        dtype: Any = None,
        charge_spin: ArrayLike | None = None,
        spin: ArrayLike | None = None,
    ) -> NDArray[np.floating]:
        """The values before the output layer of the fitting, (frames, atoms, width). Inputs as in ``eval``."""
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, charge_spin)
        return self._features(_last_layer, *inputs, dtype, spin)

    def eval_embedding(
        self,
        coords: ArrayLike,
        cells: ArrayLike | None,
        atom_types: ArrayLike,
        fparam: ArrayLike | None = None,
        aparam: ArrayLike | None = None,
        mixed_type: bool = False,
        dtype: Any = np.float32,
        charge_spin: ArrayLike | None = None,
        spin: ArrayLike | None = None,
    ) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
        """Descriptors (frames, atoms, width), values before the output layer (frames, atoms, m), and their sum.

        The sum is that of the atoms of each frame, (frames, m), virtual ones left out. Inputs as in ``eval``.
        """
        inputs = self._inputs(coords, cells, atom_types, fparam, aparam, mixed_type, charge_spin)
        both = self._features(_embedding, *inputs, None, spin)
        width = next((member.model.descriptor.dim_out for member in members(self._model)), 0)
        descriptor, hidden = both[..., :width], both[..., width:]
        return descriptor.astype(dtype), hidden.astype(dtype), hidden.sum(axis=1).astype(dtype)

    def eval_typeebd(self) -> NDArray[np.floating]:
        """The numbers that stand for each type, (types + 1, width), in the last row those of padding, zeros.

        Of models with spins, the virtual atoms of each type have a row after those of the types: (2·types + 1, width).
        Where the file says that its embedding has no padding, the last row is absent. They are those of the model whose
        descriptor ``eval_descriptor`` gives; of a hybrid, side by side. Raises ConfigError for models without.
        """
        self._evaluator()
        found = type_embeddings(self._model)
        if not found:
            raise ConfigError(
                "The model has no type embedding: its descriptor has networks for each type. Those of dpa1, "
                "se_atten_v2, se_e3_tebd, dpa2, dpa3, and of se_e2_a with model/type_embedding, have one."
            )
        return self._backend.apply(_of_types, found, ())

    def close(self) -> None:
        """Free the model's memory on the backend; nothing can be evaluated afterwards."""
        self._evaluate = None
        self._derived = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _evaluator(self) -> Evaluator:
        if self._evaluate is None:
            raise BackendError("This model is closed. Open the file again.")
        return self._evaluate

    def _derivative(self, function: Derived) -> DerivedEvaluator:
        """What evaluates another function of the model and its derivative, by its document; made once."""
        self._evaluator()  # raises for a closed model
        if function not in self._derived:
            self._derived[function] = self._backend.evaluator(self._model, function)
        return self._derived[function]

    def _tables(self, structures: Sequence[Structure], parameters: Parameters, pairs: Any = None) -> Any:
        whole = message_passing(self._model)
        # the energy of virtual atoms is zero, so that they need no rows but to pass messages on
        centers = len(self._model.type_map) if self.has_spin and not whole else None
        return tables(
            structures,
            self.neighbor_spec,
            self._backend,
            rows=self._rows,
            whole=whole,
            parameters=parameters,
            pairs=pairs,
            centers=centers,
        )

    def _features(
        self,
        function: Callable[[Any, Any], Any],
        structures: Sequence[Structure],
        na: int,
        parameters: Parameters,
        dtype: Any,
        spin: ArrayLike | None,
    ) -> NDArray[np.floating]:
        """One row of numbers for every atom of frames with ``na`` atoms each: (frames, atoms, width)."""
        self._evaluator()
        nframes, wished = len(structures), na
        virtual, spins = virtual_atoms(self._model), self._spins(structures, spin)
        if virtual is not None and spins is not None:
            structures = [virtual.structure(s, x) for s, x in zip(structures, spins, strict=True)]
            na, parameters = 2 * na, virtual.parameters(parameters, [na] * nframes)
        result: NDArray[np.floating] | None = None
        wanted = np.zeros(1, np.int64)
        for part in self._tables(structures, parameters):
            values = self._backend.apply(function, self._model, part.batch.table)
            if result is None:
                result = np.zeros((nframes * na, values.shape[1]), dtype or values.dtype)
            rows = part.batch.rows
            result[part.atoms][rows[rows >= 0]] = values[rows >= 0]
            wanted = np.maximum(wanted, part.wanted)
        self._warn_of_overflow(wanted)
        return np.zeros((0, wished, 0)) if result is None else result.reshape(nframes, na, -1)[:, :wished]

    def _inputs(
        self,
        coords: ArrayLike,
        cells: ArrayLike | None,
        atom_types: ArrayLike,
        fparam: ArrayLike | None,
        aparam: ArrayLike | None,
        mixed_type: bool,
        charge_spin: ArrayLike | None,
    ) -> tuple[list[Structure], int, Parameters]:
        """The frames, how many atoms each has, and the parameters in full size."""
        structures = as_structures(coords, cells, atom_types, mixed_type)
        nf, na = len(structures), np.shape(atom_types)[-1]
        return structures, na, full_parameters(self._model, nf, nf * na, na, fparam, aparam, charge_spin)

    def _warn_of_spins(self, virtual: VirtualAtoms, structures: Sequence[Structure], spins: Sequence[Floats]) -> None:
        for k, (structure, spin) in enumerate(zip(structures, spins, strict=True)):
            if not self._warned_of_spins and (told := virtual.unseen(structure.types, spin, self._model.type_map)):
                self._warned_of_spins = True
                log.warning("Frame %d: %s", k, told)

    def _warn_of_overflow(self, wanted: Ints) -> None:
        if self._warned or len(wanted) == 1:  # nothing was evaluated
            return
        names = getattr(self._model, "backbone", self._model).type_map
        for spec, found in self.neighbor_spec.crowded(wanted):
            self._warned = True
            words = [f"{n} {name}" for n, name in zip(found, [*names, "in all"])] if spec.by_type else [str(found[-1])]
            log.warning(
                "An atom has more neighbours within %g Å than the model was made for; only the nearest count, so "
                "energies jump when a neighbour enters. Largest numbers found: %s. Numbers of the model (sel): %s. "
                "Train with sel of at least the numbers found.",
                spec.rcut, ", ".join(words), list(spec.sel),
            )  # fmt: skip


def _frozen_for(path: str | Path) -> str | None:
    """The backend that a frozen file was made for; None for documents and checkpoints."""
    name = str(path).lower()
    return next((b for b, suffixes in SUFFIXES.items() if b != "numpy" and name.endswith(suffixes)), None)


def _table_rows(auto_batch_size: bool | int, backend: Backend) -> int:
    if auto_batch_size is False:
        return np.iinfo(np.int64).max
    if auto_batch_size is True:
        wanted = os.environ.get("DP_INFER_BATCH_SIZE")
        if wanted is None:
            return backend.chunk_rows
        if not wanted.isdigit() or int(wanted) < 1:
            raise ConfigError(f"DP_INFER_BATCH_SIZE is {wanted!r}; give a positive number of atoms, or unset it.")
        return int(wanted)
    if auto_batch_size < 1:
        raise ConfigError(f"auto_batch_size is {auto_batch_size}; give a positive number of atoms.")
    return int(auto_batch_size)
