"""``elsa-sim check``, ``list`` and ``schema``: what a scenario would run, and what one may say.

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from . import tables
from .arguments import Changes, Plugins, ScenarioFile, Seed, load_plugins, load_scenario


def check(scenario_file: ScenarioFile, changes: Changes = [], seed: Seed = None, plugin: Plugins = []) -> None:  # noqa: B006
    """Validate a scenario without running it: exit status 0, or 2 with every fault listed."""
    from ..run import checks

    loaded = load_scenario(scenario_file, changes, seed, plugin)
    tables.console().print(tables.planned(loaded, checks.check(loaded)))


def list_(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Only this family, e.g. protocol.")] = None,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """List protocols, codecs, link models, tasks, figures, backbones and more, one line each."""
    load_plugins(plugin)
    tables.console().print(tables.kinds(kind))


def schema() -> None:
    """Print the JSON Schema of a scenario file, for editors."""
    from ..scenario.schema import schema as made

    typer.echo(json.dumps(made(), indent=1))
