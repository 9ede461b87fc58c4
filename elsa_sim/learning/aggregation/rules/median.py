"""The coordinate-wise median (Yin et al., arXiv:1803.01498, option I), with weights.

For each number, the value at which half of the weight lies on either side; where a value and the next one both do, their
midpoint, so that equal weights give the median as usual. Members with less than half of the weight together cannot move it
beyond what the others sent. FLOPs: m n (ceil(log2 m) + 2), a sort, and a running sum with its comparison. The paper's: the
median without weights. Does not capture: what numbers have to do with each other.
Tested in tests/learning/aggregation/test_laws.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from ..base import Coordinatewise

if TYPE_CHECKING:
    from torch import Tensor

#: Share of the total weight that counts as rounding.
_ROUNDING = 1e-9


class Median(Coordinatewise):
    """The coordinate-wise weighted median (Yin et al., arXiv:1803.01498)."""

    kind: Literal["median"] = "median"

    @property
    def least(self) -> int:
        return 3

    def tensor(self, values: Tensor, weights: Tensor) -> Tensor:
        return weighted_median(values, weights)

    def flops(self, members: int, elements: int) -> float:
        return sorting_flops(members, elements)


def weighted_median(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted median [...] of ``values`` [m, ...] along the first dimension, with ``weights`` [m] (float64)."""
    ordered, index = values.sort(dim=0)
    below, half = weights[index].cumsum(0), weights.sum() / 2
    low = (below >= half * (1 - _ROUNDING)).byte().argmax(0, keepdim=True)
    high = (below > half * (1 + _ROUNDING)).byte().argmax(0, keepdim=True)
    found: Tensor = (ordered.gather(0, low) + ordered.gather(0, high)).squeeze(0) / 2
    return found


def sorting_flops(members: int, elements: int) -> float:
    """Operations of a sort of the members' values of each number, and of two passes over them."""
    return float(members * elements * (math.ceil(math.log2(members)) + 2))
