"""FedAvg (McMahan et al., arXiv:1602.05629) with LoRA: every client trains the whole model with adapters on all layers.

Only adapters and head cross the network, straight between cloud and clients. Does not model client sampling.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from .base import Protocol
from .local import WholeTrainer, average

if TYPE_CHECKING:
    from ..learning.work import Ref
    from ..world import Client, Verb, World


class FedAvg(Protocol):
    """Whole model with LoRA on every client, averaged by the cloud (FedAvg, arXiv:1602.05629)."""

    kind: Literal["fedavg"] = "fedavg"

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        trainer = WholeTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self.keep_optimizer)
        world.evaluate(theta, round=0)
        for g in range(1, self.rounds + 1):
            local = partial(self._client, world=world, trainer=trainer, theta=theta, g=g)
            theta = yield from average(world, self.wait, theta, local, round=g)
            if world.evaluate(theta, round=g):
                return

    def _client(self, client: Client, world: World, trainer: WholeTrainer, theta: Ref, g: int) -> Verb:
        theta = yield from world.send(world.cloud, client.name, theta, "adapters", round=g)
        trained = yield from trainer.train(client, client.name, theta, self.local_steps, round=g)
        theta = yield from world.send(client.name, world.cloud, trained.adapters, "adapters", round=g)
        trainer.done(client, trained)
        return theta
