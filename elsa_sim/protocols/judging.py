"""How the edge servers of ELSA judge what their clients send, before they aggregate it.

At every edge aggregation an edge server looks at the length of each change, and when a round of the cloud begins, at where the
first changes of the last one led, against the other edge servers (:mod:`..learning.clustering.updates`). Both are work of the
edge server, before training goes on. What is known of a client goes with it from one edge server to another, a few numbers that
are not counted on the wire; so are the scores that the cloud weighs edge servers by. Rows of the event table: an ``update`` at
the edge server, ``detail`` "judged", its ``metrics`` the score of each client, written when the round ends.
Tested in tests/protocols/test_judging.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..learning.clustering import updates
from ..learning.clustering.weights import AggregationWeights

if TYPE_CHECKING:
    from ..learning.execution.work import Ref, Work
    from ..world.world import Verb, World

#: ``detail`` of the rows of the event table that hold scores.
JUDGED = "judged"


@dataclass(frozen=True)
class _Round:
    """An edge server's last round of the cloud: what it began from, what its clients first made of that, what it sent up."""

    number: int
    start: Ref
    first: Mapping[str, Ref]
    ended: Ref
    samples: float


class UpdateJudge:
    """What edge servers know of clients by what they sent."""

    def __init__(self, world: World, threshold: float) -> None:
        self.world, self.weights = world, AggregationWeights(threshold=threshold)
        own = {client.name: client for client in world.split_clients}
        self._sent = {name: world.model.names(client.own) for name, client in own.items()}
        self._served = {name: world.model.names([client.served]) for name, client in own.items()}
        self._standing: dict[str, Ref] = {}
        self._before: dict[str, _Round] = {}

    def standings(self, names: Sequence[str]) -> list[Ref]:
        """What is known of clients, older knowledge first."""
        return list(dict.fromkeys(ref for name, ref in self._standing.items() if name in names))

    def arrived(self, edge: str, base: Ref, adapters: Mapping[str, Ref], *, round: int) -> Verb:
        """``edge`` looks at the length of what clients made of ``base``; returns what it knows of them."""
        names = tuple(adapters)
        work = updates.judge_lengths(self._members(names), self._known(names), base, list(adapters.values()))
        return (yield from self._judge(edge, work, names, round))

    def began(self, edge: str, theta: Ref, *, round: int) -> Verb:
        """``edge`` has the cloud's adapters of a new round, and looks at where the first changes of the last one led."""
        last = self._before.get(edge)
        weight = sum(each.samples for each in self._before.values() if each.number == round - 1)
        if last is None or last.number != round - 1 or weight <= last.samples:
            return
        names, share = tuple(last.first), last.samples / weight
        thetas = (last.start, last.ended, theta)
        members, changed = self._members(names), list(last.first.values())
        work = updates.judge_directions(members, self._known(names), thetas, changed, share)
        yield from self._judge(edge, work, names, round)

    def ended(self, edge: str, start: Ref, first: Mapping[str, Ref], theta: Ref, samples: float, *, round: int) -> None:
        """``edge`` sends ``theta`` up, which began as ``start``; ``first`` are the adapters of its first edge round."""
        self._before[edge] = _Round(round, start, first, theta, samples)

    def _judge(self, edge: str, work: Work, names: Sequence[str], round: int) -> Verb:
        standing, scores = yield from self.world.compute(edge, work, round=round, kind="aggregation")
        for name in names:
            self._standing.pop(name, None)
            self._standing[name] = standing
        self.world.note(scores, edge, round=round, detail=JUDGED)
        return standing

    def _known(self, names: Sequence[str]) -> list[Ref | None]:
        return [self._standing.get(name) for name in names]

    def _members(self, names: tuple[str, ...]) -> updates.Members:
        return updates.Members(
            names, tuple(self._sent[name] for name in names), tuple(self._served[name] for name in names)
        )
