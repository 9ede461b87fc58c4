"""Who is there: devices that go away take their links down with them, and clients find another edge server."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import simpy

from ..base.intervals import Interval
from ..devices import Device
from ..network import Network
from ..topology import Topology
from .event_log import EventLog

if TYPE_CHECKING:
    from ..wireless import Handover, Radio


class Availability:
    """Plays the downtimes of all devices, and says which edge server serves a client."""

    def __init__(
        self,
        event_log: EventLog,
        topology: Topology,
        network: Network,
        devices: Mapping[str, Device],
        radio: Radio | None,
    ) -> None:
        self.event_log, self.topology, self.network = event_log, topology, network
        self.devices, self.radio = devices, radio
        self._edges = topology.names("edge")
        if radio is not None:
            radio.on_handover(self._handed_over)
        for device in devices.values():
            if device.options.downtimes:
                event_log.env.process(self._away(device))
        for (u, v), outages in network.channels.outages().items():
            event_log.env.process(self._down(u, v, outages))

    def home(self, client: str, edge: str, *, failover: bool, given: bool = False) -> str:
        """The edge server that serves ``client`` now: that of its station, else (or if it is ``given``) its own, ``edge``.

        With ``failover``, if that server is away, the one with the least latency among those that are there and that the
        client can reach over nodes that are there. Where there is none, it stays.
        """
        if not given and self.radio is not None and client in self.radio and self.radio.serving(client) in self._edges:
            edge = self.radio.serving(client)
        if not failover or self._there(edge):
            return edge
        away = {name for name, device in self.devices.items() if not device.available}
        found = [e for e in self._edges if away.isdisjoint(self.topology.route(client, e)[1:])]
        return self.topology.nearest(client, found) if found else edge

    def _there(self, node: str) -> bool:
        return node not in self.devices or self.devices[node].available

    def _away(self, device: Device) -> Generator[simpy.Event, Any, None]:
        """The process of a device's downtimes: its links are down while it is away."""
        env = self.event_log.env
        for start, end in device.downtimes():
            yield env.timeout(max(0.0, start - env.now))
            self.network.disconnect(device.name)
            self._silence(device.name, True)
            entry = self.event_log.begin(kind="fault", node=device.name, detail="away")
            if end == math.inf:
                return
            yield env.timeout(end - env.now)
            self.network.reconnect(device.name)
            self._silence(device.name, False)
            self.event_log.end(entry)

    def _down(self, u: str, v: str, outages: Iterator[Interval]) -> Generator[simpy.Event, Any, None]:
        """The process that writes down when a link is down; the network itself knows."""
        env = self.event_log.env
        for start, end in outages:
            yield env.timeout(max(0.0, start - env.now))
            entry = self.event_log.begin(kind="fault", node=u, peer=v, detail="link down")
            if end == math.inf:
                return
            yield env.timeout(end - env.now)
            self.event_log.end(entry)

    def _silence(self, node: str, silent: bool) -> None:
        if self.radio is not None and node in self.radio.layout.stations:
            self.radio.silence(node, silent)

    def _handed_over(self, handover: Handover) -> None:
        now, where = float(self.event_log.env.now), f"{handover.old} to {handover.new}"
        self.event_log.recorder.add("handover", now, now, handover.client, peer=handover.new, detail=where)
