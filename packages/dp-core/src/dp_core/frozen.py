"""The graph in a frozen file: its inputs and outputs, the same for all models and backends, and the record beside it.

Inputs, in this order (n rows, K slots, F frames):

========================  =========  =====================================================================
``vectors``               (n, K, 3)  float64, r_j − r_i in Å; 0 in an empty slot
``index``                 (n, K)     int64, row of the neighbour; −1 in an empty slot
``types``                 (n,)       int64, −1 for a padding row
``neighbor_types``        (n, K)     int64, −1 in an empty slot
``frame``                 (n,)       int64, the frame that the row belongs to
``fparam``                (F, d)     float64, d = ``numb_fparam``, which may be 0; the last ``dim_chg_spin`` (2 or 0)
                                     are the total charge and multiplicity
``aparam``                (n, d)     float64, d = ``numb_aparam``, which may be 0
``weight``                (n,)       float64, see ``evaluate_atoms``; only of models that pass messages
``rows_0``, ``rows_1`` …  (count,)   int64, one for each block of rows; only their lengths count
``slots_0``, …            (count,)   int64, one for each block of slots; only their lengths count
========================  =========  =====================================================================

There are as many blocks of rows as the record says (``blocks``): one, or one for each type. There are as many blocks
of slots, and one more for each of the ``shells`` of the record. Outputs are those of every atom in the order of the
record: the output of the model, ``mask``, and ``gradient`` if that output is differentiable.

Models with spins have no further inputs: their virtual atoms are atoms of the table, see docs/frozen.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from dp_core import arrays
from dp_core.backend import Evaluator
from dp_core.errors import BackendError, ConfigError, DataError, FormatError
from dp_core.format import replaced
from dp_core.inputs import dim_chg_spin, frame_default, frame_width, numb_aparam, uses_aparam
from dp_core.long_range import long_range
from dp_core.model_file import MEMBER, RECORD, members
from dp_core.models.protocol import message_passing, message_reach
from dp_core.module import Array, leaves, replace
from dp_core.neighbors import Neighborhood
from dp_core.outputs import Gradient, evaluate_atoms
from dp_core.virtual_atoms import virtual_atoms

_NEWEST = 3  # version of the record that this program understands
#: Differences between a graph and its model that rounding explains, relative to the largest number of an output.
_ROUNDING = {"float64": 1e-9, "float32": 1e-4}

_FIXED = ("vectors", "index", "types", "neighbor_types", "frame", "fparam", "aparam")
_WEIGHT = "weight"


def precision(model: Any) -> str:
    """The lowest precision in which a part of a model computes, ``float64`` or ``float32``.

    A part converts its inputs to its ``precision``; statistics and weights may be stored in another.
    """
    found = {str(leaf.dtype) for leaf in leaves(model).values()} | set(_named_precisions(model))
    return "float32" if "float32" in found else "float64"


def _named_precisions(tree: Any) -> Iterator[str]:
    """The field ``precision`` of every module in a tree."""
    if getattr(tree, "__dp_module__", False):
        for name in (f.name for f in fields(tree)):
            value = getattr(tree, name)
            yield from [value] if name == "precision" else _named_precisions(value)
    elif isinstance(tree, tuple | list | Mapping):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _named_precisions(value)


def capabilities(model: Any) -> dict[str, Any]:
    """What a program must know to use a frozen model: the record, of plain JSON values."""
    spec, output = model.neighbor_spec, model.output
    if spec.fragments:
        raise ConfigError(
            "A model of the type pairwise_dprc tells the fragments of atoms apart, which neither the graph of a frozen "
            "file nor a program that brings its own neighbours does. Evaluate its .dp file in Python or by dp test."
        )
    default = frame_default(model)
    derivative = {
        "name": "gradient",
        "shape": ["n", "K", output.size, 3] if output.shape else ["n", "K", 3],
        "unit": f"{output.unit}/Å",
        "reducible": False,
        "differentiable": False,
    }
    virtual = virtual_atoms(model)
    spin = {} if virtual is None else {"spin": {"scale": virtual.scale.tolist()}}
    blocks = [f"rows_{k}" for k in range(spec.blocks)] + [f"slots_{k}" for k in range(spec.slot_blocks)]
    messages, reach = message_passing(model), message_reach(model)
    return {
        # who does not know of virtual atoms, or of weights, must not use the graph
        "version": 3 if messages else 1 if virtual is None else 2,
        "type_map": list(model.type_map),
        **spin,
        "rcut": spec.rcut,
        "sel": list(spec.sel),
        "by_type": spec.by_type,
        "types_alone": spec.types_alone,
        "marks_first": spec.marks_first,
        "closest": spec.closest,
        "blocks": spec.blocks,
        "shells": [list(shell) for shell in spec.shells],
        "exclude_pairs": sorted(list(pair) for pair in spec.exclude),
        "message_passing": messages,
        **({"message_reach": {"steps": reach[0], "radius": reach[1]}} if reach else {}),
        "precision": precision(model),
        "long_range": _beside_the_graph(model),
        "numb_fparam": frame_width(model),
        "dim_chg_spin": dim_chg_spin(model),
        "numb_aparam": numb_aparam(model) if uses_aparam(model) else 0,
        "default_fparam": list(default) if default else None,
        "inputs": [*_FIXED, *([_WEIGHT] if messages else []), *blocks],
        "outputs": [
            {
                "name": output.name,
                "kind": output.kind,
                "shape": ["n", output.size],
                "unit": output.unit,
                "reducible": output.reducible,
                "differentiable": output.differentiable,
                "intensive": output.intensive,
            },
            {"name": "mask", "shape": ["n"], "unit": "1", "reducible": False, "differentiable": False},
            *([derivative] if output.differentiable else []),
        ],
    }


def _beside_the_graph(model: Any) -> str | None:
    """What the graph leaves out: ``modifier``, which a program may add itself, or ``member`` of a sum; or None."""
    found = long_range(model)
    if len(found) > (getattr(model, "modifier", None) is not None):
        return "member"
    return "modifier" if found else None


def contents(document: bytes, record: dict[str, Any]) -> dict[str, bytes]:
    """What every frozen file holds beside its graph: the members by name."""
    return {MEMBER: document, RECORD: json.dumps(record, indent=1).encode()}


def read_frozen(path: Path, package: str, *names: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The record of a frozen file, and other members of it, read by ``package`` without the framework.

    Raises FormatError if the file is damaged, foreign or too new.
    """
    found = members(path, RECORD, *names)
    try:
        record: dict[str, Any] = json.loads(found.pop(RECORD))
        version = int(record["version"])
        if version <= _NEWEST:
            for key in ("inputs", "outputs", "numb_fparam", "numb_aparam", "default_fparam", "message_passing"):
                record[key]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is damaged: its record is unreadable ({error}). Copy or freeze it again.") from error
    if version > _NEWEST:
        raise FormatError(
            f"{path} has version {version} of the frozen format, and this {package} reads up to {_NEWEST}. "
            f"Update it: pip install --upgrade {package}"
        )
    return record, found


@contextmanager
def writing(path: Path, model: Any, load: Callable[[Path], Evaluator], reference: Evaluator) -> Iterator[Path]:
    """A name for the frozen file of a model, which takes its place at ``path`` if it gives what the model gives.

    load: gives the evaluator of the file; reference: that of the model. Raises BackendError where they disagree.
    """
    with replaced(path, replaceable=MEMBER) as made:
        yield made
        table = smaller_table(sample_table(model))  # of sizes that the graph was not traced with
        check_agrees(load(made)(table), reference(table), precision(model))


def check_agrees(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], precision: str) -> None:
    """Raise BackendError if a frozen graph gives other outputs than the model that it was made of.

    Differences may be those of rounding in the precision, relative to the largest number of the output or to 1.
    """
    for name, wanted in expected.items():
        values, limit = found[name], _ROUNDING[precision] * np.abs(wanted).max(initial=1.0)
        if values.shape != wanted.shape or not np.all(np.abs(values - wanted) <= limit):
            raise BackendError(
                f"The frozen graph gives another {name!r} than the model, so no file was written. Please report the "
                "model to the authors of dp; meanwhile freeze it to another suffix, or use the .dp file."
            )


def graph(model: Any, gradient: Gradient) -> Callable[..., tuple[Array, ...]]:
    """The function to be frozen: the inputs in order -> the outputs in order."""
    record = capabilities(model)
    blocks = record["blocks"]
    fixed = [name for name in record["inputs"] if name in (*_FIXED, _WEIGHT)]
    names = [output["name"] for output in record["outputs"]]

    def evaluate(*inputs: Array) -> tuple[Array, ...]:
        table = dict(zip(fixed, inputs, strict=False))
        counts = tuple(arrays.shape(x)[0] for x in inputs[len(fixed) :])
        for key in ("fparam", "aparam"):
            if not record[f"numb_{key}"]:
                table[key] = None
        out = evaluate_atoms(
            model, Neighborhood(**table, row_counts=counts[:blocks], slot_counts=counts[blocks:]), gradient
        )
        return tuple(out[name] for name in names)

    return evaluate


def graph_inputs(table: Neighborhood, record: dict[str, Any]) -> dict[str, np.ndarray]:
    """The inputs of a frozen graph by name, in order, from a table of NumPy arrays.

    Raises DataError where parameters are missing that have no default.
    """
    nframes = int(table.frame.max(initial=0)) + 1
    inputs = {name: getattr(table, name) for name in _FIXED}
    for key, count in (("fparam", nframes), ("aparam", len(table.types))):
        if not record[f"numb_{key}"]:
            inputs[key] = np.zeros((count, 0))
        elif inputs[key] is None:
            default = record["default_fparam"] if key == "fparam" else None
            if default is None:
                raise DataError(f"The model needs {record[f'numb_{key}']} numbers of {key}; none were given.")
            inputs[key] = np.tile(np.asarray(default, np.float64), (count, 1))
    if _WEIGHT in record["inputs"]:
        inputs[_WEIGHT] = np.ones(len(table.types)) if table.weight is None else table.weight
    for kind, counts in (("rows", table.row_counts), ("slots", table.slot_counts)):
        inputs |= {f"{kind}_{k}": np.arange(count) for k, count in enumerate(counts)}
    return inputs


def sample_table(model: Any) -> Neighborhood:
    """A table to trace a model with; its sizes are all different. They may exceed sel."""
    spec = model.neighbor_spec
    random = np.random.default_rng(0)
    sizes = iter((11, 13, 17, 19, 23, *range(25, 1000)))
    rows, slots = ([next(sizes) for _ in range(count)] for count in (spec.blocks, spec.slot_blocks))
    n, width, nframes, parameters = sum(rows), sum(slots), 7, frame_width(model)
    neighbor_types = np.repeat(np.arange(spec.blocks), slots) if spec.in_blocks else np.zeros(width, np.int64)
    return Neighborhood(
        vectors=random.uniform(0.2, 0.5, (n, width, 3)) * spec.rcut,
        index=random.integers(0, n, (n, width)),
        types=np.repeat(np.arange(spec.blocks), rows),
        neighbor_types=np.tile(neighbor_types, (n, 1)),
        frame=np.arange(n) % nframes,
        fparam=random.uniform(0.0, 3.0, size=(nframes, parameters)) if parameters else None,
        aparam=random.normal(size=(n, numb_aparam(model))) if numb_aparam(model) else None,
        row_counts=tuple(rows),
        slot_counts=tuple(slots),
        weight=random.uniform(size=n) if message_passing(model) else None,
    )


def smaller_table(table: Neighborhood) -> Neighborhood:
    """The table without the last row and slot of each block: other sizes, to check a frozen graph with."""
    rows, slots = (
        np.concatenate([np.arange(end - count, end - 1) for count, end in zip(counts, np.cumsum(counts), strict=True)])
        for counts in (table.row_counts, table.slot_counts)
    )
    cut = {name: getattr(table, name)[rows][:, slots] for name in ("vectors", "index", "neighbor_types")}
    cut |= {name: getattr(table, name)[rows] for name in ("types", "frame")}
    return replace(
        table,
        **cut | {"index": cut["index"] % len(rows)},
        aparam=None if table.aparam is None else table.aparam[rows],
        weight=None if table.weight is None else table.weight[rows],
        row_counts=tuple(c - 1 for c in table.row_counts),
        slot_counts=tuple(c - 1 for c in table.slot_counts),
    )
