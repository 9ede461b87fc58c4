"""ELSA: hierarchical split federated fine-tuning (arXiv:2601.13824).

Clients n = 1..N belong to edge servers k = 1..K. Part 1 (embeddings and the first p layers) and Part 3 (the last q
layers and the head) of a client's model are trained on the client, Part 2 on its edge server. Edge k aggregates every H
local steps, theta_k = sum_n w_n theta_n with w_n proportional to |D_n|; the cloud every E edge rounds,
theta = sum_k w_k theta_k, and broadcasts.

The paper's: the three-part split, two-level aggregation, sketches and SS-OP on the wire (``codec``). Our reading: the
edge keeps one copy of Part 2 per client between edge aggregations, each client's optimizer moments stay where the
part is trained, and an edge server weighs as much as its clients that took part; without any it sends nothing.
Does not model (yet): clustering, trust and coherence weights; clients are served by the nearest edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..participation import WaitOptions, attend, gather, insist
from .base import Protocol
from .local import SplitTrainer

if TYPE_CHECKING:
    from ..learning.work import Ref
    from ..world import Client, Verb, World


class Elsa(Protocol):
    """Three-part split training with edge and cloud aggregation (ELSA, arXiv:2601.13824)."""

    server: ClassVar[Literal["edge", "cloud"] | None] = "edge"
    kind: Literal["elsa"] = "elsa"
    edge_rounds: int = Field(2, ge=1)
    """Edge aggregations E in a round of the cloud."""
    failover: Literal["next", "wait"] = "next"
    """Clients of an edge server that is away when a round of the cloud begins go to the next best one that they can reach
    without it (in a tree there is none), or wait."""

    def steps(self, clients: int) -> int:
        return super().steps(clients) * self.edge_rounds

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        trainer = SplitTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self.keep_optimizer)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            for nodes in ((world.cloud,), world.edges, [client.name for client in world.clients]):
                yield from attend(world, nodes)
            homes = world.homes(failover=self.failover == "next")
            tasks = {edge: partial(self._edge, world, trainer, edge, homes[edge], theta, g) for edge in homes}
            behind = {edge: [client.name for client in clients] for edge, clients in homes.items()}
            arrived = yield from gather(world, tasks, WaitOptions(), round=g, at=world.cloud, behind=behind)
            shares = [share for share in arrived.values() if share is not None]
            if shares:
                work = world.model.mean([theta_k for theta_k, _ in shares], [weight for _, weight in shares])
                theta = yield from insist(world, world.cloud, work, round=g)
            if world.evaluate(theta, round=g):
                return

    def _edge(
        self, world: World, trainer: SplitTrainer, edge: str, members: Sequence[Client], theta: Ref, g: int
    ) -> Verb:
        """E edge rounds of one edge server, between a download from the cloud and an upload to it.

        Returns its adapters and the weight of the clients that took part, or ``None`` if there was none.
        """
        theta = yield from world.send(world.cloud, edge, theta, "adapters", round=g)
        weights = {client.name: client.weight for client in members}
        took_part: set[str] = set()
        for _ in range(self.edge_rounds):
            tasks = {c.name: partial(trainer.train, c, edge, theta, self.local_steps, round=g) for c in members}
            arrived = yield from gather(world, tasks, self.wait, round=g, at=edge)
            took_part |= arrived.keys()
            if arrived:
                work = world.model.mean(list(arrived.values()), [weights[name] for name in arrived])
                theta = yield from world.compute(edge, work, round=g, kind="aggregation")
        if not took_part:
            return None
        theta = yield from world.send(edge, world.cloud, theta, "adapters", round=g)
        return theta, sum(weights[client.name] for client in members if client.name in took_part)
