"""Random problems for link models, and every shipped model beside one that a plugin would bring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from elsa_sim.links import Flows, LinkModel, Rates

Problem = tuple[Flows, Rates]

MODELS: dict[str, LinkModel] = {kind: LinkModel.members[kind]() for kind in sorted(LinkModel.members)}  # type: ignore[misc]

#: All to be held to the laws.
EVERY = list(MODELS.values())


def flows(*routes: tuple[int, ...], latencies: Sequence[float] | None = None) -> Flows:
    """Flows over these channels, without latency unless stated (s)."""
    return Flows(routes, np.zeros(len(routes)) if latencies is None else np.array(latencies, dtype=np.float64))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Flows over up to 6 channels, and the capacities of these; a capacity may be 0 (an outage)."""
    n = draw(st.integers(1, 6))
    capacity = st.one_of(st.just(0.0), st.floats(1.0, 1e9), st.sampled_from([1e6, 2e6]))
    routes = draw(st.lists(st.lists(st.integers(0, n - 1), max_size=4, unique=True).map(tuple), max_size=8))
    latency = st.sampled_from([0.0, 0.001, 0.02, 0.3])
    latencies = draw(st.lists(latency, min_size=len(routes), max_size=len(routes)))
    return flows(*routes, latencies=latencies), np.array(draw(st.lists(capacity, min_size=n, max_size=n)))


def load(found: Flows, rates: Rates, channels: int) -> Rates:
    """The sum of the rates over every channel."""
    total = np.zeros(channels)
    for route, rate in zip(found.routes, rates, strict=True):
        for channel in route:
            total[channel] += rate
    return total
