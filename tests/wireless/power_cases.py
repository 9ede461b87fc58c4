"""Random problems of power control."""

from __future__ import annotations

from typing import Any

import numpy as np

from elsa_sim.wireless import Demand, Greedy


def cell(seed: int, clients: int = 5, subchannels: int = 20, **more: Any) -> Demand:
    """Near and far clients with fading, unequal needs (bits), limits (W) and starts (s)."""
    random = np.random.default_rng(seed)
    gain = 10.0 ** -random.uniform(9, 12.5, (clients, 1)) * random.standard_exponential((clients, subchannels))
    known: dict[str, Any] = {
        "need": random.uniform(1e6, 1e8, clients),
        "power": random.uniform(0.05, 0.2, clients),
        "before": random.uniform(0, 3, clients),
        "total": (None, 0.4, 0.05)[seed % 3],
        "cap": (None, 5.0)[seed % 2],
    }
    return Demand(gain, bandwidth=1e6, noise=2e-20, **known | more)


def served(demand: Demand) -> Any:
    return Greedy().allocate(demand, np.random.default_rng(0))
