"""The whole input file: read, brought to its present form, checked, with everything that is wrong reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pydantic

from dp_core.errors import ConfigError
from dp_core.schema.names import tidy
from dp_core.schema.problems import InputError, Journal, Problem, translate
from dp_core.schema.section import Section, Variant, option, section_of, validate, wrong
from dp_core.schema.sections import Optimizer, Training, Validating
from dp_core.schema.text import parse, read
from dp_core.schema.unsupported import refuse_key
from dp_core.schema.upgrade import upgrade, without_comments

MODEL = Variant("model", "standard")


class Input(Section):
    """All settings of a training.

    The sections ``model``, ``learning_rate`` and ``loss`` are Settings of the class that their ``type`` names.
    """

    model: Annotated[Any, MODEL] = option(..., "the model")
    learning_rate: Annotated[Any, Variant("schedule", "exp")] = option(
        {}, "the step length during the run", validate_default=True
    )
    optimizer: Optimizer = option({}, "how the parameters follow the gradient", validate_default=True)
    loss: Annotated[Any, Variant("loss", "ener")] = option({}, "what the training makes small", validate_default=True)
    training: Training = option(..., "the run: data, length, files")
    validating: Validating = option({}, "validation on all frames of the validation data", validate_default=True)

    _notices: tuple[str, ...] = ()
    _upgraded: dict[str, Any] = pydantic.PrivateAttr(default_factory=dict)

    @property
    def notices(self) -> tuple[str, ...]:
        """Old names and forms of the file, with what they are called now."""
        return self._notices

    @property
    def upgraded(self) -> dict[str, Any]:
        """The document of the file in today's form, without comments and without defaults."""
        return self._upgraded

    def __eq__(self, other: object) -> bool:
        """Same settings, whatever they were called in the file."""
        return isinstance(other, Input) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Input:
        validating, training = self.validating, self.training
        if not (validating.full_validation or validating.ema_full_validation):
            return self
        if training.validation_data is None:
            raise wrong("validating/full_validation", "needs training/validation_data")
        if validating.ema_full_validation and not training.enable_ema:
            raise wrong("validating/ema_full_validation", "needs training/enable_ema: true")
        self._check_metric(validating.validation_metric)
        return self

    def _check_metric(self, metric: str) -> None:
        """Refuse to choose models by an error that the loss does not make small."""
        place, (what, _, _) = "validating/validation_metric", metric.partition(":")
        term = {"S": "v"}.get(what, what.lower())
        start, limit = (getattr(self.loss, f"{end}_pref_{term}", None) for end in ("start", "limit"))
        if start is None or limit is None:
            kind = self.loss.to_document()["type"]
            raise wrong(place, f"is {metric!r}, which models trained with the loss {kind!r} do not have")
        if not (start or limit):
            raise wrong(
                place,
                f"is {metric!r}, but loss/start_pref_{term} and loss/limit_pref_{term} are 0;"
                " choose a quantity that is trained",
            )


def load_input(path: str | Path) -> Input:
    """The settings of an input file, JSON (.json) or YAML (.yaml, .yml).

    Raises InputError, a ConfigError, with everything that is wrong in it.
    """
    text = read(path)
    return parse_input(parse(path, text), str(path), text)


def parse_input(document: dict[str, Any], source: str | None = None, text: str | None = None) -> Input:
    """The settings of a document. ``source`` and ``text``: name and content of its file, for the messages.

    Raises InputError, a ConfigError, with everything that is wrong in it.
    """
    journal = Journal()
    try:
        document = without_comments(document)
    except RecursionError:
        raise ConfigError(f"{source or 'The input'} is nested too deeply to be an input.") from None
    model = document.get("model")
    if isinstance(model, dict) and "model_dict" in model:  # the rest of the file has another form then
        problem = Problem(("model", "model_dict"), refuse_key("multi-task training"))
        raise InputError([problem], source, text)
    document = tidy(upgrade(document, journal), Input, journal)
    settings: Input = _checked(Input, document, journal, source, text)
    settings._notices, settings._upgraded = journal.messages(), document
    return settings


def parse_model(document: dict[str, Any], source: str | None = None) -> Any:
    """The settings of a model section alone: the Settings of the model that its ``type`` names.

    Raises InputError, a ConfigError, with everything that is wrong in it.
    """
    journal = Journal()
    document = tidy(without_comments(document), MODEL, journal, name="model")
    return _checked(MODEL, document, journal, source, None)


def _checked(
    holder: Variant | type[Section], document: dict[str, Any], journal: Journal, source: str | None, text: str | None
) -> Any:
    settings = None
    try:
        settings = holder.validate(document) if isinstance(holder, Variant) else validate(holder, document)
    except pydantic.ValidationError as error:
        translate(error, section_of(holder, document) or Section, document, journal)
    if journal.problems or settings is None:
        raise InputError(journal.problems, source, text)
    return settings
