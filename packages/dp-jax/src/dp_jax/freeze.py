"""Frozen files: a model exported as StableHLO with open sizes, in an archive (.hlo) or beside a graph (.savedmodel)."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from dp_core import frozen
from dp_core.backend import Evaluator
from dp_core.errors import FormatError
from dp_core.format import seal
from dp_core.module import replace, tree_map
from dp_core.neighbors import Neighborhood
from dp_jax import sizes
from dp_jax.compiled import Compiled
from dp_jax.namespace import gradient
from dp_jax.savedmodel import import_tensorflow, write_graph

_GRAPH = "graph.export"  # the member that holds what jax.export wrote
_PLATFORMS = ("cpu", "cuda")


def exported(model: Any, inputs: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> export.Exported:
    """The graph of a model with JAX leaves, all sizes left open. Its arguments have the order of the inputs."""
    rows, slots = ([name for name in inputs if name.startswith(kind)] for kind in ("rows_", "slots_"))
    n, k = " + ".join(rows), " + ".join(slots)
    shapes = {
        "vectors": f"{n}, {k}, 3", "index": f"{n}, {k}", "types": n, "neighbor_types": f"{n}, {k}", "frame": n,
        "fparam": f"frames, {record['numb_fparam']}", "aparam": f"{n}, {record['numb_aparam']}", "weight": n,
    }  # fmt: skip
    shapes |= {name: name for name in (*rows, *slots)}
    scope = export.SymbolicScope()
    arguments = [
        jax.ShapeDtypeStruct(export.symbolic_shape(f"({shapes[name]},)", scope=scope), x.dtype)
        for name, x in inputs.items()
    ]
    function = jax.jit(frozen.graph(model, gradient), keep_unused=True)
    return export.export(function, platforms=_PLATFORMS)(*arguments)


def freeze(
    model: Any, document: bytes, path: Path, to_array: Callable[[np.ndarray], Any], reference: Evaluator
) -> None:
    """Write a frozen file; ``.savedmodel``, a folder, by its suffix, else ``.hlo``.

    model: the tree with NumPy leaves; reference: its evaluator, which the file must agree with.
    """
    tensorflow = import_tensorflow() if path.suffix == ".savedmodel" else None
    record = frozen.capabilities(model)
    inputs = frozen.graph_inputs(frozen.sample_table(model), record)
    made_graph = exported(tree_map(to_array, model), inputs, record)
    members = {_GRAPH: bytes(made_graph.serialize())} | frozen.contents(document, record)
    with frozen.writing(path, model, load, reference) as made:
        if tensorflow:
            made.mkdir()
            for name, content in members.items():
                (made / name).write_bytes(content)
            outputs = [output["name"] for output in record["outputs"]]
            write_graph(tensorflow, made_graph, record["inputs"], outputs, made)
            seal(made)
        else:
            with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in members.items():
                    archive.writestr(name, content)


def load(path: Path) -> Evaluator:
    """The evaluator in a frozen file. Raises FormatError for files that are damaged, foreign or too new."""
    record, found = frozen.read_frozen(path, "dp-jax", _GRAPH)
    try:
        function = export.deserialize(bytearray(found[_GRAPH])).call
    except Exception as error:  # the reader of jax.export fails in many ways
        raise FormatError(f"{path} does not load: {error}. Copy or freeze it again.") from error
    inputs, names = record["inputs"], [output["name"] for output in record["outputs"]]

    def run(table: Neighborhood) -> tuple[dict[str, Any]]:
        counts = (*table.row_counts, *table.slot_counts)
        arrays = [getattr(table, name) for name in inputs[: -len(counts)]]
        out = function(*arrays, *(jnp.arange(count) for count in counts))
        return (dict(zip(names, out, strict=True)),)

    compiled = Compiled("frozen model", run)

    def evaluate(table: Neighborhood) -> dict[str, np.ndarray]:
        full, rows, slots = sizes.without_empty(table)
        given = frozen.graph_inputs(full, record)
        fparam = sizes.with_rounded_rows(given["fparam"])
        (found,) = compiled(replace(full, fparam=fparam, aparam=given["aparam"], weight=given.get("weight")))
        out = {name: np.asarray(x) for name, x in found.items()}
        if full is not table:
            out = {name: x[rows] for name, x in out.items()}
            if "gradient" in out:
                out["gradient"] = out["gradient"][:, slots]
        return out

    return evaluate
