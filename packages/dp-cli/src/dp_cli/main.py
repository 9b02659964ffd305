"""The ``dp`` command: global options, and errors as one clear screen. Each command is a file in ``commands``.

Nothing heavy is imported until a command runs, so that ``dp --help`` is quick.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Annotated

import typer

from dp_cli.log import note_in_file, stop_logging
from dp_cli.options import BACKENDS, State, spread

#: Files in ``commands``, in the order of ``dp --help``. Each has a function ``command``, or a group ``app``.
COMMANDS = (
    "init",
    "data",
    "train",
    "freeze",
    "compress",
    "test",
    "plot",
    "show",
    "check",
    "convert-backend",
    "change-bias",
    "model-devi",
    "lammps",
    "neighbor-stat",
    "eval-desc",
    "doc-train-input",
    "doctor",
)

HELP = ["-h", "--help"]


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version

        parts = []
        for name in ("dp-core", "dp-ops", "dp-lammps"):
            with suppress(PackageNotFoundError):
                parts.append(f"{name} v{version(name)}")
        typer.echo(f"dp v{version('dp-cli')} ({', '.join(parts)})")
        raise typer.Exit


def _global_options(
    context: typer.Context,
    backend: Annotated[str | None, typer.Option("-b", "--backend", help="Backend by name.")] = None,
    torch: Annotated[bool, typer.Option("--pt", "--pytorch", "--torch", help="Use PyTorch.")] = False,
    exportable: Annotated[
        bool, typer.Option("--pt-expt", "--pytorch-exportable", help="Use PyTorch; frozen models are .pt2.")
    ] = False,
    jax: Annotated[bool, typer.Option("--jax", help="Use JAX.")] = False,
    tensorflow: Annotated[bool, typer.Option("--tf", "--tensorflow", help="Use TensorFlow.")] = False,
    tensorflow2: Annotated[
        bool, typer.Option("--tf2", "--tensorflow2", help="Use TensorFlow; frozen models are .savedmodeltf.")
    ] = False,
    numpy: Annotated[bool, typer.Option("--dp", "--dpmodel", "--np", "--numpy", help="Use NumPy alone.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Deep potentials: train, freeze, test and run neural-network models of how atoms interact.

    Without a backend, DP_BACKEND or the first installed one is used. `dp COMMAND --help` explains a command.
    """
    flags = {"pt": torch, "pt-expt": exportable, "jax": jax, "tf": tensorflow, "tf2": tensorflow2, "numpy": numpy}
    chosen = [name for name, given in flags.items() if given]
    if backend is not None:
        if backend.lower() not in BACKENDS:
            raise typer.BadParameter(f"unknown backend {backend!r}; known: {', '.join(sorted(BACKENDS))}")
        chosen.append(backend.lower())
    if len(chosen) > 1:
        raise typer.BadParameter(f"choose one backend, not {' and '.join(chosen)}")
    context.obj = State(chosen[0] if chosen else None)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@cache
def application() -> typer.Typer:
    """The command with all its commands."""
    app = typer.Typer(
        name="dp",
        invoke_without_command=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": HELP},
    )
    app.callback()(_global_options)
    for name in COMMANDS:
        module = import_module(f"dp_cli.commands.{name.replace('-', '_')}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, context_settings={"help_option_names": HELP})
        else:
            app.command(name)(module.command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``dp`` with these arguments (default: those of the process); returns the exit status.

    An error that the user can repair prints its message; the traceback goes to a file that the last line names.
    """
    from dp_core.errors import DpError

    try:
        application()(args=spread(sys.argv[1:] if arguments is None else arguments), prog_name="dp")
    except SystemExit as stop:
        return int(stop.code or 0)
    except DpError as error:
        stopped = getattr(error, "exit_code", None)  # by a signal, in good order
        if stopped is not None:
            typer.echo(str(error), err=True)
            note_in_file(str(error))
            return int(stopped)
        _tell(str(error), _save_traceback())
        return 1
    except BrokenPipeError:  # the reader of a pipe has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        _tell(
            "The memory is not enough. Use a smaller batch_size, set DP_INFER_BATCH_SIZE, or take fewer atoms.",
            _save_traceback(),
        )
        return 1
    except OSError as error:
        _tell(
            f"{error.filename or 'A file'} cannot be read or written: {error.strerror or error}. "
            "Check the path, its permissions and the space on the disk.",
            _save_traceback(),
        )
        return 1
    except Exception as error:
        _tell(
            f"{type(error).__name__}: {error}",
            f"This is a mistake in dp. Please report it with what `dp doctor --report` prints. {_save_traceback()}",
        )
        return 1
    finally:
        stop_logging()
    return 0


def _tell(message: str, more: str) -> None:
    typer.secho("Error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(f"{message}\n{more}", err=True)
    note_in_file(f"{message} {more}")


def _save_traceback() -> str:
    """Put the traceback into a file; returns a remark that names it."""
    try:
        handle, path = tempfile.mkstemp(prefix="dp-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"command: {' '.join(sys.argv)}\n\n{traceback.format_exc()}")
    except OSError as error:
        return f"(the traceback cannot be saved: {error.strerror})"
    return f"(traceback: {path})"


def script() -> None:
    """The console script."""
    sys.exit(main())
