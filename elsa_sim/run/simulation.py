"""Run a scenario: assemble its world, play it in simulated time, check the invariants, write the run directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import simpy

from ..base.collecting import seldom_collecting
from ..base.errors import InputError, RunFailed
from ..base.interrupts import Shield
from ..base.units import MOST_TIME
from ..base.writing import refused, write_text
from ..results.event_table import Recorder
from ..results.manifest import POPULATION
from ..results.metrics import Results
from ..scenario import dump
from ..scenario.given import Given, loaded_from
from ..scenario.model import ExecutionOptions, Loaded
from ..world.invariants import invariants
from ..world.progress import Observer
from ..world.world import World
from . import builder, checks, closing, population
from .adapters import keeper
from .checkpoint_files import Checkpoint
from .checkpoints import Checkpoints, HostTimes
from .closing import Ending
from .folder import Earlier, opened
from .progress import shown

#: After so many events without the end of any work or transfer, a run is stuck: links and devices come and go forever.
STUCK = 1_000_000
#: Simulated time (s) beyond which times are no longer exact enough for the bytes of a fast link.
LATEST = 10.0 * MOST_TIME


def run(
    scenario: Given,
    folder: str | Path | None = None,
    observer: Observer | None = None,
    *,
    overrides: Sequence[str] = (),
    progress: bool | None = None,
    earlier: Earlier = "refuse",
    then: Callable[[Results, Path], object] | None = None,
) -> Results:
    """Play a scenario and return its results; with ``folder``, write the run directory as the run goes.

    ``scenario`` is the path of a scenario file, a mapping of what such a file would say (in the current folder), a `Scenario`, or
    what `elsa_sim.load_scenario` returns; ``overrides`` are changes such as ``protocol.rounds=3``. ``observer`` is told how the
    run goes on; ``progress`` shows it, by default in notebooks where there is no observer.

    Until the run has ended the run directory is ``folder`` with ``.partial`` behind its name. ``then`` is called with the
    results and that path, to add what belongs to the run directory before it gets its name (figures). ``earlier`` says
    what becomes of a run that is in ``folder`` already: ``replace`` has it make way when the new one has ended.

    The tensor library's thread count is set for the duration of the call and put back. An interrupt that comes while
    something is written acts when that is done.

    Raises:
        ScenarioError: the scenario has faults.
        InputError: ``folder`` holds something that may not be replaced, or cannot be written to.
        RunFailed: an invariant does not hold, training diverged, memory or the disk ran out, or something raised what
            nobody raises on purpose (its ``__cause__``); what was recorded is in ``folder``.
        KeyboardInterrupt: passed on after the run directory was completed.
    """
    loaded = loaded_from(scenario, overrides)
    with seldom_collecting():
        plan = checks.check(loaded)
    with Shield() as shield, shown(loaded.scenario.name, observer, progress) as watching:
        if folder is None:
            return replace(play(loaded, plan, None, shield, watching), scenario=dump.plain(loaded))
        with opened(Path(folder), earlier) as draft:
            results = play(loaded, plan, draft.path, shield, watching)
            if then is not None:
                with shield.lowered(), seldom_collecting():
                    then(results, draft.path)
    return replace(results, folder=Path(folder), scenario=dump.plain(loaded))


def play(
    loaded: Loaded,
    plan: checks.Plan,
    folder: Path | None,
    shield: Shield,
    observer: Observer | None = None,
    after: Checkpoint | None = None,
) -> Results:
    """Play a scenario that was checked, into a folder that holds no run yet; interrupts act while it is simulated.

    What came before the checkpoint ``after``, which is in the folder, is played without arithmetic.

    Raises:
        InputError: something that only building the world finds is wrong; there is nothing of worth in ``folder``.
        RunFailed: see :func:`run`.
        KeyboardInterrupt: passed on.
    """
    times = HostTimes(None if after is None else after.state.host)
    try:
        if folder is not None:
            write_text(folder / "scenario.yaml", text := dump.dump(loaded))
            write_text(folder / "topology.json", json.dumps(closing.describe(plan.played), indent=1))
            if (drawn := population.table(plan)) is not None:
                write_text(folder / POPULATION, drawn)
        ending = Ending(plan, Recorder(folder), keeper=keeper(plan, folder))
        wanted = plan.scenario.checkpoint.every is not None or after is not None
        if folder is not None and wanted and plan.scenario.execution.mode == "real":
            ending.checkpoints = Checkpoints(plan, folder, ending.recorder, times, text, after)
    except OSError as error:
        raise refused(error) from None
    try:
        with _threads(plan.scenario.execution), shield.lowered(), seldom_collecting():
            _simulate(loaded, ending, observer or Observer(), times)
    except InputError as error:
        if ending.world is None:
            raise
        ending.failed(error)
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # also of a plugin, or a slip of this program
        ending.failed(error)
    finally:
        if ending.world is not None:
            ending.world.executor.close()
    math_s = times.earlier.math_s + (ending.world.executor.math_s if ending.world else 0.0)
    host = {"wall_s": times.wall_s, "math_s": math_s, "peak_rss_bytes": closing.peak_rss_bytes()}
    with seldom_collecting():
        return closing.close(ending, folder, host, times.seconds)


def _simulate(loaded: Loaded, ending: Ending, observer: Observer, times: HostTimes) -> None:
    """Build the world, play the protocol, and look at what it left."""
    env, checkpoints = simpy.Environment(), ending.checkpoints
    kept = [each for each in (ending.keeper, checkpoints) if each is not None]  # checkpoints are the last to be told
    journal = None if checkpoints is None else checkpoints.journal
    world = builder.build(
        loaded, ending.plan, env, ending.recorder, observer, [times, *kept], journal=journal, clock=lambda: times.wall_s
    )
    ending.world = world
    for each in kept:
        each.begin(world)
    with seldom_collecting():
        _play(world, ending.plan)
    for each in kept:
        each.finish()
    ending.violations = invariants(world)
    ending.attacked = world.audited()


@contextmanager
def _threads(execution: ExecutionOptions) -> Iterator[None]:
    """The tensor library's thread count as the scenario says; timing mode does not even load the library."""
    if execution.mode == "timing":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(execution.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _play(world: World, plan: checks.Plan) -> None:
    """Run until the protocol's process has ended or the simulated time is used up.

    Raises:
        RunFailed: nothing happens any more, or not before ``LATEST``, but the protocol has not ended.
    """
    process = world.spawn(plan.scenario.protocol.run(world))
    limit = plan.scenario.stop.sim_time
    over = process if limit is None else process | world.env.timeout(limit)
    env, log, step = world.env, world.event_log, world.env.step
    ended, idle = 0, 0
    try:
        while over.callbacks is not None:
            idle += 1
            if log.ended != ended:
                ended, idle = log.ended, 0
            elif idle > STUCK:
                raise simpy.core.EmptySchedule
            step()
            if env.now > LATEST:
                what = f"the run has passed {LATEST:g} s, some thirty years of simulated time"
                raise RunFailed(f"{what}; {_waits(world)}")
    except simpy.core.EmptySchedule:
        raise RunFailed(
            f"nothing happens any more at {world.now:g} s, and training has not ended; {_waits(world)}"
        ) from None


def _waits(world: World) -> str:
    """What is under way."""
    waits = [f"{row['kind']} {row['detail']} on {row['node']}" for row in world.event_log.in_flight.values()]
    return f"under way: {', '.join(waits[:5])}" if waits else "nothing is under way"
