"""The manual: its Python runs, its links lead somewhere, its commands and options exist."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import typer.main

from dp_core.backend import installed
from dp_core.schema.unsupported import KEYS, TYPES

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
#: What blocks with a word in them need beside dp-core.
NEEDS = {"torch": "torch"}

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def blocks(path: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(path.read_text(encoding="utf-8")) if language in languages]


def commands(path: Path) -> list[list[str]]:
    """The words of every ``dp …`` line in a block of commands; lines that end with a backslash go on."""
    lines = "\n".join(blocks(path, "sh", "console")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if re.match(r"(\$ )?dp\b", line)]
    starts = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if " -m dp_cli " in line]
    return words + [line[line.index("dp_cli") :] for line in starts]


def anchors(path: Path) -> set[str]:
    """The anchors of the headings of a page, as Markdown readers make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_there_is_a_manual() -> None:
    assert len(PAGES) > 10


@page
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page one after the other, in a folder that has the files of the tests and nothing to lose."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "golden").symlink_to(ROOT / "tests" / "golden")
    shutil.copy(ROOT / "examples" / "copper" / "copper.xyz", tmp_path)
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType(f"docs_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # classes look for their module
    for number, text in enumerate(blocks(page, "python")):
        if any(mark in text and backend not in installed() for mark, backend in NEEDS.items()):
            continue
        exec(compile(text, f"{page.name}, block {number}", "exec"), module.__dict__)


@page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {link}"


def test_index_names_every_page() -> None:
    named = LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))
    assert sorted({name for name in named if "/" not in name}) == [p.name for p in PAGES if p.stem != "index"]


def application() -> Any:
    from dp_cli.main import application

    return typer.main.get_command(application())


def options(command: Any) -> set[str]:
    found = {name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}
    return found | {"-h", "--help"}


@page
def test_commands_and_options_exist(page: Path) -> None:
    for words in commands(page):
        command = application()
        known = options(command)
        for word in (w.split("=")[0] for w in words[1:]):
            if word in getattr(command, "commands", {}):
                command = command.commands[word]
                known = options(command)
            elif hasattr(command, "commands") and not word.startswith("-"):
                pytest.fail(f"{page.name}: dp has no command {word!r}: {' '.join(words)}")
            elif word.startswith("-") and not re.match(r"-\d", word):
                assert word in known, f"{page.name}: dp has no option {word} here: {' '.join(words)}"


def test_every_command_is_described() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^##+ dp ([a-z -]+)$", text, re.MULTILINE))
    top = application().commands
    groups = {f"{name} {sub}" for name, group in top.items() for sub in getattr(group, "commands", {})}
    assert described == groups | {name for name, command in top.items() if not hasattr(command, "commands")}


def test_everything_that_is_refused_is_named() -> None:
    """The messages of refused keys and types lead to this page."""
    text = (ROOT / "docs" / "differences.md").read_text(encoding="utf-8")
    for names in TYPES.values():
        for name in names:
            assert f"`{name}`" in text
    for keys in KEYS.values():
        for _, feature in keys.values():
            assert feature.replace("set.*", "`set.*`") in text
