"""Arguments that several commands take, and what they stand for.

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import InputError

if TYPE_CHECKING:
    from ..scenario.model import Loaded

ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).")]
Changes = Annotated[
    list[str], typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one value; VALUE is YAML. Repeatable.")
]
Seed = Annotated[int | None, typer.Option(help="Use this seed instead of the scenario's.")]
Plugins = Annotated[
    list[str], typer.Option("--plugin", metavar="MODULE", help="Import a module of components. Repeatable.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


def load_plugins(modules: list[str], beside: Path | None = None) -> None:
    """Import plugin modules: installed ones, or files in the current folder or in that of the scenario ``beside`` them.

    The two folders come last: a file in them hides no installed module.
    """
    from ..base.registry import load_plugin

    for folder in dict.fromkeys((Path.cwd(), *([] if beside is None else [beside.resolve().parent]))):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    for module in modules:
        load_plugin(module)


def load_scenario(path: Path, changes: list[str], seed: int | None, plugins: list[str]) -> Loaded:
    """The scenario of a file with its changes; every fault of it is told at once."""
    from ..run import checks
    from ..scenario import model

    load_plugins(plugins, path)
    loaded = model.examine(path, changes, seed)
    if loaded.faults:
        checks.check(loaded)  # raises these and those of the sections that can be built
    return loaded


def made(folder: Path) -> None:
    """Make a folder for figures, if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: no figures can be written there: {error.strerror}") from None
