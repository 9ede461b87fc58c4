"""Plans read from event tables: played by an ideal machine over the run's own transfers they take the run's own times."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from causes import Pattern, pattern
from plans import Action
from small_runs import known

from elsa_sim.results.run_directory import Results

SKETCH = "[{kind: sketch, rows: 3, columns: 8}]"
RUNS = {
    "elsa": (),
    "elsa, all alike": ("protocol.edge_rounds=2", "devices.client.speed=1 GFLOP/s"),
    "elsa, one edge server that is a bottleneck": ("topology.edges=1", "devices.edge.speed=1 GFLOP/s"),
    "elsa, compressed": (f"codec={{activation: {SKETCH}, gradient: {SKETCH}}}", "devices.overrides={client1: {slowdown: 3}}"),
    "fedavg": ("protocol={kind: fedavg, rounds: 3, local_steps: 2}",),
    "hierfavg": ("protocol={kind: hierfavg, rounds: 2, local_steps: 2}",),
    "splitfed_v2": ("protocol={kind: splitfed_v2, rounds: 2, local_steps: 2}",),
}  # fmt: skip


def run(name: str) -> Results:
    return known("execution.mode=timing", *RUNS[name])


def ideal(found: Pattern, took: Mapping[str, float]) -> dict[str, float]:
    """Ends of all actions where every message takes what it took in the run, and nobody is late."""
    order = {action.id: i for i, action in enumerate(found.actions)}
    left = {action.id: len(action.after) for action in found.actions}
    dependents: dict[str, list[Action]] = {}
    for action in found.actions:
        for cause in action.after:
            dependents.setdefault(cause, []).append(action)
    ends: dict[str, float] = {}
    free: dict[str, float] = {}
    due: list[tuple[float, int, Action]] = []

    def begin(action: Action) -> None:
        start = max([free.get(action.node, 0.0) if action.device else 0.0, *(ends[cause] for cause in action.after)])
        if action.device:
            free[action.node] = start + action.pause_s
        heapq.heappush(due, (start + action.pause_s + took.get(action.id, 0.0), order[action.id], action))

    for action in found.actions:
        if not action.after:
            begin(action)
    while due:
        end, _, action = heapq.heappop(due)
        ends[action.id] = end
        for dependent in dependents.get(action.id, ()):
            left[dependent.id] -= 1
            if not left[dependent.id]:
                begin(dependent)
    return ends


@pytest.mark.parametrize("name", RUNS)
def test_an_ideal_machine_repeats_the_run(name: str) -> None:
    """Over transfers that take what they took, everything ends when it ended: no cause is missing, and none too many is late."""
    results = run(name)
    found = pattern(results)
    assert found.unexplained == 0
    rows = [
        r
        for r in results.events.to_dict("records")
        if r["kind"] in ("compute", "aggregation", "transfer", "evaluation")
    ]
    took = {f"e{i}": row["t_end_s"] - row["t_start_s"] for i, row in enumerate(rows) if row["kind"] == "transfer"}
    ends = ideal(found, took)
    assert [ends[i] for i in found.ends] == pytest.approx(found.simulated_s, rel=1e-9)
    assert len(ends) == len(rows)
    wrong = [(row, ends[f"e{i}"]) for i, row in enumerate(rows) if abs(ends[f"e{i}"] - row["t_end_s"]) > 1e-9]
    assert not wrong


def test_each_message_is_waited_for() -> None:
    """Of every activation or gradient that arrives, one piece of work comes; an aggregation waits for adapters of all clients."""
    results = run("elsa, compressed")
    rows = [
        r
        for r in results.events.to_dict("records")
        if r["kind"] in ("compute", "aggregation", "transfer", "evaluation")
    ]
    pairs = Counter(
        (rows[int(cause[1:])]["detail"], rows[int(action.id[1:])]["detail"])
        for action in pattern(results).actions
        for cause in action.after
    )
    arrived = Counter(row["detail"] for row in rows if row["kind"] == "transfer")
    for kind in ("activation", "gradient"):
        assert pairs[kind, f"{kind}.decode"] == arrived[kind]
        assert sum(count for (cause, _), count in pairs.items() if cause == kind) == arrived[kind]
    up = [
        r
        for r in rows
        if r["kind"] == "transfer" and r["detail"] == "adapters" and not str(r["peer"]).startswith("client")
    ]
    assert pairs["adapters", "aggregate"] == sum(not str(row["node"]).startswith("cloud") for row in up)


def test_a_run_in_which_something_was_aborted_is_refused() -> None:
    results = run("fedavg")
    status = results.events["status"].astype(str).where(results.events.index != 3, "aborted")
    results = replace(results, events=results.events.assign(status=status))
    with pytest.raises(ValueError, match="aborted"):
        pattern(results)
