"""Frozen files: a model exported as StableHLO with open sizes, in an archive (.hlo) or beside a graph (.savedmodel)."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
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
from dp_core.format import read_bytes
from dp_core.frozen import graph
from dp_core.model_file import MEMBER, archive_members
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
        "fparam": f"frames, {record['numb_fparam']}", "aparam": f"{n}, {record['numb_aparam']}",
    }  # fmt: skip
    shapes |= {name: name for name in (*rows, *slots)}
    scope = export.SymbolicScope()
    arguments = [
        jax.ShapeDtypeStruct(export.symbolic_shape(f"({shapes[name]},)", scope=scope), x.dtype)
        for name, x in inputs.items()
    ]
    function = jax.jit(graph(model, gradient), keep_unused=True)
    return export.export(function, platforms=_PLATFORMS)(*arguments)


def freeze(
    model: Any, document: bytes, path: Path, to_array: Callable[[np.ndarray], Any], reference: Evaluator
) -> None:
    """Write a frozen file; ``.savedmodel``, a folder, by its suffix, else ``.hlo``.

    model: the tree with NumPy leaves; reference: its evaluator, which the file must agree with.
    """
    tensorflow = import_tensorflow() if path.suffix == ".savedmodel" else None
    record = frozen.capabilities(model)
    sample = frozen.sample_table(model)
    inputs = frozen.graph_inputs(sample, record)
    made_graph = exported(tree_map(to_array, model), inputs, record)
    members = {
        _GRAPH: bytes(made_graph.serialize()),
        MEMBER: document,
        frozen.RECORD: json.dumps(record, indent=1).encode(),
    }
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".freeze-") as folder:
        made = Path(folder) / path.name
        if tensorflow:
            made.mkdir()
            for name, content in members.items():
                (made / name).write_bytes(content)
            outputs = [output["name"] for output in record["outputs"]]
            write_graph(tensorflow, made_graph, record["inputs"], outputs, made)
        else:
            with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in members.items():
                    archive.writestr(name, content)
        table = frozen.smaller_table(sample)  # of sizes that the graph was not traced with
        frozen.check_agrees(load(made)(table), reference(table))
        _replace(made, path)


def _replace(made: Path, path: Path) -> None:
    """Put a file or folder in its place; a folder that is there gives way, which is no single step."""
    if made.is_dir() and path.is_dir() and not path.is_symlink():
        old = made.with_name("old")
        os.replace(path, old)
        os.replace(made, path)
        shutil.rmtree(old)
    else:
        os.replace(made, path)


def load(path: Path) -> Evaluator:
    """The evaluator in a frozen file. Raises FormatError for files that are damaged, foreign or too new."""
    record, content = _members(path)
    try:
        function = export.deserialize(bytearray(content)).call
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
        (found,) = compiled(replace(full, fparam=fparam, aparam=given["aparam"]))
        out = {name: np.asarray(x) for name, x in found.items()}
        if full is not table:
            out = {name: x[rows] for name, x in out.items()}
            if "gradient" in out:
                out["gradient"] = out["gradient"][:, slots]
        return out

    return evaluate


def _members(path: Path) -> tuple[dict[str, Any], bytes]:
    """The record and the graph in a frozen file."""
    names = (frozen.RECORD, _GRAPH)
    if path.is_dir():
        found = {name: read_bytes(path / name) for name in names if (path / name).is_file()}
    else:
        found = archive_members(path, *names)
    if len(found) < len(names):
        raise FormatError(
            f"{path} was not written by dp. Convert it to .dp with the program that wrote it; dp can freeze that."
        )
    return frozen.read_record(found[frozen.RECORD], path, "dp-jax"), found[_GRAPH]
