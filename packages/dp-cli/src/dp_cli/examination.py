"""Looking at an installation: versions, backends that compute right, requirements, threads."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from dp_cli.compiled import compiled_parts

#: Packages of this project; what they require is checked.
OURS = ("dp-cli", "dp-core", "dp-torch", "dp-jax", "dp-tf", "dp-ops", "dp-lammps", "dp-gnn")

#: Packages whose versions matter, by what needs them.
OTHERS = (
    "numpy", "array-api-compat", "autograd", "vesin", "h5py", "pydantic", "PyYAML", "typer", "rich",
    "torch", "jax", "jaxlib", "tensorflow", "tensorflow-cpu", "ase", "dpdata", "lmdb", "msgpack", "matplotlib",
    "tensorboardX", "lammps",
)  # fmt: skip

VARIABLES = (
    "DP_BACKEND", "DP_INFER_BATCH_SIZE", "DP_TEST_CHUNK_ATOMS", "DP_INTRA_OP_PARALLELISM_THREADS",
    "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "DP_OPS", "DP_KERNELS_ISA", "DP_BACKEND_PLUGIN_PATH",
)  # fmt: skip

#: Relative difference from NumPy that rounding explains.
_ROUNDING = 1e-8


@dataclass(frozen=True)
class Problem:
    """Something that is installed and does not work."""

    what: str
    repair: str


@dataclass(frozen=True)
class BackendFinding:
    """One backend. works: None if it is not installed, which is no problem."""

    name: str
    works: bool | None
    text: str


@dataclass(frozen=True)
class Findings:
    """Everything that was found."""

    system: list[tuple[str, str]]
    packages: list[tuple[str, str]]
    compiled: list[tuple[str, str]]
    backends: list[BackendFinding]
    problems: list[Problem]


def examine() -> Findings:
    """Look at everything; every installed backend evaluates a small model."""
    packages = [(name, found) for name in (*OURS, *OTHERS) if (found := _version(name))]
    backends, problems = _backends()
    compiled: list[tuple[str, str]] = []
    try:
        compiled = compiled_parts()
    except OSError as error:
        repair = "pip install --force-reinstall dp-ops"
        problems.append(Problem(f"The kernels of dp-ops do not load ({error}).", repair))
    problems = [*_requirements(), *problems, *_plugins(), *_settings()]
    return Findings(_system(), packages, compiled, backends, problems)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _system() -> list[tuple[str, str]]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = [
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("platform", platform.platform()),
        ("processors", f"{os.cpu_count()}, of which {usable} may be used here"),
    ]
    return facts + [(name, os.environ[name]) for name in VARIABLES if name in os.environ]


def _requirements() -> Iterator[Problem]:
    """What the installed packages of this project ask for and do not get."""
    for name in OURS:
        if _version(name) is None:
            continue
        for text in requires(name) or ():
            try:
                wanted = Requirement(text)
            except InvalidRequirement:
                continue
            if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
                continue
            found = _version(wanted.name)
            if found is None:
                yield Problem(f"{name} needs {wanted.name}, which is not installed.", f"pip install '{_bare(wanted)}'")
            elif not wanted.specifier.contains(found, prereleases=True):
                yield Problem(
                    f"{name} needs {_bare(wanted)}, but {wanted.name} {found} is installed.",
                    f"pip install '{_bare(wanted)}'",
                )


def _bare(wanted: Requirement) -> str:
    return f"{wanted.name}{wanted.specifier}"


def _backends() -> tuple[list[BackendFinding], list[Problem]]:
    from dp_core.backend import FRAMEWORKS, installed

    found, problems = [], []
    for name, package in FRAMEWORKS.items():
        distribution = package.replace("_", "-")
        if name not in installed():
            found.append(BackendFinding(name, None, f"not installed; to add it: pip install {distribution}"))
            continue
        try:
            difference = _difference_from_numpy(name)
        except Exception as error:  # whatever a broken library raises is the finding
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            found.append(BackendFinding(name, False, reason))
            framework = {"torch": "torch", "jax": "jax", "tensorflow": "tensorflow"}.get(name, "dp-core")
            problems.append(
                Problem(
                    f"The backend {name} does not load or compute ({reason}).",
                    f"pip install --force-reinstall {distribution} {framework}",
                )
            )
            continue
        if difference > _ROUNDING:
            found.append(BackendFinding(name, False, f"differs from NumPy by {difference:.1e}"))
            problems.append(
                Problem(
                    f"The backend {name} computes other energies than NumPy (relative difference {difference:.1e}).",
                    f"pip install --upgrade {distribution}",
                )
            )
        else:
            same = "" if name == "numpy" else f", as NumPy does (difference {difference:.0e})"
            found.append(BackendFinding(name, True, f"computes{same}"))
    return found, problems


def _difference_from_numpy(name: str) -> float:
    """The largest relative difference of energies and forces of a small random model."""
    import numpy as np

    from dp_core import DeepPot
    from dp_core.random_structures import random_sample

    model = _small_model()
    sample = random_sample(model, np.random.default_rng(0), 8, periodic=True)
    results = [DeepPot(model, backend).eval(sample.coord, sample.box, sample.types)[:2] for backend in ("numpy", name)]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(*results, strict=True))


def _small_model() -> Any:
    from dp_core import registry
    from dp_core.schema import parse_model

    settings = parse_model(
        {
            "type_map": ["O", "H"],
            "descriptor": {
                "type": "se_e2_a",
                "rcut": 4.0,
                "sel": [20, 40],
                "neuron": [4, 8],
                "axis_neuron": 2,
                "seed": 1,
            },
            "fitting_net": {"neuron": [8, 8], "seed": 1},
        }
    )
    return registry.lookup("model", "standard").init(settings, ["O", "H"])


def _plugins() -> Iterator[Problem]:
    """Plugins that cannot be imported."""
    from dp_core.registry import GROUP

    for entry in entry_points(group=GROUP):
        if entry.name.startswith("backend."):
            continue  # looked at already
        try:
            entry.load()
        except Exception as error:  # whatever the plugin raises is the finding
            package = entry.dist.name if entry.dist else entry.value
            yield Problem(
                f"The plugin {entry.name} of {package} cannot be imported ({type(error).__name__}: {error}).",
                f"pip install --upgrade {package}, or: pip uninstall {package}",
            )


def _settings() -> Iterator[Problem]:
    """Environment variables that make no sense."""
    from dp_cli.options import BACKENDS

    wish = os.environ.get("DP_BACKEND", "")
    if wish and wish.lower() not in BACKENDS:
        yield Problem(f"DP_BACKEND is {wish!r}, which is no backend.", "unset DP_BACKEND")
    for name in ("OMP_NUM_THREADS", "DP_INFER_BATCH_SIZE", "DP_TEST_CHUNK_ATOMS"):
        value = os.environ.get(name, "1")
        if not value.isdigit() or int(value) < 1:
            yield Problem(f"{name} is {value!r}, which is no positive number.", f"unset {name}")
