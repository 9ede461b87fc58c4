"""What edges of other programs say about their bandwidth: read as meant, or unclear."""

from __future__ import annotations

import pytest

from elsa_sim.topology.readers.raw import Asked
from elsa_sim.topology.readers.speeds import label_speed, looks_like_speed, stated

PLAIN = {
    "10 Gbps": 1e10,
    "2 x 10 Mbps": 2e7,
    "2x10Mbps": 2e7,
    "3 × 155 Mbit/s": 4.65e8,
    "10 Mbit/s": 1e7,
    "2.5 Gb/s": 2.5e9,
    "10 MB/s": 8e7,
    "64 kbps": 6.4e4,
    "10 Gbps + 2 x 1 Gbps": 1.2e10,
    "100 mbps": 1e8,
}
UNCLEAR = [
    "34-155 Mbps",
    "10Mb",
    "< 10 Gbps",
    "<10Gbps",
    "> 1 Gbps",
    "~10 Gbps",
    "10 Gbps or 40 Gbps",
    "10G",
    "10 G",
    "10 GbE",
    "10GE",
    "up to 10 Gbps",
    "10/100 Mbps",
    "10 Gbps (planned)",
    "10 MBPS",
    "1,5 Mbps",
    "n x 10 Gbps",
    "10 Mbit",
    "9" * 300 + " Mbps",
]
NOTHING = [
    "",
    "Lit Fibre",
    "OC-192c",
    "STM-64",
    "Leased Wavelength/Managed Service",
    "GEANT2",
    "link 12",
    "E1",
    "room 5 Berlin",
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_labels(text: str) -> None:
    assert label_speed(text) == pytest.approx(PLAIN[text])
    for key in ("LinkLabel", "label"):
        found, unclear = stated({key: text}, Asked(), "edge", [])
        assert found == {"bandwidth": pytest.approx(PLAIN[text])}
        assert unclear is None


@pytest.mark.parametrize("text", UNCLEAR)
def test_unclear_labels(text: str) -> None:
    assert label_speed(text) is None
    found, unclear = stated({"LinkLabel": text}, Asked(), "edge", [])
    assert found == {}
    assert "LinkLabel" in str(unclear)
    assert stated({"LinkNote": text}, Asked(), "edge", [])[1] is not None


@pytest.mark.parametrize("text", NOTHING)
def test_labels_that_are_no_speeds(text: str) -> None:
    assert not looks_like_speed(text)
    assert stated({"LinkLabel": text, "LinkNote": text}, Asked(), "edge", []) == ({}, None)


@pytest.mark.parametrize(
    ("attributes", "bandwidth"),
    [
        ({"LinkSpeed": "10", "LinkSpeedUnits": "G"}, 1e10),
        ({"LinkSpeed": "10", "LinkSpeedUnits": "M", "LinkSpeedRaw": "10000000.0"}, 1e7),
        ({"LinkSpeed": "45", "LinkSpeedUnits": "kbit/s"}, 4.5e4),
        ({"LinkSpeed": "45 Mbps"}, 4.5e7),
        ({"LinkSpeedRaw": "1e9", "LinkLabel": "< 10 Gbps"}, 1e9),
        ({"LinkSpeedRaw": "1e9", "LinkSpeed": "34-155"}, 1e9),
        ({"bandwidth": "1 Gbit/s", "LinkSpeedRaw": "1e9"}, "1 Gbit/s"),
        ({"capacity": "10 Mbps", "LinkSpeedRaw": "1e7"}, 1e7),
    ],
)
def test_the_first_statement_counts(attributes: dict[str, str], bandwidth: float | str) -> None:
    assert stated(attributes, Asked(), "edge", []) == ({"bandwidth": bandwidth}, None)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"LinkSpeed": "10"}, "LinkSpeed '10' has no unit"),
        ({"LinkSpeed": "10", "LinkSpeedUnits": "furlongs"}, "unknown LinkSpeedUnits"),
        ({"LinkSpeed": "34-155", "LinkSpeedUnits": "M"}, "LinkSpeed"),
        ({"LinkSpeedRaw": "fast"}, "is not a number of bit/s"),
        ({"LinkSpeedRaw": "1e7", "capacity": "1 Gbps"}, "several speeds"),
        ({"LinkSpeedRaw": "1e7", "LinkSpeed": "10", "LinkSpeedUnits": "G"}, "several speeds"),
        ({"LinkLabel": "100"}, "not a plain speed"),
    ],
)
def test_statements_that_are_unclear(attributes: dict[str, str], message: str) -> None:
    found, unclear = stated(attributes, Asked(), "edge", [])
    assert found == {}
    assert message in str(unclear)


@pytest.mark.parametrize("other", [{"capacity": "20 Mbps"}, {"LinkSpeedRaw": "2e7"}])
def test_a_bandwidth_that_another_attribute_contradicts_is_unclear(other: dict[str, str]) -> None:
    assert "several speeds" in str(stated({"bandwidth": "1e7"} | other, Asked(), "edge", [])[1])
    assert stated({"bandwidth": "2e7"} | other, Asked(), "edge", [])[1] is None


def test_a_unit_from_the_scenario() -> None:
    assert stated({"LinkSpeed": "10"}, Asked(capacity_unit=1e6), "edge", [])[0] == {"bandwidth": 1e7}
