"""The end of a run, however it ends: the event table is closed, the outcome is written, what failed is told once.

Tested in tests/run/test_simulation.py.
"""

from __future__ import annotations

import json
import math
import platform
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from ..base.errors import DiskFull, InvariantViolation, RunFailed, unexpected
from ..base.writing import is_full, refused, replacing, write_text
from ..results import metrics, selection, staleness, training, trust
from ..results.event_table import Recorder, digest
from ..results.metrics import Results
from ..version import __version__
from ..world.invariants import event_log_faults, link_faults
from .host_memory import exhausted

if TYPE_CHECKING:
    from ..topology import Topology
    from ..world.world import World
    from .adapters import AdapterKeeper
    from .checkpoints import Checkpoints
    from .checks import Plan

INTERRUPTED = "interrupted"


@dataclass
class Ending:
    """How a run ends: what is known of it when nothing happens any more, and what goes wrong until it is written."""

    plan: Plan
    recorder: Recorder
    keeper: AdapterKeeper | None = None
    checkpoints: Checkpoints | None = None
    world: World | None = None
    failure: BaseException | None = None
    violations: list[str] = field(default_factory=list)
    attacked: list[dict[str, Any]] = field(default_factory=list)

    def failed(self, error: BaseException) -> None:
        """Take notice of what ended the run, or of what fails after its end; the first of several counts."""
        if self.failure is None:
            self.failure = error if isinstance(error, RunFailed | KeyboardInterrupt) else self._meaning(error)

    def _meaning(self, error: BaseException) -> RunFailed:
        now = None if self.world is None else self.world.now
        known = exhausted(error, now)
        if known is not None:
            return known
        when = "while it was built" if now is None else f"at {now:g} s"
        if isinstance(error, OSError) and is_full(error):
            return DiskFull(f"the run broke off {when}: {refused(error)}")
        failure = RunFailed(f"the run broke off {when}: {unexpected(error)}")
        failure.__cause__ = error
        return failure

    @property
    def outcome(self) -> str:
        """How it ended, in words."""
        if self.failure is None:
            return "done"
        return INTERRUPTED if isinstance(self.failure, KeyboardInterrupt) else f"failed: {self.failure}"


def close(ending: Ending, folder: Path | None, host: dict[str, float], times: Sequence[float]) -> Results:
    """Close the event table and write what the run directory still lacks; ``times`` are host times of evaluations (s).

    Raises:
        RunFailed, KeyboardInterrupt: what the run, or this, failed with; all that could be written is.
    """
    table, sealed = _closed_table(ending)
    topology = describe(ending.plan.played)
    try:
        results = _results(ending, table, topology, host)
        results.summary["trace_sha256"], results.summary["timeline_sha256"] = (
            ending.recorder.digest(of) if sealed else digest(table, of) for of in ("trace", "timeline")
        )
    except Exception as error:  # a slip of this program: the events tell the rest
        ending.failed(error)
        results = None
    if folder is not None and results is not None:
        try:
            if ending.checkpoints is not None:
                results.summary["notes"] += ending.checkpoints.notes
            if ending.keeper is not None and ending.keeper.kept:
                scenario = (folder / "scenario.yaml").read_text(encoding="utf-8")
                ending.keeper.describe(results, scenario)
            results = _write(results, folder, times)
            if ending.checkpoints is not None and ending.failure is None:
                ending.checkpoints.close()
        except Exception as error:  # a full disk: perhaps the outcome still has room
            ending.failed(error)
            results.summary.update(complete=False, outcome=ending.outcome)
            with suppress(OSError):
                _write_summary(results, folder)
    if ending.failure is not None or results is None:
        raise ending.failure or RunFailed("the run could not be closed")
    return results


def _closed_table(ending: Ending) -> tuple[pa.Table, bool]:
    """The event table, and whether it is all that was recorded."""
    try:
        if ending.world is not None:
            ending.world.end()
        table = ending.recorder.close()
    except Exception as error:  # a full disk, or a slip of this program
        ending.failed(error)
        return ending.recorder.salvaged(), False
    if ending.failure is None and ending.world is not None:
        try:
            ending.violations += event_log_faults(table, ending.world.event_log.begun)
            ending.violations += link_faults(table, ending.world)
        except Exception as error:
            ending.failed(error)
        if ending.violations:
            ending.failed(InvariantViolation("invariants violated: " + "; ".join(ending.violations)))
    return table, True


def _results(ending: Ending, table: pa.Table, topology: dict[str, Any], host: dict[str, float]) -> Results:
    scenario, attacked, violations = ending.plan.scenario, ending.attacked, ending.violations
    unreliable, rounds = ending.plan.unreliable, metrics.rounds_table(table, topology)
    summary = {
        "name": scenario.name,
        "protocol": scenario.protocol.kind,
        "seed": scenario.seed,
        "complete": ending.failure is None,
        "outcome": ending.outcome,
        **metrics.summarise(table, topology, scenario.stop.target_accuracy),
        **staleness.summary(table, topology),
        **selection.summary(table, topology),
        "training": training.training_facts(table, rounds, ending.plan.trainers, ending.plan.texts.test.labels),
        **({"unreliable": {name: each.kind for name, each in unreliable.items()}} if unreliable else {}),
        **trust.summary(table, unreliable),
        **({"privacy": metrics.privacy_summary(attacked)} if attacked else {}),
        "notes": [*ending.plan.notes, *(ending.world.executor.notes if ending.world is not None else ())],
        "inputs": ending.plan.context.digests,
        "host": host,
        "trace_sha256": "",
        "timeline_sha256": "",
        "invariants": "not checked" if ending.failure and not violations else violations or "hold",
        "versions": versions(),
    }
    summary["warnings"] = list(training.warnings(summary))
    privacy = pd.DataFrame(attacked) if attacked else None
    return Results(metrics.frame(table), rounds, summary, topology, name=scenario.name, privacy=privacy)


def _write(results: Results, folder: Path, times: Sequence[float]) -> Results:
    """Write tables and summary, the summary last: with it, all is there."""
    rounds = results.rounds
    rounds.insert(min(7, rounds.shape[1]), "host_time_s", [*times, *[math.nan] * len(rounds)][: len(rounds)])
    tables = {"rounds.csv": rounds} | ({} if results.privacy is None else {"privacy.csv": results.privacy})
    for name, table in tables.items():
        with replacing(folder / name) as partial:
            table.to_csv(partial, index=False)
    _write_summary(results, folder)
    return Results(results.events, rounds, results.summary, results.topology, folder, results.name, results.privacy)


def _write_summary(results: Results, folder: Path) -> None:
    write_text(folder / "summary.json", json.dumps(results.summary, indent=1))


def describe(topology: Topology) -> dict[str, Any]:
    """The topology as the run directory keeps it."""
    nodes = []
    for node in topology.nodes:
        place = {} if node.x is None or node.y is None else {"x": node.x, "y": node.y}
        nodes.append({"name": node.name, "role": node.role, **place})
    links = []
    for link in topology.links:
        more = {"cell": link.cell, "jitter_s": link.jitter, "loss": link.loss, "varies": link.varies}
        links.append({"u": link.u, "v": link.v, "up_bps": link.up, "down_bps": link.down, "latency_s": link.latency,
                      "duplex": link.duplex, **{key: value for key, value in more.items() if value}})  # fmt: skip
    return {"nodes": nodes, "links": links}


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far."""
    with suppress(
        OSError, StopIteration
    ):  # Linux: what getrusage tells begins with that of the program that started this one
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
    scale = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * scale


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    from importlib.metadata import version

    packages = ("torch", "transformers", "peft", "numpy", "simpy", "networkx")
    return {"elsa-sim": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}
