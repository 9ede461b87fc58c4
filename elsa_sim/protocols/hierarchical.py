"""Rounds of a cloud with edge servers between it and its clients.

In a round of the cloud its adapters go down to every edge server; an edge server has its clients train E times
(``edge_rounds``), each time from what it aggregated before, and sends its adapters up; the cloud aggregates these. A client
counts with its samples |D_n|, an edge server with those of its clients that took part; without any it sends nothing. Where
clients have been profiled, trust and coherence count as well. Shared by HierFAVG (whole models) and ELSA (cut in three).
Tested in tests/protocols/test_baselines.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..base.units import MOST_COUNT
from ..world.rounds import WaitOptions, retry, run_round, wait_until_online
from .base import TieredProtocol

if TYPE_CHECKING:
    from typing import TypeAlias

    from ..learning.clustering.weights import AggregationWeights
    from ..learning.execution.work import Ref, Work
    from ..world.client import Client
    from ..world.world import Verb, World
    from .profiling import ClientProfiler

    #: (client, its server, the server's adapters, round) -> the client's adapters.
    Train: TypeAlias = Callable[..., Verb]


class Hierarchical(TieredProtocol):
    """A protocol with edge servers that aggregate, and a cloud that aggregates them."""

    uses_edge_servers: ClassVar[bool] = True
    edge_rounds: int = Field(2, ge=1, le=MOST_COUNT)
    """Edge aggregations E in a round of the cloud."""

    def steps(self, clients: int) -> int:
        return super().steps(clients) * self.edge_rounds

    def play(
        self,
        world: World,
        train: Train,
        *,
        profiler: ClientProfiler | None = None,
        every: int = 1,
        failover: Literal["next", "wait"] = "next",
    ) -> Verb:
        """All rounds. ``train(client, edge, theta, steps, round=g)`` is a client's share of an edge round.

        The ``profiler`` is asked ``every`` so many rounds, beginning with the first. Clients of an edge server that is away
        when a round begins go to the ``next`` best one, or ``wait``.
        """
        theta = world.model.initial()
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            for nodes in ((world.cloud,), world.edge_servers, [client.name for client in world.clients]):
                yield from wait_until_online(world, nodes)
            if profiler is not None and (g - 1) % every == 0:
                yield from profiler.renew(theta, round=g)
            homes = world.homes(failover=failover == "next")
            tasks = {edge: partial(self._edge, world, train, profiler, edge, homes[edge], theta, g) for edge in homes}
            behind = {edge: [client.name for client in clients] for edge, clients in homes.items()}
            arrived = yield from run_round(world, tasks, WaitOptions(), round=g, at=world.cloud, behind=behind)
            shares = [share for share in arrived.values() if share is not None]
            if shares:
                theta = yield from retry(world, world.cloud, self._merged(world, profiler, theta, shares), round=g)
            if world.evaluate(theta, round=g):
                return

    def _edge(
        self,
        world: World,
        train: Train,
        profiler: ClientProfiler | None,
        edge: str,
        members: Sequence[Client],
        theta: Ref,
        g: int,
    ) -> Verb:
        """E edge rounds of one edge server, between a download from the cloud and an upload to it.

        Returns its adapters and the names of the clients that took part, or ``None`` if there was none.
        """
        theta = yield from world.send(world.cloud, edge, theta, "adapters", round=g)
        took_part: dict[str, None] = {}
        for _ in range(self.edge_rounds):
            tasks = {c.name: partial(train, c, edge, theta, self.local_steps, round=g) for c in members}
            arrived = yield from run_round(world, tasks, self.wait, round=g, at=edge)
            took_part |= dict.fromkeys(arrived)
            if arrived:
                work = self._aggregated(world, profiler, theta, arrived)
                theta = yield from world.compute(edge, work, round=g, kind="aggregation")
        if not took_part:
            return None
        theta = yield from world.send(edge, world.cloud, theta, "adapters", round=g)
        return theta, tuple(took_part)

    def _aggregated(
        self, world: World, profiler: ClientProfiler | None, theta: Ref, arrived: Mapping[str, Ref]
    ) -> Work:
        """What an edge server makes of its clients' adapters."""
        samples, weights = {client.name: client.weight for client in world.clients}, weights_of(profiler)
        masses = [samples[name] for name in arrived] if weights is None else weights.edge(list(arrived), samples)
        return world.model.aggregate(self.rule(edge=True), list(arrived.values()), masses, theta)

    def _merged(
        self, world: World, profiler: ClientProfiler | None, theta: Ref, shares: Sequence[tuple[Ref, Sequence[str]]]
    ) -> Work:
        """What the cloud makes of the adapters of edge servers, each with the clients that took part."""
        samples, weights = {client.name: client.weight for client in world.clients}, weights_of(profiler)
        contributions, members = zip(*shares, strict=True)
        data = [sum(samples[name] for name in names) for names in members]
        masses = data if weights is None else weights.cloud(members, samples)
        return world.model.aggregate(self.rule(edge=False), contributions, masses, theta)


def weights_of(profiler: ClientProfiler | None) -> AggregationWeights | None:
    """What the latest profiling makes clients weigh; ``None``: their samples."""
    return None if profiler is None else profiler.weights
