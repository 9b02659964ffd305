"""The plots of the report, as SVG elements. Learning curve and parity plots are those of ``dp plot``."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from physics import Properties

from dp_cli.figures import Curve, draw_curves, draw_parity, read_curve, read_details

SIZE = (5.2, 3.6)  # inches
INK, LABELER, POTENTIAL = "#1d2733", "#9fb0c3", "#b8431d"
STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.prop_cycle": cycler(color=[POTENTIAL, INK, LABELER]),
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.titlelocation": "left",
    "savefig.dpi": 200,
}
# figures are scaled to the width of the page or to half of it
WIDE, HALF = ({**STYLE, "font.size": size} for size in (11.5, 9.5))


@matplotlib.rc_context(WIDE)
def learning_curve(folder: Path) -> str:
    """Errors of energy, force and virial during the training."""
    curve = read_curve(folder / "lcurve.out")
    shown = {name: values for name, values in curve.columns.items() if not re.fullmatch("rmse_(trn|val)", name)}
    return _svg(draw_curves([Curve(curve.name, shown)]), "learning", "learning curve")


@matplotlib.rc_context(WIDE)
def parity(prefix: Path) -> str:
    """Predictions against labels of the validation data."""
    figure = draw_parity(read_details(str(prefix)), "")
    for panel in figure.axes:
        for points in (*panel.collections, *panel.lines[:1]):
            points.set_rasterized(True)  # thousands of them
    return _svg(figure, "parity", "predictions against labels")


@matplotlib.rc_context(HALF)
def energy_volume(labeler: Properties, dp: Properties) -> str:
    """Energy against the edge of the cell."""
    figure, panel = _panel()
    for style, one in _both(labeler, dp):
        panel.plot(one.rest.edges, 1000 * (one.rest.energies - one.rest.cohesion), **style)
    panel.set(xlabel="edge of the cubic cell (Å)", ylabel="energy above the minimum (meV/atom)")
    panel.legend()
    return _svg(figure, "volume", "energy against volume")


@matplotlib.rc_context(HALF)
def phonon_bands(labeler: Properties, dp: Properties) -> str:
    """Phonon frequencies along the usual path."""
    figure, panel = _panel()
    end = labeler.bands.distance[-1]
    for style, one in _both(labeler, dp):
        scale = end / one.bands.distance[-1]  # lattice constants differ a little
        lines = panel.plot(one.bands.distance * scale, one.bands.frequencies, **style)
        for line in lines[1:]:
            line.set_label(None)
    for tick in labeler.bands.ticks[1:-1]:
        panel.axvline(tick, color=INK, linewidth=0.4, alpha=0.4)
    panel.set(xlim=(0, end), ylim=(0, None), ylabel="frequency (THz)")
    panel.set_xticks(labeler.bands.ticks, labeler.bands.labels)
    return _svg(figure, "phonons", "phonon bands")


@matplotlib.rc_context(HALF)
def conservation(dp: Properties) -> str:
    """Potential and total energy along dynamics, on their own scales."""
    figure = Figure(figsize=SIZE, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(dp.motion.time, dp.motion.potential, color=INK, linewidth=0.7)
    above.set_title("potential energy (meV/atom)", fontsize=HALF["font.size"])
    below.plot(dp.motion.time, 1000 * dp.motion.total, color=POTENTIAL, linewidth=0.7)
    below.set_title("total energy (µeV/atom, a thousandth of the above)", fontsize=HALF["font.size"])
    below.set_xlabel("time (ps)")
    return _svg(figure, "conservation", "energies along dynamics without thermostat")


@matplotlib.rc_context(HALF)
def pair_distribution(labeler: Properties, dp: Properties) -> str:
    """Pair distribution of the liquid."""
    figure, panel = _panel()
    panel.axhline(1.0, color=INK, linewidth=0.4, alpha=0.4)
    for style, one in _both(labeler, dp):
        panel.plot(one.melt.distance, one.melt.rdf, **style)
    panel.set(xlabel="distance r (Å)", ylabel="g(r)", xlim=(1.5, 5.5), ylim=(0, None))
    panel.legend()
    return _svg(figure, "liquid", "pair distribution of liquid copper")


def _panel() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.subplots()


def _both(labeler: Properties, dp: Properties) -> list[tuple[dict[str, Any], Properties]]:
    """The labeler as a broad line below, the potential as a thin one on it."""
    return [
        ({"color": LABELER, "linewidth": 4.5, "label": "labeler"}, labeler),
        ({"color": POTENTIAL, "linewidth": 1.4, "label": "potential"}, dp),
    ]


def _svg(figure: Figure, name: str, title: str) -> str:
    """The picture as an element. Its inner names get a prefix, since all pictures share one page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    text = buffer.getvalue()
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text[text.index("<svg") :])
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
