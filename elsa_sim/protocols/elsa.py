"""ELSA: hierarchical split federated fine-tuning (arXiv:2601.13824).

Clients n = 1..N belong to edge servers k = 1..K. Part 1 (embeddings and the first p layers) and Part 3 (the last q
layers and the head) of a client's model are trained on the client, Part 2 on its edge server. Edge k aggregates every H
local steps, theta_k = sum_n w_n theta_n with w_n proportional to |D_n|; the cloud every E edge rounds,
theta = sum_k w_k theta_k, and broadcasts.

The paper's: the three-part split, two-level aggregation, sketches and SS-OP on the wire (``codec``). Our reading: the
edge keeps one copy of Part 2 per client between edge aggregations, and each client's optimizer moments stay where the
part is trained. Does not model (yet): clustering, trust and coherence weights; clients are served by the nearest edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from .base import Protocol
from .local import SplitTrainer

if TYPE_CHECKING:
    from ..learning.work import Ref
    from ..world import Verb, World


class Elsa(Protocol):
    """Three-part split training with edge and cloud aggregation (ELSA, arXiv:2601.13824)."""

    split: ClassVar[bool] = True
    kind: Literal["elsa"] = "elsa"
    edge_rounds: int = Field(2, ge=1)
    """Edge aggregations E in a round of the cloud."""

    def steps(self, clients: int) -> int:
        return super().steps(clients) * self.edge_rounds

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        trainer = SplitTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self.keep_optimizer)
        world.evaluate(theta, round=0)
        edges = [edge for edge in world.edges if world.members(edge)]
        weights = [sum(client.weight for client in world.members(edge)) for edge in edges]
        for g in range(1, self.rounds + 1):
            thetas = yield from world.all(self._edge(world, trainer, edge, theta, g) for edge in edges)
            work = world.model.mean(thetas, weights)
            theta = yield from world.compute(world.cloud, work, round=g, kind="aggregation")
            if world.evaluate(theta, round=g):
                return

    def _edge(self, world: World, trainer: SplitTrainer, edge: str, theta: Ref, g: int) -> Verb:
        """E edge rounds of one edge server, between a download from the cloud and an upload to it."""
        members = world.members(edge)
        theta = yield from world.send(world.cloud, edge, theta, "adapters", round=g)
        for _ in range(self.edge_rounds):
            local = (trainer.train(client, edge, theta, self.local_steps, round=g) for client in members)
            copies = yield from world.all(local)
            work = world.model.mean(copies, [client.weight for client in members])
            theta = yield from world.compute(edge, work, round=g, kind="aggregation")
        theta = yield from world.send(edge, world.cloud, theta, "adapters", round=g)
        return theta
