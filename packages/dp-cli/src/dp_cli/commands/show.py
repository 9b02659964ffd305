"""``dp show``: what a model file holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dp_cli.log import start_logging
from dp_cli.options import LogLevel, LogPath

if TYPE_CHECKING:
    from dp_core.inference import Predictor

log = logging.getLogger("deepmd.entrypoints.show")

ATTRIBUTES = (
    "model-branch",
    "type-map",
    "descriptor",
    "fitting-net",
    "size",
    "observed-type",
    "serialization-tree",
)


def command(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="INPUT", help="Model file or checkpoint.")],
    attributes: Annotated[list[str], typer.Argument(metavar="ATTR", help="What to show.")],
    log_level: LogLevel = "INFO",
    log_path: LogPath = None,
) -> None:
    """What a model file holds. No framework is needed.

    ATTR is one or more of type-map, descriptor, fitting-net, size, observed-type, serialization-tree.
    """
    from dp_core.errors import ConfigError, nearest
    from dp_core.inference import Predictor

    start_logging(log_level, log_path)
    for attribute in attributes:
        if attribute not in ATTRIBUTES:
            raise typer.BadParameter(f"unknown ATTR {attribute!r}{nearest(attribute, ATTRIBUTES)}")
    path = Path(context.obj.model_file(model))
    predictor = Predictor(path, backend="numpy")
    log.info("This is a singletask model")
    if "model-branch" in attributes:
        raise ConfigError(
            "The 'model-branch' option requires a multitask model. The provided model does not meet this criterion."
        )
    for attribute in dict.fromkeys(attributes):
        for line in _lines(predictor, attribute):
            log.info(line)


def _lines(predictor: Predictor, attribute: str) -> Iterator[str]:
    if attribute == "type-map":
        yield f"The type_map is {predictor.get_type_map()}"
    elif attribute == "descriptor":
        yield f"The descriptor parameter is {_settings(predictor, 'descriptor')}"
    elif attribute == "fitting-net":
        yield f"The fitting_net parameter is {_settings(predictor, 'fitting_net')}"
    elif attribute == "size":
        size = predictor.get_model_size()
        yield "Parameter counts:"
        for name in ("descriptor", "fitting-net", "total"):
            yield f"Parameters in {name}: {size[name]:,}"
    elif attribute == "observed-type":
        observed = predictor.get_observed_types()
        yield "The observed types for this model: "
        yield f"Number of observed types: {observed['type_num']} "
        yield f"Observed types: {observed['observed_type']} "
    elif attribute == "serialization-tree":
        from dp_core.format import describe

        yield f"Model serialization tree:\n{describe(predictor.serialize())}"


def _settings(predictor: Predictor, part: str) -> Any:
    """The settings of a part of the model; of each of the models it is made of, a list, None for those without."""
    script = predictor.get_model_def_script()
    document = predictor.serialize()["model"]
    document = document.get("backbone_model", document)
    if "descriptor" in script or "models" not in document:
        return script.get(part) or _plain(document, part)
    return [_plain(model, part) or None for model in document["models"]]


def _plain(document: dict[str, Any], part: str) -> dict[str, Any]:
    """The settings of a part of a model, from its document."""
    found = document.get({"fitting_net": "fitting"}.get(part, part), {})
    return {
        key: value
        for key, value in found.items()
        if not key.startswith("@") and not isinstance(value, dict) and not (isinstance(value, list) and _nested(value))
    }


def _nested(values: list[Any]) -> bool:
    return any(isinstance(v, dict) for v in values)
