"""The kernels of dp-ops in NumPy: sums of embedded numbers over neighbours and attention, for energies and forces.

Each is a primitive of the ``autograd`` library that can be differentiated once. Where more derivatives are taken, and
where weights are trained, the array code does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from autograd.extend import defvjp_argnums, primitive
from autograd.tracer import isbox

from dp_core.kernels import depth, kernel_library
from dp_core.module import Array, leaves


def _usable(matrix: Array, constants: Sequence[Any], floats: Sequence[Any]) -> bool:
    if depth() > 1 or any(isbox(x) for x in constants) or matrix.ndim != 3:
        return False
    same = all(x.dtype == matrix.dtype for x in floats)
    return same and matrix.dtype in (np.float32, np.float64) and kernel_library("dp_kernels") is not None


def _kept(*given: np.ndarray | None) -> list[np.ndarray | None]:
    """The arrays as kernels read them; they are to be held as long as their addresses are used."""
    return [None if x is None else np.ascontiguousarray(x) for x in given]


def _address(x: np.ndarray | None) -> int:
    return 0 if x is None else int(x.ctypes.data)


def _table_problem(matrix: np.ndarray, switch: Any, table: Any, types: Any, index: Any) -> tuple[Any, list[Any]]:
    from dp_ops import training

    rows = None if index is None else np.asarray(index, np.int64)
    kept = _kept(matrix, table.coefficients, table.starts, types, rows, switch)
    r, *places = map(_address, kept)
    problem = training.Table(
        matrix.shape, r, len(table.starts), table.width, places[:2], training.grid_numbers(table.grid), places[2:],
        float64=matrix.dtype == np.float64,
    )  # fmt: skip
    return problem, kept


def _run_table_sum(matrix: np.ndarray, switch: Any, table: Any, types: Any, index: Any) -> np.ndarray:
    problem, kept = _table_problem(matrix, switch, table, types, index)
    out = np.empty((matrix.shape[0], matrix.shape[2], table.width), matrix.dtype)
    problem.run("sum", _address(out))
    del kept
    return out


def _table_slope(argnums: Sequence[int], _: Any, args: Sequence[Any], __: Any) -> Callable[[Any], Any]:
    def pull(by_out: np.ndarray) -> tuple[np.ndarray, ...]:
        problem, kept = _table_problem(*args)
        outs: list[Any] = [np.empty(kept[0].shape, kept[0].dtype), None]
        if 1 in argnums:
            outs[1] = np.empty(args[1].shape, args[1].dtype)
        by_out = np.ascontiguousarray(by_out)
        problem.run("slope", _address(by_out), *map(_address, outs))
        return tuple(outs[k] for k in argnums)

    return pull


_table_sum = primitive(_run_table_sum)
defvjp_argnums(_table_sum, _table_slope)


def table_sum(matrix: Array, table: Any, types: Any, index: Any, switch: Any) -> Array | None:
    """``arrays.table_sum`` where nothing but forces is asked for; None where more derivatives are."""
    floats = [x for x in (table.coefficients, table.starts, types, switch) if x is not None]
    if not _usable(matrix, [table.coefficients, table.starts, types, index], floats):
        return None
    return _table_sum(matrix, switch, table, types, index)


def _embedding_problem(
    matrix: np.ndarray, net: Any, shift: np.ndarray | None, kind: np.ndarray | None
) -> tuple[Any, list[Any]]:
    from dp_ops import training

    kept = [_kept(layer.w, layer.b, layer.idt) for layer in net.layers]
    described = [
        training.Layer(*layer.w.shape, layer.past, 0, *map(_address, places), 0, 0, 0)
        for layer, places in zip(net.layers, kept, strict=True)
    ]
    r, shift, kind = _kept(matrix, shift, None if kind is None else np.asarray(kind, np.int64))
    assert r is not None
    kinds = (0 if shift is None else len(shift), _address(kind), _address(shift), 0)
    problem = training.Embedding(r.shape, _address(r), described, float64=r.dtype == np.float64, kinds=kinds)
    return problem, [r, kept, shift, kind]


def _run_embedding_sum(
    matrix: np.ndarray, net: Any, shift: Any, kind: Any, passed: list[np.ndarray] | None
) -> np.ndarray:
    """passed: gets what the network leaves for the derivative; None if there is none."""
    problem, kept = _embedding_problem(matrix, net, shift, kind)
    out = np.empty((matrix.shape[0], matrix.shape[2], net.layers[-1].w.shape[1]), matrix.dtype)
    if passed is not None:
        passed.append(np.empty(problem.kept(), matrix.dtype))
    problem.run("sum", _address(out), _address(passed[-1]) if passed else 0)
    del kept
    return out


def _embedding_slope(_: Any, __: Any, args: Sequence[Any], ___: Any) -> Callable[[Any], Any]:
    def pull(by_out: np.ndarray) -> tuple[np.ndarray, ...]:
        matrix, net, shift, kind, passed = args
        problem, kept = _embedding_problem(matrix, net, shift, kind)
        out, by_out = np.empty(matrix.shape, matrix.dtype), np.ascontiguousarray(by_out)
        problem.run("slope", _address(by_out), _address(passed[0]), _address(out))
        del kept
        return (out,)

    return pull


_embedding_sum = primitive(_run_embedding_sum)
defvjp_argnums(_embedding_sum, _embedding_slope)


def embedding_sum(matrix: Array, net: Any, shift: Any = None, kind: Any = None) -> Array | None:
    """``arrays.embedding_sum`` for networks that use tanh alone, where nothing but forces is asked for; else None."""
    weights = [*leaves(net).values(), *([] if shift is None else [shift])]
    if any(layer.activation_function.lower() != "tanh" for layer in net.layers) or not _usable(
        matrix, weights, weights
    ):
        return None
    return _embedding_sum(matrix, net, shift, kind, [] if isbox(matrix) else None)


def _attention_problem(
    inputs: Sequence[np.ndarray], layer: Any, valid: np.ndarray, spare: np.ndarray
) -> tuple[Any, list[Any]]:
    from dp_ops import training

    parts = training.attention_parts(layer)
    places, weights = _kept(*inputs, valid, spare), _kept(*training.weights(parts))
    described = [
        training.Layer(*training.part_sizes(part), *map(_address, weights[3 * k : 3 * k + 3]), 0, 0, 0)
        for k, part in enumerate(parts)
    ]
    g, direction, _ = inputs
    sizes, settings = (*g.shape, layer.hidden, direction.shape[2]), training.attention_settings(layer)
    float64 = g.dtype == np.float64
    return training.Attention(sizes, [*map(_address, places)], described, settings, float64=float64), [places, weights]


def _run_attention(
    g: np.ndarray, direction: np.ndarray, weight: np.ndarray, layer: Any, valid: Any, spare: Any, passed: list[Any]
) -> np.ndarray:
    """passed: gets what is left for the derivative."""
    problem, kept = _attention_problem((g, direction, weight), layer, valid, spare)
    out = np.empty(g.shape, g.dtype)
    passed.append(np.empty(problem.kept(), g.dtype))
    problem.run("value", _address(out), _address(passed[-1]))
    del kept
    return out


def _attention_slope(argnums: Sequence[int], _: Any, args: Sequence[Any], __: Any) -> Callable[[Any], Any]:
    def pull(by_out: np.ndarray) -> tuple[np.ndarray, ...]:
        *inputs, layer, valid, spare, passed = args
        problem, kept = _attention_problem(inputs, layer, valid, spare)
        outs, by_out = [np.empty(x.shape, x.dtype) for x in inputs], np.ascontiguousarray(by_out)
        problem.run("slope", _address(by_out), _address(passed[0]), *map(_address, outs))
        del kept
        return tuple(outs[k] for k in argnums)

    return pull


_attention = primitive(_run_attention)
defvjp_argnums(_attention, _attention_slope)


def attention(
    g: Array, direction: Array, weight: Array, valid: Array, spare: Array, layers: Sequence[Any]
) -> Array | None:
    """``arrays.attention`` where nothing but forces is asked for; None where more derivatives are."""
    constants = [*leaves(layers).values(), valid, spare]
    if not _usable(g, constants, [direction, weight, *constants]):
        return None
    for layer in layers:
        g = _attention(g, direction, weight, layer, valid, spare, [])
    return g
