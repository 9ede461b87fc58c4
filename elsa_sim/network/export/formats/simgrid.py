"""SimGrid: a platform, the flows as CSV, and a script that plays them.

Tested in tests/network/export/test_simgrid.py.
"""

from __future__ import annotations

import csv
import io
import itertools
from importlib import resources
from typing import ClassVar
from xml.etree import ElementTree as ET

from ....base.errors import Fault
from ..scene import Scene
from .base import Format

SCRIPT = "simgrid_script.txt"
#: The simplest of SimGrid's models: size / bandwidth + latency, no corrections, max-min.
MODEL = {
    "network/model": "CM02",
    "network/bandwidth-factor": "1.0",
    "network/latency-factor": "1.0",
    "network/TCP-gamma": "0",
    "network/weight-S": "0",
    "network/crosstraffic": "0",
}
_HEAD = '<?xml version="1.0"?>\n<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">\n'


class SimGrid(Format):
    """Fluids that share links max-min fairly, over one channel per direction of a link, or one for a half-duplex link.

    SimGrid gives flows shares that are inverse to their latency; the script waits for the latency itself, and sends over links
    without. Does not say: windows of transports; bandwidth profiles, as SimGrid's flows never pass the bandwidth that their route
    had when they began, and an outage ends it.
    """

    name: ClassVar[str] = "simgrid"
    simulator: ClassVar[str] = "SimGrid"
    half_duplex: ClassVar[bool] = True

    def faults(self, scene: Scene) -> list[Fault]:
        """Those of all formats, windows, other sharing than max-min, and pairs of nodes with several routes."""
        faults = super().faults(scene)
        if scene.transport.windows:
            told = "has no windows, which a transport of this case has; use --transport fluid, or export to ns3"
            faults.append(self._fault("transport", told))
        if not scene.max_min:
            faults.append(self._fault("model", "shares links max-min fairly, and not as this link model does"))
        routes: dict[tuple[str, str], tuple[str, ...]] = {}
        for i, message in enumerate(scene.messages):
            ends = message.route[0], message.route[-1]
            if routes.setdefault(ends, message.route) != message.route:
                told = f"has one route from {ends[0]!r} to {ends[1]!r}; {message.id!r} takes another"
                faults.append(self._fault(f"flows[{i}].route", told))
        return faults

    def files(self, scene: Scene) -> dict[str, str]:
        """``platform.xml``, ``flows.csv`` and ``play.py``."""
        root = ET.Element("platform", version="4.1")
        config = ET.SubElement(root, "config")
        for name, value in MODEL.items():
            ET.SubElement(config, "prop", id=name, value=value)
        zone = ET.SubElement(root, "zone", id="network", routing="Full")
        for node in scene.topology.nodes:
            ET.SubElement(zone, "host", id=node.name, speed="1Gf")
        channels: dict[tuple[str, str], str] = {}
        for link in scene.topology.links:
            if link.duplex == "half":  # no name of a node has a ">", so that names of links are told apart
                own = [(f"{link.u}>>{link.v}", link.up)]
                channels[link.u, link.v] = channels[link.v, link.u] = own[0][0]
            else:
                own = [(f"{link.u}>{link.v}", link.up), (f"{link.v}>{link.u}", link.down)]
                channels[link.u, link.v], channels[link.v, link.u] = (name for name, _ in own)
            for name, bandwidth in own:
                about = {"id": name, "bandwidth": f"{bandwidth / 8.0!r}Bps", "latency": f"{link.latency!r}s"}
                ET.SubElement(zone, "link", about, sharing_policy="SHARED")
        for nodes in dict.fromkeys(message.route for message in scene.messages):
            route = ET.SubElement(zone, "route", src=nodes[0], dst=nodes[-1], symmetrical="NO")
            for pair in itertools.pairwise(nodes):
                ET.SubElement(route, "link_ctn", id=channels[pair])
        ET.indent(root)
        script = resources.files(__package__).joinpath(SCRIPT).read_text(encoding="utf-8")
        return {
            "platform.xml": _HEAD + ET.tostring(root, encoding="unicode") + "\n",
            "flows.csv": _flows(scene),
            "play.py": script,
        }


def _flows(scene: Scene) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "src", "dst", "bytes", "start_s"])
    for message in scene.messages:
        rows.writerow([message.id, message.route[0], message.route[-1], round(message.nbytes), repr(message.start_s)])
    return text.getvalue()
