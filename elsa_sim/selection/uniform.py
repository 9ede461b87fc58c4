"""m of N members, drawn anew in every round without replacement (McMahan et al., arXiv:1602.05629, algorithm 1).

Those who arrive are averaged by their samples, as in the paper; that mean is biased where samples differ much (Li et al.,
arXiv:1907.02189), and ``probabilities`` is not. Tested in tests/selection/test_selections.py.
"""

from __future__ import annotations

from typing import Literal

from .base import Candidates, CohortSelection, Roster, Selector, alike


class Uniform(CohortSelection):
    """A number of clients, drawn at random without replacement (FedAvg, arXiv:1602.05629)."""

    kind: Literal["uniform"] = "uniform"

    def start(self, roster: Roster) -> Selector:
        return _Uniform(self)


class _Uniform(Selector):
    def __init__(self, options: Uniform) -> None:
        self.options = options

    def choose(self, candidates: Candidates) -> dict[str, float]:
        count = min(self.options.asked(candidates.members), len(candidates.names))
        found = candidates.random.choice(len(candidates.names), count, replace=False)
        return alike(candidates.names[i] for i in sorted(found.tolist()))
