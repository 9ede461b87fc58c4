"""The messages of a run over real TCP with delay: one process per node, computing replaced by sleeping, rounds compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from causes import pattern
from delay_lab import delay_lab, from_topology
from patterns import FRAMING, MSS
from plans import play
from singles import echoed, undisturbed

from elsa_sim.network import NetworkOptions
from elsa_sim.results.run_directory import Results
from elsa_sim.topology import Link, Node, Topology


@dataclass(frozen=True)
class Rounds:
    """Simulated ends of a run's rounds, and those of each repetition over real TCP (s); round trips by pair (s)."""

    run: str
    simulated_s: list[float]
    measured_s: list[list[float]]
    rtts_s: Mapping[str, float]
    queue_bytes: Mapping[str, float] | float
    messages: int
    unexplained: int
    retransmissions: list[int]
    disturbed: int
    late_mean_s: float
    late_max_s: float


def topology_of(results: Results) -> Topology:
    """The topology of a run as the network has it: constant links, nothing else.

    Raises:
        ValueError: its links have profiles, loss, jitter or cells, or are half-duplex: that is not emulated.
    """
    links = []
    for link in results.topology["links"]:
        more = {k: v for k, v in link.items() if k not in _PLAIN and v and (k, v) != ("duplex", "full")}
        if more:
            raise ValueError(f"links with {', '.join(more)} are not emulated")
        links.append(Link(link["u"], link["v"], link["up_bps"], link["down_bps"], link["latency_s"]))
    return Topology(tuple(Node(node["name"]) for node in results.topology["nodes"]), tuple(links))


_PLAIN = {"u", "v", "up_bps", "down_bps", "latency_s"}


def payload(nbytes: int) -> int:
    """The payload of a message in the event table: where the package has transports, they have framed it there."""
    return (
        nbytes - FRAMING * math.ceil(nbytes / (MSS + FRAMING)) if "transport" in NetworkOptions.model_fields else nbytes
    )


def measure(results: Results, queue_bytes: Mapping[str, float] | float, repetitions: int = 3) -> Rounds:
    """Play the messages of a run; queues per direction ``"u>v"``, or one size for all (bytes on the link).

    Raises:
        ValueError: the run is of a kind that cannot be played (see `causes.pattern` and `topology_of`).
    """
    found = pattern(results)
    actions = [replace(action, bytes=payload(action.bytes)) if action.key else action for action in found.actions]
    hosts = list(dict.fromkeys([a.node for a in found.actions] + [a.to for a in found.actions if a.to]))
    net = from_topology(topology_of(results), hosts, queue_bytes)
    messages = [action.id for action in found.actions if action.key]
    last = {action.key: action.id for action in found.actions if action.key}
    with delay_lab(net) as lab:
        rtts = {key: echoed(lab, *ends) for key, ends in found.connections.items()}
        played = [
            undisturbed(lambda: play(lab, actions, found.connections, 30 + 5 * max(found.simulated_s)))
            for _ in range(repetitions)
        ]
    return Rounds(
        run=results.name, simulated_s=[round(t, 4) for t in found.simulated_s],
        measured_s=[[round(p.ends[i], 4) for i in found.ends] for p in played], rtts_s=rtts, queue_bytes=queue_bytes,
        messages=len(messages), unexplained=found.unexplained,
        retransmissions=[sum(p.again[i] for i in last.values()) for p in played],
        disturbed=sum(p.lateness.busy for p in played), late_mean_s=max(p.lateness.late_mean_s for p in played),
        late_max_s=max(p.lateness.late_max_s for p in played),
    )  # fmt: skip


def errors(found: Mapping[str, Any]) -> list[float]:
    """Simulated over measured, less 1, of each round's duration; measured: the mean of the repetitions."""
    relative = []
    before, measured_before = 0.0, 0.0
    for k, simulated in enumerate(found["simulated_s"]):
        measured = sum(times[k] for times in found["measured_s"]) / len(found["measured_s"])
        relative.append((simulated - before) / (measured - measured_before) - 1.0)
        before, measured_before = simulated, measured
    return relative
