"""Which loss fits which model, and the settings that losses share."""

from __future__ import annotations

from collections.abc import Sequence

from dp_core.errors import ConfigError
from dp_core.outputs import OutputDef
from dp_core.schema.section import Section

#: The loss for models of each kind.
_LOSSES = {
    "energy": "ener",
    "dipole": "tensor",
    "polar": "tensor",
    "dos": "dos",
    "property": "property",
    "population": "population",
}


def check_kind(loss: str, kinds: Sequence[str], output: OutputDef) -> None:
    """Raise ConfigError if a loss is for models that predict something else."""
    if output.kind not in kinds:
        right = _LOSSES.get(output.kind)
        repair = f'Set loss/type to "{right}"' if right else "Use another loss"
        raise ConfigError(
            f"loss/type is {loss!r}, for models of {' or '.join(kinds)}; the model of this input predicts "
            f"{output.name!r}. {repair}, or use another fitting."
        )


def is_active(settings: Section, term: str) -> bool:
    """Whether a term has a weight at any time."""
    return bool(getattr(settings, f"start_pref_{term}") or getattr(settings, f"limit_pref_{term}"))


def weights_of(term: str) -> str:
    """The settings that are the weight of a term, for ``Label.asked_by``."""
    return f"start_pref_{term}, limit_pref_{term}"


def prefactors(settings: Section, terms: Sequence[str], ratio: float) -> dict[str, float]:
    """The weights of terms at a learning rate, as a ratio to that at the start."""
    ends = {t: (getattr(settings, f"start_pref_{t}"), getattr(settings, f"limit_pref_{t}")) for t in terms}
    return {t: limit + (start - limit) * ratio for t, (start, limit) in ends.items()}
