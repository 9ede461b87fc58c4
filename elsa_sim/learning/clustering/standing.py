"""What clients' standing counts in an aggregation: data, trust, coherence (ELSA, arXiv:2601.13824).

Edge k: w_n proportional to |D_n| t_n, and 0 for a client in quarantine. Cloud: w_k proportional to the data of the clients that
took part, times the coherence exp(-mean R / median R) of these clients. Our reading: the mean is over pairs of the edge
server's own clients, the median over all pairs, one client is coherent with itself, a client in quarantine adds neither data
nor divergence, one that has not been judged yet is trusted, and the threshold of quarantine is relative to the median
trust, so that it never empties the system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..aggregate import weighted_mean
from ..work import Ref, Work
from .divergence import typical
from .fingerprint import Array
from .judgement import Judgement

if TYPE_CHECKING:
    from torch import Tensor

    from ..model import Model


@dataclass(frozen=True, eq=False)
class Standing:
    """The latest judgement, on the clients of ``names``; trust under ``threshold`` times the median is quarantine."""

    names: tuple[str, ...]
    judged: Ref
    threshold: float = 0.0
    coherent: bool = True

    def edge(self, model: Model, kept: Ref, arrived: Mapping[str, Ref], samples: Mapping[str, float]) -> Work:
        """An edge server's aggregation of clients' adapters, by their names; see :func:`weighed`."""
        names = list(arrived)

        def weigh(judgement: Judgement) -> Sequence[float]:
            return [samples[name] * self._counted(judgement, name) for name in names]

        return weighed(model, kept, list(arrived.values()), self.judged, weigh)

    def cloud(
        self, model: Model, kept: Ref, shares: Sequence[tuple[Ref, Iterable[str]]], samples: Mapping[str, float]
    ) -> Work:
        """The cloud's aggregation of edge servers' adapters, each with the clients that took part; see :func:`weighed`."""
        members = [tuple(names) for _, names in shares]

        def weigh(judgement: Judgement) -> Sequence[float]:
            return [self._share(judgement, names, samples) for names in members]

        return weighed(model, kept, [adapters for adapters, _ in shares], self.judged, weigh)

    def _share(self, judgement: Judgement, names: Sequence[str], samples: Mapping[str, float]) -> float:
        counted = [name for name in names if self._counted(judgement, name) > 0]
        data = sum(samples[name] for name in counted)
        known = [self.names.index(name) for name in counted if name in self.names]
        return data * (coherence(judgement.divergences, known) if self.coherent else 1.0)

    def _counted(self, judgement: Judgement, name: str) -> float:
        trust = float(judgement.trust[self.names.index(name)]) if name in self.names else 1.0
        return 0.0 if trust < self.threshold * float(np.median(judgement.trust)) else trust


def coherence(divergences: Array, members: Sequence[int]) -> float:
    """exp(-mean divergence / median divergence) in (0, 1] of some clients, from R [N, N] of all."""
    if len(members) < 2:
        return 1.0
    own = divergences[np.ix_(members, members)]
    return float(np.exp(-own[np.triu_indices(len(members), 1)].mean() / typical(divergences)))


def weighed(
    model: Model, kept: Ref, adapters: Sequence[Ref], judged: Ref, weigh: Callable[[Judgement], Sequence[float]]
) -> Work:
    """The mean of ``adapters`` with weights that follow from the judgement; ``kept`` where all of them are 0.

    Output: the merged adapters. What weighs nothing is not looked at, whatever is in it.
    """
    plain = model.mean(adapters, [1.0] * len(adapters))

    def function(
        judgement: Judgement, before: Mapping[str, Tensor], *values: Mapping[str, Tensor]
    ) -> tuple[Mapping[str, Tensor]]:
        pairs = [(value, float(w)) for value, w in zip(values, weigh(judgement), strict=True) if w > 0]
        return (weighted_mean([value for value, _ in pairs], [w for _, w in pairs]) if pairs else before,)

    return Work(plain.label, function, (judged, kept, *adapters), plain.outputs, plain.flops)
