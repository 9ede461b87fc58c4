"""Adaptive optimizers of a server, as pure functions: adapters, the clients' mean and the state in, the next ones out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...base.lazy import lazy
from ..training.reference import Adapters

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

#: Operations per parameter: difference, two moments, root, quotient, step, and a maximum.
FLOPS_PER_PARAMETER = 12


@dataclass(frozen=True)
class Adaptive:
    """Adam of a server on the pseudo-gradient Delta_t = mean - theta_t.

    m_t = beta1 m_{t-1} + (1 - beta1) Delta_t and v_t = beta2 v_{t-1} + (1 - beta2) Delta_t^2, with m_{-1} = 0 and
    v_{-1} = tau^2, without bias correction.

    FedAdam (Reddi et al., arXiv:2003.00295, algorithm 2): theta_{t+1} = theta_t + lr m_t / (sqrt(v_t) + tau).
    FedAMS, with ``maximum`` (Wang et al., arXiv:2205.02719, option 1): v^_t = max(v^_{t-1}, v_t, tau^2) and
    theta_{t+1} = theta_t + lr m_t / sqrt(v^_t).
    """

    lr: float
    beta1: float
    beta2: float
    tau: float
    maximum: bool = False

    def step(self, theta: Adapters, mean: Adapters, state: ServerState | None) -> tuple[dict[str, Tensor], ServerState]:
        """The next adapters and state; a tensor that ``mean`` lacks stays, and so does its state."""
        first, second, largest = (
            (dict(each) for each in (state.first, state.second, state.largest)) if state else ({}, {}, {})
        )
        after = dict(theta)
        for name, value in mean.items():
            delta = value - theta[name]
            floor = torch.full_like(delta, self.tau**2)
            first[name] = self.beta1 * first.get(name, torch.zeros_like(delta)) + (1 - self.beta1) * delta
            second[name] = self.beta2 * second.get(name, floor) + (1 - self.beta2) * delta**2
            if self.maximum:
                largest[name] = torch.maximum(torch.maximum(largest.get(name, floor), second[name]), floor)
                scale = largest[name].sqrt()
            else:
                scale = second[name].sqrt() + self.tau
            after[name] = theta[name] + self.lr * first[name] / scale
        return after, ServerState(first, second, largest)


@dataclass(frozen=True)
class ServerState:
    """First and second moments of a server, and with ``maximum`` the largest second moments."""

    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]
    largest: Mapping[str, Tensor]
