"""The demonstration goes through all its steps and leaves one complete page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dp_core.backend import installed

DEMO = Path(__file__).resolve().parents[1] / "examples" / "demo" / "demo.py"


@pytest.mark.skipif("torch" not in installed(), reason="the demonstration trains with PyTorch")
@pytest.mark.slow
def test_quick_demo(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    words = [sys.executable, str(DEMO), "--quick", "--output", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^lattice constant +3\.\d+ +3\.\d+ Å", done.stdout, re.MULTILINE)

    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg role") == 6
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    # the page asks for nothing from elsewhere
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))

    again = subprocess.run([*words[:-1], str(tmp_path)], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "not of this demonstration" in again.stderr
