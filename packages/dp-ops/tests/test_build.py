"""Libraries that need the headers of a framework are compiled for its version, into the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dp_ops import build
from dp_ops.build import BuildError, Recipe

SOURCE = '#include <header.h>\nextern "C" __attribute__((visibility("default"))) int answer() { return ANSWER; }\n'


@pytest.fixture
def framework(tmp_path, monkeypatch):
    """A framework of version 1.2+cpu with a header, a recipe for it, and an empty cache."""
    package = tmp_path / "packages/framework"
    (package / "include").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "include/header.h").write_text("#define ANSWER 42\n")
    information = package.parent / "framework_cpu-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: framework-cpu\nVersion: 1.2+cpu\n")
    (tmp_path / "source.cpp").write_text(SOURCE)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    recipe = Recipe("framework", ("source.cpp",), lambda folder: [f"-I{folder / 'include'}"])
    monkeypatch.setattr(build, "RECIPES", {"answer": recipe, "torch": build.RECIPES["torch"]})
    return package


def test_a_library_is_compiled_into_the_cache(framework, tmp_path):
    assert build.find_built("answer") is None
    path = build.build("answer")
    assert path == build.cache_folder() / "framework-1.2/libdp_answer.so"
    assert path.is_relative_to(tmp_path / "cache")
    assert build.find_built("answer") == path
    call = f"import ctypes; print(ctypes.CDLL({str(path)!r}).answer())"
    assert subprocess.run([sys.executable, "-c", call], capture_output=True, text=True).stdout == "42\n"


def test_another_version_needs_another_library(framework):
    build.build("answer")
    metadata = next(framework.parent.glob("*.dist-info")) / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.2+cpu", "1.3"))
    assert build.find_built("answer") is None
    assert build.target_of("answer", Path("here")) == Path("here/framework-1.3/libdp_answer.so")


def test_what_the_compiler_says_is_shown(framework, tmp_path):
    (framework / "include/header.h").unlink()
    with pytest.raises(BuildError, match=r"could not compile source.cpp:(.|\n)*header.h"):
        build.build("answer")
    assert not list(build.cache_folder().rglob("*.so"))


def test_an_absent_framework_is_named(framework, monkeypatch):
    monkeypatch.setitem(build.RECIPES, "other", Recipe("no_framework", (), lambda folder: []))
    with pytest.raises(BuildError, match="pip install no_framework"):
        build.build("other")
    assert build.find_built("other") is None


def test_an_absent_compiler_is_named(framework, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match=r"libdp_answer.so needs a C\+\+ compiler"):
        build.build("answer")


def test_the_command_prints_the_path(framework, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["build", "answer", "--where"])
    assert build.main() == 0
    assert Path(capsys.readouterr().out.strip()) == build.target_of("answer")
    assert not build.target_of("answer").exists()
