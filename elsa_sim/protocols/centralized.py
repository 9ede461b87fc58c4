"""Centralised training: all samples are at the cloud, which trains the unsplit model; the bound others are held to.

With one client, its batches are those of the federated protocols. Does not model how the samples got to the cloud.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .base import Protocol
from .local import WholeTrainer

if TYPE_CHECKING:
    from ..world import Verb, World


class Centralized(Protocol):
    """All data at the cloud, unsplit training; nothing crosses the network."""

    kind: Literal["centralized"] = "centralized"

    def steps(self, clients: int) -> int:
        return super().steps(1)

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        trainer = WholeTrainer(world, world.model.optimizer(self.lr, self.weight_decay), keep=True)
        world.evaluate(theta, round=0)
        for g in range(1, self.rounds + 1):
            theta = yield from trainer.train(world.pool, world.cloud, theta, self.local_steps, round=g)
            if world.evaluate(theta, round=g):
                return
