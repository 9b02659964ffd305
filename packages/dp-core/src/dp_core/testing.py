"""Tests that any model must pass, for dp itself, for models of plugins, and for a model one has just trained.

>>> from dp_core.testing import check_model                              # doctest: +SKIP
>>> print(check_model("water.dp"))                                       # doctest: +SKIP
>>> check_model(my_model).raise_for_failures()                           # doctest: +SKIP

Every check gives one number, the largest error relative to the size of what is compared, and the largest that is
allowed. Structures are random but always the same: realistic distances for the elements and the cutoff of the model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from dp_core.backend import installed
from dp_core.batching import build_batch
from dp_core.bench import Bench, Result, evaluate, largest, parameters, part_of, set_up
from dp_core.descriptors.protocol import parts_of
from dp_core.errors import DpError
from dp_core.inference import Predictor
from dp_core.inputs import takes_fragments
from dp_core.long_range import long_range, short_range
from dp_core.model_file import load_model, save_model
from dp_core.models.protocol import members
from dp_core.module import leaves, tree_map
from dp_core.neighbors import Floats, frame_neighbors
from dp_core.predictors import DeepEval
from dp_core.random_structures import Sample, cell_larger_than
from dp_core.virtual_atoms import virtual_atoms

__all__ = ["Check", "CheckReport", "ModelError", "check_model"]


class ModelError(DpError, AssertionError):
    """A model fails a check."""


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    measured: float  # relative error; inf where the model raised an exception
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is allowed (NaN is not)."""
        return self.measured <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok    " if self.passed else "FAILED"
        return f"{verdict} {self.name:<28} {self.measured:9.1e}  allowed {self.tolerance:.0e}  {self.note}".rstrip()


@dataclass(frozen=True)
class CheckReport:
    """All checks of one model."""

    checks: tuple[Check, ...]
    skipped: tuple[str, ...] = ()  # checks that need a package which is not installed

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def __str__(self) -> str:
        lines = [str(check) for check in self.checks]
        lines += [f"skipped {name}" for name in self.skipped]
        return "\n".join(lines)

    def raise_for_failures(self) -> None:
        """Raise ModelError with the failed checks."""
        if self.failures:
            raise ModelError("The model fails:\n" + "\n".join(str(check) for check in self.failures))


def check_model(
    model: Predictor | str | Path | Any, backend: str | None = "numpy", *, seed: int = 0, natoms: int = 9
) -> CheckReport:
    """Check the physics and the consistency of a potential, or of a model of dipoles, polarizabilities or others.

    model: path of a model file, a model tree, or an open predictor; backend: of the first two, see ``DeepPot``.
    seed: of the random structures, each of about ``natoms`` atoms.

    Checked are: invariance under rotation, reflection, translation, permutation, choice of the cell; extensivity;
    continuity of energy and force where a neighbour crosses the cutoff; isolated atoms; force, magnetic force and
    virial against finite differences of the energy; sums of atomic quantities; frames together against frames alone;
    virtual atoms; parts of tables; saving and loading; precision; read-only inputs; agreement with every other
    installed backend, and with the array-API standard where array-api-strict is installed.

    Dipoles turn like vectors and polarizabilities like matrices; each of their components is checked as an energy is.
    Forces and virials are checked where the model gives derivatives.

    A model that tells fragments apart is not compared with isolated atoms, because the QM region counts once more with
    every residue, however far away it is.

    A model with a long-range part is checked without it, and then as a whole, in periodic cells, for what holds for any
    spacing of the grid: its force and virial, also through the centroids that a model of dipoles places, are compared
    with finite differences. These checks have ``whole:`` before their names.

    Atomic virials of models that pass messages are compared like all others. Raises DpError if the model cannot be
    opened; whatever else goes wrong is a failed check.
    """
    dp: Predictor = model if isinstance(model, Predictor) else DeepEval(model, backend)
    if not long_range(dp.get_model()):
        return _checked(dp, seed, natoms)
    short = _checked(DeepEval(short_range(dp.get_model()), dp.backend_name), seed, natoms)
    return CheckReport((*short.checks, *_whole(dp, seed, natoms)), short.skipped)


def _checked(dp: Predictor, seed: int, natoms: int) -> CheckReport:
    before = {path: leaf.copy() for path, leaf in leaves(dp.get_model()).items()}
    bench = set_up(dp, np.random.default_rng(seed), natoms)
    exact, smooth, numeric = (1e-3, 1e-3, 5e-2) if bench.single else (1e-8, 1e-5, 1e-6)
    checks: list[tuple[str, Callable[[Bench], float], float]] = [
        ("rotation", _rotation, exact),
        ("reflection", _reflection, exact),
        ("translation", _translation, exact),
        ("permutation", _permutation, exact),
        ("periodic images", _periodic_images, exact),
        ("choice of cell", _choice_of_cell, exact),
        ("supercell", _supercell, exact),
        ("continuity at the cutoff", _cutoff, smooth),
        *([] if takes_fragments(dp.get_model()) else [("isolated atoms", _isolated, exact)]),
        *([("force = -dE/dx", _force, numeric)] if dp.get_model().output.differentiable else []),
        *([("virial = -dE/dstrain", _virial, numeric)] if dp.get_model().output.differentiable else []),
        *([("magnetic force = -dE/dspin", _magnetic_force, numeric)] if dp.has_spin else []),
        ("sums of atomic quantities", _sums, exact),
        ("frames together = alone", _together, exact),
        ("tables in parts = whole", _parts, exact),
        ("virtual atoms", _virtual, exact),
        ("save and load .dp", lambda b: _saved(b, ".dp"), 0.0),
        ("save and load .yaml", lambda b: _saved(b, ".yaml"), 0.0),
        ("results are float64", _precision, 0.0),
        ("inputs are left alone", _read_only, 0.0),
        *((f"backend {name}", _other_backend(name), exact) for name in installed() if name != dp.backend_name),
    ]
    strict = find_spec("array_api_strict") is not None
    if strict:
        checks.append(("array-API standard", _array_api, exact))
    done = [_run(name, check, bench, tolerance) for name, check, tolerance in checks]
    changed = [p for p, leaf in leaves(dp.get_model()).items() if not np.array_equal(leaf, before[p])]
    done.append(Check("model is left alone", float(len(changed)), 0.0, ", ".join(changed[:3])))
    return CheckReport(tuple(done), () if strict else ("array-API standard: install array-api-strict",))


def _whole(dp: Predictor, seed: int, natoms: int) -> list[Check]:
    """The checks of a model with its long-range part."""
    random = np.random.default_rng(seed)
    bench = set_up(dp, random, natoms)
    exact, numeric = (1e-3, 5e-2) if bench.single else (1e-8, 1e-6)
    checks: list[tuple[str, Callable[[Bench], float], float]] = [
        ("rotation", _rotation, exact),
        ("reflection", _reflection, exact),
        ("translation", _translation, exact),
        ("permutation", _permutation, exact),
        ("periodic images", _periodic_images, exact),
        ("force = -dE/dx", _force, numeric),
        ("virial = -dE/dstrain", _virial, numeric),
        ("frames together = alone", _together, exact),
        ("tables in parts = whole", _parts, exact),
        ("virtual atoms", _virtual, exact),
        ("save and load .dp", lambda b: _saved(b, ".dp"), 0.0),
        ("save and load .yaml", lambda b: _saved(b, ".yaml"), 0.0),
        *((f"backend {name}", _other_backend(name), exact) for name in installed() if name != dp.backend_name),
    ]
    return [_run(f"whole: {name}", check, bench, tolerance) for name, check, tolerance in checks]


def _run(name: str, check: Callable[[Bench], float], bench: Bench, tolerance: float) -> Check:
    try:
        return Check(name, float(check(bench)), tolerance)
    except Exception as error:  # a broken model may raise anything; the other checks still tell something
        return Check(name, np.inf, tolerance, f"{type(error).__name__}: {error}")


def _turned(result: Result, q: Floats, kind: str) -> Result:
    """The result when everything is transformed by the orthogonal matrix q."""
    mixed = {"dipole": q, "polar": np.kron(q, q)}.get(kind, np.eye(len(result.energy)))
    virial = np.einsum("ij,jab->iab", mixed, q @ result.virial @ q.T)
    atom_virial = np.einsum("ij,njab->niab", mixed, q @ result.atom_virial @ q.T)
    force = np.einsum("ij,nja->nia", mixed, result.force @ q.T)
    magnetic = None if result.magnetic is None else result.magnetic @ q.T
    return Result(mixed @ result.energy, result.atom_energy @ mixed.T, force, virial, atom_virial, magnetic)


def _rotation(b: Bench) -> float:
    return _transformation(b, 1.0)


def _reflection(b: Bench) -> float:
    return _transformation(b, -1.0)


def _transformation(b: Bench, determinant: float) -> float:
    worst = 0.0
    for sample in (b.bulk, b.cluster):
        matrix, _ = np.linalg.qr(b.random.normal(size=(3, 3)))
        matrix *= determinant * np.linalg.det(matrix)
        box = None if sample.box is None else sample.box @ matrix.T
        spin = None if sample.spin is None else sample.spin @ matrix.T
        old, new = b(sample, sample._replace(coord=sample.coord @ matrix.T, box=box, spin=spin))
        worst = max(worst, b.difference(_turned(old, matrix, b.dp.get_model().output.kind), new))
    return worst


def _translation(b: Bench) -> float:
    samples = (b.bulk, b.cluster)
    moved = [s._replace(coord=s.coord + b.random.uniform(-5, 5, 3)) for s in samples]
    return max(b.difference(old, new) for old, new in zip(b(*samples), b(*moved), strict=True))


def _permutation(b: Bench) -> float:
    worst = 0.0
    for sample in (b.bulk, b.cluster):
        order = b.random.permutation(len(sample.types))
        old, new = b(sample, part_of(sample, order))
        ordered = Result(old.energy, old.atom_energy[order], old.force[order], old.virial, old.atom_virial[order])
        worst = max(worst, b.difference(ordered, new))
    return worst


def _periodic_images(b: Bench) -> float:
    assert b.bulk.box is not None
    cells = b.random.integers(-3, 4, (len(b.bulk.types), 3))
    return b.difference(*b(b.bulk, b.bulk._replace(coord=b.bulk.coord + cells @ b.bulk.box)))


def _choice_of_cell(b: Bench) -> float:
    assert b.bulk.box is not None
    same_lattice = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ b.bulk.box
    return b.difference(*b(b.bulk, b.bulk._replace(box=same_lattice)))


def _supercell(b: Bench) -> float:
    assert b.bulk.box is not None
    n = len(b.bulk.types)
    twice = part_of(b.bulk, np.tile(np.arange(n), 2))
    shift = np.repeat([[0.0], [1.0]], n, axis=0) * b.bulk.box[1]
    box = b.bulk.box * np.array([[1.0], [2.0], [1.0]])
    one, two = b(b.bulk, twice._replace(coord=twice.coord + shift, box=box))
    atoms = (np.tile(one.atom_energy, (2, 1)), np.tile(one.force, (2, 1, 1)))
    expected = Result(2 * one.energy, *atoms, 2 * one.virial, np.tile(one.atom_virial, (2, 1, 1, 1)))
    return b.difference(expected, two)


def _cutoff(b: Bench) -> float:
    """An atom crosses the cutoff of another that has a neighbour on the other side; or of a part, or of a shell."""
    found = members(b.dp.get_model())
    parts = {part.rcut for member in found for part in parts_of(member.model.descriptor)}
    return max(_crossing(b, radius) for radius in {b.dp.get_rcut(), *(r for r, _ in b.dp.neighbor_spec.shells), *parts})


def _crossing(b: Bench, rcut: float) -> float:
    sel = b.dp.get_sel()
    types = np.unique(b.bulk.types)
    third = types[np.argmax([sel[t] if b.dp.neighbor_spec.by_type else 0 for t in types])]
    step = 1e-6
    worst = 0.0
    for first, second in list(product(types, types))[:16]:
        atoms = [np.flatnonzero(b.bulk.types == t)[0] for t in (first, second, third)]
        crossing = part_of(b.bulk, atoms)._replace(box=None)
        near, far = (
            crossing._replace(coord=np.array([[0, 0, 0], [rcut + side, 0, 0], [-0.4 * rcut, 0.3 * rcut, 0]]))
            for side in (-step, step)
        )
        worst = max(worst, b.difference(*b(near, far)))
    return worst


def _isolated(b: Bench) -> float:
    rcut = b.dp.get_rcut()
    far = b.cluster.coord + np.array([4.0 * rcut + np.ptp(b.cluster.coord), 0.0, 0.0])
    worst = 0.0
    for k in range(len(b.cluster.types)):
        alone = part_of(b.cluster, [k])
        both = part_of(b.cluster, [*range(len(far)), k])
        both = both._replace(coord=np.concatenate([b.cluster.coord, far[[k]]]))
        in_cell = alone._replace(box=cell_larger_than(2.0 * rcut))
        one, rest, together, periodic = b(alone, b.cluster, both, in_cell)
        nothing = Result(one.energy, one.atom_energy, 0 * one.force, 0 * one.virial, 0 * one.atom_virial)
        expected = Result(
            rest.energy + one.energy,
            np.concatenate([rest.atom_energy, one.atom_energy]),
            np.concatenate([rest.force, one.force]),
            rest.virial,
            np.concatenate([rest.atom_virial, one.atom_virial]),
        )
        errors = b.difference(one, nothing), b.difference(periodic, nothing), b.difference(together, expected)
        worst = max(worst, *errors)
    return worst


def _slope_error(b: Bench, samples: Callable[[float], Sample], expected: Floats) -> float:
    """|d energy / d parameter − expected| by central differences of fourth order.

    The better of two steps, because an activation with a kink (relu) has no derivative where one falls inside a step.
    """
    errors = []
    for h in (2e-2, 5e-3) if b.single else (1e-3, 1e-5):
        e = [r.energy for r in b(*(samples(k * h) for k in (-2, -1, 1, 2)))]
        errors.append(largest((e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * h) - expected))
    return min(errors)


def _force(b: Bench) -> float:
    worst = 0.0
    for sample in (b.bulk, b.cluster):
        (result,) = b(sample)
        for atom, axis in product(range(min(4, len(sample.types))), range(3)):
            direction = np.zeros_like(sample.coord)
            direction[atom, axis] = 1.0

            def moved(t: float, s: Sample = sample, d: Floats = direction) -> Sample:
                return s._replace(coord=s.coord + t * d)

            worst = max(worst, _slope_error(b, moved, -result.force[atom, :, axis]) / b.force_scale)
    return worst


def _magnetic_force(b: Bench) -> float:
    """Also of atoms without spin, whose energy does not depend on what is given for them."""
    worst = 0.0
    for sample in (b.bulk, b.cluster):
        (result,) = b(sample)
        assert result.magnetic is not None
        for atom, axis in product(range(min(4, len(sample.types))), range(3)):
            direction = np.zeros_like(sample.coord)
            direction[atom, axis] = 1.0

            def turned(t: float, s: Sample = sample, d: Floats = direction) -> Sample:
                return s._replace(spin=None if s.spin is None else s.spin + t * d)

            worst = max(worst, _slope_error(b, turned, -result.magnetic[atom, axis][None]) / b.force_scale)
    return worst


def _virial(b: Bench) -> float:
    worst = 0.0
    for sample in (b.bulk, b.cluster):
        (result,) = b(sample)
        for i, j in product(range(3), range(3)):
            strain = np.zeros((3, 3))
            strain[j, i] = 1.0

            def strained(t: float, s: Sample = sample, e: Floats = strain) -> Sample:
                deform = np.eye(3) + t * e
                return s._replace(coord=s.coord @ deform, box=None if s.box is None else s.box @ deform)

            error = _slope_error(b, strained, -result.virial[:, i, j])
            worst = max(worst, error / (len(sample.types) * b.force_scale))
    return worst


def _sums(b: Bench) -> float:
    worst = 0.0
    invariant = b.dp.get_model().output.kind not in ("dipole", "polar") and not b.dp.has_spin  # spins feel a torque
    for r in b(b.bulk, b.cluster):
        n = len(r.force)
        worst = max(
            worst,
            largest(r.atom_energy.sum(axis=0) - r.energy) / (n * b.energy_scale),
            largest(r.force.sum(axis=0)) / (n * b.force_scale),
            largest(r.atom_virial.sum(axis=0) - r.virial) / (n * b.force_scale),
            largest(r.virial - np.swapaxes(r.virial, 1, 2)) / (n * b.force_scale) if invariant else 0.0,
        )
    return max(worst, _mean(b)) if b.dp.get_model().output.intensive else worst


def _mean(b: Bench) -> float:
    """The value of a frame against the mean over its atoms, without those that the model excludes."""
    worst = 0.0
    for sample in (b.bulk, b.cluster):
        p = b.dp.predict([sample.structure], **parameters([sample]))
        counted = ~np.isin(sample.types, b.dp.get_model().atom_exclude_types)
        worst = max(worst, largest(p.atomic[counted].sum(axis=0) / max(counted.sum(), 1) - p.total[0]))
    return worst / b.energy_scale


def _frames(b: Bench) -> list[Sample]:
    """Frames of different sizes and boundaries."""
    n = len(b.bulk.types)
    return [
        b.cluster,
        part_of(b.bulk, [n - 1]),
        b.bulk,
        part_of(b.cluster, range(n - 1, 1, -1)),
        part_of(b.bulk, []),
    ]


def _together(b: Bench) -> float:
    frames = _frames(b)
    return max(b.difference(b(s)[0], together) for s, together in zip(frames, b(*frames), strict=True) if len(s.types))


def _parts(b: Bench) -> float:
    cut = Predictor(b.dp.get_model(), b.dp.backend_name, auto_batch_size=2)
    frames = [s for s in _frames(b) if len(s.types)]
    return max(b.difference(x, y) for x, y in zip(b(*frames), evaluate(cut, frames), strict=True))


def _virtual(b: Bench) -> float:
    worst = 0.0
    for sample in (b.bulk, b.cluster):
        n = len(sample.types)
        mixed = part_of(sample, [0, *range(n), 0])
        types = mixed.types.copy()
        types[[0, -1]] = -1
        old, new = b(sample, mixed._replace(types=types))
        inner = slice(1, n + 1)
        same = Result(new.energy, new.atom_energy[inner], new.force[inner], new.virial, new.atom_virial[inner])
        outer = [largest(x[[0, -1]]) for x in (new.atom_energy, new.force, new.atom_virial)]
        worst = max(worst, b.difference(old, same), *outer)
    return worst


def _saved(b: Bench, suffix: str) -> float:
    """How many arrays differ after saving and loading; results must be the same to the last bit."""
    tree = b.dp.get_model()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        save_model(tree, path)
        loaded = load_model(path)
    old, new = leaves(tree), leaves(loaded)
    wrong = [p for p in {*old, *new} if p not in old or p not in new or not _identical(old[p], new[p])]
    before, after = (evaluate(Predictor(m, b.dp.backend_name), [b.bulk])[0] for m in (tree, loaded))
    same = all(_identical(x, y) for x, y in ((before.force, after.force), (before.energy, after.energy)))
    return len(wrong) + float(not same)


def _identical(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


def _precision(b: Bench) -> float:
    """How many results have another precision than float64."""
    results = [*DeepEval(b.dp.get_model(), b.dp.backend_name).eval(**_arrays(b.bulk)), *vars(b(b.bulk)[0]).values()]
    return float(
        sum(np.asarray(x).dtype != np.float64 for x in results if x is not None and np.asarray(x).dtype != bool)
    )


def _arrays(sample: Sample) -> dict[str, Any]:
    """The arguments of ``eval``, with ``atomic`` set."""
    box = None if sample.box is None else sample.box[None]
    names = ("fparam", "aparam", "charge_spin")
    parameters = {name: getattr(sample, name) for name in names}
    parameters |= {} if sample.spin is None else {"spin": sample.spin}
    return {"coords": sample.coord[None], "cells": box, "atom_types": sample.types, "atomic": True} | parameters


def _read_only(b: Bench) -> float:
    """How many inputs are changed; writing to any of them raises."""
    given = tree_map(np.copy, b.bulk._asdict())
    for x in leaves(given).values():
        x.flags.writeable = False
    sample = Sample(**given)
    b(sample)
    DeepEval(b.dp.get_model(), b.dp.backend_name).eval(**_arrays(sample))
    before, after = leaves(b.bulk._asdict()), leaves(given)
    return float(sum(not np.array_equal(before[name], after[name]) for name in before))


def _other_backend(name: str) -> Callable[[Bench], float]:
    def check(b: Bench) -> float:
        frames = [s for s in _frames(b) if len(s.types)]
        other = evaluate(Predictor(b.dp.get_model(), name), frames)
        return max(b.difference(x, y) for x, y in zip(b(*frames), other, strict=True))

    return check


def _array_api(b: Bench) -> float:
    """The model in arrays that allow nothing beyond the array-API standard, without derivatives."""
    import array_api_strict  # type: ignore[import-not-found]

    model = b.dp.get_model()
    spec = model.neighbor_spec
    samples = [b.bulk, b.cluster]
    virtual = virtual_atoms(model)
    seen = [s.structure if virtual is None or s.spin is None else virtual.structure(s, s.spin) for s in samples]
    found = [frame_neighbors(*structure, spec) for structure in seen]
    given = parameters(samples)
    of_frames = [given[name] for name in ("fparam", "charge_spin") if name in given]
    fparam = np.concatenate(of_frames, axis=1) if of_frames else None
    table = build_batch(found, spec, fparam=fparam, aparam=given.get("aparam")).table
    name = model.output.name
    plain = model(table)[name]
    strict = tree_map(array_api_strict.asarray, model)(tree_map(array_api_strict.asarray, table))[name]
    return largest(plain - np.asarray(strict)) / b.energy_scale
