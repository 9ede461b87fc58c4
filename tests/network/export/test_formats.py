"""What every format refuses, and says by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_networks import net

from elsa_sim.base.errors import Fault
from elsa_sim.network.export import Format, Message, Scene
from elsa_sim.topology import Link
from elsa_sim.transports import Fluid, Tcp

LINK = Link("a", "b", 8e6, 4e6, 0.01)
FORMATS = sorted(Format.members)
CARRIED_BY = {"simgrid": Fluid(), "ns3": Tcp()}


def scene(name: str, link: Link = LINK, route: tuple[str, ...] = ("a", "b"), nbytes: float = 1000.0) -> Scene:
    return Scene(net(link), (Message("f", route, nbytes, 0.5),), CARRIED_BY[name])


def told(name: str, given: Scene) -> str:
    return " ".join(f"{fault.path} {fault.message}" for fault in Format.members[name]().faults(given))


def test_formats_are_found_by_their_files() -> None:
    assert FORMATS == ["ns3", "simgrid"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_plain_scene_has_no_faults(name: str) -> None:
    assert told(name, scene(name)) == ""
    assert Format.members[name]().files(scene(name))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"jitter": 0.001}, "jitter"),
        ({"loss": 0.01}, "loss"),
        ({"cell": "c"}, "cell"),
        ({"profile": ((1.0, 1e6),)}, "profile"),
        ({"profile_down": ((1.0, 1e6),)}, "profile"),
    ],
)
def test_what_no_format_can_say_is_a_fault(name: str, change: dict[str, object], word: str) -> None:
    found = told(name, scene(name, replace(LINK, **change)))
    assert word in found
    assert "links[0]" in found
    assert "a-b" in found


@pytest.mark.parametrize("name", FORMATS)
def test_messages_cross_links_and_are_whole(name: str) -> None:
    assert "flows[0]" in told(name, scene(name, route=("a",)))
    assert "whole bytes" in told(name, scene(name, nbytes=1000.5))


@pytest.mark.parametrize("name", FORMATS)
def test_what_lies_beyond_a_scene_is_passed_on(name: str) -> None:
    assert told(name, replace(scene(name), beyond=(Fault("wireless", "no"),))) == "wireless no"


def test_half_duplex_is_a_matter_of_the_format() -> None:
    half = replace(LINK, duplex="half")
    assert told("simgrid", scene("simgrid", half)) == ""
    assert "half-duplex" in told("ns3", scene("ns3", half))
