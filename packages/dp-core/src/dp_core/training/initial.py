"""How a model begins: seeds of its parts, and weights taken from another model."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from dp_core.errors import ConfigError
from dp_core.model_file import model_document, model_from_document
from dp_core.module import leaves, with_leaves
from dp_core.schema import Section, parse_model
from dp_core.training.checkpoint import differences


def draw_seed() -> int:
    """A seed from the operating system."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def map_sections(change: Callable[[Section, str], dict[str, Any]], section: Section, place: str) -> Section:
    """The same settings with fields of the section, and of all sections inside it, replaced.

    change: gets a section and its place, gives the fields to replace.
    """
    updates = dict(change(section, place))
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            updates[name] = map_sections(change, value, f"{place}/{name}")
        elif isinstance(value, list) and any(isinstance(v, Section) for v in value):
            updates[name] = [map_sections(change, v, f"{place}/{name}/{k}") for k, v in enumerate(value)]
    return section.model_copy(update=updates)


def with_seeds(section: Section, seed: int, place: str) -> Section:
    """The settings with a seed for each part that has none, all derived from one."""

    def change(part: Section, where: str) -> dict[str, Any]:
        if "seed" not in type(part).model_fields or part.seed is not None:  # type: ignore[attr-defined]
            return {}
        stream = np.random.SeedSequence([seed, zlib.crc32(where.encode())])
        return {"seed": int(stream.generate_state(1)[0])}

    return map_sections(change, section, place)


def take_weights(model: Any, source: Any, name: str, *, fresh: Callable[[Any], Any] | None) -> tuple[Any, list[str]]:
    """The model with all parameters and statistics of another one, and sentences about what does not fit them.

    Raises ConfigError with everything that does not fit. With ``fresh``, a function that gives a model statistics,
    that is random, or as in the data.
    """
    if tuple(source.type_map) != tuple(model.type_map):
        raise ConfigError(
            f"{name} is a model of {' '.join(source.type_map)}, in this order; model/type_map here is "
            f"{' '.join(model.type_map)}. Give the same type_map, or change that of the file first "
            "(change_type_map, see the manual page Models)."
        )
    new, old = leaves(model), leaves(source)
    problems = [f"{path} is not in the file" for path in new if path not in old]
    problems += [f"{path} is in the file only" for path in old if path not in new]
    problems += [
        f"{path} has the shape {old[path].shape} in the file, {new[path].shape} here"
        for path in new
        if path in old and old[path].shape != new[path].shape
    ]
    if problems and fresh is None:
        listed = "\n  ".join([*_differences(model, source), *problems])
        raise ConfigError(
            f"{name} does not fit the model of the input:\n  {listed}\n"
            "Give the settings of the file in the model section, or use --force-load to start with fresh values there."
        )
    if problems and fresh is not None:
        model = fresh(model)
    taken = {p: old[p].astype(v.dtype) for p, v in new.items() if p in old and old[p].shape == v.shape}
    # through the document, because some static fields say what kind of values the leaves have
    filled = model_from_document(model_document(with_leaves(model, taken)))
    told = [f"{difference}; the parameters come from the file." for difference in _differences(model, source)]
    return filled, [*told, *(f"{problem}; it begins anew." for problem in problems)]


#: Settings that say nothing of what the parameters mean.
_NO_MATTER = {"seed", "trainable", "info", "data_stat_nbatch", "data_stat_protect", "data_bias_nsample"}


def _differences(model: Any, source: Any) -> list[str]:
    """The settings in which the two differ."""
    if not (model.script and source.script):
        return []
    return [
        f"model/{place} is {_shown(old)} in the file, {_shown(new)} here"
        for place, old, new in differences(_complete(source.script), _complete(model.script))
        if not _NO_MATTER & set(place.split("/"))
    ]


def _complete(script: dict[str, Any]) -> dict[str, Any]:
    """A model section with all defaults, as far as this version of dp knows its keys."""
    try:
        document: dict[str, Any] = parse_model(script).to_document()
    except ConfigError:
        return script
    return document


def _shown(value: Any) -> str:
    return "absent" if value is None else str(value)
