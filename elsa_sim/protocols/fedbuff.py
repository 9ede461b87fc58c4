"""FedBuff (Nguyen et al., arXiv:2106.06639): updates are buffered, and merged when there are B of them.

theta_{t+1} = theta_t + eta sum_n w_n s(t - v_n) Delta_n with Delta_n = theta_n - theta_{v_n}, the change that client n made
to the version v_n it began from, and s(tau) = (1 + tau)^(-a), a = 1/2 in the paper. Our reading: w_n is proportional to the
client's samples (the paper has 1/B), so that fresh updates of all clients are merged as FedAvg does; a timer, if given,
merges what is there. The paper's secure aggregation is not modelled; all clients train all the time.
Tested in tests/protocols/test_asynchronous.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..base.errors import Fault
from ..base.units import MOST_COUNT, MOST_FACTOR
from ..topology.limits import MeanTime
from ..world.rounds import retry
from .asynchronous import Asynchronous
from .versions import ClientUpdate, Server

if TYPE_CHECKING:
    from ..world.world import Verb, World


class Buffered(Asynchronous):
    """Merges when B updates are there, or when a timer has ended."""

    buffer: int | None = Field(default=None, ge=1, le=MOST_COUNT)
    """Updates B that a merge waits for, of all members on a server that has fewer; default: half of them, rounded up."""
    timer: MeanTime | None = None
    """Merge what is there this long after the last merge."""
    decay: float = Field(0.5, ge=0, le=MOST_FACTOR)
    """Exponent a of the staleness."""
    server_lr: float = Field(1.0, gt=0, le=MOST_FACTOR)
    """Learning rate eta of the server: all weights of a merge are multiplied by it."""

    def size(self, members: int) -> int:
        return min(members, self.buffer) if self.buffer is not None else (members + 1) // 2

    def aggregation_faults(self, clients: Mapping[str, str], cloud: str) -> Iterable[Fault]:
        yield from super().aggregation_faults(clients, cloud)
        most = max((each.members for each in self._servers(clients, cloud)), default=0)
        if self.buffer is not None and 0 < most < self.buffer:
            what = f"no server has more than {most} members, so {self.buffer} updates would never be there at once"
            yield Fault("buffer", what)

    @property
    def timer_s(self) -> float | None:
        return self.timer


class FedBuff(Buffered):
    """Updates are buffered and merged B at a time, scaled down by staleness (FedBuff, arXiv:2106.06639)."""

    kind: Literal["fedbuff"] = "fedbuff"

    def weights(self, server: Server, updates: Sequence[ClientUpdate]) -> list[float]:
        total = sum(update.weight for update in updates)
        return [self.server_lr * u.weight / total * (1 + u.staleness) ** -self.decay for u in updates]

    def merge(self, world: World, server: Server, updates: Sequence[ClientUpdate], weights: Sequence[float]) -> Verb:
        rule = self.rule(edge=server.parent is not None)
        if not rule.linear:
            changes = [(update.base, update.adapters, None) for update in updates]
            work = world.model.merge_changes(rule, server.theta, changes, weights)
            return (yield from retry(world, server.node, work, round=server.version + 1))
        groups = defaultdict[int, list[tuple[ClientUpdate, float]]](list)
        for update, weight in zip(updates, weights, strict=True):
            groups[update.version].append((update, weight))
        theta = server.theta
        for group in groups.values():
            base, adapters = group[0][0].base, [update.adapters for update, _ in group]
            work = world.model.change(theta, base, adapters, [weight for _, weight in group])
            theta = yield from retry(world, server.node, work, round=server.version + 1)
        return theta
