"""Norm clipping: nobody's change counts for more than that of the median member.

theta = base + sum_n w_n min(1, c / |Delta_n|) Delta_n / sum_n w_n, with Delta_n = theta_n - base, base the adapters that
training started from, and c = ``factor`` times the weighted median of the norms |Delta_n|. Sun et al. (arXiv:1911.07963)
clip to a fixed norm; the median, which needs no tuning, is our reading. What is not finite counts for nothing. Members with
less than half of the weight together cannot move the result farther than ``factor`` times the longest change of the others.
FLOPs: 6 m n, differences, their norms, scaling and sums.
Tested in tests/learning/aggregation/test_laws.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ....base.lazy import lazy
from ....base.units import MOST_FACTOR
from ..base import Adapters, Aggregation
from ..mean import distance
from .median import weighted_median

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")


class NormClipping(Aggregation):
    """The mean of changes that are clipped to the members' median norm (after Sun et al., arXiv:1911.07963)."""

    needs_base: ClassVar[bool] = True
    kind: Literal["norm_clipping"] = "norm_clipping"
    factor: float = Field(1.0, gt=0.0, le=MOST_FACTOR)
    """Median norms that a change may have."""

    @property
    def least(self) -> int:
        return 2

    def combine(self, contributions: Sequence[Adapters], weights: Sequence[float], base: Adapters) -> Adapters:
        norms = [distance(base, each) for each in contributions]
        counted = [i for i, norm in enumerate(norms) if math.isfinite(norm)]
        if not counted:
            return base
        finite = [torch.tensor([each[i] for i in counted], dtype=torch.float64) for each in (norms, weights)]
        limit, total = self.factor * float(weighted_median(*finite)), sum(weights[i] for i in counted)
        after = dict(base)
        for i in counted:
            share = weights[i] / total * (min(1.0, limit / norms[i]) if norms[i] > 0.0 else 1.0)
            for name, tensor in contributions[i].items():
                after[name] = after[name].add(tensor - base[name], alpha=share)
        return after

    def flops(self, members: int, elements: int) -> float:
        return 6.0 * members * elements
