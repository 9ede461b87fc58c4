"""The cut that makes a local step quickest, by the program's own cost model.

One step of client n at (p, q) takes

    T_n = client(its parts, forward and backward) + crossings x latency + bytes up / rate + bytes down / rate
          + sum over the clients m of its server of server(Part 2 of m forward and backward) / slots,

with parts and crossings as the protocol's step pattern declares them (four crossings where the client has the head, two
where the server has it), the closed forms of :mod:`.flops` for FLOPs at full length, the declared bytes of the
codecs, and fair shares of links that several clients cross. The sum is the server's queue when all its clients are at the
same step, so cuts depend on one another. Per server, all (p, q) with p >= p_min, q >= 1 that fit the client's memory are
tried for one client after the other, taking what lowers (max_n T_n, sum_n T_n), until nothing does; the search starts from
the best ones of all cuts that are the same for everyone as far as memory allows, so the result is never worse than the best
fixed split. The paper (ELSA, arXiv:2601.13824) names the aim; the search is ours. Does not model: stragglers, profiles of
links, clients that change their server, and layers that move during a run.
Tested in tests/learning/splits/test_policies.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...base.units import MOST_COUNT
from ..backbone.flops import pass_flops, update_flops
from .base import ClientResources, Cut, Resources, SplitPolicy, no_room, tail, too_many
from .pattern import Holder, StepPattern

Array = NDArray[np.float64]
#: Starts of the search, and the relative difference of times that are taken as equal.
_STARTS, _EQUAL = 4, 1e-12


class Cost(NamedTuple):
    """Seconds of one local step of one client: on its device, on the wire, on its server."""

    client: float
    wire: float
    server: float


class LatencySplit(SplitPolicy):
    """p and q of least time per local step, by the program's own cost model, under the client's memory."""

    kind: Literal["latency"] = "latency"
    p_min: int = Field(1, ge=1, le=MOST_COUNT)
    """Layers of Part 1 at least; more hide the text better."""

    def check(self, layers: int, pattern: StepPattern) -> None:
        if self.p_min + tail(None, pattern) >= layers:
            raise too_many(self.p_min, tail(None, pattern), layers, "p_min")

    def cuts(self, resources: Resources) -> dict[str, Cut]:
        least = tail(None, resources.pattern)
        options = {client.name: self._options(resources, client) for client in resources.clients}
        narrow = [name for name, found in options.items() if not found]
        if narrow:
            raise no_room(narrow, self.p_min, least)
        behind = defaultdict(list)
        for client in resources.clients:
            behind[client.server].append(client.name)
        found = {}
        for server, names in behind.items():
            chosen = quickest([options[name] for name in names], resources.servers[server].slots)
            queue = sum(options[n][cut].server for n, cut in zip(names, chosen, strict=True))
            wait = queue / resources.servers[server].slots
            for name, cut in zip(names, chosen, strict=True):
                cost = options[name][cut]
                why = (f"{cost.client + cost.wire + wait:.3g} s a step: client {cost.client:.3g}, wire {cost.wire:.3g}, "
                       f"server {wait:.3g} for {len(names)}")  # fmt: skip
                found[name] = Cut(*cut, why)
        return found

    def _options(self, resources: Resources, client: ClientResources) -> dict[tuple[int, int], Cost]:
        layers = resources.layers
        if resources.pattern.tail:
            every = [(p, q) for p in range(self.p_min, layers - 1) for q in range(1, layers - p)]
        else:
            every = [(p, 0) for p in range(self.p_min, layers)]
        return {cut: cost(resources, client, *cut) for cut in every if resources.fits(client, *cut)}


def cost(resources: Resources, client: ClientResources, p: int, q: int) -> Cost:
    """What a local step of ``client`` takes at (p, q), without waiting."""
    outline, rows, width, pattern = resources.outline, resources.batch, resources.length, resources.pattern
    parts = pattern.divide(resources.layers, p, q)

    def flops(at: Holder) -> float:
        held = pattern.held(parts, at)
        passes = sum(pass_flops(outline, part, "learn", rows, width) for part in held)
        return passes + update_flops(outline, held)

    (up, down), server = resources.crossing, resources.servers[client.server]
    return Cost(
        client.machine.seconds(flops("client") + resources.codec[0], pieces=pattern.pieces("client")),
        len(pattern.crossings) * client.latency + 8 * (up / client.up + down / client.down),
        server.seconds(flops("server") + resources.codec[1], pieces=pattern.pieces("server")),
    )


def quickest(options: Sequence[Mapping[tuple[int, int], Cost]], slots: int) -> list[tuple[int, int]]:
    """One of its ``options`` for each client of a server: a local optimum of (longest, total) time, see above."""
    cuts = [list(each) for each in options]
    own = [np.array([cost.client + cost.wire for cost in each.values()]) for each in options]
    queue = [np.array([cost.server / slots for cost in each.values()]) for each in options]

    def start(cut: tuple[int, int]) -> list[int]:
        return [each.index(cut) if cut in each else each.index(min(each)) for each in cuts]

    starts = [start(cut) for cut in sorted({cut for each in cuts for cut in each})]
    starts.sort(key=lambda chosen: _times(own, queue, chosen))
    found = min((_descend(own, queue, chosen) for chosen in starts[:_STARTS]), key=lambda c: _times(own, queue, c))
    return [each[c] for each, c in zip(cuts, found, strict=True)]


def _descend(own: Sequence[Array], queue: Sequence[Array], chosen: list[int]) -> list[int]:
    """Change one client's cut after the other while that lowers (longest, total)."""
    chosen, clients = list(chosen), len(own)
    mine = np.array([each[c] for each, c in zip(own, chosen, strict=True)])
    wait = float(sum(each[c] for each, c in zip(queue, chosen, strict=True)))
    longest, total = mine.max() + wait, mine.sum() + clients * wait
    improved = True
    while improved:
        improved = False
        for n in range(clients):
            others = float(np.delete(mine, n).max(initial=0.0))
            waits = wait - queue[n][chosen[n]] + queue[n]
            long = np.maximum(own[n], others) + waits
            sums = mine.sum() - mine[n] + own[n] + clients * waits
            shortest = np.flatnonzero(long <= long.min() * (1 + _EQUAL))
            best = int(shortest[sums[shortest].argmin()])
            less = long[best] < longest * (1 - _EQUAL)
            if less or (long[best] <= longest * (1 + _EQUAL) and sums[best] < total * (1 - _EQUAL)):
                mine[n], wait, chosen[n] = own[n][best], float(waits[best]), best
                longest, total, improved = long[best], sums[best], True
    return chosen


def _times(own: Sequence[Array], queue: Sequence[Array], chosen: Sequence[int]) -> tuple[float, float]:
    """The longest and the total time of a local step."""
    mine = [float(each[c]) for each, c in zip(own, chosen, strict=True)]
    wait = float(sum(each[c] for each, c in zip(queue, chosen, strict=True)))
    return max(mine) + wait, sum(mine) + len(mine) * wait
