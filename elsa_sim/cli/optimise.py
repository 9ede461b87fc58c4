"""``elsa-sim optimise``: subchannels, powers, cut and rank jointly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import tables
from .arguments import Changes, Plugins, ScenarioFile, Seed, load_scenario, made

if TYPE_CHECKING:
    from ..scenario.model import Loaded


def optimise(
    scenario_file: ScenarioFile,
    changes: Changes = [],  # noqa: B006
    seed: Seed = None,
    cuts: Annotated[str, typer.Option(metavar="P,...", help="Cuts to choose from; default: all that fit.")] = "",
    ranks: Annotated[
        str, typer.Option(metavar="R,...", help="LoRA ranks to choose from; default: the scenario's.")
    ] = "",
    runs: Annotated[
        list[Path], typer.Option(metavar="DIR", help="Runs, or studies of them, that rounds to the target are from.")
    ] = [],  # noqa: B006
    target: Annotated[str, typer.Option(metavar="MEASURE=VALUE", help="The target of --runs, such as loss=3.5.")] = "",
    over: Annotated[
        list[str],
        typer.Option("--over", metavar="KEY.PATH=V,...", help="Delays over values of a resource. Repeatable."),
    ] = [],  # noqa: B006
    draws: Annotated[int, typer.Option(metavar="N", min=1, help="Draws of what is at random in baselines.")] = 10,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where table, figures and the optimised scenario go.")
    ] = None,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """Optimise subchannels, powers, cut and rank of an sflllm scenario jointly, and compare with baselines."""
    from ..joint import files, study

    def loaded(more: list[str]) -> Loaded:
        return load_scenario(scenario_file, [*changes, *more], seed, plugin)

    if out is not None:
        made(out)
    chosen = study.Choice.read(cuts, ranks, runs, target, None if out is None else out / "rounds.json")
    found = study.compared(loaded, chosen, over, draws, lambda done: typer.echo(done, err=True))
    tables.console().print(tables.optimised(found))
    if out is not None:
        for path in files.save(found, out):
            typer.echo(path)
