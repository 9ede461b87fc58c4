"""FedAvg (McMahan et al., arXiv:1602.05629) with LoRA: every client trains the whole model with adapters on all layers.

Only adapters and head cross the network, straight between cloud and clients. Who takes part is the protocol's ``selection``:
everyone, where the paper draws a share C of the clients (``uniform``).
Tested in tests/protocols/test_baselines.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from .base import Protocol
from .local import WholeTrainer, average
from .selecting import Selecting

if TYPE_CHECKING:
    from ..learning.execution.work import Ref
    from ..learning.training.optim import Optimizer
    from ..world.world import Verb, World


class WholeModels(Protocol):
    """Rounds of the cloud with clients that train the whole model; what differs between methods is overridden."""

    selects: ClassVar[bool] = True

    def optimizer(self, world: World) -> Optimizer:
        """What clients train with."""
        return world.model.optimizer(self.lr, self.weight_decay)

    def advance(self, world: World, theta: Ref, mean: Ref, state: Ref | None, *, round: int) -> Verb:
        """The cloud's next adapters and state, from its last ones and the mean of its clients."""
        yield from ()
        return mean, state

    def run(self, world: World) -> Verb:
        theta, state = world.model.initial(), None
        trainer = WholeTrainer(world, self.optimizer(world), self.keep_optimizer)
        selecting = Selecting(world, self)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            train = partial(trainer.visit, server=world.cloud, theta=theta, steps=self.local_steps, round=g)
            mean = yield from average(world, world.clients, self, theta, train, round=g, selecting=selecting)
            if mean is not theta:  # somebody arrived
                theta, state = yield from self.advance(world, theta, mean, state, round=g)
            if world.evaluate(theta, round=g):
                return


class FedAvg(WholeModels):
    """Whole model with LoRA on every client, averaged by the cloud (FedAvg, arXiv:1602.05629)."""

    kind: Literal["fedavg"] = "fedavg"
