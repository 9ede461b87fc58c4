"""The weighted mean of adapters (FedAvg: McMahan et al., arXiv:1602.05629), and how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def weighted_mean(adapters: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """theta = sum_n w_n theta_n / sum_n w_n, tensor by tensor, over the contributions that have the tensor.

    Contributions may hold different layers (different cuts): each layer is averaged wherever a copy of it comes from.

    Raises:
        ValueError: no contribution, a negative weight, or a tensor whose weights add up to zero.
    """
    if not adapters or len(adapters) != len(weights) or min(weights) < 0:
        raise ValueError("aggregation needs at least one contribution and one non-negative weight for each")
    total: dict[str, Tensor] = {}
    mass: dict[str, float] = {}
    for contribution, weight in zip(adapters, weights, strict=True):
        for name, tensor in contribution.items():
            total[name] = total[name].add(tensor, alpha=weight) if name in total else tensor * weight
            mass[name] = mass.get(name, 0.0) + weight
    empty = [name for name, weight in mass.items() if weight == 0]
    if empty:
        raise ValueError(f"the weights of {empty[0]} add up to zero")
    return {name: tensor / mass[name] for name, tensor in total.items()}


def distance(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """||after - before||, the Euclidean norm over all tensors together; both have the same names."""
    return math.sqrt(sum(float((after[name].double() - t.double()).square().sum()) for name, t in before.items()))
