"""Frozen files: a model traced to a graph of plain PyTorch operators, as TorchScript (.pth) or compiled (.pt2)."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from dp_core import frozen
from dp_core.errors import FormatError
from dp_core.module import replace, tree_map
from dp_core.neighbors import Neighborhood
from dp_core.outputs import evaluate_atoms
from dp_torch.autodiff import gradient
from dp_torch.compiled import require_compiler

_SLOTS = 6000  # slots of a table that are evaluated together on a CPU


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the framework's remarks about its own future."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def trace(model: Any, inputs: Mapping[str, Tensor]) -> fx.GraphModule:
    """The graph of a model with tensor leaves, all sizes left open. Its arguments have the names of the inputs."""
    from torch.fx.experimental import _config as shapes
    from torch.fx.experimental.proxy_tensor import make_fx

    function = frozen.graph(model, gradient)

    def evaluate(*args: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return function(*args)

    # sizes that are equal here may differ later
    with _quiet(), shapes.patch(use_duck_shape=False):
        graph = make_fx(evaluate, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*inputs.values())
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    for node, name in zip(placeholders, inputs, strict=True):
        node.name = node.target = name
    _fold_constants(graph)
    return graph


def _fold_constants(graph: fx.GraphModule) -> None:
    """Compute once what does not depend on the inputs."""
    values: dict[fx.Node, Any] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            values[node] = getattr(graph, str(node.target))
        elif node.op == "call_function" and _pure(node) and all(n in values for n in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
    for k, (node, value) in enumerate(values.items()):
        if node.op == "get_attr" or not isinstance(value, Tensor) or all(user in values for user in node.users):
            continue
        name = f"folded_{k}"
        graph.register_buffer(name, value.detach().clone().contiguous())
        with graph.graph.inserting_before(node):
            node.replace_all_uses_with(graph.graph.get_attr(name))
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    graph.recompile()


def _pure(node: fx.Node) -> bool:
    """Whether a node reads tensors only and changes none."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and not schema.is_mutable and bool(node.all_input_nodes)


def _scripted(graph: fx.GraphModule) -> Any:
    """The graph as TorchScript, which knows operators by their name without the overload."""
    for node in graph.graph.nodes:
        if node.op != "call_function":
            continue
        if node.target is torch.ops.aten.sym_size.int:
            node.target = torch.ops.aten.size
        elif node.target is torch.ops.aten.sym_numel.default:
            node.target = torch.ops.aten.numel
        elif node.target is torch.ops.aten._to_copy.default:
            node.target = torch.ops.aten.to
            node.kwargs = {"dtype": node.kwargs["dtype"]}
        elif isinstance(node.target, torch._ops.OpOverload):
            library, name = node.target.name().split(".")[0].split("::")
            node.target = getattr(getattr(torch.ops, library), name)
        node.kwargs = {k: v.type if isinstance(v, torch.device) else v for k, v in node.kwargs.items()}
    graph.recompile()
    return torch.jit.script(graph)


def _write_pth(graph: fx.GraphModule, members: Mapping[str, bytes], path: Path) -> None:
    # a full disk ends the process inside of torch.jit.save, so that writes to memory only
    whole = io.BytesIO()
    torch.jit.save(_scripted(graph), whole, _extra_files=dict(members))
    path.write_bytes(whole.getvalue())


def _write_pt2(graph: fx.GraphModule, inputs: Sequence[Tensor], members: Mapping[str, bytes], path: Path) -> None:
    from torch.export import Dim, export

    sizes = tuple(dict.fromkeys(range(x.dim()), Dim.DYNAMIC) for x in inputs)
    # widths of vectors and parameters are those of the model
    sizes[0][2] = sizes[5][1] = sizes[6][1] = Dim.STATIC
    exported = export(graph, tuple(inputs), dynamic_shapes=sizes, strict=False)
    whole = io.BytesIO()  # its members have the same names whatever the file is called
    torch._inductor.aoti_compile_and_package(exported, package_path=whole)
    with zipfile.ZipFile(whole, "a") as archive:
        folder = archive.namelist()[0].split("/", 1)[0]
        for name, content in members.items():
            archive.writestr(f"{folder}/dp/{name}", content)
    path.write_bytes(whole.getvalue())


def freeze(model: Any, document: bytes, path: Path, to_tensor: Callable[[np.ndarray], Tensor]) -> None:
    """Write a frozen file; ``.pt2`` by its suffix, else ``.pth``. model: the tree with NumPy leaves."""
    if path.suffix == ".pt2":
        require_compiler("A .pt2 file is compiled code")
    record, tree = frozen.capabilities(model), tree_map(to_tensor, model)
    inputs = frozen.graph_inputs(frozen.sample_table(model), record)
    tensors = {name: to_tensor(x) for name, x in inputs.items()}
    graph, members = trace(tree, tensors), frozen.contents(document, record)

    def reference(table: Neighborhood) -> dict[str, np.ndarray]:
        with torch.no_grad():
            out = evaluate_atoms(tree, tree_map(to_tensor, table), gradient)
        return {name: x.cpu().numpy() for name, x in out.items()}

    with frozen.writing(path, model, lambda made: load(made, to_tensor), reference) as made, _quiet():
        if path.suffix == ".pt2":
            _write_pt2(graph, list(tensors.values()), members, made)
        else:
            _write_pth(graph, members, made)


def load(path: Path, to_tensor: Callable[[np.ndarray], Tensor]) -> Callable[[Neighborhood], dict[str, np.ndarray]]:
    """The evaluator in a frozen file. Raises FormatError for files that are damaged, foreign or too new."""
    record, _ = frozen.read_frozen(path, "dp-torch")
    device = to_tensor(np.zeros(1)).device
    try:
        with _quiet():
            run = (
                torch._inductor.aoti_load_package(str(path))
                if path.suffix == ".pt2"
                else torch.jit.load(str(path), map_location=device)
            )
    except (RuntimeError, OSError, ValueError, KeyError, EOFError) as error:
        raise FormatError(f"{path} does not load: {error}. Copy or freeze it again, on this machine.") from error
    names = [output["name"] for output in record["outputs"]]
    whole = record["message_passing"] or device.type != "cpu"

    def evaluate(table: Neighborhood) -> dict[str, np.ndarray]:
        parts = [table] if whole else _parts(table)
        found = []
        for part in parts:
            with torch.no_grad(), _quiet():
                found.append(run(*(to_tensor(x) for x in frozen.graph_inputs(part, record).values())))
        return {name: torch.cat([out[k] for out in found]).cpu().numpy() for k, name in enumerate(names)}

    return evaluate


def _parts(table: Neighborhood) -> list[Neighborhood]:
    """The table cut into parts of consecutive rows of one block, small enough for the cache of a processor."""
    rows = max(1, _SLOTS // max(1, table.vectors.shape[1]))
    parts, start = [], 0
    for k, count in enumerate(table.row_counts):
        for first in range(start, start + count, rows):
            part = slice(first, min(first + rows, start + count))
            counts = [0] * len(table.row_counts)
            counts[k] = part.stop - part.start
            fields = {
                name: getattr(table, name)[part]
                for name in ("vectors", "index", "types", "neighbor_types", "frame", "aparam")
                if getattr(table, name) is not None
            }
            parts.append(replace(table, **fields, row_counts=tuple(counts)))
        start += count
    return parts or [table]
