"""Messages on the network, from their first byte to their row in the event table."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import simpy

from ..base.errors import Lost
from ..devices import Device
from ..network import Delivery, Network
from .event_log import Books

if TYPE_CHECKING:
    from ..wireless import Radio


class Transport:
    """Carries messages over a network, and books their bytes, their energy and how they ended."""

    def __init__(self, books: Books, network: Network, devices: Mapping[str, Device], radio: Radio | None) -> None:
        self.books, self.network, self.devices, self.radio = books, network, devices, radio

    def carry(
        self, source: str, target: str, payload: int, kind: str, round: int, step: int
    ) -> Generator[simpy.Event, Any, None]:
        """Send ``payload`` bytes and the network's header; ends when they have arrived.

        Raises:
            Lost: the network gave the message up.
        """
        books = self.books
        size = payload + int(self.network.options.header)
        books.ledger.sent[kind] += size
        ticket = books.open(kind="transfer", node=source, peer=target, round=round, step=step, bytes=size, detail=kind)
        route = None if self.radio is None else self.radio.route(source, target)
        message = self.network.transfer(source, target, size, route)
        try:
            delivery = yield message
        except simpy.Interrupt as interrupt:
            self.network.abort(message, str(interrupt.cause))
            self._delivered(ticket, kind, size, message.value)
            raise
        self._delivered(ticket, kind, size, delivery)
        if delivery.status != "ok":
            what = f"the message {kind} from {source} to {target} was given up at {float(books.env.now):g} s"
            raise Lost(f"{what} ({delivery.reason})")

    def _delivered(self, ticket: int, kind: str, size: int, delivery: Delivery) -> None:
        ledger = self.books.ledger
        (ledger.received if delivery.status == "ok" else ledger.aborted)[kind] += size
        spent, received = self._energy(delivery)
        facts: dict[str, Any] = {"status": delivery.status, "route": ">".join(delivery.route)}
        facts |= {"wasted_bytes": round(delivery.wasted_bytes), "attempts": delivery.attempts}
        if delivery.status != "ok":
            facts["metrics"] = {"reason": delivery.reason}
        self.books.close(ticket, energy_j=spent + received, peer_energy_j=received, **facts)

    def _energy(self, delivery: Delivery) -> tuple[float, float]:
        """Energy of sender and receiver while bits of the message flow, in J."""
        sender, receiver = (self.devices[name].options.power for name in (delivery.src, delivery.dst))
        return sender.transmit * delivery.sending_s, receiver.receive * delivery.receiving_s
