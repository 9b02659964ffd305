"""What several commands share: the chosen backend, model names, options that look alike, and refused ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dp_core.backend_names import NAMES as BACKENDS

if TYPE_CHECKING:
    from dp_core import DeepPot
    from dp_core.inference import Predictor

#: Options that take several values after one name, as in ``-m A B C``.
SEVERAL = {
    "model-devi": ("-m", "--models"),
    "neighbor-stat": ("-t", "--type-map"),
    "change-bias": ("-b", "--bias-value"),
    "data": ("-t", "--type-map"),
}

LogLevel = Annotated[str, typer.Option("-v", "--log-level", help="DEBUG or 3, INFO or 2, WARNING or 1, ERROR or 0.")]
LogPath = Annotated[str | None, typer.Option("-l", "--log-path", help="Write the log to this file, too.")]
DataSet = Annotated[str | None, typer.Option("-s", "--system", help="Data set, or folder to search.", show_default=".")]
DataFile = Annotated[
    str | None, typer.Option("-f", "--datafile", help="Text file with the path of a data set on each line.")
]
ModelName = Annotated[str, typer.Option("-m", "--model", help="Model file of any backend.")]
Head = Annotated[str | None, typer.Option("--head", "--model-branch", hidden=True)]
SetPrefix = Annotated[str | None, typer.Option("-S", "--set-prefix", hidden=True)]


@dataclass(frozen=True)
class State:
    """The global options."""

    named: str | None = None
    """What the user called the backend, if at all."""

    @property
    def explicit(self) -> bool:
        """Whether the user chose the backend."""
        return bool(self.named or os.environ.get("DP_BACKEND"))

    @property
    def backend(self) -> str:
        """The backend to use: named by a flag, by DP_BACKEND, or the first installed one."""
        return self._choice[0]

    def backend_for(self, path: str | Path) -> str:
        """The backend to use with a model file: as above, but the suffix of a checkpoint goes before the first one.

        Raises FormatError for an unknown suffix.
        """
        from dp_core.backend import backend_of, installed

        told = backend_of(path)
        told_by_file = told != "numpy" and told in installed() and not self.explicit
        return told if told_by_file else self.backend

    @property
    def suffix(self) -> str:
        """The suffix of frozen models."""
        from dp_core.backend import SUFFIXES

        backend, suffix = self._choice
        return suffix or SUFFIXES[backend][0]

    @property
    def _choice(self) -> tuple[str, str | None]:
        from dp_core.backend import default_backend

        wish = (self.named or os.environ.get("DP_BACKEND", "")).lower()
        return BACKENDS.get(wish) or (default_backend(), None)

    def model_file(self, name: str) -> str:
        """The file that a model name means; without a known suffix, that of the backend is tried first.

        Raises FormatError if there is no such file.
        """
        from dp_core.backend import CHECKPOINTS, SUFFIXES
        from dp_core.errors import FormatError

        if Path(name).exists():
            return name
        tried = [name]
        if not has_known_suffix(name):
            others = (*SUFFIXES[self.backend], CHECKPOINTS[self.backend])
            tried = [name + suffix for suffix in dict.fromkeys((self.suffix, *others))]
        for candidate in tried:
            if Path(candidate).exists():
                return candidate
        raise FormatError(f"The model {tried[0]} does not exist{_models_beside(Path(tried[0]))}.")

    def potential(self, name: str) -> DeepPot:
        """A model file opened: frozen ones by their own backend, documents and checkpoints by the chosen one.

        Raises FormatError, BackendError, or ConfigError if it is no potential.
        """
        from dp_core import DeepPot

        path = self.model_file(name)
        return DeepPot(path, None if frozen_for(path) else self.backend_for(path))

    def predictor(self, name: str) -> Predictor:
        """The same for a model of any kind. Raises FormatError or BackendError."""
        from dp_core.inference import Predictor

        path = self.model_file(name)
        return Predictor(path, None if frozen_for(path) else self.backend_for(path))

    def output_file(self, name: str, source: str | Path) -> str:
        """The name of a frozen model to be written, made from the checkpoint ``source``.

        A suffix of the chosen backend is kept, one of another backend is replaced, and without any the usual one is
        added. If the user chose no backend, any known suffix is kept, because it tells the backend.
        """
        from dp_core.backend import SUFFIXES

        lower = name.lower()
        own = SUFFIXES[self.backend] if self.explicit else [s for group in SUFFIXES.values() for s in group]
        if lower.endswith(tuple(own)):
            return name
        foreign = [s for group in SUFFIXES.values() for s in group if lower.endswith(s)]
        suffix = self.suffix if self.explicit else SUFFIXES[self.backend_for(source)][0]
        return name[: len(name) - max(map(len, foreign), default=0)] + suffix


def has_known_suffix(name: str) -> bool:
    """Whether a name ends like a model file of some backend."""
    from dp_core.backend import backend_of
    from dp_core.errors import FormatError

    try:
        backend_of(name)
    except FormatError:
        return False
    return True


def frozen_for(path: str) -> str | None:
    """The backend that alone evaluates a frozen file by itself; None for documents and checkpoints."""
    from dp_core.backend import SUFFIXES, backend_of

    backend = backend_of(path)
    return backend if backend != "numpy" and path.lower().endswith(SUFFIXES[backend]) else None


def is_checkpoint(path: str | Path) -> bool:
    """Whether a suffix is that of checkpoints and not of frozen models, too."""
    from dp_core.backend import CHECKPOINTS, SUFFIXES, backend_of

    backend, lower = backend_of(path), str(path).lower()
    return lower.endswith(CHECKPOINTS[backend]) and not lower.endswith(SUFFIXES[backend])


def _models_beside(path: Path) -> str:
    """The ending of a message about an absent model: what is in its folder."""
    if not path.parent.is_dir():
        return f" (there is no folder {path.parent})"
    models = sorted(entry.name for entry in path.parent.iterdir() if has_known_suffix(entry.name))
    return f"; models in this folder: {', '.join(models[:8])}" if models else ""


def refuse(option: str, value: object, reason: str) -> None:
    """Stop with a usage error if an option was given that dp does not have, with the reason."""
    if value:
        raise typer.BadParameter(f"{option}: {reason}")


def refuse_head(head: str | None) -> None:
    """Stop if a branch of a multi-task model is named."""
    refuse("--head", head, "models here have one task only, so there is no branch to choose")


def spread(arguments: Sequence[str]) -> list[str]:
    """Write ``-m A B C`` as ``-m A -m B -m C``, for the options that take several values.

    >>> spread(["model-devi", "-m", "a", "b", "-s", "."])
    ['model-devi', '-m', 'a', '-m', 'b', '-s', '.']
    """
    words = [a for a, before in zip(arguments, ["", *arguments]) if a[:1] != "-" and before not in ("-b", "--backend")]
    names = SEVERAL.get(words[0], ()) if words else ()
    result: list[str] = []
    current = None
    for k, argument in enumerate(arguments):
        if argument.startswith("-") and not _is_number(argument):
            current = argument if argument in names else None
        elif current is not None and arguments[k - 1] != current:
            result.append(current)
        result.append(argument)
    return result


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
