"""The layers of dpa3: messages between atoms, the edges to their neighbours, and the angles between edges.

Zhang et al., A Graph Neural Network for the Era of Large Atomistic Models (2025). Every layer updates three streams:
nodes (n, n_dim), edges (n, K, e_dim) in all slots, and angles (n, A, A, a_dim) in the A slots of the inner shell. What
belongs to an empty slot is a finite number without weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import pydantic

from dp_core import arrays
from dp_core.arrays import namespace
from dp_core.errors import FormatError
from dp_core.format.versions import check_version
from dp_core.module import Array, module
from dp_core.nn import activation
from dp_core.nn.networks import Layer, Seed, child_seed
from dp_core.nn.updates import UpdateStyle, combined, initial_residual, plain_layer, stored_residuals, symmetric
from dp_core.schema.section import Section, option


class RepflowSettings(Section):
    """Widths, cutoffs and updates of the layers."""

    n_dim: int = option(128, "width of the nodes", gt=0)
    e_dim: int = option(64, "width of the edges", gt=0)
    a_dim: int = option(64, "width of the angles", gt=0)
    nlayers: int = option(6, "number of layers", gt=0)
    e_rcut: float = option(..., "cutoff radius", unit="Å", gt=0)
    e_rcut_smth: float = option(..., "where the smooth switch of edges begins", unit="Å", ge=0)
    e_sel: int | str = option(
        ..., "most neighbours within e_rcut; 'auto' or 'auto:factor' counts them in the training data"
    )
    a_rcut: float = option(..., "cutoff radius of angles", unit="Å", gt=0)
    a_rcut_smth: float = option(..., "where the smooth switch of angles begins", unit="Å", ge=0)
    a_sel: int | str = option(..., "most neighbours within a_rcut, as e_sel")
    a_compress_rate: int = option(
        0, "angles see nodes and edges at a_dim/a_compress_rate of their width; 0 for the full width", ge=0
    )
    a_compress_e_rate: int = option(1, "edges at so many times that width, halved", gt=0)
    a_compress_use_split: bool = option(False, "take the first columns instead of a learned combination")
    n_multi_edge_message: int = option(1, "messages along an edge", gt=0)
    axis_neuron: int = option(4, "columns kept in the symmetric product", gt=0)
    update_angle: bool = option(True, "whether there are angles")
    update_style: UpdateStyle = option(
        "res_residual", "how updates are added: averaged, with equal weights, or with learned weights"
    )
    update_residual: float = option(0.1, "size of the initial weights of updates")
    update_residual_init: Literal["norm", "const"] = option("const", "whether these weights are random or all equal")
    fix_stat_std: float = option(
        0.3, "the standard deviation of the environment matrix; 0 to take it from the training data", ge=0
    )
    skip_stat: bool = option(False, "old form of fix_stat_std: 0.3")
    optim_update: bool = option(True, "no effect: dp always multiplies before it gathers")
    smooth_edge_update: bool = option(
        False, "edges without angles are updated by zero, which is smooth, not by themselves"
    )
    edge_init_use_dist: bool = option(False, "edges begin with the distance", aliases=("edge_use_dist",))
    use_exp_switch: bool = option(False, "a switch that falls like exp(−exp(r))", aliases=("use_env_envelope",))
    use_dynamic_sel: bool = option(False, "sums are divided by e_sel and a_sel over sel_reduce_factor")
    sel_reduce_factor: float = option(10.0, "see use_dynamic_sel", gt=0)
    sequential_update: bool = option(False, "first edges, then angles, then nodes, each with the new values")

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> RepflowSettings:
        self._check_cutoffs()
        if self.axis_neuron > min(self.n_dim, self.e_dim):
            raise ValueError(f"axis_neuron is {self.axis_neuron}, more than n_dim {self.n_dim} or e_dim {self.e_dim}")
        rate = self.a_compress_rate
        if rate and self.a_dim * self.a_compress_e_rate % (2 * rate):
            raise ValueError(
                f"a_dim·a_compress_e_rate is {self.a_dim * self.a_compress_e_rate} and must be a multiple of "
                f"2·a_compress_rate, {2 * rate}"
            )
        if rate and self.a_compress_use_split and (self.n_angle > self.n_dim or self.e_angle > self.e_dim):
            raise ValueError(
                f"a_compress_use_split takes {self.n_angle} columns of the nodes and {self.e_angle} of the edges, but "
                f"n_dim is {self.n_dim} and e_dim {self.e_dim}; choose a larger a_compress_rate"
            )
        if self.use_dynamic_sel and not self.smooth_edge_update:
            raise ValueError("use_dynamic_sel needs smooth_edge_update: true")
        if self.sequential_update and not (self.update_style == "res_residual" and self.update_angle):
            raise ValueError('sequential_update needs update_style: "res_residual" and update_angle: true')
        return self

    def _check_cutoffs(self) -> None:
        for kind in ("e", "a"):
            rcut, smth, sel = (getattr(self, f"{kind}_{name}") for name in ("rcut", "rcut_smth", "sel"))
            if smth >= rcut:
                raise ValueError(f"{kind}_rcut_smth is {smth} and must be smaller than {kind}_rcut, {rcut}")
            if isinstance(sel, int) and sel < 1:
                raise ValueError(f"{kind}_sel is {sel}; give the most neighbours within {kind}_rcut")
        if self.a_rcut > self.e_rcut:
            raise ValueError(f"a_rcut is {self.a_rcut} and must not be larger than e_rcut, {self.e_rcut}")
        if isinstance(self.e_sel, int) and isinstance(self.a_sel, int) and self.a_sel > self.e_sel:
            raise ValueError(f"a_sel is {self.a_sel} and must not be larger than e_sel, {self.e_sel}")
        if self.use_exp_switch and not min(self.e_rcut_smth, self.a_rcut_smth) > 0:
            raise ValueError("use_exp_switch needs e_rcut_smth and a_rcut_smth above 0")

    @property
    def n_angle(self) -> int:
        """Columns of a node that an angle sees."""
        return self.a_dim // self.a_compress_rate if self.a_compress_rate else self.n_dim

    @property
    def e_angle(self) -> int:
        """Columns of an edge that an angle sees."""
        rate = self.a_compress_rate
        return self.a_dim // (2 * rate) * self.a_compress_e_rate if rate else self.e_dim

    @property
    def learned_compression(self) -> bool:
        """Whether layers compress what angles see of nodes and edges; else columns are cut off, or all are seen."""
        return bool(self.update_angle and self.a_compress_rate and not self.a_compress_use_split)

    @property
    def e_norm(self) -> float:
        """What sums over edges are divided by."""
        return float(self.e_sel) / (self.sel_reduce_factor if self.use_dynamic_sel else 1.0)

    @property
    def a_norm(self) -> float:
        """What sums over angles are divided by, squared."""
        return float(self.a_sel) / (self.sel_reduce_factor if self.use_dynamic_sel else 1.0)


@module
class Geometry:
    """What the layers need to know of the neighbourhoods, in the precision of the descriptor."""

    index: Array  # (n, K)
    weight: Array  # (n, 1, K), the switch over e_norm; 0 in empty slots
    directed: Array  # (n, 3, K), the angular environment matrix times the switch, over √e_norm
    angular: Array  # (n, A), switch of the inner slots over √(√a_norm); 0 where there is no angle
    inner: Array  # (n, A) bool, whether there is an angle
    slot_counts: tuple[Any, ...]  # of the inner shell and of the rest
    exchange: Callable[[Array], Array] | None


@module
class RepflowLayer:
    """One update of the three streams. ``angles`` may be None in and out where there are none."""

    node_self: Layer
    node_sym: Layer
    node_edge: Layer
    edge_self: Layer
    edge_angle1: Layer | None
    edge_angle2: Layer | None
    angle_self: Layer | None
    compress_n: Layer | None
    compress_e: Layer | None
    n_residual: tuple[Array, ...]  # (n_dim,) for every update of the nodes: self, sym, messages; res_residual only
    e_residual: tuple[Array, ...]  # (e_dim,): self, angles
    a_residual: tuple[Array, ...]  # (a_dim,)
    settings: RepflowSettings
    activation_function: str

    def __call__(
        self, nodes: Array, edges: Array, angles: Array | None, g: Geometry, *, last: bool
    ) -> tuple[Array, Array, Array | None]:
        """The updated streams; the ``last`` layer leaves the angles as they are, because nobody sees them any more."""
        rows = nodes if g.exchange is None else g.exchange(nodes)
        updates = [self._of_edges(self.edge_self, nodes, rows, edges, g)]
        if self.settings.sequential_update:
            return self._sequential(nodes, rows, self._combined(edges, updates, self.e_residual), angles, g)
        if angles is not None:
            updates.append(self._edges_of_angles(nodes, edges, angles, g))
            if not last:
                angles = self._angles(nodes, edges, angles, g)
        return self._nodes(nodes, rows, edges, g), self._combined(edges, updates, self.e_residual), angles

    def _sequential(
        self, nodes: Array, rows: Array, edges: Array, angles: Array | None, g: Geometry
    ) -> tuple[Array, Array, Array | None]:
        """Angles, edges and nodes, each with the new values of the others; the edges' own update is made."""
        angles = self._angles(nodes, edges, angles, g)
        edges = self._combined(edges, [self._edges_of_angles(nodes, edges, angles, g)], self.e_residual[1:])
        return self._nodes(nodes, rows, edges, g), edges, angles

    def _of_edges(self, layer: Any, nodes: Array, rows: Array, edges: Array, g: Geometry) -> Array:
        """f(W [centre, neighbour, edge] + b) of a layer: (n, K, width)."""
        w, n, n2 = layer.w, self.settings.n_dim, 2 * self.settings.n_dim
        own = arrays.linear(nodes, w[:n, :], layer.b)[:, None, :]
        theirs = arrays.neighbor_rows(arrays.linear(rows, w[n:n2, :], None), g.index)
        return self._f(arrays.linear(edges, w[n2:, :], None) + theirs + own)

    def _of_angles(self, layer: Any, nodes: Array, edges: Array, angles: Array | None, g: Geometry) -> Array:
        """f(W [angle jk, centre, edge k, edge j] + b) of a layer: (n, A, A, width)."""
        w, s = layer.w, self.settings
        edges = arrays.split(edges, g.slot_counts, axis=1)[0]
        if self.compress_n is not None and self.compress_e is not None:
            nodes, edges = self.compress_n(nodes), self.compress_e(edges)
        elif s.a_compress_rate:
            nodes, edges = nodes[:, : s.n_angle], edges[:, :, : s.e_angle]
        start = s.a_dim + s.n_angle
        own = arrays.linear(nodes, w[s.a_dim : start, :], layer.b)[:, None, :]
        of_k = arrays.linear(edges, w[start : start + s.e_angle, :], None)[:, None, :, :]
        of_j = (arrays.linear(edges, w[start + s.e_angle :, :], None) + own)[:, :, None, :]
        return self._f(arrays.linear(angles, w[: s.a_dim, :], None) + of_k + of_j)

    def _angles(self, nodes: Array, edges: Array, angles: Array | None, g: Geometry) -> Array:
        """The updated angles."""
        return self._combined(angles, [self._of_angles(self.angle_self, nodes, edges, angles, g)], self.a_residual)

    def _edges_of_angles(self, nodes: Array, edges: Array, angles: Array | None, g: Geometry) -> Array:
        """The update of the edges from messages along their angles: (n, K, e_dim)."""
        xp = namespace(nodes, edges, g.angular)
        messages = self._of_angles(self.edge_angle1, nodes, edges, angles, g)
        total = (g.angular[:, None, None, :] @ messages)[:, :, 0, :] * g.angular[..., None]
        near, far = arrays.split(edges, g.slot_counts, axis=1)
        layer: Any = self.edge_angle2
        if self.settings.smooth_edge_update:
            same = xp.broadcast_to(self._f(layer.b), arrays.shape(far))
            return xp.concat([self._f(layer(total)), same], axis=1)
        total = xp.where(g.inner[..., None], total, near)
        return self._f(layer(xp.concat([total, far], axis=1)))

    def _nodes(self, nodes: Array, rows: Array, edges: Array, g: Geometry) -> Array:
        """The updated nodes."""
        xp = namespace(nodes, edges, g.weight)
        s = self.settings
        messages = self._of_edges(self.node_edge, nodes, rows, edges, g)
        neighbors = arrays.neighbor_rows(rows, g.index)
        products = [symmetric(g.directed, x, s.axis_neuron) for x in (edges, neighbors)]
        total = (g.weight @ messages)[:, 0, :]
        heads = [total[:, q * s.n_dim : (q + 1) * s.n_dim] for q in range(s.n_multi_edge_message)]
        updates = [self._f(self.node_self(nodes)), self._f(self.node_sym(xp.concat(products, axis=-1))), *heads]
        return self._combined(nodes, updates, self.n_residual)

    def _combined(self, x: Any, updates: Sequence[Array], weights: Sequence[Array]) -> Array:
        """x with its updates, by the style of the descriptor."""
        return combined(self.settings.update_style, x, updates, weights)

    def _f(self, x: Array) -> Array:
        return activation(self.activation_function)(x)

    @classmethod
    def init(
        cls, s: RepflowSettings, *, activation_function: str, precision: str, trainable: bool, seed: Seed
    ) -> RepflowLayer:
        """Random layers, and the initial weights of the updates."""

        def layer(n_in: int, n_out: int, child: int, bias: bool = True) -> Layer:
            return plain_layer(n_in, n_out, precision, trainable, child_seed(seed, child), bias=bias)

        def residual(width: int, own: Seed) -> Array:
            return initial_residual(s, width, precision, trainable, own)

        info, angle = 2 * s.n_dim + s.e_dim, s.a_dim + s.n_angle + 2 * s.e_angle
        learned = s.learned_compression
        n_residual = [residual(s.n_dim, child_seed(seed, k)) for k in (1, 3)]
        heads = range(s.n_multi_edge_message)
        n_residual += [residual(s.n_dim, child_seed(child_seed(seed, 5), q)) for q in heads]
        e_residual = [residual(s.e_dim, child_seed(seed, k)) for k in ((7, 12) if s.update_angle else (7,))]
        a_residual = [residual(s.a_dim, child_seed(seed, 14))] if s.update_angle else []
        weighted = s.update_style == "res_residual"
        return cls(
            node_self=layer(s.n_dim, s.n_dim, 0),
            node_sym=layer(s.axis_neuron * (s.e_dim + s.n_dim), s.n_dim, 2),
            node_edge=layer(info, s.n_dim * s.n_multi_edge_message, 4),
            edge_self=layer(info, s.e_dim, 6),
            edge_angle1=layer(angle, s.e_dim, 10) if s.update_angle else None,
            edge_angle2=layer(s.e_dim, s.e_dim, 11) if s.update_angle else None,
            angle_self=layer(angle, s.a_dim, 13) if s.update_angle else None,
            compress_n=layer(s.n_dim, s.n_angle, 8, bias=False) if learned else None,
            compress_e=layer(s.e_dim, s.e_angle, 9, bias=False) if learned else None,
            n_residual=tuple(n_residual) if weighted else (),
            e_residual=tuple(e_residual) if weighted else (),
            a_residual=tuple(a_residual) if weighted else (),
            settings=s,
            activation_function=activation_function,
        )

    def serialize(self, ntypes: int, precision: str) -> dict[str, Any]:
        """The document of the layer."""
        s = self.settings
        own = {
            name: getattr(s, name)
            for name in (
                "e_rcut", "e_rcut_smth", "a_rcut", "a_rcut_smth", "a_sel", "n_dim", "e_dim", "a_dim",
                "a_compress_rate", "a_compress_e_rate", "a_compress_use_split", "n_multi_edge_message", "axis_neuron",
                "update_angle", "update_style", "update_residual", "update_residual_init", "optim_update",
                "smooth_edge_update", "use_dynamic_sel", "sel_reduce_factor", "sequential_update",
            )
        }  # fmt: skip
        data: dict[str, Any] = {"@class": "RepFlowLayer", "@version": 2, "e_sel": [s.e_sel], "ntypes": ntypes}
        data |= own | {"activation_function": self.activation_function, "precision": precision}
        for key, name in _LAYERS.items():
            layer = getattr(self, name)
            data |= {} if layer is None else {key: layer.serialize()}
        if s.update_style == "res_residual":
            data["@variables"] = {name: list(getattr(self, name)) for name in _RESIDUALS}
        return data

    @classmethod
    def deserialize(cls, data: dict[str, Any], settings: RepflowSettings, activation_function: str) -> RepflowLayer:
        """The layer of a document; the settings are those of all layers."""
        data = check_version(data, "RepFlowLayer", (1, 2))
        counts = (2 + settings.n_multi_edge_message, 1 + settings.update_angle, int(settings.update_angle))
        residuals = stored_residuals(data, settings.update_style, dict(zip(_RESIDUALS, counts, strict=True)))
        fields: dict[str, Any] = dict(residuals)
        absent = set() if settings.update_angle else _OF_ANGLES
        absent |= set() if settings.learned_compression else _OF_COMPRESSION
        for key, name in _LAYERS.items():
            fields[name] = Layer.deserialize(data[key]) if data.get(key) else None
            if fields[name] is None and name not in absent:
                raise FormatError(f"A RepFlowLayer of the model has no {key}, which its settings need; it is damaged.")
        return cls(**fields, settings=settings, activation_function=activation_function)


#: Layers by their key in a document.
_LAYERS = {
    "node_self_mlp": "node_self",
    "node_sym_linear": "node_sym",
    "node_edge_linear": "node_edge",
    "edge_self_linear": "edge_self",
    "edge_angle_linear1": "edge_angle1",
    "edge_angle_linear2": "edge_angle2",
    "angle_self_linear": "angle_self",
    "a_compress_n_linear": "compress_n",
    "a_compress_e_linear": "compress_e",
}
_OF_ANGLES = {"edge_angle1", "edge_angle2", "angle_self"}
_OF_COMPRESSION = {"compress_n", "compress_e"}
_RESIDUALS = ("n_residual", "e_residual", "a_residual")
