"""FedCS (Nishio and Yonetani, arXiv:1804.08333): as many clients as fit a deadline, by what they are expected to take.

The server asks a random share of its members what they will take, and adds one after another, always the one that prolongs the
round least, while the round is expected to end by the deadline (the paper's algorithm 3). Of the clients k that are chosen, in
order:

    Theta = Theta + t_k^up + max(0, t_k^work - Theta),    round = max_k t_k^down + Theta < deadline

so downloads are one multicast, and clients upload one after another while the others compute. The time of selection and of
aggregation counts as nothing. The simulated round goes as the network has it (uploads at once share their links); it is closed at a
deadline only if ``wait`` says so. The mean is over those who were chosen, who are the fast ones.
Tested in tests/selection/test_selections.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from ..base.errors import Fault
from ..base.units import Seconds
from .base import Candidates, Count, Prospect, Roster, Selection, Selector, alike, counted, too_many


class FedCS(Selection):
    """As many clients as are expected to be done by a deadline (FedCS, arXiv:1804.08333)."""

    kind: Literal["fedcs"] = "fedcs"
    deadline: Seconds
    """When the round is to be over, counted from its beginning (s)."""
    ask: Count = 1.0
    """Members that are asked what they will take, drawn at random: a number, or a share (C in the paper)."""

    def asked(self, members: int) -> int:
        return counted(self.ask, members)

    def faults(self, homes: Mapping[str, Sequence[str]]) -> Iterable[Fault]:
        yield from too_many("ask", self.ask, homes)

    def start(self, roster: Roster) -> Selector:
        return _Greedy(self, roster)


class _Greedy(Selector):
    def __init__(self, options: FedCS, roster: Roster) -> None:
        self.options, self.roster = options, roster

    def choose(self, candidates: Candidates) -> dict[str, float]:
        count = min(self.options.asked(candidates.members), len(candidates.names))
        drawn = sorted(candidates.random.choice(len(candidates.names), count, replace=False).tolist())
        names = [candidates.names[i] for i in drawn]
        chosen = within([self.roster.prospect(name) for name in names], self.options.deadline)
        return alike(names[i] for i in chosen)


def within(prospects: Sequence[Prospect], deadline: float) -> list[int]:
    """The clients that are added one after another until none fits the deadline (s), in this order: algorithm 3."""
    down, work, up = np.array(prospects, dtype=np.float64).reshape(-1, 3).T
    left = np.ones(len(prospects), dtype=bool)
    chosen: list[int] = []
    theta = slowest = 0.0
    while left.any():
        longer = np.maximum(slowest, down) - slowest + up + np.maximum(0.0, work - theta)
        k = int(np.argmin(np.where(left, longer, np.inf)))
        left[k] = False
        after = theta + up[k] + max(0.0, work[k] - theta)
        if max(slowest, down[k]) + after < deadline:
            theta, slowest = after, max(slowest, down[k])
            chosen.append(k)
    return chosen
