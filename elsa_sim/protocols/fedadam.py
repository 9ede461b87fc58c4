"""FedAdam (Reddi et al., arXiv:2003.00295): FedAvg whose cloud takes an Adam step along the clients' mean update.

The pseudo-gradient is Delta_t = sum_n w_n theta_n - theta_t with w_n proportional to |D_n|; the arithmetic is in
``learning/server_optim.py``. The paper's: algorithm 2, its beta1, beta2 and tau. Our reading: clients train with AdamW, as in
every protocol here, where the paper's take SGD steps; so Delta_t is of the size of a few ``lr``, and ``server_lr`` too.
Tested in tests/protocols/test_baselines.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..base.units import MOST_FACTOR
from ..world.rounds import retry
from .fedavg import WholeModels

if TYPE_CHECKING:
    from ..learning.execution.work import Ref
    from ..world.world import Verb, World


class AdaptiveServer(WholeModels):
    """FedAvg with an adaptive optimizer on the cloud."""

    maximum: ClassVar[bool]
    neutral: ClassVar[Mapping[str, Any] | None] = None  # its cloud takes steps of its own
    server_lr: float = Field(1.0e-2, gt=0, le=MOST_FACTOR)
    """Learning rate eta of the cloud."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the first moment of the cloud."""
    beta2: float = Field(0.99, ge=0, lt=1)
    """Decay of the second moment of the cloud."""
    tau: float = Field(1.0e-3, gt=0, le=MOST_FACTOR)
    """Degree of adaptivity: the least root of the second moment; small is more adaptive."""

    def advance(self, world: World, theta: Ref, mean: Ref, state: Ref | None, *, round: int) -> Verb:
        optimizer = world.model.adaptive(self.server_lr, self.beta1, self.beta2, self.tau, self.maximum)
        work = world.model.server_step(theta, mean, state, optimizer)
        after = yield from retry(world, world.cloud, work, round=round)
        return after


class FedAdam(AdaptiveServer):
    """FedAvg with Adam on the cloud (FedAdam, arXiv:2003.00295)."""

    maximum: ClassVar[bool] = False
    kind: Literal["fedadam"] = "fedadam"
