"""A made-up run with the shape of a real one: a three-part split over clients, edge servers and one cloud."""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterable
from typing import Any

import simpy

from elsa_sim.results.event_table import Recorder
from elsa_sim.results.metrics import Results, frame, rounds_table, summarise

MB = 1_000_000


def topology(clients: int, edges: int) -> dict[str, Any]:
    """A tree; the backhaul is ten times as fast as an access link."""
    access, backhaul = ({"up_bps": 20e6, "down_bps": 50e6, "latency_s": 0.01},
                        {"up_bps": 200e6, "down_bps": 200e6, "latency_s": 0.005})  # fmt: skip
    nodes = [{"name": "cloud", "role": "cloud"}, *({"name": f"edge{j}", "role": "edge"} for j in range(edges))]
    nodes += [{"name": f"client{i}", "role": "client"} for i in range(clients)]
    links = [{"u": f"client{i}", "v": f"edge{i % edges}", **access} for i in range(clients)]
    return {"nodes": nodes, "links": links + [{"u": f"edge{j}", "v": "cloud", **backhaul} for j in range(edges)]}


class _World:
    def __init__(self, clients: int, edges: int, rounds: int, steps: int, straggler: int | None, seed: int,
                 scale: float) -> None:  # fmt: skip
        self.env, self.recorder, self.random = simpy.Environment(), Recorder(), random.Random(seed)
        self.clients, self.edges, self.rounds, self.steps, self.scale = clients, edges, rounds, steps, scale
        self.round = 0
        self.device = {f"edge{j}": simpy.Resource(self.env, 1) for j in range(edges)}
        self.speed = {f"client{i}": self.random.uniform(0.8, 1.25) for i in range(clients)}
        if straggler is not None:
            self.speed[f"client{straggler}"] *= 0.25

    def compute(self, node: str, label: str, seconds: float, step: int) -> Generator[Any, Any, None]:
        seconds /= self.speed.get(node, 1.0)
        queue = self.device.get(node)
        request = queue.request() if queue else None
        if request is not None:
            yield request
        start = self.env.now
        yield self.env.timeout(seconds)
        self.recorder.add("compute", start, self.env.now, node, round=self.round, step=step, flops=seconds * 2e10,
                          energy_j=seconds * (60.0 if queue else 5.0), detail=label)  # fmt: skip
        if queue is not None and request is not None:
            queue.release(request)

    def send(self, route: list[str], size: float, kind: str, mbps: float, step: int = 0) -> Generator[Any, Any, None]:
        start, nbytes = self.env.now, int(size * self.scale)
        yield self.env.timeout(0.01 + 8 * nbytes / (mbps * 1e6) * self.random.uniform(1.0, 1.3))
        self.recorder.add("transfer", start, self.env.now, route[0], peer=route[-1], round=self.round, step=step,
                          bytes=nbytes + 64, energy_j=nbytes * 6.4e-7, detail=kind, route=">".join(route))  # fmt: skip

    def all(self, processes: Iterable[Generator[Any, Any, None]]) -> simpy.Event:
        return self.env.all_of([self.env.process(process) for process in processes])

    def local(self, client: str, edge: str) -> Generator[Any, Any, None]:
        for step in range(self.steps):
            yield from self.compute(client, "part1.forward", 0.06, step)
            yield from self.send([client, edge], 0.30 * MB, "activation", 20, step)
            yield from self.compute(edge, "part2.forward", 0.02, step)
            yield from self.send([edge, client], 0.30 * MB, "activation", 50, step)
            yield from self.compute(client, "part3.forward", 0.03, step)
            yield from self.compute(client, "part3.backward", 0.06, step)
            yield from self.send([client, edge], 0.15 * MB, "gradient", 20, step)
            yield from self.compute(edge, "part2.backward", 0.04, step)
            yield from self.send([edge, client], 0.15 * MB, "gradient", 50, step)
            yield from self.compute(client, "part1.backward", 0.10, step)
        yield from self.send([client, edge], 0.2 * MB, "adapters", 20)

    def below(self, edge: str, number: int) -> Generator[Any, Any, None]:
        for _ in range(2):
            mine = range(number, self.clients, self.edges)
            yield self.all(self.local(f"client{i}", edge) for i in mine)
            self.recorder.add("aggregation", self.env.now, self.env.now, edge, round=self.round, detail="edge")
            yield self.all(self.send([edge, f"client{i}"], 0.2 * MB, "adapters", 50) for i in mine)
        yield from self.send([edge, "cloud"], 0.2 * MB, "adapters", 200)

    def run(self) -> Generator[Any, Any, None]:
        for number in range(1, self.rounds + 1):
            self.round = number
            yield self.all(self.below(f"edge{j}", j) for j in range(self.edges))
            self.recorder.add("aggregation", self.env.now, self.env.now, "cloud", round=number, detail="cloud")
            accuracy = 0.9 - 0.75 * math.exp(-number / 2.5 * self.scale**0.2) + self.random.uniform(-0.015, 0.015)
            metrics = {"accuracy": accuracy, "loss": 2 - 2 * accuracy, "macro_f1": accuracy / 2}
            self.recorder.add("evaluation", self.env.now, self.env.now, "cloud", round=number, metrics=metrics)
            yield self.all(self.send(["cloud", f"edge{j}"], 0.2 * MB, "adapters", 200) for j in range(self.edges))


def make(clients: int = 8, edges: int = 2, rounds: int = 6, steps: int = 3, straggler: int | None = 5, seed: int = 0,
         scale: float = 1.0, protocol: str = "elsa") -> Results:  # fmt: skip
    """Play the run; ``scale`` stretches every payload."""
    world = _World(clients, edges, rounds, steps, straggler, seed, scale)
    world.env.run(world.env.process(world.run()))
    network, events = topology(clients, edges), frame(world.recorder.close())
    summary = {"complete": True, "protocol": protocol, "seed": seed, **summarise(events, network, 0.8)}
    return Results(events, rounds_table(events, network), summary, network, name="synthetic")
