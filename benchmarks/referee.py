"""Other simulators referee this one: small cases exported to ns-3 (transport tcp) and to SimGrid (fluid), and the times compared.

    python benchmarks/referee.py --ns3 .venv-referee/bin/python --simgrid /usr/bin/python3

``make referee`` makes the first of these environments; the other is that of Debian's python3-simgrid. Cases lie side by side
in one network, so that a simulator starts once for each table. Durations are from a message's departure to its arrival.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from elsa_sim.network.case import play
from elsa_sim.network.export import of_case, write

#: Bandwidth (Mbit/s), round trip (ms), payload (kB).
SINGLE = [
    (5, 10, 2), (5, 40, 20), (5, 100, 200), (5, 40, 1000), (20, 10, 20), (20, 40, 200), (20, 100, 1000), (20, 40, 5000),
    (50, 10, 200), (50, 40, 1000), (50, 100, 2), (50, 100, 5000),
]  # fmt: skip
#: The second message on a connection: bandwidth, round trip, payload of both, pause after the first has arrived (ms).
WARM = [(20, 40, 200, 50), (20, 40, 200, 2000), (50, 100, 500, 100), (5, 10, 50, 20), (50, 100, 500, 1000)]
#: Two connections over one link: bandwidth, round trips, payloads.
SHARED = [(20, 40, 40, 1000, 1000), (20, 40, 40, 200, 2000), (50, 20, 20, 2000, 2000), (10, 20, 100, 1000, 1000)]
SCRIPT = {"ns3": "network.py", "simgrid": "play.py"}


class Cases:
    """Cases side by side, as one."""

    def __init__(self, transport: dict[str, Any]) -> None:
        self.case: dict[str, Any] = {"nodes": [], "links": [], "flows": [], "transport": transport}

    def link(self, u: str, v: str, mbps: float, latency_ms: float) -> None:
        """A link between nodes that are made where they are not there yet."""
        self.case["nodes"] += [name for name in (u, v) if name not in self.case["nodes"]]
        self.case["links"].append({"u": u, "v": v, "bandwidth_bps": mbps * 1e6, "latency_s": latency_ms / 1e3})

    def flow(self, name: str, source: str, target: str, kilobytes: float, start_s: float = 0.0) -> None:
        """A message."""
        self.case["flows"].append(
            {"id": name, "src": source, "dst": target, "bytes": kilobytes * 1e3, "start_s": start_s}
        )


def cases(transport: dict[str, Any]) -> dict[str, Any]:
    """All cases; second messages depart when the first ones have arrived in this simulator."""
    made = Cases(transport)
    for i, (mbps, rtt, size) in enumerate(SINGLE):
        made.link(f"s{i}a", f"s{i}b", mbps, rtt / 2)
        made.flow(f"single {mbps} Mbit/s {rtt} ms {size} kB", f"s{i}a", f"s{i}b", size)
    for i, (mbps, *rtts, one, other) in enumerate(SHARED):
        made.link(f"p{i}r", f"p{i}z", mbps, 0)
        for rtt, size, name in zip(rtts, (one, other), "ab", strict=True):
            made.link(f"p{i}{name}", f"p{i}r", 100 * mbps, rtt / 2)
            made.flow(f"shared {name} {mbps} Mbit/s {rtt} ms {size} kB", f"p{i}{name}", f"p{i}z", size)
            if len({flow["id"] for flow in made.case["flows"]}) < len(made.case["flows"]):
                made.case["flows"][-1]["id"] += f" ({i})"
    for i, (mbps, rtt, size, _) in enumerate(WARM):
        made.link(f"w{i}a", f"w{i}b", mbps, rtt / 2)
        made.flow(f"first {mbps} Mbit/s {rtt} ms {size} kB ({i})", f"w{i}a", f"w{i}b", size)
    arrived = play(made.case)
    for i, (mbps, rtt, size, pause) in enumerate(WARM):
        first = arrived[f"first {mbps} Mbit/s {rtt} ms {size} kB ({i})"]
        made.flow(f"after {pause} ms {mbps} Mbit/s {rtt} ms {size} kB", f"w{i}a", f"w{i}b", size, first + pause / 1e3)
    return made.case


def refereed(python: str, simulator: str, case: dict[str, Any], extra: list[str]) -> dict[str, float]:
    """Flow -> the other simulator's finish time (s)."""
    with tempfile.TemporaryDirectory() as folder:
        write(of_case(case), simulator, folder)
        command = [python, str(Path(folder) / SCRIPT[simulator]), *extra]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{simulator} failed: {ended.stderr.strip()[-2000:]}")
    finished = {row["id"]: row["finish_s"] for row in csv.DictReader(io.StringIO(ended.stdout))}
    never = [name for name, at in finished.items() if not at]
    if never or len(finished) < len(case["flows"]):
        raise SystemExit(f"{simulator}: never arrived: {', '.join(never)}")
    return {name: float(at) for name, at in finished.items()}


def compare(title: str, python: str, simulator: str, transport: dict[str, Any], extra: list[str], goal: float) -> bool:
    """Print a table; whether the median is within the goal (for fluids: every message)."""
    case = cases(transport)
    ours, theirs = play(case), refereed(python, simulator, case, extra)
    print(f"\n{title}\n{'message':46} {'elsa-sim s':>12} {simulator + ' s':>12} {'ratio':>10}")
    errors: dict[str, list[float]] = {}
    for flow in case["flows"]:
        one, other = (times[flow["id"]] - flow["start_s"] for times in (ours, theirs))
        for group in (flow["id"].split()[0], "all"):
            errors.setdefault(group, []).append(abs(one / other - 1.0))
        print(f"{flow['id']:46} {one:12.6f} {other:12.6f} {one / other:10.6f}")
    print(f"{'|ratio - 1|':46} {'median':>12} {'p90':>12} {'worst':>10}")
    for group, found in errors.items():
        ninetieth = statistics.quantiles(found, n=10, method="inclusive")[-1]
        print(f"{group:46} {statistics.median(found):12.2g} {ninetieth:12.2g} {max(found):10.2g}")
    reached = statistics.median(errors["all"]) if transport["kind"] == "tcp" else max(errors["all"])
    print(f"goal {goal:g}: {'reached' if reached <= goal else 'missed'}")
    return reached <= goal


def installed(python: str, module: str) -> bool:
    """Whether another interpreter has a module."""
    found = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return Path(python).exists() and subprocess.run([python, "-c", found], check=False).returncode == 0


def main() -> int:
    """All tables for which the interpreter has a simulator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ns3", default=".venv-referee/bin/python", help="an interpreter that has ns3")
    parser.add_argument("--simgrid", default=".venv-referee/bin/python", help="one that has simgrid")
    parser.add_argument("--congestion", default="TcpCubic", help="of ns-3")
    given = parser.parse_args()
    cubic, deep = ["--congestion", given.congestion], {"kind": "tcp", "queue": 20.0}
    tables: list[tuple[str, str, dict[str, Any], list[str], float]] = [
        ("ns-3, tcp, queues too long to overflow", "ns3", deep, cubic, 0.01),
        ("ns-3, tcp, a connection per message", "ns3", {**deep, "connections": "per_message"}, cubic, 0.01),
        ("ns-3, tcp, queues of 0.1 s, which overflow", "ns3", {"kind": "tcp"}, cubic, 0.1),
        ("SimGrid, fluid", "simgrid", {"kind": "fluid"}, [], 1e-6),
    ]
    good = True
    for title, simulator, transport, extra, goal in tables:
        python = getattr(given, simulator)
        if installed(python, {"ns3": "ns"}.get(simulator, simulator)):
            good &= compare(title, python, simulator, transport, extra, goal)
        else:
            print(f"\n{title}: {python} does not have {simulator}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
