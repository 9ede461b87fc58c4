"""Oort (Lai et al., OSDI 2021, arXiv:2010.06081): clients with much to teach that are not too slow.

The paper's algorithm 1. A client that took part in round L, with samples B, loss l_k of each and duration t, has in round R

    Util = |B| sqrt(1/|B| sum_k l_k^2) + sqrt(0.1 log R / L),    times (T / t)^alpha where t > T.

A share epsilon of the m clients is explored: drawn among those never heard, in proportion to their expected speed. The others are
drawn in proportion to Util among those with at least c times the cut-off utility (that of the last who would be in). T relaxes
where the utility gained falls from one window of rounds to the next (the pacer). The loss part is clipped at a quantile of all.

Our reading: l_k is the loss of a local step (the mean over its batch), as no protocol computes the loss of each sample again, and
|B| is |D_n|; T is a quantile (``preferred``) of the durations known, which the pacer raises by ``pacer``; a duration is that of a
client's share of a round, as its server sees it. Who did not arrive reports nothing. Losses go up with the adapters; these few
bytes are not counted. Does not model: fairness knobs, and clients that are left out after so many rounds. Tested in
tests/selection/test_oort.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ..base.units import MOST_COUNT
from .base import Candidates, CohortSelection, Report, Roster, Selector, alike, drawn, valued


class Oort(CohortSelection):
    """Clients by the loss they have and the time they take, with exploration (Oort, arXiv:2010.06081)."""

    needs_losses: ClassVar[bool] = True
    kind: Literal["oort"] = "oort"
    exploration: float = Field(0.9, ge=0.0, le=1.0)
    """Share epsilon of the clients that are drawn among those never heard, in the first round."""
    decay: float = Field(0.98, gt=0.0, le=1.0)
    """Factor on epsilon from round to round."""
    least_exploration: float = Field(0.2, ge=0.0, le=1.0)
    """What epsilon does not fall below."""
    penalty: float = Field(2.0, ge=0.0, le=100.0)
    """Exponent alpha of the time of clients slower than preferred; 0 looks at losses only."""
    preferred: float = Field(0.5, gt=0.0, le=1.0)
    """The preferred duration T at first, as a quantile of the durations known."""
    pacer: float = Field(0.1, ge=0.0, le=1.0)
    """What that quantile is raised by when the utility gained falls."""
    window: int = Field(20, ge=1, le=MOST_COUNT)
    """Rounds over which the utility gained is added up."""
    cutoff: float = Field(0.95, ge=0.0, le=1.0)
    """Share c of the cut-off utility that admits a client to the draw."""
    clip: float = Field(0.95, gt=0.0, le=1.0)
    """Quantile of the loss part that nobody's counts above."""

    def start(self, roster: Roster) -> Selector:
        return OortSelector(self, roster)


def statistical_utility(samples: float, losses: Sequence[float]) -> float:
    """|B| sqrt(1/|B| sum_k l_k^2) of a client with so many ``samples``, whose mean square loss is that of ``losses``."""
    return samples * math.sqrt(math.fsum(loss * loss for loss in losses) / len(losses))


def utility(
    statistical: npt.NDArray[np.float64],
    last: npt.NDArray[np.float64],
    duration: npt.NDArray[np.float64],
    *,
    round: int,
    preferred: float,
    penalty: float,
) -> npt.NDArray[np.float64]:
    """Util of clients in ``round``: the statistical one, a bonus for who was not heard since ``last``, times the penalty.

    ``duration`` and ``preferred`` are in s.
    """
    found: npt.NDArray[np.float64] = statistical + np.sqrt(0.1 * math.log(round) / last)
    return np.where(duration > preferred, found * (preferred / np.maximum(duration, 1e-300)) ** penalty, found)


class OortSelector(Selector):
    """What a server knows of its clients."""

    def __init__(self, options: Oort, roster: Roster) -> None:
        self.options, self.roster = options, roster
        self.preferred = options.preferred
        """The present quantile of T."""
        self._known: dict[str, tuple[float, int, float]] = {}  # statistical utility, last round, duration (s)
        self._gained: list[float] = []
        self._sum, self._round = 0.0, 0

    def observe(self, report: Report) -> None:
        found = statistical_utility(self.roster.samples[report.name], report.losses)
        self._known[report.name] = (found, self._round, report.duration)
        self._sum += found

    def choose(self, candidates: Candidates) -> dict[str, float]:
        options, names = self.options, candidates.names
        self._pace()
        self._round = candidates.round
        count = min(options.asked(candidates.members), len(names))
        known = [name for name in names if name in self._known]
        new = [name for name in names if name not in self._known]
        epsilon = max(options.least_exploration, options.exploration * options.decay ** (self._round - 1))
        explored = min(len(new), max(math.floor(epsilon * count + 0.5), count - len(known)))
        chosen = self._exploited(known, count - explored, candidates.random)
        speeds = 1.0 / valued(new, lambda name: max(1e-300, self.roster.prospect(name).time))
        return alike([*chosen, *(new[i] for i in drawn(candidates.random, speeds, explored).tolist())])

    def _pace(self) -> None:
        """End a round: what it gained, and whether T is to be relaxed."""
        if not self._round:
            return
        self._gained.append(self._sum)
        self._sum, window = 0.0, self.options.window
        if len(self._gained) % window == 0 and len(self._gained) >= 2 * window:
            before, now = math.fsum(self._gained[-2 * window : -window]), math.fsum(self._gained[-window:])
            if before > now:
                self.preferred = min(1.0, self.preferred + self.options.pacer)

    def _exploited(self, names: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
        """So many of ``names``, who were heard, by their utility."""
        if not names or not count:
            return []
        options = self.options
        statistical, last, duration = np.array([self._known[name] for name in names], dtype=np.float64).T
        every = np.array(list(self._known.values()), dtype=np.float64)
        statistical = np.minimum(statistical, np.quantile(every[:, 0], options.clip))
        preferred = float(np.quantile(every[:, 2], self.preferred))
        found = utility(statistical, last, duration, round=self._round, preferred=preferred, penalty=options.penalty)
        admitted = np.flatnonzero(found >= options.cutoff * np.sort(found)[-min(count, len(found))])
        return [names[i] for i in admitted[drawn(random, found[admitted], count)].tolist()]
