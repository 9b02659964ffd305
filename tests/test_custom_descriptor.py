"""A plugin package with a descriptor: dp trains, freezes, tests and checks it on every backend."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp_core.backend import SUFFIXES

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "custom-descriptor"
SOURCE = EXAMPLE / "dp_gaussians.py"

RUN = """
import json, sys
from dp_cli.main import main
for arguments in json.loads(sys.argv[1]):
    status = main(arguments)
    if status:
        sys.exit(status)
"""


@pytest.fixture(scope="module")
def installed_plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A path with the plugin as pip would install it: its file, and its entry points in a dist-info."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"]
    lines = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in entries.items()) for group, entries in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (site / SOURCE.name).symlink_to(SOURCE)
    return str(site)


def dp(folder: Path, site: str | None, *commands: list[str]) -> subprocess.CompletedProcess[str]:
    """Run commands of dp one after the other in a fresh process."""
    paths = [path for path in (site, os.environ.get("PYTHONPATH")) if path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("DP_BACKEND", None)
    return subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def write_input(folder: Path) -> None:
    """The input of the example, with less data and few steps."""
    document: dict[str, Any] = json.loads((EXAMPLE / "input.json").read_text(encoding="utf-8"))
    data = EXAMPLE.parent / "copper" / "data"
    document["model"]["descriptor"] |= {"rcut": 4.0, "count": 4}
    document["model"]["fitting_net"]["neuron"] = [8]
    document["training"] |= {"numb_steps": 3, "disp_freq": 1}
    document["training"]["training_data"] = {"systems": str(data / "train" / "vacancy"), "batch_size": 1}
    document["training"]["validation_data"] = {"systems": str(data / "validation" / "vacancy"), "batch_size": 1}
    (folder / "input.json").write_text(json.dumps(document))


def way_of(backend: str) -> list[list[str]]:
    """From input to errors on data."""
    model = f"frozen_model{SUFFIXES[backend][0]}"
    return [
        ["-b", backend, "train", "input.json"],
        ["-b", backend, "freeze"],
        ["test", "-m", model, "--valid-data", "input.json", "-n", "2"],
        ["show", model, "type-map", "descriptor"],
    ]


def errors_of(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"(\S+) eV", text.split("weighted average")[1])]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, installed_plugin: str) -> tuple[np.ndarray, list[float]]:
    """Learning curve and errors of NumPy."""
    folder = tmp_path_factory.mktemp("reference")
    write_input(folder)
    ran = dp(folder, installed_plugin, *way_of("numpy"))
    assert ran.returncode == 0, ran.stderr
    return np.loadtxt(folder / "lcurve.out"), errors_of(ran.stderr)


def test_one_file_and_nothing_else() -> None:
    assert sorted(p.name for p in EXAMPLE.glob("*.py")) == [SOURCE.name]
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) < 100


def test_trains_freezes_and_tests(
    tmp_path: Path, backend: str, installed_plugin: str, reference: tuple[np.ndarray, list[float]]
) -> None:
    write_input(tmp_path)
    ran = dp(tmp_path, installed_plugin, *way_of(backend))
    assert ran.returncode == 0, ran.stderr
    assert "'type': 'gaussians'" in ran.stderr
    np.testing.assert_allclose(np.loadtxt(tmp_path / "lcurve.out"), reference[0], rtol=1e-6)
    np.testing.assert_allclose(errors_of(ran.stderr), reference[1], rtol=1e-6)


def test_passes_the_checks(tmp_path: Path, installed_plugin: str) -> None:
    write_input(tmp_path)
    commands = (["-b", "numpy", "train", "input.json"], ["-b", "numpy", "check", "model.ckpt.dp"])
    ran = dp(tmp_path, installed_plugin, *commands)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed, total = map(int, re.search(r"(\d+) of (\d+) checks passed", ran.stdout).groups())  # type: ignore[union-attr]
    assert passed == total > 15


def test_a_model_whose_plugin_is_absent_is_one_clear_screen(tmp_path: Path, installed_plugin: str) -> None:
    write_input(tmp_path)
    commands = (["-b", "numpy", "train", "input.json"], ["-b", "numpy", "freeze"])
    assert dp(tmp_path, installed_plugin, *commands).returncode == 0
    commands = (["test", "-m", "frozen_model.dp", "-s", "."], ["train", "input.json"])
    for arguments in commands:
        ran = dp(tmp_path, None, ["-b", "numpy", *arguments])
        assert ran.returncode == 1
        assert "Unknown descriptor type 'gaussians'" in ran.stderr
        assert "Traceback" not in ran.stderr


def test_the_manual_shows_the_file() -> None:
    page = (ROOT / "docs" / "custom-descriptor.md").read_text(encoding="utf-8")
    assert f"```python\n{SOURCE.read_text(encoding='utf-8')}```" in page
