"""The command line: parse, call, print. Everything it does can be done from Python.

One module per command; here they become one program, which tells in one line why it ends early. Exit status: 0 done, 2 bad
input, 3 the run failed, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from ..base.collecting import seldom_collecting
from ..base.errors import ElsaError, InputError, RunFailed, unexpected
from ..base.writing import refused
from ..version import __version__
from .check import check, list_, schema
from .compare import compare
from .export import export
from .interrupts import interruptible
from .network import network
from .optimise import optimise
from .plot import plot
from .resume import resume
from .run import run
from .study import study

app = typer.Typer(
    help="Co-simulate networks and split federated fine-tuning of language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@seldom_collecting()
def main() -> None:
    """Entry point of ``elsa-sim``."""
    try:
        app()
    except _Interrupted as interrupt:
        _fail(ElsaError("; ".join(["interrupted", *_notes(interrupt.cause)])), 130)
    except KeyboardInterrupt:  # before a command has begun, or when it has ended
        _fail(ElsaError("interrupted"), 130)
    except InputError as error:
        _fail(error, 2)
    except RunFailed as error:
        _fail(error, 3)
    except MemoryError as error:  # outside a run: reading data, drawing figures
        from ..run.host_memory import exhausted

        _fail(exhausted(error) or RunFailed(str(error)), 3)
    except OSError as error:  # outside a run: a path that cannot be, a disk that is full
        told = refused(error)
        _fail(told, 3 if isinstance(told, RunFailed) else 2)
    except Exception as error:  # of a plugin, or a slip of this program: never a traceback
        _fail(RunFailed(f"this should not happen: {unexpected(error)}"), 3)


class _Interrupted(Exception):
    """A command was interrupted (the libraries between here and there would say something else to a KeyboardInterrupt)."""

    def __init__(self, cause: KeyboardInterrupt) -> None:
        self.cause = cause


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which an interrupt ends in the same way at any time."""

    @wraps(command)
    def called(*args: Any, **options: Any) -> None:
        try:
            with interruptible():
                command(*args, **options)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted(interrupt) from None

    return called


def _fail(error: ElsaError, status: int) -> None:
    sys.stderr.write("; ".join([f"elsa-sim: {error}", *_notes(error)]) + "\n")
    sys.exit(status)


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


def _version(show: bool) -> None:
    if show:
        typer.echo(f"elsa-sim {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Co-simulate networks and split federated fine-tuning of language models."""


for _command in (run, resume, check, network, export, plot, compare, study, optimise, list_, schema):
    app.command(_command.__name__.rstrip("_"))(_interruptible(_command))
