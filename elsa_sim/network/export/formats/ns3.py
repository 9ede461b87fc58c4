"""ns-3: one Python script over its own bindings.

Tested in tests/network/export/test_ns3.py.
"""

from __future__ import annotations

import math
import pprint
import re
from importlib import resources
from typing import ClassVar

from ....base.errors import Fault
from ....topology import Link
from ....transports import Tcp
from ..scene import Scene
from .base import Format

SCRIPT = "ns3_script.txt"
#: Bytes of one message, and of one queue, that the script can count.
MOST = 2**31 - 1


class Ns3(Format):
    """Packets over point-to-point links with drop-tail queues, and TCP (cubic by default) with the transport's options.

    Does not say: how links share (packets do), what delayed acknowledgements and HyStart change, unless the script is asked
    (``--delayed-acks 2``, ``--hystart``). Headers differ by the link layer's, for which rates and queues are scaled.
    """

    name: ClassVar[str] = "ns3"
    simulator: ClassVar[str] = "ns-3"

    def faults(self, scene: Scene) -> list[Fault]:
        """Those of all formats, transports that are no TCP, and messages without a byte."""
        faults = super().faults(scene)
        if not isinstance(scene.transport, Tcp):
            told = f"sends over TCP, not over transport {getattr(scene.transport, 'kind', '')!r}; use --transport tcp"
            faults.append(self._fault("transport", told))
        elif scene.transport.segment != round(scene.transport.segment):
            faults.append(self._fault("transport.segment", f"has whole bytes only, not {scene.transport.segment:g}"))
        for i, message in enumerate(scene.messages):
            if scene.payload(message) < 1.0:
                faults.append(self._fault(f"flows[{i}].bytes", f"cannot send {message.id!r}, which has no payload"))
        return faults

    def files(self, scene: Scene) -> dict[str, str]:
        """``network.py``, which prints CSV: id,finish_s."""
        transport = scene.transport
        assert isinstance(transport, Tcp)
        routes = {route: i for i, route in enumerate(dict.fromkeys(message.route for message in scene.messages))}
        links = [
            (link.u, link.v, link.up, link.down, link.latency, _queue(transport, link, True), _queue(transport, link, False))
            for link in scene.topology.links
        ]  # fmt: skip
        flows = [(m.id, routes[m.route], math.ceil(scene.payload(m)), m.start_s) for m in scene.messages]
        windows = (round(transport.segment), transport.framing, transport.initial_window,
                   min(MOST, max(round(transport.segment), round(transport.receive_window))))  # fmt: skip
        text = resources.files(__package__).joinpath(SCRIPT).read_text(encoding="utf-8")
        values = {"LINKS": links, "ROUTES": list(routes), "FLOWS": flows, "WINDOWS": windows,
                  "CONNECTIONS": (transport.persistent, transport.idle_restart)}  # fmt: skip
        return {"network.py": re.sub("@([A-Z]+)@", lambda at: pprint.pformat(values[at[1]], width=120), text)}


def _queue(transport: Tcp, link: Link, up: bool) -> float:
    """The queue before one direction of a link (bytes on the wire)."""
    here, there, bandwidth = (link.u, link.v, link.up) if up else (link.v, link.u, link.down)
    return transport.queue_bytes.get(f"{here}>{there}", transport.queue * bandwidth / 8.0)
