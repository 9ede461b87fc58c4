"""``elsa-sim run``: play a scenario.

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..base.errors import InputError
from . import tables
from .arguments import Changes, Plugins, Quiet, ScenarioFile, Seed, load_scenario
from .interrupts import interruptible

if TYPE_CHECKING:
    from ..results.metrics import Results
    from ..scenario.model import Loaded
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
    quiet: Quiet = False,
) -> None:
    """Play a scenario; writes a run directory with tables, a summary and figures."""
    from ..run import simulation

    more = [] if workers is None else [f"execution.workers={workers}"]
    loaded = load_scenario(scenario_file, [*changes, *more], seed, plugin)
    folder = out or _free(Path("runs") / loaded.scenario.name)
    _usable(folder, scenario_file)
    try:
        with interruptible(), _progress(loaded, quiet) as observer:
            results = simulation.run(loaded, folder, observer)
            figures = write_figures(results, folder)
    except KeyboardInterrupt:
        kept = f"what was recorded is in {folder}" if folder.is_dir() else "nothing was recorded"
        sys.stderr.write(f"elsa-sim: interrupted; {kept}\n")
        raise typer.Exit(130) from None
    if not quiet:
        tables.console().print(tables.closing(results))
        told = f"Run directory: {folder}  ({len({path.stem for path in figures})} figures in {folder / 'figures'})"
        tables.console().print(told, highlight=False)


def write_figures(results: Results, folder: Path) -> list[Path]:
    """The trace and the figures of a run; returns the paths of the figures."""
    from ..results import perfetto, plots

    perfetto.write_trace(results.events, results.topology, folder / "trace.json")
    return plots.save_figures([results], folder / "figures")


def _usable(folder: Path, scenario_file: Path) -> None:
    """Refuse a run directory that is something else."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file; name a folder")
    kept = folder / "scenario.yaml"
    if kept.exists() and kept.samefile(scenario_file) and not (folder / "summary.json").exists():
        raise InputError(f"--out {folder}: the run would overwrite {scenario_file}; name another folder")


def _free(folder: Path) -> Path:
    """``folder``, or the first of folder-2, folder-3, ... that is not taken."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


@contextmanager
def _progress(loaded: Loaded, quiet: bool) -> Iterator[Observer]:
    """A live bar on a terminal, a line per evaluation elsewhere, nothing if quiet."""
    from ..world.progress import Observer
    from .progress import Bar, Lines

    if quiet:
        yield Observer()
    elif sys.stderr.isatty():
        with Bar(loaded.scenario.name) as bar:
            yield bar
    else:
        yield Lines()
