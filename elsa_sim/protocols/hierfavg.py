"""HierFAVG (Liu et al., arXiv:1905.06641): whole models on the clients, averaged by edge servers and by the cloud.

Edge k averages every kappa_1 = ``local_steps`` local steps, the cloud every kappa_2 = ``edge_rounds`` edge aggregations,
both weighted by the samples |D_n| of the clients that took part (the paper's algorithm 1, here with LoRA and AdamW).
Clients belong to the nearest edge server. Does not model client sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..participation import WaitOptions, attend, gather, insist
from .base import Protocol
from .local import WholeTrainer

if TYPE_CHECKING:
    from ..learning.work import Ref
    from ..world import Client, Verb, World


class HierFAvg(Protocol):
    """Whole model with LoRA on every client, averaged by edge servers and the cloud (HierFAVG, arXiv:1905.06641)."""

    edges: ClassVar[bool] = True
    kind: Literal["hierfavg"] = "hierfavg"
    edge_rounds: int = Field(2, ge=1)
    """Edge aggregations kappa_2 in a round of the cloud."""

    def steps(self, clients: int) -> int:
        return super().steps(clients) * self.edge_rounds

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        trainer = WholeTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self.keep_optimizer)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            for nodes in ((world.cloud,), world.edges, [client.name for client in world.clients]):
                yield from attend(world, nodes)
            homes = world.homes(failover=True)
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
        self, world: World, trainer: WholeTrainer, edge: str, members: Sequence[Client], theta: Ref, g: int
    ) -> Verb:
        """kappa_2 edge aggregations; returns the edge's adapters and its weight, ``None`` if nobody took part."""
        theta = yield from world.send(world.cloud, edge, theta, "adapters", round=g)
        weights = {client.name: client.weight for client in members}
        took_part: set[str] = set()
        for _ in range(self.edge_rounds):
            tasks = {c.name: partial(trainer.visit, c, edge, theta, self.local_steps, round=g) for c in members}
            arrived = yield from gather(world, tasks, self.wait, round=g, at=edge)
            took_part |= arrived.keys()
            if arrived:
                work = world.model.mean(list(arrived.values()), [weights[name] for name in arrived])
                theta = yield from world.compute(edge, work, round=g, kind="aggregation")
        if not took_part:
            return None
        theta = yield from world.send(edge, world.cloud, theta, "adapters", round=g)
        return theta, sum(weights[name] for name in took_part)
