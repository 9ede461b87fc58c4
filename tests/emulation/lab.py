"""A topology built from Linux network namespaces: a namespace per node, a veth pair per link, rates by ``tc tbf``.

Needs root and iproute2. There is no emulated delay (``netem`` is not used): latencies of the topology must be 0.
Queues are plain FIFOs behind the token buckets, as a router's are. All connections have one small send buffer, so that
they share by equal windows from the first second; without it, the losses of slow start decide who gets what for seconds
(TCP is fair on average over minutes), and two measurements of one pattern differ by more than any model explains.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from elsa_sim.topology import Topology

ENDPOINT = Path(__file__).with_name("endpoint.py")
BURST_BYTES = 16 * 1024
QUEUE_MS = 400
WINDOW_BYTES = 32 * 1024


@dataclass(frozen=True)
class Flow:
    """A message of ``nbytes`` from ``src`` to ``dst``, sent ``start_s`` after the beginning."""

    src: str
    dst: str
    nbytes: int
    start_s: float = 0.0


def missing() -> str | None:
    """Why namespaces cannot be used here, or ``None``."""
    if os.geteuid() != 0:
        return "emulation needs root"
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            return f"emulation needs iproute2: there is no {tool}"
    name = f"elsa{os.getpid()}probe"
    probes = [f"ip netns add {name}", f"ip -n {name} link add p0 type veth peer name p1",
              f"ip netns exec {name} tc qdisc add dev p0 root tbf rate 1mbit burst 16kb latency 50ms"]  # fmt: skip
    try:
        for probe in probes:
            found = subprocess.run(probe.split(), capture_output=True, text=True, check=False)
            if found.returncode:
                return f"emulation needs namespaces, veth and tbf: {probe!r} failed: {found.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return None


def run(command: str, lines: Sequence[str] = ()) -> None:
    """Run a command, with ``lines`` as its input.

    Raises:
        subprocess.CalledProcessError: its status is not 0.
    """
    text = "\n".join(lines) + "\n" if lines else None
    subprocess.run(command.split(), input=text, text=True, capture_output=True, check=True)


@contextlib.contextmanager
def lab(topology: Topology) -> Iterator[dict[str, str]]:
    """Build the topology; node name -> its namespace. Everything is taken down at the end."""
    nodes = topology.names()
    spaces = {node: f"elsa{os.getpid()}n{i}" for i, node in enumerate(nodes)}
    try:
        run("ip -batch -", [f"netns add {space}" for space in spaces.values()])
        setup: dict[str, list[str]] = {
            node: ["link set lo up", f"addr add {address(topology, node)}/32 dev lo"] for node in nodes
        }
        shape: dict[str, list[str]] = {node: [] for node in nodes}
        gateway: dict[tuple[str, str], str] = {}
        for i, link in enumerate(topology.links):
            assert link.latency == 0.0, "no delay is emulated"
            run(f"ip -n {spaces[link.u]} link add l{i} type veth peer name l{i} netns {spaces[link.v]}")
            for node, other, last, rate in ((link.u, link.v, 1, link.up), (link.v, link.u, 2, link.down)):
                setup[node] += [f"addr add 10.{1 + i // 250}.{i % 250}.{last}/30 dev l{i}", f"link set l{i} up"]
                gateway[other, node] = f"10.{1 + i // 250}.{i % 250}.{last}"
                shape[node].append(
                    f"qdisc add dev l{i} root tbf rate {rate:.0f}bit burst {BURST_BYTES} latency {QUEUE_MS}ms"
                )
        for src, dst in itertools.permutations(nodes, 2):
            hop = topology.route(src, dst)[1]
            setup[src].append(
                f"route add {address(topology, dst)}/32 via {gateway[src, hop]} src {address(topology, src)}"
            )
        for node, space in spaces.items():
            run(f"ip -n {space} -batch -", setup[node])
            run(f"ip netns exec {space} tc -batch -", shape[node])
            run(f"ip netns exec {space} sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.tcp_no_metrics_save=1")
        yield spaces
    finally:
        for space in spaces.values():
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def address(topology: Topology, node: str) -> str:
    """The address of a node."""
    return f"10.200.0.{1 + topology.names().index(node)}"


def measure(topology: Topology, flows: Sequence[Flow], patience_s: float = 60.0) -> list[float]:
    """When the last byte of each flow arrives over real TCP, in s from the beginning.

    Raises:
        RuntimeError: a flow has not arrived in time.
    """
    with lab(topology) as spaces:
        begin = time.monotonic() + 1.0 + 0.15 * len(spaces)
        tasks: dict[str, dict[str, list[object]]] = {}
        for i, flow in enumerate(flows):
            tasks.setdefault(flow.dst, {"receive": [], "send": []})["receive"].append(5000 + i)
            order = [address(topology, flow.dst), 5000 + i, flow.nbytes, begin + flow.start_s]
            tasks.setdefault(flow.src, {"receive": [], "send": []})["send"].append(order)
        hosts = []
        for node, task in tasks.items():
            command = ["ip", "netns", "exec", spaces[node], sys.executable, "-I", "-S", str(ENDPOINT)]
            host = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert host.stdin is not None
            host.stdin.write(json.dumps({**task, "window": WINDOW_BYTES, "deadline": begin + patience_s}))
            host.stdin.close()
            hosts.append(host)
        ends: dict[str, float] = {}
        for host in hosts:
            assert host.stdout is not None
            ends |= json.loads(host.stdout.read() or "{}")
            host.wait()
            host.stdout.close()
    late = [flow for i, flow in enumerate(flows) if str(5000 + i) not in ends]
    if late:
        raise RuntimeError(f"these flows did not arrive within {patience_s:g} s: {late}")
    return [ends[str(5000 + i)] - begin for i in range(len(flows))]
