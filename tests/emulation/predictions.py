"""What the package predicts for measurements over real TCP: the same cases through `elsa_sim.network.case.play`.

Measurements are mappings as `singles.Cell`, `sharing.Shared` and `end_to_end.Rounds` give them; others of the same form (without
what is not used here) are compared as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from end_to_end import errors
from patterns import wire_bytes
from pydantic import ValidationError
from sharing import GAP_S, SENDER_BPS

from elsa_sim.network.case import Case, play

Measured = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """A prediction and what was measured (s), in one group of the table; ``spread`` is (worst - best) / median of repetitions."""

    group: str
    transport: str
    what: str
    predicted_s: float
    measured_s: float
    spread: float
    retransmissions: int

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted_s / self.measured_s


def transports() -> list[str]:
    """The transports by which cases can be played here: ``fluid``, and ``tcp`` as soon as the package has it."""
    if "transport" not in Case.model_fields:
        return ["fluid"]
    found = ["fluid"]
    try:
        Case.model_validate({"nodes": ["a"], "links": [], "flows": [], "transport": {"kind": "tcp"}})
    except ValidationError:
        return found
    return [*found, "tcp"]


def case(
    links: Sequence[Mapping[str, Any]], flows: Sequence[Mapping[str, Any]], transport: str, connections: str,
    queue_bytes: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    """A network case; ``bytes`` of its flows are payload, which a transport frames. Without transports it is framed here."""
    nodes = list(dict.fromkeys(node for link in links for node in (link["u"], link["v"])))
    if "transport" not in Case.model_fields:
        framed = [{**flow, "bytes": wire_bytes(flow["bytes"])} for flow in flows]
        return {"nodes": nodes, "links": list(links), "flows": framed}
    how: dict[str, Any] = {"kind": transport}
    if transport == "tcp":
        how |= {"connections": connections, "idle_restart": True, "queue_bytes": dict(queue_bytes)}
    return {"nodes": nodes, "links": list(links), "flows": list(flows), "transport": how}


def single(cell: Measured, transport: str) -> float:
    """How long the last message of a cell takes (s)."""
    link = {"u": "a", "v": "b", "bandwidth_bps": cell["rate_bps"], "latency_s": cell["rtt_s"] / 2, "duplex": "full"}
    flows = [
        {"id": f"m{i}", "src": "a", "dst": "b", "bytes": cell["bytes"], "start_s": start}
        for i, start in enumerate(cell["starts_s"])
    ]
    queues = {"a>b": cell["queue_bytes"], "b>a": cell["queue_bytes"]}
    finish = play(case([link], flows, transport, cell["connections"], queues))
    return finish[flows[-1]["id"]] - float(flows[-1]["start_s"])


def shared(found: Measured, transport: str) -> list[list[float]]:
    """How long each message takes (s), per turn and connection.

    Where starts were not recorded, turns begin when all have arrived, have been told so, and have waited.
    """
    trips = found.get("rtts_s") or [rtt / 1e3 for rtt in found["rtts_ms"]]
    links, queues = [], {"hub>r": found["queue_bytes"], "r>hub": found["queue_bytes"]}
    links.append({"u": "hub", "v": "r", "bandwidth_bps": found["rate_bps"], "latency_s": 0.0, "duplex": "full"})
    for i, trip in enumerate(trips):
        links.append({"u": f"s{i}", "v": "hub", "bandwidth_bps": SENDER_BPS, "latency_s": trip / 2, "duplex": "full"})
        queues |= {f"s{i}>hub": SENDER_BPS / 80, f"hub>s{i}": SENDER_BPS / 80}
    flows: list[dict[str, Any]] = []
    begin = 0.0
    for t, turn in enumerate(found["turns"]):
        starts = turn.get("starts_s") or [begin] * len(trips)
        begin = max(s + took for s, took in zip(starts, turn["measured_s"], strict=True)) + max(trips) / 2 + GAP_S
        flows += [
            {"id": f"m{t}-{i}", "src": f"s{i}", "dst": "r", "bytes": found["bytes"], "start_s": start}
            for i, start in enumerate(starts)
        ]
    finish = play(case(links, flows, transport, "persistent", queues))
    took = {flow["id"]: finish[flow["id"]] - flow["start_s"] for flow in flows}
    return [[took[f"m{t}-{i}"] for i in range(len(trips))] for t in range(len(found["turns"]))]


def spread(repetitions: Sequence[float]) -> float:
    """(worst - best) / median of repetitions."""
    ordered = sorted(repetitions)
    return (ordered[-1] - ordered[0]) / ordered[len(ordered) // 2]


def compare_single(cells: Iterable[Measured], transport: str) -> list[Compared]:
    """All cells, a group per mode."""
    return [
        Compared(
            str(cell["mode"]), transport,
            f"{cell['bytes']} B, {cell['rate_bps'] / 1e6:g} Mbit/s, {1e3 * cell['rtt_s']:.0f} ms",
            single(cell, transport), cell["measured_s"], spread(cell["repetitions_s"]), cell["retransmissions"],
        )
        for cell in cells
    ]  # fmt: skip


def compare_shared(cases: Iterable[Measured], transport: str) -> list[Compared]:
    """Every connection of every turn, and the last one of each turn: groups per kind of round trips."""
    rows = []
    for found in cases:
        trips = "/".join(f"{rtt:g}" for rtt in found["rtts_ms"])
        for t, (predicted, turn) in enumerate(zip(shared(found, transport), found["turns"], strict=True)):
            what = f"{found['bytes']} B, {trips} ms, turn {t + 1}"
            repetitions = turn["repetitions_s"]
            for i, value in enumerate(predicted):
                each = spread([times[i] for times in repetitions])
                rows.append(
                    Compared(f"shared {found['case']}", transport, f"{what}, connection {i}", value, turn["measured_s"][i],
                             each, found["retransmissions"])
                )  # fmt: skip
            lasts = [max(times) for times in repetitions]
            middle = sorted(lasts)[len(lasts) // 2]
            rows.append(
                Compared(
                    "shared, last one", transport, what, max(predicted), middle, spread(lasts), found["retransmissions"]
                )
            )
    return rows


def compare_rounds(cases: Mapping[str, Mapping[str, Measured]]) -> list[Compared]:
    """Every round; the simulation was the run itself. ``cases``: name -> transport -> what was measured."""
    rows = []
    for name, by_transport in cases.items():
        for transport, found in by_transport.items():
            before, earlier = 0.0, [0.0] * len(found["measured_s"])
            for k, (error, end) in enumerate(zip(errors(found), found["simulated_s"], strict=True)):
                lasted = [times[k] - t for times, t in zip(found["measured_s"], earlier, strict=True)]
                rows.append(
                    Compared("rounds", transport, f"{name}, round {k + 1}", end - before, (end - before) / (1 + error),
                             spread(lasted), max(found.get("retransmissions", [0])))
                )  # fmt: skip
                before, earlier = end, [times[k] for times in found["measured_s"]]
    return rows


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
