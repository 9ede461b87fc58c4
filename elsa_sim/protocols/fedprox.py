"""FedProx (Li et al., arXiv:1812.06127): FedAvg whose clients minimise F_n(theta) + mu/2 ||theta - theta^t||^2.

theta^t is what a client received at the round's beginning, as its codecs delivered it. The paper's: the proximal term.
Our reading: its gradient mu (theta - theta^t) joins that of the loss before AdamW scales both. Does not model: inexact
local solutions of varying numbers of steps (gamma_n^t); ``wait`` leaves late clients out instead.
Tested in tests/protocols/test_baselines.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..base.units import MOST_FACTOR
from .fedavg import WholeModels

if TYPE_CHECKING:
    from ..learning.training.optim import Optimizer
    from ..world.world import World


class FedProx(WholeModels):
    """FedAvg with a proximal term that holds clients near the global adapters (FedProx, arXiv:1812.06127)."""

    neutral: ClassVar[Mapping[str, Any] | None] = MappingProxyType({"mu": 0.0})
    kind: Literal["fedprox"] = "fedprox"
    mu: float = Field(0.01, ge=0, le=MOST_FACTOR)
    """Weight of the proximal term; 0 is FedAvg."""

    def optimizer(self, world: World) -> Optimizer:
        return world.model.optimizer(self.lr, self.weight_decay, self.mu)
