"""The weighted mean (FedAvg: McMahan et al., arXiv:1602.05629).

FLOPs: 2 m n, a product and a sum for each of n numbers of m members. One member is enough to move it anywhere.
Tested in tests/learning/aggregation/test_laws.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from ..base import Adapters, Aggregation
from ..mean import weighted_mean


class Mean(Aggregation):
    """The weighted mean (FedAvg, arXiv:1602.05629)."""

    linear: ClassVar[bool] = True
    kind: Literal["mean"] = "mean"

    def combine(self, contributions: Sequence[Adapters], weights: Sequence[float], base: Adapters) -> Adapters:
        return weighted_mean(contributions, weights)

    def flops(self, members: int, elements: int) -> float:
        return 2.0 * members * elements
