"""The script for ns-3 has every link, route and flow of a scene; it compiles. `make referee` plays it."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from small_networks import net

from elsa_sim.network.export import Format, Message, Scene
from elsa_sim.topology import Link
from elsa_sim.transports import Fluid, Tcp

TOPOLOGY = net(Link("a", "b", 8e6, 4e6, 0.01), Link("b", "@ROUTES@ \"c'", 2e6, 2e6, 0.02))
WAY = ("a", "b", "@ROUTES@ \"c'")
MESSAGES = (
    Message("f0", WAY, 3000 + 3 * 66, 0.25),
    Message("f1", tuple(reversed(WAY)), 100 + 66, 0.0),
    Message("f2", WAY, 10 + 66, 1.5),
)
SCENE = Scene(TOPOLOGY, MESSAGES, Tcp(queue=0.5, queue_bytes={"b>a": 9000.0}))


def script(scene: Scene) -> str:
    (text,) = Format.members["ns3"]().files(scene).values()
    return text


def constants(scene: Scene) -> dict[str, Any]:
    """What is assigned at the top of the script, as far as it is literal."""
    found: dict[str, Any] = {}
    for node in ast.parse(script(scene)).body:
        if isinstance(node, ast.Assign):
            (target,) = node.targets
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            names = [each.id for each in getattr(target, "elts", [target]) if isinstance(each, ast.Name)]
            found |= dict(zip(names, value if isinstance(target, ast.Tuple) else [value], strict=True))
    return found


def test_it_compiles() -> None:
    compile(script(SCENE), "network.py", "exec")


def test_it_has_every_link_with_its_queues() -> None:
    assert constants(SCENE)["LINKS"] == [
        ("a", "b", 8e6, 4e6, 0.01, 0.5 * 8e6 / 8, 9000.0),
        ("b", WAY[2], 2e6, 2e6, 0.02, 0.5 * 2e6 / 8, 0.5 * 2e6 / 8),
    ]


def test_it_has_every_flow_with_its_route_and_payload() -> None:
    found = constants(SCENE)
    flows = [(name, tuple(found["ROUTES"][route]), payload, start) for name, route, payload, start in found["FLOWS"]]
    assert flows == [("f0", WAY, 3000, 0.25), ("f1", WAY[::-1], 100, 0.0), ("f2", WAY, 10, 1.5)]
    assert len(found["ROUTES"]) == 2


def test_it_has_the_options_of_the_transport() -> None:
    names = ("SEGMENT", "FRAMING", "INITIAL_WINDOW", "RECEIVE_WINDOW", "PERSISTENT", "IDLE_RESTART")
    found = constants(SCENE)
    assert tuple(found[name] for name in names) == (1448, 66, 10, 3 * 2**20, True, True)
    other = Tcp(segment=1000.0, framing=40.0, initial_window=4, receive_window=50e3, connections="per_message",
                idle_restart=False)  # fmt: skip
    found = constants(replace(SCENE, transport=other))
    assert tuple(found[name] for name in names) == (1000, 40, 4, 50_000, False, False)


def test_what_tcp_cannot_send() -> None:
    faults = Format.members["ns3"]().faults
    assert not faults(SCENE)
    assert "transport 'fluid'" in faults(replace(SCENE, transport=Fluid()))[0].message
    assert faults(replace(SCENE, transport=Tcp(segment=1000.5)))[0].path == "transport.segment"
    (empty,) = faults(replace(SCENE, messages=(Message("f", ("a", "b"), 66, 0.0),)))
    assert (empty.path, "no payload" in empty.message) == ("flows[0].bytes", True)
