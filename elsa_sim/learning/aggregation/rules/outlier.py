"""Leave out who is far from the others, and average the rest.

A member is left out if its Euclidean distance from the coordinate-wise median is more than ``factor`` times the median of
these distances; both medians are weighted. Our own, in the spirit of median-based filters: members with less than half of
the weight together, far enough away, change nothing, and where nobody is far it is the mean. Does not capture: attackers
that stay within the spread of the others. FLOPs: m n (ceil(log2 m) + 2) for the median, 3 m n for distances, 2 m n for the
mean.
Tested in tests/learning/aggregation/test_laws.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ....base.lazy import lazy
from ....base.units import MOST_FACTOR
from ..base import Adapters, Aggregation
from ..mean import distance, weighted_mean
from .median import Median, sorting_flops, weighted_median

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

#: Part of a distance that counts as rounding.
_ROUNDING = 1e-9


class Outlier(Aggregation):
    """The mean of all who are not much farther from the coordinate-wise median than most."""

    kind: Literal["outlier"] = "outlier"
    factor: float = Field(2.0, ge=1.0, le=MOST_FACTOR)
    """Median distances from the median beyond which a member is left out."""

    @property
    def least(self) -> int:
        return 3

    def combine(self, contributions: Sequence[Adapters], weights: Sequence[float], base: Adapters) -> Adapters:
        centre = Median().combine(contributions, weights, {})
        apart = [distance(centre, each) for each in contributions]
        double = [torch.tensor(each, dtype=torch.float64) for each in (apart, weights)]
        limit = self.factor * float(weighted_median(*double)) * (1 + _ROUNDING)
        near = [i for i, each in enumerate(apart) if each <= limit] or range(len(apart))  # none: no number is finite
        return weighted_mean([contributions[i] for i in near], [weights[i] for i in near])

    def flops(self, members: int, elements: int) -> float:
        return sorting_flops(members, elements) + 5.0 * members * elements
