"""Clients take part with known probabilities, and count with their inverse, so that no client's data are left out in expectation.

With the shares p_n of all candidates in the samples, the aggregate is theta + sum_n p_n f_n (theta_n - theta), where f_n is the
factor of client n, and its expectation is that of everyone: theta + sum_n p_n (theta_n - theta).

* ``independent``: client n joins with probability q_n, by itself, so how many take part varies and may be none; f_n = 1 / q_n
  (as in arXiv:2505.23555).
* ``replacement``: m draws with probabilities q_n that add up to 1; f_n = (times drawn) / (m q_n). With q_n = p_n every draw counts
  1 / m (Li et al., arXiv:1907.02189, scheme I).

q is the same for everyone, in proportion to samples, or given. In expectation m clients join; q_n is at most 1, and what is above
goes to the others. Weights do not add up to 1 in a single round. Who is lost, or late, is missing from the sum: rounds that close
early are not unbiased. Does not model: q chosen by an optimiser. Tested in tests/selection/test_selections.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ..base.errors import Fault
from ..base.listing import listed
from .base import Candidates, Count, Roster, Selection, Selector, counted, too_many, valued


class Probabilities(Selection):
    """Clients join with probabilities, and count with the inverse of them: unbiased aggregation."""

    unbiased: ClassVar[bool] = True
    kind: Literal["probabilities"] = "probabilities"
    clients: Count | None = None
    """Clients m that take part in expectation (``independent``), or draws (``replacement``): a number, or a share of
    the members."""
    draw: Literal["independent", "replacement"] = "independent"
    """Each client by itself, or so many draws of one of all."""
    by: Literal["samples", "uniform"] = "samples"
    """Probabilities in proportion to a client's samples, or the same for everyone."""
    given: dict[str, Annotated[float, Field(gt=0.0, le=1.0)]] | None = None
    """Client -> its probability q_n, for all clients, in the place of ``clients`` and ``by``."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.clients is None) == (self.given is None):
            raise ValueError("state how many clients take part (clients), or the probability of each (given)")
        if self.given is not None and (self.draw != "independent" or self.by != "samples"):
            raise ValueError("given probabilities are for draw: independent, and by has no effect; leave them out")
        return self

    def asked(self, members: int) -> int:
        return members if self.clients is None or self.draw == "independent" else counted(self.clients, members)

    def faults(self, homes: Mapping[str, Sequence[str]]) -> Iterable[Fault]:
        if self.clients is not None:
            yield from too_many("clients", self.clients, homes)
        if self.given is not None:
            every = [name for names in homes.values() for name in names]
            if unknown := [name for name in self.given if name not in every]:
                yield Fault("given", f"there is no client {listed(unknown, quoted=True)}")
            if lacking := [name for name in every if name not in self.given]:
                yield Fault("given", f"{listed(lacking, quoted=True)} have no probability; every client needs one")

    def start(self, roster: Roster) -> Selector:
        return _Drawing(self, roster)


class _Drawing(Selector):
    def __init__(self, options: Probabilities, roster: Roster) -> None:
        self.options, self.roster = options, roster

    def choose(self, candidates: Candidates) -> dict[str, float]:
        options, names, random = self.options, candidates.names, candidates.random
        if options.given is not None:
            return _joined(names, valued(names, options.given.__getitem__), random)
        assert options.clients is not None
        count = min(counted(options.clients, candidates.members), len(names))
        weights = valued(names, self.roster.samples.__getitem__) if options.by == "samples" else np.ones(len(names))
        if options.draw == "independent":
            return _joined(names, capped(weights, count), random)
        share = weights / weights.sum()
        times = Counter(random.choice(len(names), count, p=share).tolist())
        return {names[i]: times[i] / (count * float(share[i])) for i in sorted(times)}


def _joined(names: Sequence[str], chances: npt.NDArray[np.float64], random: np.random.Generator) -> dict[str, float]:
    """Those who join, each by itself, with the inverse of their ``chances``."""
    return {names[i]: 1.0 / float(chances[i]) for i in np.flatnonzero(random.random(len(names)) < chances).tolist()}


def capped(weights: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Probabilities in proportion to ``weights``, none above 1, that add up to ``count`` (at most as many as there are)."""
    chances = np.zeros(len(weights))
    free = np.ones(len(weights), dtype=bool)
    while free.any():
        left = count - int((~free).sum())
        chances[free] = left * weights[free] / weights[free].sum()
        over = free & (chances >= 1.0)
        if not over.any():
            break
        chances[over], free = 1.0, free & ~over
    return chances
