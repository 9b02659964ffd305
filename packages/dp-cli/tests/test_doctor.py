"""``dp doctor``: an installation that works, and broken ones."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from dp_cli import compiled, examination
from dp_core.backend import installed


@pytest.fixture
def only_numpy(monkeypatch):
    """As if no framework were installed; its loading is not what is tested here."""
    monkeypatch.setattr("dp_core.backend.installed", lambda: ["numpy"])


def test_a_sound_installation(dp, only_numpy):
    shown = dp("doctor")
    assert shown.code == 0
    assert "dp-core" in shown.out
    assert "ok backend numpy: computes\n" in shown.out
    assert "absent backend torch: not installed; to add it: pip install dp-torch" in shown.out
    assert shown.out.splitlines()[-1] == "No problems."


def test_every_installed_backend_computes():
    found = {b.name: b.works for b in examination.examine().backends}
    assert all(found[name] for name in installed())


@pytest.fixture
def ops(tmp_path, monkeypatch):
    """A dp-ops with an engine and kernels of its own, which stand for those that are installed."""
    source, lib = tmp_path / "kernels.c", tmp_path / "lib"
    lib.mkdir()
    source.write_text('const char* dp_kernels_isa() { return "v3"; }\nint dp_kernels_threads() { return 5; }\n')
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", lib / "libdp_kernels.so"], check=True)
    (lib / "libdp_engine_native.so").touch()
    module = ModuleType("dp_ops")
    module.library_dir = lambda: lib
    module.library = lambda name: lib / f"lib{name}.so"
    module.build = ModuleType("dp_ops.build")
    module.build.RECIPES, module.build.find_built = {}, lambda name: None
    monkeypatch.setattr(compiled, "find_spec", lambda name: name == "dp_ops" or None)
    monkeypatch.setitem(sys.modules, "dp_ops", module)
    monkeypatch.setitem(sys.modules, "dp_ops.build", module.build)
    monkeypatch.delenv("DP_KERNELS_ISA", raising=False)
    monkeypatch.delenv("DP_OPS", raising=False)
    return lib


def test_compiled_parts(dp, only_numpy, ops, monkeypatch):
    found = dict(compiled.compiled_parts())
    assert found == {
        "kernels": "for AVX2 (v3), 5 threads",
        "kernels for CUDA": "not built",
        "used by backends": "numpy",
        "engines for C, C++, LAMMPS": "native (.dp without a framework)",
    }
    assert "kernels: for AVX2" in dp("doctor", "--report").out
    monkeypatch.setenv("DP_OPS", "0")
    monkeypatch.setenv("DP_KERNELS_ISA", "v3")
    (ops / "libdp_kernels_cuda.so").touch()
    found = dict(compiled.compiled_parts())
    assert found["used by backends"] == "none: DP_OPS is 0"
    assert found["kernels"] == "for AVX2 (v3, as DP_KERNELS_ISA says), 5 threads"
    assert found["kernels for CUDA"] == "built"


def test_kernels_that_do_not_load_are_a_problem(dp, only_numpy, ops):
    (ops / "libdp_kernels.so").write_bytes(b"no library")
    shown = dp("doctor")
    assert shown.code == 1
    assert "repair: pip install --force-reinstall dp-ops" in shown.out


def test_the_release_of_lammps(tmp_path, monkeypatch):
    module = ModuleType("dp_lammps")
    module.__path__, module.cache_directory = [str(tmp_path)], lambda: tmp_path / "cache"
    monkeypatch.setattr(compiled, "find_spec", lambda name: name == "dp_lammps" or None)
    monkeypatch.setitem(sys.modules, "dp_lammps", module)
    ((_, found),) = compiled.compiled_parts()
    assert found.startswith("no LAMMPS yet: python -m dp_lammps.build; ")
    (tmp_path / "styles-stable_22Jul2025_update4.so").touch()
    ((what, found),) = compiled.compiled_parts()
    assert what == "dp-lammps serves"
    assert found.startswith("LAMMPS stable_22Jul2025_update4; ")


def test_report_is_ready_to_paste(dp, only_numpy):
    lines = dp("doctor", "--report").out.splitlines()
    assert lines[0] == lines[-1] == "```"
    assert any(line.startswith("python: 3.") for line in lines)
    assert any(line.startswith("numpy: ") for line in lines)


def test_a_broken_backend(dp, monkeypatch):
    def broken(name):
        raise OSError("undefined symbol: _ZN3c10")

    monkeypatch.setattr("dp_core.backend.installed", lambda: ["torch", "numpy"])
    monkeypatch.setattr(examination, "_difference_from_numpy", lambda name: broken(name) if name == "torch" else 0.0)
    shown = dp("doctor")
    assert shown.code == 1
    assert "broken backend torch: OSError: undefined symbol: _ZN3c10" in shown.out
    assert "repair: pip install --force-reinstall dp-torch torch" in shown.out


def test_a_backend_that_computes_wrong(dp, monkeypatch):
    monkeypatch.setattr("dp_core.backend.installed", lambda: ["torch", "numpy"])
    monkeypatch.setattr(examination, "_difference_from_numpy", lambda name: 0.1 if name == "torch" else 0.0)
    shown = dp("doctor")
    assert shown.code == 1
    assert "computes other energies than NumPy (relative difference 1.0e-01)" in shown.out


def test_requirements_that_are_not_met(dp, only_numpy, monkeypatch):
    wanted = {"dp-core": ["numpy>=99", "nothing-of-this-name>=1", "ase>=99; extra == 'ase'"]}
    monkeypatch.setattr(examination, "requires", lambda name: wanted.get(name, []))
    shown = dp("doctor")
    assert shown.code == 1
    assert "repair: pip install 'numpy>=99'" in shown.out
    assert "dp-core needs nothing-of-this-name, which is not installed." in shown.out
    assert "ase>=99" not in shown.out


def test_a_broken_plugin_and_odd_settings(dp, only_numpy, monkeypatch):
    entry = EntryPoint("descriptor.mine", "no_such_module:Mine", "dp.plugins")
    monkeypatch.setattr(examination, "entry_points", lambda group: [entry])
    monkeypatch.setenv("OMP_NUM_THREADS", "all")
    monkeypatch.setenv("DP_BACKEND", "paddle")
    shown = dp("doctor")
    assert shown.code == 1
    assert "The plugin descriptor.mine of no_such_module:Mine cannot be imported" in shown.out
    assert "OMP_NUM_THREADS is 'all'" in shown.out
    assert "repair: unset DP_BACKEND" in shown.out
