"""Whole calls of the C interface: each kind of model file with the library that reads it, and the least time needed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evaluation import check_memory, compare, convert, growth, make_model
from benchmarks.problem import DPA1, Problem
from benchmarks.programs import FLAGS, Program, ProgramError, run, run_child
from benchmarks.report import Report
from benchmarks.training import alternating
from dp_core.backend import SUFFIXES
from dp_core.format import read_document, write_document
from dp_core.model_file import load_model

PART, FLOOR = "C interface", "floor of the products"

#: Repeats of the cell.
SIZES = ((1, 1, 1), (2, 2, 2), (4, 4, 4))
QUICK_SIZES = ((1, 1, 1), (2, 1, 1))

_PEER_LIBRARIES = """
import json, os, sys, sysconfig
place = sysconfig.get_path("platlib")
print(json.dumps([os.path.join(place, name) for name in sys.argv[1:]]))
"""

#: A graph that DeePMD-kit's TensorFlow has converted lacks the sections of the input that its compression asks for.
_ADD_SECTIONS = """
import json, sys
from pathlib import Path
import tensorflow as tf
file, given = map(Path, sys.argv[1:])
graph = tf.compat.v1.GraphDef.FromString(file.read_bytes())
text = next(n for n in graph.node if n.name == "train_attr/training_script").attr["value"].tensor.string_val
text[0] = json.dumps({**json.loads(given.read_text()), **json.loads(text[0])}).encode()
file.write_bytes(graph.SerializeToString())
"""


@dataclass(frozen=True)
class Kind:
    """A kind of model file, and the program that makes it and has a library that evaluates it."""

    program: Program
    suffix: str
    compressed: bool = False
    single: bool = False
    """Whether it is made of the model in float32."""

    @property
    def name(self) -> str:
        """As the tables have it, with "dp " or "deepmd " at its beginning."""
        words = [self.program.name.split()[0], self.suffix]
        return " ".join(words + ["compressed"] * self.compressed + ["float32"] * self.single)


def kinds(programs: Sequence[Program]) -> list[Kind]:
    """What is measured: the ``.dp`` of dp, and the frozen files of all programs.

    DeePMD-kit's library reads no ``.savedmodel`` without a graphics processor.
    """
    ours = replace(next(p for p in programs if p.ours), flag=FLAGS["numpy"])
    found = [Kind(ours, ".dp", c, s) for s in (False, True) for c in (False, True)]
    for program in programs:
        name, _, backend = program.name.partition(" ")
        if program.ours and backend in ("torch", "jax", "tensorflow"):
            found += [Kind(program, s) for s in SUFFIXES[backend] if s not in (".pt2", ".hlo")]
        elif name == "deepmd" and backend in ("torch", "tensorflow"):
            found += [Kind(program, SUFFIXES[backend][0], c) for c in (False, True)]
    return found


def installed() -> bool:
    """Whether dp's library is here."""
    found = find_spec("dp_ops")
    places = (found.submodule_search_locations or []) if found else []
    return any((Path(place) / "lib" / "libdeepmd_c.so").is_file() for place in places)


def models(problem: Problem, wanted: Sequence[str]) -> dict[str, Problem]:
    """By the name of the descriptor; all if none is wanted."""
    found = {"se_e2_a": problem} | ({} if problem.quick else {"dpa1": replace(problem, descriptor=DPA1)})
    return {name: found[name] for name in wanted or found}


def model_files(
    problem: Problem, chosen: Sequence[Kind], folder: Path, env: Mapping[str, str], report: Report
) -> dict[str, Path]:
    """The model in every form, by the name of the kind; those that can be made. Raises ProgramError without a model."""
    folder.mkdir(exist_ok=True)
    model = make_model(problem, next(k.program for k in chosen if k.program.ours), folder, env)
    single = model.with_name("single.dp")
    if not single.exists():
        write_document(_in_single(read_document(model)), single)
    files = {}
    for kind in chosen:
        with report.measuring("conversion", kind.suffix, kind.name):
            made = convert(kind.program, single if kind.single else model, kind.suffix, env)
            if kind.compressed:
                made, full = made.with_name(f"compressed-{made.name}"), made
                if not made.exists():
                    if not kind.program.ours and kind.suffix == ".pb":
                        script = [str(kind.program.python), "-c", _ADD_SECTIONS, str(full), "input.json"]
                        run(script, model.parent, env)
                    run(kind.program.command("compress", "-i", full, "-o", made), model.parent, env)
            files[kind.name] = made
    return files


def _in_single(node: Any) -> Any:
    """A document whose networks have, and compute in, float32."""
    if isinstance(node, dict):
        made = {k: "float32" if k == "precision" else _in_single(v) for k, v in node.items()}
        if node.get("@class") == "Layer":
            arrays = node["@variables"].items()
            made["@variables"] = {k: v if v is None else v.astype(np.float32) for k, v in arrays}
        return made
    return [_in_single(x) for x in node] if isinstance(node, list) else node


def library_of(kind: Kind, env: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
    """The C library that reads a kind of file, and the environment in which it is loaded. Raises ProgramError."""
    program = kind.program
    if program.ours:
        import dp_ops

        return dp_ops.library("deepmd_c"), dict(env)
    here = [str(program.python.parents[1] / "lib")]
    names = ["deepmd/lib", "tensorflow", "torch/lib"]
    if kind.suffix == ".pth":
        names.append("nvidia/cuda_runtime/lib")  # it wants it on processors too, where that is there
    places = json.loads(run([str(program.python), "-c", _PEER_LIBRARIES, *names], Path.cwd(), env))
    path = os.pathsep.join(filter(None, (*places, *here, env.get("LD_LIBRARY_PATH"))))
    return Path(places[0]) / "libdeepmd_c.so", {**env, "LD_LIBRARY_PATH": path}


def measure_native(
    problem: Problem,
    programs: Sequence[Program],
    folder: Path,
    env: Mapping[str, str],
    report: Report,
    *,
    rounds: int,
    largest: int | None,
    wanted: Sequence[str],
) -> None:
    """Seconds and memory of ``DP_DeepPotCompute`` with coordinates, one process for each kind of file and round."""
    chosen = kinds(programs)
    ours = next(p for p in programs if p.ours)
    sizes = [r for r in (QUICK_SIZES if problem.quick else SIZES) if math.prod(r) * problem.natoms <= (largest or 1e9)]
    for model, described in models(problem, wanted).items():
        with report.measuring("conversion", ".dp", model):
            files = model_files(described, chosen, folder / model, env, report)
            structures = [files["dp .dp"].with_name(f"structure-{math.prod(r)}.npz") for r in sizes]
            natoms = [problem.write_structure(s, r) for s, r in zip(structures, sizes, strict=True)]
            cases = [f"{model}, {n} atoms" for n in natoms]
            _floor(described, files["dp .dp"], ours, cases, natoms, env, report)
            for round_ in range(rounds):
                for kind in alternating([k for k in chosen if k.name in files], round_):
                    with report.measuring(PART, model, kind.name):
                        _measure(kind, files[kind.name], structures, cases, natoms, env, report)
            for case, structure in zip(cases, structures, strict=True):
                compare(case, {k.name: structure.with_suffix(f".{k.name}.npz") for k in chosen}, report)
    growth(report, PART)


def _measure(
    kind: Kind,
    file: Path,
    structures: Sequence[Path],
    cases: Sequence[str],
    natoms: Sequence[int],
    env: Mapping[str, str],
    report: Report,
) -> None:
    """One process; sizes for which the memory is not enough are left out, and said."""
    library, settings = library_of(kind, env)
    lacking: ProgramError | None = None
    enough = []
    for structure, count in zip(structures, natoms, strict=True):
        try:
            if not kind.program.ours:
                check_memory(file.suffix, count)
            enough.append(structure)
        except ProgramError as error:
            lacking = error
    found = run_child(kind.program.python, "native_child.py", file.parent, settings, kind.name, library, file, *enough)
    for case, one in zip(cases, found, strict=False):
        for quantity in ("wall", "CPU"):
            for value in one[quantity]:
                report.add(PART, case, kind.name, quantity, "s", value)
        report.add(PART, case, kind.name, "peak memory", "MB", one["peak"] / 1e6)
    if lacking:
        raise lacking


def _floor(
    problem: Problem,
    file: Path,
    program: Program,
    cases: Sequence[str],
    natoms: Sequence[int],
    env: Mapping[str, str],
    report: Report,
) -> None:
    """Seconds that the products need which no evaluation can leave out, at the speed of NumPy's with these threads.

    They are those of the fitting network and of the descriptor with itself, forward and backward. The memory
    that has to be moved, coordinates and forces, is nothing beside them.
    """
    model = load_model(file)
    weights = sum(layer.w.size for layer in model.fitting.nets.networks[0].layers)
    settings = problem.descriptor_settings
    described = 4 * settings["neuron"][-1] * settings["axis_neuron"]
    flops = 2.0 * (2 * weights + 3 * described)
    speed = run_child(program.python, "peak_child.py", file.parent, env)
    for case, count in zip(cases, natoms, strict=True):
        for dtype, value in speed.items():
            report.add(PART, case, f"{FLOOR}, {dtype}", "wall", "s", flops * count / value)
