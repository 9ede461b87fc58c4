"""SNDlib: places and installed capacities, whose unit the scenario gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_files import SNDLIB, build, refused


def test_a_network(tmp_path: Path) -> None:
    topology = build(tmp_path, SNDLIB, "net.xml", capacity_unit="Mbit/s", clients=2, edges=1)
    assert topology.cloud == "Amsterdam"
    assert topology.bandwidth("Paris", "Amsterdam") == 4e7
    assert topology.bandwidth("Berlin", "Amsterdam") == 1e9, "no capacity: that of core"
    assert topology.link("Paris", "Amsterdam").latency == pytest.approx(430e3 / 2e8, rel=0.01)


def test_capacities_have_no_unit_of_their_own(tmp_path: Path) -> None:
    (said,) = refused(tmp_path, SNDLIB, "capacity_unit: Mbit/s", name="net.xml", clients=1)
    assert said.startswith("net.xml: ")


def test_places_in_pixels_are_no_degrees(tmp_path: Path) -> None:
    text = SNDLIB.replace("geographical", "pixel").replace("48.86", "480")
    topology = build(tmp_path, text, "net.xml", capacity_unit="Gbit/s", clients=1, edges=1)
    assert topology.link("Paris", "Amsterdam").latency == 0.001
    refused(tmp_path, SNDLIB.replace("48.86", "480"), "lat must be", name="net.xml", capacity_unit="Gbit/s", clients=1)


def test_what_could_be_installed_is_no_bandwidth(tmp_path: Path) -> None:
    text = SNDLIB.replace("<preInstalledModule><capacity>40.0</capacity><cost>0.0</cost></preInstalledModule>", "")
    refused(tmp_path, text, "none that is.*unclear_speed: core", name="net.xml", clients=1)
    topology = build(tmp_path, text, "net.xml", clients=1, edges=1, unclear_speed="core", core={"up": 7e6})
    assert topology.bandwidth("Paris", "Amsterdam") == 7e6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("40.0", "many", "capacity must be a number"),
        ("40.0", "0", "bandwidth up must be"),
        ("<target>Paris", "<target>Rome", "unknown node 'Rome'"),
        (
            "<source>Berlin</source><target>Amsterdam",
            "<source>Paris</source><target>Amsterdam",
            "two directions or two links",
        ),
        ("networkStructure>", "structure>", "expected a networkStructure"),
        ('id="Berlin"', 'id="Paris"', "two nodes are named 'Paris'"),
    ],
)
def test_faults(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SNDLIB
    refused(tmp_path, SNDLIB.replace(old, new), message, name="net.xml", capacity_unit="Mbit/s", clients=1)
