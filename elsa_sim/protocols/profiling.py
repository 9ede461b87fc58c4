"""How the cloud of ELSA learns how its clients behave: probes down, warm-up, reports up, scores, assignment.

The paper's (arXiv:2601.13824): public probes, a short warm-up, Gaussian fingerprints, trust, edge assignment, all of it
again every so many rounds. Our reading: clients warm up from the present adapters with the edge server that they have
now, and what they learn there is not kept; probes cross the cut as activations do, codecs included, for clients do not
hold Part 2; texts and projection go to a client once; a client whose report does not arrive keeps its last one.
Tested in tests/protocols/test_elsa.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ..base.registry import Options
from ..base.units import MOST_COUNT
from ..learning.clustering.assign import Assigner, Behaviour
from ..learning.execution.work import Ref, TensorSpec
from ..world.replica import Replica
from ..world.rounds import WaitOptions, retry, run_round
from .local import outgoing, trains

if TYPE_CHECKING:
    from ..learning.clustering.scores import ClientScores
    from ..learning.clustering.weights import AggregationWeights
    from ..world.client import Client, SplitClient
    from ..world.world import Verb, World
    from .local import SplitTrainer


class ProbingOptions(Options):
    """What clients are asked, for clustering and for trust."""

    texts: int = Field(64, ge=4, le=MOST_COUNT)
    """Public probe texts Q, from those that task.public sets apart."""
    warm_up: int = Field(3, ge=0, le=MOST_COUNT)
    """Local steps of a client before it looks at them."""


class ClientProfiler:
    """The cloud's knowledge of its clients."""

    def __init__(
        self,
        world: World,
        trainer: SplitTrainer,
        options: ProbingOptions,
        *,
        assigner: Assigner | None,
        consistency: str | None,
        threshold: float,
        wait: WaitOptions,
    ) -> None:
        from ..learning.clustering.probing import Probing

        self.world, self.trainer, self.options, self.wait = world, trainer, options, wait
        self.assigner, self.threshold = assigner, threshold
        self.clients = {client.name: client for client in world.split_clients}
        self.batch = world.public(options.texts)
        dimensions = None if assigner is None else assigner.dimensions
        self.probing = Probing(world.model, self.batch, dimensions, consistency)
        self.weights: AggregationWeights | None = None
        self._projection: Ref | None = None
        self._holders = set[str]()
        self._reports: dict[str, Ref] = {}

    def renew(self, theta: Ref, *, round: int) -> Verb:
        """Probe all clients, score them, and assign them to edge servers anew."""
        from ..learning.clustering.weights import AggregationWeights

        world, assigner = self.world, self.assigner
        if assigner is not None and self._projection is None:
            work = self.probing.project(world.model.initial())
            self._projection = yield from retry(world, world.cloud, work, round=round)
        homes = world.homes(failover=True)
        tasks = {edge: partial(self._edge, edge, homes[edge], theta, round) for edge in homes}
        behind = {edge: [client.name for client in clients] for edge, clients in homes.items()}
        arrived = yield from run_round(world, tasks, WaitOptions(), round=round, at=world.cloud, behind=behind)
        for reports in arrived.values():
            self._reports |= reports
        names = tuple(client.name for client in world.clients if client.name in self._reports)
        if not names:
            return
        groups = 1 if assigner is None else assigner.groups or len(world.edge_servers)
        work = self.probing.compare([self._reports[name] for name in names], groups)
        scored = yield from retry(world, world.cloud, work, round=round)
        self.weights = AggregationWeights(names, scored, self.threshold, assigner is not None and assigner.coherence)
        if assigner is not None:
            yield from self._assign(assigner, names, scored, round)
        self._note(names, scored, round)

    def _edge(self, edge: str, members: Sequence[Client], theta: Ref, g: int) -> Verb:
        """Probe the clients of one edge server; returns their reports."""
        theta = yield from self.world.send(self.world.cloud, edge, theta, "adapters", round=g)
        tasks = {client.name: partial(self._client, self.clients[client.name], edge, theta, g) for client in members}
        return (yield from run_round(self.world, tasks, self.wait, round=g, at=edge))

    def _client(self, client: SplitClient, edge: str, theta: Ref, g: int) -> Verb:
        """Warm up, look at the probes, report to the cloud."""
        world, model, trainer, name = self.world, self.world.model, self.trainer, client.name
        compute, send = partial(world.compute, round=g), partial(world.send, round=g)
        fetched = yield from send(edge, name, theta.pick(trainer.own(client)), "adapters")
        if name not in self._holders:
            yield from send(world.cloud, name, self.probing.texts, "probe", attached=self.batch.lengths)
            if self._projection is not None:
                yield from send(world.cloud, name, self._projection, "probe")
            self._holders.add(name)
        first, last = client.own
        bottom, top = model.take(first, fetched), model.take(last, fetched)
        served = Replica(world.env, model.take(client.served, theta))
        for step in range(1, trains(world, client, self.options.warm_up) + 1):
            bottom, top = yield from trainer.step(client, edge, bottom, served, top, round=g, step=step)
        mine = bottom.adapters.merge([bottom.adapters, top.adapters])
        mine = yield from outgoing(world, client, fetched, mine, round=g, upload=False)  # it answers as it would send
        bottom, top = model.take(first, mine), model.take(last, mine)
        h1 = yield from compute(name, self.probing.through(bottom, self.batch))
        h1 = yield from send(name, edge, h1, "activation", attached=self.batch.lengths)
        h2 = yield from compute(edge, self.probing.through(served.trained, h1))
        h2 = yield from send(edge, name, h2, "activation")
        report = yield from compute(name, self.probing.report(top, h2, self._projection))
        return (yield from send(name, world.cloud, report, "fingerprint"))

    def _assign(self, assigner: Assigner, names: Sequence[str], scored: Ref, g: int) -> Verb:
        """Tell every scored client its edge server. Without values (timing only), behaviour has no say."""
        world = self.world
        latency = world.topology.distances(names, world.edge_servers)
        if not assigner.looks:
            chosen = assigner.assign(
                latency, Behaviour.unknown(len(names)), world.pipeline.streams.numpy("assignment", g)
            )
        else:

            def choose() -> list[int]:
                known: ClientScores = scored.value
                behaviour = Behaviour(known.divergences, known.groups)
                rng = world.pipeline.streams.numpy("assignment", g)
                return [int(edge) for edge in assigner.assign(latency, behaviour, rng)]

            found = world.read("assignment", choose)
            chosen = assigner.feasible(latency) if found is None else np.array(found)
        note = Ref(TensorSpec((1,), "int32"))
        tell = {name: partial(world.send, world.cloud, name, note, "assignment", round=g) for name in names}
        yield from run_round(world, tell, WaitOptions(), round=g, at=world.cloud)
        for name, edge in zip(names, chosen, strict=True):
            world.assign(name, world.edge_servers[int(edge)])

    def _note(self, names: Sequence[str], scored: Ref, g: int) -> None:
        """Write the scores into the event table, a row per client."""

        def scores() -> list[dict[str, Any]]:
            known: ClientScores = scored.value
            pairs = zip(known.trust, known.groups, strict=True)
            return [{"trust": float(trust), "group": int(group)} for trust, group in pairs]

        known = self.world.read("scores", scores) or [{} for _ in names]
        where = {client.name: edge for edge, clients in self.world.homes(failover=False).items() for client in clients}
        for name, facts in zip(names, known, strict=True):
            now = self.world.now
            self.world.recorder.add(
                "assignment", now, now, name, peer=where[name], round=g, detail="probed", metrics=facts
            )
