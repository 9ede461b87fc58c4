"""HierFAVG (Liu et al., arXiv:1905.06641): whole models on the clients, averaged by edge servers and by the cloud.

Edge k averages every kappa_1 = ``local_steps`` local steps, the cloud every kappa_2 = ``edge_rounds`` edge aggregations,
both weighted by the samples |D_n| of the clients that took part (the paper's algorithm 1, here with LoRA and AdamW).
Clients belong to the nearest edge server, which has all of them train, or those of its ``selection``.
Tested in tests/protocols/test_baselines.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .hierarchical import Hierarchical
from .local import WholeTrainer

if TYPE_CHECKING:
    from ..world.world import Verb, World


class HierFAvg(Hierarchical):
    """Whole model with LoRA on every client, averaged by edge servers and the cloud (HierFAVG, arXiv:1905.06641)."""

    kind: Literal["hierfavg"] = "hierfavg"

    def run(self, world: World) -> Verb:
        trainer = WholeTrainer(world, world.model.optimizer(self.lr, self.weight_decay), self.keep_optimizer)
        yield from self.play(world, trainer.visit)
