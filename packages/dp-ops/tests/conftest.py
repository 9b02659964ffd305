"""Programs and engines that tests compile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

# where dp-ops is not installed, there is nothing to test
collect_ignore_glob = [] if find_spec("dp_ops") else ["test_*.py"]

HERE = Path(__file__).parent
SOURCES = HERE / "programs"


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``compiled("name.cpp")`` compiles a program against the headers and the library, all warnings being errors."""
    import dp_ops

    folder = tmp_path_factory.mktemp("programs")

    def compile_one(source: str, standard: str) -> Path:
        program = folder / source.replace(".", "_")
        if not program.exists():
            compiler = os.environ.get("CC", "gcc") if source.endswith(".c") else os.environ.get("CXX", "g++")
            lib = dp_ops.library_dir()
            command = [compiler, f"-std={standard}", "-Wall", "-Wextra", "-Werror", f"-I{dp_ops.include_dir()}"]
            command += [SOURCES / source, "-o", program, f"-L{lib}", "-ldeepmd_c", "-lm", f"-Wl,-rpath,{lib}"]
            subprocess.run(command, check=True)
        return program

    return compile_one


@pytest.fixture(scope="session")
def pair_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an engine of pairs that takes the place of those of PyTorch; see programs/pair_engine.cpp."""
    folder = tmp_path_factory.mktemp("engine")
    source, target = SOURCES / "pair_engine.cpp", folder / "libdp_engine_torch.so"
    command = [os.environ.get("CXX", "g++"), "-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, f"-I{HERE.parent / 'runtime'}", source, "-o", target], check=True)
    return folder


@pytest.fixture(scope="session")
def torch_engine() -> Callable[[], None]:
    """``torch_engine()`` compiles what the engine of PyTorch needs of it, unless that was done."""
    from dp_ops.build import build, find_built

    def compile_missing() -> None:
        if not find_built("torch"):
            build("torch")

    return compile_missing


@pytest.fixture(scope="session")
def without_threads(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], None]:
    """``without_threads(file, names)`` runs tests where four threads are wanted and the system gives none."""
    folder = tmp_path_factory.mktemp("threads")
    source, library = folder / "none.c", folder / "none.so"
    source.write_text("#include <errno.h>\nint pthread_create() { return EAGAIN; }\n")
    subprocess.run([os.environ.get("CC", "gcc"), "-w", "-shared", "-fPIC", source, "-o", library], check=True)
    given = {"LD_PRELOAD": str(library), "DP_INTRA_OP_PARALLELISM_THREADS": "4", "OPENBLAS_NUM_THREADS": "1"}

    def run(file: str, names: str) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", names, file]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | given, cwd=HERE)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs no framework, so that the environments of backends do not run it once more."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("crossing") is None:
            item.add_marker("core")
