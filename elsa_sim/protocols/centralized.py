"""Centralised training: all samples are at the cloud, which trains the unsplit model; the bound others are held to.

With one client, its batches are those of the federated protocols. A round in which the cloud goes away is begun anew
when it is back. Does not model how the samples got to the cloud.
Tested in tests/protocols/test_protocol_laws.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ..base.errors import Lost
from ..learning.splits.pattern import AT_CLOUD, StepPattern
from ..world.rounds import wait_until_online
from .base import Protocol
from .local import WholeTrainer

if TYPE_CHECKING:
    from ..learning.execution.work import Ref
    from ..world.world import Verb, World


class Centralized(Protocol):
    """All data at the cloud, unsplit training; nothing crosses the network."""

    unaggregated: ClassVar[str | None] = "trains in one place"
    pattern: ClassVar[StepPattern] = AT_CLOUD
    kind: Literal["centralized"] = "centralized"

    def steps(self, clients: int) -> int:
        return super().steps(1)

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        trainer = WholeTrainer(world, world.model.optimizer(self.lr, self.weight_decay), keep=True)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            theta = yield from self._round(world, trainer, theta, g)
            if world.evaluate(theta, round=g):
                return

    def _round(self, world: World, trainer: WholeTrainer, theta: Ref, g: int) -> Verb:
        while True:
            try:
                trained = yield from trainer.train(world.pool, world.cloud, theta, self.local_steps, round=g)
            except Lost as error:
                world.missing(world.cloud, world.now, str(error), round=g)
                yield from wait_until_online(world, (world.cloud,))
            else:
                trainer.done(world.pool, trained)
                return trained.adapters
