"""``elsa-sim run``: play a scenario.

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import tables
from .arguments import Changes, Plugins, Quiet, ScenarioFile, Seed, load_scenario

if TYPE_CHECKING:
    from ..results.metrics import Results
    from ..run.folder import Earlier
    from ..world.progress import Observer


def run(
    scenario_file: ScenarioFile,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory; default: runs/NAME, numbered if taken.")
    ] = None,
    changes: Changes = [],  # noqa: B006
    seed: Seed = None,
    plugin: Plugins = [],  # noqa: B006
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes for the arithmetic; like --set execution.workers=N.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run that --out DIR holds, once the new one has ended.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Play a scenario; writes a run directory with tables, a summary and figures."""
    from ..run import simulation

    more = [] if workers is None else [f"execution.workers={workers}"]
    loaded = load_scenario(scenario_file, [*changes, *more], seed, plugin)
    drawn: list[Path] = []
    with ExitStack() as stack:
        folder = out or stack.enter_context(_reserved(Path("runs") / loaded.scenario.name))
        observer = stack.enter_context(progress(loaded.scenario.name, quiet))
        earlier: Earlier = "replace" if force else "refuse"
        results = simulation.run(
            loaded, folder, observer, earlier=earlier, then=lambda *run: drawn.extend(write_figures(*run))
        )
    if not quiet:
        tables.console().print(tables.closing(results))
        told = f"Run directory: {folder}  ({len({path.stem for path in drawn})} figures in {folder / 'figures'})"
        tables.console().print(told, highlight=False)


def write_figures(results: Results, folder: Path) -> list[Path]:
    """The trace and the figures of a run; returns the paths of the figures."""
    from ..results import perfetto, plots

    perfetto.write_trace(results.events, results.topology, folder / "trace.json")
    return plots.save_figures([results], folder / "figures")


@contextmanager
def _reserved(folder: Path) -> Iterator[Path]:
    """``folder``, or the first of folder-2, folder-3, ... that is not taken; it is made at once, so nobody else gets it.

    At the end it is removed if nothing came into it.
    """
    from ..results.manifest import partial_of

    made, number, free = not folder.parent.exists(), 1, folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        if not partial_of(free).exists():
            with suppress(FileExistsError):
                free.mkdir()
                break
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    try:
        yield free
    finally:
        for each in (free, folder.parent) if made else (free,):
            with suppress(OSError):
                each.rmdir()


@contextmanager
def progress(name: str, quiet: bool) -> Iterator[Observer]:
    """A live bar on a terminal, a line per evaluation elsewhere, nothing if quiet."""
    from ..run.progress import Bar, Lines
    from ..world.progress import Observer

    if quiet:
        yield Observer()
    elif sys.stderr.isatty():
        with Bar(name) as bar:
            yield bar
    else:
        yield Lines()
