"""dipole_charge: what a modifier adds to a model of the energy, from its settings and in documents."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from dp_core.errors import ConfigError, FormatError
from dp_core.ewald import coarse
from dp_core.format.versions import check_version
from dp_core.long_range import SpreadCharges, check_charges
from dp_core.models.settings import ModifierSettings
from dp_core.module import replace

log = logging.getLogger(__name__)


class _Sum(Protocol):
    """The settings of an Ewald sum."""

    ewald_beta: float
    ewald_h: float


def new_charges(
    type_map: Sequence[str],
    charges: Sequence[float],
    model_name: str | None,
    centroid_charges: Sequence[float],
    numbers: _Sum,
    *,
    place: str,
) -> SpreadCharges:
    """The charges of settings; the model of dipoles is read. Raises ConfigError, FormatError."""
    from dp_core.model_file import load_model

    term = SpreadCharges(
        type_map=tuple(type_map),
        charges=tuple(charges),
        beta=numbers.ewald_beta,
        spacing=numbers.ewald_h,
        dipole=None if model_name is None else load_model(model_name),
        centroid_charges=tuple(centroid_charges),
    )
    check_charges(term, place)
    return term


def modified(model: Any, settings: ModifierSettings) -> Any:
    """The model with a new modifier. Raises ConfigError if it is none of the energy, FormatError for a bad file."""
    if model.output.kind != "energy":
        raise ConfigError(f"model/modifier is for models of the energy; this one predicts {model.output.name!r}.")
    term = new_charges(
        model.type_map,
        settings.sys_charge_map,
        settings.model_name,
        settings.model_charge_map,
        settings,
        place="model/modifier",
    )
    return replace(model, modifier=term)


def charges_document(term: SpreadCharges) -> dict[str, Any]:
    """The charges in a document, with the complete model of the dipoles."""
    from dp_core.model_file import model_document

    return {
        "@class": "Modifier",
        "type": "dipole_charge",
        "@version": 3,
        "type_map": list(term.type_map),
        "model_charge_map": list(term.centroid_charges),
        "sys_charge_map": list(term.charges),
        "ewald_h": term.spacing,
        "ewald_beta": term.beta,
        "dipole_model": None if term.dipole is None else model_document(term.dipole),
    }


def read_charges(data: dict[str, Any]) -> SpreadCharges:
    """The charges of a document. Raises FormatError."""
    from dp_core.model_file import model_from_document

    data = check_version(data, "Modifier", (3, 3))
    if data.get("type") != "dipole_charge" or "dipole_model" not in data:
        raise FormatError(
            "The model has a modifier that is not known, or without its model of dipoles. Was it made by another "
            "program? Train or convert it anew with dp."
        )
    dipole = data["dipole_model"]
    term = SpreadCharges(
        type_map=tuple(data["type_map"]),
        charges=tuple(float(q) for q in data["sys_charge_map"]),
        beta=float(data["ewald_beta"]),
        spacing=float(data["ewald_h"]),
        dipole=None if dipole is None else model_from_document(dipole, "The model of dipoles of the modifier"),
        centroid_charges=tuple(float(q) for q in data["model_charge_map"]),
    )
    try:
        check_charges(term, "modifier")
    except ConfigError as error:
        raise FormatError(str(error)) from error
    if reason := coarse(term.beta, term.spacing):
        log.warning("The file has a long-range part whose ewald_h %s in a new training.", reason)
    return term
