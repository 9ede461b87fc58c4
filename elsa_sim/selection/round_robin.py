"""Members take turns: those who took part longest ago come next, in natural order at first.

With all members there, everyone takes part once in N / m rounds. Who is away when its turn comes keeps it. It counts being chosen,
not having arrived. Tested in tests/selection/test_selections.py.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Candidates, CohortSelection, Roster, Selector, alike


class RoundRobin(CohortSelection):
    """Clients take turns: those who were chosen longest ago."""

    random: ClassVar[bool] = False
    kind: Literal["round_robin"] = "round_robin"

    def start(self, roster: Roster) -> Selector:
        return _Turns(self)


class _Turns(Selector):
    def __init__(self, options: RoundRobin) -> None:
        self.options = options
        #: Client -> the number of its last turn, counted over all clients.
        self._last: dict[str, int] = {}
        self._turns = 0

    def choose(self, candidates: Candidates) -> dict[str, float]:
        last = self._last
        waiting = sorted(candidates.names, key=lambda name: last.get(name, 0))
        chosen = waiting[: self.options.asked(candidates.members)]
        last.update(zip(chosen, range(self._turns + 1, self._turns + len(chosen) + 1), strict=True))
        self._turns += len(chosen)
        return alike(chosen)
