"""Krum and multi-Krum (Blanchard et al., NIPS 2017, "Machine Learning with Adversaries").

Of m members, f of which may be Byzantine, each is scored by the sum of its squared distances to its m - f - 2 nearest ones;
Krum takes the member of the least score, multi-Krum the mean of the ``keep`` best, here with their weights. The paper asks
for m >= 2 f + 3. Of fewer (clients that were lost, a layer that few have) each is scored by its nearest one. Members
with the same score are kept together, so that their order does not matter. Weights have no say in who is kept. FLOPs:
3 n m (m - 1) / 2 for the distances, 2 n for each that is kept.
Tested in tests/learning/aggregation/test_laws.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ....base.lazy import lazy
from ....base.units import MOST_COUNT
from ..base import Adapters, Aggregation
from ..mean import weighted_mean

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


class Krum(Aggregation):
    """The member nearest to its neighbours, or the mean of the best few (Krum, Blanchard et al. 2017)."""

    kind: Literal["krum"] = "krum"
    byzantine: int = Field(1, ge=0, le=MOST_COUNT)
    """Members f that may be Byzantine."""
    keep: int = Field(1, ge=1, le=MOST_COUNT)
    """Members that are averaged; more than 1 is multi-Krum."""

    @property
    def least(self) -> int:
        return max(2 * self.byzantine + 3, self.keep + self.byzantine)

    def combine(self, contributions: Sequence[Adapters], weights: Sequence[float], base: Adapters) -> Adapters:
        scores = self.scores(
            torch.stack([torch.cat([t.double().flatten() for t in c.values()]) for c in contributions])
        )
        last = scores.sort().values[min(self.keep, len(scores)) - 1]
        kept = [i for i, score in enumerate(scores) if score <= last]
        return weighted_mean([contributions[i] for i in kept], [weights[i] for i in kept])

    def scores(self, rows: Tensor) -> Tensor:
        """The scores [m] of members [m, n]; what is not finite is infinitely far from all."""
        members = len(rows)
        squares = torch.stack([(rows - row).square().sum(1) for row in rows])
        squares = torch.nan_to_num(squares, nan=torch.inf, posinf=torch.inf).fill_diagonal_(torch.inf)
        nearest = max(1, members - self.byzantine - 2)
        return squares.sort(dim=1).values[:, :nearest].sum(1)

    def flops(self, members: int, elements: int) -> float:
        return 1.5 * elements * members * (members - 1) + 2.0 * elements * min(self.keep, members)
