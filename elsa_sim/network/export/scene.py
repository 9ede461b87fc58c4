"""What is exported: a topology, the messages on it, and what carries them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...base.errors import Fault
from ...topology import Topology
from ...transports import Transport
from .. import case as cases
from ..options import NetworkOptions


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its nodes in order, its bytes on the wire, and when it departs (s)."""

    id: str
    route: tuple[str, ...]
    nbytes: float
    start_s: float


@dataclass(frozen=True)
class Scene:
    """Messages on a topology, the transport that carries them, and whether links share max-min fairly."""

    topology: Topology
    messages: tuple[Message, ...]
    transport: Transport
    max_min: bool = True
    beyond: tuple[Fault, ...] = ()
    """What no format can say: what lies in neither topology nor messages."""

    def payload(self, message: Message) -> float:
        """The payload of a message (bytes): the inverse of :meth:`elsa_sim.transports.Transport.wire_bytes`."""
        segment, framing = self.transport.segment, self.transport.framing
        packets = max(1, math.ceil(message.nbytes / (segment + framing)))
        return max(0.0, message.nbytes - math.ceil(framing * packets))


def of_case(case: Mapping[str, Any], options: NetworkOptions | None = None) -> Scene:
    """The scene of a network case, as :func:`elsa_sim.network.case.play` would play it.

    Raises:
        InputFaults: all faults of the case at once.
    """
    parsed, topology, options = cases.understood(case, options)
    messages = tuple(
        Message(flow.id, tuple(flow.route or topology.route(flow.src, flow.dst)), parsed.wire_bytes(flow), flow.start_s)
        for flow in parsed.flows
    )
    return Scene(topology, messages, options.transport, options.model.max_min, interruptions(options))


def interruptions(options: NetworkOptions) -> tuple[Fault, ...]:
    """Outages and failures, of which no other simulator is told."""
    stated = {"network.outages": options.outages, "network.failures": options.failures}
    return tuple(Fault(key, f"{key.partition('.')[2]} are not exported") for key, given in stated.items() if given)
