"""Learning curves and parity plots, as PNG, SVG or PDF."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dp_cli.files import replaced
from dp_core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dp_core.data.frame import Floats

#: Metric of a learning curve -> what it is.
METRICS = {
    "rmse": "root of the loss",
    "rmse_e": "energy RMSE (eV/atom)",
    "rmse_f": "force RMSE (eV/Å)",
    "rmse_fr": "force RMSE (eV/Å)",
    "rmse_fm": "magnetic force RMSE (eV/μB)",
    "rmse_v": "virial RMSE (eV/atom)",
    "rmse_ae": "atomic energy RMSE (eV)",
    "rmse_pf": "weighted force RMSE (eV/Å)",
    "rmse_gf": "generalised force RMSE",
    "rmse_h": "Hessian RMSE (eV/Å²)",
    "mae_e": "energy MAE (eV/atom)",
    "mae_f": "force MAE (eV/Å)",
    "mae_fr": "force MAE (eV/Å)",
    "mae_fm": "magnetic force MAE (eV/μB)",
    "mae_v": "virial MAE (eV/atom)",
}

#: Detail file (after the prefix) -> what it compares.
DETAILS = {
    "e_peratom": "energy (eV/atom)",
    "f": "force (eV/Å)",
    "fr": "force (eV/Å)",
    "fm": "magnetic force (eV/μB)",
    "v_peratom": "virial (eV/atom)",
}

#: More points than this are drawn as densities.
_MANY = 5_000


@dataclass(frozen=True)
class Curve:
    """A learning curve: columns by name, each (rows,)."""

    name: str
    columns: Mapping[str, Floats]


def read_curve(path: Path) -> Curve:
    """A table such as ``lcurve.out``, or that in a folder. Raises DataError if it is none."""
    path = path / "lcurve.out" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"There is no learning curve {path}. Give the file, or the folder of a training.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an empty file is only a warning
            table = np.atleast_1d(np.genfromtxt(path, names=True, encoding="utf-8"))
    except (OSError, ValueError, UserWarning) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is empty or cut off"
        raise DataError(f"The learning curve {path} cannot be read: {reason}.") from error
    names = table.dtype.names or ()
    if "step" not in names or table.size == 0:
        raise DataError(f"{path} is no learning curve: its first line must name the columns, with step among them.")
    return Curve(str(path), {name: table[name] for name in names})


def draw_curves(curves: Sequence[Curve]) -> Figure:
    """One panel a quantity with all runs in it: validation as a line, training thin."""
    found = {name.rsplit("_", 1)[0] for c in curves for name in c.columns if name.endswith(("_trn", "_val"))}
    shown = [m for m in (*METRICS, *sorted(found - METRICS.keys())) if m in found and _has_numbers(curves, m)]
    if not shown:
        raise DataError(f"{curves[0].name} has no errors to draw.")
    figure, panels = _panels(len(shown))
    for panel, metric in zip(panels, shown, strict=True):
        for k, curve in enumerate(curves):
            for kind, width in (("trn", 0.7), ("val", 1.6)):
                if f"{metric}_{kind}" in curve.columns:
                    meaning = {"trn": "training", "val": "validation"}[kind]
                    label = meaning if len(curves) == 1 else f"{curve.name}, {meaning}"
                    values = curve.columns[f"{metric}_{kind}"]
                    panel.plot(curve.columns["step"], values, f"C{k}", linewidth=width, label=label)
        panel.set(yscale="log", xlabel="step", ylabel=METRICS.get(metric, metric))
        panel.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    return figure


def _has_numbers(curves: Sequence[Curve], metric: str) -> bool:
    columns = [values for c in curves for name, values in c.columns.items() if name.rsplit("_", 1)[0] == metric]
    return any(np.isfinite(values).any() for values in columns)


def read_details(prefix: str) -> dict[str, Floats]:
    """The detail files of ``dp test -d prefix`` that are there: name -> (2, numbers), labels and predictions.

    Raises DataError if there are none or they are damaged.
    """
    found = {}
    for name in DETAILS:
        path = Path(f"{prefix}.{name}.out")
        if not path.is_file():
            continue
        try:
            table = np.loadtxt(path, ndmin=2, encoding="utf-8")
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read: {error}. Write it again with: dp test -d {prefix}") from error
        half = table.shape[1] // 2
        found[name] = np.stack([table[:, :half].ravel(), table[:, half:].ravel()])
    if not found:
        raise DataError(f"There are no files {prefix}.e_peratom.out and so on. Write them with: dp test -d {prefix}")
    return found


def draw_parity(pairs: Mapping[str, Floats], title: str) -> Figure:
    """Predictions against labels, one panel a quantity, with the errors.

    pairs: as ``read_details`` gives them; names of other quantities are shown as they are.
    """
    known = {name: pair[:, np.isfinite(pair).all(axis=0)] for name, pair in pairs.items()}
    shown = [name for name in known if known[name].size]
    if not shown:
        raise DataError(f"{title}: there are no labels to compare with.")
    figure, panels = _panels(len(shown))
    for panel, name in zip(panels, shown, strict=True):
        data, predicted = known[name]
        ends = [min(data.min(), predicted.min()), max(data.max(), predicted.max())]
        if len(data) > _MANY:
            panel.hexbin(data, predicted, gridsize=120, bins="log", mincnt=1, cmap="viridis")
        else:
            panel.plot(data, predicted, ".", markersize=3)
        panel.plot(ends, ends, "k-", linewidth=0.7)
        error, quantity = predicted - data, DETAILS.get(name, name)
        text = f"MAE {np.abs(error).mean():.3g}\nRMSE {np.sqrt(np.mean(error**2)):.3g}\n{len(data)} numbers"
        panel.text(0.04, 0.96, text, transform=panel.transAxes, va="top", fontsize="small")
        panel.set(xlabel=f"label: {quantity}", ylabel=f"prediction: {quantity}", aspect="equal")
        panel.set_adjustable("datalim")
    figure.suptitle(title, fontsize="medium")
    return figure


def _panels(count: int) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.2 * columns, 3.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in panels[count:]:
        unused.set_axis_off()
    return figure, panels[:count]


def check_figure_name(path: str) -> None:
    """Raise ConfigError for a suffix that is no picture's, or without matplotlib."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigError("Plots need matplotlib, which is not installed. Install it with: pip install matplotlib")
    if Path(path).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"{path} has the suffix {Path(path).suffix!r}; give a name in .png, .svg or .pdf with -o.")


def save(figure: Figure, path: str) -> None:
    """Write the picture, complete or not at all."""
    with replaced(path) as temporary:
        figure.savefig(temporary, dpi=150, format=Path(path).suffix[1:].lower())
