"""``elsa-sim check``, ``list`` and ``schema``: what a scenario would run, and what one may say.

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from . import tables
from .arguments import Changes, Plugins, ScenarioFile, Seed, load_plugins, load_scenario


def check(
    scenario_file: ScenarioFile,
    changes: Changes = [],  # noqa: B006
    seed: Seed = None,
    cuts: Annotated[
        bool, typer.Option("--cuts", help="Also FLOPs and memory of a client at every cut, against the whole model.")
    ] = False,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """Validate a scenario without running it: exit status 0, or 2 with every fault listed."""
    from ..run import checks, cut_costs

    loaded = load_scenario(scenario_file, changes, seed, plugin)
    plan = checks.check(loaded)
    costs = cut_costs.of_plan(plan) if cuts else None
    tables.console().print(tables.planned(loaded, plan))
    for table in tables.population(plan):
        tables.console().print(table)
    if costs is not None:
        tables.console().print(tables.cuts(*costs))


def list_(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Only this family, e.g. protocol.")] = None,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """List protocols, codecs, link models, tasks, figures, backbones, device profiles and more, one line each."""
    load_plugins(plugin)
    tables.console().print(tables.kinds(kind))


def schema() -> None:
    """Print the JSON Schema of a scenario file, for editors."""
    from ..scenario.schema import schema as made

    typer.echo(json.dumps(made(), indent=1))
