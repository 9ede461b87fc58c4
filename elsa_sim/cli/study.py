"""``elsa-sim study``: a grid of scenarios and seeds.

Tested in tests/study/test_play.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import RunFailed
from . import layout, tables
from .arguments import Changes, Plugins, Quiet, load_plugins

if TYPE_CHECKING:
    from ..study import Watcher


def study(
    study_file: Annotated[Path, typer.Argument(metavar="STUDY", help="Study file (YAML).")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the study, resumed if there; default: studies/NAME (of the file; of the folder if study.yaml).",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Cells played at once; default: as many as there are cores.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Play on a Ray cluster: auto, local, or HOST:PORT (extra ray)."),
    ] = None,
    only: Annotated[
        list[str], typer.Option(metavar="AXIS=LABEL,...", help="Only these labels of an axis. Repeatable.")
    ] = [],  # noqa: B006
    changes: Changes = [],  # noqa: B006
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and list the cells.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Play cells that failed once more.")] = False,
    plugin: Plugins = [],  # noqa: B006
    quiet: Quiet = False,
) -> None:
    """Play a grid of scenarios and seeds in parallel; resumes where it stopped. Writes one table and its figures."""
    from .. import study as studies

    load_plugins(plugin, study_file)
    name = study_file.resolve().parent.name if study_file.stem == "study" else study_file.stem
    folder = out or Path("studies") / name
    found = studies.read(study_file, tuple(changes))
    chosen = found.chosen(only)
    if dry_run:
        cells = studies.cells(found, folder / "cells", chosen)
        for cell in cells:
            typer.echo(f"{cell.key}  {cell.state:6s}  {cell}")
        return
    runner = studies.runner(found, jobs, ray, plugin)
    try:
        with _watcher(name, quiet) as watcher:
            outcome = studies.play(found, folder, runner, watcher=watcher, only=chosen, retry=retry)
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"the same command goes on from what is in {folder}")
        raise
    if not quiet:
        if len(outcome.table):
            screen = layout.console(layout.width())
            for part in layout.tables(studies.columns(outcome.table), [], screen.width):
                screen.print(part)
            most = int(outcome.table["seeds"].max())
            if most > 1:
                screen.print(f"mean ± standard deviation over the seeds, of which there are {most}")
        tables.console().print(
            f"Table: {folder / 'table.csv'}  ({len(outcome.cells)} cells, {len(outcome.figures)} figures)"
        )
    if outcome.failed:
        told = "\n".join(f"  {cell}: {cell.reason}  ({cell.folder})" for cell in outcome.failed)
        raise RunFailed(
            f"{len(outcome.failed)} of {len(outcome.cells)} cells failed; the others are in the table\n{told}"
        )


@contextmanager
def _watcher(name: str, quiet: bool) -> Iterator[Watcher]:
    """The same for a study: a live bar, a line per cell, or nothing."""
    from ..study import Watcher
    from ..study.progress import Bar, Lines

    if quiet:
        yield Watcher()
    elif sys.stderr.isatty():
        with Bar(name) as bar:
            yield bar
    else:
        yield Lines()
