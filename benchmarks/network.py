"""How fast the network is at sizes where nobody would train: flows on a two-level tree, against SimGrid's times.

Client i of N sits behind edge i mod E, E = max(4, N // 50); all links are full duplex. Client-edge link:
10e6 * (1 + (i*7919 mod 97)/97) bit/s, 10 ms. Edge-cloud link of edge e: 2e6 * ceil(N/E) * (1 + (e*31 mod 7)/7) bit/s,
5 ms. The variant ``core`` adds one link of 1e6 * N bit/s, 5 ms, between all edges and the cloud. Client i sends 10
messages one after another to the cloud, each 100000 + (i*104729 mod 1009)*1000 bytes, the first at t = 0.

The variant ``mesh`` is the slow case: N messages at once between random nodes of a random network of 200 nodes, so that
nearly every flow has a set of contended links of its own. There is no peer for it: it is compared with ``--resolve all``.

    python benchmarks/network.py                        # all five rows
    python benchmarks/network.py --clients 1000 --variant core
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import random
import resource
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any

import networkx as nx
import simpy

from elsa_sim.network import Network, NetworkOptions
from elsa_sim.topology import Link, Node, Topology

#: (clients, variant) -> SimGrid 4.1: CPU s (eager solver), last finish (s), sum of all finish times (s)
SIMGRID = {
    (1_000, "edges"): (0.55, 24.822481112, 80860.008618),
    (1_000, "core"): (3.3, 48.626360379, 219914.437319),
    (10_000, "edges"): (9.9, 27.691336131, 810038.669119),
    (10_000, "core"): (156.0, 48.691736052, 2199122.798242),
    (2_000, "mesh"): (math.nan, 76.964376163, 20995.405719),  # the times of --resolve all
}
MESSAGES = 10


def topology(clients: int, variant: str) -> Topology:
    """The tree of the workload."""
    edges = max(4, clients // 50)
    nodes = [Node("cloud", "cloud"), *(Node(f"edge{e}", "edge") for e in range(edges))]
    nodes += [Node(f"client{i}", "client") for i in range(clients)]
    top = "cloud"
    links = []
    if variant == "core":
        nodes.append(Node("core", "router"))
        links.append(Link("core", "cloud", 1e6 * clients, 1e6 * clients, 0.005))
        top = "core"
    for e in range(edges):
        bandwidth = 2e6 * math.ceil(clients / edges) * (1 + (e * 31 % 7) / 7)
        links.append(Link(f"edge{e}", top, bandwidth, bandwidth, 0.005))
    for i in range(clients):
        bandwidth = 10e6 * (1 + (i * 7919 % 97) / 97)
        links.append(Link(f"client{i}", f"edge{i % edges}", bandwidth, bandwidth, 0.01))
    return Topology(tuple(nodes), tuple(links))


def mesh(nodes: int = 200) -> Topology:
    """A random network with a few nodes of many links, as backbones have (Barabasi and Albert, 1999)."""
    graph, rng = nx.barabasi_albert_graph(nodes, 2, seed=1), random.Random(1)
    links = [
        Link(f"n{u}", f"n{v}", rng.choice([1e7, 4e7, 1e8]), rng.choice([1e7, 4e7, 1e8]), rng.uniform(0.001, 0.01))
        for u, v in graph.edges
    ]
    return Topology(tuple(Node(f"n{i}") for i in graph), tuple(links))


def messages(clients: int, variant: str) -> tuple[Topology, list[list[tuple[str, str, float]]]]:
    """The network of a row, and for every sender what it sends, one after another: (source, target, bytes)."""
    if variant == "mesh":
        network, rng, rows = mesh(), random.Random(7), []
        for _ in range(clients):
            source, target = rng.sample(network.names(), 2)
            rows.append([(source, target, rng.choice([1e5, 1e6, 3e6]))])
        return network, rows
    size = [100_000 + (i * 104_729 % 1009) * 1000 for i in range(clients)]
    return topology(clients, variant), [[(f"client{i}", "cloud", size[i])] * MESSAGES for i in range(clients)]


def play(clients: int, variant: str, resolve: str, transport: str) -> dict[str, float]:
    """Run one row; times of the host and finish times of the simulation (s)."""
    wall, cpu = time.perf_counter(), time.process_time()
    env = simpy.Environment()
    graph, senders = messages(clients, variant)
    network = Network(env, graph, NetworkOptions(resolve=resolve, transport=transport))
    ends: list[float] = []

    def send(row: list[tuple[str, str, float]]) -> Generator[simpy.Event, Any, None]:
        for source, target, nbytes in row:
            delivery = yield network.transfer(source, target, nbytes)
            ends.append(delivery.t_end_s)

    for row in senders:
        env.process(send(row))
    env.run()
    for wrong in network.check():
        raise SystemExit(f"invariant violated: {wrong}")
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "flows": len(ends), "last": max(ends),
            "sum": math.fsum(ends), "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}  # fmt: skip


def row(clients: int, variant: str, resolve: str, transport: str) -> bool:
    """Run and print one row; whether the times agree with SimGrid's to 1e-6, where they can."""
    got = play(clients, variant, resolve, transport)
    peer, last, total = SIMGRID.get((clients, variant), (math.nan, math.nan, math.nan))
    error = max(abs(got["last"] / last - 1), abs(got["sum"] / total - 1))
    print(f"{clients:>7,} {got['flows']:>8,.0f} {variant:>7} {got['wall']:>8.2f} {got['cpu']:>8.2f} {peer:>9.2f} "
          f"{got['rss']:>8.0f} {got['last']:>14.9f} {got['sum']:>16.6f} {error:>9.1e}", flush=True)  # fmt: skip
    return transport != "fluid" or not error > 1e-6


def main() -> int:
    """Run the rows asked for, each in a process of its own, so that peak memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int)
    parser.add_argument("--variant", choices=["edges", "core", "mesh"])
    parser.add_argument("--resolve", choices=["touched", "all"], default="touched", help="'all' is the slow reference")
    parser.add_argument("--transport", default="fluid", help="of SimGrid's times: fluid; tcp for what windows cost")
    given = parser.parse_args()
    if given.clients and given.variant:
        return 0 if row(given.clients, given.variant, given.resolve, given.transport) else 1
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; one core is used")
    print(f"{'clients':>7} {'flows':>8} {'variant':>7} {'wall s':>8} {'CPU s':>8} {'SimGrid s':>9} {'peak MiB':>8} "
          f"{'last finish s':>14} {'sum of finishes s':>16} {'rel.err':>9}", flush=True)  # fmt: skip
    wrong = 0
    for clients, variant in SIMGRID:
        if given.clients in (None, clients) and given.variant in (None, variant):
            command = [sys.executable, __file__, "--clients", str(clients), "--variant", variant]
            command += ["--resolve", given.resolve, "--transport", given.transport]
            wrong += subprocess.run(command, check=False).returncode != 0
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
