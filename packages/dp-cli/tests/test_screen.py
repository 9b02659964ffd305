"""What is shown on a terminal, and elsewhere."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from dp_cli import screen


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_a_terminal(monkeypatch):
    """Make both streams terminals; pytest would undo it in a fixture."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    streams = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    return streams


def test_a_bar_on_a_terminal(monkeypatch):
    _, err = on_a_terminal(monkeypatch)
    with screen.progress("Working") as show:
        for k in range(4):
            show(k + 1, 4)
    assert "Working" in err.getvalue()
    assert "100%" in err.getvalue()
    assert "4/4" in err.getvalue()


def test_lines_elsewhere_and_only_for_long_work(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    monkeypatch.setattr(screen, "monotonic", lambda: now[0])
    with screen.progress("Working") as show:
        for k in range(100):
            now[0] += 1.0
            show(k + 1, 100)
    assert len(caplog.messages) == 9
    assert caplog.messages[0] == "Working: 11 of 100, about 89 s left"
    caplog.clear()
    with screen.progress("Short") as show:
        show(1, 2)
        show(2, 2)
    assert not caplog.messages


def test_tables(monkeypatch):
    out, _ = on_a_terminal(monkeypatch)
    screen.print_table("Title", ("name", "n"), [("[a]", "1"), ("long", "20")], numbers=(1,))
    assert "[a]" in out.getvalue()
    assert "━" in out.getvalue()


def test_plain_tables(capsys):
    screen.print_table("Title", ("name", "n"), [("[a]", "1"), ("long", "20")], numbers=(1,))
    assert capsys.readouterr().out.splitlines() == ["Title", "name   n", "[a]    1", "long  20"]
    screen.print_table("Title", ("", ""), [("a", "1")])
    assert capsys.readouterr().out.splitlines() == ["Title", "a  1"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (119.4, "119 s"), (180, "3 min"), (7300, "2 h 2 min"), (90000, "25 h 0 min")]
)
def test_durations(seconds, text):
    assert screen.duration(seconds) == text


def test_training_on_a_terminal(dp, training_input, monkeypatch):
    training_input({"training/numb_steps": 6})
    from dp_cli.training_screen import Screen

    shown = []
    monkeypatch.setattr(Screen, "_update", lambda self, *what: shown.append(what))
    monkeypatch.setattr("dp_cli.commands.train._reporter", Screen)
    assert dp("train", "input.json").code == 0
    stages = {what[0] for what in shown}
    assert "Training" in stages
    assert [what[2:] for what in shown if what[0] == "Training"] == [(2, 6), (4, 6), (6, 6)]
    assert len(stages) > 1
