"""SplitFed V2 (Thapa et al., arXiv:2004.12088): clients in parallel, one server part that each batch updates in turn.

The cloud is the main server and the federated server: it trains a single Part 2 on the clients' batches, one message at a
time in the order of arrival, and averages the client parts every ``local_steps`` steps. The paper's: V2's one server part,
updated batch by batch, and no averaging on the server's side. Our reading: with the label-private, U-shaped cut (Part 3
with the head stays on the client) a batch visits the server twice, so its gradient is that of the adapters which its
forward pass met, and is applied to those that its backward pass meets; Part 2 may have a learning rate of its own. Batches
of clients that do not finish a round have trained the server part all the same. Clients with different cuts share a Part 2
with those of the same cut.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import simpy
from pydantic import Field

from ..world.rounds import retry, run_round
from .base import Protocol
from .local import SplitTrainer

if TYPE_CHECKING:
    from ..learning.backbone.options import Part
    from ..learning.execution.work import Ref
    from ..learning.training.model import Trained
    from ..learning.training.optim import Optimizer
    from ..world.world import Client, Verb, World
    from .local import Lengths, Serve


class SplitFedV2(Protocol):
    """Split training with one server part for all clients, in the order of arrival (SplitFed V2, arXiv:2004.12088)."""

    server: ClassVar[Literal["edge", "cloud"] | None] = "cloud"
    shared: ClassVar[bool] = True
    kind: Literal["splitfed_v2"] = "splitfed_v2"
    server_lr: float | None = Field(None, gt=0)
    """Learning rate of Part 2, which makes a step for every client's batch where clients average theirs; default: lr."""

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        rates = (self.lr, self.lr if self.server_lr is None else self.server_lr)
        own, shared = (world.model.optimizer(rate, self.weight_decay) for rate in rates)
        trainer = SharedTrainer(world, own, shared, self.keep_optimizer)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            trainer.begin(theta)
            train = partial(trainer.train, server=world.cloud, theta=theta, steps=self.local_steps, round=g)
            tasks = {client.name: partial(train, client) for client in world.clients}
            arrived = yield from run_round(world, tasks, self.wait, round=g, at=world.cloud)
            if arrived:
                present = [client for client in world.clients if client.name in arrived]
                shares = [(arrived[client.name].pick(trainer.own(client)), client.weight) for client in present]
                shares += trainer.end(present)
                contributions, weights = zip(*shares, strict=True)
                work = world.model.aggregate(self.aggregation, contributions, weights, theta)
                theta = yield from retry(world, world.cloud, work, round=g)
            if world.evaluate(theta, round=g):
                return


class SharedTrainer(SplitTrainer):
    """Split training in which the server has one Part 2 for all clients with the same cut."""

    def __init__(self, world: World, optimizer: Optimizer, shared: Optimizer, keep: bool) -> None:
        super().__init__(world, optimizer, keep)
        self.serving = shared
        self._turn = simpy.Resource(world.env)
        self._now: dict[Part, Trained] = {}
        self._kept: dict[Part, Trained] = {}

    def begin(self, theta: Ref) -> None:
        """A round begins from ``theta``."""
        model = self.world.model
        parts = dict.fromkeys(client.parts[1] for client in self.world.clients if client.parts is not None)
        self._now = {part: model.take(part, theta, self._kept.get(part)) for part in parts}

    def end(self, arrived: Sequence[Client]) -> list[tuple[Ref, float]]:
        """A round has ended with some clients: their server parts, each with the weight of those who share it."""
        if self.keep:
            self._kept = dict(self._now)
        weights: defaultdict[Part, float] = defaultdict(float)
        for client in arrived:
            assert client.parts is not None
            weights[client.parts[1]] += client.weight
        return [(self._now[part].adapters, weight) for part, weight in weights.items()]

    def serve_forward(self, compute: Serve, middle: Trained, h1: Ref, lengths: Lengths) -> Verb:
        with self._turn.request() as turn:
            yield turn
            outputs = yield from super().serve_forward(compute, self._now[middle.part], h1, lengths)
        return outputs

    def serve_backward(self, compute: Serve, middle: Trained, saved: Ref, gradient: Ref, lengths: Lengths) -> Verb:
        part = middle.part
        with self._turn.request() as turn:
            yield turn
            found = yield from super().serve_backward(compute, self._now[part], saved, gradient, lengths)
            self._now[part] = found[1]
        return found
