"""Messages on the network, from their first byte to their row in the event table."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import simpy

from ..base.errors import Lost
from ..devices import Device
from ..network import Delivery, Network
from .event_log import EventLog

if TYPE_CHECKING:
    from ..wireless import Radio


class Carrier:
    """Carries messages over a network, and books their bytes, their energy and how they ended."""

    def __init__(
        self, event_log: EventLog, network: Network, devices: Mapping[str, Device], radio: Radio | None
    ) -> None:
        self.event_log, self.network, self.devices, self.radio = event_log, network, devices, radio

    def carry(
        self, source: str, target: str, payload: int, kind: str, round: int, step: int
    ) -> Generator[simpy.Event, Any, None]:
        """Send ``payload`` bytes and their framing; ends when they have arrived.

        Raises:
            Lost: the network gave the message up.
        """
        event_log = self.event_log
        size = self.network.options.transport.wire_bytes(payload)
        event_log.byte_counters.sent[kind] += size
        entry = event_log.begin(
            kind="transfer", node=source, peer=target, round=round, step=step, bytes=size, detail=kind
        )
        route = None if self.radio is None else self.radio.route(source, target)
        message = self.network.transfer(source, target, size, route)
        try:
            delivery = yield message
        except simpy.Interrupt as interrupt:
            self.network.abort(message, str(interrupt.cause))
            self._delivered(entry, kind, size, message.value)
            raise
        self._delivered(entry, kind, size, delivery)
        if delivery.status != "ok":
            what = f"the message {kind} from {source} to {target} was given up at {float(event_log.env.now):g} s"
            raise Lost(f"{what} ({delivery.reason})")

    def _delivered(self, entry: int, kind: str, size: int, delivery: Delivery) -> None:
        ok = delivery.status == "ok"
        byte_counters, devices = self.event_log.byte_counters, self.devices
        (byte_counters.received if ok else byte_counters.aborted)[kind] += size
        sent = devices[delivery.src].options.power.transmit * delivery.sending_s  # while bits flow, in J
        received = devices[delivery.dst].options.power.receive * delivery.receiving_s
        self.event_log.end(
            entry,
            status=delivery.status,
            route=">".join(delivery.route),
            wasted_bytes=round(delivery.wasted_bytes),
            attempts=delivery.attempts,
            metrics=None if ok else {"reason": delivery.reason},
            energy_j=sent + received,
            peer_energy_j=received,
        )
