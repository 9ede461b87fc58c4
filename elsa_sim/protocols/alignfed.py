"""AlignFed (arXiv:2606.08197): asynchronous fine-tuning that makes updates of different versions agree.

When the buffer holds B updates or the timer ends, the server
1. groups them by the version v they began from; a group's change is the data-weighted mean Delta_v;
2. aligns every group with v < t: coefficients alpha in [0, 1] per module make alpha * Delta_v shift the final hidden states
   of a calibration batch at theta_t as Delta_v did at theta_v (see ``learning.alignment``);
3. merges with fair weights: w_n proportional to |D_n| (1 + t - v)^(-a) share_n^(-b), normalised and capped, where share_n is
   client n's part of all accepted updates so far; ``server_lr`` scales them.

The abstract's: the three modules. Our reading: everything else, above all the objective of step 2 and that a group's change
is merged with its own updates' weights. Calibration texts are the task's public ones, held by every server that merges.
Heard r times as often, a client's updates are about an r-th as stale, so what its samples count goes with r^(1 - b + a):
equal exponents cancel, and b = 1 + a (exactly: a = 0, b = 1) makes all samples count alike; see docs/design.md.
``grouping``, ``alignment`` and ``fairness`` switch a module off: without grouping, all changes are one group and are aligned as
if they had begun from the oldest version among them (without alignment, grouping makes no difference).
Tested in tests/protocols/test_asynchronous.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ..base.errors import Fault
from ..base.units import MOST_COUNT, MOST_FACTOR
from ..world.rounds import retry
from .fedbuff import Buffered

if TYPE_CHECKING:
    from ..learning.backbone.memory import Footprint, Outline
    from ..learning.execution.work import Ref
    from ..learning.tasks.base import Task
    from ..topology import Topology
    from ..world.world import Verb, World
    from .versions import ClientUpdate, Server


class AlignFed(Buffered):
    """Updates grouped by version, aligned in meaning, merged fairly (AlignFed, arXiv:2606.08197)."""

    kind: Literal["alignfed"] = "alignfed"
    fairness: float = Field(0.5, ge=0, le=MOST_FACTOR)
    """Exponent b of a client's share of the updates so far; 0: none."""
    cap: float = Field(0.5, gt=0, le=1)
    """Largest weight of one update in a merge, where enough others are there."""
    grouping: bool = True
    """Group updates by the version they began from."""
    alignment: bool = True
    """Align groups of old versions."""
    calibration: int = Field(8, ge=1, le=MOST_COUNT)
    """Public texts that a server aligns on."""
    ridge: float = Field(1e-3, ge=0, le=MOST_FACTOR)
    """Weight of the pull of the coefficients toward 1."""
    alignment_steps: int = Field(1, ge=1, le=MOST_COUNT)
    """Gauss-Newton steps of an alignment."""

    def faults(self, topology: Topology, task: Task) -> Iterable[Fault]:
        if self.alignment and task.public < self.calibration:
            what = f"needs {self.calibration} public texts, but the task sets {task.public} apart"
            yield Fault("calibration", f"{what}; set task.public, or alignment: false")

    def storage(self, outline: Outline, length: int) -> tuple[str, Footprint] | None:
        if not self.alignment:
            return None
        return f"alignment on {self.calibration} texts", outline.aligning(self.calibration, length)

    def weights(self, server: Server, updates: Sequence[ClientUpdate]) -> list[float]:
        shares = fair(updates, server.counts, self.decay, self.fairness, self.cap)
        return [self.server_lr * share for share in shares]

    def merge(self, world: World, server: Server, updates: Sequence[ClientUpdate], weights: Sequence[float]) -> Verb:
        theta, now, rule = server.theta, server.version + 1, self.rule(edge=server.parent is not None)
        if not self.grouping:
            updates = yield from self._moved(world, server, updates)
        groups = defaultdict[int, list[int]](list)
        for index, update in enumerate(updates):
            groups[update.version].append(index)
        changes: dict[int, tuple[Ref, Ref, Ref | None]] = {}
        for version, indices in sorted(groups.items()):
            group = [updates[i] for i in indices]
            base, adapters = group[0].base, [update.adapters for update in group]
            alpha = None
            if self.alignment and version < server.version:
                batch = world.public(self.calibration)
                work = world.model.align(rule, server.theta, base, adapters, [u.weight for u in group], batch,
                                         ridge=self.ridge, steps=self.alignment_steps)  # fmt: skip
                alpha = yield from retry(world, server.node, work, round=now)
                world.note(alpha, server.node, round=now, detail=f"alignment of version {version}")
            if rule.linear:
                work = world.model.change(theta, base, adapters, [weights[i] for i in indices], alpha)
                theta = yield from retry(world, server.node, work, round=now)
            changes |= {i: (base, updates[i].adapters, alpha) for i in indices}
        if not rule.linear:
            work = world.model.merge_changes(rule, theta, [changes[i] for i in range(len(updates))], weights)
            theta = yield from retry(world, server.node, work, round=now)
        return theta

    def _moved(self, world: World, server: Server, updates: Sequence[ClientUpdate]) -> Verb:
        """The same changes as if all had begun from the oldest version among them."""
        oldest = min(updates, key=lambda update: update.version)
        moved = []
        for update in updates:
            if update.version != oldest.version:
                work = world.model.change(oldest.base, update.base, [update.adapters], [1.0])
                adapters = yield from retry(world, server.node, work, round=server.version + 1)
                update = replace(update, version=oldest.version, base=oldest.base, adapters=adapters)
            moved.append(update)
        return moved


def fair(
    updates: Sequence[ClientUpdate], counts: Mapping[str, int], decay: float, fairness: float, cap: float
) -> list[float]:
    """Weights of updates: proportional to |D_n| (1 + tau)^(-a) share_n^(-b), adding up to 1, at most ``cap`` each.

    ``counts`` are the accepted updates of each member so far, these included. A cap below 1 / len(updates) cannot be met;
    the weights are then equal.
    """
    total = sum(counts.values())
    raw = [
        update.weight * (1 + update.staleness) ** -decay * (counts[update.member] / total) ** -fairness
        for update in updates
    ]
    cap = max(cap, 1 / len(raw))
    free = set(range(len(raw)))
    result = [0.0] * len(raw)
    left = 1.0
    while True:
        size = sum(raw[i] for i in free)
        over = [i for i in free if raw[i] / size * left > cap]
        if not over:
            break
        for i in over:
            result[i] = cap
        free.difference_update(over)
        left -= cap * len(over)
        if not free:
            break
    for i in free:
        result[i] = raw[i] / size * left
    return result
