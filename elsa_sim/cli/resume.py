"""``elsa-sim resume``: go on with a run.

Tested in tests/cli/test_resume.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import tables
from .arguments import Changes, Plugins, Quiet, load_plugins
from .run import progress, write_figures


def resume(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN_DIR", help="Run directory of a run that was killed, or ended.")
    ],
    changes: Changes = [],  # noqa: B006
    plugin: Plugins = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Go on with a run where it stopped; with --set protocol.rounds=N beyond its end."""
    from ..run import resuming

    load_plugins(plugin, folder / "scenario.yaml")
    drawn: list[Path] = []
    with progress(folder.resolve().name, quiet) as observer:
        results = resuming.resume(folder, changes, observer, then=lambda *run: drawn.extend(write_figures(*run)))
    if not quiet:
        tables.console().print(tables.closing(results))
        tables.console().print(f"Run directory: {results.folder}", highlight=False)
