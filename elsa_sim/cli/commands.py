"""The command line: parse, call, print. Everything it does can be done from Python.

One module per command; here they become one program. Exit status: 0 done, 2 bad input, 3 the run failed, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..base.errors import ElsaError, InputError, RunFailed, unexpected
from ..version import __version__
from .check import check, list_, schema
from .network import network
from .optimise import optimise
from .plot import plot
from .run import run
from .study import study

app = typer.Typer(
    help="Co-simulate networks and split federated fine-tuning of language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Entry point of ``elsa-sim``."""
    try:
        app()
    except InputError as error:
        _fail(error, 2)
    except RunFailed as error:
        _fail(error, 3)
    except MemoryError as error:  # outside a run: reading data, drawing figures
        from ..run.host_memory import exhausted

        _fail(exhausted(error) or RunFailed(str(error)), 3)
    except Exception as error:  # of a plugin, or a slip of this program: never a traceback
        _fail(RunFailed(f"this should not happen: {unexpected(error)}"), 3)


def _fail(error: ElsaError, status: int) -> None:
    sys.stderr.write(f"elsa-sim: {error}\n")
    sys.exit(status)


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


for _command in (run, check, network, plot, study, optimise, list_, schema):
    app.command(_command.__name__.rstrip("_"))(_command)
