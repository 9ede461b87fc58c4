"""Traffic patterns, and how well link models predict when real TCP completes them.

    sudo python tests/emulation/patterns.py      # prints the table

The prediction adds to each message what Ethernet, IPv4 and TCP with timestamps add: 66 bytes per 1448 of payload.
"""

# ruff: noqa: T201
from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import simpy

sys.path.insert(0, str(Path(__file__).parent))

from lab import Flow, measure, missing

from elsa_sim.network import Network, NetworkOptions
from elsa_sim.topology import Link, Node, Topology

M = 1e6
MSS, FRAMING = 1448, 66
#: The model of this lab first: FIFO queues and equal windows are proportionally fair.
MODELS = ("proportional", "max-min")


def net(*links: tuple[str, str, float]) -> Topology:
    """Symmetric links (u, v, bit/s)."""
    names = dict.fromkeys(end for u, v, _ in links for end in (u, v))
    return Topology(tuple(Node(n) for n in names), tuple(Link(u, v, rate, rate) for u, v, rate in links))


def star(sources: int, rate: float, bottleneck: float) -> Topology:
    """Sources behind one switch, and a sink behind the bottleneck."""
    return net(*((f"s{i}", "hub", rate) for i in range(sources)), ("hub", "sink", bottleneck))


PATTERNS: dict[str, tuple[Topology, list[Flow]]] = {
    "single": (net(("a", "b", 20 * M)), [Flow("a", "b", 4_000_000)]),
    "shared bottleneck": (star(3, 60 * M, 20 * M), [Flow(f"s{i}", "sink", 2_000_000) for i in range(3)]),
    "parking lot": (
        net(("a", "b", 20 * M), ("b", "c", 20 * M), ("c", "d", 20 * M)),
        [Flow("a", "d", 2_000_000), Flow("a", "b", 2_000_000), Flow("b", "c", 2_000_000), Flow("c", "d", 2_000_000)],
    ),
    "incast of 10": (star(10, 60 * M, 30 * M), [Flow(f"s{i}", "sink", 1_000_000) for i in range(10)]),
    "unequal sizes": (star(3, 60 * M, 20 * M), [Flow(f"s{i}", "sink", 1_000_000 * 2**i) for i in range(3)]),
    "staggered starts": (star(3, 60 * M, 20 * M), [Flow(f"s{i}", "sink", 3_000_000, 0.5 * i) for i in range(3)]),
    "two-level tree": (
        net(*((f"c{i}", f"e{i % 2}", 8 * M) for i in range(8)), ("e0", "cloud", 24 * M), ("e1", "cloud", 16 * M)),
        [Flow(f"c{i}", "cloud", 1_000_000) for i in range(8)],
    ),
    "opposite directions": (net(("a", "b", 20 * M)), [Flow("a", "b", 4_000_000), Flow("b", "a", 4_000_000)]),
    "slow access": (
        net(("s0", "hub", 6 * M), ("s1", "hub", 60 * M), ("hub", "sink", 20 * M)),
        [Flow("s0", "sink", 1_500_000), Flow("s1", "sink", 3_500_000)],
    ),
}


def wire_bytes(nbytes: int) -> float:
    """What a message is on the wire, headers included."""
    return nbytes + FRAMING * math.ceil(nbytes / MSS)


def predict(topology: Topology, flows: Sequence[Flow], model: str) -> list[float]:
    """When each flow is complete by a link model (s)."""
    env = simpy.Environment()
    network = Network(env, topology, NetworkOptions.model_validate({"model": model}))
    ends = [math.nan] * len(flows)

    def send(i: int, flow: Flow) -> Any:
        yield env.timeout(flow.start_s)
        ends[i] = (yield network.transfer(flow.src, flow.dst, wire_bytes(flow.nbytes))).t_end_s

    for i, flow in enumerate(flows):
        env.process(send(i, flow))
    env.run()
    return ends


def errors(flows: Sequence[Flow], predicted: Sequence[float], measured: Sequence[float]) -> list[float]:
    """The relative error of each predicted duration."""
    return [(p - f.start_s) / (m - f.start_s) - 1.0 for f, p, m in zip(flows, predicted, measured, strict=True)]


def table(names: Iterable[str] = PATTERNS) -> dict[str, dict[str, list[float]]]:
    """Measure patterns and print how the link models predict them; pattern -> link model -> relative errors."""
    found: dict[str, dict[str, list[float]]] = {}
    print(
        f"{'pattern':<20} {'flows':>5} {'measured s':>16} " + " ".join(f"{m + ': median, worst':>30}" for m in MODELS)
    )
    for name in names:
        topology, flows = PATTERNS[name]
        measured = measure(topology, flows)
        found[name] = {model: errors(flows, predict(topology, flows, model), measured) for model in MODELS}
        last = [m - f.start_s for f, m in zip(flows, measured, strict=True)]
        print(
            f"{name:<20} {len(flows):>5} {f'{min(last):.2f} to {max(last):.2f}':>16} {_cells(found[name])}", flush=True
        )
    everything = {model: [e for pattern in found.values() for e in pattern[model]] for model in MODELS}
    print(f"{'all':<20} {len(everything[MODELS[0]]):>5} {'':>16} {_cells(everything)}")
    return found


def _cells(found: dict[str, list[float]]) -> str:
    pairs = ((statistics.median(map(abs, e)), max(map(abs, e))) for e in (found[model] for model in MODELS))
    return " ".join(f"{f'{median:.1%} {worst:>8.1%}':>30}" for median, worst in pairs)


def main() -> int:
    """Print the table."""
    reason = missing()
    if reason:
        print(reason)
        return 1
    table()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
