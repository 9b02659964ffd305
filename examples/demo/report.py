"""The report: one page with the plots inside it."""

import html
import platform
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PICTURES = [
    ("lcurve.svg", "Learning curve", "Errors on the training batches (thin) and on the validation data."),
    ("parity.svg", "Parity", "Predictions against labels for frames that the training never saw."),
    ("eos.svg", "Equation of state", "Energy of the crystal against its cell edge."),
    ("phonons.svg", "Phonons", "Vibrations of the crystal: forces for displacements of 0.01 Å."),
    ("rdf.svg", "Liquid", "Pair distribution of molten copper, from dynamics with a thermostat."),
    ("nve.svg", "Energy conservation", "108 atoms without a thermostat: the total energy stays."),
]

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 Georgia, 'Times New Roman', serif; color: #1d2733; background: #fbfaf7; margin: 0; }
main { max-width: 66rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 2.1rem; line-height: 1.2; margin: 0 0 .4rem; font-weight: 600; }
h2 { font-size: 1.15rem; margin: 0 0 .2rem; }
p { max-width: 44rem; margin: .4rem 0 1rem; }
.lead { color: #4b5a6b; }
table { border-collapse: collapse; margin: 1.5rem 0 2.5rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .9rem; text-align: right; border-bottom: 1px solid #e4dfd5; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.unit, th.unit { text-align: left; color: #6b7785; }
th { font-weight: 600; border-bottom: 2px solid #c9c1b2; }
.plots { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 2rem 2.2rem; }
figure { margin: 0; } figure.wide { grid-column: 1 / -1; }
figure svg { width: 100%; height: auto; background: #fff; border: 1px solid #e9e4da; border-radius: 4px; }
figcaption { font-size: .92rem; color: #4b5a6b; margin-bottom: .5rem; }
pre { background: #f1eee7; padding: 1rem 1.2rem; border-radius: 4px; font-size: .85rem; overflow-x: auto; }
footer { color: #6b7785; font-size: .85rem; margin-top: 2rem; }
@media (max-width: 760px) { .plots { grid-template-columns: 1fr; } }
"""


@dataclass(frozen=True)
class Row:
    """One number of the potential, and that of the labeler where there is one."""

    name: str
    value: float
    truth: float | None
    unit: str
    digits: int

    def shown(self, value: float | None) -> str:
        """The number as text."""
        return "–" if value is None else f"{value:.{self.digits}f}"


def write_report(path: Path, pictures: Path, rows: list[Row], commands: list[str], seconds: float) -> None:
    """Write the page; the pictures are read from their folder and put inside."""
    figures = "".join(
        f'<figure class="{"wide" if name in ("lcurve.svg", "parity.svg") else ""}"><h2>{title}</h2>'
        f"<figcaption>{text}</figcaption>{_svg(pictures / name, name[:-4])}</figure>"
        for name, title, text in PICTURES
    )
    versions = ", ".join(f"{p} {version(p)}" for p in ("dp-core", "dp-torch", "dp-cli", "torch", "numpy", "ase"))
    path.write_text(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>dp: a copper potential</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body><main>
<h1>A copper potential in {seconds / 60:.0f} minutes</h1>
<p class="lead">A deep potential (se_e2_a) trained on energies, forces and virials of effective medium theory, the
<em>labeler</em>, then compared with it in what the training data do not contain: elastic constants, phonons, a relaxed
vacancy and surface, and the structure of the liquid.</p>
<table><tr><th></th><th>potential</th><th>labeler</th><th class="unit"></th></tr>{"".join(map(_row, rows))}</table>
<div class="plots">{figures}</div>
<h2 style="margin-top:2.5rem">The commands</h2><pre>{html.escape(chr(10).join(commands))}</pre>
<footer>{versions}; Python {platform.python_version()}, {platform.system()} {platform.machine()}.</footer>
</main></body></html>
""",
        encoding="utf-8",
    )


def _row(row: Row) -> str:
    return (
        f"<tr><td>{row.name}</td><td>{row.shown(row.value)}</td><td>{row.shown(row.truth)}</td>"
        f'<td class="unit">{row.unit}</td></tr>'
    )


def _svg(path: Path, prefix: str) -> str:
    """A picture as an element; names inside it get a prefix, since all share one page."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
