"""Rounds of a cloud with edge servers between it and its clients.

In a round of the cloud its adapters go down to every edge server; an edge server has its clients train E times
(``edge_rounds``), each time from what it aggregated before, and sends its adapters up; the cloud aggregates these. A client
counts with its samples |D_n|, an edge server with those of its clients that took part; without any it sends nothing. Where
clients have been profiled, trust and coherence count as well. Shared by HierFAVG (whole models) and ELSA (cut in three).
Tested in tests/protocols/test_baselines.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..base.units import MOST_COUNT
from ..world.rounds import WaitOptions, retry, run_round, wait_until_online
from .base import TieredProtocol
from .selecting import Selecting, Turnout

if TYPE_CHECKING:
    from typing import TypeAlias

    from ..learning.clustering.weights import AggregationWeights
    from ..learning.execution.work import Ref, Work
    from ..world.client import Client
    from ..world.world import Verb, World
    from .judging import UpdateJudge
    from .profiling import ClientProfiler

    #: (client, its server, the server's adapters, round) -> the client's adapters.
    Train: TypeAlias = Callable[..., Verb]


class Hierarchical(TieredProtocol):
    """A protocol with edge servers that aggregate, and a cloud that aggregates them."""

    uses_edge_servers: ClassVar[bool] = True
    selects: ClassVar[bool] = True
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
        judge: UpdateJudge | None = None,
        every: int = 1,
        failover: Literal["next", "wait"] = "next",
    ) -> Verb:
        """All rounds. ``train(client, edge, theta, steps, round=g)`` is a client's share of an edge round.

        The ``profiler`` is asked ``every`` so many rounds, beginning with the first; the ``judge`` looks at all that clients
        send. Clients of an edge server that is away when a round begins go to the ``next`` best one, or ``wait``.
        """
        theta = world.model.initial()
        trust = Trust(profiler, judge, {client.name: client.weight for client in world.clients})
        selecting = Selecting(world, self)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            for nodes in ((world.cloud,), world.edge_servers, [client.name for client in world.clients]):
                yield from wait_until_online(world, nodes)
            if profiler is not None and (g - 1) % every == 0:
                yield from profiler.renew(theta, round=g)
            homes = world.homes(failover=failover == "next")
            tasks = {
                edge: partial(self._edge, world, train, trust, selecting, edge, homes[edge], theta, g) for edge in homes
            }
            behind = {edge: [client.name for client in clients] for edge, clients in homes.items()}
            arrived = yield from run_round(world, tasks, WaitOptions(), round=g, at=world.cloud, behind=behind)
            shares = [share for share in arrived.values() if share is not None]
            if shares:
                theta = yield from retry(
                    world, world.cloud, self._merged(world, trust, selecting, theta, shares), round=g
                )
            if world.evaluate(theta, round=g):
                return

    def _edge(
        self,
        world: World,
        train: Train,
        trust: Trust,
        selecting: Selecting,
        edge: str,
        members: Sequence[Client],
        theta: Ref,
        g: int,
    ) -> Verb:
        """E edge rounds of one edge server, between a download from the cloud and an upload to it.

        Returns its adapters and the names of the clients that it speaks for (those that took part, or all where their factors make
        up for the others), or ``None`` if there was none.
        """
        theta = yield from world.send(world.cloud, edge, theta, "adapters", round=g)
        judge, start = trust.judge, theta
        took_part: dict[str, None] = {}
        first: Mapping[str, Ref] = {}
        if judge is not None:
            yield from judge.began(edge, theta, round=g)
        for times in range(self.edge_rounds):
            share = partial(self._share, train, edge, theta, g)
            turnout: Turnout = yield from selecting.round(members, share, round=g, at=edge)
            arrived = turnout.arrived
            took_part |= dict.fromkeys(arrived)
            first = first if times else arrived
            if arrived:
                standing = None
                if judge is not None:
                    standing = yield from judge.arrived(edge, theta, arrived, round=g)
                work = self._aggregated(world, trust, theta, turnout, standing)
                theta = yield from world.compute(edge, work, round=g, kind="aggregation")
        if not took_part:
            return None
        if judge is not None:
            samples = sum(client.weight for client in members if client.name in took_part)
            judge.ended(edge, start, first, theta, samples, round=g)
        theta = yield from world.send(edge, world.cloud, theta, "adapters", round=g)
        return theta, tuple(client.name for client in members) if selecting.selection.unbiased else tuple(took_part)

    def _share(self, train: Train, edge: str, theta: Ref, g: int, client: Client) -> Verb:
        """A client's share of an edge round."""
        return train(client, edge, theta, self.local_steps, round=g)

    def _aggregated(self, world: World, trust: Trust, theta: Ref, turnout: Turnout, standing: Ref | None) -> Work:
        """What an edge server makes of its clients' adapters, which it has judged."""
        weights, contributions, rule = trust.weights, list(turnout.arrived.values()), self.rule(edge=True)
        if weights is None:
            return turnout.aggregated(world, rule, contributions, turnout.masses, theta)
        return world.model.aggregate(
            rule, contributions, weights.edge(list(turnout.arrived), trust.samples, standing), theta
        )

    def _merged(
        self,
        world: World,
        trust: Trust,
        selecting: Selecting,
        theta: Ref,
        shares: Sequence[tuple[Ref, Sequence[str]]],
    ) -> Work:
        """What the cloud makes of the adapters of edge servers, each with the clients that it speaks for."""
        samples, weights, rule = trust.samples, trust.weights, self.rule(edge=False)
        contributions, members = zip(*shares, strict=True)
        if weights is None:
            masses = [sum(samples[name] for name in names) for names in members]
            return selecting.everyone.aggregated(world, rule, contributions, masses, theta)
        known = trust.standings([name for names in members for name in names])
        return world.model.aggregate(rule, contributions, weights.cloud(members, samples, known), theta)


@dataclass(frozen=True)
class Trust:
    """Who knows what clients are worth: by probing them, by what they send, or nobody."""

    profiler: ClientProfiler | None
    judge: UpdateJudge | None
    samples: Mapping[str, float]
    """Client -> its number of samples |D_n|."""

    @property
    def weights(self) -> AggregationWeights | None:
        """What is known makes clients weigh; ``None``: their samples."""
        found = None if self.profiler is None else self.profiler.weights
        return self.judge.weights if found is None and self.judge is not None else found

    def standings(self, names: Sequence[str]) -> Sequence[Ref]:
        """What is known of clients by what they sent."""
        return () if self.judge is None else self.judge.standings(names)
