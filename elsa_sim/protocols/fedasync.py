"""FedAsync (Xie, Koyejo, Gupta, arXiv:1903.03934): every update is merged when it arrives.

theta_{t+1} = (1 - alpha_t) theta_t + alpha_t theta_n with alpha_t = alpha (1 + t - v)^(-a), the paper's polynomial
staleness. The paper's: the rule, for whole models. Our reading: LoRA adapters and AdamW, without its proximal term; clients
start at once and never pause.
Tested in tests/protocols/test_asynchronous.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from ..base.units import MOST_FACTOR
from ..world.rounds import retry
from .asynchronous import Asynchronous

if TYPE_CHECKING:
    from ..world.world import Verb, World
    from .versions import ClientUpdate, Server


class FedAsync(Asynchronous):
    """Every update is mixed in as it arrives, the less the staler it is (FedAsync, arXiv:1903.03934)."""

    unaggregated: ClassVar[str | None] = "merges each update by itself as it arrives"
    neutral: ClassVar[Mapping[str, Any] | None] = MappingProxyType({"mixing": 1.0})
    kind: Literal["fedasync"] = "fedasync"
    mixing: float = Field(0.6, gt=0, le=1)
    """Share alpha of a fresh update in the next version."""
    decay: float = Field(0.5, ge=0, le=MOST_FACTOR)
    """Exponent a of the staleness."""

    def size(self, members: int) -> int:
        return 1

    def weights(self, server: Server, updates: Sequence[ClientUpdate]) -> list[float]:
        return [self.mixing * (1 + update.staleness) ** -self.decay for update in updates]

    def merge(self, world: World, server: Server, updates: Sequence[ClientUpdate], weights: Sequence[float]) -> Verb:
        theta = server.theta
        for update, weight in zip(updates, weights, strict=True):  # several only where a bound made them wait
            work = world.model.change(theta, theta, [update.adapters], [weight])
            theta = yield from retry(world, server.node, work, round=server.version + 1)
        return theta
