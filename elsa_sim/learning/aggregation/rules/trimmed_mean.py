"""The coordinate-wise trimmed mean (Yin et al., arXiv:1803.01498, option II), with weights.

For each number, the ``trim`` smallest and the ``trim`` largest values are left out, whatever they weigh; the rest are
averaged with their weights. So ``trim`` members cannot move it beyond what the others sent. Of fewer than 2 trim + 1 values
(clients that were lost, a layer that few have) as many are left out at each end as leave one or two. The paper's: the share
beta = trim / m, without weights. Of equal values the lighter ones count as the smaller. FLOPs: m n (ceil(log2 m) + 2).
Tested in tests/learning/aggregation/test_laws.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ....base.units import MOST_COUNT
from ..base import Coordinatewise
from .median import sorting_flops

if TYPE_CHECKING:
    from torch import Tensor


class TrimmedMean(Coordinatewise):
    """The mean without the smallest and largest values of each number (Yin et al., arXiv:1803.01498)."""

    kind: Literal["trimmed_mean"] = "trimmed_mean"
    trim: int = Field(1, ge=1, le=MOST_COUNT)
    """Values that are left out at each end."""

    @property
    def least(self) -> int:
        return 2 * self.trim + 1

    def tensor(self, values: Tensor, weights: Tensor) -> Tensor:
        members = len(weights)
        trim = min(self.trim, (members - 1) // 2)
        lighter_first = weights.argsort(stable=True)
        values, weights = values[lighter_first], weights[lighter_first]
        ordered, index = values.sort(dim=0, stable=True)
        left = slice(trim, members - trim)
        mass = weights[index][left]
        found: Tensor = ((ordered[left].double() * mass).sum(0) / mass.sum(0)).to(values.dtype)
        return found

    def flops(self, members: int, elements: int) -> float:
        return sorting_flops(members, elements)
