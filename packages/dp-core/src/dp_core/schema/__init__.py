"""The input file: sections, aliases, old forms, JSON schema."""

from dp_core.schema.documentation import documentation, json_schema
from dp_core.schema.input import Input, load_input, parse_input, parse_model
from dp_core.schema.problems import InputError, Problem
from dp_core.schema.section import Section, Variant, option

__all__ = [
    "Input",
    "InputError",
    "Problem",
    "Section",
    "Variant",
    "documentation",
    "json_schema",
    "load_input",
    "option",
    "parse_input",
    "parse_model",
]
