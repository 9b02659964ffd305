"""The plots of the report that ``dp plot`` does not draw."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from physics import Bands, Conservation, Equilibrium, Liquid

MINE, TRUTH = "#c2571a", "#31455c"


def _panel(width: float = 5.0, height: float = 3.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    panel = figure.subplots()
    panel.spines[["top", "right"]].set_visible(False)
    return figure, panel


def energy_volume(mine: Equilibrium, truth: Equilibrium, path: Path) -> None:
    """Energy against the cell edge."""
    figure, panel = _panel()
    panel.plot(truth.scales, truth.energies, color=TRUTH, linewidth=4, alpha=0.35, label="labeler")
    panel.plot(mine.scales, mine.energies, color=MINE, linewidth=1.5, label="potential")
    panel.set(xlabel="cell edge (Å)", ylabel="energy (eV/atom)")
    panel.legend(frameon=False)
    figure.savefig(path)


def phonon_bands(mine: Bands, truth: Bands, path: Path) -> None:
    """Phonon frequencies along the usual path."""
    figure, panel = _panel()
    scale = truth.distance[-1] / mine.distance[-1]  # the lattice constants differ a little
    for k in range(3):
        panel.plot(truth.distance, truth.frequencies[:, k], color=TRUTH, linewidth=4, alpha=0.35)
        panel.plot(mine.distance * scale, mine.frequencies[:, k], color=MINE, linewidth=1.5)
    for tick in truth.ticks:
        panel.axvline(tick, color="0.8", linewidth=0.7)
    panel.set(xticks=truth.ticks, ylabel="frequency (THz)", xlim=(0, truth.distance[-1]))
    panel.set_xticklabels(truth.labels)
    figure.savefig(path)


def conservation(energy: Conservation, path: Path) -> None:
    """Total and potential energy along the dynamics."""
    figure, panel = _panel()
    panel.plot(energy.time, energy.potential, color=TRUTH, linewidth=0.8, alpha=0.5, label="potential energy")
    panel.plot(energy.time, energy.total, color=MINE, linewidth=1.5, label="total energy")
    panel.set(xlabel="time (ps)", ylabel="change (meV/atom)")
    panel.legend(frameon=False)
    figure.savefig(path)


def pair_distribution(mine: Liquid, truth: Liquid, path: Path) -> None:
    """g(r) of the liquid."""
    figure, panel = _panel()
    panel.axhline(1.0, color="0.85", linewidth=0.8)
    panel.plot(truth.distance, truth.rdf, color=TRUTH, linewidth=4, alpha=0.35, label="labeler")
    panel.plot(mine.distance, mine.rdf, color=MINE, linewidth=1.5, label="potential")
    panel.set(xlabel="r (Å)", ylabel="g(r)", xlim=(1.5, float(np.max(truth.distance))))
    panel.legend(frameon=False)
    figure.savefig(path)
