"""Files of networks, written and built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elsa_sim.base.context import Context
from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.topology import Topology, TopologyFile

GML = """# a network
Creator "nobody"
graph [
  directed 0
  label "Net"
  node [ id 0 label "Zürich &#38; more" role "cloud" Latitude 47.37 Longitude 8.54 graphics [ x 1.0 y 2.0 ] ]
  node [ id 1 label "b" role "client" ]
  node [
    id 2 label "b" role "client" Internal 1
  ]
  edge [ source 0 target 1 LinkSpeed "10" LinkSpeedUnits "M" LinkLabel "10 Mbps" id "e0" ]
  edge [ source 2 target 0 bandwidth 5000000 latency 0.02 ]
  edge [ source 0 target 2 bandwidth 1000000 ]
]
"""
SNDLIB = """<?xml version="1.0" encoding="UTF-8"?>
<network xmlns="http://sndlib.zib.de/network" version="1.0">
 <networkStructure>
  <nodes coordinatesType="geographical">
   <node id="Paris"><coordinates><x>2.35</x><y>48.86</y></coordinates></node>
   <node id="Amsterdam"><coordinates><x>4.90</x><y>52.37</y></coordinates></node>
   <node id="Berlin"><coordinates><x>13.41</x><y>52.52</y></coordinates></node>
  </nodes>
  <links>
   <link id="L1"><source>Amsterdam</source><target>Paris</target>
    <preInstalledModule><capacity>40.0</capacity><cost>0.0</cost></preInstalledModule>
    <additionalModules><addModule><capacity>10.0</capacity><cost>1.0</cost></addModule></additionalModules></link>
   <link id="L2"><source>Berlin</source><target>Amsterdam</target><setupCost>5.0</setupCost></link>
  </links>
 </networkStructure>
 <demands><demand id="D1"><source>Paris</source><target>Berlin</target><demandValue>5.0</demandValue></demand></demands>
</network>
"""
KEYS = ("bandwidth", "up", "down", "latency", "capacity", "delay", "loss", "LinkSpeedRaw", "LinkSpeed", "LinkSpeedUnits",
        "LinkLabel", "LinkNote", "weight")  # fmt: skip


def edge(u: str, v: str, more: str = "", **attributes: object) -> str:
    data = "".join(f'<data key="e_{key}">{value}</data>' for key, value in attributes.items())
    return f'<edge source="{u}" target="{v}" {more}>{data}</edge>'


def graphml(*edges: str, directed: bool = False, names: str = "cab", keys: str = "") -> str:
    """A cloud ``c`` and clients, by ids; ``keys`` more declarations of keys."""
    left = [key for key in KEYS if f'"e_{key}"' not in keys]
    stated = "".join(f'<key id="e_{key}" for="edge" attr.name="{key}" attr.type="string"/>' for key in left)
    role = "" if '"role"' in keys else '<key id="role" for="node" attr.name="role" attr.type="string"/>'
    nodes = "".join(
        f'<node id="{name}"><data key="role">{"cloud" if name == "c" else "client"}</data></node>' for name in names
    )
    default = "directed" if directed else "undirected"
    return (
        f'<graphml xmlns="http://graphml.graphdrawing.org/xmlns">{keys}{stated}{role}'
        f'<graph edgedefault="{default}">{nodes}{"".join(edges)}</graph></graphml>'
    )


def build(folder: Path, data: str | bytes, name: str = "net.graphml", **options: Any) -> Topology:
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return TopologyFile.model_validate({"file": name, **options}).build(Context(Streams(0), folder))


def refused(folder: Path, data: str | bytes, match: str, **options: Any) -> list[str]:
    with pytest.raises(InputFaults, match=match) as caught:
        build(folder, data, **options)
    assert all(fault.path == "file" for fault in caught.value.faults)
    return [fault.message for fault in caught.value.faults]
