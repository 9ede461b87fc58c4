"""What clients weigh in an aggregation: data, trust, coherence (ELSA, arXiv:2601.13824).

Edge k: w_n proportional to |D_n| t_n, and 0 for a client in quarantine. Cloud: w_k proportional to the data of the clients that
took part, times the coherence of these clients, the mean of exp(-R / median R). Our reading: the mean is over pairs of the
edge server's own clients, and outside the exponential, because divergences spread over orders of magnitude: within it
one client unlike the others would silence its edge server. The median is over all pairs, one client is coherent with
itself, a client in quarantine adds neither data nor divergence, one that has not been scored yet is trusted, and the
threshold of quarantine is relative to the median trust, so that it never empties the system.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..aggregation.base import DeferredWeights
from ..execution.work import Ref
from .divergence import typical
from .fingerprint import Array
from .scores import ClientScores

#: A client's row in the scores (``None``: it has none), and its samples |D_n|.
Entry = tuple[int | None, float]


@dataclass(frozen=True, eq=False)
class AggregationWeights:
    """The latest scores of the clients of ``names``; trust under ``threshold`` times the median is quarantine."""

    names: tuple[str, ...]
    scored: Ref
    threshold: float = 0.0
    coherent: bool = True

    def edge(self, arrived: Sequence[str], samples: Mapping[str, float]) -> DeferredWeights:
        """What clients weigh at their edge server, by their names."""
        return DeferredWeights(self.scored, ByTrust(self.threshold, self._entries(arrived, samples)))

    def cloud(self, members: Sequence[Sequence[str]], samples: Mapping[str, float]) -> DeferredWeights:
        """What edge servers weigh at the cloud, each by the names of the clients that took part."""
        entries = tuple(self._entries(names, samples) for names in members)
        return DeferredWeights(self.scored, ByData(self.threshold, entries, self.coherent))

    def _entries(self, names: Sequence[str], samples: Mapping[str, float]) -> tuple[Entry, ...]:
        place = {name: row for row, name in enumerate(self.names)}
        return tuple((place.get(name), samples[name]) for name in names)


@dataclass(frozen=True)
class Weighed(ABC):
    """Scores -> the weight of each contribution; 0 is not looked at by any aggregation rule, whatever is in it."""

    threshold: float

    def __call__(self, scores: ClientScores) -> list[float]:
        return self.weights(scores)

    @abstractmethod
    def weights(self, scores: ClientScores) -> list[float]:
        """The weight of each contribution."""

    def trust(self, scores: ClientScores, row: int | None) -> float:
        """Trust in a client; 0 in quarantine."""
        if row is None:
            return 1.0
        found = float(scores.trust[row])
        return 0.0 if found < self.threshold * float(np.median(scores.trust)) else found


@dataclass(frozen=True)
class ByTrust(Weighed):
    """Contributions of ``clients``: w_n = |D_n| t_n."""

    clients: tuple[Entry, ...]

    def weights(self, scores: ClientScores) -> list[float]:
        return [samples * self.trust(scores, row) for row, samples in self.clients]


@dataclass(frozen=True)
class ByData(Weighed):
    """Contributions of edge servers, each with its ``members``: w_k = data, times coherence if ``coherent``."""

    members: tuple[tuple[Entry, ...], ...]
    coherent: bool

    def weights(self, scores: ClientScores) -> list[float]:
        found = []
        for entries in self.members:
            counted = [(row, samples) for row, samples in entries if self.trust(scores, row) > 0]
            data = sum(samples for _, samples in counted)
            known = [row for row, _ in counted if row is not None]
            found.append(data * (coherence(scores.divergences, known) if self.coherent else 1.0))
        return found


def coherence(divergences: Array, members: Sequence[int]) -> float:
    """The mean of exp(-R / median R), in (0, 1], over pairs of some clients, from R [N, N] of all."""
    if len(members) < 2:
        return 1.0
    own = divergences[np.ix_(members, members)]
    return float(np.exp(-own[np.triu_indices(len(members), 1)] / typical(divergences)).mean())
