"""The joint problem of split federated learning over two OFDMA uplinks, and a decision on it: plain numbers.

K clients send activations to a main server at every one of I local steps, and adapters to a fed server at the end
of every round. To be decided: the subchannels and powers of both uplinks, the cut (how much of the model clients hold)
and the LoRA rank (SflLLM, arXiv:2504.14667). What a cut and a rank cost is given here in s and bits, whoever counted it.

Shapes: K clients, M subchannels of the main uplink, N of the federated one. Times in s, sizes in bits.

Tested in tests/joint/test_delay.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..base.errors import InputError
from ..wireless.allocation import Demand
from ..wireless.rate import Floats
from ..wireless.uplink import Allocation

#: A cut (layers on the client) and a LoRA rank.
Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Uplink:
    """The subchannels to one server, and who hears what; one of the two uplinks."""

    gain: Floats
    """Linear power gains, K x M."""
    bandwidth: float
    """Of one subchannel (Hz)."""
    noise: float
    """Noise density (W/Hz), noise figure included."""
    limit: Floats
    """Transmit power of each client on this uplink (W); K."""
    total: float | None = None
    """Transmit power of all clients together on this uplink (W); none: no such bound."""
    cap: float | None = None
    """Highest spectral efficiency (bit/s/Hz)."""
    latency: Floats | None = None
    """Of each client's messages (s); K. By default 0."""

    @property
    def waits(self) -> Floats:
        """``latency``, zeros if it is not given (s); K."""
        return np.zeros(len(self.gain)) if self.latency is None else self.latency

    def demand(self, need: Floats, before: Floats | None = None) -> Demand:
        """What allocators and power controls ask: ``need`` in bits (K), ``before`` in s (K)."""
        return Demand(self.gain, need, self.limit, self.bandwidth, self.noise, self.cap, True, before, self.total)


@dataclass(frozen=True, eq=False)
class Load:
    """What one cut and rank cost: in s for one local step, in bits for one message."""

    forward: Floats
    """A client's forward pass (s); K."""
    activation: Floats
    """What it sends up at each step (bits); K."""
    server_forward: float
    """The main server's forward pass for the batch of all clients (s)."""
    server_backward: float
    """Its backward pass, adapter update included (s)."""
    gradient: Floats
    """From the end of that to the client's having the gradient (s); K."""
    backward: Floats
    """A client's backward pass, adapter update included (s); K."""
    adapters: Floats
    """What a client sends to the fed server at the end of a round (bits); K."""
    aggregate: float
    """Aggregation at the fed server (s)."""
    broadcast: Floats
    """From a round's begin to the client's having the adapters (s); K."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be decided on, and what is given.

    Raises:
        InputError: nothing to choose from, ranks without E(r), or shapes that do not match.
    """

    names: Sequence[str]
    """Of the K clients, for messages."""
    main: Uplink
    fed_server: Uplink
    loads: Mapping[Pair, Load]
    """The (cut, rank) that can be chosen: those that fit everybody's memory."""
    steps: int
    """Local steps of a round, I."""
    rounds: Mapping[int, float]
    """Rounds to the target at each rank, E(r)."""
    barrier: bool = True
    """Whether clients wait for each other after each step, as in the paper's equation, or go on at once."""

    def __post_init__(self) -> None:
        clients = len(self.names)
        if not self.loads:
            raise InputError("there is no cut and rank to choose from; none fits the memory of every client")
        if lacking := sorted({rank for _, rank in self.loads} - set(self.rounds)):
            raise InputError(f"rounds to the target are not known at rank {', '.join(map(str, lacking))}")
        if self.steps < 1:
            raise InputError(f"a round has at least 1 local step, got {self.steps}")
        for what, link in (("main", self.main), ("federated", self.fed_server)):
            if link.gain.ndim != 2 or len(link.gain) != clients or link.limit.shape != (clients,):
                raise InputError(f"the {what} uplink has gains of shape {link.gain.shape} and limits of shape "
                                 f"{link.limit.shape}; there are {clients} clients")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Decision:
    """All that is decided."""

    cut: int
    rank: int
    main: Allocation
    fed_server: Allocation

    @property
    def pair(self) -> Pair:
        """Cut and rank."""
        return self.cut, self.rank
