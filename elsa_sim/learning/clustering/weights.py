"""What clients weigh in an aggregation: data, trust, coherence (ELSA, arXiv:2601.13824).

Edge k: w_n proportional to |D_n| t_n u_n, and 0 for a client in quarantine; t_n is trust by answers, u_n by what it sent
(:mod:`.updates`, 1 in the paper). Cloud: w_k proportional to the data of the clients that took part, times the coherence
of these clients, the mean of exp(-R / median R). Our reading: the mean is over pairs of the
edge server's own clients, and outside the exponential, because divergences spread over orders of magnitude: within it
one client unlike the others would silence its edge server. The median is over all pairs, one client is coherent with
itself, a client in quarantine adds neither data nor divergence, one that has not been scored yet is trusted, and the
threshold of quarantine is relative to the median trust, and to the best score of what was sent, so that it never empties
the system (most clients of one edge server may be liars, so the median of their scores would tell nothing).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..aggregation.base import DeferredWeights
from ..execution.work import Ref
from .divergence import typical
from .fingerprint import Array
from .scores import ClientScores

#: A client's name, its row in the scores (``None``: it has none), and its samples |D_n|.
Entry = tuple[str, int | None, float]


@dataclass(frozen=True, eq=False)
class AggregationWeights:
    """What clients weigh by the latest scores of those of ``names``, if there are any, and by what they sent.

    Trust under ``threshold`` times the median, or a score of what was sent under ``threshold`` times the best, is quarantine.
    """

    names: tuple[str, ...] = ()
    scored: Ref | None = None
    threshold: float = 0.0
    coherent: bool = True

    def edge(
        self, arrived: Sequence[str], samples: Mapping[str, float], standing: Ref | None = None
    ) -> DeferredWeights:
        """What clients weigh at their edge server, by their names and what it knows from what they sent."""
        return self._deferred(ByTrust, self._entries(arrived, samples), [standing] if standing else [])

    def cloud(
        self, members: Sequence[Sequence[str]], samples: Mapping[str, float], standings: Sequence[Ref] = ()
    ) -> DeferredWeights:
        """What edge servers weigh at the cloud, each by the names of the clients that took part."""
        entries = tuple(self._entries(names, samples) for names in members)
        return self._deferred(partial(ByData, coherent=self.coherent), entries, standings)

    def _deferred(self, kind: Callable[..., Weighed], who: Any, standings: Sequence[Ref]) -> DeferredWeights:
        scored = () if self.scored is None else (self.scored,)
        return DeferredWeights((*scored, *standings), kind(self.threshold, bool(scored), who))

    def _entries(self, names: Sequence[str], samples: Mapping[str, float]) -> tuple[Entry, ...]:
        place = {name: row for row, name in enumerate(self.names)}
        return tuple((name, place.get(name), samples[name]) for name in names)


@dataclass(frozen=True)
class Weighed(ABC):
    """Scores, if ``scored``, and standings -> the weight of each contribution; 0 is not looked at by any aggregation rule."""

    threshold: float
    scored: bool

    def __call__(self, *known: Any) -> list[float]:
        scores, standings = (known[0], known[1:]) if self.scored else (None, known)
        return self.weights(scores, {name: record.score for each in standings for name, record in each.items()})

    @abstractmethod
    def weights(self, scores: ClientScores | None, sent: Mapping[str, float]) -> list[float]:
        """The weight of each contribution."""

    def counts(self, scores: ClientScores | None, sent: Mapping[str, float], name: str, row: int | None) -> float:
        """Trust in a client by what it answered and ``sent``; 0 in quarantine."""
        found, best = sent.get(name, 1.0), max(sent.values(), default=1.0)
        return 0.0 if found < self.threshold * best else found * self.trust(scores, row)

    def trust(self, scores: ClientScores | None, row: int | None) -> float:
        """Trust in a client by what it answered; 0 in quarantine."""
        if scores is None or row is None:
            return 1.0
        found = float(scores.trust[row])
        return 0.0 if found < self.threshold * float(np.median(scores.trust)) else found


@dataclass(frozen=True)
class ByTrust(Weighed):
    """Contributions of ``clients``: w_n = |D_n| t_n u_n."""

    clients: tuple[Entry, ...]

    def weights(self, scores: ClientScores | None, sent: Mapping[str, float]) -> list[float]:
        return [samples * self.counts(scores, sent, name, row) for name, row, samples in self.clients]


@dataclass(frozen=True)
class ByData(Weighed):
    """Contributions of edge servers, each with its ``members``: w_k = data, times coherence if ``coherent``."""

    members: tuple[tuple[Entry, ...], ...]
    coherent: bool

    def weights(self, scores: ClientScores | None, sent: Mapping[str, float]) -> list[float]:
        found = []
        for entries in self.members:
            counted = [(row, samples) for name, row, samples in entries if self.counts(scores, sent, name, row) > 0]
            data = sum(samples for _, samples in counted)
            known = [row for row, _ in counted if row is not None]
            alike = coherence(scores.divergences, known) if self.coherent and scores is not None else 1.0
            found.append(data * alike)
        return found


def coherence(divergences: Array, members: Sequence[int]) -> float:
    """The mean of exp(-R / median R), in (0, 1], over pairs of some clients, from R [N, N] of all."""
    if len(members) < 2:
        return 1.0
    own = divergences[np.ix_(members, members)]
    return float(np.exp(-own[np.triu_indices(len(members), 1)] / typical(divergences)).mean())
