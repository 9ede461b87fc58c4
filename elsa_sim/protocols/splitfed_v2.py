"""SplitFed V2 (Thapa et al., arXiv:2004.12088): clients in parallel, one server part that each batch updates in turn.

The cloud is the main server and the federated server: it trains a single Part 2 on the clients' batches, one message at a
time in the order of arrival, and averages the client parts every ``local_steps`` steps. The paper's: V2's one server part,
updated batch by batch, and no averaging on the server's side. Our reading: with the label-private, U-shaped cut (Part 3
with the head stays on the client) a batch visits the server twice, so its gradient is that of the adapters which its
forward pass met, and is applied to those that its backward pass meets; Part 2 may have a learning rate of its own. Batches
of clients that do not finish a round have trained the server part all the same. Clients with different cuts share a Part 2
with those of the same cut.
Tested in tests/protocols/test_baselines.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..base.units import MOST_FACTOR
from ..learning.splits.pattern import StepPattern, u_shaped
from ..world.replica import Replica, Turn
from ..world.rounds import retry
from .base import Protocol
from .local import SplitTrainer
from .selecting import Selecting, Turnout

if TYPE_CHECKING:
    from ..learning.backbone.options import Part
    from ..learning.execution.work import Ref
    from ..learning.training.model import Trained
    from ..learning.training.optim import Optimizer
    from ..world.client import SplitClient
    from ..world.world import Verb, World


class SplitFedV2(Protocol):
    """Split training with one server part for all clients, in the order of arrival (SplitFed V2, arXiv:2004.12088)."""

    selects: ClassVar[bool] = True
    pattern: ClassVar[StepPattern] = u_shaped("cloud", shared=True)
    kind: Literal["splitfed_v2"] = "splitfed_v2"
    server_lr: float | None = Field(None, gt=0, le=MOST_FACTOR)
    """Learning rate of Part 2, which makes a step for every client's batch where clients average theirs; default: lr."""

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        rates = (self.lr, self.lr if self.server_lr is None else self.server_lr)
        own, shared = (world.model.optimizer(rate, self.weight_decay) for rate in rates)
        trainer, selecting = SharedTrainer(world, own, shared, self.keep_optimizer), Selecting(world, self)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            trainer.begin(theta)
            train = partial(trainer.train, server=world.cloud, theta=theta, steps=self.local_steps, round=g)
            turnout: Turnout = yield from selecting.round(world.split_clients, train, round=g, at=world.cloud)
            if arrived := turnout.arrived:
                present = [client for client in world.split_clients if client.name in arrived]
                contributions = [arrived[client.name].pick(trainer.own(client)) for client in present]
                served = trainer.end(selecting.of(world.split_clients, turnout.present))
                contributions += [adapters for adapters, _ in served]
                masses = [*turnout.masses, *(weight for _, weight in served)]
                work = turnout.aggregated(world, self.aggregation, contributions, masses, theta)
                theta = yield from retry(world, world.cloud, work, round=g)
            if world.evaluate(theta, round=g):
                return


class SharedTrainer(SplitTrainer):
    """Split training in which the server has one Part 2 for all clients with the same cut, and serves one at a time."""

    def __init__(self, world: World, optimizer: Optimizer, shared: Optimizer, keep: bool) -> None:
        super().__init__(world, optimizer, keep)
        self.serving = shared
        self._turn = Turn(world.env)
        self._replicas: dict[Part, Replica] = {}
        self._kept: dict[Part, Trained] = {}

    def begin(self, theta: Ref) -> None:
        """A round begins from ``theta``."""
        model, env = self.world.model, self.world.env
        parts = dict.fromkeys(client.served for client in self.world.split_clients)
        self._replicas = {
            part: Replica(env, model.take(part, theta, self._kept.get(part)), self._turn) for part in parts
        }

    def replica(self, client: SplitClient, theta: Ref, before: Trained | None) -> Replica:
        return self._replicas[client.served]

    def end(self, clients: Sequence[SplitClient]) -> list[tuple[Ref, float]]:
        """A round has ended: the server parts of some clients, each with the weight of those who share it."""
        if self.keep:
            self._kept = {part: replica.trained for part, replica in self._replicas.items()}
        weights: defaultdict[Part, float] = defaultdict(float)
        for client in clients:
            weights[client.served] += client.weight
        return [(self._replicas[part].trained.adapters, weight) for part, weight in weights.items()]
