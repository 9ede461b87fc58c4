"""SplitFed V1 (Thapa et al., arXiv:2004.12088): split learning of all clients in parallel, with averaging of both sides.

The cloud is the main server and the federated server: it keeps a copy of the server part per client, trains them side
by side, and averages both the server copies and the client parts every ``local_steps`` steps. The paper's: V1's parallel
server copies and the averaging. Our reading: the label-private, U-shaped cut (Part 3 with the head stays on the client),
as for every split protocol here. Messages cross whatever routers and edge servers lie between client and cloud.
Tested in tests/protocols/test_baselines.py.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from ..learning.splits.pattern import StepPattern, u_shaped
from .base import Protocol
from .local import SplitTrainer, average
from .selecting import Selecting

if TYPE_CHECKING:
    from ..world.world import Verb, World


class SplitFedV1(Protocol):
    """Split training with one central server and one round of averaging (SplitFed V1, arXiv:2004.12088)."""

    selects: ClassVar[bool] = True
    pattern: ClassVar[StepPattern] = u_shaped("cloud")
    kind: Literal["splitfed_v1"] = "splitfed_v1"

    def run(self, world: World) -> Verb:
        theta = world.model.initial()
        trainer = SplitTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self.keep_optimizer)
        selecting = Selecting(world, self)
        if world.evaluate(theta, round=0):
            return
        for g in range(1, self.rounds + 1):
            train = partial(trainer.train, server=world.cloud, theta=theta, steps=self.local_steps, round=g)
            theta = yield from average(world, world.split_clients, self, theta, train, round=g, selecting=selecting)
            if world.evaluate(theta, round=g):
                return
