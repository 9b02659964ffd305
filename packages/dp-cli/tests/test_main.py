"""The command itself: help, version, backends, log, exit status."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dp_cli.main import COMMANDS
from dp_core.backend import FRAMEWORKS, get_backend

HEAVY = ("numpy", "torch", "jax", "tensorflow", "h5py", "yaml", "ase", "matplotlib", "rich.progress", "vesin")


@pytest.mark.parametrize("arguments", [["--help"], [], ["train", "--help"], ["data", "check", "-h"]])
def test_help_imports_nothing_heavy(arguments):
    heavy = (*HEAVY, "pydantic") if arguments == ["--help"] else HEAVY  # typer takes it for the options of commands
    code = f"""
import sys
from dp_cli.main import main
status = main({arguments!r})
print([name for name in {heavy!r} if name in sys.modules], status)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"
    assert done.stdout.startswith("Usage: dp")


def test_help_lists_all_commands(dp):
    shown = dp()
    assert shown.code == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name}  ", shown.out, re.MULTILINE), name
    assert dp("--help") == shown


@pytest.mark.parametrize("name", [*COMMANDS, "data check", "data convert"])
def test_every_command_explains_itself(dp, name):
    shown = dp(*name.split(), "-h")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith(f"Usage: dp {name} ")
    assert "Traceback" not in shown.out


def test_version(dp):
    others = r"(, dp-ops v\d\S*)?(, dp-lammps v\d\S*)?"
    assert re.fullmatch(rf"dp v\d+\.\d+\.\d+\S* \(dp-core v\d\S*{others}\)\n", dp("--version").out)


def test_module_can_be_run():
    done = subprocess.run([sys.executable, "-m", "dp_cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("dp v")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["test", "--nonsense"], "--nonsense"),
        (["-b", "tensorflw", "test"], "unknown backend 'tensorflw'; known: dp, dpmodel, jax"),
        (["--pt", "--tf", "test"], "choose one backend, not pt and tf"),
        (["test", "-v", "LOUD"], "use DEBUG, INFO, WARNING or ERROR"),
        (["test", "-s", "x", "-f", "y"], "exclude each other"),
        (["train"], "Missing argument"),
        (["neighbor-stat"], "Missing option '-r'"),
        (["freeze", "--head", "H"], "one task only"),
        (["freeze", "-n", "o_energy"], "no nodes to choose from"),
        (["train", "input.json", "-t", "m.pt"], "fine-tuning is not part of this version"),
        (["train", "input.json", "-i", "a", "-r", "b"], "--init-model and --restart exclude each other"),
        (["train", "input.json", "-m", "workers"], "the first process logs"),
        (["doc-train-input", "--multi-task"], "one task only"),
        (["doc-train-input", "--out-type", "html"], "html"),
    ],
)
def test_usage_errors_have_status_2(dp, model, arguments, text):
    shown = dp(*arguments)
    assert shown.code == 2
    assert text in " ".join(shown.err.split())
    assert "Traceback" not in shown.err


def test_log_lines_and_log_file(dp, tmp_path, model, data):
    shown = dp("neighbor-stat", "-s", "data", "-r", 3, "-l", "log.txt")
    line = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] DEEPMD INFO    (.*)")
    assert line.match(shown.err.splitlines()[0])[1].startswith("min_nbor_dist: ")
    logged = (tmp_path / "log.txt").read_text().splitlines()
    assert line.match(logged[0])[1].startswith(f"{'deepmd.entrypoints.neighbor_stat':45s} min_nbor_dist: ")
    assert dp("neighbor-stat", "-s", "data", "-r", 3, "-v", 1).err == ""
    assert logging.getLogger().handlers == [h for h in logging.getLogger().handlers if "pytest" in type(h).__module__]


def test_errors_are_in_the_log_file_too(dp, tmp_path):
    shown = dp("test", "-m", "absent.dp", "-l", "log.txt")
    assert shown.code == 1
    assert "ERROR   dp_cli" in (tmp_path / "log.txt").read_text()


def test_an_error_names_the_file_with_the_traceback(dp):
    shown = dp("test", "-m", "absent.dp")
    path = re.search(r"\(traceback: (.*)\)", shown.err)[1]
    text = Path(path).read_text(encoding="utf-8")
    assert "Traceback" in text
    assert "FormatError" in text


def test_a_mistake_in_dp_asks_for_a_report(dp, monkeypatch):
    monkeypatch.setattr("dp_cli.systems.open_chosen", None)
    monkeypatch.setattr("dp_cli.commands.neighbor_stat.open_chosen", None)
    shown = dp("neighbor-stat", "-r", 3)
    assert shown.code == 1
    assert "Please report it" in shown.err
    assert "dp doctor --report" in shown.err
    assert "Traceback" not in shown.err


def test_interrupted(dp, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("dp_cli.commands.neighbor_stat.open_chosen", stop)
    assert dp("neighbor-stat", "-r", 3).code == 130


def test_backend_of_the_environment(dp, monkeypatch, model, data):
    monkeypatch.setenv("DP_BACKEND", "numpie")
    shown = dp("test", "-m", model, "-s", "data")
    assert shown.code == 1
    assert "DP_BACKEND is 'numpie'; did you mean 'numpy'?" in shown.err


@pytest.mark.parametrize(
    ("name", "suffix"), [("torch", ".pth"), ("jax", ".savedmodel"), ("jax", ".hlo"), ("tensorflow", ".pb")]
)
def test_an_absent_backend_is_one_line_with_the_command(dp, model, data, monkeypatch, name, suffix):
    get_backend.cache_clear()
    monkeypatch.setattr(
        "dp_core.backend.find_spec", lambda package: None if package == FRAMEWORKS[name] else find_spec(package)
    )
    package = FRAMEWORKS[name].replace("_", "-")
    for arguments in (
        ("convert-backend", model, f"model{suffix}"),
        ("-b", name, "freeze", "-c", model),
        ("-b", name, "test", "-m", model, "-s", "data"),
        ("-b", name, "check", model),
    ):
        shown = dp(*arguments)
        assert shown.code == 1
        assert f"The {name} backend is not installed. Install it with: pip install {package}" in shown.err
        assert len(shown.err.splitlines()) == 2
