"""``elsa-sim plot``: figures of runs.

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .arguments import Plugins, load_plugins, made


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="One run, or several to compare.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where figures go; default: RUN_DIR/figures or figures.")
    ] = None,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """Draw the figures of one run, or of several runs compared."""
    from ..results import manifest, metrics, plots

    load_plugins(plugin)
    loaded = [metrics.load(folder) for folder in runs]
    folder = out or (runs[0] / "figures" if len(runs) == 1 else Path("figures"))
    made(folder)
    drawn = plots.save_figures(loaded, folder)
    if len(runs) == 1:
        manifest.add(runs[0], drawn)
    for path in drawn:
        typer.echo(path)
