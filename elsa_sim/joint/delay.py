"""The delay of a decision, in closed form: SflLLM's equation, and that of a system whose clients do not wait.

With a barrier after each local step (arXiv:2504.14667; the broadcast and the aggregation are ours):

    T_round = max_k T_k^bc + I * [ max_k (T_k^F + T_k^up) + T_s^F + T_s^B + max_k (T_k^down + T_k^B) ] + max_k T_k^fed + T^agg

Without one, a client goes on with its next step as soon as it is done with its last, and the main server begins when it
has the activations of all:

    T_round = max_k (T_k^bc + T_k^F + T_k^up) + T_s + (I - 1) * [ max_k (T_k^down + T_k^B + T_k^F + T_k^up) + T_s ]
              + max_k (T_k^down + T_k^B + T_k^fed) + T^agg,    T_s = T_s^F + T_s^B

In both, T_k^up is latency + activation bits / rate, T_k^fed latency + adapter bits / rate, and T = E(r) * T_round.
Does not capture rates that change within a round, stragglers by chance, or anything else that the simulation draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..wireless.power import rates
from ..wireless.rate import Floats
from ..wireless.uplink import Allocation
from .problem import Decision, Load, Problem, Uplink

#: What a round is made of, in the order of time.
PARTS = (
    "broadcast",
    "forward",
    "up",
    "server_forward",
    "server_backward",
    "gradient",
    "backward",
    "adapters",
    "aggregate",
)


@dataclass(frozen=True, eq=False)
class Breakdown:
    """Where the time goes, in s. Arrays are per client (K), of one local step or of one round's end."""

    broadcast: Floats
    """From a round's begin to having the adapters; K."""
    forward: Floats
    """Forward pass; K."""
    up: Floats
    """Activations to the main server; infinite where the rate is 0; K."""
    server_forward: float
    """Of the main server, per step."""
    server_backward: float
    """Of the main server, per step."""
    gradient: Floats
    """Gradient to the client; K."""
    backward: Floats
    """Backward pass; K."""
    adapters: Floats
    """Adapters to the fed server; K."""
    aggregate: float
    """Of the fed server, per round."""
    steps: int
    """Local steps of a round, I."""
    rounds: float
    """Rounds to the target at this rank, E(r)."""
    barrier: bool
    """Whether clients wait for each other after each step."""

    @property
    def round_s(self) -> float:
        """One round (s)."""
        return sum(self.critical.values())

    @property
    def total_s(self) -> float:
        """T: all rounds (s)."""
        return self.rounds * self.round_s

    @property
    def maxima(self) -> dict[str, float]:
        """The longest of each part over the clients (s), of one step; they do not add up to a round."""
        return {part: float(np.max(getattr(self, part))) for part in PARTS}

    @property
    def critical(self) -> Mapping[str, float]:
        """What each part adds to a round (s): of the client that is the latest in each of the maxima. Adds up to a round."""
        server = {
            "server_forward": self.steps * self.server_forward,
            "server_backward": self.steps * self.server_backward,
        }
        found = dict.fromkeys(PARTS, 0.0) | server | {"aggregate": self.aggregate}
        for count, parts in self._maxima():
            latest = int(np.argmax(np.sum([getattr(self, part) for part in parts], axis=0)))
            for part in parts:
                found[part] += count * float(getattr(self, part)[latest])
        return found

    def _maxima(self) -> list[tuple[int, tuple[str, ...]]]:
        """How often which parts of a client follow each other before all wait for the latest."""
        if self.barrier:
            return [(1, ("broadcast",)), (self.steps, ("forward", "up")), (self.steps, ("gradient", "backward")),
                    (1, ("adapters",))]  # fmt: skip
        return [(1, ("broadcast", "forward", "up")), (self.steps - 1, ("gradient", "backward", "forward", "up")),
                (1, ("gradient", "backward", "adapters"))]  # fmt: skip


def delay(problem: Problem, decision: Decision) -> Breakdown:
    """The delay of a decision and where it comes from, in s; infinite where somebody has no rate."""
    load = problem.loads[decision.pair]
    return breakdown(problem, load, decision.rank, sending(problem.main, load.activation, decision.main),
                     sending(problem.fed_server, load.adapters, decision.fed_server))  # fmt: skip


def breakdown(problem: Problem, load: Load, rank: int, up: Floats, adapters: Floats) -> Breakdown:
    """The delay where activations take ``up`` (s, K) and adapters ``adapters`` (s, K)."""
    return Breakdown(load.broadcast, load.forward, up, load.server_forward, load.server_backward, load.gradient,
                     load.backward, adapters, load.aggregate, problem.steps, problem.rounds[rank], problem.barrier)  # fmt: skip


def sending(link: Uplink, bits: Floats, allocation: Allocation) -> Floats:
    """How long each client's message takes (s); K."""
    rate = rates(link.demand(bits), allocation.owners, allocation.power)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(link.waits + np.where(bits > 0.0, bits / rate, 0.0))
