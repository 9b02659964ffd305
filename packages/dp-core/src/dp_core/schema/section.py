"""The base class of every section of an input file."""

from __future__ import annotations

from typing import Any

import pydantic


class Section(pydantic.BaseModel):
    """Settings of one section: typed fields with default, unit and help; unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


def option(default: Any, help: str, *, aliases: tuple[str, ...] = (), unit: str | None = None, **limits: Any) -> Any:
    """A field of a section. ``default=...`` makes it required; ``limits`` are pydantic's (gt, ge, le, …)."""
    extra = {"aliases": list(aliases)} | ({"unit": unit} if unit else {})
    return pydantic.Field(default, description=help, json_schema_extra=extra, **limits)
