"""What a scenario may say about wireless access, and everything that is wrong with it at once; powers in dBm."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from elsa_sim.base.errors import InputFaults
from elsa_sim.base.streams import Streams
from elsa_sim.base.units import parse
from elsa_sim.topology import Link, Node, Topology
from elsa_sim.wireless import Greedy, WirelessOptions

NODES = (
    Node("cloud", "cloud"),
    Node("edge0", "edge", 10.0, 20.0),
    Node("edge1", "edge", 400.0, 20.0),
    Node("client0", "client", 50.0, 60.0),
    Node("client1", "client"),
)


WIRED = (Link("edge0", "cloud", 1e9, 1e9), Link("edge1", "cloud", 1e9, 1e9))


AIR = (
    Link("client0", "edge0", 2e6, 5e6, 0.01, "half", jitter=0.002, loss=0.1),
    Link("edge1", "client1", 3e6, 4e6, 0.02),
)


TOPOLOGY = Topology(NODES, (*AIR, *WIRED))


def faults(topology: Topology = TOPOLOGY, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputFaults) as caught:
        WirelessOptions.model_validate(options).layout(topology, Streams(0))
    return [(fault.path, fault.message) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "quantity", "value"),
    [
        ("23 dBm", "power", 0.19952623149688797),
        ("0 dBm", "power", 1e-3),
        ("-3dBW", "power", 0.5011872336272722),
        ("200 mW", "power", 0.2),
        ("-174 dBm/Hz", "noise density", 3.981071705534969e-21),
        (4e-21, "noise density", 4e-21),
        ("-3.5 dB", "level", -3.5),
        ("15 dBi", "level", 15.0),
        (7, "level", 7.0),
        ("-1e9 dBm", "power", 0.0),
    ],
)
def test_levels(text: Any, quantity: str, value: float) -> None:
    assert parse(text, quantity) == pytest.approx(value, rel=1e-12)


def test_levels_that_are_none() -> None:
    with pytest.raises(ValueError, match="not a finite power"):
        parse("1e9 dBm", "power")
    with pytest.raises(ValueError, match="'dB' is not a unit of power; valid: W, mW, kW, dBm, dBW"):
        parse("3 dB", "power")
    with pytest.raises(ValueError, match="'W' is not a unit of level"):
        parse("3 W", "level")
    with pytest.raises(ValueError, match="such as '10 dBm/Hz'"):
        parse("quiet", "noise density")


def test_units_and_names() -> None:
    options = WirelessOptions.model_validate({
        "power": "23 dBm", "noise": "-174 dBm/Hz", "noise_figure": "7 dB", "bandwidth": "180 kHz", "area": ["1 km", 500.0],
        "allocator": "greedy", "path_loss": {"kind": "dual_slope", "breakpoint": "100 m"}, "coherence": "20 ms",
    })  # fmt: skip
    assert options.power == pytest.approx(0.2, rel=3e-3)
    assert options.noise_density() == pytest.approx(2e-20, rel=3e-3)
    assert (options.bandwidth, options.area, options.coherence) == (180e3, (1000.0, 500.0), 0.02)
    assert options.allocator == Greedy()
    assert WirelessOptions.model_validate(options.model_dump()) == options, "what is written out can be read"


@pytest.mark.parametrize(
    "options",
    [{"allocator": "bst"}, {"power": "0 W"}, {"shadowing": -1.0}, {"interval": "0 s"}, {"fading": "rice"}, {"speed": 3.0},
     {"subchannels": 0}, {"handover": {"margin": "-1 dB"}}, {"mobility": {"kind": "static", "pause": 1.0}},
     {"nodes": {"edge0": {"at": [0.0]}}}, {"path_loss": {"exponent": 2.0}}],
)  # fmt: skip
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WirelessOptions.model_validate(options)


def test_all_faults_at_once() -> None:
    found = faults(clients=("client0", "clent1", "client0"), stations=("edge0", "edge9"),
                   nodes={"edg0": {"power": 1.0}, "client0": {"subchannels": 3}},
                   mobility={"kind": "paths", "paths": {"ghost": ((0.0, 0.0, 0.0),)}})  # fmt: skip
    assert [path for path, _ in found] == [
        "clients",
        "clients",
        "stations",
        "nodes.edg0",
        "nodes.client0",
        "mobility.paths.ghost",
    ]
    assert found[0][1] == "there is no client 'clent1'; did you mean 'client1'?"
    assert "did you mean 'edge1'" in found[2][1] or "did you mean 'edge0'" in found[2][1]


def test_links_that_are_no_access_links() -> None:
    relay = Link("client0", "edge1", 1e6, 1e6)
    assert faults(Topology(NODES, (*AIR, *WIRED, relay)))[0][1] == (
        "'client0' must have one link, to a station; it has links to 'edge0', 'edge1'"
    )
    assert "has links to 'edge1'" in faults(stations=("edge0",))[0][1]
    profile = Topology(NODES, (Link("client0", "edge0", 1.0, 1.0, profile=((1.0, 2.0),)), AIR[1], *WIRED))
    assert "leave it out" in faults(profile)[0][1]
    cell = Topology(NODES, (Link("client0", "edge0", 1.0, 1.0, cell="air"), AIR[1], *WIRED))
    assert "has a cell" in faults(cell)[0][1]
    assert "is a wireless client" in faults(stations=("edge0", "edge1", "client0"))[0][1]
