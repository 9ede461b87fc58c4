"""ELSA: hierarchical split federated fine-tuning (arXiv:2601.13824).

Clients n = 1..N belong to edge servers k = 1..K. Part 1 (embeddings and the first p_n layers) and Part 3 (the last q_n
layers and the head) of a client's model are trained on the client, Part 2 on its edge server. Edge k aggregates every H
local steps, theta_k = sum_n w_n theta_n with w_n proportional to |D_n| t_n; the cloud every E edge rounds,
theta = sum_k w_k theta_k with w_k proportional to data times coherence, and broadcasts. Cuts may differ: adapters are averaged
per layer, wherever each client's copy of it lives.

The paper's: the three-part split, two-level aggregation, behaviour-aware clustering with trust, the dynamic split
(``split``), sketches and SS-OP on the wire (``codec``). Our reading: the edge keeps one copy of Part 2 per client between
edge aggregations, each client's optimizer moments stay where the part is trained, an edge server weighs as much as its
clients that took part, without any it sends nothing, and clients in quarantine go on training but weigh nothing until
they are trusted again. Each part can be left out: ``clustering: null``, ``trust: null``, ``split: fixed``, and the codecs.
Does not model: cuts that change during a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, SerializeAsAny

from ..choices import AnyOf
from ..errors import Fault
from ..learning.clustering.assign import Assigner
from ..participation import WaitOptions, attend, gather, insist
from ..registry import Options
from .base import Protocol
from .behaviour import Census, ProbingOptions
from .local import SplitTrainer

if TYPE_CHECKING:
    from ..learning.tasks.base import Task
    from ..learning.work import Ref, Work
    from ..topology import Topology
    from ..world import Client, Verb, World


class TrustOptions(Options):
    """Trust in clients by what they say about public probe texts."""

    threshold: float = Field(0.9, ge=0.0, le=1.0)
    """Clients with less than this share of the median trust are in quarantine, until a later probing trusts them again."""
    consistency: Literal["balanced", "predictions", "similarity"] = "balanced"
    """What has to agree: predicted distributions without or with each client's class prior, or, for clients with different
    label spaces, which probes are alike."""


class Elsa(Protocol):
    """Three-part split training with edge and cloud aggregation (ELSA, arXiv:2601.13824)."""

    server: ClassVar[Literal["edge", "cloud"] | None] = "edge"
    edges: ClassVar[bool] = True
    kind: Literal["elsa"] = "elsa"
    edge_rounds: int = Field(2, ge=1)
    """Edge aggregations E in a round of the cloud."""
    failover: Literal["next", "wait"] = "next"
    """Clients of an edge server that is away when a round of the cloud begins go to the next best one that they can reach
    without it (in a tree there is none), or wait."""
    clustering: Annotated[SerializeAsAny[Assigner] | None, AnyOf(Assigner)] = None
    """How clients are assigned to edge servers by their behaviour; without, to the nearest."""
    trust: TrustOptions | None = None
    """Trust weights and quarantine; without, all clients are trusted."""
    probing: ProbingOptions = ProbingOptions()
    """Probes and warm-up, for clustering and trust."""
    recluster_every: int = Field(5, ge=1)
    """Rounds of the cloud from one probing, with clustering and trust, to the next; the first round begins with one."""

    @property
    def probes(self) -> bool:
        """Whether clients are probed."""
        return self.clustering is not None or self.trust is not None

    def steps(self, clients: int) -> int:
        times = len(range(0, self.rounds, self.recluster_every)) if self.probes else 0
        return super().steps(clients) * self.edge_rounds + times * self.probing.warm_up * clients

    def faults(self, topology: Topology, task: Task) -> Iterator[Fault]:
        if self.probes and task.public < self.probing.texts:
            message = (
                f"{self.probing.texts} probe texts are needed, task.public sets {task.public} apart; give as many there"
            )
            yield Fault("probing.texts", message)
        edges, clients = topology.names("edge"), topology.names("client")
        if self.clustering is not None and edges and clients:
            latency = np.array([[topology.latency(client, edge) for edge in edges] for client in clients])
            for message in self.clustering.faults(latency):
                yield Fault("clustering", message)

    def notes(self, *, timing: bool) -> Iterator[str]:
        if timing and self.clustering is not None and self.clustering.looks:
            yield (f"clustering {self.clustering.kind} needs arithmetic: in timing mode clients go to the nearest edge "
                   "server within capacity and latency bound")  # fmt: skip

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        trainer = SplitTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self.keep_optimizer)
        census = self._census(world, trainer) if self.probes else None
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            for nodes in ((world.cloud,), world.edges, [client.name for client in world.clients]):
                yield from attend(world, nodes)
            if census is not None and (g - 1) % self.recluster_every == 0:
                yield from census.renew(theta, round=g)
            homes = world.homes(failover=self.failover == "next")
            tasks = {edge: partial(self._edge, world, trainer, census, edge, homes[edge], theta, g) for edge in homes}
            behind = {edge: [client.name for client in clients] for edge, clients in homes.items()}
            arrived = yield from gather(world, tasks, WaitOptions(), round=g, at=world.cloud, behind=behind)
            shares = [share for share in arrived.values() if share is not None]
            if shares:
                theta = yield from insist(world, world.cloud, _merged(world, census, theta, shares), round=g)
            if world.evaluate(theta, round=g):
                return

    def _census(self, world: World, trainer: SplitTrainer) -> Census:
        trust = self.trust
        return Census(
            world,
            trainer,
            self.probing,
            assigner=self.clustering,
            consistency=None if trust is None else trust.consistency,
            threshold=0.0 if trust is None else trust.threshold,
            wait=self.wait,
        )

    def _edge(
        self,
        world: World,
        trainer: SplitTrainer,
        census: Census | None,
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
            tasks = {c.name: partial(trainer.train, c, edge, theta, self.local_steps, round=g) for c in members}
            arrived = yield from gather(world, tasks, self.wait, round=g, at=edge)
            took_part |= dict.fromkeys(arrived)
            if arrived:
                work = _aggregated(world, census, theta, arrived)
                theta = yield from world.compute(edge, work, round=g, kind="aggregation")
        if not took_part:
            return None
        theta = yield from world.send(edge, world.cloud, theta, "adapters", round=g)
        return theta, tuple(took_part)


def _aggregated(world: World, census: Census | None, theta: Ref, arrived: Mapping[str, Ref]) -> Work:
    """What an edge server makes of its clients' adapters."""
    samples = {client.name: client.weight for client in world.clients}
    if census is None or census.standing is None:
        return world.model.mean(list(arrived.values()), [samples[name] for name in arrived])
    return census.standing.edge(world.model, theta, arrived, samples)


def _merged(world: World, census: Census | None, theta: Ref, shares: Sequence[tuple[Ref, Sequence[str]]]) -> Work:
    """What the cloud makes of the adapters of edge servers, each with the clients that took part."""
    samples = {client.name: client.weight for client in world.clients}
    if census is None or census.standing is None:
        return world.model.mean([theta_k for theta_k, _ in shares], [sum(samples[n] for n in ns) for _, ns in shares])
    return census.standing.cloud(world.model, theta, shares, samples)
