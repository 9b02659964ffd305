"""The kernels of training and of tables by ctypes, on the memory of any library: they are given addresses of contiguous
numbers.

An address of 0 stands for an array that is not there. The layers of a network have ``w``, ``b``, ``idt``, ``past`` and
``activation_function``, as those of dp-core have. See ``kernels/training/training.h`` and ``kernels/tables.h`` for
what they compute.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from dp_ops import library


class Layer(ctypes.Structure):
    """One layer: sizes, addresses of its weights, and addresses for their gradients."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_in", "n_out", "past", "linear")),
        *((name, ctypes.c_void_p) for name in ("w", "b", "idt", "grad_w", "grad_b", "grad_idt")),
    )


def serves(layers: Sequence[Any]) -> bool:
    """Whether the kernels of networks know all activations of these layers."""
    return all(_linear(layer) or layer.activation_function.lower() == "tanh" for layer in layers)


def sizes(layer: Any) -> tuple[int, int, int, int]:
    """What a ``Layer`` begins with: n_in, n_out, how often the input goes past it, and whether it is linear."""
    return int(layer.w.shape[0]), int(layer.w.shape[1]), layer.past, int(_linear(layer))


def weights(layers: Sequence[Any]) -> list[Any]:
    """w, b and idt of each layer, with None for what is not there; norms have no idt."""
    return [x for layer in layers for x in (layer.w, layer.b, getattr(layer, "idt", None))]


def described(layers: Sequence[Any], of: Callable[[Any], tuple[int, ...]] = sizes) -> list[int]:
    """The attribute ``layers`` of operators: of each the sizes, and whether it has b and idt."""
    return [n for x in layers for n in (*of(x), *(int(w is not None) for w in weights([x])[1:]))]


def attention_parts(layer: Any) -> list[Any]:
    """What has weights in a layer of attention: projections inwards and outwards, and the norm."""
    return [layer.in_proj, layer.out_proj, layer.norm]


def part_sizes(part: Any) -> tuple[int, int, int, int]:
    """The ``sizes`` of a part of an attention; the w of a norm is one row."""
    *n_in, n_out = part.w.shape
    return int(n_in[0]) if n_in else 1, int(n_out), 0, 1


def attention_settings(layer: Any) -> list[float]:
    """What kernels are told of a layer of attention: scale of the logits, eps of the norm, normalize and smooth."""
    return [float(x) for x in (layer.scale, layer.norm.eps, layer.normalize, layer.smooth)]


def _linear(layer: Any) -> bool:
    return layer.activation_function.lower() in ("none", "linear")


class _Embedding(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "slots", "components")),
        ("r", ctypes.c_void_p),
        ("layers", ctypes.c_int64),
        ("layer", ctypes.POINTER(Layer)),
        ("float64", ctypes.c_int64),
        ("kinds", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("kind", "shift", "grad_shift")),
    )


class _Network(ctypes.Structure):
    _fields_ = (
        ("rows", ctypes.c_int64),
        ("x", ctypes.c_void_p),
        ("layers", ctypes.c_int64),
        ("layer", ctypes.POINTER(Layer)),
        ("float64", ctypes.c_int64),
    )


class _Attention(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "slots", "width", "hidden", "components")),
        *((name, ctypes.c_void_p) for name in ("g", "direction", "weight", "valid", "spare")),
        ("layer", ctypes.POINTER(Layer)),
        *((name, ctypes.c_double) for name in ("scale", "eps")),
        *((name, ctypes.c_int64) for name in ("normalize", "smooth", "float64")),
    )


class _Table(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "slots", "components")),
        ("r", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("coefficients", ctypes.c_void_p),
        ("starts", ctypes.c_void_p),
        ("grid", ctypes.c_double * 10),
        *((name, ctypes.c_void_p) for name in ("gates", "index", "weights")),
        ("float64", ctypes.c_int64),
    )


@cache
def _functions() -> Any:
    loaded = ctypes.CDLL(str(library("dp_kernels")))
    addresses = {
        "embedding_sum": 2, "embedding_slope": 3, "embedding_transposed_slope": 3, "embedding_gradients": 4,
        "network_value": 2, "network_slope": 3, "network_tangent": 4, "network_gradients": 6,
        "attention_value": 2, "attention_slope": 5, "attention_tangent": 6, "attention_gradients": 8,
        "table_sum": 1, "table_slope": 3,
    }  # fmt: skip
    for name, count in addresses.items():
        function = getattr(loaded, f"dp_{name}")
        function.restype, function.argtypes = ctypes.c_int, (ctypes.c_void_p, *[ctypes.c_void_p] * count)
    for name in ("embedding_kept", "network_kept", "attention_kept"):
        function = getattr(loaded, f"dp_{name}")
        function.restype, function.argtypes = ctypes.c_int64, (ctypes.c_void_p,)
    return loaded


class _Problem:
    """A problem in C, with its functions by name: the addresses in the order of the header."""

    kind: str

    def __init__(self, structure: ctypes.Structure, layers: Any):
        self._structure, self._layers = structure, layers
        self._address = ctypes.addressof(structure)

    def kept(self) -> int:
        """How many numbers ``kept`` has room for."""
        return int(getattr(_functions(), f"dp_{self.kind}_kept")(self._address))

    def run(self, name: str, *addresses: int) -> None:
        """One of the functions ``dp_KIND_NAME``. Raises MemoryError."""
        if getattr(_functions(), f"dp_{self.kind}_{name}")(self._address, *addresses):
            raise MemoryError(f"No memory for the kernel {self.kind}_{name}: give it fewer atoms or frames at once.")


class Embedding(_Problem):
    """An embedding sum of R, (rows, slots, components): ``sum``, ``slope``, ``transposed_slope``, ``gradients``.

    kinds: the number of kinds of slots, and addresses of the kinds, (rows, slots), of their shift of the first layer,
    and for the gradient of it.
    """

    kind = "embedding"

    def __init__(self, shape: Sequence[int], r: int, layers: Sequence[Layer], *, float64: bool,
                 kinds: Sequence[int] = (0, 0, 0, 0)):  # fmt: skip
        array = (Layer * len(layers))(*layers)
        super().__init__(_Embedding(*shape, r, len(layers), array, int(float64), *kinds), array)


class Network(_Problem):
    """A network of rows of x, (rows, n_in): ``value``, ``slope``, ``tangent``, ``gradients``."""

    kind = "network"

    def __init__(self, rows: int, x: int, layers: Sequence[Layer], *, float64: bool):
        array = (Layer * len(layers))(*layers)
        super().__init__(_Network(rows, x, len(layers), array, int(float64)), array)


class Attention(_Problem):
    """A layer of attention among slots: ``value``, ``slope``, ``tangent``, ``gradients``.

    sizes: rows, slots, width, hidden, components. arrays: addresses of g (rows, slots, width), direction (rows, slots,
    components), weight and valid (rows, slots) and spare (rows,). layers: what projects inwards and outwards, and the
    norm. settings: see ``attention_settings``.
    """

    kind = "attention"

    def __init__(self, sizes: Sequence[int], arrays: Sequence[int], layers: Sequence[Layer], settings: Sequence[float],
                 *, float64: bool):  # fmt: skip
        array, (*numbers, normalize, smooth) = (Layer * len(layers))(*layers), settings
        super().__init__(_Attention(*sizes, *arrays, array, *numbers, int(normalize), int(smooth), int(float64)), array)


class Table(_Problem):
    """A sum of tabulated numbers of R, (rows, slots, components): ``sum``, ``slope``.

    table: addresses of its coefficients (count, 6, width) and starts. grid: see ``grid_numbers``. gate: addresses of
    the gates (…, width), of the index and of the weights, (rows, slots).
    """

    kind = "table"

    def __init__(self, shape: Sequence[int], r: int, count: int, width: int, table: Sequence[int],
                 grid: Sequence[float], gate: Sequence[int], *, float64: bool):  # fmt: skip
        numbers = (ctypes.c_double * 10)(*grid)
        super().__init__(_Table(*shape, r, count, width, *table, numbers, *gate, int(float64)), None)


def grid_numbers(grid: Any) -> list[float]:
    """What the kernels are told of a grid, ``dp_core.nn.table.Grid``."""
    segments = [*grid.segments, *[(0.0, 1.0, 0)] * 3][:3]
    return [float(x) for segment in segments for x in segment] + [float(grid.end)]
