"""Run a scenario: assemble its world, play it in simulated time, check the invariants, write the run directory."""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import simpy

from ..base.errors import InputError, InvariantViolation, RunFailed, unexpected
from ..results import metrics, staleness, training
from ..results.event_table import Recorder
from ..results.metrics import Results
from ..scenario import dump
from ..scenario.model import Loaded
from ..topology import Topology
from ..version import __version__
from ..world.invariants import event_log_faults, invariants, link_faults
from ..world.progress import Observer
from ..world.round_end import RoundEnd, RoundObserver
from ..world.world import World
from . import builder, checks
from .host_memory import exhausted

INTERRUPTED = "interrupted"
#: After so many events without the end of any work or transfer, a run is stuck: links and devices come and go forever.
STUCK = 1_000_000


class HostTimes(RoundObserver):
    """Keeps the host time of every evaluation (s)."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begin = time.perf_counter()

    def ended(self, end: RoundEnd) -> None:
        self.seconds.append(time.perf_counter() - self._begin)


def run(loaded: Loaded, folder: Path | None = None, observer: Observer | None = None) -> Results:
    """Play a scenario and return its results; with ``folder``, write the run directory as the run goes.

    The tensor library's thread count is set for the duration of the call and put back.

    Raises:
        ScenarioError: the scenario has faults.
        InputError: ``folder`` cannot be written to.
        RunFailed: an invariant does not hold, training diverged, memory ran out, or something raised what nobody raises on
            purpose (its ``__cause__``); what was recorded is in ``folder``.
        KeyboardInterrupt: passed on after the run directory was completed.
    """
    begin = time.perf_counter()
    plan = checks.check(loaded)
    import torch

    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _clear(folder)
            _write(folder / "scenario.yaml", dump.dump(loaded))
        except OSError as error:
            raise InputError(f"{folder}: no run can be written there: {error.strerror}") from None
        _write(folder / "topology.json", json.dumps(describe(plan.played), indent=1))
    recorder, times = Recorder(folder), HostTimes()
    threads = torch.get_num_threads()
    execution = plan.scenario.execution
    torch.set_num_threads(execution.threads)
    failure: BaseException | None = None
    world: World | None = None
    attacked: list[dict[str, Any]] = []
    try:
        env = simpy.Environment()
        world = builder.build(loaded, plan, env, recorder, observer or Observer(), [times])
        with _seldom_collecting():
            _play(world, plan)
        violations = invariants(world)
        attacked = world.audited()
    except (RunFailed, KeyboardInterrupt) as error:
        failure, violations = error, []
    except (MemoryError, RuntimeError, OSError) as error:
        failure = exhausted(error, None if world is None else world.now)
        failure, violations = failure or _broken(error, world), []
    except InputError:
        raise
    except Exception as error:  # of a plugin, or a slip of this program
        failure, violations = _broken(error, world), []
    finally:
        torch.set_num_threads(threads)
        if world is not None:
            world.executor.close()
    if world is not None:
        world.end()
    table = recorder.close()
    if failure is None and world is not None:
        violations += event_log_faults(table, world.event_log.begun) + link_faults(table, world)
        if violations:
            failure = InvariantViolation("invariants violated: " + "; ".join(violations))
    host = {"wall_s": time.perf_counter() - begin, "math_s": world.executor.math_s if world else 0.0,
            "peak_rss_bytes": peak_rss_bytes()}  # fmt: skip
    outcome = _outcome(failure)
    topology = describe(plan.played)
    summary = {
        "name": plan.scenario.name,
        "protocol": plan.scenario.protocol.kind,
        "seed": plan.scenario.seed,
        "complete": failure is None,
        "outcome": outcome,
        **metrics.summarise(table, topology, plan.scenario.stop.target_accuracy),
        **staleness.summary(table, topology),
        "training": training.training_facts(
            table, metrics.rounds_table(table, topology), plan.trainers, plan.texts.test.labels
        ),
        **({"unreliable": {name: each.kind for name, each in plan.unreliable.items()}} if plan.unreliable else {}),
        **({"privacy": metrics.privacy_summary(attacked)} if attacked else {}),
        "notes": list(plan.notes),
        "inputs": plan.context.inputs.digests,
        "host": host,
        "trace_sha256": recorder.digest("trace"),
        "timeline_sha256": recorder.digest("timeline"),
        "invariants": "not checked" if failure and not violations else violations or "hold",
        "versions": versions(),
    }
    summary["warnings"] = list(training.warnings(summary))
    if folder is not None:
        rounds = metrics.rounds_table(table, topology)
        padded = (times.seconds + [float("nan")] * len(rounds))[: len(rounds)]
        rounds.insert(min(7, rounds.shape[1]), "host_time_s", padded)
        if attacked:
            _write(folder / "privacy.csv", pd.DataFrame(attacked).to_csv(index=False))
        _write(folder / "rounds.csv", rounds.to_csv(index=False))
        _write(folder / "summary.json", json.dumps(summary, indent=1))
    if failure is not None:
        raise failure
    if folder is not None:
        return metrics.load(folder)
    privacy = pd.DataFrame(attacked) if attacked else None
    rounds = metrics.rounds_table(table, topology)
    return Results(metrics.frame(table), rounds, summary, topology, name=plan.scenario.name, privacy=privacy)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Let Python look for cyclic garbage more seldom: a run makes many objects, few of them in cycles.

    With 10,000 clients it would otherwise spend half of a timing-only run looking through what is still in use.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _play(world: World, plan: checks.Plan) -> None:
    """Run until the protocol's process has ended or the simulated time is used up.

    Raises:
        RunFailed: nothing happens any more, but the protocol has not ended.
    """
    process = world.spawn(plan.scenario.protocol.run(world))
    limit = plan.scenario.stop.sim_time
    over = process if limit is None else process | world.env.timeout(limit)
    ended, idle = 0, 0
    while over.callbacks is not None:
        ended, idle = (ended, idle + 1) if world.event_log.ended == ended else (world.event_log.ended, 0)
        try:
            if idle > STUCK:
                raise simpy.core.EmptySchedule
            world.env.step()
        except simpy.core.EmptySchedule:
            waits = [f"{row['kind']} {row['detail']} on {row['node']}" for row in world.event_log.in_flight.values()]
            what = f"under way: {', '.join(waits[:5])}" if waits else "nothing is under way"
            raise RunFailed(
                f"nothing happens any more at {world.now:g} s, and training has not ended; {what}"
            ) from None


def describe(topology: Topology) -> dict[str, Any]:
    """The topology as the run directory keeps it."""
    nodes = []
    for node in topology.nodes:
        place = {} if node.x is None or node.y is None else {"x": node.x, "y": node.y}
        nodes.append({"name": node.name, "role": node.role, **place})
    links = [
        {"u": link.u, "v": link.v, "up_bps": link.up, "down_bps": link.down, "latency_s": link.latency}
        for link in topology.links
    ]
    return {"nodes": nodes, "links": links}


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far."""
    scale = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * scale


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    from importlib.metadata import version

    packages = ("torch", "transformers", "peft", "numpy", "simpy", "networkx")
    return {"elsa-sim": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}


def _broken(error: Exception, world: World | None) -> RunFailed:
    """What ends a run that raised what nobody raises on purpose; the exception itself is its cause."""
    when = "while it was built" if world is None else f"at {world.now:g} s"
    failure = RunFailed(f"the run broke off {when}: {unexpected(error)}")
    failure.__cause__ = error
    return failure


def _outcome(failure: BaseException | None) -> str:
    if failure is None:
        return "done"
    return INTERRUPTED if isinstance(failure, KeyboardInterrupt) else f"failed: {failure}"


def _clear(folder: Path) -> None:
    """Remove what an earlier run left, so that no file of it can be taken for this run's."""
    for name in ("summary.json", "rounds.csv", "privacy.csv", "events.parquet", "events.arrows", "trace.json"):
        (folder / name).unlink(missing_ok=True)
    for kind in ("png", "pdf"):
        for figure in (folder / "figures").glob(f"*.{kind}"):
            figure.unlink()


def _write(path: Path, text: str) -> None:
    """Write atomically: a reader sees the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
