"""What tests of models on backends share: stored models, tables of any size, and a small loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.backend import Backend
from dp_core.model_file import load_model
from dp_core.module import module, tree_map, with_leaves
from dp_core.neighbors import Neighborhood
from dp_core.outputs import evaluate_atoms, forces

GOLDEN = Path(__file__).parent / "tests" / "golden"


@pytest.fixture
def model() -> Any:
    """A stored model of two types."""
    return load_model(GOLDEN / "se_e2_a_oneside.dp")


@pytest.fixture
def stored() -> Callable[[str], Any]:
    """``stored(name)`` reads a stored model."""
    return lambda name: load_model(GOLDEN / f"{name}.dp")


@pytest.fixture
def make_table() -> Callable[..., Neighborhood]:
    """A random table for a model: blocks of rows and slots of given sizes, some empty slots, some padding rows."""

    def make(
        model: Any, rows: Sequence[int], slots: Sequence[int], *, frames: int = 2, seed: int = 0, padding: bool = True
    ) -> Neighborhood:
        spec, fitting = model.neighbor_spec, model.fitting
        random = np.random.default_rng(seed)
        n, k = sum(rows), sum(slots)
        neighbor_types = np.tile(np.repeat(np.arange(len(slots)), slots), (n, 1))
        neighbor_types[random.random((n, k)) < 0.3] = -1
        vectors = random.uniform(0.2, 0.55, (n, k, 3)) * spec.rcut
        vectors[neighbor_types < 0] = 0.0
        types = np.repeat(np.arange(len(rows)), rows)
        if padding and n > 5:
            types[rows[0] - 1] = -1
        return Neighborhood(
            vectors=vectors,
            index=np.where(neighbor_types < 0, -1, random.integers(0, max(n, 1), (n, k))),
            types=types,
            neighbor_types=neighbor_types,
            frame=np.arange(n) % frames,
            fparam=random.normal(size=(frames, fitting.numb_fparam)) if fitting.numb_fparam else None,
            aparam=random.normal(size=(n, fitting.numb_aparam)) if fitting.numb_aparam else None,
            row_counts=tuple(rows),
            slot_counts=tuple(slots),
        )

    return make


@module
class LabelledTable:
    """A batch with one label for each component of the forces."""

    table: Any
    force: Any


@pytest.fixture
def make_batch(make_table: Callable[..., Neighborhood]) -> Callable[..., LabelledTable]:
    """A batch with random labels."""

    def make(model: Any, rows: Sequence[int], slots: Sequence[int], seed: int = 0) -> LabelledTable:
        table = make_table(model, rows, slots, seed=seed)
        return LabelledTable(table, np.random.default_rng(seed).normal(size=(sum(rows), 3)))

    return make


@pytest.fixture
def loss_of() -> Callable[[Any, Backend], Any]:
    """``loss_of(model, backend)``: mean squares of atomic energies and of the errors of forces."""

    def make(model: Any, backend: Backend) -> Any:
        template = tree_map(backend.array, model)

        def loss(params: Any, batch: LabelledTable, gradient: Any) -> Any:
            out = evaluate_atoms(with_leaves(template, params), batch.table, gradient)
            error = forces(out["gradient"], batch.table.index, arrays.shape(batch.force)[0]) - batch.force
            xp = namespace(error)
            energy, force = xp.mean(out["energy"] ** 2), xp.mean(error**2)
            return energy + force, {"rmse_f": xp.sqrt(force)}

        return loss

    return make
