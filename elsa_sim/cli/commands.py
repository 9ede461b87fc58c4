"""The command line: parse, call, print. Everything it does can be done from Python.

Exit status: 0 done, 2 bad input, 3 the run failed, 130 interrupted.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import ElsaError, InputError, RunFailed
from ..version import __version__
from . import tables
from .tables import console

if TYPE_CHECKING:
    from ..results.metrics import Results
    from ..scenario.model import Loaded
    from ..study import Watcher
    from ..world.progress import Observer

app = typer.Typer(
    help="Co-simulate networks and split federated fine-tuning of language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario file (YAML).")]
Changes = Annotated[
    list[str], typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one value; VALUE is YAML. Repeatable.")
]
Seed = Annotated[int | None, typer.Option(help="Use this seed instead of the scenario's.")]
Plugins = Annotated[
    list[str], typer.Option("--plugin", metavar="MODULE", help="Import a module of components. Repeatable.")
]


def main() -> None:
    """Entry point of ``elsa-sim``."""
    try:
        app()
    except InputError as error:
        _fail(error, 2)
    except RunFailed as error:
        _fail(error, 3)
    except MemoryError as error:  # outside a run: reading data, drawing figures
        from ..run.host_memory import exhausted

        _fail(exhausted(error) or RunFailed(str(error)), 3)


def _fail(error: ElsaError, status: int) -> None:
    sys.stderr.write(f"elsa-sim: {error}\n")
    sys.exit(status)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"elsa-sim {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Co-simulate networks and split federated fine-tuning of language models."""


@app.command()
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
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Play a scenario; writes a run directory with tables, a summary and figures."""
    from ..run import simulation

    more = [] if workers is None else [f"execution.workers={workers}"]
    loaded = _load(scenario_file, [*changes, *more], seed, plugin)
    folder = out or _free(Path("runs") / loaded.scenario.name)
    _usable(folder, scenario_file)
    try:
        with _interruptible(), _progress(loaded, quiet) as observer:
            results = simulation.run(loaded, folder, observer)
            figures = _figures(results, folder)
    except KeyboardInterrupt:
        kept = f"what was recorded is in {folder}" if folder.is_dir() else "nothing was recorded"
        sys.stderr.write(f"elsa-sim: interrupted; {kept}\n")
        raise typer.Exit(130) from None
    if not quiet:
        console().print(tables.closing(results))
        console().print(f"Run directory: {folder}  ({len(figures)} figures in {folder / 'figures'})", highlight=False)


@app.command()
def check(scenario_file: ScenarioFile, changes: Changes = [], seed: Seed = None, plugin: Plugins = []) -> None:  # noqa: B006
    """Validate a scenario without running it: exit status 0, or 2 with every fault listed."""
    from ..run import checks

    loaded = _load(scenario_file, changes, seed, plugin)
    console().print(tables.planned(loaded, checks.check(loaded)))


@app.command()
def network(case_file: Annotated[Path, typer.Argument(metavar="CASE", help="Network case (JSON).")]) -> None:
    """Play flows on a topology without any learning; prints {"finish_s": {id: seconds}}, null for flows that never end."""
    from ..network import case

    finish = case.play(case.load(case_file))
    ended = {flow: time if time < math.inf else None for flow, time in finish.items()}
    typer.echo(json.dumps({"finish_s": ended}, indent=1, allow_nan=False))
    never = [flow for flow, time in ended.items() if time is None]
    if never:
        typer.echo(f"never ends, as bandwidth on its way stays 0: {', '.join(never)}", err=True)


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="One run, or several to compare.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where figures go; default: RUN_DIR/figures or figures.")
    ] = None,
) -> None:
    """Draw the figures of one run, or of several runs compared."""
    from ..results import metrics, plots

    loaded = [metrics.load(folder) for folder in runs]
    folder = out or (runs[0] / "figures" if len(runs) == 1 else Path("figures"))
    _made(folder)
    for path in plots.save_figures(loaded, folder):
        typer.echo(path)


@app.command()
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
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Play a grid of scenarios and seeds in parallel; resumes where it stopped. Writes one table and its figures."""
    from .. import study as studies

    _plugins(plugin)
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
        with _interruptible(), _watcher(name, quiet) as watcher:
            outcome = studies.play(found, folder, runner, watcher=watcher, only=chosen, retry=retry)
    except KeyboardInterrupt:
        sys.stderr.write(f"elsa-sim: interrupted; the same command goes on from what is in {folder}\n")
        raise typer.Exit(130) from None
    if not quiet:
        console().print(f"Table: {folder / 'table.csv'}  ({len(outcome.cells)} cells, {len(outcome.figures)} figures)")
    if outcome.failed:
        told = "\n".join(f"  {cell}: {cell.reason}  ({cell.folder})" for cell in outcome.failed)
        raise RunFailed(
            f"{len(outcome.failed)} of {len(outcome.cells)} cells failed; the others are in the table\n{told}"
        )


@app.command()
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
        return _load(scenario_file, [*changes, *more], seed, plugin)

    if out is not None:
        _made(out)
    chosen = study.Choice.read(cuts, ranks, runs, target, None if out is None else out / "rounds.json")
    found = study.compared(loaded, chosen, over, draws, lambda done: typer.echo(done, err=True))
    console().print(tables.optimised(found))
    if out is not None:
        for path in files.save(found, out):
            typer.echo(path)


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help="Only this family, e.g. protocol.")] = None,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """List protocols, codecs, link models, tasks, backbones and more, one line each."""
    _plugins(plugin)
    console().print(tables.kinds(kind))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario file, for editors."""
    from ..scenario.schema import schema as made

    typer.echo(json.dumps(made(), indent=1))


def _plugins(modules: list[str]) -> None:
    from ..base.registry import load_plugin

    sys.path.insert(0, str(Path.cwd()))  # like `python -m`: a plugin may lie beside the scenario
    for module in modules:
        load_plugin(module)


def _load(path: Path, changes: list[str], seed: int | None, plugins: list[str]) -> Loaded:
    from ..run import checks
    from ..scenario import model

    _plugins(plugins)
    loaded = model.examine(path, changes, seed)
    if loaded.faults:
        checks.check(loaded)  # raises these and those of the sections that can be built
    return loaded


def _usable(folder: Path, scenario_file: Path) -> None:
    """Refuse a run directory that is something else."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder}: is a file; name a folder")
    kept = folder / "scenario.yaml"
    if kept.exists() and kept.samefile(scenario_file) and not (folder / "summary.json").exists():
        raise InputError(f"--out {folder}: the run would overwrite {scenario_file}; name another folder")


def _made(folder: Path) -> None:
    """Make a folder for figures, if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: no figures can be written there: {error.strerror}") from None


def _free(folder: Path) -> Path:
    """``folder``, or the first of folder-2, folder-3, ... that is not taken."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does, and Ctrl-C does so even where the shell had switched it off."""

    def interrupt(*_: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second one must not cut off the writing of the run directory
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


def _figures(results: Results, folder: Path) -> list[Path]:
    from ..results import perfetto, plots

    perfetto.write_trace(results.events, results.topology, folder / "trace.json")
    return plots.save_figures([results], folder / "figures")
