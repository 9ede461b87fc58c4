"""``elsa-sim plot``: figures of runs.

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import Plugins, load_plugins, made


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="One run, or several to compare; a study's folder stands for its finished cells."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where figures go; default: RUN/figures of one run, else figures."),
    ] = None,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """Draw the figures of one run, or of several runs compared."""
    from ..results import differences, manifest, plots, sources

    load_plugins(plugin)
    notes: list[str] = []
    loaded = list(sources.read(runs, notes))
    alone = len(runs) == 1 and not sources.is_study(runs[0])
    folder = out or (runs[0] / "figures" if alone else Path("figures"))  # a study's own figures stay
    made(folder)
    drawn = plots.save_figures(loaded, folder)
    if alone:
        manifest.add(runs[0], drawn)
    for path in drawn:
        typer.echo(path)
    if (why := differences.other_task(loaded)) is not None:
        notes.append(f"no figure of what was learned: accuracies are on no common axis, as {why}")
    for note in notes:
        typer.echo(note, err=True)
